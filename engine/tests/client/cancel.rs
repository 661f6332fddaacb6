//! Dropping futures and bodies at any moment loses no data, never hangs, and frees the connection's place.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use ringtide::client::{PoolOptions, RequestBody};
use ringtide::{Client, ClientOptions, runtime};

use crate::server::{Server, echo_target};
use crate::{read, run};

/// Polls `future` until it is ready, but at most `polls` times, then drops it. Returns whether it was ready.
async fn poll_at_most(polls: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut count = 0;
    poll_fn(|context| {
        if count == polls {
            return Poll::Ready(false);
        }
        count += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if count == polls => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Returns a client that may have only one connection, so that losing its place would block the client.
fn narrow() -> Client {
    let pool = PoolOptions::default().connections_per_host_max(1);
    Client::new(ClientOptions::default().pool(pool))
}

/// Drops the future of `act` after 0, 1, 2 … polls, until it completes. Checks each time that the client still works.
fn drop_everywhere<F: Future>(server: &Server, act: impl Fn(Client, String) -> F) {
    run(async {
        let client = narrow();
        for warm in [false, true] {
            for polls in 0.. {
                if warm {
                    read(client.get(&server.url("/warm")).await).await.unwrap();
                }
                let finished = poll_at_most(polls, act(client.clone(), server.url("/dropped"))).await;
                let answer = read(client.get(&server.url("/alive")).await).await.unwrap();
                assert_eq!(answer, (200, "/alive".into()), "after {polls} polls");
                if finished {
                    break;
                }
            }
        }
    });
}

#[test]
fn a_dropped_get_leaves_the_client_usable() {
    let server = Server::start(echo_target);
    drop_everywhere(&server, |client, url| async move { read(client.get(&url).await).await.unwrap() });
}

/// A body that lets the worker take a turn between its pieces.
struct Slow(usize);

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        self.0 -= 1;
        if self.0.is_multiple_of(2) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"a piece of a body")))))
    }
}

#[test]
fn a_dropped_upload_leaves_the_client_usable() {
    let server = Server::start(echo_target);
    drop_everywhere(&server, |client, url| async move {
        read(client.post(&url, RequestBody::stream(Slow(20))).await).await.unwrap()
    });
}

#[test]
fn a_dropped_download_leaves_the_client_usable() {
    let server = Server::start(|number, peer| {
        while let Some(request) = peer.request() {
            if request.is("GET", "/dropped") {
                peer.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n{}",
                    "x".repeat(3_000_000)
                ));
            } else {
                let target = request.head.split(' ').nth(1).unwrap().to_owned();
                peer.respond(&target);
            }
        }
        let _ = number;
    });
    drop_everywhere(&server, |client, url| async move { read(client.get(&url).await).await.unwrap() });
}

#[test]
fn a_dropped_look_up_leaves_the_client_usable() {
    let server = Server::start(echo_target);
    let port = server.address().port();
    run(async {
        let client = narrow();
        for polls in 0.. {
            let url = format!("http://localhost:{port}/");
            if poll_at_most(polls, client.get(&url)).await {
                break;
            }
        }
        read(client.get(&format!("http://localhost:{port}/")).await).await.unwrap();
    });
}

#[test]
fn requests_that_leave_the_queue_are_skipped() {
    let server = Server::start(echo_target);
    run(async {
        let client = narrow();
        for polls in 0..12 {
            let finished = Rc::new(Cell::new(0));
            let mut tasks = Vec::new();
            for number in 0..10 {
                let (client, url, finished) = (client.clone(), server.url("/"), Rc::clone(&finished));
                tasks.push(runtime::spawn(async move {
                    let request = async { read(client.get(&url).await).await.unwrap() };
                    // Drops every second request after `polls` polls. It is then in the queue, has a place that it has
                    // not taken yet, or is in flight.
                    if number % 2 == 0 {
                        poll_at_most(polls, request).await;
                    } else {
                        request.await;
                        finished.set(finished.get() + 1);
                    }
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(finished.get(), 5);
        }
    });
}

#[test]
fn a_request_that_has_left_the_queue_takes_no_connection() {
    let server = Server::start(echo_target);
    run(async {
        let client = narrow();
        let first = client.get(&server.url("/")).await.unwrap();
        let spawn = || {
            let (client, url) = (client.clone(), server.url("/"));
            runtime::spawn(async move { read(client.get(&url).await).await.unwrap() })
        };
        let (second, third) = (spawn(), spawn());
        runtime::yield_now().await;
        runtime::yield_now().await;
        second.abort();
        drop(first);
        assert_eq!(third.await.unwrap(), (200, "/".into()));
    });
    assert_eq!(server.accepted(), 1);
}

#[test]
fn an_aborted_task_passes_its_place_on() {
    // A task is aborted after it was granted a place and before it is polled again. The next in the queue gets the
    // place.
    let server = Server::start(echo_target);
    run(async {
        let client = narrow();
        let first = client.get(&server.url("/")).await.unwrap();
        let spawn = || {
            let (client, url) = (client.clone(), server.url("/"));
            runtime::spawn(async move { read(client.get(&url).await).await.unwrap() })
        };
        let (second, third) = (spawn(), spawn());
        runtime::yield_now().await;
        runtime::yield_now().await;
        drop(first);
        second.abort();
        assert_eq!(third.await.unwrap(), (200, "/".into()));
    });
}

#[test]
fn bodies_outlive_their_client_and_their_worker() {
    let server = Server::start(echo_target);
    let response = run(async {
        let client = Client::default();
        let response = client.get(&server.url("/outlives")).await.unwrap();
        let other = client.get(&server.url("/too")).await.unwrap();
        drop(client);
        assert_eq!(read(Ok(response)).await.unwrap(), (200, "/outlives".into()));
        other
    });
    drop(response);
}

#[test]
fn requests_in_flight_end_with_their_worker() {
    let server = Server::start(|_, peer| {
        peer.request();
        peer.drain();
    });
    let url = server.url("/");
    run(async move {
        let client = Client::default();
        for _ in 0..10 {
            let (client, url) = (client.clone(), url.clone());
            runtime::spawn(async move { client.get(&url).await.map(drop) });
        }
        for _ in 0..5 {
            runtime::yield_now().await;
        }
    });
}
