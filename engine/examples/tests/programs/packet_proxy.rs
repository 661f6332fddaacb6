//! `packet_proxy`: 9,000 clients at once, TLS on both sides, each fault, and the graceful end. `echo_loop` is the upstream,
//! unless a test plays it.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::{fs, io, process};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use ringtide::Address;
use ringtide::runtime::sync::{Notify, Semaphore};
use ringtide::runtime::{JoinSet, Worker, WorkerOptions};
use ringtide::stream::Stream;
use ringtide::tls::{ClientTls, ClientTlsOptions, Trust, read_certificates};

use crate::support::{Example, PATIENCE};

const CLIENTS: usize = 9_000;
const TLS_CLIENTS: usize = 300;

/// Of the proxy: two for each client. Other tests run in this process meanwhile, so the clients need some more as well.
const DESCRIPTORS: u64 = 2 * CLIENTS as u64 + 100;

/// Clients that connect at the same time, so that no listener's backlog overflows.
const CONNECTING_MAX: usize = 256;

fn packet(nonce: &[u8], data: &[u8]) -> Vec<u8> {
    let mut packet = vec![1];
    packet.extend_from_slice(&(nonce.len() as u32).to_be_bytes());
    packet.extend_from_slice(&(data.len() as u32).to_be_bytes());
    packet.extend_from_slice(nonce);
    packet.extend_from_slice(data);
    packet
}

/// Connects `count` clients, and lets each make three round trips: the last two after all of them have made the first.
fn round_trips_of(count: usize, proxy: &str, tls: Option<&ClientTls>) {
    struct Shared {
        proxy: Address,
        tls: Option<ClientTls>,
        connecting: Semaphore,
        arrived: Cell<usize>,
        all_are_here: Notify,
    }

    async fn round_trip(stream: &mut Stream, number: usize, round: usize) -> io::Result<()> {
        let data = vec![round as u8; number % 300 * round];
        let packet = packet(&number.to_be_bytes(), &data);
        stream.write_all(&packet).await?;
        let mut answer = vec![0; packet.len()];
        stream.read_exact(&mut answer).await?;
        assert!(answer == packet, "client {number}, round {round}");
        Ok(())
    }

    async fn client(shared: &Shared, count: usize, number: usize) -> io::Result<()> {
        let place = shared.connecting.acquire().await.unwrap();
        let mut stream = match &shared.tls {
            Some(tls) => Stream::connect_tls(&shared.proxy, "localhost", tls).await?,
            None => Stream::connect(&shared.proxy).await?,
        };
        round_trip(&mut stream, number, 1).await?;
        drop(place);
        let all_are_here = shared.all_are_here.notified();
        shared.arrived.set(shared.arrived.get() + 1);
        if shared.arrived.get() == count {
            shared.all_are_here.notify_waiters();
        }
        all_are_here.await;
        round_trip(&mut stream, number, 2).await?;
        round_trip(&mut stream, number, 3).await?;
        stream.shutdown().await?;
        assert!(stream.receive().await?.is_none(), "the proxy ends the stream as well");
        Ok(())
    }

    let shared = Rc::new(Shared {
        proxy: proxy.parse().unwrap(),
        tls: tls.cloned(),
        connecting: Semaphore::new(CONNECTING_MAX),
        arrived: Cell::new(0),
        all_are_here: Notify::new(),
    });
    Worker::new(&WorkerOptions::default()).unwrap().block_on(async {
        let mut clients = JoinSet::new();
        for number in 0..count {
            let shared = Rc::clone(&shared);
            clients.spawn(async move { client(&shared, count, number).await });
        }
        for _ in 0..count {
            clients.join_next().await.unwrap().unwrap().unwrap();
        }
    });
    assert_eq!(shared.arrived.get(), count);
}

/// The limits of the programs that this one starts are those that it has itself.
fn allow_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(hard >= DESCRIPTORS, "this test needs {DESCRIPTORS} descriptors: `ulimit -Hn` is {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

#[test]
fn nine_thousand_clients_at_once() {
    allow_descriptors();
    let (_upstream, upstream) = Example::serve("echo_loop", &["127.0.0.1:0"]);
    let (mut proxy, address) = Example::serve("packet_proxy", &["127.0.0.1:0", &upstream, "--timeout", "60"]);
    round_trips_of(CLIENTS, &address, None);
    proxy.signal(Signal::SIGTERM);
    let end = proxy.line();
    assert!(end.starts_with("draining "), "{end}");
    assert!(proxy.wait().success());
}

/// A folder that is removed at the end of the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Two proxies behind one another, so that one's client is TLS and the other's upstream.
#[test]
fn tls_from_the_client_and_to_the_upstream() {
    let folder = Folder(std::env::temp_dir().join(format!("ringtide-packet-proxy-{}", process::id())));
    fs::create_dir_all(&folder.0).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = |name: &str| folder.0.join(name).display().to_string();
    fs::write(path("certificate.pem"), made.cert.pem()).unwrap();
    fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();

    let (_upstream, upstream) = Example::serve("echo_loop", &["127.0.0.1:0"]);
    let identity = ["--cert", &path("certificate.pem"), "--key", &path("key.pem")];
    let arguments = [&["127.0.0.1:0", &upstream][..], &identity, &["--timeout", "60"]].concat();
    let (_inner, inner) = Example::serve("packet_proxy", &arguments);
    let to_inner = ["--upstream-tls", "localhost", "--upstream-ca", &path("certificate.pem")];
    let arguments = [&["127.0.0.1:0", &inner][..], &identity, &to_inner, &["--timeout", "60"]].concat();
    let (_outer, outer) = Example::serve("packet_proxy", &arguments);

    let authorities = read_certificates(path("certificate.pem")).unwrap();
    let tls =
        ClientTls::new(&ClientTlsOptions::default().trust(Trust::Given).authorities(authorities)).unwrap();
    round_trips_of(TLS_CLIENTS, &outer, Some(&tls));

    // An upstream with another name is not trusted, and the client learns it.
    let to_other = ["--upstream-tls", "example.org", "--upstream-ca", &path("certificate.pem")];
    let (_wary, wary) = Example::serve(
        "packet_proxy",
        &[&["127.0.0.1:0", &inner][..], &to_other, &["--timeout", "60"]].concat(),
    );
    let fault = fault(&mut connect(&wary));
    assert!(fault.contains("example.org") && fault.contains("localhost"), "{fault}");
}

/// The client gets an alert, and the proxy says why.
#[test]
fn a_plain_client_of_a_tls_proxy_is_refused() {
    let (_upstream, upstream) = Example::serve("echo_loop", &["127.0.0.1:0"]);
    let (proxy, address) = Example::serve("packet_proxy", &["127.0.0.1:0", &upstream, "--tls"]);
    let mut client = connect(&address);
    client.write_all(&packet(b"nonce", b"data")).unwrap();
    let mut alert = Vec::new();
    client.read_to_end(&mut alert).unwrap();
    assert_eq!(alert[..2], [21, 3], "an alert (RFC 8446 §5.1)");
    assert!(proxy.error_line().contains("TLS"));
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn echo(client: &mut TcpStream) {
    let packet = packet(b"nonce", b"some data");
    client.write_all(&packet).unwrap();
    let mut answer = vec![0; packet.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, packet);
}

/// Reads an error packet, which is the last one, and returns its text.
fn fault(client: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    let (header, text) = rest.split_first_chunk::<9>().unwrap();
    assert_eq!(header[..5], [0; 5], "version 0, no nonce");
    assert_eq!(header[5..], (text.len() as u32).to_be_bytes());
    String::from_utf8(text.to_vec()).unwrap()
}

#[test]
fn bad_packets_are_told_and_hurt_nobody_else() {
    let (_upstream, upstream) = Example::serve("echo_loop", &["127.0.0.1:0"]);
    let (proxy, address) = Example::serve("packet_proxy", &["127.0.0.1:0", &upstream]);
    let mut other = connect(&address);
    let mut other_version = packet(b"n", b"d");
    other_version[0] = 7;
    for (sent, ends, told) in [
        (&other_version[..], false, "a packet has version 7, not 1"),
        (&[1, 0, 0, 0, 0, 0, 0, 255, 248], false, "a packet of 65537 bytes is larger than 65536"),
        (&[1, 255, 255, 255, 255, 255, 255, 255, 255], false, "a packet of 8589934599 bytes is larger than"),
        (&[1, 0, 0, 0], true, "the stream has ended after 4 of 9 bytes"),
        (&[1, 0, 0, 0, 2, 0, 0, 0, 3, 8, 8, 9, 9], true, "the stream has ended after 4 of 5 bytes"),
    ] {
        let mut client = connect(&address);
        // What was right before is answered.
        echo(&mut client);
        client.write_all(sent).unwrap();
        if ends {
            client.shutdown(Shutdown::Write).unwrap();
        }
        let fault = fault(&mut client);
        assert!(fault.starts_with(&format!("client to upstream: {told}")), "{fault}");
        let line = proxy.error_line();
        assert_eq!(line, format!("{}: {fault}", client.local_addr().unwrap()));
        echo(&mut other);
    }
    let largest = vec![5; 64 * 1024 - 9];
    other.write_all(&packet(b"", &largest)).unwrap();
    let mut answer = vec![0; 64 * 1024];
    other.read_exact(&mut answer).unwrap();
    assert!(answer[9..] == largest);
}

#[test]
fn slow_and_silent_clients_are_told() {
    let (_upstream, upstream) = Example::serve("echo_loop", &["127.0.0.1:0"]);
    let limits = ["--timeout", "0.2", "--idle", "60"];
    let (_proxy, address) =
        Example::serve("packet_proxy", &[&["127.0.0.1:0", &upstream][..], &limits].concat());
    let mut slow = connect(&address);
    slow.write_all(&[1, 0, 0, 0, 4]).unwrap();
    assert_eq!(fault(&mut slow), "client to upstream: a packet took longer than 200ms");

    let limits = ["--timeout", "60", "--idle", "1"];
    let (_proxy, address) =
        Example::serve("packet_proxy", &[&["127.0.0.1:0", &upstream][..], &limits].concat());
    let mut silent = connect(&address);
    echo(&mut silent);
    assert_eq!(fault(&mut silent), "no packet for 1s");
}

#[test]
fn a_client_without_a_free_place_waits_or_is_told() {
    let (_upstream, upstream) = Example::serve("echo_loop", &["127.0.0.1:0"]);
    let limits = ["--clients", "1", "--timeout", "0.2"];
    let (_proxy, address) =
        Example::serve("packet_proxy", &[&["127.0.0.1:0", &upstream][..], &limits].concat());
    let mut first = connect(&address);
    echo(&mut first);
    assert_eq!(fault(&mut connect(&address)), "the wait for a free place took longer than 200ms");
    echo(&mut first);

    let limits = ["--clients", "1", "--timeout", "60"];
    let (mut proxy, address) =
        Example::serve("packet_proxy", &[&["127.0.0.1:0", &upstream][..], &limits].concat());
    let mut first = connect(&address);
    echo(&mut first);
    let mut second = connect(&address);
    second.write_all(&packet(b"", b"")).unwrap();
    second.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    second.read(&mut [0]).expect_err("it has to wait");
    drop(first);
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    second.read_exact(&mut [0; 9]).unwrap();

    // The answer to the second one shows that the proxy has accepted the third one, which came before.
    let mut third = connect(&address);
    echo(&mut second);
    proxy.signal(Signal::SIGTERM);
    assert_eq!(fault(&mut third), "the proxy is ending");
    drop((second, third));
    assert!(proxy.wait().success());
}

#[test]
fn faults_of_the_upstream_are_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    let (_proxy, address) = Example::serve("packet_proxy", &["127.0.0.1:0", &upstream]);
    for (sent, told) in [
        (&[9; 9][..], "a packet has version 9, not 1"),
        (&[1, 0, 0], "the stream has ended after 3 of 9 bytes"),
    ] {
        let mut client = connect(&address);
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(sent).unwrap();
        drop(stream);
        assert_eq!(fault(&mut client), format!("upstream to client: {told}"));
    }
    let (_proxy, address) = Example::serve("packet_proxy", &["127.0.0.1:0", "unix:/no/such/socket"]);
    let told = fault(&mut connect(&address));
    assert!(told.contains("No such file"), "{told}");
}

#[test]
fn a_drain_loses_no_packet_that_has_begun() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    let (mut proxy, address) = Example::serve("packet_proxy", &["127.0.0.1:0", &upstream]);
    let (idle, idle_upstream) = (connect(&address), listener.accept().unwrap());
    let mut client = connect(&address);
    let (mut stream, _) = listener.accept().unwrap();
    let (first, second) = (packet(b"1", b"first"), packet(b"2", b"second"));
    // The upstream has the first packet and has not answered it. Of the second one, half has left the client.
    client.write_all(&first).unwrap();
    let mut request = vec![0; first.len()];
    stream.read_exact(&mut request).unwrap();
    client.write_all(&second[..12]).unwrap();
    // A third one, forwarded by the same proxy after that half, shows that the half has arrived.
    let (mut third, mut third_upstream) = (connect(&address), listener.accept().unwrap().0);
    third.write_all(&first).unwrap();
    third_upstream.read_exact(&mut request).unwrap();

    proxy.signal(Signal::SIGINT);
    assert_eq!(proxy.line(), "draining 3 clients");
    // The listener closes a moment later. Then nobody is accepted any more.
    while TcpStream::connect(&address).is_ok() {}
    // What arrives together with the rest of the second packet is forwarded as well.
    let last = packet(b"3", b"last");
    client.write_all(&[&second[12..], &last].concat()).unwrap();
    // The upstream gets whole packets, and then the end of the stream.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, [&second[..], &last].concat());
    let answers = [first, second, last].concat();
    stream.write_all(&answers).unwrap();
    drop(stream);
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert_eq!(received, answers);
    drop((client, third_upstream, idle_upstream));
    for mut other in [idle, third] {
        assert_eq!(other.read(&mut [0]).unwrap(), 0, "a clean end");
    }
    assert!(proxy.wait().success());
}

#[test]
fn bad_options_are_told() {
    for (arguments, told) in [
        (&["127.0.0.1:0"][..], "an address is missing"),
        (&["127.0.0.1:0", "127.0.0.1:1", "--tsl"], "there is no option --tsl"),
        (&["127.0.0.1:0", "127.0.0.1:1", "--cert", "x"], "--cert and --key belong together"),
        (&["127.0.0.1:0", "127.0.0.1:1", "--cert", "no.pem", "--key", "no.pem"], "no.pem"),
    ] {
        let mut proxy = Example::start("packet_proxy", arguments);
        let line = proxy.error_line();
        assert!(line.contains(told), "{line}");
        assert_eq!(proxy.wait().code(), Some(2));
    }
}
