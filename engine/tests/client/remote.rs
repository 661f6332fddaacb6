//! Using the client from other threads and other executors.

use std::future::Future;
use std::sync::{Mutex, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use ringtide::client::{ClientHandle, PoolOptions};
use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::{Client, ClientOptions, Error};

use crate::server::{Server, echo_target};
use crate::{SIZE_MAX, run};

fn spawn(options: ClientOptions) -> ClientHandle {
    ClientHandle::spawn(options, WorkerOptions::default()).unwrap()
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

async fn fetch(handle: &ClientHandle, url: &str) -> Result<Bytes, Error> {
    let response = handle.request(get(url)).await?;
    assert_eq!(response.status(), 200);
    response.into_body().bytes(SIZE_MAX).await
}

/// Requires what `tokio::spawn` requires.
fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn plain_threads_share_a_client() {
    let server = Server::start(echo_target);
    let handle = spawn(ClientOptions::default());
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (handle, url) = (handle.clone(), server.url(&format!("/{number}")));
            thread::spawn(move || {
                for _ in 0..20 {
                    assert_eq!(
                        pollster::block_on(is_send(fetch(&handle, &url))).unwrap(),
                        format!("/{number}")
                    );
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(server.accepted() <= 4);
}

#[test]
fn tokio_tasks_share_a_client() {
    let server = Server::start(echo_target);
    let handle = spawn(ClientOptions::default());
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let (handle, target) = (handle.clone(), format!("/{number}"));
                let url = server.url(&target);
                tokio::spawn(async move { assert_eq!(fetch(&handle, &url).await.unwrap(), target) })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn a_client_of_a_worker_can_be_reached_from_other_threads() {
    let server = Server::start(echo_target);
    run(async {
        let client = Client::default();
        let handle = client.handle();
        drop(client);
        let url = server.url("/handed");
        let thread = thread::spawn(move || pollster::block_on(fetch(&handle, &url)).unwrap());
        while !thread.is_finished() {
            runtime::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(thread.join().unwrap(), "/handed");
    });
}

#[test]
fn errors_come_back_unchanged() {
    let server = Server::start(|_, peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort");
    });
    let handle = spawn(ClientOptions::default());
    let error = pollster::block_on(handle.request(get("ftp://127.0.0.1/"))).unwrap_err();
    assert!(error.to_string().contains("neither http nor https"), "{error}");
    let error = pollster::block_on(fetch(&handle, &server.url("/"))).unwrap_err();
    assert!(matches!(error, Error::Incomplete(_)), "{error}");
}

#[test]
fn an_unread_remote_body_holds_the_peer_back() {
    const SIZE: usize = 64 * 1024 * 1024;
    let (progress, sent) = mpsc::channel();
    let progress = Mutex::new(progress);
    let server = Server::start(move |_, peer| {
        peer.request();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
        let block: Vec<u8> = (0..64 * 1024_u32).map(|number| (number % 251) as u8).collect();
        for _ in 0..SIZE / block.len() {
            peer.send(&block);
            progress.lock().unwrap().send(block.len()).unwrap();
        }
        peer.drain();
    });
    let handle = spawn(ClientOptions::default());
    let mut body = pollster::block_on(handle.request(get(&server.url("/")))).unwrap().into_body();
    let mut taken = 0;
    while let Ok(size) = sent.recv_timeout(Duration::from_millis(100)) {
        taken += size;
    }
    assert!(taken < SIZE / 2, "{taken} bytes were taken from the server without a reader");
    pollster::block_on(async {
        let mut position = 0;
        while let Some(piece) = body.data().await.unwrap() {
            assert!(
                piece
                    .iter()
                    .enumerate()
                    .all(|(index, byte)| { usize::from(*byte) == (position + index) % (64 * 1024) % 251 })
            );
            position += piece.len();
        }
        assert_eq!(position, SIZE);
    });
}

#[test]
fn dropping_the_future_or_the_body_cancels_the_request() {
    let (event, events) = mpsc::channel();
    let event = Mutex::new(event);
    let server = Server::start(move |_, peer| {
        let tell = |text| event.lock().unwrap().send(text).unwrap();
        let request = peer.request().unwrap();
        tell("asked");
        if request.is("GET", "/body") {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        }
        peer.drain();
        tell("closed");
    });
    let pool = PoolOptions::default().connections_per_host_max(1);
    let handle = spawn(ClientOptions::default().pool(pool));
    for _ in 0..3 {
        let mut request = Box::pin(handle.request(get(&server.url("/never"))));
        assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(events.recv().unwrap(), "asked");
        drop(request);
        assert_eq!(events.recv().unwrap(), "closed");

        let mut body = pollster::block_on(handle.request(get(&server.url("/body")))).unwrap().into_body();
        assert_eq!(pollster::block_on(body.data()).unwrap().unwrap(), "half");
        assert_eq!(events.recv().unwrap(), "asked");
        drop(body);
        assert_eq!(events.recv().unwrap(), "closed");
    }
}

#[test]
fn a_worker_that_has_ended_is_an_error() {
    let server = Server::start(|_, peer| {
        peer.request();
        peer.drain();
    });
    let mut worker = Worker::new(&WorkerOptions::default()).unwrap();
    let handle = worker.block_on(async { Client::default().handle() });
    let (started, ready) = mpsc::channel();
    let url = server.url("/");
    let waiting = thread::spawn({
        let (handle, url) = (handle.clone(), url.clone());
        move || {
            let mut request = Box::pin(handle.request(get(&url)));
            assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            started.send(()).unwrap();
            pollster::block_on(request).unwrap_err()
        }
    });
    ready.recv().unwrap();
    worker.block_on(runtime::sleep(Duration::from_millis(5)));
    drop(worker);
    assert!(matches!(waiting.join().unwrap(), Error::WorkerEnded));
    assert!(matches!(pollster::block_on(handle.request(get(&url))).unwrap_err(), Error::WorkerEnded));
}

#[test]
fn a_request_that_was_never_started_ends_with_its_worker() {
    let mut worker = Worker::new(&WorkerOptions::default()).unwrap();
    let handle = worker.block_on(async { Client::default().handle() });
    let mut request = Box::pin(handle.request(get("http://127.0.0.1:1/")));
    assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(worker);
    assert!(matches!(pollster::block_on(request).unwrap_err(), Error::WorkerEnded));
}

#[test]
fn the_thread_of_a_client_ends_with_its_last_handle() {
    let (closed, seen) = mpsc::channel();
    let closed = Mutex::new(closed);
    let server = Server::start(move |number, peer| {
        echo_target(number, peer);
        closed.lock().unwrap().send(()).unwrap();
    });
    let handle = spawn(ClientOptions::default());
    let body = pollster::block_on(handle.request(get(&server.url("/last")))).unwrap().into_body();
    drop(handle);
    assert_eq!(pollster::block_on(body.bytes(SIZE_MAX)).unwrap(), "/last");
    // The client's idle connection closes with it.
    seen.recv_timeout(Duration::from_secs(10)).unwrap();
}
