//! Descriptors that were created elsewhere: poll and adopt.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use ringtide_driver::{Driver, Interest, ReceiveEnd};

use crate::pump::{Pump, owned};
use crate::subject::Subject;

fn poll<D: Driver>(pump: &mut Pump<D>, stream: &UnixStream, interest: Interest) -> ringtide_driver::Handle {
    let handle = pump.driver.poll(stream.as_raw_fd(), interest).expect("a socket can be polled");
    pump.own_poll(handle);
    handle
}

/// Returns whether the driver of `pump` supports real descriptors. If not, checks that it reports `Unsupported`.
fn has_descriptors<S: Subject>(pump: &mut Pump<S::Driver>, stream: &UnixStream) -> bool {
    if !S::REAL {
        let error = pump.driver.poll(stream.as_raw_fd(), Interest::Readable).expect_err("simulated");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let stream = stream.try_clone().expect("a descriptor can be duplicated");
        let error = pump.driver.adopt(stream.into()).expect_err("simulated");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        pump.finish(&[]);
    }
    S::REAL
}

pub(crate) fn poll_waits_until_readable_and_writable<S: Subject>() {
    let mut pump = S::pump();
    let (ours, mut theirs) = UnixStream::pair().expect("a pair can be made");
    if !has_descriptors::<S>(&mut pump, &ours) {
        return;
    }
    // Both at the same time on one descriptor.
    let readable = poll(&mut pump, &ours, Interest::Readable);
    let writable = poll(&mut pump, &ours, Interest::Writable);
    pump.polled(writable).expect("there is room");
    pump.expect_nothing();
    theirs.write_all(b"x").expect("there is room");
    pump.polled(readable).expect("there is a byte");
    // A poll fires only once. A new poll fires at once while the byte is still there.
    pump.expect_nothing();
    let readable = poll(&mut pump, &ours, Interest::Readable);
    pump.polled(readable).expect("there is a byte");
    (&ours).read_exact(&mut [0]).expect("there is a byte");
    // The handle of a poll that has ended is stale.
    pump.driver.close(readable);
    pump.expect_nothing();
    let readable = poll(&mut pump, &ours, Interest::Readable);
    pump.expect_nothing();
    drop(theirs);
    pump.polled(readable).expect("the end is readable");
    pump.finish(&[]);
}

pub(crate) fn poll_waits_for_room<S: Subject>() {
    let mut pump = S::pump();
    let (mut ours, mut theirs) = UnixStream::pair().expect("a pair can be made");
    if !has_descriptors::<S>(&mut pump, &ours) {
        return;
    }
    ours.set_nonblocking(true).expect("a socket can be non-blocking");
    theirs.set_nonblocking(true).expect("a socket can be non-blocking");
    while ours.write(&[0; 4096]).is_ok() {}
    let writable = poll(&mut pump, &ours, Interest::Writable);
    pump.expect_nothing();
    while theirs.read(&mut [0; 4096]).is_ok_and(|len| len > 0) {}
    pump.polled(writable).expect("there is room");
    pump.finish(&[]);
}

pub(crate) fn close_ends_a_poll_and_leaves_the_descriptor_open<S: Subject>() {
    let mut pump = S::pump();
    let (ours, mut theirs) = UnixStream::pair().expect("a pair can be made");
    if !has_descriptors::<S>(&mut pump, &ours) {
        return;
    }
    let closed = poll(&mut pump, &ours, Interest::Readable);
    let other = poll(&mut pump, &ours, Interest::Readable);
    pump.expect_nothing();
    pump.close(closed);
    pump.closed(closed);
    theirs.write_all(b"x").expect("there is room");
    pump.polled(other).expect("there is a byte");
    (&ours).read_exact(&mut [0]).expect("the descriptor is open");
    pump.finish(&[]);
}

pub(crate) fn adopted_sockets_are_like_others<S: Subject>() {
    let mut pump = S::pump();
    let (ours, mut theirs) = UnixStream::pair().expect("a pair can be made");
    if !has_descriptors::<S>(&mut pump, &ours) {
        return;
    }
    let adopted = pump.driver.adopt(ours.into()).expect("a connected socket");
    pump.own(adopted);
    pump.receive(adopted);
    theirs.write_all(b"from elsewhere").expect("there is room");
    assert_eq!(pump.received(adopted, 14), b"from elsewhere");
    pump.send(adopted, owned(b"to elsewhere"));
    pump.sent(adopted).0.expect("sent");
    let mut bytes = [0; 12];
    theirs.read_exact(&mut bytes).expect("it was sent");
    assert_eq!(&bytes, b"to elsewhere");
    drop(theirs);
    assert!(matches!(pump.piece(adopted), Err(ReceiveEnd::Eof)));

    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    let listener = pump.driver.adopt(listener.into()).expect("a listening socket");
    pump.own(listener);
    pump.accept(listener);
    let client = TcpStream::connect(address).expect("it listens");
    let server = pump.accepted(listener);
    pump.receive(server);
    drop(client);
    assert!(matches!(pump.piece(server), Err(ReceiveEnd::Eof)));
    pump.finish(&[adopted, listener, server]);
}
