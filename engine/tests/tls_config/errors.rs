//! Every error of a session, by its kind and its text.

use std::io;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
use ringtide::tls::rustls::{self, AlertDescription, ServerConnection};
use ringtide::tls::{
    ClientTls, ClientTlsOptions, Error, Identity, Peer, ServerTls, ServerTlsOptions, Trust, Version,
};

use super::{Authority, Pair, VERSIONS, client, deliver, fail, flush, server, serving};

/// The client's error for each version, which must be the same.
fn client_error(options: &ClientTlsOptions, server: &ServerTls, host: &str) -> Error {
    let [first, second] = VERSIONS.map(|version| {
        let options = options.clone().min_version(version).max_version(version);
        fail(&client(&options), server, host).0.expect("an error")
    });
    assert_eq!(first, second);
    first
}

/// Expects an error by its kind and text, and that it passes through an I/O error.
#[track_caller]
fn expect(error: &Error, kind: &str, text: &str) {
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
    let io = io::Error::from(error.clone());
    assert_eq!(Error::of_io(&io), Some(error));
    assert_eq!(io.to_string(), text);
}

#[test]
fn certificates_out_of_their_time() {
    let authority = Authority::new("ours");
    let expired = authority.issue_with(&["localhost"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 2, 3);
    });
    expect(
        &client_error(&authority.trusted(), &server(&serving(expired)), "localhost"),
        "certificate_expired",
        "the certificate of localhost expired on Wed, 03 Feb 2021 00:00:00 GMT; it has to be renewed",
    );
    let future = authority.issue_with(&["localhost"], |params| {
        params.not_before = date_time_ymd(3000, 1, 1);
        params.not_after = date_time_ymd(3001, 1, 1);
    });
    expect(
        &client_error(&authority.trusted(), &server(&serving(future)), "localhost"),
        "certificate_not_yet_valid",
        "the certificate of localhost is not valid before Wed, 01 Jan 3000 00:00:00 GMT; \
         check this machine's clock",
    );
}

#[test]
fn a_certificate_for_other_names() {
    let authority = Authority::new("ours");
    let with = |names: &[&str]| server(&serving(authority.issue(names)));
    expect(
        &client_error(&authority.trusted(), &with(&["example.org", "10.0.0.1"]), "localhost"),
        "wrong_host",
        "the certificate is not for localhost, but for example.org, 10.0.0.1",
    );
    expect(
        &client_error(&authority.trusted(), &with(&["a.org"]), "127.0.0.1"),
        "wrong_host",
        "the certificate is not for 127.0.0.1, but for a.org",
    );
    let many = ["a.org", "*.b.org", "c.org", "d.org", "e.org", "f.org"];
    expect(
        &client_error(&authority.trusted(), &with(&many), "g.org"),
        "wrong_host",
        "the certificate is not for g.org, but for a.org, *.b.org, c.org, d.org and 2 more",
    );
    expect(
        &client_error(&authority.trusted(), &with(&[]), "g.org"),
        "wrong_host",
        "the certificate is not for g.org, and has no names at all (subjectAltName)",
    );
}

#[test]
fn certificates_that_nobody_vouches_for() {
    let authority = Authority::new("ours");
    let foreign = server(&serving(Authority::new("other").issue(&["localhost"])));
    expect(
        &client_error(&authority.trusted(), &foreign, "localhost"),
        "unknown_issuer",
        "the certificate of localhost is not signed by a trusted authority",
    );
    let own = ServerTls::self_signed(&["localhost"]).unwrap();
    // What the server hears of it.
    let (_, refused) = fail(&client(&authority.trusted()), &own, "localhost");
    expect(
        &refused.expect("an alert"),
        "certificate_refused",
        "the client does not accept this server's certificate (alert certificate_unknown)",
    );
    let self_signed = "the certificate of localhost is self-signed, so no trusted authority vouches for it";
    for trust in [Trust::Platform, Trust::WebpkiRoots, Trust::Given] {
        let options = authority.trusted().trust(trust);
        expect(&client_error(&options, &own, "localhost"), "self_signed", self_signed);
    }
    // An authority of the same name makes no difference.
    let namesake = Authority::new("localhost");
    expect(&client_error(&namesake.trusted(), &own, "localhost"), "self_signed", self_signed);
    // With rustls' own verifier it is an unknown issuer.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (error, _) = fail(&ClientTls::from(std::sync::Arc::new(config)), &own, "localhost");
    assert_eq!(error.unwrap().kind(), "unknown_issuer");
}

/// What `openssl req -x509` makes by default.
fn self_signed_authority() -> Identity {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity::new(vec![certificate.der().clone()], key.into()).unwrap()
}

#[test]
fn the_certificate_of_an_authority_as_a_servers_own() {
    let identity = self_signed_authority();
    let certificate = identity.chain()[0].clone();
    let server = server(&serving(identity));
    let stranger = Authority::new("ours").trusted();
    expect(
        &client_error(&stranger, &server, "localhost"),
        "self_signed",
        "the certificate of localhost is self-signed, so no trusted authority vouches for it",
    );
    let trusted = ClientTlsOptions::default().trust(Trust::Given).authorities(vec![certificate]);
    expect(
        &client_error(&trusted, &server, "localhost"),
        "authority_as_server",
        "the certificate of localhost is that of an authority (CA:TRUE), which must not be a server's own; \
         make one with basicConstraints=CA:FALSE",
    );
}

#[test]
fn other_bad_certificates() {
    // Two authorities of one name: the signature is not of the one that is trusted.
    let (ours, theirs) = (Authority::new("ours"), Authority::new("ours"));
    expect(
        &client_error(&ours.trusted(), &server(&serving(theirs.issue(&["localhost"]))), "localhost"),
        "bad_certificate",
        "the certificate of localhost cannot be accepted: a signature is wrong",
    );
    let wrong_purpose = ours.issue_with(&["localhost"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    expect(
        &client_error(&ours.trusted(), &server(&serving(wrong_purpose)), "localhost"),
        "bad_certificate",
        "the certificate of localhost cannot be accepted: certificate does not allow extended key usage for \
         server authentication, allows client authentication",
    );
    let revoked = rustls::Error::InvalidCertificate(rustls::CertificateError::Revoked);
    expect(
        &Error::new(revoked, Peer::Client, b""),
        "bad_certificate",
        "the certificate of the client cannot be accepted: it was revoked",
    );
}

/// The errors of the client and of the server.
fn both(client_options: &ClientTlsOptions, server_options: &ServerTlsOptions) -> (Error, Error) {
    let (ours, theirs) = fail(&client(client_options), &server(server_options), "localhost");
    (ours.expect("a client error"), theirs.expect("a server error"))
}

#[test]
fn nothing_in_common() {
    let authority = Authority::new("ours");
    let serving = || serving(authority.issue(&["localhost"]));
    let trusted = || authority.trusted();

    for (ours, theirs) in [(Version::Tls12, Version::Tls13), (Version::Tls13, Version::Tls12)] {
        let (client_error, server_error) = both(
            &trusted().min_version(ours).max_version(ours),
            &serving().min_version(theirs).max_version(theirs),
        );
        let text = "localhost speaks none of the TLS versions that are enabled here";
        expect(&client_error, "no_common_version", text);
        let text = "the client speaks none of the TLS versions that are enabled here";
        expect(&server_error, "no_common_version", text);
    }

    let refused = "localhost refused the handshake (alert handshake_failure): it found nothing in common among \
                   the versions, cipher suites and groups, or wants a client certificate";
    let (client_error, server_error) = both(
        &trusted().cipher_suites(["TLS_AES_128_GCM_SHA256"]),
        &serving().cipher_suites(["TLS_AES_256_GCM_SHA384"]),
    );
    expect(&client_error, "alert", refused);
    let text = "the client has none of the cipher suites that are enabled here";
    expect(&server_error, "no_common_cipher", text);

    for version in VERSIONS {
        let (client_error, server_error) = both(
            &trusted().groups(["P-256"]).min_version(version).max_version(version),
            &serving().groups(["P-384"]),
        );
        expect(&client_error, "alert", refused);
        let text = "the client has none of the key-exchange groups that are enabled here";
        expect(&server_error, "no_common_group", text);

        let (client_error, server_error) = both(
            &trusted().alpn(["http/1.1"]).min_version(version).max_version(version),
            &serving().alpn(["h2"]),
        );
        let text = "localhost speaks none of the application protocols (ALPN) that are offered here";
        expect(&client_error, "no_common_alpn", text);
        let text = "the client speaks none of the application protocols (ALPN) that are offered here";
        expect(&server_error, "no_common_alpn", text);
    }
}

#[test]
fn a_peer_that_does_not_speak_tls() {
    let authority = Authority::new("ours");
    let (client, server) = (client(&authority.trusted()), server(&serving(authority.issue(&["localhost"]))));
    for (bytes, text) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"[..],
            "localhost does not speak TLS: it sent 'HTTP/1.1 400 Bad Request'",
        ),
        (
            b"220 mail.example.org ESMTP\r\n",
            "localhost does not speak TLS: it sent '220 mail.example.org ESMTP'",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "localhost does not speak TLS: it sent 'SSH-2.0-OpenSSH_9.2'"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "localhost does not speak TLS"),
    ] {
        let mut pair = Pair::new(&client, &server, "localhost");
        flush(&mut pair.client);
        deliver(&mut pair.client, &mut pair.client_error, &pair.host, bytes);
        expect(&pair.client_error.expect("an error"), "not_tls", text);
    }
    let mut end = ServerConnection::new(server.config().clone()).unwrap().into();
    let mut error = None;
    deliver(&mut end, &mut error, &Peer::Client, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect(&error.unwrap(), "not_tls", "the client does not speak TLS: it sent 'GET / HTTP/1.1'");
}

#[test]
fn data_that_was_changed_on_the_way() {
    let authority = Authority::new("ours");
    let (client, server) = (client(&authority.trusted()), server(&serving(authority.issue(&["localhost"]))));
    let mut pair = super::connect(&client, &server, "localhost");
    pair.client.writer();
    std::io::Write::write_all(&mut pair.client.writer(), b"hello").unwrap();
    let mut bytes = flush(&mut pair.client);
    *bytes.last_mut().unwrap() ^= 1;
    deliver(&mut pair.server, &mut pair.server_error, &Peer::Client, &bytes);
    expect(
        &pair.server_error.clone().expect("an error"),
        "peer_misbehaved",
        "the client violated the TLS protocol, or its data was changed on the way: cannot decrypt peer's message",
    );
    pair.run();
    expect(
        &pair.client_error.expect("an alert"),
        "alert",
        "localhost ended the TLS session with the alert bad_record_mac",
    );
}

#[test]
fn alerts_of_a_server() {
    let of = |alert| Error::new(rustls::Error::AlertReceived(alert), Peer::Server("example.org".into()), b"");
    for (alert, kind, text) in [
        (AlertDescription::ProtocolVersion, "no_common_version", "speaks none of the TLS versions"),
        (AlertDescription::InsufficientSecurity, "no_common_cipher", "has none of the cipher suites"),
        (AlertDescription::NoApplicationProtocol, "no_common_alpn", "speaks none of the application"),
        (
            AlertDescription::CertificateRequired,
            "client_certificate_required",
            "requires a client certificate",
        ),
        (AlertDescription::BadCertificate, "certificate_refused", "or requires one (alert bad_certificate)"),
        (AlertDescription::CertificateUnknown, "certificate_refused", "(alert certificate_unknown)"),
        (AlertDescription::CertificateExpired, "certificate_refused", "(alert certificate_expired)"),
        (AlertDescription::UnrecognisedName, "alert", "has no site of this name (alert unrecognized_name)"),
        (AlertDescription::InternalError, "alert", "with the alert internal_error"),
        (AlertDescription::Unknown(200), "alert", "with the alert 200"),
    ] {
        let error = of(alert);
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().starts_with("example.org "), "{error}");
        assert!(error.to_string().contains(text), "{error}");
        let io = io::Error::from(error);
        let aborted = kind == "alert" || kind.contains("certificate");
        assert_eq!(io.kind() == io::ErrorKind::ConnectionAborted, aborted, "{io}");
    }
}

#[test]
fn ends_of_connections() {
    let text = "the connection ended without TLS's close_notify, so what was received may be incomplete";
    expect(&Error::Truncated, "truncated", text);
    let closed = Error::ClosedInHandshake { peer: Peer::Server("localhost".into()) };
    expect(&closed, "handshake", "localhost closed the connection during the TLS handshake");
    for error in [Error::Truncated, closed] {
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::UnexpectedEof);
    }
    assert_eq!(Error::of_io(&io::Error::other("something else")), None);
    assert_eq!(Error::of_io(&io::ErrorKind::UnexpectedEof.into()), None);
}

#[test]
fn failures_of_our_own() {
    let error = Error::new(rustls::Error::FailedToGetRandomBytes, Peer::Client, b"");
    expect(&error, "internal", "TLS failed on this side: failed to get random bytes");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Other);
    let error = rustls::Error::PeerIncompatible(rustls::PeerIncompatible::NoSignatureSchemesInCommon);
    let error = Error::new(error, Peer::Client, b"");
    expect(&error, "handshake", "the client cannot be spoken with: NoSignatureSchemesInCommon");
}
