//! Which connections resume a session.

use ringtide::tls::rustls::HandshakeKind;
use ringtide::tls::{ClientTls, ServerTls};

use super::{Authority, Pair, VERSIONS, client, connect, server, serving};

/// Opens connections that are all in their handshakes at the same time. Returns how many resumed a session.
fn open_together(client: &ClientTls, server: &ServerTls, connections: usize) -> usize {
    let mut pairs: Vec<_> = (0..connections).map(|_| Pair::new(client, server, "localhost")).collect();
    for pair in &mut pairs {
        pair.run();
        assert_eq!((&pair.client_error, &pair.server_error), (&None, &None));
    }
    pairs.iter().filter(|pair| pair.kind() == HandshakeKind::Resumed).count()
}

#[test]
fn connections_opened_together_all_resume() {
    const THREADS: usize = 4;
    const EACH: usize = 50;
    let authority = Authority::new("ours");
    for version in VERSIONS {
        let options = authority.trusted().min_version(version).max_version(version);
        let (client, server) = (client(&options), server(&serving(authority.issue(&["localhost"]))));
        for round in 0..3 {
            let resumed: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS)
                    .map(|_| scope.spawn(|| open_together(&client.clone(), &server, EACH)))
                    .collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
            });
            if round > 0 {
                assert_eq!(resumed, THREADS * EACH, "TLS {version}");
            }
        }
    }
}

#[test]
fn no_more_sessions_are_kept_than_allowed() {
    let authority = Authority::new("ours");
    let options = authority.trusted().min_version(ringtide::tls::Version::Tls13).sessions_max(10);
    let (client, server) = (client(&options), server(&serving(authority.issue(&["localhost"]))));
    open_together(&client, &server, 50);
    for _ in 0..5 {
        assert_eq!(open_together(&client, &server, 50), 10);
    }
}

#[test]
fn a_new_server_takes_the_place_of_the_oldest() {
    let authority = Authority::new("ours");
    let names = ["one.example", "two.example", "three.example"];
    let server = server(&serving(authority.issue(&names)));
    for version in VERSIONS {
        let options = authority.trusted().min_version(version).max_version(version);
        // Room for one server of TLS 1.2 and no ticket beside it, or for a server with a ticket.
        let client = client(&options.sessions_max(1));
        for name in names {
            assert_eq!(connect(&client, &server, name).kind(), HandshakeKind::Full);
        }
        assert_eq!(connect(&client, &server, names[2]).kind(), HandshakeKind::Resumed, "TLS {version}");
        assert_eq!(connect(&client, &server, names[0]).kind(), HandshakeKind::Full, "TLS {version}");
    }
}

#[test]
fn each_side_can_turn_resumption_off() {
    let authority = Authority::new("ours");
    for version in VERSIONS {
        for (client_keeps, tickets, server_keeps, resumes) in
            [(100, true, 0, true), (100, false, 100, true), (100, false, 0, false), (0, true, 100, false)]
        {
            let options = authority.trusted().min_version(version).max_version(version);
            let client = client(&options.sessions_max(client_keeps));
            let options = serving(authority.issue(&["localhost"])).tickets(tickets);
            let server = server(&options.sessions_max(server_keeps));
            assert_eq!(connect(&client, &server, "localhost").kind(), HandshakeKind::Full);
            let again = connect(&client, &server, "localhost").kind();
            assert_eq!(
                again == HandshakeKind::Resumed,
                resumes,
                "TLS {version}, {client_keeps}, {tickets}, {server_keeps}"
            );
        }
    }
}

#[test]
fn sessions_outlive_a_change_of_certificates() {
    let authority = Authority::new("ours");
    let (client, server) = (client(&authority.trusted()), server(&serving(authority.issue(&["localhost"]))));
    connect(&client, &server, "localhost");
    server.reload(&[authority.issue(&["localhost"])]).unwrap();
    assert_eq!(connect(&client, &server, "localhost").kind(), HandshakeKind::Resumed);
}
