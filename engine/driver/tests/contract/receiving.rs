//! Receive and cancel: every byte arrives once and in order, and there is exactly one end.

use std::io::ErrorKind;

use ringtide_driver::{Driver, Event, Handle, ReceiveEnd};

use crate::pump::{Pump, SETTLED_NS, owned, pattern};
use crate::subject::Subject;

pub(crate) fn echo<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(client);
    pump.receive(server);
    for round in 0..20 {
        let bytes = pattern(round, 1 + round as usize * 50);
        pump.send(client, owned(&bytes));
        assert_eq!(pump.received(server, bytes.len()), bytes);
        pump.sent(client).0.expect("sent");
        pump.send(server, owned(&bytes));
        assert_eq!(pump.received(client, bytes.len()), bytes);
        pump.sent(server).0.expect("sent");
    }
    pump.finish(&[client, server]);
}

pub(crate) fn a_second_receive_is_busy<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(client);
    assert_eq!(pump.driver.receive(client).expect_err("receiving").kind(), ErrorKind::ResourceBusy);
    // The refused call has changed nothing.
    pump.send(server, owned(b"once"));
    assert_eq!(pump.received(client, 4), b"once");
    pump.sent(server).0.expect("sent");
    pump.finish(&[client, server]);
}

pub(crate) fn bytes_that_came_before_receive_are_received<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.send(server, owned(b"early"));
    pump.sent(server).0.expect("sent");
    pump.expect_nothing();
    pump.receive(client);
    assert_eq!(pump.received(client, 5), b"early");
    pump.finish(&[client, server]);
}

pub(crate) fn the_end_comes_after_the_last_byte<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    let bytes = pattern(1, 3_000);
    pump.send(server, owned(&bytes));
    pump.sent(server).0.expect("sent");
    pump.close(server);
    pump.closed(server);
    pump.receive(client);
    let (received, end) = pump.received_all(client);
    assert!(received == bytes && matches!(end, ReceiveEnd::Eof), "{} bytes, {end:?}", received.len());
    // A further receive reports the end again.
    pump.receive(client);
    let (received, end) = pump.received_all(client);
    assert!(received.is_empty() && matches!(end, ReceiveEnd::Eof), "{} bytes, {end:?}", received.len());
    pump.finish(&[client]);
}

pub(crate) fn the_end_can_be_looked_for<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(client);
    pump.expect_nothing();
    assert!(!pump.driver.is_at_end(client), "nothing has been sent");
    pump.send(server, owned(b"bytes"));
    pump.sent(server).0.expect("sent");
    assert_eq!(pump.received(client, 5), b"bytes");
    assert!(!pump.driver.is_at_end(client), "more may come");
    pump.driver.shutdown(server).expect("connected");
    assert!(matches!(pump.piece(client), Err(ReceiveEnd::Eof)));
    assert!(pump.driver.is_at_end(client));
    pump.close(client);
    assert!(!pump.driver.is_at_end(client), "the handle is stale");
    pump.closed(client);
    pump.finish(&[server]);
}

pub(crate) fn a_reset_ends_the_receive_with_an_error<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(client);
    // Closing a socket with unread bytes resets the connection (RFC 9293 section 3.10.4).
    pump.send(client, owned(b"nobody reads this"));
    pump.sent(client).0.expect("sent");
    pump.pass(SETTLED_NS);
    pump.close(server);
    pump.closed(server);
    match pump.received_all(client) {
        (bytes, ReceiveEnd::Error(error)) => {
            assert!(bytes.is_empty());
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        other => panic!("a reset is not {other:?}"),
    }
    pump.send(client, owned(b"too late"));
    let error = pump.sent(client).0.expect_err("the connection is gone");
    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    pump.finish(&[client]);
}

pub(crate) fn a_cancelled_receive_leaves_later_bytes_in_the_socket<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(client);
    pump.expect_nothing();
    pump.cancel(client);
    let end = pump.piece(client).expect_err("nothing was sent");
    assert!(matches!(end, ReceiveEnd::Cancelled), "{end:?}");
    pump.send(server, owned(b"later"));
    pump.sent(server).0.expect("sent");
    pump.expect_nothing();
    pump.receive(client);
    assert_eq!(pump.received(client, 5), b"later");
    pump.finish(&[client, server]);
}

pub(crate) fn cancelling_twice_ends_once<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(client);
    pump.cancel(client);
    pump.cancel(client);
    pump.piece(client).expect_err("nothing was sent");
    pump.expect_nothing();
    // A superfluous cancel does not end a later receive.
    pump.cancel(client);
    pump.receive(client);
    pump.expect_nothing();
    pump.send(server, owned(b"still there"));
    assert_eq!(pump.received(client, 11), b"still there");
    pump.sent(server).0.expect("sent");
    pump.finish(&[client, server]);
}

pub(crate) fn cancelling_nothing_does_nothing<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.cancel(client);
    pump.expect_nothing();
    pump.close(server);
    pump.closed(server);
    pump.cancel(server);
    pump.finish(&[client]);
}

pub(crate) fn a_cancel_that_races_with_bytes_loses_none<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    let bytes = pattern(2, 60 * 400);
    let mut received = Vec::new();
    for (round, piece) in bytes.chunks(400).enumerate() {
        pump.receive(client);
        pump.send(server, owned(piece));
        // Cancels before the send, together with it, and after a part of it has arrived.
        if round % 3 == 1 {
            pump.turn(Some(0));
        } else if round % 3 == 2 {
            pump.pass(50_000);
        }
        pump.cancel(client);
        let (piece, end) = pump.received_all(client);
        assert!(matches!(end, ReceiveEnd::Cancelled), "{end:?}");
        received.extend(piece);
        pump.sent(server).0.expect("sent");
    }
    pump.receive(client);
    received.extend(pump.received(client, bytes.len() - received.len()));
    assert!(received == bytes, "bytes were lost, doubled or reordered");
    pump.finish(&[client, server]);
}

pub(crate) fn a_cancel_that_races_with_the_end_ends_once<S: Subject>() {
    let mut pump = S::pump();
    for round in 0..20 {
        let (client, server) = pump.pair();
        pump.receive(client);
        pump.driver.shutdown(server).expect("connected");
        if round % 2 == 1 {
            pump.turn(Some(0));
        }
        pump.cancel(client);
        let end = pump.piece(client).expect_err("nothing was sent");
        assert!(matches!(end, ReceiveEnd::Cancelled | ReceiveEnd::Eof), "{end:?}");
        pump.finish(&[client, server]);
    }
}

/// Sends eight megabytes in each direction at the same time, through few and small buffers.
pub(crate) fn bytes_keep_their_order_both_ways<S: Subject>() {
    const LEN: usize = 8 * 1024 * 1024;
    let mut pump = S::pump_with_pool(16, 2_000);
    let (client, server) = pump.pair();
    let mut ends = [
        End { socket: client, sends: pattern(3, LEN), expects: pattern(4, LEN), sent: 0, received: 0 },
        End { socket: server, sends: pattern(4, LEN), expects: pattern(3, LEN), sent: 0, received: 0 },
    ];
    for end in &mut ends {
        pump.receive(end.socket);
        end.send_part(&mut pump);
    }
    while ends.iter().any(|end| end.received < LEN || end.sent < LEN + 1) {
        let (socket, event) = pump.any();
        let end = ends.iter_mut().find(|end| end.socket == socket).expect("one of the two");
        match event {
            Event::Received(lease) => {
                let expected = end.expects.get(end.received..end.received + lease.len());
                assert!(expected == Some(&lease), "wrong bytes from {} on", end.received);
                end.received += lease.len();
            }
            Event::Sent(result, _) => {
                result.expect("sent");
                end.send_part(&mut pump);
            }
            event => panic!("{event:?} after {} bytes", end.received),
        }
    }
    pump.finish(&[client, server]);
}

/// One end of a transfer.
struct End {
    socket: Handle,
    sends: Vec<u8>,
    expects: Vec<u8>,
    sent: usize,
    received: usize,
}

impl End {
    /// Sends the next part, with an uneven size. After the last part, `sent` is one more than the number of bytes.
    fn send_part<D: Driver>(&mut self, pump: &mut Pump<D>) {
        let len = (100_003 + self.sent % 50_021).min(self.sends.len() - self.sent);
        if len == 0 {
            self.sent += 1;
            return;
        }
        pump.send(self.socket, owned(&self.sends[self.sent..self.sent + len]));
        self.sent += len;
    }
}

pub(crate) fn a_limited_receive_brings_its_share_in_each_turn<S: Subject>() {
    const SIZE: usize = 200_000;
    for limit in [4 * 1024, 40 * 1024] {
        let mut pump = S::pump();
        let (client, server) = pump.pair();
        let bytes = pattern(3, SIZE);
        pump.send(server, owned(&bytes));
        pump.pass(SETTLED_NS);
        pump.driver.limit_receives(limit as u32);
        pump.receive(client);
        let known = pump.driver.name() == "fallback" || pump.driver.features().contains(&"receive_limit");
        // Without any limit, all bytes would come in one or two turns.
        let bounded = S::REAL && (known || limit < pump.driver.pool().buffer_size() as usize);
        let (mut received, mut cancelled) = (Vec::new(), false);
        while received.len() < SIZE {
            let deadline_ns = pump.driver.now_ns() + SETTLED_NS;
            pump.turn(Some(deadline_ns));
            let before = received.len();
            pump.take_received().iter().for_each(|(_, piece)| received.extend_from_slice(piece));
            assert!(!bounded || received.len() - before <= 2 * limit, "{} bytes", received.len() - before);
            // Between two turns the receive is not in progress and can be cancelled.
            if !cancelled && received.len() > SIZE / 2 {
                cancelled = true;
                pump.cancel(client);
                let end = loop {
                    match pump.piece(client) {
                        Ok(piece) => received.extend_from_slice(&piece),
                        Err(end) => break end,
                    }
                };
                assert!(matches!(end, ReceiveEnd::Cancelled), "{end:?}");
                pump.receive(client);
            }
        }
        assert!(received == bytes, "all come in the end, and in order");
        pump.sent(server).0.expect("sent");
        pump.finish(&[client, server]);
    }
}
