//! Connect, listen and accept.

use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use ringtide_driver::{Address, Driver};
use socket2::{Domain, Socket, Type};

use crate::pump::{Pump, SETTLED_NS, loopback, owned};
use crate::subject::{Scratch, Subject};

pub(crate) fn connect_v4<S: Subject>() {
    talk(&mut S::pump(), &loopback());
}

pub(crate) fn connect_v6<S: Subject>() {
    let address = Address::Tcp("[::1]:0".parse().expect("an address"));
    if S::REAL
        && let Err(error) = TcpListener::bind("[::1]:0")
    {
        return crate::not_checked(&format!("IPv6 on {}, which this machine has not: {error}", S::NAME));
    }
    talk(&mut S::pump(), &address);
}

pub(crate) fn connect_unix<S: Subject>() {
    let scratch = Scratch::new();
    talk(&mut S::pump(), &scratch.address("socket"));
}

/// Connects to `address`, and checks that both ends belong to the same connection and have the right addresses.
fn talk<D: Driver>(pump: &mut Pump<D>, address: &Address) {
    let listener = pump.listen(address);
    let bound = pump.driver.local_address(listener).expect("a listener has an address");
    match (&bound, address) {
        (Address::Tcp(bound), Address::Tcp(asked)) => {
            assert!(bound.ip() == asked.ip() && bound.port() != 0, "{bound}");
        }
        _ => assert_eq!(bound, *address),
    }
    pump.accept(listener);
    let (client, server) = pump.pair_at(listener, &bound);
    assert_eq!(pump.driver.peer_address(client).expect("connected"), bound);
    assert_eq!(pump.driver.local_address(server).expect("connected"), bound);
    let client_address = pump.driver.local_address(client).expect("connected");
    assert_eq!(pump.driver.peer_address(server).expect("connected"), client_address);
    if let Address::Tcp(client_address) = client_address {
        assert_ne!(client_address.port(), 0);
    }
    pump.receive(server);
    pump.send(client, owned(b"hello"));
    assert_eq!(pump.received(server, 5), b"hello");
    pump.sent(client).0.expect("sent");
    pump.finish(&[client, server, listener]);
}

pub(crate) fn connect_from_a_source<S: Subject>() {
    let mut pump = S::pump();
    let (listener, address) = pump.server();
    let mut open = vec![listener];
    // Linux has all of 127.0.0.0/8 on the loopback.
    for source in [[127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 2]].map(IpAddr::from) {
        let client = pump.connect_from(&address, source);
        pump.connected(client).expect("a listener is there");
        let server = pump.accepted(listener);
        let local = pump.driver.local_address(client).expect("connected");
        let Address::Tcp(tcp) = &local else { panic!("{local}") };
        assert!(tcp.ip() == source && tcp.port() != 0, "{local}");
        assert_eq!(pump.driver.peer_address(server).expect("connected"), local);
        open.extend([client, server]);
    }
    pump.finish(&open);
}

pub(crate) fn a_source_that_cannot_be_is_an_error_of_the_call<S: Subject>() {
    let (mut pump, scratch) = (S::pump(), Scratch::new());
    let v6 = Address::Tcp("[::1]:1".parse().expect("an address"));
    for (address, source) in [
        (loopback(), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])),
        (v6, IpAddr::from([127, 0, 0, 1])),
        (scratch.address("socket"), IpAddr::from([127, 0, 0, 1])),
    ] {
        let error = pump.driver.connect_from(&address, Some(source)).expect_err("another family");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    if S::REAL {
        // TEST-NET-1 (RFC 5737) is nobody's address.
        let error = pump.driver.connect_from(&loopback(), Some([192, 0, 2, 1].into()));
        assert_eq!(error.expect_err("not ours").kind(), ErrorKind::AddrNotAvailable);
    }
    pump.expect_nothing();
}

/// Returns an address that no longer has a listener.
fn closed_address<D: Driver>(pump: &mut Pump<D>, address: &Address) -> Address {
    let listener = pump.listen(address);
    let bound = pump.driver.local_address(listener).expect("a listener has an address");
    pump.close(listener);
    pump.closed(listener);
    bound
}

fn refused<D: Driver>(pump: &mut Pump<D>, address: &Address, kind: ErrorKind) {
    let client = pump.connect(address);
    let error = pump.connected(client).expect_err("nobody listens there");
    assert_eq!(error.kind(), kind, "{error}");
    // The handle still exists, and the caller closes it.
    assert!(pump.driver.peer_address(client).is_err_and(|error| error.kind() != ErrorKind::NotFound));
    pump.finish(&[client]);
}

pub(crate) fn connect_is_refused<S: Subject>() {
    let mut pump = S::pump();
    let address = closed_address(&mut pump, &loopback());
    // Twice: the first refusal must not leave anything behind that affects the second connect.
    refused(&mut pump, &address, ErrorKind::ConnectionRefused);
    refused(&mut pump, &address, ErrorKind::ConnectionRefused);
}

pub(crate) fn connect_is_refused_at_an_abandoned_unix_socket<S: Subject>() {
    let (mut pump, scratch) = (S::pump(), Scratch::new());
    let address = closed_address(&mut pump, &scratch.address("abandoned"));
    refused(&mut pump, &address, ErrorKind::ConnectionRefused);
}

pub(crate) fn connect_fails_at_a_missing_unix_path<S: Subject>() {
    let (mut pump, scratch) = (S::pump(), Scratch::new());
    refused(&mut pump, &scratch.address("missing"), ErrorKind::NotFound);
}

pub(crate) fn a_unix_path_that_is_too_long_is_an_error_of_the_call<S: Subject>() {
    let mut pump = S::pump();
    let address = Address::Unix("x".repeat(200).into());
    assert_eq!(pump.driver.connect(&address).expect_err("too long").kind(), ErrorKind::InvalidInput);
    assert_eq!(pump.driver.listen(&address, false).expect_err("too long").kind(), ErrorKind::InvalidInput);
    pump.expect_nothing();
}

pub(crate) fn an_address_in_use_is_an_error_of_listen<S: Subject>() {
    let (mut pump, scratch) = (S::pump(), Scratch::new());
    for address in [loopback(), scratch.address("socket")] {
        let listener = pump.listen(&address);
        let bound = pump.driver.local_address(listener).expect("a listener has an address");
        let error = pump.driver.listen(&bound, false).expect_err("somebody listens there");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        // The first listener still works. At a Unix path it accepts a connection that ends at once: this is how the
        // second `listen` found the first listener.
        pump.accept(listener);
        let (client, server) = pump.pair_at(listener, &bound);
        pump.pass(SETTLED_NS);
        let mut open = pump.take_accepted();
        open.extend([client, server, listener]);
        pump.finish(&open);
    }
}

pub(crate) fn an_abandoned_unix_socket_is_listened_at_again<S: Subject>() {
    let (mut pump, scratch) = (S::pump(), Scratch::new());
    let address = closed_address(&mut pump, &scratch.address("abandoned"));
    talk(&mut pump, &address);
}

/// The listener is alive but too busy to accept. Checking for it must not wait until it accepts.
pub(crate) fn a_unix_address_with_a_full_backlog_is_in_use<S: Subject>() {
    if !S::REAL {
        return; // The simulation has no files.
    }
    let scratch = Scratch::new();
    let address = scratch.address("busy");
    let system = address.to_system().expect("a short path");
    let owner = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket can be made");
    owner.bind(&system).expect("a fresh path");
    owner.listen(0).expect("a bound socket can listen");
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket can be made");
            client.set_nonblocking(true).expect("a socket can be non-blocking");
            // Either connected, or refused because there is no room.
            let _ = client.connect(&system);
            client
        })
        .collect();
    // Ends a wait that should not happen, so that the test fails instead of hanging.
    let (done, waits) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        let hung = waits.recv_timeout(Duration::from_secs(5)) == Err(RecvTimeoutError::Timeout);
        drop((owner, waiting));
        hung
    });
    let mut pump = S::pump();
    let outcome = pump.driver.listen(&address, false);
    drop(done);
    assert!(!guard.join().expect("it only waits"), "listen waited for the owner");
    assert_eq!(outcome.expect_err("somebody is there").kind(), ErrorKind::AddrInUse);
}

pub(crate) fn listeners_share_an_address_when_all_want_to<S: Subject>() {
    let mut pump = S::pump();
    let first = pump.driver.listen(&loopback(), true).expect("a free port");
    let address = pump.driver.local_address(first).expect("a listener has an address");
    let second = pump.driver.listen(&address, true).expect("a shared port");
    let error = pump.driver.listen(&address, false).expect_err("shared by those only who say so");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    for listener in [first, second] {
        pump.own(listener);
        pump.accept(listener);
    }
    let mut clients = Vec::new();
    for _ in 0..20 {
        let client = pump.connect(&address);
        pump.connected(client).expect("somebody listens");
        clients.push(client);
    }
    let mut streams = pump.take_accepted();
    while streams.len() < clients.len() {
        pump.pass(1_000_000);
        streams.extend(pump.take_accepted());
    }
    clients.extend(streams);
    clients.extend([first, second]);
    pump.finish(&clients);
}

pub(crate) fn accept_lasts_until_it_is_cancelled<S: Subject>() {
    let mut pump = S::pump();
    let (listener, address) = pump.server();
    let mut handles = vec![listener];
    for _ in 0..5 {
        let (client, server) = pump.pair_at(listener, &address);
        handles.extend([client, server]);
    }
    assert_eq!(pump.driver.accept(listener).expect_err("accepting").kind(), ErrorKind::ResourceBusy);
    pump.cancel(listener);
    assert!(pump.accept_ended(listener).is_none());
    // A connection that comes now waits in the backlog.
    let client = pump.connect(&address);
    pump.connected(client).expect("the backlog has room");
    pump.expect_nothing();
    pump.accept(listener);
    let server = pump.accepted(listener);
    handles.extend([client, server]);
    pump.finish(&handles);
}

pub(crate) fn a_connection_that_came_before_accept_is_accepted<S: Subject>() {
    let mut pump = S::pump();
    let listener = pump.listen(&loopback());
    let address = pump.driver.local_address(listener).expect("a listener has an address");
    let clients = [pump.connect(&address), pump.connect(&address)];
    for client in clients {
        pump.connected(client).expect("the backlog has room");
    }
    pump.accept(listener);
    let servers = [pump.accepted(listener), pump.accepted(listener)];
    pump.finish(&[clients[0], clients[1], servers[0], servers[1], listener]);
}

pub(crate) fn many_sockets_at_once<S: Subject>() {
    const PAIRS: usize = 1_000;
    crate::process::allow_descriptors(2 * PAIRS as u64 + 500);
    let mut pump = S::pump();
    let (listener, address) = pump.server();
    let clients: Vec<_> = (0..PAIRS).map(|_| pump.connect(&address)).collect();
    let mut servers = Vec::new();
    for &client in &clients {
        pump.connected(client).expect("a listener is there");
        pump.receive(client);
        let server = pump.accepted(listener);
        pump.receive(server);
        servers.push(server);
    }
    for (index, &client) in clients.iter().enumerate() {
        pump.send(client, owned(&(index as u64).to_le_bytes()));
    }
    // Only the bytes show which server belongs to which client.
    let mut seen = vec![false; PAIRS];
    for &server in &servers {
        let bytes = pump.received(server, 8);
        let index = u64::from_le_bytes(bytes[..].try_into().expect("eight bytes, no more")) as usize;
        assert!(!std::mem::replace(&mut seen[index], true), "client {index} came twice");
        pump.send(server, owned(&bytes));
    }
    for (index, &client) in clients.iter().enumerate() {
        assert_eq!(pump.received(client, 8), (index as u64).to_le_bytes());
        pump.sent(client).0.expect("sent");
    }
    for &server in &servers {
        pump.sent(server).0.expect("sent");
    }
    pump.finish(&[clients, servers, vec![listener]].concat());
}
