//! What keeps a run from starting: a clear line, the right code, and nothing else. And what does not.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::command::{begin_command, number, run};
use crate::server::{HELLO, Server};

on_both_drivers!(
    a_refused_connection_is_said_at_once,
    a_name_without_an_address_is_named,
    a_unix_socket_that_is_not_there_is_named,
    a_peer_that_never_completes_the_handshake_costs_the_connect_timeout,
    a_soft_limit_on_descriptors_is_raised,
    a_hard_limit_on_descriptors_is_named_before_the_start,
    an_interrupt_ends_the_connecting_too,
    some_connections_are_enough,
);

/// An address at which nobody listens, kept from others as long as the socket lives.
fn nobody() -> (SocketAddr, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
        .expect("loopback has free ports");
    (socket.local_addr().expect("bound").as_socket().expect("TCP"), socket)
}

/// A listener whose queue is full, and what fills it: a SYN to it is dropped, as one to a machine that is gone.
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
    // RFC 6761 §6.4: nobody may ever have it.
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

fn an_interrupt_ends_the_connecting_too(driver: &str) {
    let (address, _kept) = full_listener();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtide"));
    command.args(["run", &format!("http://{address}/"), "--driver", driver, "--connect-timeout", "1m"]);
    let running = begin_command(command);
    // Before that, it would die of the signal.
    let begun = Instant::now();
    running.wait_until_it_catches_interrupts();
    running.interrupt();
    let ended = running.wait();
    assert!(begun.elapsed() < Duration::from_secs(30), "{ended:?}");
    assert_eq!(ended.code, Some(130), "{ended:?}");
}

fn some_connections_are_enough(driver: &str) {
    // One place in the queue, and nobody who takes from it until the first has been served.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("bound");
    socket2::SockRef::from(&listener).listen(0).expect("bound");
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody connects");
        let (tally, mut buffer) = (crate::server::Tally::default(), Vec::new());
        // The queue fills up meanwhile; it is the run that ends this.
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
