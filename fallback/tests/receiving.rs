//! Receiving with edge-triggered readiness: edges that are not repeated, limits, and a lack of buffers.

mod common;

use std::io::Write;
use std::net::Shutdown;

use common::Rig;
use ringtide_driver::{Driver, Event, ReceiveEnd, SendBuffer, monotonic_ns};

fn is_eof(event: &Event) -> bool {
    matches!(event, Event::ReceiveEnded(ReceiveEnd::Eof))
}

fn is_received(event: &Event) -> bool {
    matches!(event, Event::Received(_))
}

#[test]
fn bytes_and_the_end_behind_them_come_from_one_edge() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connection();
    rig.driver.receive(socket).unwrap();
    peer.write_all(b"last words").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    rig.until("Eof", |rig| rig.count(socket, is_eof) == 1);
    assert_eq!(rig.received(socket), b"last words");
}

#[test]
fn an_edge_that_came_before_the_receive_is_remembered_with_the_end() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connection();
    peer.write_all(b"early").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    rig.turn();
    assert!(rig.completions.is_empty());
    rig.driver.receive(socket).unwrap();
    rig.until("Eof", |rig| rig.count(socket, is_eof) == 1);
    assert_eq!(rig.received(socket), b"early");
    // A further receive reports the end again.
    rig.driver.receive(socket).unwrap();
    rig.until("Eof", |rig| rig.count(socket, is_eof) == 2);
}

#[test]
fn an_end_that_comes_later_is_an_edge_of_its_own() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connection();
    rig.driver.receive(socket).unwrap();
    peer.write_all(b"first").unwrap();
    assert_eq!(rig.received_in_all(socket, 5), b"first");
    peer.shutdown(Shutdown::Write).unwrap();
    rig.until("Eof", |rig| rig.count(socket, is_eof) == 1);
}

#[test]
fn a_request_and_its_response_cost_one_send_one_receive_and_one_wait() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connection();
    rig.driver.receive(socket).unwrap();
    for skip_success in [false, true] {
        let before = rig.driver.syscalls();
        if skip_success {
            rig.driver.send_skip_success(socket, b"request").unwrap();
        } else {
            rig.driver.send(socket, SendBuffer::Static(b"request")).unwrap();
            rig.turn();
            assert_eq!(rig.count(socket, |event| matches!(event, Event::Sent(Ok(()), _))), 1);
        }
        peer.write_all(b"response").unwrap();
        assert_eq!(rig.received_in_all(socket, 8), b"response");
        assert_eq!(rig.driver.syscalls() - before, 3);
    }
}

#[test]
fn a_caller_that_always_sends_hears_as_well() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.unix_connection();
    rig.driver.receive(socket).unwrap();
    peer.write_all(b"answer").unwrap();
    for _ in 0..2 {
        rig.driver.send(socket, SendBuffer::Static(b"more")).unwrap();
        rig.turn();
    }
    assert_eq!(rig.received(socket), b"answer");
}

#[test]
fn one_socket_fills_sixteen_buffers_and_then_waits_for_the_others() {
    let mut rig = Rig::with_pool(256, 64);
    let (greedy, mut greedy_peer) = rig.unix_connection();
    let (modest, mut modest_peer) = rig.unix_connection();
    let sent: Vec<u8> = (0..64 * 40).map(|i| i as u8).collect();
    greedy_peer.write_all(&sent).unwrap();
    modest_peer.write_all(b"me too").unwrap();
    rig.driver.receive(greedy).unwrap();
    rig.driver.receive(modest).unwrap();
    rig.turn();
    assert_eq!(rig.count(greedy, is_received), 16);
    assert_eq!(rig.received(modest), b"me too");
    // The rest comes without an edge and without waiting. Otherwise this turn would never return.
    rig.driver.turn(None, &mut rig.completions).unwrap();
    assert_eq!(rig.count(greedy, is_received), 32);
    rig.driver.turn(None, &mut rig.completions).unwrap();
    assert_eq!(rig.received(greedy), sent);
}

#[test]
fn the_last_quarter_of_the_buffers_is_not_lent() {
    let mut rig = Rig::with_pool(8, 64);
    let (socket, mut peer) = rig.connection();
    rig.driver.receive(socket).unwrap();
    peer.write_all(&[1; 64 * 10]).unwrap();
    rig.until("Received", |rig| rig.count(socket, is_received) == 10);
    let pooled: Vec<bool> = rig
        .completions
        .iter()
        .map(|completion| matches!(&completion.event, Event::Received(lease) if lease.is_pooled()))
        .collect();
    assert_eq!(pooled, (0..10).map(|index| index < 6).collect::<Vec<_>>());
    assert_eq!(rig.driver.pool().lent(), 6);
    assert_eq!(rig.received(socket), [1; 64 * 10]);
}

#[test]
fn starved_sockets_go_on_when_leases_come_back() {
    let mut rig = Rig::with_pool(1, 64);
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let (socket, mut peer) = rig.connection();
        peer.write_all(&[socket.slot() as u8; 100]).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        rig.driver.receive(socket).unwrap();
        sockets.push((socket, peer));
    }
    rig.until("Received", |rig| !rig.completions.is_empty());
    // The only buffer is lent out. Nothing is received, and the wait does not spin.
    let before = rig.driver.syscalls();
    let deadline_ns = monotonic_ns() + 5_000_000;
    while monotonic_ns() < deadline_ns {
        rig.driver.turn(Some(deadline_ns), &mut rig.completions).unwrap();
    }
    assert_eq!(rig.completions.len(), 1);
    assert!(rig.driver.syscalls() - before < 10);
    // Closing one of the waiting sockets does not affect the others.
    let first = rig.completions[0].handle;
    let closed = sockets.iter().rposition(|&(socket, _)| socket != first).unwrap();
    rig.driver.close(sockets.remove(closed).0);
    let mut bytes = vec![Vec::new(); sockets.len()];
    rig.until("Eof", |rig| {
        for ((socket, _), bytes) in sockets.iter().zip(&mut bytes) {
            bytes.append(&mut rig.received(*socket));
        }
        sockets.iter().all(|&(socket, _)| rig.count(socket, is_eof) == 1)
    });
    for ((socket, _), bytes) in sockets.iter().zip(&bytes) {
        assert_eq!(bytes, &[socket.slot() as u8; 100]);
    }
}

#[test]
#[should_panic(expected = "a buffer pool belongs to one driver")]
fn a_pool_belongs_to_one_driver() {
    let rig = Rig::new();
    let _ = ringtide_fallback::Fallback::with_pool(rig.driver.pool().clone());
}

#[test]
fn a_failed_connection_ends_the_receive_that_was_armed_for_it() {
    let mut rig = Rig::new();
    let free_address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let nobody = std::env::temp_dir().join(format!("ringtide-nobody-{}", std::process::id()));
    for address in [free_address.into(), ringtide_driver::Address::Unix(nobody)] {
        let socket = rig.driver.connect(&address).unwrap();
        rig.driver.receive(socket).unwrap();
        assert!(rig.connected(socket).is_err());
        rig.until("ReceiveEnded", |rig| {
            rig.count(socket, |event| matches!(event, Event::ReceiveEnded(_))) == 1
        });
    }
}
