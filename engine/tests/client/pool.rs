//! Which connections are kept and reused, and which requests wait for them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use http::Request;
use ringtide::client::{PoolOptions, RequestBody};
use ringtide::runtime;
use ringtide::testing::{self, Script};
use ringtide::{Client, ClientOptions, Error};

use crate::server::{Server, echo_target};
use crate::{SIMULATED, URL, read, run};

fn pooled(pool: PoolOptions) -> ClientOptions {
    ClientOptions::default().pool(pool)
}

#[test]
fn requests_one_after_the_other_share_a_connection() {
    let server = Server::start(echo_target);
    run(async {
        let client = Client::default();
        for number in 0..20 {
            let target = format!("/{number}");
            assert_eq!(read(client.get(&server.url(&target)).await).await.unwrap(), (200, target.into()));
        }
    });
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_body_that_is_read_to_its_known_end_frees_its_connection_before_it_is_dropped() {
    let server = Server::start(echo_target);
    run(async {
        let client = Client::default();
        let mut body = client.get(&server.url("/abc")).await.unwrap().into_body();
        assert_eq!(&*body.data().await.unwrap().unwrap(), b"/abc");
        assert!(http_body::Body::is_end_stream(&body));
        read(client.get(&server.url("/")).await).await.unwrap();
        assert!(body.data().await.unwrap().is_none());
    });
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_response_that_says_close_is_the_last_on_its_connection() {
    let server = Server::start(|_, peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
        peer.expect_close();
    });
    run(async {
        let client = Client::default();
        for _ in 0..3 {
            assert_eq!(read(client.get(&server.url("/")).await).await.unwrap(), (200, "hi".into()));
        }
    });
    assert_eq!(server.accepted(), 3);
}

#[test]
fn a_connection_with_an_unsolicited_response_is_not_used_again() {
    let server = Server::start(|_, peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        }
    });
    run(async {
        let client = Client::default();
        for _ in 0..3 {
            assert_eq!(read(client.get(&server.url("/")).await).await.unwrap(), (200, "hi".into()));
        }
    });
    assert_eq!(server.accepted(), 3);
}

#[test]
fn as_many_connections_are_opened_as_are_in_use_at_once() {
    const TASKS: usize = 100;
    let server = Server::start(echo_target);
    run(async {
        let client = Client::default();
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (client, url) = (client.clone(), server.url("/"));
                runtime::spawn(async move {
                    for _ in 0..20 {
                        read(client.get(&url).await).await.unwrap();
                        // So that each connection becomes idle at times.
                        runtime::sleep(Duration::from_millis(1)).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert!(server.accepted() <= TASKS, "{}", server.accepted());
}

#[test]
fn requests_over_the_limit_wait_in_order() {
    for connections_per_host_max in [1, 3] {
        let server = Server::start(echo_target);
        run(async {
            let pool = PoolOptions::default().connections_per_host_max(connections_per_host_max);
            let client = Client::new(pooled(pool));
            let finished = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..20)
                .map(|number| {
                    let (client, url) = (client.clone(), server.url("/"));
                    let finished = Rc::clone(&finished);
                    runtime::spawn(async move {
                        let response = client.get(&url).await.unwrap();
                        finished.borrow_mut().push(number);
                        read(Ok(response)).await.unwrap();
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            // Concurrent requests may overtake each other.
            if connections_per_host_max == 1 {
                assert_eq!(*finished.borrow(), (0..20).collect::<Vec<_>>());
            }
        });
        assert_eq!(server.accepted(), connections_per_host_max);
    }
}

#[test]
fn an_unread_body_holds_its_place_until_it_is_dropped() {
    let server = Server::start(|_, peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbeginning");
        }
    });
    run(async {
        let pool = PoolOptions::default().connections_per_host_max(1);
        let client = Client::new(pooled(pool));
        let first = client.get(&server.url("/")).await.unwrap();
        let url = server.url("/");
        let second = runtime::spawn({
            let client = client.clone();
            async move { client.get(&url).await.unwrap().status() }
        });
        runtime::yield_now().await;
        // Connections are accepted in order. If the second request had opened one, it would be accepted before this
        // one.
        Client::default().get(&server.url("/")).await.unwrap();
        assert_eq!(server.accepted(), 2);
        assert!(!second.is_finished());
        drop(first);
        assert_eq!(second.await.unwrap(), 200);
    });
    assert_eq!(server.accepted(), 3);
}

#[test]
fn an_unread_rest_that_has_arrived_is_dropped_for_the_next_request() {
    let server = Server::start(|_, peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        }
    });
    run(async {
        let client = Client::default();
        for _ in 0..5 {
            drop(client.get(&server.url("/")).await.unwrap());
        }
    });
    assert_eq!(server.accepted(), 1);
}

#[test]
fn idle_connections_are_closed_after_the_idle_timeout() {
    let (closed, seen) = mpsc::channel();
    let closed = Mutex::new(closed);
    let server = Server::start(move |number, peer| {
        echo_target(number, peer);
        closed.lock().unwrap().send(number).unwrap();
    });
    run(async {
        let pool = PoolOptions::default().idle_timeout(Duration::from_millis(30));
        let client = Client::new(pooled(pool));
        let start_ns = runtime::now_ns();
        read(client.get(&server.url("/")).await).await.unwrap();
        // The connection closes although there are no requests.
        while seen.try_recv().is_err() {
            runtime::sleep(Duration::from_millis(2)).await;
        }
        assert!(runtime::now_ns() - start_ns >= 30_000_000);
        read(client.get(&server.url("/")).await).await.unwrap();
    });
    assert_eq!(server.accepted(), 2);
}

#[test]
fn an_expired_connection_is_not_used_even_if_it_is_still_open() {
    let server = Server::start(echo_target);
    run(async {
        let pool = PoolOptions::default().idle_timeout(Duration::from_millis(30));
        let client = Client::new(pooled(pool));
        read(client.get(&server.url("/")).await).await.unwrap();
        // Lets the task that closes idle connections start its sleep.
        runtime::yield_now().await;
        // Blocks the worker, so that its tasks do not run. This future is then polled before them.
        thread::sleep(Duration::from_millis(60));
        runtime::yield_now().await;
        read(client.get(&server.url("/")).await).await.unwrap();
    });
    assert_eq!(server.accepted(), 2);
}

#[test]
fn an_unusable_connection_does_not_displace_a_usable_one() {
    let server = Server::start(|number, peer| {
        while peer.request().is_some() {
            if number == 0 {
                peer.respond("kept");
            } else {
                peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast");
            }
        }
    });
    run(async {
        let client = Client::new(pooled(PoolOptions::default().idle_per_host_max(1)));
        let kept = client.get(&server.url("/")).await;
        let last = client.get(&server.url("/")).await;
        assert_eq!(read(kept).await.unwrap().1, "kept");
        assert_eq!(read(last).await.unwrap().1, "last");
        assert_eq!(read(client.get(&server.url("/")).await).await.unwrap().1, "kept");
    });
    assert_eq!(server.accepted(), 2);
}

#[test]
fn the_connection_that_was_used_last_is_used_next() {
    let server = Server::start(|number, peer| {
        while peer.request().is_some() {
            peer.respond(&number.to_string());
        }
    });
    run(async {
        let client = Client::default();
        let first = client.get(&server.url("/")).await;
        let second = client.get(&server.url("/")).await;
        assert_eq!(read(first).await.unwrap(), (200, "0".into()));
        assert_eq!(read(second).await.unwrap(), (200, "1".into()));
        for _ in 0..3 {
            assert_eq!(read(client.get(&server.url("/")).await).await.unwrap(), (200, "1".into()));
        }
    });
}

#[test]
fn idle_connections_stay_within_their_limit() {
    for (idle_per_host_max, opened) in [(Some(0), 8), (Some(1), 7), (Some(4), 4), (None, 4)] {
        let server = Server::start(echo_target);
        run(async {
            let pool = PoolOptions::default().idle_per_host_max(idle_per_host_max);
            let client = Client::new(pooled(pool));
            for _ in 0..2 {
                let mut responses = Vec::new();
                for _ in 0..4 {
                    responses.push(client.get(&server.url("/")).await.unwrap());
                }
                drop(responses);
            }
        });
        assert_eq!(server.accepted(), opened, "{idle_per_host_max:?}");
    }
}

#[test]
fn the_connections_used_last_stay_idle() {
    let server = Server::start(|number, peer| {
        while peer.request().is_some() {
            peer.respond(&number.to_string());
        }
    });
    run(async {
        let client = Client::new(pooled(PoolOptions::default().idle_per_host_max(2)));
        let mut responses = Vec::new();
        for _ in 0..3 {
            responses.push(client.get(&server.url("/")).await);
        }
        for response in responses.drain(..) {
            read(response).await.unwrap();
        }
        for _ in 0..2 {
            responses.push(client.get(&server.url("/")).await);
        }
        let mut numbers = Vec::new();
        for response in responses {
            numbers.push(read(response).await.unwrap().1);
        }
        assert_eq!(numbers, ["2", "1"]);
    });
}

/// Returns a server that serves one request, closes on a message, and confirms that. It keeps the second connection and
/// all later ones open.
fn closes_once_idle() -> (Server, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (close, order) = mpsc::channel();
    let (closed, seen) = mpsc::channel();
    let channels = Mutex::new((order, closed));
    let server = Server::start(move |number, peer| {
        if number > 0 {
            return echo_target(number, peer);
        }
        let channels = channels.lock().unwrap();
        peer.request();
        peer.respond("first");
        channels.0.recv().unwrap();
        peer.end();
        channels.1.send(()).unwrap();
        peer.drain();
    });
    (server, close, seen)
}

#[test]
fn a_connection_that_was_closed_while_idle_is_not_used() {
    let (server, close, closed) = closes_once_idle();
    run(async {
        let client = Client::new(ClientOptions::default().replays_max(0));
        read(client.get(&server.url("/")).await).await.unwrap();
        close.send(()).unwrap();
        closed.recv().unwrap();
        runtime::yield_now().await;
        read(client.get(&server.url("/")).await).await.unwrap();
    });
    assert_eq!(server.accepted(), 2);
}

#[test]
fn a_connection_that_closes_before_the_waiting_request_takes_it_is_not_used() {
    let (server, close, closed) = closes_once_idle();
    run(async {
        let pool = PoolOptions::default().connections_per_host_max(1);
        let client = Client::new(pooled(pool).replays_max(0));
        let first = client.get(&server.url("/")).await;
        runtime::spawn(async move {
            // At the end of the body, the connection goes to the request below. The worker polls that request only
            // after the next turn.
            read(first).await.unwrap();
            close.send(()).unwrap();
            closed.recv().unwrap();
        });
        let answer = read(client.get(&server.url("/second")).await).await;
        assert_eq!(answer.unwrap(), (200, "/second".into()));
    });
    assert_eq!(server.accepted(), 2);
}

#[test]
fn a_request_that_cannot_be_replayed_avoids_a_connection_that_has_just_closed() {
    let (server, close, closed) = closes_once_idle();
    run(async {
        let client = Client::new(ClientOptions::default().replays_max(0));
        read(client.get(&server.url("/")).await).await.unwrap();
        runtime::yield_now().await;
        close.send(()).unwrap();
        closed.recv().unwrap();
        // The worker takes no turn between the close and the next request.
        let answer = read(client.post(&server.url("/post"), "body").await).await;
        assert_eq!(answer.unwrap(), (200, "/post".into()));
    });
    assert_eq!(server.accepted(), 2);
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A script that has answered a request without a body.
fn answered() -> Script {
    Script::new().expect_until("\r\n\r\n").send(OK)
}

#[test]
fn a_get_that_crosses_with_a_close_is_replayed_and_a_post_is_not() {
    for (method, streamed, replays_max, succeeds) in [
        ("GET", false, 1, true),
        ("GET", false, 0, false),
        ("PUT", false, 1, true),
        ("PUT", true, 1, false),
        ("POST", false, 1, false),
    ] {
        testing::run(async |network| {
            let line = format!("{method} /2 HTTP/1.1\r\n");
            let second = |script: Script| script.expect(&line).expect_until("\r\n\r\nbody");
            network.serve(SIMULATED, second(answered()).close());
            if succeeds {
                network.serve(SIMULATED, second(Script::new()).send(OK));
            }
            let client = Client::new(ClientOptions::default().replays_max(replays_max));
            read(client.get(URL).await).await.unwrap();
            let body =
                if streamed { RequestBody::stream("body".to_owned()) } else { RequestBody::from("body") };
            let request = Request::builder().method(method).uri(format!("{URL}2")).body(body).unwrap();
            match read(client.request(request).await).await {
                Ok(answer) => assert!(succeeds && answer == (200, "ok".into()), "{method} {answer:?}"),
                Err(error) => assert!(!succeeds && matches!(error, Error::Closed), "{method}: {error}"),
            }
        });
    }
}

#[test]
fn replays_are_counted_and_go_to_fresh_connections() {
    testing::run(async |network| {
        let again = Script::new().expect("GET /2 ").expect_until("\r\n\r\n").close();
        network.serve(SIMULATED, answered().expect("GET /2 ").expect_until("\r\n\r\n").close());
        network.serve(SIMULATED, again.clone());
        network.serve(SIMULATED, again);
        let client = Client::new(ClientOptions::default().replays_max(2));
        read(client.get(URL).await).await.unwrap();
        let error = read(client.get(&format!("{URL}2")).await).await.unwrap_err();
        assert!(matches!(error, Error::Closed), "{error}");
        network.serve(SIMULATED, answered());
        read(client.get(URL).await).await.unwrap();
    });
}

#[test]
fn a_request_with_a_partial_response_is_not_replayed() {
    for reset in [false, true] {
        testing::run(async |network| {
            let second = answered().expect_until("\r\n\r\n").send("HTTP/1.1 100 Continue\r\n\r\n");
            let second = second.delay(Duration::from_secs(1));
            network.serve(SIMULATED, if reset { second.reset() } else { second.close() });
            let client = Client::default();
            read(client.get(URL).await).await.unwrap();
            let error = client.get(URL).await.unwrap_err();
            assert!(if reset { error.is_reset() } else { matches!(error, Error::Incomplete(_)) }, "{error}");
        });
    }
}

#[test]
fn a_close_of_a_new_connection_fails_at_once() {
    testing::run(async |network| {
        network.serve(SIMULATED, Script::new().expect_until("\r\n\r\n").close());
        let error = Client::default().get(URL).await.unwrap_err();
        assert!(matches!(error, Error::Closed), "{error}");
    });
}

/// A reset without an answer says as little about the request as a close does.
#[test]
fn a_get_that_crosses_with_a_reset_is_replayed() {
    let server = Server::start(|number, peer| {
        peer.request();
        peer.respond("ok");
        if number == 0 && peer.request().is_some() {
            peer.reset();
        }
    });
    run(async {
        let client = Client::default();
        for _ in 0..2 {
            assert_eq!(read(client.get(&server.url("/")).await).await.unwrap(), (200, "ok".into()));
        }
    });
    assert_eq!(server.accepted(), 2);
}
