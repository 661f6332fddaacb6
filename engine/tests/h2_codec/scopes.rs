//! Each rule of RFC 9113 that a peer can break, and the scope of the error: the connection, one stream, or none.

use ringtide::proto::h2::{Error, ErrorCode, Options, ResetCause, Role};

use super::support::*;

/// What a frame leads to.
#[derive(Clone, Copy, Debug)]
enum Scope {
    /// GOAWAY with this code.
    Connection(ErrorCode),
    /// The stream ends with this code, and the connection lives on.
    Stream(u32, ErrorCode),
    /// Nothing is reported or said.
    Ignored,
}

use Scope::{Connection, Ignored, Stream};

const PROTOCOL: Scope = Connection(ErrorCode::PROTOCOL_ERROR);
const FRAME_SIZE: Scope = Connection(ErrorCode::FRAME_SIZE_ERROR);
const FLOW: Scope = Connection(ErrorCode::FLOW_CONTROL_ERROR);
const CLOSED: Scope = Connection(ErrorCode::STREAM_CLOSED);
const COMPRESSION: Scope = Connection(ErrorCode::COMPRESSION_ERROR);
const CALM: Scope = Connection(ErrorCode::ENHANCE_YOUR_CALM);

/// Streams of a server in each state: 1 open, 3 half-closed by the client, 5 closed, 7 reset by the server, 9 reset by the
/// client, 11 half-closed by the server, 13 and above idle, 2 never possible.
fn server() -> Tested {
    let mut server = Tested::server();
    for (id, flags) in [(1, 0), (3, END_STREAM), (5, END_STREAM), (7, 0), (9, 0), (11, 0)] {
        server.feed(&headers(id, flags, POST));
    }
    server.send(5, OK, true);
    server.send(11, OK, true);
    server.reset(7);
    server.feed(&rst_stream(9, ErrorCode::CANCEL));
    assert_eq!(server.codec.streams(), 3);
    server.said();
    server
}

/// Streams of a client: 1 open in both directions, its head has come; 3 half-closed by the client, no head yet; 5 closed;
/// 7 reset by the client; 9 reset by the server; 11 half-closed by the server; 13 and above idle.
fn client() -> Tested {
    let mut client = Tested::client();
    for ends in [false, true, true, true, true, false] {
        client.open(POST, ends);
    }
    client.feed(&headers(1, 0, OK));
    client.feed(&headers(5, END_STREAM, OK));
    client.reset(7);
    client.feed(&rst_stream(9, ErrorCode::CANCEL));
    client.feed(&headers(11, END_STREAM, OK));
    assert_eq!(client.codec.streams(), 3);
    client.said();
    client
}

fn check(role: Role, name: &str, bytes: &[u8], scope: Scope) {
    let mut tested = if role == Role::Server { server() } else { client() };
    let before = tested.codec.streams();
    let seen = tested.feed(bytes);
    let said = tested.said();
    match scope {
        Connection(code) => {
            let Some(Seen::Failed(error)) = seen.last() else { panic!("{role:?} {name}: {seen:?}") };
            assert_eq!(error.code(), code, "{role:?} {name}: {error:?}");
            let last = said.last().unwrap();
            let last_id = if role == Role::Server { 11u32 } else { 0 };
            let begin = [last_id.to_be_bytes(), code.0.to_be_bytes()].concat();
            assert_eq!((last.kind, last.id), (GOAWAY, 0), "{role:?} {name}");
            assert!(last.payload.starts_with(&begin), "{role:?} {name}");
            return;
        }
        Stream(id, code) => {
            let resets: Vec<_> = said.iter().filter(|frame| frame.kind == RST_STREAM).collect();
            assert_eq!(resets.len(), 1, "{role:?} {name}: {said:?}, {seen:?}");
            assert_eq!((resets[0].id, resets[0].number()), (id, code.0), "{role:?} {name}: {seen:?}");
            let reported = seen.iter().filter(|seen| {
                matches!(seen, Seen::Reset { id: other, reset }
                    if *other == id && reset.code == code && matches!(reset.cause, ResetCause::Fault(_)))
            });
            // A stream that a server refuses never was one.
            let was_one = tested.keys.iter().any(|key| key.id() == id);
            assert_eq!(reported.count(), usize::from(was_one), "{role:?} {name}: {seen:?}");
            let opened = seen.iter().filter(|seen| role == Role::Server && matches!(seen, Seen::Head { .. }));
            let after = before + opened.count() - usize::from(was_one);
            assert_eq!(tested.codec.streams(), after, "{role:?} {name}");
        }
        Ignored => {
            assert_eq!((seen, said), (vec![], vec![]), "{role:?} {name}");
            assert_eq!(tested.codec.streams(), before, "{role:?} {name}");
        }
    }
    // The connection lives on.
    let again = match role {
        Role::Server => tested.feed(&headers(99, END_STREAM, GET)),
        Role::Client => {
            let id = tested.open(GET, true).id();
            tested.feed(&headers(id, END_STREAM, OK))
        }
    };
    assert!(matches!(again[..], [Seen::Head { ends: true, .. }]), "{role:?} {name}: {again:?}");
}

fn check_all(role: Role, rules: &[(&str, Vec<u8>, Scope)]) {
    for (name, bytes, scope) in rules {
        check(role, name, bytes, *scope);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn frames_that_are_wrong_in_any_role() {
    let large = vec![0; 16_385];
    let zeros = |size: usize| vec![0; size];
    let rules = [
        // §4.1, §4.2, §5.5
        ("unknown type", frame(0xfa, 0xff, 0, b"anything"), Ignored),
        ("unknown type on a stream", frame(0xfa, 0xff, 1, b"anything"), Ignored),
        ("unknown type on an idle stream", frame(0xfa, 0, 101, b"anything"), Ignored),
        ("unknown flags", frame(PRIORITY, 0xff, 1, &zeros(5)), Ignored),
        ("large HEADERS", frame(HEADERS, END_HEADERS, 1, &large), FRAME_SIZE),
        ("large SETTINGS", frame(SETTINGS, 0, 0, &zeros(16_386)), FRAME_SIZE),
        ("large unknown frame", frame(0xfa, 0, 0, &large), FRAME_SIZE),
        ("large GOAWAY", frame(GOAWAY, 0, 0, &large), FRAME_SIZE),
        // §5.1, §5.1.1
        ("DATA on an idle stream", data(101, 0, b"x"), PROTOCOL),
        ("RST_STREAM on an idle stream", rst_stream(101, ErrorCode::CANCEL), PROTOCOL),
        ("WINDOW_UPDATE on an idle stream", window_update(101, 5000), PROTOCOL),
        ("HEADERS on a stream of the server's", headers(2, END_STREAM, GET), PROTOCOL),
        ("DATA on a stream of the server's", data(2, 0, b"x"), PROTOCOL),
        ("RST_STREAM on a stream of the server's", rst_stream(2, ErrorCode::CANCEL), PROTOCOL),
        ("WINDOW_UPDATE on a stream of the server's", window_update(2, 1), PROTOCOL),
        ("DATA on a closed stream", data(5, 0, b"x"), CLOSED),
        ("HEADERS on a closed stream", headers(5, END_STREAM, OK), CLOSED),
        ("RST_STREAM on a closed stream", rst_stream(5, ErrorCode::CANCEL), Ignored),
        ("WINDOW_UPDATE on a closed stream", window_update(5, 1), Ignored),
        ("PRIORITY on a closed stream", frame(PRIORITY, 0, 5, &zeros(5)), Ignored),
        ("DATA on a stream that this side reset", data(7, END_STREAM, b"x"), Ignored),
        ("large DATA on a stream that this side reset", data(7, 0, &large), Ignored),
        ("padded DATA on a stream that this side reset", padded_data(7, 0, b"x", 9), Ignored),
        ("HEADERS on a stream that this side reset", headers(7, END_STREAM, OK), Ignored),
        ("HEADERS that are malformed on such a stream", headers(7, 0, &[("A", "")]), Ignored),
        (
            "HEADERS that cannot be decoded on such a stream",
            frame(HEADERS, END_HEADERS, 7, &[0x80]),
            COMPRESSION,
        ),
        ("RST_STREAM on a stream that this side reset", rst_stream(7, ErrorCode::CANCEL), Ignored),
        ("WINDOW_UPDATE on a stream that this side reset", window_update(7, 1 << 30), Ignored),
        ("DATA on a stream that the peer reset", data(9, 0, b"x"), CLOSED),
        ("HEADERS on a stream that the peer reset", headers(9, END_STREAM, OK), CLOSED),
        // §6.1
        ("DATA on stream 0", data(0, 0, b"x"), PROTOCOL),
        ("DATA with the padding flag and no padding", frame(DATA, PADDED, 1, b""), FRAME_SIZE),
        ("DATA of padding alone, too much", frame(DATA, PADDED, 1, &[1]), PROTOCOL),
        ("DATA with too much padding", frame(DATA, PADDED, 1, &[5, 0, 0, 0, 0]), PROTOCOL),
        ("DATA with as much padding as there is room", frame(DATA, PADDED, 1, &[4, 0, 0, 0, 0]), Ignored),
        ("large DATA", data(1, 0, &large), Stream(1, ErrorCode::FRAME_SIZE_ERROR)),
        // §6.2
        ("HEADERS on stream 0", headers(0, END_STREAM, GET), PROTOCOL),
        (
            "HEADERS with the padding flag and no padding",
            frame(HEADERS, PADDED | END_HEADERS, 1, b""),
            FRAME_SIZE,
        ),
        ("HEADERS with too much padding", frame(HEADERS, PADDED | END_HEADERS, 1, &[2, 0x88]), PROTOCOL),
        (
            "HEADERS too short for their priority",
            frame(HEADERS, WITH_PRIORITY | END_HEADERS, 1, &zeros(4)),
            FRAME_SIZE,
        ),
        (
            "HEADERS with padding in their priority",
            frame(HEADERS, PADDED | WITH_PRIORITY | END_HEADERS, 1, &[1, 0, 0, 0, 0, 0]),
            PROTOCOL,
        ),
        // §6.3
        ("PRIORITY on stream 0", frame(PRIORITY, 0, 0, &zeros(5)), PROTOCOL),
        (
            "PRIORITY of a wrong size",
            frame(PRIORITY, 0, 1, &zeros(4)),
            Stream(1, ErrorCode::FRAME_SIZE_ERROR),
        ),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 9]), Ignored),
        ("PRIORITY on an idle stream", frame(PRIORITY, 0, 101, &zeros(5)), Ignored),
        // §6.4
        ("RST_STREAM on stream 0", rst_stream(0, ErrorCode::CANCEL), PROTOCOL),
        ("short RST_STREAM", frame(RST_STREAM, 0, 1, &zeros(3)), FRAME_SIZE),
        ("long RST_STREAM", frame(RST_STREAM, 0, 1, &zeros(5)), FRAME_SIZE),
        // §6.5
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, b""), PROTOCOL),
        ("SETTINGS of a wrong size", frame(SETTINGS, 0, 0, &zeros(5)), FRAME_SIZE),
        ("SETTINGS that acknowledge and say more", frame(SETTINGS, ACK, 0, &zeros(6)), FRAME_SIZE),
        ("SETTINGS acknowledged twice", settings_ack(), Ignored),
        ("SETTINGS_ENABLE_PUSH 2", settings(&[(2, 2)]), PROTOCOL),
        ("SETTINGS_INITIAL_WINDOW_SIZE too large", settings(&[(4, 1 << 31)]), FLOW),
        ("SETTINGS_MAX_FRAME_SIZE too small", settings(&[(5, 16_383)]), PROTOCOL),
        ("SETTINGS_MAX_FRAME_SIZE too large", settings(&[(5, 1 << 24)]), PROTOCOL),
        ("SETTINGS_ENABLE_CONNECT_PROTOCOL 2", settings(&[(8, 2)]), PROTOCOL),
        ("SETTINGS_ENABLE_CONNECT_PROTOCOL withdrawn", settings(&[(8, 1), (8, 0)]), PROTOCOL),
        // §6.6
        (
            "PUSH_PROMISE",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &block(GET)[..]].concat()),
            PROTOCOL,
        ),
        // §6.7
        ("PING on a stream", frame(PING, 0, 1, &zeros(8)), PROTOCOL),
        ("short PING", frame(PING, 0, 0, &zeros(7)), FRAME_SIZE),
        ("long PING", frame(PING, ACK, 0, &zeros(9)), FRAME_SIZE),
        // §6.8
        ("GOAWAY on a stream", frame(GOAWAY, 0, 1, &zeros(8)), PROTOCOL),
        ("short GOAWAY", frame(GOAWAY, 0, 0, &zeros(7)), FRAME_SIZE),
        // §6.9
        ("short WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 1, &zeros(3)), FRAME_SIZE),
        ("long WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &zeros(5)), FRAME_SIZE),
        ("WINDOW_UPDATE by 0", window_update(1, 0), Stream(1, ErrorCode::PROTOCOL_ERROR)),
        (
            "WINDOW_UPDATE by 0, with the reserved bit",
            window_update(1, 1 << 31),
            Stream(1, ErrorCode::PROTOCOL_ERROR),
        ),
        ("WINDOW_UPDATE of the connection by 0", window_update(0, 0), PROTOCOL),
        (
            "window of a stream too large",
            window_update(1, (1 << 31) - 1),
            Stream(1, ErrorCode::FLOW_CONTROL_ERROR),
        ),
        ("window of the connection too large", window_update(0, (1 << 31) - 1), FLOW),
        (
            "window of a stream too large by SETTINGS",
            [window_update(1, 1 << 30), settings(&[(4, 1 << 30)])].concat(),
            FLOW,
        ),
        // §6.10
        ("CONTINUATION without HEADERS", frame(CONTINUATION, END_HEADERS, 1, b""), PROTOCOL),
        ("CONTINUATION on stream 0", frame(CONTINUATION, END_HEADERS, 0, b""), PROTOCOL),
        (
            "CONTINUATION behind whole HEADERS",
            [headers(7, 0, OK), frame(CONTINUATION, END_HEADERS, 7, b"")].concat(),
            PROTOCOL,
        ),
        (
            "CONTINUATION of another stream",
            [frame(HEADERS, 0, 1, b""), frame(CONTINUATION, END_HEADERS, 3, b"")].concat(),
            PROTOCOL,
        ),
        ("DATA in a header block", [frame(HEADERS, 0, 1, b""), data(1, 0, b"")].concat(), PROTOCOL),
        (
            "PING in a header block",
            [frame(HEADERS, 0, 1, b""), frame(PING, 0, 0, &zeros(8))].concat(),
            PROTOCOL,
        ),
        (
            "unknown type in a header block",
            [frame(HEADERS, 0, 1, b""), frame(0xfa, 0, 1, b"")].concat(),
            PROTOCOL,
        ),
        ("HEADERS in a header block", [frame(HEADERS, 0, 1, b""), headers(1, 0, GET)].concat(), PROTOCOL),
        (
            "large CONTINUATION",
            [frame(HEADERS, 0, 1, b""), frame(CONTINUATION, END_HEADERS, 1, &large)].concat(),
            FRAME_SIZE,
        ),
        // §4.3
        ("a field that no table has", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xc0]), COMPRESSION),
        ("a block that ends in a field", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x41]), COMPRESSION),
        (
            "a table larger than announced",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x3f, 0xe2, 0x1f]),
            COMPRESSION,
        ),
    ];
    for role in [Role::Server, Role::Client] {
        check_all(role, &rules);
    }
}

#[test]
fn frames_that_are_wrong_at_a_server() {
    let trailers: &[(&str, &str)] = &[("a", "b")];
    let malformed = ErrorCode::PROTOCOL_ERROR;
    check_all(
        Role::Server,
        &[
            ("DATA after the end", data(3, 0, b"x"), Stream(3, ErrorCode::STREAM_CLOSED)),
            ("empty DATA after the end", data(3, END_STREAM, b""), Stream(3, ErrorCode::STREAM_CLOSED)),
            ("HEADERS after the end", headers(3, END_STREAM, trailers), Stream(3, ErrorCode::STREAM_CLOSED)),
            ("trailers that do not end", headers(1, 0, trailers), Stream(1, malformed)),
            ("trailers with a pseudo-header field", headers(1, END_STREAM, GET), Stream(1, malformed)),
            ("trailers in upper case", headers(1, END_STREAM, &[("A", "b")]), Stream(1, malformed)),
            (
                "trailers of the connection",
                headers(1, END_STREAM, &[("connection", "close")]),
                Stream(1, malformed),
            ),
            (
                "trailers on a stream that this side has ended",
                headers(11, 0, trailers),
                Stream(11, malformed),
            ),
            ("a malformed request", headers(13, 0, &GET[1..]), Stream(13, malformed)),
            ("a stream that is closed", headers(5, 0, GET), CLOSED),
            (
                "a request that depends on itself",
                frame(HEADERS, END_HEADERS | WITH_PRIORITY, 7, &[&[0, 0, 0, 7, 0], &block(GET)[..]].concat()),
                Ignored,
            ),
            (
                "DATA without the announced length",
                [headers(13, 0, &[POST, &[("content-length", "2")]].concat()), data(13, END_STREAM, b"1")]
                    .concat(),
                Stream(13, malformed),
            ),
        ],
    );
}

#[test]
fn a_stream_that_was_left_out_cannot_begin_later() {
    for ids in [&[19, 15][..], &[19, 13], &[19, 21, 101, 23], &[19, 21, 101, 99]] {
        let mut server = server();
        let (late, begun) = ids.split_last().unwrap();
        for id in begun {
            assert!(matches!(server.feed(&headers(*id, 0, GET))[..], [Seen::Head { .. }]), "{ids:?}");
        }
        let seen = server.feed(&headers(*late, 0, GET));
        assert_eq!(seen, [Seen::Failed(Error::SkippedStream { stream_id: *late })], "{ids:?}");
    }
}

#[test]
fn frames_that_are_wrong_at_a_client() {
    let malformed = ErrorCode::PROTOCOL_ERROR;
    check_all(
        Role::Client,
        &[
            ("a push allowed by the server", settings(&[(2, 1)]), PROTOCOL),
            ("DATA before a head", data(3, 0, b"x"), Stream(3, malformed)),
            ("empty DATA before a head", data(3, 0, b""), Stream(3, malformed)),
            ("DATA after the end", data(11, 0, b"x"), Stream(11, ErrorCode::STREAM_CLOSED)),
            (
                "HEADERS after the end",
                headers(11, END_STREAM, &[("a", "b")]),
                Stream(11, ErrorCode::STREAM_CLOSED),
            ),
            (
                "an interim response after a final one",
                headers(1, 0, &[(":status", "100")]),
                Stream(1, malformed),
            ),
            (
                "an interim response that ends",
                headers(3, END_STREAM, &[(":status", "103")]),
                Stream(3, malformed),
            ),
            ("101", headers(3, 0, &[(":status", "101")]), Stream(3, malformed)),
            ("a head without a status", headers(3, END_STREAM, &[("a", "b")]), Stream(3, malformed)),
            ("a request", headers(3, END_STREAM, GET), Stream(3, malformed)),
            ("HEADERS on an idle stream", headers(101, END_STREAM, OK), PROTOCOL),
        ],
    );
}

#[test]
fn a_connection_begins_with_the_preface_and_settings() {
    let preface = &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..];
    let ping = frame(PING, 0, 0, b"12345678");
    for (role, bytes, is_right) in [
        (Role::Server, [preface, &settings(&[])].concat(), true),
        (Role::Server, b"GET / HTTP/1.1\r\n".to_vec(), false),
        (Role::Server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".to_vec(), false),
        (Role::Server, b"\x16\x03\x01".to_vec(), false),
        (Role::Server, [preface, &ping].concat(), false),
        (Role::Server, [preface, &headers(1, END_STREAM, GET)].concat(), false),
        (Role::Server, [preface, &settings_ack()].concat(), false),
        (Role::Server, settings(&[]), false),
        (Role::Client, settings(&[(3, 7)]), true),
        (Role::Client, b"HTTP/1.1 400 Bad Request\r\n".to_vec(), false),
        (Role::Client, ping.clone(), false),
        (Role::Client, settings_ack(), false),
    ] {
        let mut tested = Tested::new(role, &Options::default());
        assert!(tested.codec.awaits_preface());
        let seen = tested.feed(&bytes);
        if is_right {
            assert_eq!(seen, [Seen::SendOpened]);
            assert!(!tested.codec.awaits_preface());
            assert_eq!(tested.said().last().map(|frame| (frame.kind, frame.flags)), Some((SETTINGS, ACK)));
        } else {
            let [Seen::Failed(error)] = &seen[..] else { panic!("{seen:?}") };
            assert_eq!(error.code(), ErrorCode::PROTOCOL_ERROR);
        }
    }
}

#[test]
fn an_end_in_the_middle_of_something_is_noticed() {
    let mut server = Tested::server();
    assert_eq!(server.end(), Ok(()));
    for (bytes, ends_well) in [
        (headers(1, 0, POST), true),
        (data(1, 0, b"abc")[..5].to_vec(), false),
        (data(1, 0, b"abc")[5..11].to_vec(), false),
        (data(1, 0, b"abc")[11..].to_vec(), true),
        (padded_data(1, 0, b"abc", 3)[..14].to_vec(), false),
        (padded_data(1, 0, b"abc", 3)[14..].to_vec(), true),
        (frame(HEADERS, 0, 1, &block(&[("a", "b")])), false),
        (frame(CONTINUATION, END_HEADERS, 1, b""), true),
    ] {
        server.feed(&bytes);
        assert_eq!(server.end().is_ok(), ends_well, "{}", bytes.escape_ascii());
    }
    assert!(Tested::new(Role::Server, &Options::default()).end().is_err());
}

#[test]
fn a_goaway_excludes_streams_and_may_come_again() {
    let mut client = Tested::client();
    for _ in 0..5 {
        client.open(GET, true);
    }
    let ids = |seen: &[Seen]| -> Vec<u32> {
        seen.iter()
            .filter_map(|seen| match seen {
                Seen::Reset { id, reset } => {
                    assert!(reset.is_unprocessed());
                    Some(*id)
                }
                _ => None,
            })
            .collect()
    };
    assert_eq!(ids(&client.feed(&go_away((1 << 31) - 1, ErrorCode::NO_ERROR))), []);
    assert!(client.codec.is_closing());
    assert_eq!(client.codec.opens_now_max(), 0);
    let seen = client.feed(&go_away(5, ErrorCode::NO_ERROR));
    assert_eq!(seen[0], Seen::GoAway { code: ErrorCode::NO_ERROR, last_stream_id: 5 });
    assert_eq!(ids(&seen), [7, 9]);
    assert_eq!(client.codec.streams(), 3);
    // It may not grow; what comes late for excluded streams is ignored.
    let seen = client.feed(&[go_away(9, ErrorCode::NO_ERROR), headers(9, END_STREAM, OK)].concat());
    assert_eq!(seen, [Seen::GoAway { code: ErrorCode::NO_ERROR, last_stream_id: 5 }]);
    assert_eq!(ids(&client.feed(&go_away(0, ErrorCode::INTERNAL_ERROR))), [1, 3, 5]);
    assert_eq!(client.codec.streams(), 0);
    assert_eq!(client.said(), []);
}

#[test]
fn a_server_ignores_streams_behind_its_goaway_and_never_raises_it() {
    let mut server = Tested::server();
    server.codec.announce_close();
    assert!(matches!(server.feed(&headers(1, 0, POST))[..], [Seen::Head { id: 1, .. }]));
    server.codec.go_away(ErrorCode::NO_ERROR);
    let late = [headers(3, 0, POST), data(3, 0, b"abc"), headers(3, END_STREAM, &[("a", "b")])].concat();
    assert_eq!(server.feed(&late), []);
    assert!(matches!(server.feed(&data(1, END_STREAM, b"abc"))[..], [Seen::Data { id: 1, ends: true, .. }]));
    server.codec.announce_close();
    server.codec.go_away(ErrorCode::NO_ERROR);
    assert!(matches!(server.feed(&data(0, 0, b""))[..], [Seen::Failed(_)]));
    let ids: Vec<u32> =
        server.said().iter().filter(|frame| frame.kind == GOAWAY).map(Frame::number).collect();
    assert_eq!(ids, [(1 << 31) - 1, 1, 1, 1]);
}

#[test]
fn a_reset_in_the_middle_of_a_frame_drops_the_rest() {
    let mut server = Tested::server();
    server.feed(&headers(1, 0, POST));
    let frame = padded_data(1, END_STREAM, b"0123456789", 5);
    assert!(matches!(&server.feed(&frame[..14])[..], [Seen::Data { data, .. }] if data == b"0123"));
    server.reset(1);
    assert_eq!(server.feed(&frame[14..]), []);
    assert!(matches!(server.feed(&headers(3, END_STREAM, GET))[..], [Seen::Head { id: 3, .. }]));
    let said = server.said();
    assert_eq!(said.iter().map(|frame| (frame.kind, frame.id)).collect::<Vec<_>>(), [(RST_STREAM, 1)]);
}

#[test]
fn streams_that_were_reset_long_ago_do_not_end_the_connection() {
    let mut client = Tested::client();
    for _ in 0..3_000 {
        let id = client.open(GET, true).id();
        client.reset(id);
    }
    for id in [1, 101, 3_001, 5_999] {
        assert_eq!(client.feed(&[headers(id, 0, OK), data(id, END_STREAM, b"late")].concat()), []);
    }
}

#[test]
fn a_reset_after_a_whole_response_is_reported_with_its_code() {
    let mut client = Tested::client();
    client.open(POST, false);
    let seen = client.feed(&[headers(1, END_STREAM, OK), rst_stream(1, ErrorCode::NO_ERROR)].concat());
    assert!(matches!(&seen[..], [Seen::Head { ends: true, .. }, Seen::Reset { id: 1, reset }]
        if reset.code == ErrorCode::NO_ERROR && reset.cause == ResetCause::Peer && !reset.is_unprocessed()));
    client.open(GET, true);
    let seen = client.feed(&rst_stream(3, ErrorCode::REFUSED_STREAM));
    assert!(matches!(&seen[..], [Seen::Reset { id: 3, reset }] if reset.is_unprocessed()));
    assert_eq!(client.said(), []);
}

#[test]
fn too_many_frames_of_a_block_are_refused() {
    let begin = frame(HEADERS, END_STREAM, 13, b"");
    let empty = frame(CONTINUATION, 0, 13, b"");
    let end = frame(CONTINUATION, END_HEADERS, 13, &block(GET));
    let mut server = server();
    let seen = server.feed(&[&begin[..], &empty.repeat(31), &end].concat());
    assert!(matches!(seen[..], [Seen::Head { id: 13, .. }]), "{seen:?}");
    assert_eq!(server.codec.counters().continuations, 32);
    check(Role::Server, "empty CONTINUATION", &[&begin[..], &empty.repeat(32), &end].concat(), CALM);
    let full = frame(CONTINUATION, 0, 13, &[0x82; 16_384]);
    check(Role::Server, "large CONTINUATION", &[&begin[..], &full.repeat(5)].concat(), CALM);
}
