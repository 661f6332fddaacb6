//! Send, `send_skip_success` and shutdown.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::Bytes;
use ringtide_driver::limits::SKIP_SUCCESS_SEND_SIZE_MAX;
use ringtide_driver::{Driver, ReceiveEnd, SendBuffer};
use socket2::SockRef;

use crate::pump::{Pump, SETTLED_NS, loopback, owned, pattern};
use crate::subject::{Scratch, Subject};

/// More bytes than the socket buffers of both ends can hold (`net.ipv4.tcp_wmem`, `tcp_rmem`: at most 4 and 6 MiB).
const MORE_THAN_FITS: usize = 32 * 1024 * 1024;

pub(crate) fn an_empty_send_completes<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(server);
    pump.send(client, owned(b""));
    assert_eq!(pump.driver.send(client, owned(b"x")).expect_err("sending").kind(), ErrorKind::ResourceBusy);
    pump.sent(client).0.expect("there is nothing that could fail");
    pump.expect_nothing();
    pump.finish(&[client, server]);
}

pub(crate) fn a_second_send_is_busy<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(server);
    pump.send(client, owned(b"first"));
    let error = pump.driver.send(client, owned(b"second")).expect_err("sending");
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    let error = pump.driver.send_skip_success(client, b"third").expect_err("sending");
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    let error = pump.driver.shutdown(client).expect_err("sending");
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    pump.sent(client).0.expect("sent");
    assert_eq!(pump.received(server, 5), b"first");
    pump.expect_nothing();
    pump.finish(&[client, server]);
}

pub(crate) fn buffers_come_back<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(server);
    let mut bytes = Vec::with_capacity(1_000);
    bytes.extend_from_slice(b"owned");
    let (pointer, capacity) = (bytes.as_ptr(), bytes.capacity());
    pump.send(client, SendBuffer::Owned(bytes));
    match pump.sent(client) {
        (Ok(()), SendBuffer::Owned(back)) => {
            assert_eq!((back.as_ptr(), back.capacity(), &back[..]), (pointer, capacity, &b"owned"[..]));
        }
        other => panic!("not the buffer that was sent: {other:?}"),
    }
    pump.send(client, SendBuffer::Shared(Bytes::from_static(b"shared")));
    assert!(matches!(pump.sent(client), (Ok(()), SendBuffer::Shared(back)) if back == "shared"));
    pump.send(client, SendBuffer::Static(b"static"));
    assert!(matches!(pump.sent(client), (Ok(()), SendBuffer::Static(b"static"))));
    assert_eq!(pump.received(server, 17), b"ownedsharedstatic");
    pump.finish(&[client, server]);
}

pub(crate) fn a_send_waits_for_its_reader<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    let bytes = Bytes::from(pattern(5, MORE_THAN_FITS));
    pump.send(client, SendBuffer::Shared(bytes.clone()));
    pump.expect_nothing();
    pump.receive(server);
    assert!(pump.received(server, bytes.len()) == bytes, "wrong bytes");
    pump.sent(client).0.expect("all was read");
    pump.finish(&[client, server]);
}

pub(crate) fn a_blocked_send_fails_when_the_peer_closes<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.send(client, SendBuffer::Owned(vec![0; MORE_THAN_FITS]));
    pump.expect_nothing();
    pump.close(server);
    pump.closed(server);
    let (result, buffer) = pump.sent(client);
    let error = result.expect_err("nobody has read it");
    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    assert_eq!(buffer.len(), MORE_THAN_FITS);
    pump.finish(&[client]);
}

pub(crate) fn a_failed_send_tells_how_much_was_taken<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    let bytes = Bytes::from(pattern(6, MORE_THAN_FITS));
    pump.send(client, SendBuffer::Shared(bytes));
    pump.expect_nothing();
    pump.close(server);
    pump.closed(server);
    let cut = pump.send_ended(client).0.expect_err("nobody has read it");
    assert!(cut.sent_size > 0 && cut.sent_size < MORE_THAN_FITS, "{cut:?}");
    // The kernel takes nothing more, and the driver reports that too.
    pump.send(client, owned(b"more"));
    let cut = pump.send_ended(client).0.expect_err("the connection is gone");
    assert_eq!(cut.sent_size, 0, "{cut:?}");
    pump.finish(&[client]);
}

pub(crate) fn a_cancelled_send_tells_how_much_was_taken<S: Subject>() {
    let scratch = Scratch::new();
    let mut pump = S::pump();
    for address in [loopback(), scratch.address("socket")] {
        let (client, server) = pump.pair_over(&address);
        let bytes = Bytes::from(pattern(7, MORE_THAN_FITS));
        pump.send(client, SendBuffer::Shared(bytes.clone()));
        pump.expect_nothing();
        pump.cancel_send(client);
        // A second cancel has no effect.
        pump.cancel_send(client);
        let (result, buffer) = pump.send_ended(client);
        let cut = result.expect_err("there was no room for all of it");
        assert_eq!(cut.error.raw_os_error(), Some(libc::ECANCELED), "{cut:?}");
        assert!(cut.sent_size > 0 && cut.sent_size < MORE_THAN_FITS, "{cut:?}");
        assert!(matches!(buffer, SendBuffer::Shared(back) if back == bytes), "another buffer");
        // What the kernel took arrives completely, and the next send continues from there.
        pump.receive(server);
        assert!(pump.received(server, cut.sent_size) == bytes[..cut.sent_size], "wrong bytes");
        pump.send(client, owned(b"next"));
        pump.sent(client).0.expect("there is room");
        assert_eq!(pump.received(server, 4), b"next");
        pump.expect_nothing();
        pump.finish(&[client, server]);
    }
}

pub(crate) fn cancelling_a_send_that_has_ended_does_nothing<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(server);
    pump.cancel_send(client);
    pump.expect_nothing();
    // It may succeed or be cancelled, but it ends once, and the reported size is right.
    pump.send(client, owned(b"first"));
    pump.cancel_send(client);
    let sent_size = pump.send_ended(client).0.map_or_else(|cut| cut.sent_size, |()| 5);
    pump.cancel_send(client);
    pump.send(client, owned(b"second"));
    pump.sent(client).0.expect("there is room");
    pump.cancel_send(client);
    let expected = [&b"first"[..sent_size], b"second"].concat();
    assert_eq!(pump.received(server, expected.len()), expected);
    // A skip-success send cannot be cancelled.
    pump.send_skip_success(client, b"third");
    pump.cancel_send(client);
    assert_eq!(pump.received(server, 5), b"third");
    pump.expect_nothing();
    pump.finish(&[client, server]);
}

pub(crate) fn shutdown_ends_one_half<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(client);
    pump.receive(server);
    pump.send(client, owned(b"request"));
    pump.sent(client).0.expect("sent");
    pump.driver.shutdown(client).expect("connected");
    let (request, end) = pump.received_all(server);
    assert!(request == b"request" && matches!(end, ReceiveEnd::Eof), "{request:?} {end:?}");
    // The other half still works.
    pump.send(server, owned(b"answer"));
    assert_eq!(pump.received(client, 6), b"answer");
    pump.sent(server).0.expect("sent");
    pump.send(client, owned(b"more"));
    let error = pump.sent(client).0.expect_err("this half is shut");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
    pump.driver.shutdown(server).expect("connected");
    let (rest, end) = pump.received_all(client);
    assert!(rest.is_empty() && matches!(end, ReceiveEnd::Eof), "{rest:?} {end:?}");
    pump.finish(&[client, server]);
}

pub(crate) fn a_skip_success_send_says_nothing_when_it_succeeds<S: Subject>() {
    if S::CUTS_SENDS {
        return; // It then has events, which the property tests check.
    }
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(client);
    pump.receive(server);
    for _ in 0..10 {
        pump.send_skip_success(client, b"request");
        assert_eq!(pump.received(server, 7), b"request");
        // The response shows that the request has arrived.
        pump.send(server, owned(b"answer"));
        assert_eq!(pump.received(client, 6), b"answer");
        pump.sent(server).0.expect("sent");
    }
    // Neither a response nor a turn is needed in between.
    for _ in 0..3 {
        pump.send_skip_success(client, &[7; SKIP_SUCCESS_SEND_SIZE_MAX]);
    }
    assert_eq!(pump.received(server, 3 * SKIP_SUCCESS_SEND_SIZE_MAX), [7; 3 * SKIP_SUCCESS_SEND_SIZE_MAX]);
    pump.expect_nothing();
    // An ordinary send may follow.
    pump.send(client, owned(b"loud"));
    pump.sent(client).0.expect("sent");
    assert_eq!(pump.received(server, 4), b"loud");
    pump.finish(&[client, server]);
}

pub(crate) fn a_skip_success_send_reports_failure<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.driver.shutdown(client).expect("connected");
    pump.send_skip_success(client, b"request");
    let (result, buffer) = pump.sent(client);
    assert_eq!(result.expect_err("this half is shut").kind(), ErrorKind::BrokenPipe);
    assert!(matches!(buffer, SendBuffer::Static(b"request")), "{buffer:?}");
    pump.finish(&[client, server]);
}

pub(crate) fn a_skip_success_send_that_is_too_large_is_an_error_of_the_call<S: Subject>() {
    static TOO_LARGE: [u8; SKIP_SUCCESS_SEND_SIZE_MAX + 1] = [0; SKIP_SUCCESS_SEND_SIZE_MAX + 1];
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(server);
    let error = pump.driver.send_skip_success(client, &TOO_LARGE).expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    pump.expect_nothing();
    pump.finish(&[client, server]);
}

/// As large as a skip-success send may be.
static REQUEST: [u8; SKIP_SUCCESS_SEND_SIZE_MAX] = [b'q'; SKIP_SUCCESS_SEND_SIZE_MAX];

static OTHER_REQUEST: [u8; SKIP_SUCCESS_SEND_SIZE_MAX] = [b'r'; SKIP_SUCCESS_SEND_SIZE_MAX];

/// Creates a connection whose sending side is full: no byte fits until the peer reads. Also returns how many bytes it
/// holds.
///
/// It is no TCP connection: there, the acknowledgement that the peer's kernel delays makes room by itself (by 40 ms on
/// Linux).
pub(crate) fn full_connection() -> (UnixStream, UnixStream, usize) {
    let (sender, peer) = UnixStream::pair().expect("a pair can be made");
    SockRef::from(&sender).set_send_buffer_size(4096).expect("settable");
    sender.set_nonblocking(true).expect("settable");
    let full = fill(&sender);
    (sender, peer, full)
}

/// Creates a TCP connection whose sending side has little room, or none. Also returns how many bytes it holds.
fn crowded_connection() -> (TcpStream, TcpStream, usize) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
    // Accepted sockets inherit this. Otherwise the buffer would grow while the peer reads.
    SockRef::from(&listener).set_recv_buffer_size(4096).expect("settable");
    let sender = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let (peer, _) = listener.accept().expect("it has connected");
    SockRef::from(&sender).set_send_buffer_size(4096).expect("settable");
    sender.set_nonblocking(true).expect("settable");
    let held = fill(&sender);
    (sender, peer, held)
}

/// Writes until nothing fits. Returns how many bytes that were.
fn fill(mut sender: impl Write) -> usize {
    let mut count = 0;
    for piece in [&[b'f'; 1024][..], b"f"] {
        loop {
            match sender.write(piece) {
                Ok(more) => count += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    count
}

/// Takes turns until the peer has read `len` bytes, and returns them.
fn read_by_peer<D: Driver>(pump: &mut Pump<D>, peer: &mut (impl Read + AsFd), len: usize) -> Vec<u8> {
    let mut arrived = vec![0; len];
    let mut count = 0;
    SockRef::from(&*peer).set_read_timeout(Some(Duration::from_millis(5))).expect("settable");
    // The driver needs turns to continue the send.
    for _ in 0..10_000 {
        match peer.read(&mut arrived[count..]) {
            Ok(more) => count += more,
            Err(error) => {
                // The driver's ring may interrupt any wait of its thread.
                let again = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
                assert!(again.contains(&error.kind()), "{error}");
            }
        }
        if count == len {
            break;
        }
        pump.turn(Some(0));
    }
    assert_eq!(count, len);
    arrived
}

pub(crate) fn a_skip_success_send_that_has_to_wait_arrives_whole<S: Subject>() {
    if !S::REAL {
        return; // It cannot adopt sockets. The property tests fill its own.
    }
    let (sender, mut peer, full) = full_connection();
    let mut pump = S::pump();
    let socket = pump.driver.adopt(sender.into()).expect("adopted");
    pump.own(socket);
    pump.send_skip_success(socket, &REQUEST);
    // The turn that submits the send reports that it waits.
    pump.turn(Some(0));
    pump.send_waits(socket);
    pump.expect_nothing();
    let arrived = read_by_peer(&mut pump, &mut peer, full + REQUEST.len());
    assert!(arrived[full..] == REQUEST);
    let (result, buffer) = pump.sent(socket);
    result.expect("there was room at last");
    assert_eq!(buffer.as_one().map(<[u8]>::as_ptr), Some(REQUEST.as_ptr()));
    pump.expect_nothing();
    pump.finish(&[socket]);
}

/// It does not matter whether the peer has responded meanwhile.
pub(crate) fn nothing_overtakes_a_skip_success_send_that_waits<S: Subject>() {
    if !S::REAL {
        return;
    }
    for turn_between in [false, true] {
        let (sender, mut peer, full) = full_connection();
        let mut pump = S::pump();
        let socket = pump.driver.adopt(sender.into()).expect("adopted");
        pump.own(socket);
        pump.send_skip_success(socket, &REQUEST);
        if turn_between {
            pump.turn(Some(0));
        }
        for error in [
            pump.driver.send(socket, owned(b"next")),
            pump.driver.send_skip_success(socket, b"next"),
            pump.driver.shutdown(socket),
        ] {
            assert_eq!(error.expect_err("one is under way").kind(), ErrorKind::ResourceBusy);
        }
        pump.send_waits(socket);
        let arrived = read_by_peer(&mut pump, &mut peer, full + REQUEST.len());
        assert!(arrived[full..] == REQUEST, "something came in between");
        pump.sent(socket).0.expect("there was room at last");
        pump.send_skip_success(socket, b"next");
        pump.driver.shutdown(socket).expect("nothing is under way");
        assert_eq!(read_by_peer(&mut pump, &mut peer, 4), b"next");
        peer.set_read_timeout(None).expect("settable");
        assert_eq!(peer.read(&mut [0]).expect("the end"), 0);
        pump.finish(&[socket]);
    }
}

/// There is room for a part of the bytes or for all of them. In any case they arrive in order.
pub(crate) fn skip_success_sends_into_little_room_keep_their_order<S: Subject>() {
    if !S::REAL {
        return;
    }
    let mut waited = 0;
    for room in [1, 700, 1_500, 3_000, 5_000] {
        let (sender, mut peer, held) = crowded_connection();
        let mut pump = S::pump();
        let socket = pump.driver.adopt(sender.into()).expect("adopted");
        pump.own(socket);
        let mut expected = vec![b'f'; held];
        let mut arrived = read_by_peer(&mut pump, &mut peer, room.min(held));
        for request in [&REQUEST, &OTHER_REQUEST, &REQUEST, &OTHER_REQUEST] {
            if let Err(error) = pump.try_send_skip_success(socket, request) {
                assert_eq!(error.kind(), ErrorKind::ResourceBusy);
                waited += 1;
                let unread = expected.len() - arrived.len();
                arrived.extend(read_by_peer(&mut pump, &mut peer, unread));
                pump.send_waits(socket);
                pump.sent(socket).0.expect("there is room");
                pump.send_skip_success(socket, request);
            }
            expected.extend_from_slice(request);
        }
        let unread = expected.len() - arrived.len();
        arrived.extend(read_by_peer(&mut pump, &mut peer, unread));
        assert!(arrived == expected, "wrong bytes");
        // The last send may or may not have had events.
        pump.pass(SETTLED_NS);
        pump.forget(socket);
        pump.finish(&[socket]);
    }
    assert!(waited > 0, "there was room for all of it, always");
}

pub(crate) fn a_skip_success_send_that_waits_can_be_cancelled<S: Subject>() {
    if !S::REAL {
        return;
    }
    let (sender, mut peer, full) = full_connection();
    let mut pump = S::pump();
    let socket = pump.driver.adopt(sender.into()).expect("adopted");
    pump.own(socket);
    pump.send_skip_success(socket, &REQUEST);
    pump.turn(Some(0));
    pump.send_waits(socket);
    pump.cancel_send(socket);
    let cut = pump.send_ended(socket).0.expect_err("there was no room");
    assert_eq!((cut.sent_size, cut.error.raw_os_error()), (0, Some(libc::ECANCELED)), "{cut:?}");
    read_by_peer(&mut pump, &mut peer, full);
    pump.send_skip_success(socket, b"next");
    assert_eq!(read_by_peer(&mut pump, &mut peer, 4), b"next");
    pump.expect_nothing();
    pump.finish(&[socket]);
}

pub(crate) fn a_skip_success_send_that_is_cut_short_is_reported<S: Subject>() {
    if !S::REAL {
        return;
    }
    let (sender, peer, _) = full_connection();
    let mut pump = S::pump();
    let socket = pump.driver.adopt(sender.into()).expect("adopted");
    pump.own(socket);
    pump.send_skip_success(socket, &REQUEST);
    pump.turn(Some(0));
    pump.send_waits(socket);
    pump.expect_nothing();
    // The peer leaves without reading anything. The connection is reset after the kernel took nothing or a part of the
    // request.
    drop(peer);
    let (result, buffer) = pump.sent(socket);
    let kind = result.expect_err("the peer is gone").kind();
    assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind}");
    assert_eq!(buffer.len(), REQUEST.len());
    pump.finish(&[socket]);
}

pub(crate) fn a_send_follows_an_empty_one<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(server);
    for _ in 0..2 {
        pump.send(client, owned(b""));
        pump.sent(client).0.expect("there is nothing that could fail");
        pump.send(client, owned(b"after"));
        pump.sent(client).0.expect("sent");
        assert_eq!(pump.received(server, 5), b"after");
    }
    pump.finish(&[client, server]);
}

pub(crate) fn an_empty_skip_success_send_says_nothing<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(server);
    for _ in 0..2 {
        pump.driver.send_skip_success(client, b"").expect("it is idle");
    }
    pump.expect_nothing();
    pump.send(client, owned(b"after"));
    assert_eq!(pump.received(server, 5), b"after");
    pump.sent(client).0.expect("sent");
    pump.finish(&[client, server]);
}

/// A driver may refuse the next one until the caller has been told. If it does not, that one ends as well.
pub(crate) fn a_skip_success_send_that_fails_leaves_the_next_send_alone<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.driver.shutdown(client).expect("connected");
    pump.send_skip_success(client, b"first");
    let mut expected = vec![b"first"];
    match pump.try_send_skip_success(client, b"other") {
        Ok(()) => expected.push(b"other"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ResourceBusy),
    }
    for expected in expected {
        let (result, buffer) = pump.sent(client);
        assert_eq!(result.expect_err("this half is shut").kind(), ErrorKind::BrokenPipe);
        assert_eq!(buffer.as_one(), Some(&expected[..]));
    }
    pump.finish(&[client, server]);
}
