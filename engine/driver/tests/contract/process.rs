//! Tests that affect the whole process: they count descriptors or use them up.
//!
//! Each runs in its own child process, because the other tests open descriptors at the same time.

use std::io::{Read, Write};
use std::process::Command;

use bytes::Bytes;
use ringtide_driver::{Driver, Interest, SendBuffer};
use rlimit::Resource;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use crate::pump::loopback;
use crate::subject::Subject;

/// The environment variable that marks a child process.
const CHILD: &str = "RINGTIDE_CONTRACT_CHILD";

/// Raises the soft limit of open descriptors to at least `count`.
pub(crate) fn allow_descriptors(count: u64) {
    let limit = rlimit::increase_nofile_limit(count.max(4_096)).expect("the limit can be read and raised");
    assert!(
        limit >= count,
        "the hard limit of {limit} open descriptors is below the {count} that this test needs"
    );
}

/// Returns whether [`alone`] started this process.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs `body` in a process where this is the only test. `case` is the test's name in its module.
pub(crate) fn alone<S: Subject>(case: &str, body: impl FnOnce()) {
    if is_child() {
        body();
        return;
    }
    let program = std::env::current_exe().expect("a test knows its program");
    let name = format!("{}::{case}", S::NAME);
    let output = Command::new(program)
        .args(["--exact", &name, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("a child process can be started");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "in the child process:\n{out}\n{err}");
}

/// Returns the number of open descriptors of this process. On Linux, /dev/fd is /proc/self/fd. The other systems have
/// it too.
fn open_descriptors() -> usize {
    std::fs::read_dir("/dev/fd").expect("the system lists descriptors").count()
}

pub(crate) fn dropping_the_driver_ends_everything_under_way<S: Subject>() {
    alone::<S>("dropping_the_driver_ends_everything_under_way", || {
        let before = open_descriptors();
        let (foreign, other_end) = UnixStream::pair().expect("a pair can be made");
        for _ in 0..3 {
            let mut pump = S::pump_with_pool(8, 1_000);
            let (listener, address) = pump.server();
            let (receiving, sending) = pump.pair_at(listener, &address);
            pump.receive(receiving);
            let bytes = Bytes::from(vec![0; 32 * 1024 * 1024]);
            pump.send(sending, SendBuffer::Shared(bytes.clone()));
            let lease = pump.piece(receiving).expect("the peer is there");
            if S::REAL {
                let poll = pump.driver.poll(foreign.as_raw_fd(), Interest::Readable).expect("a socket");
                pump.own_poll(poll);
            }
            let closing = pump.connect(&address);
            pump.close(closing);
            pump.connect(&address);
            drop(pump);
            // The kernel and the driver no longer use the memory: this is the only reference.
            assert!(bytes.is_unique(), "the send's buffer was leaked");
            drop(lease);
        }
        drop((foreign, other_end));
        assert_eq!(open_descriptors(), before, "descriptors were leaked");
    });
}

pub(crate) fn running_out_of_descriptors_is_survived<S: Subject>() {
    if !S::REAL {
        // In the simulation, EMFILE is a fault. tests/sim_properties.rs tests it.
        return;
    }
    alone::<S>("running_out_of_descriptors_is_survived", || {
        let mut pump = S::pump();
        let listener = pump.listen(&loopback());
        let address = pump.driver.local_address(listener).expect("a listener has an address");
        let limit = open_descriptors() as u64 + 10;
        Resource::NOFILE.set(limit, limit).expect("a limit can be lowered");
        let mut clients = Vec::new();
        let error = loop {
            match pump.try_connect(&address) {
                Ok(client) => clients.push(client),
                Err(error) => break error,
            }
        };
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
        assert!(clients.len() >= 5, "{} connects before {error}", clients.len());
        for &client in &clients {
            pump.connected(client).expect("the backlog has room");
        }
        pump.accept(listener);
        let error = pump.accept_ended(listener).expect("no descriptor is left");
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
        pump.expect_nothing();
        // With free descriptors, both continue. The connections closed here are accepted nevertheless, and have ended.
        for client in clients.split_off(2) {
            pump.close(client);
            pump.closed(client);
        }
        pump.accept(listener);
        let server = pump.accepted(listener);
        pump.pass(crate::pump::SETTLED_NS);
        let mut open = pump.take_accepted();
        open.extend([server, listener]);
        open.extend(clients);
        pump.finish(&open);
    });
}

/// Also when the close is only on its way to the kernel.
pub(crate) fn a_closed_socket_makes_room_for_the_next<S: Subject>() {
    if !S::REAL {
        return;
    }
    alone::<S>("a_closed_socket_makes_room_for_the_next", || {
        let mut pump = S::pump();
        let (listener, address) = pump.server();
        let (client, server) = pump.pair_at(listener, &address);
        pump.cancel(listener);
        assert!(pump.accept_ended(listener).is_none());
        pump.receive(client);
        pump.expect_nothing();
        let limit = open_descriptors() as u64 + 2;
        Resource::NOFILE.set(limit, limit).expect("a limit can be lowered");
        let mut more = Vec::new();
        while let Ok(next) = pump.try_connect(&address) {
            more.push(next);
        }
        pump.close(client);
        let next = pump.try_connect(&address).expect("the descriptor that was closed is free");
        pump.closed(client);
        more.extend([next, server, listener]);
        pump.finish(&more);
    });
}

/// Reports print it, and users write it.
pub(crate) fn a_driver_says_its_name<S: Subject>() {
    let pump = S::pump();
    assert_eq!(Some(pump.driver.name()), S::NAME.split("::").next());
}

/// The kernel knows what is on its way by the descriptor's number, which the next one to be opened gets.
pub(crate) fn what_was_started_before_a_close_never_reaches_the_next_descriptor<S: Subject>() {
    if !S::REAL {
        return;
    }
    alone::<S>("what_was_started_before_a_close_never_reaches_the_next_descriptor", || {
        for sends in [true, false] {
            let mut pump = S::pump();
            let (client, server) = pump.pair();
            pump.receive(server);
            pump.expect_nothing();
            if sends {
                pump.send_skip_success(client, b"last");
            } else {
                pump.receive(client);
            }
            pump.close(client);
            let (mut next, mut other) = UnixStream::pair().expect("a pair can be made");
            other.write_all(b"theirs").expect("there is room");
            pump.closed(client);
            let (bytes, end) = pump.received_all(server);
            assert!(bytes == if sends { &b"last"[..] } else { b"" }, "{bytes:?} {end:?}");
            next.set_nonblocking(true).expect("settable");
            other.set_nonblocking(true).expect("settable");
            let mut theirs = [0; 6];
            next.read_exact(&mut theirs).expect("nobody else has read it");
            assert_eq!(&theirs, b"theirs");
            assert!(other.read(&mut theirs).is_err(), "it was sent what it should not have been");
            pump.finish(&[server]);
        }
    });
}
