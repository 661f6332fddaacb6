//! Static requests, which are sent without a completion on success. What happens if the peer does not read one, or
//! refuses it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use ringtide::conn::{Aborted, ConnectionOptions};
use ringtide::runtime;
use ringtide::sim::SimOptions;
use ringtide::stream::Stream;
use ringtide::testing::{self, Script};
use ringtide::{Connection, Error, PreparedRequest};
use socket2::SockRef;

use super::run;

/// Returns a static request of about `size` bytes.
fn constant(size: usize) -> PreparedRequest {
    let request = Request::get("http://h/").header("x", "x".repeat(size)).body(Bytes::new()).unwrap();
    PreparedRequest::new(&request).unwrap().leak()
}

/// A response does not prove that the request arrived: a server may send it before it reads the request.
#[test]
fn a_server_that_answers_before_it_reads_gets_whole_requests_in_order() {
    const REQUESTS: usize = 300;
    let request = constant(3_900);
    let bytes = request.bytes().to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    // Sets the smallest possible size, so that a request is sent in several pieces.
    SockRef::from(&client).set_send_buffer_size(1).unwrap();
    let (started, starts) = mpsc::channel();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut answering = stream.try_clone().unwrap();
        let answers = thread::spawn(move || {
            for () in starts {
                answering.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
        });
        // Starts to read when the sockets are full, while the responses go on. So room appears just as the next request
        // is sent.
        let (mut arrived, mut before) = (0, 0);
        while arrived == 0 || arrived != before {
            thread::sleep(Duration::from_millis(20));
            before = arrived;
            arrived = stream.peek(&mut vec![0; 100_000]).unwrap();
        }
        let mut read = Vec::new();
        let mut piece = [0; 1_000];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            read.extend_from_slice(&piece[..count]);
        }
        answers.join().unwrap();
        read
    });
    let answered = run(async {
        let stream = Stream::adopt(client.into()).unwrap();
        let mut connection = Connection::new(stream, &ConnectionOptions::default());
        let mut answered = 0;
        while answered < REQUESTS {
            connection.start(&request).unwrap();
            // The kernel has as much of the request as there is room for when the server responds.
            runtime::yield_now().await;
            started.send(()).unwrap();
            // Once the sockets are full, this is the response to a request that has not begun: an error.
            let Ok(mut response) = connection.response().await else { break };
            response.discard().await.unwrap();
            answered += 1;
        }
        drop(started);
        answered
    });
    let read = server.join().unwrap();
    assert!(
        (2..REQUESTS).contains(&answered),
        "{answered} responses: the sockets were full too early, or never"
    );
    for (number, piece) in read.chunks(bytes.len()).enumerate() {
        assert!(piece == &bytes[..piece.len()], "request {number} of {answered} has another inside");
    }
}

#[test]
fn a_request_that_cannot_be_sent_fails_at_once() {
    for exchanges in [0, 1] {
        let (client, mut server) = UnixStream::pair().unwrap();
        let request = constant(10);
        run(async {
            let stream = Stream::adopt(client.into()).unwrap();
            let mut connection = Connection::new(stream, &ConnectionOptions::default());
            for _ in 0..exchanges {
                server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
                connection.send(&request).await.unwrap();
            }
            // The socket stays open, so that neither an end of stream nor a reset arrives.
            server.shutdown(Shutdown::Read).unwrap();
            let outcome = runtime::timeout(Duration::from_secs(10), connection.send(&request)).await;
            match outcome.expect("the connection did not notice that the request could not be sent") {
                Err(Error::Network(error)) => assert_eq!(error.kind(), ErrorKind::BrokenPipe),
                other => panic!("{other:?}"),
            }
            assert!(!connection.is_reusable());
        });
    }
}

/// Runs `main` with a connection to a peer. The sockets hold less than one request.
///
/// The peer responds once, reads nothing for a second, and then reads everything. This returns what it has read.
fn with_late_reader(main: impl AsyncFnOnce(Connection, &PreparedRequest)) -> (Vec<u8>, PreparedRequest) {
    let request = constant(3_000);
    let options = SimOptions { socket_buffer_size: 1_000, ..SimOptions::default() };
    let peer = testing::run_with(options, async |network| {
        let script = Script::new()
            .delay(Duration::from_millis(10))
            .send("HTTP/1.1 204 No Content\r\n\r\n")
            .delay(Duration::from_secs(1))
            .ignore_rest();
        let (stream, peer) = network.stream(script).await;
        main(Connection::new(stream, &ConnectionOptions::default()), &request).await;
        peer
    });
    (peer.received(), request)
}

#[test]
fn the_next_request_waits_for_one_that_was_answered_before_it_was_sent() {
    let (read, request) = with_late_reader(async |mut connection, request| {
        connection.send(request).await.unwrap().discard().await.unwrap();
        connection.start(request).unwrap();
        // There is no second response. Meanwhile both requests are sent.
        let waited = runtime::timeout(Duration::from_secs(3), connection.response()).await;
        assert!(waited.is_none());
    });
    assert_eq!(read, [request.bytes(), request.bytes()].concat());
}

#[test]
fn aborting_a_waiting_request_reports_how_much_was_taken() {
    let (read, request) = with_late_reader(async |mut connection, request| {
        connection.start(request).unwrap();
        runtime::sleep(Duration::from_millis(1)).await;
        let Aborted { sent_ns, cut_size } = connection.abort(0).await;
        assert!(matches!(sent_ns[..], [(_, Some(_))]), "{sent_ns:?}");
        assert_eq!(cut_size, Some(1_000));
    });
    assert_eq!(read, request.bytes()[..1_000]);
}
