//! The start of a run: what prevents it (with one clear line and the right exit code), and what does not.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::command::{begin, begin_command, number, run};
use crate::server::{HELLO, Peer, Server, Tally, next_request};

on_both_drivers!(
    a_refused_connection_is_said_at_once,
    a_name_without_an_address_is_named,
    a_unix_socket_that_is_not_there_is_named,
    a_peer_that_never_completes_the_handshake_costs_the_connect_timeout,
    a_soft_limit_on_descriptors_is_raised,
    a_hard_limit_on_descriptors_is_named_before_the_start,
    a_signal_ends_the_connecting_too,
    a_signal_ends_a_run_in_any_state,
    a_signal_ends_a_run_without_its_server,
    some_connections_are_enough,
);

/// Returns an address without a listener. The socket reserves it as long as it lives.
fn nobody() -> (SocketAddr, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
        .expect("loopback has free ports");
    (socket.local_addr().expect("bound").as_socket().expect("TCP"), socket)
}

/// Returns a listener with a full queue, and the connections that fill it. The kernel drops further SYNs, like an
/// unreachable machine.
fn full_listener() -> (SocketAddr, (Socket, Vec<TcpStream>)) {
    let (address, listener) = nobody();
    listener.listen(0).expect("bound");
    let mut filling = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        filling.push(stream);
        assert!(filling.len() < 100, "the queue has no end");
    }
    (address, (listener, filling))
}

fn a_refused_connection_is_said_at_once(driver: &str) {
    let (address, _kept) = nobody();
    let url = format!("http://{address}/");
    for flags in [&[][..], &["-t", "2"], &["--no-keepalive"], &["-R", "100"], &["--format", "json"]] {
        let begun = Instant::now();
        run(driver, &url, flags).refused(1, &[&url, &format!("could not connect to {address}"), "refused"]);
        assert!(begun.elapsed() < Duration::from_secs(5), "it waited for nothing");
    }
}

fn a_name_without_an_address_is_named(driver: &str) {
    // RFC 6761 §6.4: this name never resolves.
    run(driver, "http://no-such-host.invalid/", &[]).refused(1, &["cannot resolve `no-such-host.invalid`"]);
}

fn a_unix_socket_that_is_not_there_is_named(driver: &str) {
    let flags = ["--unix", "/nonexistent/socket"];
    run(driver, "http://h/", &flags).refused(1, &["/nonexistent/socket", "No such file or directory"]);
    let long = format!("/{}", "x".repeat(200));
    run(driver, "http://h/", &["--unix", &long]).refused(1, &[&long]);
}

fn a_peer_that_never_completes_the_handshake_costs_the_connect_timeout(driver: &str) {
    let (address, _kept) = full_listener();
    let begun = Instant::now();
    let flags = ["-c", "4", "--connect-timeout", "400ms"];
    run(driver, &format!("http://{address}/"), &flags)
        .refused(1, &[&format!("could not connect to {address} within 400ms")]);
    let elapsed = begun.elapsed();
    assert!(elapsed >= Duration::from_millis(400), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
}

/// `ringtide run` with these limits on open files.
fn limited(driver: &str, soft: u32, hard: u32, url: &str, flags: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_ringtide"))
        .args(["run", url, "--driver", driver])
        .args(flags);
    command
}

fn a_soft_limit_on_descriptors_is_raised(driver: &str) {
    let server = Server::answering(HELLO);
    let flags = ["-c", "150", "-t", "1", "-n", "1000", "--format", "json"];
    let ended = begin_command(limited(driver, 64, 512, &server.url(), &flags)).wait();
    let report = ended.report(0);
    assert_eq!(number(&report["requests"]["completed"]), 1000, "{report}");
    assert_eq!(ended.stderr, "", "there was nothing to say");
    server.finish();
}

fn a_hard_limit_on_descriptors_is_named_before_the_start(driver: &str) {
    let server = Server::answering(HELLO);
    for flags in [&["-c", "300"][..], &["-c", "10", "-R", "100", "--max-connections", "300"]] {
        begin_command(limited(driver, 64, 128, &server.url(), flags))
            .wait()
            .refused(1, &["300 connections and", "the hard limit is 128", "ulimit -Hn"]);
    }
    assert_eq!(server.finish().connections.load(std::sync::atomic::Ordering::SeqCst), 0);
}

fn a_signal_ends_the_connecting_too(driver: &str) {
    let (address, _kept) = full_listener();
    for (signal, mode, says) in [
        (Signal::SIGINT, &[][..], "\nInterrupted before the first request.\n"),
        (Signal::SIGTERM, &["-R", "10"], "\nInterrupted before the first request.\n"),
        // The warm-up has not begun either.
        (
            Signal::SIGINT,
            &["--warmup", "1m"],
            "\nInterrupted before the measured part: nothing was measured.\n",
        ),
    ] {
        let url = format!("http://{address}/");
        let running = begin(driver, &url, &[&["--connect-timeout", "1m"], mode].concat());
        // Before that, the signal would kill the process.
        let begun = Instant::now();
        running.wait_until_it_catches_interrupts();
        running.signal(signal);
        let ended = running.wait();
        assert!(begun.elapsed() < Duration::from_secs(30), "{ended:?}");
        assert_eq!(ended.code, Some(130), "{ended:?}");
        assert!(ended.stdout.contains(says), "{ended:?}");
        assert!(!ended.stdout.contains(" due = "), "{ended:?}");
    }
}

/// A server's script for each connection, and the flags of a run against it.
type State<'f> = (fn(&mut Peer), &'f [&'f str]);

fn a_signal_ends_a_run_in_any_state(driver: &str) {
    const NEVER: &str = "10h";
    let answers = |peer: &mut Peer| {
        while peer.request().is_some() {
            peer.send(HELLO);
        }
    };
    let hangs = |peer: &mut Peer| {
        peer.request();
        peer.wait_for_end();
    };
    let stops_midway = |peer: &mut Peer| {
        peer.request();
        peer.send(&HELLO[..20]);
        peer.wait_for_end();
    };
    let closes = |peer: &mut Peer| drop(peer.request());
    let states: [State<'_>; 11] = [
        (answers, &["-d", NEVER]),
        (answers, &["-n", "9G"]),
        (answers, &["-n", "9G", "-d", NEVER, "-p", "16"]),
        (answers, &["-d", NEVER, "-R", "2k"]),
        // Far more than can be sent, so there is a backlog.
        (answers, &["-d", NEVER, "-R", "100M"]),
        (answers, &["-d", NEVER, "--no-keepalive"]),
        (answers, &["-d", NEVER, "--warmup", NEVER]),
        (hangs, &["-d", NEVER, "--timeout", NEVER]),
        (hangs, &["-n", "9G", "-p", "8", "--timeout", NEVER]),
        (stops_midway, &["-d", NEVER, "--timeout", NEVER]),
        (closes, &["-n", "9G", "--max-errors", "9G"]),
    ];
    for (index, (serve, flags)) in states.into_iter().enumerate() {
        let (seen, wait) = channel();
        let server = Server::start(move |peer| {
            let _ = seen.send(());
            serve(peer);
        });
        let running = begin(driver, &server.url(), &[&["-c", "4", "-t", "2"], flags].concat());
        wait.recv_timeout(Duration::from_secs(20)).expect("it connects");
        running.signal([Signal::SIGINT, Signal::SIGTERM][index % 2]);
        let ended = running.wait();
        assert_eq!(ended.code, Some(130), "{ended:?}");
        assert!(ended.stdout.contains("\nInterrupted"), "{ended:?}");
        server.finish();
    }
}

/// A server that receives one request per connection and then goes away. From then on each connect is refused.
fn a_signal_ends_a_run_without_its_server(driver: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let running = begin(driver, &url, &["-n", "9G", "-c", "2", "-t", "1"]);
    let streams = [listener.accept(), listener.accept()];
    drop(listener);
    for stream in streams {
        let (mut stream, _) = stream.expect("it connects");
        next_request(&mut stream, &mut Vec::new(), &Tally::default()).expect("a request");
    }
    running.signal(Signal::SIGTERM);
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stdout.contains("Interrupted: this is the report of what ran."), "{ended:?}");
}

fn some_connections_are_enough(driver: &str) {
    // The queue has one place, and it is not emptied before the first connection has ended.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("bound");
    socket2::SockRef::from(&listener).listen(0).expect("bound");
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody connects");
        let (tally, mut buffer) = (crate::server::Tally::default(), Vec::new());
        // Meanwhile the queue fills up. The loop ends when the run ends.
        while crate::server::next_request(&mut stream, &mut buffer, &tally).is_some() {
            let _ = std::io::Write::write_all(&mut stream, HELLO);
        }
        drop(listener);
    });
    let flags =
        ["-c", "20", "-d", "1s", "--connect-timeout", "300ms", "--timeout", "300ms", "--format", "json"];
    let ended = run(driver, &format!("http://{address}/"), &flags);
    let report = ended.report(0);
    assert!(number(&report["status"]["200"]) > 0, "{report}");
    assert!(number(&report["errors"]["connect"]) > 0, "{report}");
    assert!(ended.stderr.contains("connections could be opened"), "{ended:?}");
    serving.join().expect("no panic");
}
