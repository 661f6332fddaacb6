//! Bodies that are written while they are sent, and requests of a handle that use them.

use std::future::Future;
use std::sync::{Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use ringtide::client::{
    BODY_CHANNEL_SIZE_MAX, BodyClosed, ClientHandle, RemoteRequestBody, RequestBody, body_channel,
};
use ringtide::error::RequestError;
use ringtide::runtime::{self, WorkerOptions};
use ringtide::{Client, ClientOptions, Error};

use crate::server::{Server, echo_target};
use crate::{SIZE_MAX, read, run};

fn handle() -> ClientHandle {
    ClientHandle::spawn(ClientOptions::default(), WorkerOptions::default()).unwrap()
}

/// Responds with the framing of the request's body and with the body.
fn echo_body() -> Server {
    Server::start(|_, peer| {
        while let Some(request) = peer.request() {
            let framing = request.field("content-length").unwrap_or("chunked").to_owned();
            peer.respond(&format!("{framing} {}", String::from_utf8(request.body).unwrap()));
        }
    })
}

#[test]
fn a_handle_gets_and_posts() {
    let (echo, echo_body) = (Server::start(echo_target), echo_body());
    let client = handle();
    pollster::block_on(async {
        let response = client.get(&echo.url("/page")).await.unwrap();
        assert_eq!(response.into_body().bytes(SIZE_MAX).await.unwrap(), "/page");
        for body in
            [RemoteRequestBody::from("abc"), String::from("abc").into(), vec![b'a', b'b', b'c'].into()]
        {
            let response = client.post(&echo_body.url("/"), body).await.unwrap();
            assert_eq!(response.into_body().bytes(SIZE_MAX).await.unwrap(), "3 abc");
        }
        let put = Request::put(echo_body.url("/")).body(()).unwrap();
        let response = client.request(put).await.unwrap();
        assert_eq!(response.into_body().bytes(SIZE_MAX).await.unwrap(), "0 ");
        let error = client.get("http://a b/").await.unwrap_err();
        assert!(matches!(error, Error::Request(RequestError::Uri { .. })), "{error}");
    });
}

#[test]
fn a_body_goes_through_a_channel_as_it_is_written() {
    let server = echo_body();
    let client = handle();
    for (size, framing) in [(None, "chunked"), (Some(6), "6")] {
        let (mut sender, body) = body_channel(size);
        let writer = thread::spawn(move || {
            pollster::block_on(async {
                for piece in ["a", "", "bc", "def"] {
                    sender.send(piece).await.unwrap();
                }
            });
            sender.finish();
        });
        let answer = pollster::block_on(async {
            let response = client.post(&server.url("/"), RemoteRequestBody::stream(body)).await.unwrap();
            response.into_body().bytes(SIZE_MAX).await.unwrap()
        });
        assert_eq!(answer, format!("{framing} abcdef"));
        writer.join().unwrap();
    }
}

#[test]
fn both_directions_flow_at_once() {
    // Echoes each chunk as soon as it has arrived.
    let server = Server::start(|_, peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        loop {
            let chunk = peer.chunk().unwrap();
            peer.send(format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8(chunk.clone()).unwrap()));
            if chunk.is_empty() {
                return;
            }
        }
    });
    let client = handle();
    pollster::block_on(async {
        let (mut sender, body) = body_channel(None);
        let response = client.post(&server.url("/"), RemoteRequestBody::stream(body)).await.unwrap();
        let mut answer = response.into_body();
        for number in 0..100 {
            sender.send(format!("ping {number}")).await.unwrap();
            assert_eq!(answer.data().await.unwrap().unwrap(), format!("ping {number}"));
        }
        sender.finish();
        assert!(answer.data().await.unwrap().is_none());
    });
}

#[test]
fn tasks_of_the_worker_use_a_channel_as_well() {
    let server = echo_body();
    run(async {
        let (mut sender, body) = body_channel(None);
        runtime::spawn(async move {
            sender.send("from a task").await.unwrap();
            sender.finish();
        });
        let answer =
            read(Client::default().post(&server.url("/"), RequestBody::stream(body)).await).await.unwrap();
        assert_eq!(answer, (200, "chunked from a task".into()));
    });
}

#[test]
fn a_server_that_reads_nothing_holds_the_sender_back() {
    const SIZE: usize = 64 * 1024 * 1024;
    let (go_on, order) = mpsc::channel::<()>();
    let order = Mutex::new(order);
    let server = Server::start(move |_, peer| {
        peer.head();
        order.lock().unwrap().recv().unwrap();
        let mut size = 0;
        loop {
            match peer.chunk().unwrap().len() {
                0 => break,
                count => size += count,
            }
        }
        peer.respond(&size.to_string());
    });
    let client = handle();
    let (mut sender, body) = body_channel(None);
    let url = server.url("/");
    let answer = thread::spawn(move || {
        pollster::block_on(async {
            let response = client.post(&url, RemoteRequestBody::stream(body)).await?;
            response.into_body().bytes(SIZE_MAX).await
        })
    });
    let (progress, sent) = mpsc::channel();
    let writer = thread::spawn(move || {
        pollster::block_on(async {
            for _ in 0..SIZE / BODY_CHANNEL_SIZE_MAX {
                sender.send(vec![b'x'; BODY_CHANNEL_SIZE_MAX]).await.unwrap();
                progress.send(BODY_CHANNEL_SIZE_MAX).unwrap();
            }
        });
        sender.finish();
    });
    let mut taken = 0;
    while let Ok(size) = sent.recv_timeout(Duration::from_millis(200)) {
        taken += size;
    }
    assert!(taken < SIZE / 2, "{taken} bytes were taken though the server read nothing");
    go_on.send(()).unwrap();
    assert_eq!(answer.join().unwrap().unwrap(), SIZE.to_string());
    writer.join().unwrap();
}

#[test]
fn dropping_either_end_of_a_channel_notifies_the_other() {
    let server = Server::start(|_, peer| {
        peer.drain();
    });
    let client = handle();
    pollster::block_on(async {
        // Dropping the sender: the peer must not mistake the part that was sent for the whole body.
        let (mut sender, body) = body_channel(None);
        sender.send("part").await.unwrap();
        drop(sender);
        let error = client.post(&server.url("/"), RemoteRequestBody::stream(body)).await.unwrap_err();
        assert!(matches!(error, Error::Request(RequestError::Body(_))), "{error}");
        assert!(error.to_string().contains("dropped before it was finished"), "{error}");

        // Dropping the request while the sender waits for room.
        let (mut sender, body) = body_channel(None);
        sender.send(vec![0; BODY_CHANNEL_SIZE_MAX]).await.unwrap();
        let mut waiting = Box::pin(sender.send("more"));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(body);
        assert_eq!(waiting.await, Err(BodyClosed));
    });
}

#[test]
fn a_send_that_is_dropped_while_it_waits_has_added_nothing() {
    let (mut sender, mut body) = body_channel(None);
    let mut context = Context::from_waker(Waker::noop());
    let mut poll = || http_body::Body::poll_frame(std::pin::Pin::new(&mut body), &mut context);
    pollster::block_on(sender.send(vec![0; BODY_CHANNEL_SIZE_MAX])).unwrap();
    {
        let mut waiting = Box::pin(sender.send("lost"));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let mut size = 0;
    while let Poll::Ready(Some(frame)) = poll() {
        size += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(size, BODY_CHANNEL_SIZE_MAX);
    pollster::block_on(sender.send(Bytes::from("next"))).unwrap();
    assert!(matches!(poll(), Poll::Ready(Some(Ok(frame))) if frame.data_ref().unwrap() == "next"));
}
