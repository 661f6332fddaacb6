//! The simulated network by itself: how long things take in virtual time, and when a fault ends.
//!
//! That nothing is lost on it, whatever the faults, is for the property tests.

use std::collections::BTreeSet;

use ringtide_driver::limits::LISTEN_BACKLOG;
use ringtide_driver::sim::{Faults, Sim, SimOptions};
use ringtide_driver::{Address, Completion, Driver, Event, Handle, ReceiveEnd, SendBuffer};

const SECOND_NS: u64 = 1_000_000_000;
const MILLISECOND_NS: u64 = 1_000_000;

fn sim(seed: u64, faults: Faults) -> Sim {
    Sim::new(SimOptions { seed, faults, socket_buffer_size: 16 * 1024 })
}

fn listen(sim: &mut Sim) -> (Handle, Address) {
    let listener = sim.listen(&Address::Tcp("127.0.0.1:0".parse().expect("an address")), false);
    let listener = listener.expect("a free port");
    (listener, sim.local_address(listener).expect("it is open"))
}

/// Takes turns until one has completions, and returns them.
fn turn(sim: &mut Sim) -> Vec<Completion> {
    turns(sim).1
}

/// Like [`turn`]. Also returns how many turns it took.
fn turns(sim: &mut Sim) -> (u32, Vec<Completion>) {
    let (mut count, mut completions) = (0, Vec::new());
    while completions.is_empty() {
        sim.turn(None, &mut completions).expect("something is to come");
        count += 1;
    }
    (count, completions)
}

/// Connects two sockets. The connection is the only one.
fn pair(sim: &mut Sim) -> (Handle, Handle) {
    let (listener, address) = listen(sim);
    sim.accept(listener).expect("it is idle");
    let client = sim.connect(&address).expect("a socket can be made");
    let (mut server, mut connected) = (None, false);
    while server.is_none() || !connected {
        for completion in turn(sim) {
            match completion.event {
                Event::Accepted(stream) => server = Some(stream),
                Event::Connected(result) => connected = result.is_ok(),
                event => panic!("{event:?}"),
            }
        }
    }
    (client, server.expect("it was accepted"))
}

/// What one send needed until all of it was received and `Sent` had come.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Transfer {
    duration_ns: u64,
    pieces: u32,
    turns: u32,
}

/// Sends `len` bytes to a socket that receives.
fn transfer(sim: &mut Sim, client: Handle, len: usize) -> Transfer {
    let start_ns = sim.now_ns();
    sim.send(client, SendBuffer::Owned(vec![7; len])).expect("it is idle");
    let (mut received, mut pieces, mut taken, mut sent) = (0, 0, 0, false);
    while received < len || !sent {
        let (count, completions) = turns(sim);
        taken += count;
        for completion in completions {
            match completion.event {
                Event::Received(lease) => {
                    received += lease.len();
                    pieces += 1;
                }
                Event::Sent(result, _) => {
                    result.expect("the peer is there");
                    sent = true;
                }
                event => panic!("{event:?}"),
            }
        }
    }
    Transfer { duration_ns: sim.now_ns() - start_ns, pieces, turns: taken }
}

#[test]
fn a_hidden_fault_happens_and_ends_soon_at_any_time() {
    let faults = [
        Faults { short_send: 0.5, ..Faults::default() },
        Faults { cut_receive: 0.5, ..Faults::default() },
        Faults { delayed_completion: 0.5, ..Faults::default() },
        Faults { no_buffers: 0.5, ..Faults::default() },
        Faults { lost_more: 0.5, ..Faults::default() },
        Faults { overflow: 0.5, ..Faults::default() },
        Faults { spurious_wake: 0.5, ..Faults::default() },
    ];
    let transfers = |faults| {
        let mut sim = sim(1, faults);
        // A delay counts from now, whenever that is.
        sim.advance(10 * SECOND_NS);
        let (client, server) = pair(&mut sim);
        sim.receive(server).expect("it is idle");
        (0..100).map(|_| transfer(&mut sim, client, 100)).collect::<BTreeSet<_>>()
    };
    let without = transfers(Faults::default());
    assert_eq!(without.len(), 1, "{without:?}");
    for faults in faults {
        let with = transfers(faults);
        assert!(with.is_superset(&without) && with.len() > 1, "{faults:?}: {with:?}");
        let longest = with.last().expect("there are many");
        assert!(longest.duration_ns < 100 * MILLISECOND_NS, "{faults:?}: {longest:?}");
    }
}

#[test]
fn a_slow_link_takes_its_time_for_each_byte() {
    let mut slowest_ns = 0;
    for seed in 0..20 {
        let mut sim = sim(seed, Faults { slow_link: 1.0, ..Faults::default() });
        let (client, server) = pair(&mut sim);
        sim.receive(server).expect("it is idle");
        let (one, many) = (transfer(&mut sim, client, 1), transfer(&mut sim, client, 10_001));
        let more_ns = many.duration_ns - one.duration_ns;
        let byte_ns = more_ns / 10_000;
        assert!(more_ns.is_multiple_of(10_000) && (1..=1_000).contains(&byte_ns), "{one:?} {many:?}");
        assert!(one.duration_ns < 51 * MILLISECOND_NS, "{one:?}");
        slowest_ns = byte_ns.max(slowest_ns);
    }
    assert!(slowest_ns > 500, "{slowest_ns} ns for a byte");
}

#[test]
fn a_connection_that_is_to_fail_does_so_within_a_tenth_of_a_second() {
    for seed in 0..20 {
        let mut sim = sim(seed, Faults { reset: 1.0, ..Faults::default() });
        sim.advance(10 * SECOND_NS);
        let (client, server) = pair(&mut sim);
        let connected_ns = sim.now_ns();
        for socket in [client, server] {
            sim.receive(socket).expect("it is idle");
        }
        let mut failed = 0;
        while failed < 2 {
            for completion in turn(&mut sim) {
                let Event::ReceiveEnded(ReceiveEnd::Error(error)) = completion.event else {
                    panic!("{completion:?}");
                };
                assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
                failed += 1;
            }
        }
        let duration_ns = sim.now_ns() - connected_ns;
        assert!(duration_ns <= 100 * MILLISECOND_NS, "{duration_ns} ns");
    }
}

#[test]
fn a_connect_that_finds_the_backlog_full_tries_again_after_a_second() {
    let mut sim = sim(1, Faults::default());
    let (listener, address) = listen(&mut sim);
    let clients: Vec<_> =
        (0..=LISTEN_BACKLOG).map(|_| sim.connect(&address).expect("a socket can be made")).collect();
    let connects = |completions: Vec<Completion>| {
        let connected = |it: &Completion| matches!(it.event, Event::Connected(Ok(())));
        completions.into_iter().filter(connected).map(|it| it.handle).collect::<Vec<_>>()
    };
    // Nobody accepts.
    let start_ns = sim.now_ns();
    assert_eq!(connects(turn(&mut sim)), clients[..LISTEN_BACKLOG as usize]);
    let mut completions = Vec::new();
    sim.turn(Some(start_ns + SECOND_NS / 2), &mut completions).expect("it works");
    assert!(completions.is_empty(), "{completions:?}");
    sim.accept(listener).expect("it is idle");
    assert_eq!(turn(&mut sim).len(), LISTEN_BACKLOG as usize);
    assert_eq!(connects(turn(&mut sim)), clients[LISTEN_BACKLOG as usize..]);
    let duration_ns = sim.now_ns() - start_ns;
    assert!((SECOND_NS..SECOND_NS + MILLISECOND_NS).contains(&duration_ns), "{duration_ns} ns");
}

#[test]
fn a_skip_success_send_without_room_is_told_before_anything_else() {
    let mut sim = Sim::new(SimOptions { socket_buffer_size: 1_000, seed: 1, faults: Faults::default() });
    let (client, server) = pair(&mut sim);
    sim.receive(server).expect("it is idle");
    sim.send_skip_success(client, &[7; 3_000]).expect("it is idle");
    let told = turn(&mut sim);
    assert!(matches!(told[..], [Completion { event: Event::SendWaits, .. }]), "{told:?}");
}

/// What was read takes no room any more, so the end is no reset.
#[test]
fn a_close_after_everything_was_read_ends_the_stream_in_order() {
    let mut sim = sim(1, Faults::default());
    let (client, server) = pair(&mut sim);
    sim.receive(server).expect("it is idle");
    transfer(&mut sim, client, 100);
    sim.receive(client).expect("it is idle");
    sim.close(server);
    let ends: Vec<_> = [turn(&mut sim), turn(&mut sim)].into_iter().flatten().collect();
    let is_closed = |it: &Completion| it.handle == server && matches!(it.event, Event::Closed);
    let is_at_end = |it: &Completion| matches!(it.event, Event::ReceiveEnded(ReceiveEnd::Eof));
    assert!(ends.len() == 2 && is_closed(&ends[0]) && is_at_end(&ends[1]), "{ends:?}");
}

#[test]
fn a_late_cancel_leaves_the_next_send_alone() {
    let faults = Faults { cancel_race: 1.0, ..Faults::default() };
    let mut sim = Sim::new(SimOptions { socket_buffer_size: 1_000, seed: 1, faults });
    let (client, _) = pair(&mut sim);
    sim.send(client, SendBuffer::Owned(vec![7; 500])).expect("it is idle");
    sim.cancel_send(client);
    let sent = turn(&mut sim);
    assert!(matches!(sent[..], [Completion { event: Event::Sent(Ok(()), _), .. }]), "{sent:?}");
    // There is no room for all of it, so it is under way when the cancel takes effect.
    sim.send(client, SendBuffer::Owned(vec![7; 1_000])).expect("it is idle");
    let mut completions = Vec::new();
    sim.turn(Some(sim.now_ns() + SECOND_NS), &mut completions).expect("it works");
    assert!(completions.is_empty(), "{completions:?}");
}
