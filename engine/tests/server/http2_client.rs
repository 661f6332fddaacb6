//! A client's connection over HTTP/2, one request at a time, with our own server as the peer.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::Request;
use ringtide::conn::HttpVersion;
use ringtide::error::{Error, RequestError};
use ringtide::proto::h2::Options;
use ringtide::runtime::{self, Worker, WorkerOptions};
use ringtide::server::ServiceOptions;
use ringtide::stream::Stream;
use ringtide::{Address, Connection, ConnectionOptions, PreparedRequest};

use crate::site::{Running, large};

fn on_worker<F: Future<Output = ()> + 'static>(
    address: &Address,
    test: impl FnOnce(Connection) -> F + 'static,
) {
    let address = address.clone();
    let mut worker = Worker::new(&WorkerOptions::default()).unwrap();
    worker.block_on(async move {
        let stream = Stream::connect(&address).await.unwrap();
        let options = ConnectionOptions::default().version(HttpVersion::Http2);
        let test = test(Connection::new(stream, &options));
        let mut test = pin!(test);
        let mut timer = runtime::Timer::new();
        timer.set(runtime::now_ns() + 4_000_000_000);
        poll_fn(|context| {
            if test.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            assert!(timer.poll_elapsed(context).is_pending(), "the test hangs");
            Poll::Pending
        })
        .await;
    });
}

fn prepared(method: &str, target: &str, body: Bytes) -> PreparedRequest {
    let request = Request::builder().method(method).uri(format!("http://h{target}")).body(body).unwrap();
    PreparedRequest::new(&request).unwrap()
}

#[test]
fn the_late_reset_of_a_request_that_has_its_response_is_nothing_to_the_next() {
    let running = Running::start();
    on_worker(running.address(), async |mut connection| {
        let mut response = connection.send(&prepared("POST", "/early", large())).await.unwrap();
        assert_eq!(response.status(), 403);
        response.discard().await.unwrap();
        drop(response);
        let response = connection.send(&prepared("GET", "/", Bytes::new())).await.unwrap();
        assert_eq!(response.status(), 200);
    });
}

#[test]
fn the_next_request_waits_until_the_body_of_the_last_one_gives_its_stream_free() {
    let http2 = Options::default().streams_max(1);
    let running = Running::with(ServiceOptions::default().http2(http2));
    on_worker(running.address(), async |mut connection| {
        for _ in 0..20 {
            let mut response = connection.send(&prepared("POST", "/early", large())).await.unwrap();
            assert_eq!(response.status(), 403);
            response.discard().await.unwrap();
        }
        assert_eq!(connection.send(&prepared("GET", "/", Bytes::new())).await.unwrap().status(), 200);
    });
}

#[test]
fn a_reset_of_a_response_that_nobody_reads_is_nothing_to_the_next_request() {
    let running = Running::start();
    on_worker(running.address(), async |mut connection| {
        drop(connection.send(&prepared("GET", "/begin-and-panic", Bytes::new())).await.unwrap());
        assert_eq!(connection.send(&prepared("GET", "/", Bytes::new())).await.unwrap().status(), 200);
    });
}

#[test]
fn no_request_starts_while_a_response_is_unread() {
    let running = Running::start();
    on_worker(running.address(), async |mut connection| {
        connection.start(&prepared("GET", "/large", Bytes::new())).unwrap();
        drop(connection.response().await.unwrap());
        let next = prepared("GET", "/", Bytes::new());
        assert!(matches!(connection.start(&next), Err(Error::Request(RequestError::Busy))));
        assert_eq!(connection.send(&next).await.unwrap().status(), 200);
    });
}

#[test]
fn a_response_that_is_cancelled_while_it_is_read_is_over() {
    let running = Running::start();
    on_worker(running.address(), async |mut connection| {
        let id = connection.start(&prepared("GET", "/large", Bytes::new())).unwrap();
        drop(connection.response().await.unwrap());
        assert!(connection.cancel(id));
        let response = connection.send(&prepared("GET", "/", Bytes::new())).await.unwrap();
        assert_eq!(response.status(), 200);
    });
}

#[test]
fn a_body_waits_for_the_windows_of_the_peer() {
    let running = Running::start();
    on_worker(running.address(), async |mut connection| {
        let request = Request::post("http://h/wait").body(()).unwrap();
        connection.start(&PreparedRequest::with_streamed_body(&request, None).unwrap()).unwrap();
        let mut taken = 0;
        for _ in 0..64 {
            let mut send = pin!(connection.send_data(Bytes::from(vec![0; 1 << 20])));
            let mut timer = runtime::Timer::new();
            timer.set(runtime::now_ns() + 100_000_000);
            let done = poll_fn(|context| {
                if send.as_mut().poll(context).is_ready() {
                    return Poll::Ready(true);
                }
                timer.poll_elapsed(context).map(|()| false)
            })
            .await;
            if !done {
                break;
            }
            taken += 1;
        }
        assert!(taken < 8, "{taken} MiB were taken, and the peer has read nothing");
    });
}

#[test]
fn requests_behind_the_cut_of_a_send_are_not_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    on_worker(&address, async |mut connection| {
        let request = Request::get("http://h/").header("x", "{".repeat(200_000)).body(Bytes::new()).unwrap();
        let request = PreparedRequest::new(&request).unwrap();
        let mut started = 0;
        while !connection.is_full() {
            connection.start(&request).unwrap();
            started += 1;
        }
        for _ in 0..3 {
            poll_fn(|context| {
                assert!(connection.poll_completion(context).is_pending());
                Poll::Ready(())
            })
            .await;
            let mut timer = runtime::Timer::new();
            timer.set(runtime::now_ns() + 50_000_000);
            timer.elapsed().await;
        }
        let aborted = connection.abort(0).await;
        let sent = aborted.sent_ns.iter().filter(|(_, sent_ns)| sent_ns.is_some()).count();
        assert!(sent < started, "{sent} of {started}, cut {:?}", aborted.cut_size);
    });
}

#[test]
fn a_body_that_ends_too_early_ends_its_request() {
    let running = Running::start();
    on_worker(running.address(), async |mut connection| {
        let request = Request::post("http://h/wait").body(()).unwrap();
        connection.start(&PreparedRequest::with_streamed_body(&request, Some(10)).unwrap()).unwrap();
        assert!(connection.finish_body().await.is_err());
        assert_eq!(connection.in_flight(), 0);
    });
}
