//! `run https://…`: what is measured of TLS, which sessions are resumed, and how each bad configuration is told.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::thread;

use ringtide::Address;
use ringtide::tls::rustls::{self, ServerConnection};
use ringtide::tls::{
    ClientAuthentication, Identity, ServerTls, ServerTlsOptions, Version, read_certificates,
};
use ringtide_loadgen::serve::{ServeHandle, ServeOptions, serve};
use serde_json::Value;

use crate::certificates::Authority;
use crate::command::{begin_command, float, number, report, run};
use crate::server::Server;

on_both_drivers!(
    an_https_run_measures_its_handshakes,
    sessions_are_resumed_unless_that_is_off,
    a_handshake_is_waited_for_and_not_served,
    an_open_loop_resumes_its_sessions,
    a_handshake_that_never_ends_runs_into_the_connect_timeout,
    each_bad_certificate_is_told_with_what_to_do,
    nothing_in_common_is_told,
    plain_http_behind_https_is_told,
    https_behind_plain_http_is_told,
    a_client_certificate_that_is_wanted_is_told_and_accepted,
    an_end_without_close_notify_counts_as_what_it_cuts,
    bound_connections_come_from_their_addresses_in_turn,
);

/// A server of `ringtide_loadgen` with TLS. Dropping it ends it.
pub(crate) struct Site(ServeHandle, &'static str);

impl Site {
    pub(crate) fn start(options: &ServerTlsOptions) -> Self {
        let tls = Some(ServerTls::new(options).expect("the settings are sound"));
        let options = ServeOptions { threads: 1, tls, ..ServeOptions::default() };
        Self(serve(&options).expect("a free port"), "https")
    }

    /// The same without TLS.
    pub(crate) fn start_plain() -> Self {
        let options = ServeOptions { threads: 1, ..ServeOptions::default() };
        Self(serve(&options).expect("a free port"), "http")
    }

    pub(crate) fn url(&self) -> String {
        let Address::Tcp(address) = self.0.addresses()[0] else { unreachable!() };
        format!("{}://{address}/", self.1)
    }

    /// Returns how many requests it has answered.
    pub(crate) fn requests(&self) -> u64 {
        self.0.requests().answered
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

fn serving(identity: Identity) -> ServerTlsOptions {
    ServerTlsOptions::default().identity(identity).alpn(["http/1.1"])
}

/// A site that the client can trust.
pub(crate) fn good_site(authority: &Authority) -> Site {
    Site::start(&serving(authority.issue(&["127.0.0.1"], |_| {})))
}

fn handshakes(report: &Value) -> (u64, u64) {
    (number(&report["tls"]["handshakes_full"]), number(&report["tls"]["handshakes_resumed"]))
}

fn an_https_run_measures_its_handshakes(driver: &str) {
    let authority = Authority::new();
    let site = good_site(&authority);
    let ca = authority.path();
    for (version, cipher) in [("1.3", "TLS_AES_128_GCM_SHA256"), ("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256")] {
        let flags = ["--cacert", &ca, "--tls-min", version, "--tls-max", version, "--ciphers", cipher];
        let report =
            report(driver, &site.url(), &[&flags[..], &["-n", "300", "-c", "6", "-t", "2"]].concat());
        assert_eq!(number(&report["status"]["200"]), 300, "{report}");
        assert_eq!(report["tls"]["version"], version);
        let name = if version == "1.3" { cipher } else { "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" };
        assert_eq!(report["tls"]["cipher"], name);
        let (full, resumed) = handshakes(&report);
        assert_eq!(full + resumed, 6, "{report}");
        assert!(full > 0, "{report}");
        let tls = &report["phases_us"]["tls"];
        assert_eq!(number(&tls["count"]), 6, "{report}");
        assert!(float(&tls["min"]) > 0.0 && float(&tls["max"]) < 30e6, "{report}");
        assert_eq!(report["plan"]["tls"]["max_version"], version);
        assert_eq!(report["plan"]["tls"]["cacert"], *ca);
    }
    let text = run(driver, &site.url(), &["-k", "-n", "20", "-c", "2", "-t", "1"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.stderr.contains("INSECURE: -k accepts any certificate"), "{text:?}");
    for piece in ["\nHandshakes     p50 ", " full", " resumed\n", " TLS 1.3 · TLS_"] {
        assert!(text.stdout.contains(piece), "{piece}: {text:?}");
    }
}

fn sessions_are_resumed_unless_that_is_off(driver: &str) {
    let authority = Authority::new();
    let site = good_site(&authority);
    let ca = authority.path();
    let load = ["--cacert", &ca, "--no-keepalive", "-n", "200", "-c", "4", "-t", "1"];
    for version in ["1.2", "1.3"] {
        let flags = [&load[..], &["--tls-min", version, "--tls-max", version]].concat();
        let on = report(driver, &site.url(), &flags);
        let (full, resumed) = handshakes(&on);
        assert_eq!(full + resumed, 200, "{on}");
        // Those that begin before the first one has ended have no session.
        assert!(full <= 5, "{full} of 200 in TLS {version}: {on}");
        let off = report(driver, &site.url(), &[&flags[..], &["--tls-resumption", "off"]].concat());
        assert_eq!(handshakes(&off), (200, 0), "{off}");
        assert_eq!(number(&off["phases_us"]["tls"]["count"]), 200);
    }
}

fn an_open_loop_resumes_its_sessions(driver: &str) {
    let authority = Authority::new();
    let site = good_site(&authority);
    let ca = authority.path();
    let flags = ["--cacert", &ca, "--no-keepalive", "-n", "100", "-R", "200", "-c", "4", "-t", "1"];
    let report = report(driver, &site.url(), &flags);
    assert_eq!(number(&report["requests"]["completed"]), 100, "{report}");
    let (full, resumed) = handshakes(&report);
    assert_eq!(full + resumed, 100, "{report}");
    assert!(full <= 5, "{report}");
}

fn a_handshake_is_waited_for_and_not_served(driver: &str) {
    let authority = Authority::new();
    let site = good_site(&authority);
    let ca = authority.path();
    for flags in [&[][..], &["-R", "500"]] {
        let load =
            ["--cacert", &ca, "--no-keepalive", "--tls-resumption", "off", "-n", "100", "-c", "1", "-t", "1"];
        let report = report(driver, &site.url(), &[&load[..], flags].concat());
        let latency = &report["latency_us"];
        let mean = |name: &str| float(&latency[name]["mean"]);
        // The first handshake was before the start, and was no longer than the longest.
        let tls = &report["phases_us"]["tls"];
        let handshakes = 100.0 * float(&tls["mean"]) - float(&tls["max"]);
        assert!(100.0 * mean("queue_wait") > 0.99 * handshakes && handshakes > 0.0, "{report}");
        let rest = mean("response") - mean("service");
        assert!(rest > 0.99 * mean("queue_wait"), "{report}");
    }
}

fn a_handshake_that_never_ends_runs_into_the_connect_timeout(driver: &str) {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("https://{}/", silent.local_addr().expect("bound"));
    let ended = run(driver, &url, &["-k", "-c", "2", "-t", "1", "-n", "4", "--connect-timeout", "50ms"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for piece in ["no end of the TLS handshake with 127.0.0.1:", "within 50ms of the connect"] {
        assert!(ended.stderr.contains(piece), "{ended:?}");
    }
}

/// Runs against a server that nothing connects to, and checks what it says.
#[track_caller]
fn says(driver: &str, url: &str, flags: &[&str], pieces: &[&str]) {
    let ended = run(driver, url, &[flags, &["-n", "4", "-c", "1", "-t", "1", "--quiet"]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for piece in pieces {
        assert!(ended.stderr.contains(piece), "it does not say `{piece}`: {ended:?}");
    }
}

fn each_bad_certificate_is_told_with_what_to_do(driver: &str) {
    let authority = Authority::new();
    let ca = authority.path();
    let trusted = ["--cacert", &ca];
    let site = |names: &[&str], edit: &dyn Fn(&mut rcgen::CertificateParams)| {
        Site::start(&serving(authority.issue(names, |params| edit(params))))
    };
    let expired = site(&["127.0.0.1"], &|params| params.not_after = rcgen::date_time_ymd(2020, 2, 29));
    let date = "the certificate of 127.0.0.1 expired on Sat, 29 Feb 2020";
    says(driver, &expired.url(), &trusted, &[date, "-k accepts it all the same"]);
    let early = site(&["127.0.0.1"], &|params| params.not_before = rcgen::date_time_ymd(2999, 1, 1));
    says(driver, &early.url(), &trusted, &["is not valid before", "2999", "clock"]);
    let elsewhere = site(&["example.org", "example.com"], &|_| {});
    let not_for = "the certificate is not for 127.0.0.1, but for example.org, example.com";
    says(driver, &elsewhere.url(), &trusted, &[not_for, "--sni NAME"]);
    let named =
        report(driver, &elsewhere.url(), &["--cacert", &ca, "--sni", "example.org", "-n", "4", "-c", "1"]);
    assert_eq!(number(&named["status"]["200"]), 4, "{named}");

    let good = site(&["127.0.0.1"], &|_| {});
    let unknown = "the certificate of 127.0.0.1 is not signed by a trusted authority";
    says(driver, &good.url(), &[], &[unknown, "trust it with --cacert FILE, or check nothing with -k"]);
    let other = Authority::new();
    let flags = ["--cacert", &other.path()];
    says(driver, &good.url(), &flags, &["the file of --cacert does not have it; -k checks nothing"]);
    let own = Site::start(&serving(Identity::self_signed(&["127.0.0.1"]).expect("an identity")));
    says(driver, &own.url(), &[], &["the certificate of 127.0.0.1 is self-signed", "--cacert FILE"]);
}

fn nothing_in_common_is_told(driver: &str) {
    let authority = Authority::new();
    let site = |edit: &dyn Fn(ServerTlsOptions) -> ServerTlsOptions| {
        Site::start(&edit(serving(authority.issue(&["127.0.0.1"], |_| {}))))
    };
    let old = site(&|options| options.max_version(Version::Tls12));
    says(driver, &old.url(), &["-k", "--tls-min", "1.3"], &["none of the TLS versions", "--tls-min"]);
    let new = site(&|options| options.min_version(Version::Tls13).cipher_suites(["TLS_AES_128_GCM_SHA256"]));
    says(driver, &new.url(), &["-k", "--tls-max", "1.2"], &["none of the TLS versions", "--tls-max"]);
    // The server only says that it found nothing in common.
    let flags = ["-k", "--ciphers", "TLS_CHACHA20_POLY1305_SHA256"];
    says(driver, &new.url(), &flags, &["nothing in common", "cipher suites", "--ciphers"]);
    let narrow = site(&|options| options.groups(["P-384"]));
    let flags = ["-k", "--tls-groups", "X25519"];
    says(driver, &narrow.url(), &flags, &["nothing in common", "--tls-groups"]);
    says(driver, &new.url(), &["-k", "--alpn", "spdy/1"], &["application protocols (ALPN)", "see --alpn"]);
}

fn plain_http_behind_https_is_told(driver: &str) {
    let server = Server::start(|peer| {
        // It reads some of what it does not understand.
        let _ = peer.stream.read(&mut [0; 512]);
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = peer.stream.write_all(answer);
    });
    let url = server.url().replace("http:", "https:");
    let it_sent = "127.0.0.1 does not speak TLS: it sent 'HTTP/1.1 400 Bad Request'";
    says(driver, &url, &["-k"], &[it_sent, "write http:// instead of https://"]);
    server.finish();
}

fn https_behind_plain_http_is_told(driver: &str) {
    let site = good_site(&Authority::new());
    let url = site.url().replace("https:", "http:");
    let alert = report(driver, &url, &["-n", "4", "-c", "1"]);
    assert_eq!(number(&alert["errors"]["protocol"]), 4, "{alert}");
    assert_eq!(
        alert["error_examples"]["protocol"],
        "the server speaks TLS at this port: write https:// instead of http://"
    );
    assert_eq!(alert["tls"], Value::Null);
    // As nginx answers.
    let nginx = Server::answering(
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 58\r\n\r\n\
        <h1>The plain HTTP request was sent to HTTPS port</h1>\r\n\r\n",
    );
    let refused = report(driver, &nginx.url(), &["-n", "4", "-c", "1"]);
    nginx.finish();
    let notes = refused["notes"].to_string();
    assert!(notes.contains("write https:// instead of http://"), "{refused}");
}

fn a_client_certificate_that_is_wanted_is_told_and_accepted(driver: &str) {
    let authority = Authority::new();
    let wanted = read_certificates(authority.path()).expect("a certificate");
    let site = |version| {
        let options = serving(authority.issue(&["127.0.0.1"], |_| {}));
        let required = ClientAuthentication::Required(wanted.clone());
        Site::start(&options.client_authentication(required).min_version(version).max_version(version))
    };
    let (cert, key) = authority.issue_files(&["a client"], |_| {});
    let ca = authority.path();
    for version in [Version::Tls12, Version::Tls13] {
        let site = site(version);
        let load = ["--cacert", &ca, "-n", "4", "-c", "1"];
        let shown = report(driver, &site.url(), &[&load[..], &["--cert", &cert, "--key", &key]].concat());
        assert_eq!(number(&shown["status"]["200"]), 4, "{shown}");
        // In TLS 1.2 the handshake fails, which does not even give a run.
        if version == Version::Tls12 {
            says(driver, &site.url(), &["--cacert", &ca], &["--cert FILE --key FILE"]);
            continue;
        }
        // In TLS 1.3 the client is done before the server has looked (RFC 8446 §4.4.2.4).
        let refused = report(driver, &site.url(), &load);
        assert_eq!(number(&refused["errors"]["tls"]), 4, "{refused}");
        let examples = &refused["error_examples"];
        let advice = "the server requires a client certificate; give it with --cert FILE --key FILE";
        assert_eq!(examples["tls.client_certificate_required"], advice, "{refused}");
        assert_eq!(examples["tls"], advice);
        let text = run(driver, &site.url(), &load);
        assert!(text.stdout.contains("\nErrors         tls"), "{text:?}");
        assert!(text.stdout.contains("requires a client certificate"), "{text:?}");
    }
}

/// Starts a server that sends `answer` once over each connection and ends it without close_notify. Returns its URL.
fn cutting(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("https://{}/", listener.local_addr().expect("bound"));
    let identity = Identity::self_signed(&["127.0.0.1"]).expect("an identity");
    let tls = ServerTls::new(&serving(identity)).expect("the settings are sound");
    let config = std::sync::Arc::clone(tls.config());
    thread::spawn(move || {
        loop {
            let Ok((mut socket, _)) = listener.accept() else { return };
            let mut session = ServerConnection::new(config.clone()).expect("a session");
            let mut stream = rustls::Stream::new(&mut session, &mut socket);
            // The client may have gone, at the end of the run.
            if stream.read(&mut [0; 1024]).is_ok() && stream.write_all(answer).is_ok() {
                let _ = stream.flush();
                let _ = socket.shutdown(Shutdown::Write);
                let _ = socket.read(&mut [0; 1]);
            }
        }
    });
    url
}

fn an_end_without_close_notify_counts_as_what_it_cuts(driver: &str) {
    let flags = ["-k", "-n", "8", "-c", "1", "-t", "1"];
    let hello = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    let framed = report(driver, &cutting(hello), &flags);
    assert_eq!(number(&framed["status"]["200"]), 8, "{framed}");
    let part = report(driver, &cutting(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello"), &flags);
    assert_eq!(number(&part["errors"]["incomplete"]), 8, "{part}");
    let open_ended = report(driver, &cutting(b"HTTP/1.1 200 OK\r\n\r\nhello"), &flags);
    assert_eq!(number(&open_ended["errors"]["tls"]), 8, "{open_ended}");
    let example = open_ended["error_examples"]["tls.truncated"].as_str().unwrap_or_default();
    assert!(example.contains("without TLS's close_notify"), "{open_ended}");
    let nothing = report(driver, &cutting(b""), &flags);
    assert_eq!(number(&nothing["errors"]["closed"]), 8, "{nothing}");
}

fn bound_connections_come_from_their_addresses_in_turn(driver: &str) {
    let server = Server::start(|peer| {
        let from = peer.stream.peer_addr().expect("connected").ip().to_string();
        let answer = if from == "127.0.0.2" { "200 OK" } else { "201 Created" };
        if peer.request().is_some() {
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            peer.stream.write_all(answer.as_bytes()).expect("the client waits for it");
        }
    });
    let flags = ["-n", "40", "-c", "4", "-t", "1", "--no-keepalive", "--bind", "127.0.0.2,127.0.0.3"];
    let report = report(driver, &server.url(), &flags);
    server.finish();
    assert_eq!(report["status"], serde_json::json!({"200": 20, "201": 20}), "{report}");
    assert_eq!(report["plan"]["bind"], serde_json::json!(["127.0.0.2", "127.0.0.3"]));
}

#[test]
fn an_address_of_another_machine_is_not_bound() {
    // TEST-NET-1 (RFC 5737) is nobody's address.
    let ended = run("auto", "http://127.0.0.1:1/", &["--bind", "192.0.2.1"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--bind: 192.0.2.1 cannot be connected from"), "{ended:?}");
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_flag() {
    let authority = Authority::new();
    let (cert, key) = authority.issue_files(&["a"], |_| {});
    let (_, other) = authority.issue_files(&["b"], |_| {});
    let (missing, ca) = (authority.file("missing"), authority.path());
    for (flags, pieces) in [
        (&["--cacert", &missing][..], &["--cacert: ", "missing: No such file"][..]),
        (&["--cacert", &key], &["--cacert: ", "has no certificate"]),
        (&["--cert", &missing, "--key", &key], &["--cert: ", "missing: No such file"]),
        (&["--cert", &cert, "--key", &missing], &["--key: ", "missing: No such file"]),
        (&["--cert", &cert, "--key", &ca], &["--key: ", "has no private key"]),
        (&["--cert", &cert, "--key", &other], &["--cert: ", "does not belong to"]),
        (&["--keylog", "/nonexistent/log"], &["--keylog: ", "/nonexistent/log: No such file"]),
        (&["--tls-groups", "X25519,foo"], &["--tls-groups: ", "'foo'; known are X25519MLKEM768,"]),
        (&["--ciphers", "foo"], &["--ciphers: ", "'foo'; known are TLS_AES_256_GCM_SHA384,"]),
        (&["--ciphers", "TLS_AES_128_GCM_SHA256", "--tls-max", "1.2"], &["--ciphers: ", "TLS 1.2"]),
        (&["--sni", "a b"], &["--sni: ", "'a b' is neither a DNS name"]),
    ] {
        let ended = run("auto", "https://127.0.0.1:1/", flags);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        for piece in pieces {
            assert!(ended.stderr.contains(piece), "it does not say `{piece}`: {ended:?}");
        }
    }
}

#[test]
fn secrets_are_logged_where_that_was_asked_for() {
    let authority = Authority::new();
    let site = good_site(&authority);
    let log = authority.file("log");
    report("fallback", &site.url(), &["--cacert", &authority.path(), "--keylog", &log, "-n", "4", "-c", "2"]);
    let secrets = std::fs::read_to_string(log).expect("it was written");
    assert_eq!(secrets.matches("CLIENT_TRAFFIC_SECRET_0 ").count(), 2, "{secrets}");
}

/// `ringtide serve` itself, from outside.
#[test]
fn serve_has_a_certificate_of_its_own_and_counts_failed_handshakes() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringtide"));
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    command.args(["serve", "--tls", "-t", "1", "--addr", &format!("127.0.0.1:{port}")]);
    let serving = begin_command(command);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        thread::yield_now();
    }
    let url = format!("https://127.0.0.1:{port}/");
    let done = report("auto", &url, &["-k", "-n", "20", "-c", "2"]);
    assert_eq!(number(&done["status"]["200"]), 20, "{done}");
    says("auto", &url, &[], &["self-signed"]);
    serving.interrupt();
    let ended = serving.wait();
    assert_eq!(ended.stdout, format!("listening on {url}\n"));
    for piece in [
        "self-signed",
        &format!("ringtide run -k {url}"),
        &format!("curl -k {url}"),
        "TLS handshake",
        "failed",
    ] {
        assert!(ended.stderr.contains(piece), "{piece}: {ended:?}");
    }
}
