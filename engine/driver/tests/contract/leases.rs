//! Receive buffers: lent, in short supply, returned, and outliving their driver.

use std::io::Write;
use std::net::TcpListener;

use ringtide_driver::{Address, Driver, Lease};

use crate::pump::{SETTLED_NS, owned, pattern};
use crate::subject::Subject;

pub(crate) fn held_leases_starve_nobody_for_good<S: Subject>() {
    // A pool of one or two buffers may have no reserve. The larger pools have one.
    for count in [1, 2, 4, 8] {
        let mut pump = S::pump_with_pool(count, 500);
        let (listener, address) = pump.server();
        let pairs = [(); 3].map(|()| pump.pair_at(listener, &address));
        let bytes = pattern(u64::from(count), 10_000);
        for (client, server) in pairs {
            pump.receive(client);
            pump.send(server, owned(&bytes));
        }
        // Receives everything that can arrive without dropping a lease.
        pump.pass(SETTLED_NS);
        let mut held = pump.take_received();
        let mut received = pairs.map(|_| Vec::new());
        // Drops one lease at a time, so that the same socket could take the buffer again and again.
        for _ in 0..100_000 {
            if held.is_empty() && received.iter().all(|received| received.len() == bytes.len()) {
                break;
            }
            if !held.is_empty() {
                let (socket, lease) = held.remove(0);
                let index = pairs.iter().position(|pair| pair.0 == socket).expect("one of the clients");
                received[index].extend_from_slice(&lease);
            }
            pump.pass(100_000);
            held.extend(pump.take_received());
        }
        for ((_, server), received) in pairs.into_iter().zip(received) {
            assert!(received == bytes, "{} bytes came with {count} buffers", received.len());
            pump.sent(server).0.expect("sent");
        }
        let handles: Vec<_> = pairs.into_iter().flat_map(|pair| [pair.0, pair.1]).chain([listener]).collect();
        pump.finish(&handles);
    }
}

pub(crate) fn below_the_reserve_bytes_come_as_copies<S: Subject>() {
    let mut pump = S::pump_with_pool(8, 512);
    let (client, server) = pump.pair();
    pump.receive(client);
    let bytes = pattern(6, 3 * 8 * 512);
    pump.send(server, owned(&bytes));
    // All bytes arrive although no lease is dropped.
    let mut held: Vec<Lease> = Vec::new();
    while held.iter().map(|lease| lease.len()).sum::<usize>() < bytes.len() {
        held.push(pump.piece(client).expect("the peer is there"));
    }
    assert!(held.iter().flat_map(|lease| lease.iter()).eq(&bytes), "wrong bytes");
    let pooled = held.iter().filter(|lease| lease.is_pooled()).count();
    assert_eq!(pooled, usize::from(pump.driver.pool().lent()));
    assert!(pooled < 8, "a buffer is left for the others");
    drop(held);
    pump.sent(server).0.expect("sent");
    pump.finish(&[client, server]);
}

pub(crate) fn bytes_of_a_fresh_pool_come_without_a_copy<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(client);
    pump.send(server, owned(b"in place"));
    let lease = pump.piece(client).expect("the peer is there");
    assert!(lease.is_pooled() && pump.driver.pool().lent() == 1, "{lease:?}");
    let rest = 8 - lease.len();
    drop(lease);
    pump.received(client, rest);
    pump.sent(server).0.expect("sent");
    pump.finish(&[client, server]);
}

pub(crate) fn leases_outlive_the_driver<S: Subject>() {
    let mut pump = S::pump();
    let (client, server) = pump.pair();
    pump.receive(client);
    pump.send(server, owned(b"outlives"));
    let mut held = vec![pump.piece(client).expect("the peer is there")];
    while held.iter().map(|lease| lease.len()).sum::<usize>() < 8 {
        held.push(pump.piece(client).expect("the peer is there"));
    }
    let pool = pump.driver.pool().clone();
    drop(pump);
    assert_eq!(held.iter().flat_map(|lease| lease.to_vec()).collect::<Vec<_>>(), b"outlives");
    assert_eq!(usize::from(pool.lent()), held.len());
    drop(pool);
    assert_eq!(held.iter().flat_map(|lease| lease.to_vec()).collect::<Vec<_>>(), b"outlives");
}

pub(crate) fn what_comes_for_a_closed_socket_costs_no_buffer<S: Subject>() {
    if !S::REAL {
        return; // Nobody else could write.
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    let address = Address::Tcp(listener.local_addr().expect("a bound socket has an address"));
    let mut pump = S::pump_with_pool(2, 500);
    // More often than there are buffers. The last one is read.
    for round in 0..10 {
        let client = pump.connect(&address);
        pump.connected(client).expect("it listens");
        let (mut server, _) = listener.accept().expect("it has connected");
        pump.receive(client);
        pump.turn(Some(0));
        server.write_all(b"bytes").expect("it is open");
        if round == 9 {
            assert_eq!(pump.received(client, 5), b"bytes");
        }
        pump.close(client);
        pump.closed(client);
    }
    pump.finish(&[]);
}

pub(crate) fn a_starved_receive_waits_without_spinning<S: Subject>() {
    let mut pump = S::pump_with_pool(1, 500);
    let (client, server) = pump.pair();
    pump.receive(client);
    let bytes = pattern(8, 2_000);
    pump.send(server, owned(&bytes));
    pump.sent(server).0.expect("there is room");
    let mut received = Vec::new();
    while received.len() < bytes.len() {
        let held = pump.piece(client).expect("the peer is there");
        received.extend_from_slice(&held);
        // What is under way comes to rest, and then nothing happens before the lease goes.
        pump.pass(SETTLED_NS);
        let (end_ns, mut turns) = (pump.driver.now_ns() + SETTLED_NS, 0);
        while S::REAL && pump.driver.now_ns() < end_ns {
            pump.turn(Some(end_ns));
            turns += 1;
        }
        assert!(turns <= 50, "{turns} turns without a buffer");
    }
    assert!(received == bytes, "wrong bytes");
    pump.finish(&[client, server]);
}
