//! `--proxy` and `--resolve`: where connections go, what the proxy is asked, and what is said when it does not do it.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ringtide::proto::h2::Options;
use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::command::{float, number, report, run};
use crate::http2_server::start;
use crate::server::{HELLO, Server};
use crate::tls::good_site;

on_both_drivers!(
    a_name_stands_for_the_given_address,
    plain_requests_go_through_a_tunnel,
    tls_goes_through_a_tunnel,
    http2_goes_through_a_tunnel,
    a_server_that_speaks_with_the_proxy_is_heard,
    a_proxy_knows_who_connects,
    a_proxy_that_refuses_is_quoted,
    a_proxy_that_is_none_is_said,
    a_silent_proxy_costs_the_connect_timeout,
    a_proxy_that_is_not_there_is_named,
    a_refused_tunnel_in_the_run_is_a_connect_error,
    the_handshake_with_the_proxy_is_part_of_the_connect,
);

/// What a proxy was asked, in order: the target, and the credentials.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A proxy with a thread per connection, which lives as long as the test.
struct Proxy {
    address: SocketAddr,
    asked: Asked,
}

impl Proxy {
    /// A proxy that opens tunnels. It understands both CONNECT and SOCKS5.
    fn open() -> Self {
        Self::scripted(|stream, asked| {
            let mut first = [0; 1];
            stream.read_exact(&mut first)?;
            let target = if first == *b"\x05" { socks5(stream, asked)? } else { connect(stream, asked)? };
            relay(stream, target)
        })
    }

    fn scripted(
        script: impl Fn(&mut TcpStream, &Asked) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("bound");
        let (asked, script) = (Asked::default(), Arc::new(script));
        let own = Arc::clone(&asked);
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let (script, asked) = (Arc::clone(&script), Arc::clone(&own));
                // A client that goes away ends the tunnel.
                thread::spawn(move || drop(script(&mut stream, &asked)));
            }
        });
        Self { address, asked }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    fn asked(&self) -> Vec<(String, Option<String>)> {
        self.asked.lock().expect("no panic").clone()
    }
}

/// Reads a CONNECT after its first byte, answers it and connects.
fn connect(stream: &mut TcpStream, asked: &Asked) -> std::io::Result<TcpStream> {
    let mut head = b"C".to_vec();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).expect("it is text");
    let mut words = head.split(' ');
    let (method, target) = (words.next(), words.next().expect("there is a target").to_owned());
    assert_eq!((method, words.next()), (Some("CONNECT"), Some("HTTP/1.1\r\nHost:")), "{head}");
    assert!(head.contains(&format!("\r\nHost: {target}\r\n")), "{head}");
    let credentials = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
    asked.lock().expect("no panic").push((target.clone(), credentials.map(str::to_owned)));
    let server = TcpStream::connect(target.replace("server.test", "127.0.0.1"))?;
    stream
        .write_all(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")?;
    Ok(server)
}

/// Reads the rest of a SOCKS5 handshake, in which it asks for a password if it can, and connects.
fn socks5(stream: &mut TcpStream, asked: &Asked) -> std::io::Result<TcpStream> {
    fn read<const SIZE: usize>(stream: &mut TcpStream) -> std::io::Result<[u8; SIZE]> {
        let mut bytes = [0; SIZE];
        stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
    let text = |stream: &mut TcpStream| -> std::io::Result<String> {
        let mut bytes = vec![0; read::<1>(stream)?[0].into()];
        stream.read_exact(&mut bytes)?;
        Ok(String::from_utf8(bytes).expect("it is text"))
    };
    let mut methods = vec![0; read::<1>(stream)?[0].into()];
    stream.read_exact(&mut methods)?;
    let mut credentials = None;
    if methods.contains(&2) {
        stream.write_all(&[5, 2])?;
        assert_eq!(read::<1>(stream)?, [1]);
        credentials = Some(format!("{}:{}", text(stream)?, text(stream)?));
        stream.write_all(&[1, 0])?;
    } else {
        assert_eq!(methods, [0]);
        stream.write_all(&[5, 0])?;
    }
    assert_eq!(read::<3>(stream)?, [5, 1, 0]);
    let host = match read::<1>(stream)?[0] {
        1 => Ipv4Addr::from(read::<4>(stream)?).to_string(),
        4 => format!("[{}]", Ipv6Addr::from(read::<16>(stream)?)),
        3 => text(stream)?,
        other => panic!("an address of type {other}"),
    };
    let target = format!("{host}:{}", u16::from_be_bytes(read::<2>(stream)?));
    asked.lock().expect("no panic").push((target.clone(), credentials));
    let server = TcpStream::connect(target.replace("server.test", "127.0.0.1"))?;
    // It says by name where it connects from.
    stream.write_all(b"\x05\x00\x00\x03\x04here\x00\x50")?;
    Ok(server)
}

/// Copies both ways until one side is done.
fn relay(stream: &mut TcpStream, server: TcpStream) -> std::io::Result<()> {
    let (mut from_server, mut to_client) = (server.try_clone()?, stream.try_clone()?);
    let back = thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(std::net::Shutdown::Write);
    });
    let mut to_server = server;
    let _ = std::io::copy(stream, &mut to_server);
    let _ = to_server.shutdown(std::net::Shutdown::Write);
    back.join().expect("it copies");
    Ok(())
}

#[track_caller]
fn all_completed(report: &Value, count: u64) {
    for name in ["scheduled", "sent", "completed"] {
        assert_eq!(number(&report["requests"][name]), count, "{name} in {report}");
    }
}

fn a_name_stands_for_the_given_address(driver: &str) {
    let server = Server::start(|peer| {
        while let Some(request) = peer.request() {
            assert!(request.fields("host")[0].starts_with("Server.test:"), "{request:?}");
            peer.send(HELLO);
        }
    });
    let port = server.address.port();
    let url = format!("http://Server.test:{port}/");
    // Nobody listens at the first address of the name.
    let refusing = format!("server.test:{port}:127.99.99.99");
    let rule = format!("server.TEST:{port}:127.0.0.1");
    let flags = ["-n", "4", "-c", "2", "-t", "1", "--resolve", &refusing, "--resolve", &rule];
    let report = report(driver, &url, &flags);
    server.finish();
    all_completed(&report, 4);
    assert_eq!(report["phases_us"]["dns"]["count"], 0, "{report}");
    assert_eq!(report["plan"]["resolve"][1], json!(rule), "{report}");
}

fn plain_requests_go_through_a_tunnel(driver: &str) {
    let proxy = Proxy::open();
    for (scheme, host, flags) in [
        ("http", "server.test", &["-n", "20", "-c", "2", "-t", "2"][..]),
        ("http", "127.0.0.1", &["-n", "6", "-c", "2", "-t", "1", "--no-keepalive"]),
        ("socks5h", "server.test", &["-n", "20", "-c", "2", "-t", "1", "-p", "4"]),
        ("socks5", "127.0.0.1", &["-R", "100", "-n", "20", "-c", "2", "-t", "1"]),
    ] {
        let server = Server::answering(HELLO);
        let port = server.address.port();
        let before = proxy.asked().len();
        let url = format!("http://{host}:{port}/");
        let report = report(driver, &url, &[flags, &["--proxy", &proxy.url(scheme)]].concat());
        let tally = server.finish();
        all_completed(&report, number(&report["plan"]["requests"]));
        // What the proxy was told does not count.
        let sent = tally.bytes_received.load(SeqCst);
        assert_eq!(number(&report["bytes_sent"]), sent, "{scheme}: {report}");
        assert_eq!(number(&report["bytes_received"]), 51 * number(&report["requests"]["completed"]));
        let asked = proxy.asked().split_off(before);
        assert_eq!(asked.len() as u64, tally.connections.load(SeqCst));
        assert!(asked.iter().all(|asked| *asked == (format!("{host}:{port}"), None)), "{asked:?}");
        assert_eq!(report["plan"]["proxy"], json!(proxy.url(scheme)), "{report}");
    }
}

fn tls_goes_through_a_tunnel(driver: &str) {
    let authority = Authority::new();
    let site = good_site(&authority);
    for scheme in ["http", "socks5h"] {
        let proxy = Proxy::open();
        let (ca, through) = (authority.path(), proxy.url(scheme));
        let flags = ["-n", "6", "-c", "2", "-t", "1", "--cacert", &ca, "--proxy", &through];
        let report = report(driver, &site.url(), &flags);
        all_completed(&report, 6);
        assert_eq!((proxy.asked().len(), &report["phases_us"]["tls"]["count"]), (2, &json!(2)), "{report}");
    }
}

fn http2_goes_through_a_tunnel(driver: &str) {
    let server = start(Options::default(), |http2| {
        while let Some(stream) = http2.request() {
            http2.answer(stream);
        }
    });
    let proxy = Proxy::open();
    for flags in [&["-c", "1", "-p", "10"][..], &["-c", "1", "--no-keepalive"]] {
        let flags = [flags, &["-n", "20", "--http2"]].concat();
        let direct = report(driver, &server.url(), &flags);
        for scheme in ["http", "socks5"] {
            let through = proxy.url(scheme);
            let report = report(driver, &server.url(), &[&flags[..], &["--proxy", &through]].concat());
            all_completed(&report, 20);
            // What the proxy was told does not count. When the settings are acknowledged may differ: 9 bytes each.
            let [direct, tunnelled] = [&direct, &report].map(|report| number(&report["bytes_sent"]));
            assert!(direct.abs_diff(tunnelled) <= 20 * 9, "{direct} {tunnelled}: {report}");
        }
    }
    server.finish();
}

/// The proxy's answer and the first bytes of the server arrive in one piece.
fn a_server_that_speaks_with_the_proxy_is_heard(driver: &str) {
    let proxy = Proxy::scripted(|stream, _| {
        let mut bytes = [0; 4096];
        let _ = stream.read(&mut bytes)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 408 Too slow\r\nContent-Length: 0\r\n\r\n")?;
        let _ = stream.read(&mut bytes)?;
        Ok(())
    });
    let flags = ["-n", "1", "-c", "1", "--proxy", &proxy.url("http")];
    let report = report(driver, "http://server.test:1/", &flags);
    assert_eq!(number(&report["errors"]["protocol"]), 1, "{report}");
    let says = report["error_examples"]["protocol"].as_str().expect("it is told");
    assert!(says.contains("before it was asked"), "{report}");
}

fn a_proxy_knows_who_connects(driver: &str) {
    let proxy = Proxy::open();
    for (scheme, expected) in [("http", "Basic dXNlcjpzM2NyM3Q6QC8="), ("socks5h", "user:s3cr3t:@/")] {
        let server = Server::answering(HELLO);
        let url = format!("http://server.test:{}/", server.address.port());
        let through = format!("{scheme}://user:s3cr3t:%40%2f@{}", proxy.address);
        for format in ["json", "text"] {
            let ended = run(driver, &url, &["-n", "1", "--proxy", &through, "--format", format]);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            // Neither is in a report.
            for secret in ["user:", "s3cr3t", "dXNlcj"] {
                assert!(
                    !ended.stdout.contains(secret) && !ended.stderr.contains(secret),
                    "{secret}: {ended:?}"
                );
            }
            assert!(ended.stdout.contains(&proxy.url(scheme)), "{ended:?}");
        }
        server.finish();
        let asked = proxy.asked();
        assert_eq!(asked.last().expect("it was asked").1.as_deref(), Some(expected), "{asked:?}");
    }
}

/// A proxy that says this once it has read something, and again for each further read.
fn saying(answers: &[&[u8]]) -> Proxy {
    let answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.to_vec()).collect();
    Proxy::scripted(move |stream, _| {
        for answer in &answers {
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes)?;
            stream.write_all(answer)?;
        }
        // Until the client closes.
        let _ = stream.read(&mut [0; 4096])?;
        Ok(())
    })
}

#[track_caller]
fn says(driver: &str, proxy: &Proxy, scheme: &str, userinfo: &str, text: &str) {
    let through = format!("{scheme}://{userinfo}{}", proxy.address);
    let url = "http://server.test:81/";
    run(driver, url, &["-c", "1", "-t", "1", "-d", "1s", "--proxy", &through]).refused(1, &[url, text]);
}

fn a_proxy_that_refuses_is_quoted(driver: &str) {
    for (answers, scheme, userinfo, text) in [
        (
            &[&b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"[..]][..],
            "http",
            "",
            "refused the tunnel to server.test:81: 403 Forbidden; many proxies allow tunnels to port 443 only",
        ),
        (&[b"HTTP/1.0 503\r\n\r\n"], "http", "", "refused the tunnel to server.test:81: 503"),
        (
            &[b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"],
            "http",
            "",
            "407 Proxy Authentication Required; it wants to know who connects: --proxy http://USER:PASSWORD@",
        ),
        (
            &[b"HTTP/1.1 407 No\r\n\r\n"],
            "http",
            "u:p@",
            "it does not accept the user and password of --proxy",
        ),
        (&[b"\x05\xFF"], "socks5h", "", "it wants to know who connects: --proxy socks5://USER:PASSWORD@"),
        (&[b"\x05\xFF"], "socks5h", "u:p@", "it accepts neither"),
        (
            &[b"\x05\x02", b"\x01\x01"],
            "socks5h",
            "u:p@",
            "it does not accept the user and password of --proxy",
        ),
        (
            &[b"\x05\x00", b"\x05\x05\x00\x01\0\0\0\0\0\0"],
            "socks5h",
            "",
            "refused the tunnel to server.test:81: the server refused the connection",
        ),
        (&[b"\x05\x00", b"\x05\x02\x00\x01\0\0\0\0\0\0"], "socks5h", "", "its rules do not allow it"),
        (&[b"\x05\x00", b"\x05\x63\x00\x01\0\0\0\0\0\0"], "socks5h", "", "code 99"),
    ] {
        says(driver, &saying(answers), scheme, userinfo, text);
    }
}

/// More than a proxy's answer may be.
static TOO_LONG: [u8; 20_000] = [b'x'; 20_000];

fn a_proxy_that_is_none_is_said(driver: &str) {
    for (answers, scheme, text) in [
        (&[&b"SSH-2.0-x\r\n\r\n"[..]][..], "http", "did not answer as an HTTP proxy: it sent `SSH-2.0-x"),
        (&[&TOO_LONG], "http", "did not answer as an HTTP proxy: it sent `xxxxx"),
        (&[b"HTTP/1.1 400 Bad Request\r\n\r\n"], "socks5h", "did not answer as a SOCKS5 proxy: it sent `HT`"),
        (&[b"\x05\x07"], "socks5h", "did not answer as a SOCKS5 proxy: it sent `\\x05\\x07`"),
        (&[b"\x05\x00", b"\x05\x00\x00\x09\0\0\0\0\0\0"], "socks5h", "did not answer as a SOCKS5 proxy"),
    ] {
        says(driver, &saying(answers), scheme, "", text);
    }
    for scheme in ["http", "socks5h"] {
        let closing = Proxy::scripted(|stream, _| {
            let _ = stream.read(&mut [0; 4096])?;
            Ok(())
        });
        says(
            driver,
            &closing,
            scheme,
            "",
            "closed the connection instead of opening a tunnel to server.test:81",
        );
    }
}

fn a_silent_proxy_costs_the_connect_timeout(driver: &str) {
    for scheme in ["http", "socks5h"] {
        let proxy = saying(&[b""]);
        let begun = Instant::now();
        let through = proxy.url(scheme);
        let flags = ["-c", "2", "-t", "1", "--connect-timeout", "300ms", "--proxy", &through];
        let text = format!("the proxy {} opened no tunnel to server.test:81 within 300ms", proxy.address);
        run(driver, "http://server.test:81/", &flags).refused(1, &[&text]);
        assert!(begun.elapsed() >= Duration::from_millis(300));
    }
}

fn a_proxy_that_is_not_there_is_named(driver: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let flags = ["-c", "1", "--proxy", &format!("socks5h://{address}")];
    let text = format!("could not connect to the proxy {address}");
    run(driver, "http://server.test:81/", &flags).refused(1, &[&text, "refused"]);
    let flags = ["-c", "1", "--proxy", "http://proxy.invalid:3128"];
    run(driver, "http://server.test:81/", &flags).refused(1, &["cannot resolve `proxy.invalid`"]);
    // An address for its name is enough.
    let proxy = Proxy::open();
    let server = Server::answering(HELLO);
    let (through, rule) = (
        format!("http://proxy.invalid:{}", proxy.address.port()),
        format!("proxy.invalid:{}:{}", proxy.address.port(), IpAddr::from(Ipv4Addr::LOCALHOST)),
    );
    all_completed(&report(driver, &server.url(), &["-n", "1", "--proxy", &through, "--resolve", &rule]), 1);
    // And for the server's, if the proxy is to be told an address.
    let url = format!("http://other.invalid:{}/", server.address.port());
    let rule = format!("other.invalid:{}:127.0.0.1", server.address.port());
    let flags = ["-n", "1", "--proxy", &proxy.url("socks5"), "--resolve", &rule];
    all_completed(&report(driver, &url, &flags), 1);
    server.finish();
}

fn a_refused_tunnel_in_the_run_is_a_connect_error(driver: &str) {
    let tunnels = AtomicU64::new(0);
    let proxy = Proxy::scripted(move |stream, asked| {
        stream.read_exact(&mut [0; 1])?;
        if tunnels.fetch_add(1, SeqCst) > 0 {
            let _ = stream.read(&mut [0; 4096])?;
            return stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
        }
        let target = connect(stream, asked)?;
        relay(stream, target)
    });
    // Each answer ends its connection, and the second tunnel is refused.
    let server = Server::start(|peer| {
        peer.request();
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    });
    let report = report(driver, &server.url(), &["-n", "3", "-c", "1", "--proxy", &proxy.url("http")]);
    server.finish();
    assert_eq!(number(&report["requests"]["completed"]), 1, "{report}");
    assert_eq!(number(&report["errors"]["connect"]), 2, "{report}");
    let says = report["error_examples"]["connect"].as_str().expect("it is told");
    assert!(says.contains("refused the tunnel") && says.contains("502 Bad Gateway"), "{report}");
}

fn the_handshake_with_the_proxy_is_part_of_the_connect(driver: &str) {
    let proxy = Proxy::scripted(|stream, asked| {
        let mut first = [0; 1];
        stream.read_exact(&mut first)?;
        thread::sleep(Duration::from_millis(200));
        let target = connect(stream, asked)?;
        relay(stream, target)
    });
    let server = Server::answering(HELLO);
    let report = report(driver, &server.url(), &["-n", "3", "-c", "1", "--proxy", &proxy.url("http")]);
    server.finish();
    all_completed(&report, 3);
    assert!(float(&report["phases_us"]["connect"]["min"]) >= 195_000.0, "{report}");
}
