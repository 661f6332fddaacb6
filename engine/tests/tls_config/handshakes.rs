//! Handshakes that succeed: what both sides agree on, which certificate a client gets, and what the key log has.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use ringtide::tls::rustls::client::WebPkiServerVerifier;
use ringtide::tls::rustls::crypto::CryptoProvider;
use ringtide::tls::rustls::server::{ClientHello, ResolvesServerCert};
use ringtide::tls::rustls::sign::CertifiedKey;
use ringtide::tls::rustls::{self, Connection, ServerConfig};
use ringtide::tls::{
    ClientAuthentication, ClientTls, ClientTlsOptions, Error, Identity, ServerTls, ServerTlsOptions,
    SetupError, Trust, Version, cipher_suite_name, group_name, version_name,
};

use super::{Authority, VERSIONS, client, connect, fail, server, serving};

#[test]
fn both_versions_and_every_choice_by_name() {
    let authority = Authority::new("ours");
    let server = server(&serving(authority.issue(&["localhost"])).alpn(["h2", "http/1.1"]));
    for (version, shown, suite, named, group) in [
        (Version::Tls13, "TLS 1.3", "TLS_AES_128_GCM_SHA256", "tls_aes_128_gcm_sha256", "X25519"),
        (Version::Tls13, "TLS 1.3", "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "P-384"),
        (
            Version::Tls12,
            "TLS 1.2",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "P-256",
        ),
    ] {
        let options = authority
            .trusted()
            .min_version(version)
            .max_version(version)
            .cipher_suites([named])
            .groups([group])
            .alpn(["http/1.1"]);
        let pair = connect(&client(&options), &server, "localhost");
        assert_eq!(version_name(pair.client.protocol_version().unwrap()), shown);
        assert_eq!(cipher_suite_name(pair.client.negotiated_cipher_suite().unwrap().suite()), suite);
        let negotiated = pair.client.negotiated_key_exchange_group().unwrap();
        assert_eq!(group_name(negotiated.name()), group);
        assert_eq!(pair.server.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    // Without a choice, the newest version and the hybrid group.
    let pair = connect(&client(&authority.trusted()), &server, "localhost");
    assert_eq!(version_name(pair.client.protocol_version().unwrap()), "TLS 1.3");
    assert_eq!(group_name(pair.client.negotiated_key_exchange_group().unwrap().name()), "X25519MLKEM768");
}

#[test]
fn the_server_prefers_its_first_cipher_suite_if_it_names_any() {
    let authority = Authority::new("ours");
    let identity = authority.issue(&["localhost"]);
    let client =
        client(&authority.trusted().cipher_suites(["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"]));
    let chosen = |names: &[&str]| {
        let server = server(&serving(identity.clone()).cipher_suites(names.iter().copied()));
        let pair = connect(&client, &server, "localhost");
        cipher_suite_name(pair.client.negotiated_cipher_suite().unwrap().suite())
    };
    assert_eq!(chosen(&[]), "TLS_AES_256_GCM_SHA384");
    assert_eq!(chosen(&["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]), "TLS_AES_128_GCM_SHA256");
}

#[test]
fn every_kind_of_trust_takes_additional_authorities() {
    let authority = Authority::new("ours");
    let server = server(&serving(authority.issue(&["localhost"])));
    for trust in [Trust::Platform, Trust::WebpkiRoots, Trust::Given] {
        connect(&client(&authority.trusted().trust(trust)), &server, "localhost");
    }
    let (error, _) =
        fail(&client(&ClientTlsOptions::default().trust(Trust::WebpkiRoots)), &server, "localhost");
    assert_eq!(error.expect("nobody trusts it").kind(), "unknown_issuer");
}

#[test]
fn a_self_signed_certificate_can_be_given_as_its_own_authority() {
    let identity = Identity::self_signed(&["localhost", "127.0.0.1", "::1"]).unwrap();
    let options =
        ClientTlsOptions::default().trust(Trust::Given).authorities(vec![identity.chain()[0].clone()]);
    let (client, server) = (client(&options), server(&serving(identity)));
    for host in ["localhost", "127.0.0.1", "::1", "[::1]"] {
        connect(&client, &server, host);
    }
    let own = ServerTls::self_signed(&["localhost"]).unwrap();
    let (error, _) = fail(&client, &own, "localhost");
    assert!(error.is_some(), "another key, so another certificate");
}

#[test]
fn an_insecure_client_accepts_anything_and_says_so() {
    let identity = Identity::self_signed(&["elsewhere"]).unwrap();
    let server = server(&serving(identity));
    for version in VERSIONS {
        let options = ClientTlsOptions::default().insecure(true).min_version(version).max_version(version);
        let client = client(&options);
        connect(&client, &server, "localhost");
        assert!(format!("{client:?}").contains("INSECURE: ACCEPTS ANY CERTIFICATE"), "{client:?}");
        assert!(format!("{:?}", client.config()).contains("INSECURE: ACCEPTS ANY CERTIFICATE"));
    }
    let secure = client(&ClientTlsOptions::default().trust(Trust::WebpkiRoots));
    assert!(!format!("{secure:?}").contains("INSECURE"));
}

/// Shows the certificate of one key and signs with another.
#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesServerCert for Impostor {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[test]
fn an_insecure_client_still_checks_signatures() {
    let authority = Authority::new("ours");
    let (certificate, _) = authority.sign(&["localhost"], |_| {});
    let (_, key) = authority.sign(&["localhost"], |_| {});
    let provider = provider();
    let key = provider.key_provider.load_private_key(key.into()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Impostor(Arc::new(CertifiedKey::new(vec![certificate], key)))));
    let server = ServerTls::from(Arc::new(config));
    for version in VERSIONS {
        for options in [authority.trusted(), ClientTlsOptions::default().insecure(true)] {
            let client = client(&options.min_version(version).max_version(version));
            let (error, _) = fail(&client, &server, "localhost");
            let error = error.expect("the signature is wrong");
            assert_eq!(error.kind(), "bad_certificate");
            assert_eq!(
                error.to_string(),
                "the certificate of localhost cannot be accepted: a signature is wrong"
            );
        }
    }
}

#[test]
fn the_name_of_the_options_replaces_the_host() {
    let authority = Authority::new("ours");
    let server = server(&serving(authority.issue(&["example.org"])));
    let client = client(&authority.trusted().server_name("example.org"));
    let pair = connect(&client, &server, "10.0.0.1");
    let Connection::Server(end) = &pair.server else { unreachable!() };
    assert_eq!(end.server_name(), Some("example.org"));
}

#[test]
fn a_host_that_is_no_name_is_an_error() {
    let client = client(&ClientTlsOptions::default().trust(Trust::WebpkiRoots));
    let error = client.server_name("not a host").unwrap_err();
    assert_eq!(error.to_string(), "'not a host' is neither a DNS name nor an IP address");
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn the_name_asked_for_chooses_the_certificate() {
    let authority = Authority::new("ours");
    let [default, exact, wildcard] = [
        authority.issue(&["default.example", "10.0.0.1"]),
        authority.issue(&["a.example.org"]),
        authority.issue(&["*.example.org"]),
    ];
    let options = serving(default.clone()).identity(wildcard.clone()).identity(exact.clone());
    let server = server(&options);
    let client = client(&authority.trusted());
    for (host, expected) in [
        ("a.example.org", &exact),
        ("A.Example.ORG", &exact),
        ("b.example.org", &wildcard),
        ("default.example", &default),
        // An IP address is not sent.
        ("10.0.0.1", &default),
    ] {
        assert_eq!(connect(&client, &server, host).certificate(), &expected.chain()[0], "{host}");
    }
    // A wildcard stands for one label, so these get the default certificate, which has other names.
    for host in ["a.b.example.org", "example.org", "elsewhere.example"] {
        let (error, _) = fail(&client, &server, host);
        assert_eq!(error.expect("another name").kind(), "wrong_host", "{host}");
    }
}

#[test]
fn reload_changes_certificates_for_new_handshakes_only() {
    let authority = Authority::new("ours");
    let [old, new] = [(); 2].map(|()| authority.issue(&["localhost"]));
    let server = server(&serving(old.clone()));
    let clone = server.clone();
    let client = client(&authority.trusted().sessions_max(0));
    let mut open = connect(&client, &clone, "localhost");
    assert_eq!(open.certificate(), &old.chain()[0]);

    assert!(matches!(server.reload(&[]), Err(SetupError::NoIdentity)));
    assert_eq!(connect(&client, &clone, "localhost").certificate(), &old.chain()[0]);
    server.reload(std::slice::from_ref(&new)).unwrap();
    assert_eq!(connect(&client, &clone, "localhost").certificate(), &new.chain()[0]);

    open.client.writer().write_all(b"still here").unwrap();
    open.run();
    let mut received = [0; 10];
    open.server.reader().read_exact(&mut received).unwrap();
    assert_eq!(&received, b"still here");

    let foreign = ServerTls::from(server.config().clone());
    assert!(matches!(foreign.reload(&[new]), Err(SetupError::NotReloadable)));
}

#[test]
fn client_authentication_in_its_three_modes() {
    let authority = Authority::new("ours");
    let (good, bad) = (authority.issue(&["a client"]), Authority::new("other").issue(&["a client"]));
    let trusted = vec![authority.certificate()];
    for version in VERSIONS {
        let with = |identity: Option<&Identity>| {
            let options = authority.trusted().min_version(version).max_version(version);
            client(&options.identity(identity.cloned()))
        };
        let mode = |mode| server(&serving(authority.issue(&["localhost"])).client_authentication(mode));
        let shown = |client: &ClientTls, server: &ServerTls| {
            let pair = connect(client, server, "localhost");
            pair.server.peer_certificates().map(|chain| chain[0].clone())
        };
        let good_certificate = Some(good.chain()[0].clone());

        let none = mode(ClientAuthentication::None);
        assert_eq!(shown(&with(Some(&good)), &none), None);

        let optional = mode(ClientAuthentication::Optional(trusted.clone()));
        assert_eq!(shown(&with(None), &optional), None);
        assert_eq!(shown(&with(Some(&good)), &optional), good_certificate);

        let required = mode(ClientAuthentication::Required(trusted.clone()));
        assert_eq!(shown(&with(Some(&good)), &required), good_certificate);
        let (client_error, server_error) = fail(&with(None), &required, "localhost");
        assert_eq!(server_error, Some(Error::NoClientCertificate));
        let client_error = client_error.expect("an alert");
        assert_eq!(client_error.kind(), "client_certificate_required");
        assert_eq!(client_error.to_string(), "localhost requires a client certificate");

        for server in [&optional, &required] {
            let (client_error, server_error) = fail(&with(Some(&bad)), server, "localhost");
            assert_eq!(
                server_error.expect("another authority").to_string(),
                "the certificate of the client is not signed by a trusted authority"
            );
            let client_error = client_error.expect("an alert");
            assert_eq!(client_error.kind(), "certificate_refused");
            assert_eq!(
                client_error.to_string(),
                "localhost does not accept our client certificate (alert unknown_ca)"
            );
        }
    }
}

#[test]
fn both_sides_log_the_same_secrets() {
    let folder = super::setup::Folder::new("key_log");
    let authority = Authority::new("ours");
    for (version, labels) in [
        (Version::Tls12, &["CLIENT_RANDOM"][..]),
        (
            Version::Tls13,
            &[
                "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
                "CLIENT_TRAFFIC_SECRET_0",
                "EXPORTER_SECRET",
                "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                "SERVER_TRAFFIC_SECRET_0",
            ],
        ),
    ] {
        let [ours, theirs] = ["client", "server"].map(|side| folder.path(&format!("{side} {version}")));
        let options = authority.trusted().min_version(version).max_version(version).key_log(ours.clone());
        // Resumption would add secrets.
        let client = client(&options.sessions_max(0));
        let server = server(&serving(authority.issue(&["localhost"])).key_log(theirs.clone()));
        for _ in 0..2 {
            connect(&client, &server, "localhost");
        }
        let mut logs = [&ours, &theirs].map(|path| {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            let text = std::fs::read_to_string(path).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        for lines in &mut logs {
            lines.sort();
        }
        assert_eq!(logs[0], logs[1]);
        assert_eq!(logs[0].len(), 2 * labels.len(), "each connection has its lines");
        for line in &logs[0] {
            let [label, random, secret] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            assert!(labels.contains(&label), "{line}");
            assert_eq!(random.len(), 64, "{line}");
            assert!(secret.len() >= 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
        }
    }
}

#[test]
fn settings_of_rustls_can_be_used_as_they_are() {
    let authority = Authority::new("ours");
    let server = server(&serving(authority.issue(&["localhost"])));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    let client = ClientTls::from(Arc::new(config));
    connect(&client, &ServerTls::from(server.config().clone()), "localhost");
}

#[test]
fn early_data_only_if_asked_for() {
    for early_data in [false, true] {
        let options = ClientTlsOptions::default().trust(Trust::WebpkiRoots).early_data(early_data);
        assert_eq!(client(&options).config().enable_early_data, early_data);
    }
}

#[test]
fn debug_output_shows_no_key() {
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    assert_eq!(format!("{identity:?}"), "Identity { dns_names: [\"localhost\"], certificates: 1, .. }");
    let options = ServerTlsOptions::default().identity(identity);
    assert_eq!(format!("{:?}", server(&options)), "ServerTls { identities: Some({\"localhost\"}), .. }");
}
