//! The scripts for tests: what they play, and that every deviation from them fails the test with a clear message.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ringtide::runtime;
use ringtide::sim::{Faults, SimOptions};
use ringtide::stream::{Listener, Stream};
use ringtide::testing::{self, Network, Pieces, Script};
use ringtide::tls::{self, ClientTls, ClientTlsOptions, Identity, ServerTls, ServerTlsOptions, Trust};
use ringtide::{Client, ClientOptions};

const SERVER: &str = "10.0.0.1:80";

/// Returns the message with which a test fails.
fn failure<T>(main: impl AsyncFnOnce(Network) -> T) -> String {
    message(|| testing::run(main))
}

fn message<T>(test: impl FnOnce() -> T) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(test)) else { panic!("the test did not fail") };
    *panic.downcast::<String>().expect("the message is formatted")
}

async fn connect() -> Stream {
    Stream::connect(&SERVER.parse().unwrap()).await.unwrap()
}

async fn receive(stream: &mut Stream) -> Vec<u8> {
    stream.receive().await.unwrap().expect("it has not ended").to_vec()
}

#[test]
fn a_script_is_played_step_by_step() {
    testing::run(async |network| {
        let script = Script::new()
            .expect("ping")
            .send("pong")
            .expect_until("\r\n")
            .expect_any(3)
            .delay(Duration::from_secs(100))
            .send(Pieces::cut_at("answer", [1, 3]))
            .send("more")
            .expect_silence(Duration::from_secs(5))
            .end()
            .expect_rest();
        let peer = network.serve(SERVER, script);
        let mut stream = connect().await;
        stream.send("pi").await.unwrap();
        runtime::sleep(Duration::from_secs(1)).await;
        stream.send("ng").await.unwrap();
        assert_eq!(receive(&mut stream).await, b"pong");
        assert_eq!(peer.received(), b"ping");
        stream.send("a line\r\nabc").await.unwrap();
        let begun_ns = runtime::now_ns();
        for piece in ["a", "ns", "wer", "more"] {
            assert_eq!(receive(&mut stream).await, piece.as_bytes());
        }
        assert!((100_000_000_000..100_010_000_000).contains(&(runtime::now_ns() - begun_ns)));
        assert!(stream.receive().await.unwrap().is_none());
        assert!(runtime::now_ns() - begun_ns >= 105_000_000_000);
        stream.send("the rest").await.unwrap();
        drop(stream);
        assert_eq!(peer.played().await, b"pinga line\r\nabcthe rest");
    });
}

#[test]
fn a_connection_ends_as_the_script_says() {
    testing::run(async |network| {
        network.serve(SERVER, Script::new().send("last").reset());
        network.serve(SERVER, Script::new().send("last").close());
        network.serve(SERVER, Script::new().send("last").end().expect("still heard").expect_end());
        for resets in [true, false, false] {
            let mut stream = connect().await;
            assert_eq!(receive(&mut stream).await, b"last");
            match stream.receive().await {
                Ok(end) => assert!(end.is_none() && !resets),
                Err(error) => assert!(error.kind() == std::io::ErrorKind::ConnectionReset && resets),
            }
            // After a close, this is answered by a reset.
            let _ = stream.send("still heard").await;
        }
        assert!(Stream::connect(&"10.0.0.1:81".parse().unwrap()).await.is_err(), "nobody listens");
    });
}

#[test]
fn a_client_is_scripted_as_well() {
    testing::run(async |network| {
        let mut listener = Listener::bind(&SERVER.parse().unwrap(), false).unwrap();
        let peers = ["one", "two"].map(|text| network.connect(SERVER, Script::new().send(text).expect(text)));
        for peer in peers {
            let mut stream = listener.accept().await.unwrap();
            let text = receive(&mut stream).await;
            stream.send(text.clone()).await.unwrap();
            assert_eq!(peer.played().await, text);
        }
        let (mut stream, peer) = network.stream(Script::new().expect("raw")).await;
        stream.send("raw").await.unwrap();
        assert_eq!(peer.played().await, b"raw");
        let (mut one, mut other) = network.pair().await;
        one.send("there").await.unwrap();
        assert_eq!(receive(&mut other).await, b"there");
    });
}

#[test]
fn the_rest_is_ignored_however_it_ends() {
    testing::run(async |network| {
        let script = Script::new().send("unread").ignore_rest();
        let script = script.delay(Duration::from_secs(5)).send("to nobody").end();
        let (mut stream, _peer) = network.stream(script).await;
        stream.send("whatever").await.unwrap();
        runtime::sleep(Duration::from_secs(1)).await;
        stream.send("more").await.unwrap();
        drop(stream);
        runtime::sleep(Duration::from_secs(10)).await;
    });
}

/// It is not waited for either.
#[test]
fn a_script_that_ignores_the_rest_need_not_be_played_to_its_end() {
    testing::run(async |network| {
        let script = Script::new().delay(Duration::from_secs(1)).ignore_rest();
        network.stream(script.delay(Duration::from_hours(2))).await;
    });
}

#[test]
fn a_silent_peer_says_nothing_and_stays() {
    testing::run(async |network| {
        network.serve(SERVER, Script::new());
        let mut stream = connect().await;
        assert!(runtime::timeout(Duration::from_mins(30), stream.receive()).await.is_none());
    });
}

#[test]
fn a_script_goes_on_when_the_test_has_ended() {
    let peer = testing::run(async |network| {
        let (mut stream, peer) =
            network.stream(Script::new().delay(Duration::from_mins(5)).expect("sent").expect_end()).await;
        stream.send("sent").await.unwrap();
        peer
    });
    assert_eq!(peer.received(), b"sent");
}

#[test]
fn scripts_work_under_all_faults_that_a_driver_hides() {
    for seed in 0..20 {
        let options = SimOptions {
            seed,
            faults: Faults { no_descriptors: 0.3, ..Faults::hidden(0.3) },
            socket_buffer_size: 100,
        };
        testing::run_with(options, async |network| {
            let pieces = Pieces::of_size(7, "x".repeat(1_000));
            let peer = network.serve(SERVER, Script::new().expect("go").send(pieces).end().expect_end());
            let mut stream = loop {
                if let Ok(stream) = Stream::connect(&SERVER.parse().unwrap()).await {
                    break stream;
                }
            };
            stream.send("go").await.unwrap();
            let mut size = 0;
            while let Some(piece) = stream.receive().await.unwrap() {
                size += piece.len();
            }
            assert_eq!(size, 1_000);
            drop(stream);
            peer.played().await;
        });
    }
}

#[test]
fn bytes_are_split_everywhere() {
    let runs = std::cell::RefCell::new(Vec::new());
    testing::every_split("abc", async |network, pieces| {
        network.serve(SERVER, Script::new().send(pieces).close());
        let mut stream = connect().await;
        let mut received = Vec::new();
        while let Some(piece) = stream.receive().await.unwrap() {
            received.push(String::from_utf8(piece.to_vec()).unwrap());
        }
        runs.borrow_mut().push(received.join("|"));
    });
    assert_eq!(runs.into_inner(), ["a|bc", "ab|c", "a|b|c"]);
}

#[test]
fn a_failure_of_a_split_is_a_failure() {
    let text = message(|| {
        testing::every_split("abc", async |network, pieces| {
            let is_second = format!("{pieces:?}").starts_with("\"ab\"");
            let (mut stream, _peer) =
                network.stream(Script::new().expect(if is_second { "y" } else { "x" })).await;
            stream.send("x").await.unwrap();
        });
    });
    assert!(text.contains("expected: \"y\"\n  came:     \"x\""), "{text}");
}

fn tls() -> (ClientTls, ServerTls) {
    let identity = Identity::self_signed(&["10.0.0.1", "h"]).unwrap();
    let server = ServerTls::new(&ServerTlsOptions::default().identity(identity.clone())).unwrap();
    let options = ClientTlsOptions::default().trust(Trust::Given).authorities(identity.chain().to_vec());
    (ClientTls::new(&options).unwrap(), server)
}

#[test]
fn either_side_speaks_tls_from_any_step_on() {
    let (client_tls, server_tls) = tls();
    testing::run(async |network| {
        let pieces = Pieces::of_size(1, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let script = Script::new().accept_tls(&server_tls).expect("GET / ").expect_until("\r\n\r\n");
        network.serve("10.0.0.1:443", script.send(pieces));
        let client = Client::new(ClientOptions::default().tls(client_tls.clone()));
        let response = client.get("https://10.0.0.1/").await.unwrap();
        assert_eq!(response.into_body().text(9).await.unwrap(), "ok");

        let script = Script::new().send("STARTTLS").expect("OK").start_tls("h", &client_tls);
        let (mut stream, _peer) = network.stream(script.send("secret").end().expect_end()).await;
        assert_eq!(receive(&mut stream).await, b"STARTTLS");
        stream.send("OK").await.unwrap();
        let mut stream = stream.accept_tls(&server_tls).await.unwrap();
        assert_eq!(receive(&mut stream).await, b"secret");
        assert!(stream.receive().await.unwrap().is_none());
        stream.shutdown().await.unwrap();
    });
}

#[test]
fn tls_can_fail_and_be_cut() {
    let (client_tls, server_tls) = tls();
    testing::run(async |network| {
        let script = Script::new().accept_tls(&server_tls).send("part").close();
        let (stream, _peer) = network.stream(script).await;
        let mut stream = stream.start_tls("h", &client_tls).await.unwrap();
        assert_eq!(receive(&mut stream).await, b"part");
        let error = stream.receive().await.unwrap_err();
        assert!(matches!(tls::Error::of_io(&error), Some(tls::Error::Truncated)), "{error}");

        // The client refuses the certificate.
        let script = Script::new().ignore_rest().accept_tls(&server_tls).send("nothing").end();
        let (stream, _peer) = network.stream(script).await;
        assert!(stream.start_tls("other", &client_tls).await.is_err());
    });
    let text = failure(async |network| {
        let (stream, _peer) = network.stream(Script::new().accept_tls(&server_tls)).await;
        stream.start_tls("other", &client_tls).await.unwrap_err();
        runtime::sleep(Duration::from_secs(1)).await;
    });
    assert!(text.contains("at step 1 of 1, `accept_tls` (") && text.contains("\n  it failed: "), "{text}");
    let text = sent_to(Script::new().expect("a").accept_tls(&server_tls), "ab", false);
    assert!(text.ends_with("expected: TLS\n  came:     \"b\""), "{text}");
}

#[test]
fn a_deviation_is_shown_with_its_step() {
    let line = line!() + 3;
    let text = failure(async |network| {
        let script =
            Script::new().send("hello").delay(Duration::from_secs(1)).expect("GET / HTTP/1.1\r\n\r\n");
        network.serve(SERVER, script);
        let mut stream = connect().await;
        stream.send("GET /x HTTP/1.1\r\n\r\n").await.unwrap();
        // What follows from the deviation is not seen.
        receive(&mut stream).await;
        stream.receive().await.unwrap().unwrap();
    });
    let place = format!("({}:{line}:", file!());
    assert!(text.starts_with("the scripted server at 10.0.0.1:80: at step 3 of 3, `expect` ("), "{text}");
    assert!(text.contains(&place), "{place}: {text}");
    let told = ")\n  expected: \"GET / HTTP/1.1\\r\\n\\r\\n\"\n  came:     \"GET /x HTTP/1.1\\r\\n\\r\\n\"\n  they differ from byte 5 on";
    assert!(text.ends_with(told), "{text}");
}

/// Returns the message of a test that sends `sent` to a peer with `script`, and then waits or ends the connection.
fn sent_to(script: Script, sent: &'static str, waits: bool) -> String {
    failure(async |network| {
        let (mut stream, _peer) = network.stream(script).await;
        stream.send(sent).await.unwrap();
        if waits {
            stream.receive().await.unwrap();
        }
    })
}

#[test]
fn each_kind_of_step_tells_its_deviation() {
    let second = Duration::from_secs(1);
    for (script, sent, says) in [
        (
            Script::new().expect("abcd"),
            "abc",
            "expected: \"abcd\"\n  came:     \"abc\", then the end of the stream",
        ),
        (
            Script::new().expect("a"),
            "ab",
            "behind its last step\n  expected: nothing more\n  came:     \"b\"",
        ),
        (
            Script::new().expect_until("\r\n"),
            "a\n",
            "anything up to \"\\r\\n\"\n  came:     \"a\\n\", then the end",
        ),
        (Script::new().expect_any(3), "ab", "expected: 3 bytes, not 2\n  came:     \"ab\", then the end"),
        (Script::new().expect_end(), "a", "expected: the end of the stream\n  came:     \"a\""),
        (Script::new().expect_silence(second), "a", "expected: silence\n  came:     \"a\""),
        (Script::new().expect("a").expect_silence(second), "a", "silence\n  came:     nothing, then the end"),
        (
            Script::new().send("x").expect_rest(),
            "a",
            "end of the stream\n  came:     \"a\", then the connection failed: ",
        ),
        (
            Script::new().send("x").expect("a").expect_end(),
            "a",
            "came:     nothing, then the connection failed: ",
        ),
        (
            Script::new().expect("a").delay(second).send("x").delay(second).send("y"),
            "a",
            "sending \"y\" failed: ",
        ),
    ] {
        let text = sent_to(script, sent, false);
        assert!(text.starts_with("the scripted peer: ") && text.contains(says), "{says}: {text}");
    }
}

#[test]
fn a_test_that_hangs_tells_where_its_scripts_are() {
    let text = sent_to(Script::new().expect("abc").expect("d"), "ab", true);
    assert!(
        text.starts_with("the test has not ended after 3600s of virtual time\nthe scripted peer: at step 1"),
        "{text}"
    );
    assert!(text.ends_with("\n  expected: \"abc\"\n  came:     \"ab\", and no more"), "{text}");
}

#[test]
fn a_script_that_is_not_played_fails_the_test() {
    let text = failure(async |network| {
        network.serve(SERVER, Script::new());
    });
    assert!(text.starts_with("the test has ended, but not all its scripts\nthe scripted server at 10.0.0.1:80: was not connected"), "{text}");
    let text = failure(async |network| {
        let (stream, _peer) = network.stream(Script::new().expect("x")).await;
        // It lives on.
        runtime::spawn(async move {
            let _stream = stream;
            std::future::pending::<()>().await;
        });
    });
    assert!(text.contains("at step 1 of 1, `expect` ("), "{text}");
}

#[test]
fn a_connection_without_a_script_fails_the_test() {
    let text = failure(async |network| {
        network.serve(SERVER, Script::new());
        let streams = [connect().await, connect().await];
        runtime::sleep(Duration::from_secs(1)).await;
        drop(streams);
    });
    assert_eq!(text, "the scripted server at 10.0.0.1:80: connection 2 has no script");
}

#[test]
fn a_client_without_a_server_fails_the_test() {
    let text = failure(async |network| {
        network.connect(SERVER, Script::new().send("x")).played().await;
    });
    assert!(
        text.starts_with("the scripted client of 10.0.0.1:80: was not connected\n  it could not connect: "),
        "{text}"
    );
}

#[test]
fn bytes_that_come_when_everything_has_ended_fail_the_test() {
    let text = failure(async |network| {
        let (mut stream, peer) = network.stream(Script::new().expect("a")).await;
        stream.send("a").await.unwrap();
        peer.played().await;
        stream.send("b").await.unwrap();
    });
    assert!(text.ends_with("expected: nothing more\n  came:     \"b\""), "{text}");
}

#[test]
fn a_wrong_address_is_shown() {
    let text = failure(async |network| network.serve("localhost:80", Script::new()));
    assert_eq!(text, "`localhost:80` is not an IP address with a port, such as 10.0.0.1:80");
    let text = failure(async |network| {
        let _listener = Listener::bind(&SERVER.parse().unwrap(), false).unwrap();
        network.serve(SERVER, Script::new())
    });
    assert!(text.starts_with("no server can be scripted at 10.0.0.1:80: Address already in use"), "{text}");
}
