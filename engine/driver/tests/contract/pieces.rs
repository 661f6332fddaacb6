//! Sends of several pieces.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ringtide_driver::limits::SEND_PIECES_MAX;
use ringtide_driver::{Driver, ReceiveEnd, SendBuffer};

use crate::pump::{loopback, owned, pattern};
use crate::subject::{Scratch, Subject};

/// More bytes than the socket buffers of both ends can hold (`net.ipv4.tcp_wmem`, `tcp_rmem`: at most 4 and 6 MiB).
const MORE_THAN_FITS: usize = 16 * 1024 * 1024;

/// Bytes that count how often they are dropped.
struct Watched(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns `bytes` in pieces of these sizes in turn, each in its own memory, and the count of pieces that were dropped.
fn cut(mut bytes: &[u8], sizes: &[usize]) -> (Vec<Bytes>, Arc<AtomicUsize>) {
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        let (piece, rest) = bytes.split_at(bytes.len().min(*size));
        pieces.push(Bytes::from_owner(Watched(piece.to_vec(), Arc::clone(&dropped))));
        bytes = rest;
        if bytes.is_empty() {
            break;
        }
    }
    (pieces, dropped)
}

fn addresses_of(pieces: &[Bytes]) -> Vec<*const u8> {
    pieces.iter().map(|piece| piece.as_ptr()).collect()
}

pub(crate) fn pieces_arrive_in_order_as_one_send<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(server);
    let bytes = pattern(20, 50_000);
    let (pieces, dropped) = cut(&bytes, &[9, 16_384, 0, 1]);
    let (count, addresses) = (pieces.len(), addresses_of(&pieces));
    pump.send(client, SendBuffer::Pieces(pieces));
    let error = pump.driver.send(client, owned(b"second")).expect_err("one is under way");
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    assert!(pump.received(server, bytes.len()) == bytes, "wrong bytes");
    let (result, buffer) = pump.sent(client);
    result.expect("there is room");
    // The same memory comes back.
    let SendBuffer::Pieces(back) = buffer else { panic!("not what was sent: {buffer:?}") };
    assert_eq!(addresses_of(&back), addresses);
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    drop(back);
    assert_eq!(dropped.load(Ordering::Relaxed), count);
    // Other sends go before and after it.
    pump.send(client, owned(b"next"));
    pump.sent(client).0.expect("there is room");
    pump.send(client, SendBuffer::Pieces(vec![Bytes::from_static(b"and "), Bytes::from_static(b"last")]));
    pump.sent(client).0.expect("there is room");
    assert_eq!(pump.received(server, 12), b"nextand last");
    pump.expect_nothing();
    pump.finish(&[client, server]);
}

pub(crate) fn an_empty_list_of_pieces_completes<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(server);
    for pieces in [Vec::new(), vec![Bytes::new(); 3]] {
        pump.send(client, SendBuffer::Pieces(pieces));
        pump.sent(client).0.expect("there is nothing that could fail");
    }
    pump.expect_nothing();
    pump.finish(&[client, server]);
}

pub(crate) fn more_pieces_than_one_call_takes_arrive<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(server);
    for count in [SEND_PIECES_MAX - 1, SEND_PIECES_MAX, SEND_PIECES_MAX + 1, 5 * SEND_PIECES_MAX] {
        let bytes = pattern(21, 3 * count);
        let (pieces, _) = cut(&bytes, &[3]);
        assert_eq!(pieces.len(), count);
        pump.send(client, SendBuffer::Pieces(pieces));
        assert!(pump.received(server, bytes.len()) == bytes, "wrong bytes of {count} pieces");
        pump.sent(client).0.expect("there is room");
    }
    pump.expect_nothing();
    pump.finish(&[client, server]);
}

/// The socket has no room for all of it, so it takes parts that end inside of pieces.
pub(crate) fn pieces_go_on_inside_a_piece_after_a_short_send<S: Subject>() {
    let scratch = Scratch::new();
    let mut pump = S::pump();
    for address in [loopback(), scratch.address("socket")] {
        let (client, server) = pump.pair_over(&address);
        let bytes = pattern(22, MORE_THAN_FITS);
        let (pieces, dropped) = cut(&bytes, &[9, 16_384, 200_000]);
        let count = pieces.len();
        assert!(count > SEND_PIECES_MAX);
        pump.send(client, SendBuffer::Pieces(pieces));
        pump.expect_nothing();
        pump.receive(server);
        assert!(pump.received(server, bytes.len()) == bytes, "wrong bytes");
        let (result, buffer) = pump.sent(client);
        result.expect("all was read");
        assert_eq!((buffer.len(), dropped.load(Ordering::Relaxed)), (bytes.len(), 0));
        drop(buffer);
        assert_eq!(dropped.load(Ordering::Relaxed), count);
        pump.finish(&[client, server]);
    }
}

pub(crate) fn a_cancelled_send_of_pieces_tells_how_much_was_taken<S: Subject>() {
    let scratch = Scratch::new();
    let mut pump = S::pump();
    // With few pieces, one call of the kernel has all of them when it is cancelled.
    for (address, sizes) in [
        (loopback(), &[9, 4 * 1024 * 1024][..]),
        (loopback(), &[9, 16_384]),
        (scratch.address("socket"), &[9, 4 * 1024 * 1024]),
        (scratch.address("other"), &[9, 16_384]),
    ] {
        let (client, server) = pump.pair_over(&address);
        let bytes = pattern(23, MORE_THAN_FITS);
        let (pieces, dropped) = cut(&bytes, sizes);
        let count = pieces.len();
        pump.send(client, SendBuffer::Pieces(pieces));
        pump.expect_nothing();
        pump.cancel_send(client);
        let (result, buffer) = pump.send_ended(client);
        let cut = result.expect_err("there was no room for all of it");
        assert_eq!(cut.error.raw_os_error(), Some(libc::ECANCELED), "{cut:?}");
        assert!(cut.sent_size > 0 && cut.sent_size < MORE_THAN_FITS, "{cut:?}");
        assert_eq!((buffer.len(), dropped.load(Ordering::Relaxed)), (bytes.len(), 0));
        drop(buffer);
        assert_eq!(dropped.load(Ordering::Relaxed), count);
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

pub(crate) fn a_blocked_send_of_pieces_fails_when_the_peer_closes<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    let (pieces, dropped) = cut(&pattern(24, MORE_THAN_FITS), &[9, 1024 * 1024]);
    pump.send(client, SendBuffer::Pieces(pieces));
    pump.expect_nothing();
    pump.close(server);
    pump.closed(server);
    let (result, buffer) = pump.send_ended(client);
    let cut = result.expect_err("nobody has read it");
    assert!(matches!(cut.error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{cut:?}");
    assert!(cut.sent_size > 0 && cut.sent_size < MORE_THAN_FITS, "{cut:?}");
    assert_eq!((buffer.len(), dropped.load(Ordering::Relaxed)), (MORE_THAN_FITS, 0));
    // The kernel takes nothing more, and the driver reports that too.
    pump.send(client, SendBuffer::Pieces(vec![Bytes::from_static(b"more"); 2]));
    let cut = pump.send_ended(client).0.expect_err("the connection is gone");
    assert_eq!(cut.sent_size, 0, "{cut:?}");
    pump.finish(&[client]);
}

pub(crate) fn close_ends_a_blocked_send_of_pieces_and_drops_them_once<S: Subject>() {
    // A cancellation under way makes no difference.
    for cancelled_before in [false, true] {
        let mut pump = S::pump();
        let (client, server) = pump.pair();
        let bytes = pattern(25, MORE_THAN_FITS);
        let (pieces, dropped) = cut(&bytes, &[9, 1024 * 1024]);
        let count = pieces.len();
        pump.send(client, SendBuffer::Pieces(pieces));
        pump.expect_nothing();
        assert_eq!(dropped.load(Ordering::Relaxed), 0, "the send is under way");
        if cancelled_before {
            pump.cancel_send(client);
        }
        pump.close(client);
        pump.closed(client);
        assert_eq!(dropped.load(Ordering::Relaxed), count, "the pieces are dropped before Closed");
        // The peer receives what was sent, and then the end.
        pump.receive(server);
        let (arrived, end) = pump.received_all(server);
        assert!(!arrived.is_empty() && arrived == bytes[..arrived.len()], "wrong bytes");
        assert!(!matches!(end, ReceiveEnd::Cancelled), "{end:?}");
        pump.finish(&[server]);
    }
}
