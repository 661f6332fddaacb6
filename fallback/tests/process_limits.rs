//! Tests that need their own process: few or many descriptors, and SIGPIPE with its default action.

// signal(2) undoes what Rust's runtime has set for SIGPIPE.
#![allow(unsafe_code)]

mod common;

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::process::Command;

use common::Rig;
use ringtide_driver::{Address, Driver, Event, Handle, SendBuffer};

/// The environment variable that is set in the child process, which then runs the test itself.
const CHILD: &str = "RINGTIDE_FALLBACK_TEST_CHILD";

/// Runs test `name` of this file in a child process that may open `descriptors` files. Returns true in that child.
fn is_child(name: &str, descriptors: u32) -> bool {
    if std::env::var_os(CHILD).is_some_and(|value| value == name) {
        return true;
    }
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads=1", "--nocapture"])
        .env(CHILD, name)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the child has run no test: {text}");
    false
}

#[test]
fn accepting_ends_when_descriptors_run_out_and_goes_on_when_asked() {
    if !is_child("accepting_ends_when_descriptors_run_out_and_goes_on_when_asked", 64) {
        return;
    }
    let mut rig = Rig::new();
    let listener = rig.driver.listen(&Address::Tcp(([127, 0, 0, 1], 0).into()), false).unwrap();
    let address = rig.driver.local_address(listener).unwrap();
    let client = rig.driver.connect(&address).unwrap();
    rig.connected(client).unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    assert!(rig.driver.connect(&address).is_err());
    rig.driver.accept(listener).unwrap();
    let ended = rig.take("AcceptEnded", |c| matches!(c.event, Event::AcceptEnded(_)));
    let Event::AcceptEnded(Some(error)) = ended.event else { panic!("{ended:?}") };
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    // No edge comes for a connection that has waited all the time.
    files.clear();
    rig.driver.accept(listener).unwrap();
    rig.take("Accepted", |c| matches!(c.event, Event::Accepted(_)));
}

#[test]
fn a_thousand_sockets_are_served() {
    const CONNECTIONS: usize = 1000;
    if !is_child("a_thousand_sockets_are_served", 2500) {
        return;
    }
    let mut rig = Rig::new();
    let listener = rig.driver.listen(&Address::Tcp(([127, 0, 0, 1], 0).into()), false).unwrap();
    let address = rig.driver.local_address(listener).unwrap();
    rig.driver.accept(listener).unwrap();
    let clients: Vec<Handle> = (0..CONNECTIONS).map(|_| rig.driver.connect(&address).unwrap()).collect();
    // Each client sends its slot number, and each server echoes what it receives.
    let mut echoed: HashMap<Handle, Vec<u8>> = HashMap::new();
    rig.until("echoes", |rig| {
        for completion in std::mem::take(&mut rig.completions) {
            let handle = completion.handle;
            match completion.event {
                Event::Connected(result) => {
                    result.unwrap();
                    rig.driver.receive(handle).unwrap();
                    let bytes = handle.slot().to_be_bytes().to_vec();
                    rig.driver.send(handle, SendBuffer::Owned(bytes)).unwrap();
                    echoed.insert(handle, Vec::new());
                }
                Event::Accepted(server) => rig.driver.receive(server).unwrap(),
                Event::Received(lease) => match echoed.get_mut(&handle) {
                    Some(bytes) => bytes.extend_from_slice(&lease),
                    None => rig.driver.send(handle, SendBuffer::Owned(lease.to_vec())).unwrap(),
                },
                Event::Sent(result, _) => result.unwrap(),
                other => panic!("{handle:?}: {other:?}"),
            }
        }
        echoed.len() == CONNECTIONS && echoed.values().all(|bytes| bytes.len() == 4)
    });
    for client in &clients {
        assert_eq!(echoed[client], client.slot().to_be_bytes());
    }
    for client in clients {
        rig.driver.close(client);
    }
    let mut closed = 0;
    rig.until("ends", |rig| {
        let is_end = |event: &Event| matches!(event, Event::Closed | Event::ReceiveEnded(_));
        closed += rig.completions.drain(..).filter(|c| is_end(&c.event)).count();
        closed == 2 * CONNECTIONS
    });
}

#[test]
fn a_send_to_a_closed_peer_is_an_error_and_no_signal() {
    if !is_child("a_send_to_a_closed_peer_is_an_error_and_no_signal", 64) {
        return;
    }
    // SAFETY: the default action runs no handler, and no other thread of this child depends on the signal.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let mut rig = Rig::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let socket = rig.driver.adopt(ours.into()).unwrap();
    drop(theirs);
    rig.driver.send(socket, SendBuffer::Static(b"anybody?")).unwrap();
    let sent = rig.take("Sent", |c| matches!(c.event, Event::Sent(..)));
    let Event::Sent(Err(error), _) = sent.event else { panic!("{sent:?}") };
    assert_eq!(error.error.kind(), ErrorKind::BrokenPipe);
}
