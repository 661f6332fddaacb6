//! Closing while operations are under way, and stale handles.

use std::io;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ringtide_driver::{Address, Driver, Handle, ReceiveEnd, SendBuffer};

use crate::pump::{Pump, loopback, owned};
use crate::subject::Subject;

/// Checks that all calls of the contract that return a result refuse `handle`.
fn refuses<D: Driver>(pump: &mut Pump<D>, handle: Handle) {
    fn not_found<T>(result: io::Result<T>) {
        match result {
            Ok(_) => panic!("a stale handle was acted on"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
    }
    not_found(pump.driver.accept(handle));
    not_found(pump.driver.receive(handle));
    not_found(pump.driver.send(handle, owned(b"stale")));
    not_found(pump.driver.send_skip_success(handle, b"stale"));
    not_found(pump.driver.shutdown(handle));
    not_found(pump.driver.local_address(handle));
    not_found(pump.driver.peer_address(handle));
    pump.cancel(handle);
    pump.cancel_send(handle);
    pump.driver.close(handle);
}

pub(crate) fn a_stale_handle_is_refused_by_every_call<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.close(client);
    // Both after `close` and after `Closed`.
    refuses(&mut pump, client);
    pump.closed(client);
    refuses(&mut pump, client);
    refuses(&mut pump, Handle::new(1_000_000, 1));
    refuses(&mut pump, Handle::new(server.slot(), 0));
    pump.expect_nothing();
    pump.finish(&[server]);
}

pub(crate) fn a_stale_handle_never_reaches_the_next_socket_in_its_slot<S: Subject>() {
    let mut pump = S::pump();
    let (old_client, old_server) = pump.pair();
    pump.finish(&[old_client, old_server]);
    let (listener, address) = pump.server();
    let mut open = vec![listener];
    for round in 0..10 {
        let (client, server) = pump.pair_at(listener, &address);
        pump.receive(client);
        for old in [old_client, old_server] {
            assert!(old != client && old != server);
            refuses(&mut pump, old);
        }
        pump.send(server, owned(b"new"));
        assert_eq!(pump.received(client, 3), b"new");
        pump.sent(server).0.expect("sent");
        if round % 2 == 0 {
            pump.close(client);
            pump.closed(client);
        } else {
            open.push(client);
        }
        open.push(server);
    }
    let reused = |old: Handle| open.iter().any(|new| new.slot() == old.slot());
    assert!(reused(old_client) || reused(old_server), "no slot was reused, so nothing was tested");
    pump.finish(&open);
}

/// The FIN must reach the peer even though an armed receive keeps the socket in use.
pub(crate) fn close_ends_an_armed_receive_and_sends_the_end<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(client);
    pump.receive(server);
    pump.expect_nothing();
    pump.close(client);
    pump.close(client);
    pump.closed(client);
    let (bytes, end) = pump.received_all(server);
    assert!(bytes.is_empty() && matches!(end, ReceiveEnd::Eof), "{bytes:?} {end:?}");
    pump.finish(&[server]);
}

/// A single-threaded server must see the end of the stream before it sees the next connection. The next turn would be
/// too late.
pub(crate) fn the_end_leaves_before_close_returns<S: Subject>() {
    if !S::REAL {
        return; // No other thread can look at a simulated peer.
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    let address = Address::Tcp(listener.local_addr().expect("a bound socket has an address"));
    let mut pump = S::pump();
    for server_ends_first in [false, true] {
        let client = pump.connect(&address);
        pump.connected(client).expect("it listens");
        let (mut server, _) = listener.accept().expect("it has connected");
        pump.receive(client);
        if server_ends_first {
            server.shutdown(Shutdown::Write).expect("it is connected");
            let (bytes, end) = pump.received_all(client);
            assert!(bytes.is_empty() && matches!(end, ReceiveEnd::Eof), "{bytes:?} {end:?}");
        } else {
            pump.expect_nothing();
        }
        pump.close(client);
        server.set_read_timeout(Some(Duration::from_secs(5))).expect("settable");
        assert_eq!(server.read(&mut [0]).expect("no end came"), 0, "server_ends_first: {server_ends_first}");
        pump.closed(client);
    }
}

/// Otherwise a peer that goes on sending would wait for room that never comes.
pub(crate) fn close_with_bytes_unread_resets_the_connection<S: Subject>() {
    if !S::REAL {
        return; // The simulated network has no window of its own.
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    let address = Address::Tcp(listener.local_addr().expect("a bound socket has an address"));
    let mut pump = S::pump_with_pool(1024, 16 * 1024);
    for _ in 0..20 {
        let client = pump.connect(&address);
        pump.connected(client).expect("it listens");
        let (mut server, _) = listener.accept().expect("it has connected");
        server.set_write_timeout(Some(Duration::from_secs(2))).expect("settable");
        let flood = thread::spawn(move || {
            loop {
                if let Err(error) = server.write(&[0; 4096]) {
                    return error;
                }
            }
        });
        pump.receive(client);
        pump.received(client, 300_000);
        pump.close(client);
        pump.closed(client);
        let error = flood.join().expect("it only writes");
        let resets = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(resets.contains(&error.kind()), "{error}");
    }
}

pub(crate) fn what_was_sent_before_the_close_goes_before_the_end<S: Subject>() {
    if S::CUTS_SENDS {
        return; // Only a part of the bytes may be sent.
    }
    for turn_between in [false, true] {
        for skip_success in [false, true] {
            let mut pump = S::pump();
            let (client, server) = pump.pair();
            pump.receive(client);
            pump.receive(server);
            pump.expect_nothing();
            if skip_success {
                pump.send_skip_success(client, b"last");
            } else {
                pump.send(client, owned(b"last"));
            }
            if turn_between {
                pump.turn(Some(0));
            }
            pump.close(client);
            pump.closed(client);
            let (bytes, end) = pump.received_all(server);
            assert!(bytes == b"last" && matches!(end, ReceiveEnd::Eof), "{bytes:?} {end:?}");
            pump.finish(&[server]);
        }
    }
}

pub(crate) fn close_leaves_others_of_the_same_file_alone<S: Subject>() {
    if !S::REAL {
        return;
    }
    let mut pump = S::pump();
    let (ours, mut theirs) = UnixStream::pair().expect("a pair can be made");
    let kept = ours.try_clone().expect("a descriptor can be copied");
    let adopted = [ours, kept.try_clone().expect("a descriptor can be copied")]
        .map(|socket| pump.driver.adopt(socket.into()).expect("a connected socket"));
    for socket in adopted {
        pump.own(socket);
    }
    pump.receive(adopted[0]);
    pump.receive(adopted[1]);
    pump.expect_nothing();
    pump.close(adopted[0]);
    pump.closed(adopted[0]);
    pump.expect_nothing();
    theirs.write_all(b"to the other").expect("it is open");
    assert_eq!(pump.received(adopted[1], 12), b"to the other");
    pump.finish(&adopted[1..]);
    (&kept).write_all(b"from the last").expect("it is open");
    let mut bytes = [0; 13];
    theirs.read_exact(&mut bytes).expect("it was sent");
    assert_eq!(&bytes, b"from the last");
}

pub(crate) fn close_ends_a_receive_with_bytes_on_the_way<S: Subject>() {
    let mut pump = S::pump();
    for round in 0..10 {
        let (client, server) = pump.pair();
        pump.receive(client);
        pump.send(server, SendBuffer::Owned(vec![1; 100_000]));
        if round % 2 == 1 {
            pump.turn(Some(0));
        }
        pump.close(client);
        pump.closed(client);
        // The send may have succeeded or failed by then.
        let _ = pump.sent(server).0;
        pump.finish(&[server]);
    }
}

/// Bytes with a flag that is set when they are dropped.
struct Watched(Vec<u8>, Arc<AtomicBool>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn close_ends_a_blocked_send_and_drops_its_buffer<S: Subject>() {
    // A cancellation under way makes no difference.
    for cancelled_before in [false, true] {
        let mut pump = S::pump();
        let (client, server) = pump.pair();
        let dropped = Arc::new(AtomicBool::new(false));
        let bytes = Bytes::from_owner(Watched(vec![0; 32 * 1024 * 1024], Arc::clone(&dropped)));
        pump.send(client, SendBuffer::Shared(bytes));
        pump.receive(server);
        pump.turn(Some(0));
        pump.cancel(server);
        pump.received_all(server);
        pump.expect_nothing();
        assert!(!dropped.load(Ordering::Relaxed), "the send is under way");
        if cancelled_before {
            pump.cancel_send(client);
        }
        pump.close(client);
        pump.closed(client);
        assert!(dropped.load(Ordering::Relaxed), "the buffer is dropped before Closed");
        // The peer receives what was sent, and then the end.
        pump.receive(server);
        let (_, end) = pump.received_all(server);
        assert!(!matches!(end, ReceiveEnd::Cancelled), "{end:?}");
        pump.finish(&[server]);
    }
}

pub(crate) fn close_ends_a_connect_that_is_never_answered<S: Subject>() {
    let (driver, address, kept) = S::black_hole();
    let mut pump = Pump::new(driver);
    let client = pump.connect(&address);
    pump.expect_nothing();
    pump.close(client);
    pump.closed(client);
    pump.finish(&[]);
    drop(kept);
}

pub(crate) fn close_ends_a_connect_at_once<S: Subject>() {
    let mut pump = S::pump();
    let (listener, address) = pump.server();
    let client = pump.connect(&address);
    pump.close(client);
    pump.closed(client);
    pump.pass(crate::pump::SETTLED_NS);
    // The connection may have been made in between. If so, it has ended.
    let mut open = pump.take_accepted();
    for &stream in &open {
        pump.receive(stream);
        pump.received_all(stream);
    }
    open.push(listener);
    pump.finish(&open);
}

pub(crate) fn close_ends_an_armed_accept<S: Subject>() {
    let mut pump = S::pump();
    let (listener, _) = pump.server();
    pump.expect_nothing();
    pump.close(listener);
    pump.closed(listener);
    pump.finish(&[]);
}

pub(crate) fn close_ends_the_connections_that_nobody_has_accepted<S: Subject>() {
    let mut pump = S::pump();
    let listener = pump.listen(&loopback());
    let address = pump.driver.local_address(listener).expect("a listener has an address");
    let client = pump.connect(&address);
    pump.connected(client).expect("the backlog has room");
    pump.receive(client);
    // The driver may be about to accept one of them.
    pump.accept(listener);
    pump.close(listener);
    pump.closed(listener);
    let (bytes, end) = pump.received_all(client);
    assert!(bytes.is_empty() && !matches!(end, ReceiveEnd::Cancelled), "{bytes:?} {end:?}");
    pump.finish(&[client]);
}
