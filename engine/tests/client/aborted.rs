//! Aborts a connection in the middle of its requests, over a simulated network. Exactly what it reports as sent
//! arrives.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use ringtide::limits::CLOSE_AFTER_PEER_MAX;
use ringtide::runtime;
use ringtide::sim::{Faults, SimOptions};
use ringtide::stream::Listener;
use ringtide::testing::{self, Script};
use ringtide::{Aborted, Address, Connection, ConnectionOptions, PreparedRequest};

/// The outcome of one simulated run.
struct Outcome {
    aborted: Aborted,
    /// Sizes of the requests, in order.
    sizes: Vec<usize>,
    arrived: usize,
}

/// Starts requests of sizes up to `size_max` and aborts the connection after a while. The peer reads only some bytes
/// before that.
fn run(seed: u64, size_max: u64) -> Outcome {
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let options =
        SimOptions { seed, faults: Faults::hidden(0.2), socket_buffer_size: 10_000 + seed as usize };
    let (read_first, patience) = (random(60_000) as usize, Duration::from_micros(random(20_000)));
    testing::run_with(options, async |network| {
        let (stream, mut peer) = network.pair().await;
        let over = Rc::new(Cell::new(false));
        let server_over = Rc::clone(&over);
        let server = runtime::spawn(async move {
            let mut arrived = 0;
            loop {
                // Reads the rest once the client is done.
                while arrived >= read_first && !server_over.get() {
                    runtime::sleep(Duration::from_millis(1)).await;
                }
                match peer.receive().await.unwrap() {
                    Some(lease) => arrived += lease.len(),
                    None => return arrived,
                }
            }
        });
        let options = ConnectionOptions::default().pipelining(true);
        let mut connection = Connection::new(stream, &options);
        let mut sizes = Vec::new();
        for _ in 0..40 {
            let body = Bytes::from(vec![b'x'; random(size_max) as usize]);
            let request = http::Request::post("http://simulated.invalid/").body(body).unwrap();
            let request = PreparedRequest::new(&request).unwrap();
            connection.start(&request).unwrap();
            sizes.push(request.bytes().len());
        }
        let wait = poll_fn(|context| {
            assert!(connection.poll_completion(context).is_pending(), "unexpected response");
            Poll::<()>::Pending
        });
        assert!(runtime::timeout(patience, wait).await.is_none());
        let aborted = connection.abort(usize::MAX).await;
        over.set(true);
        Outcome { aborted, sizes, arrived: server.await.unwrap() }
    })
}

#[test]
fn exactly_what_an_aborted_connection_reports_as_sent_arrives() {
    let (mut cuts, mut unsent, mut whole) = (0, 0, 0);
    // Requests that always share a send, requests that sometimes do, and requests that never do.
    for size_max in [300, 6_000, 40_000] {
        for seed in 0..150 {
            let Outcome { aborted: Aborted { sent_ns, cut_size }, sizes, arrived } = run(seed, size_max);
            assert_eq!(sent_ns.len(), sizes.len());
            let sent = sent_ns.iter().filter(|(_, sent_ns)| sent_ns.is_some()).count();
            assert!(
                sent_ns[..sent].iter().all(|(_, sent_ns)| sent_ns.is_some()),
                "sent in order: {sent_ns:?}"
            );
            let mut expected: usize = sizes[..sent].iter().sum();
            if let (Some(cut_size), Some(last)) = (cut_size, sizes[..sent].last()) {
                assert!(cut_size > 0);
                expected -= last - cut_size.min(*last);
                cuts += usize::from(cut_size < *last);
            }
            assert_eq!(arrived, expected, "seed {seed}, up to {size_max} bytes: {sent} sent, {cut_size:?}");
            unsent += usize::from(sent < sizes.len());
            whole += usize::from(cut_size.is_none());
        }
    }
    // All possible outcomes occurred.
    assert!(cuts > 100 && unsent > 100 && whole > 10, "{cuts} {unsent} {whole}");
}

/// The time of a request is known even if it is sent only by the turn in which its connection is aborted.
#[test]
fn a_request_that_was_just_started_has_its_own_time() {
    testing::run(async |network| {
        let (stream, peer) = network.stream(Script::new().expect_rest()).await;
        let request = http::Request::get("http://simulated.invalid/").body(Bytes::new()).unwrap();
        let request = PreparedRequest::new(&request).unwrap().leak();
        let mut connection = Connection::new(stream, &ConnectionOptions::default());
        runtime::sleep(Duration::from_secs(5)).await;
        let id = connection.start(&request).unwrap();
        let started_ns = runtime::now_ns();
        let Aborted { sent_ns, cut_size } = connection.abort(usize::MAX).await;
        assert!(cut_size.is_none());
        assert!(
            matches!(sent_ns[..], [(found, Some(sent_ns))] if found == id && sent_ns >= started_ns),
            "{sent_ns:?}"
        );
        assert_eq!(peer.played().await, request.bytes());
    });
}

/// Connections whose peers close at once do not affect this.
#[test]
fn a_slow_peer_gets_time_to_close_while_few_connections_wait() {
    testing::run(async |_| {
        let mut listener = Listener::bind(&Address::Tcp("127.0.0.1:80".parse().unwrap()), false).unwrap();
        let address = listener.local_address().unwrap();
        let slow = Connection::connect(&address).await.unwrap();
        let mut slow_peer = listener.accept().await.unwrap();
        let begun_ns = runtime::now_ns();
        slow.close_after_peer();
        let ended = runtime::spawn(async move {
            let _ = slow_peer.receive().await;
            runtime::now_ns()
        });
        for _ in 0..2 * CLOSE_AFTER_PEER_MAX {
            let connection = Connection::connect(&address).await.unwrap();
            let peer = listener.accept().await.unwrap();
            connection.close_after_peer();
            drop(peer);
            runtime::sleep(Duration::from_millis(10)).await;
            assert_eq!(runtime::sockets_closing(), 1);
        }
        assert!(ended.await.unwrap() - begun_ns >= 900_000_000);
        assert_eq!(runtime::sockets_closing(), 0);
        // Of more connections than may wait, the oldest are closed first.
        let mut peers = Vec::new();
        for _ in 0..=CLOSE_AFTER_PEER_MAX {
            Connection::connect(&address).await.unwrap().close_after_peer();
            peers.push(listener.accept().await.unwrap());
        }
        assert_eq!(runtime::sockets_closing(), CLOSE_AFTER_PEER_MAX);
        assert!(peers[0].receive().await.unwrap().is_none());
    });
}
