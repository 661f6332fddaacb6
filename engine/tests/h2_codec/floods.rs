//! What a hostile peer can make the codec do and hold is bounded.

use ringtide::proto::h2::{Error, ErrorCode, Flood, Options, Role, StreamFault, limits};

use super::support::*;

const NS_PER_S: u64 = 1_000_000_000;

/// Sends `bytes` again and again, with the clock at rest. Returns how often they were taken before the connection ended.
fn count_taken(
    tested: &mut Tested,
    count_max: u32,
    mut bytes: impl FnMut(u32) -> Vec<u8>,
) -> (u32, Option<Error>) {
    for count in 0..count_max {
        let seen = tested.feed(&bytes(count));
        tested.said();
        if let Some(Seen::Failed(error)) = seen.last() {
            assert_eq!(error.code(), ErrorCode::ENHANCE_YOUR_CALM);
            return (count, Some(*error));
        }
    }
    (count_max, None)
}

/// Frames that bring nothing.
fn idle_frames() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("PING", frame(PING, 0, 0, b"12345678")),
        ("PONG", frame(PING, ACK, 0, b"12345678")),
        ("SETTINGS", settings(&[])),
        ("SETTINGS that change windows", settings(&[(4, 1), (4, 2)])),
        ("SETTINGS acknowledged", settings_ack()),
        ("PRIORITY", frame(PRIORITY, 0, 101, &[0; 5])),
        ("WINDOW_UPDATE", window_update(0, 1)),
        ("WINDOW_UPDATE of a stream", window_update(1, 1)),
        ("WINDOW_UPDATE of a closed stream", window_update(3, 1 << 20)),
        ("RST_STREAM of a closed stream", rst_stream(3, ErrorCode::CANCEL)),
        ("empty DATA", data(1, 0, b"")),
        ("padded empty DATA", padded_data(1, 0, b"", 3)),
        ("empty DATA of a stream that was reset", data(3, 0, b"")),
        ("HEADERS of a stream that was reset", headers(3, 0, &[("a", "b")])),
        ("unknown frame", frame(0xfa, 0, 0, b"")),
        ("GOAWAY", go_away(99, ErrorCode::NO_ERROR)),
    ]
}

#[test]
fn frames_without_use_are_limited() {
    for role in [Role::Server, Role::Client] {
        for (name, bytes) in idle_frames() {
            let mut tested = Tested::ready(role, &Options::default());
            if role == Role::Server {
                tested.feed(&[headers(1, 0, POST), headers(3, 0, POST)].concat());
            } else {
                tested.open(GET, true);
                tested.open(GET, true);
                tested.feed(&headers(1, 0, OK));
            }
            tested.reset(3);
            tested.said();
            let (count, error) = count_taken(&mut tested, 2 * limits::IDLE_FRAMES_BURST, |_| bytes.clone());
            assert_eq!(error, Some(Error::Flood(Flood::IdleFrames)), "{role:?} {name}");
            let burst = limits::IDLE_FRAMES_BURST;
            assert!((burst - 10..=burst).contains(&count), "{role:?} {name}: {count}");
            assert!(tested.codec.counters().idle_frames >= u64::from(burst));
        }
    }
}

#[test]
fn frames_without_use_are_allowed_slowly_and_beside_useful_ones() {
    for (name, bytes) in idle_frames() {
        let mut server = Tested::server();
        server.feed(&[headers(1, 0, POST), headers(3, 0, POST)].concat());
        server.reset(3);
        let (_, error) = count_taken(&mut server, 3 * limits::IDLE_FRAMES_BURST, |count| {
            [&data(1, 0, b"x")[..], &bytes.repeat(if count % 2 == 0 { 3 } else { 0 })].concat()
        });
        assert_eq!(error, None, "{name}");
    }
    let mut server = Tested::server();
    let ping = frame(PING, 0, 0, b"12345678");
    for second in 0..100 {
        server.codec.set_time_ns(second * NS_PER_S);
        let (_, error) = count_taken(&mut server, limits::IDLE_FRAMES_PER_SECOND, |_| ping.clone());
        assert_eq!(error, None);
    }
}

#[test]
fn each_request_allows_some_frames_without_use() {
    let pings = frame(PING, 0, 0, b"12345678").repeat(3);
    let mut server = Tested::server();
    let mut client = Tested::client();
    for count in 0..limits::IDLE_FRAMES_BURST {
        let id = 2 * count + 1;
        // Both for a block that is decoded and for one that repeats.
        let path = if count % 3 == 0 { "/" } else { "/other" };
        let request = [&GET[..3], &[(":path", path)]].concat();
        assert_eq!(server.feed(&[&headers(id, END_STREAM, &request)[..], &pings].concat()).len(), 1);
        server.send(id, OK, true);
        client.open(GET, true);
        assert_eq!(client.feed(&[&headers(id, END_STREAM, OK)[..], &pings].concat()).len(), 1);
        server.keys.clear();
        client.keys.clear();
    }
}

#[test]
fn an_uploads_windows_may_be_returned_in_small_pieces() {
    // As servers do that return what each read of 4 KiB has taken.
    let mut client = Tested::client();
    let stream = client.open(POST, false);
    client.feed(&[window_update(0, 1 << 24), window_update(1, 1 << 24)].concat());
    for _ in 0..20_000 {
        client.codec.send_data(stream, 16_384, false);
        let back = [window_update(0, 4_096), window_update(1, 4_096)].concat().repeat(4);
        assert!(client.feed(&back).iter().all(|seen| *seen == Seen::SendOpened));
    }
}

#[test]
fn a_window_opened_by_single_bytes_is_a_flood() {
    // CVE-2019-9511.
    let mut server = Tested::server();
    server.feed(&[settings(&[(4, 0)]), headers(1, END_STREAM, GET)].concat());
    server.send(1, OK, false);
    let stream = server.key(1);
    for count in 0.. {
        if let [Seen::Failed(error)] = &server.feed(&window_update(1, 1))[..] {
            assert_eq!(*error, Error::Flood(Flood::IdleFrames));
            assert!(count <= limits::IDLE_FRAMES_BURST);
            return;
        }
        assert_eq!(server.codec.send_capacity(stream), 1);
        server.codec.send_data(stream, 1, false);
    }
}

#[test]
fn streams_that_are_reset_at_once_are_limited() {
    // CVE-2023-44487.
    let mut server = Tested::server();
    let (count, error) = count_taken(&mut server, 5_000, |count| {
        let id = 2 * count + 1;
        [headers(id, 0, POST), rst_stream(id, ErrorCode::CANCEL)].concat()
    });
    assert_eq!((count, error), (limits::RESETS_BURST, Some(Error::Flood(Flood::Resets))));
    assert_eq!(server.codec.counters().resets_received, u64::from(count) + 1);
    // A stream that had ended is not reset.
    let mut server = Tested::server();
    for count in 0..5_000 {
        let id = 2 * count + 1;
        server.feed(&headers(id, END_STREAM, GET));
        server.send(id, OK, true);
        assert_eq!(server.feed(&rst_stream(id, ErrorCode::CANCEL)), []);
    }
}

#[test]
fn streams_that_are_reset_slowly_are_not_limited() {
    let mut server = Tested::server();
    for count in 0..10_000u32 {
        server.codec.set_time_ns(u64::from(count) * NS_PER_S / u64::from(limits::RESETS_PER_SECOND));
        let id = 2 * count + 1;
        let seen = server.feed(&[headers(id, 0, POST), rst_stream(id, ErrorCode::CANCEL)].concat());
        assert!(matches!(seen[..], [Seen::Head { .. }, Seen::Reset { .. }]));
    }
}

#[test]
fn resets_that_the_peer_provokes_are_limited() {
    // CVE-2025-8671: each of these makes the server reset a stream.
    type Provoke = fn(u32) -> Vec<u8>;
    let provoking: &[(&str, Provoke)] = &[
        ("WINDOW_UPDATE by 0", |id| window_update(id, 0)),
        ("too large a window", |id| window_update(id, (1 << 31) - 1)),
        ("PRIORITY of a wrong size", |id| frame(PRIORITY, 0, id, b"")),
        ("trailers that do not end", |id| headers(id, 0, &[("a", "b")])),
        ("trailers that are malformed", |id| headers(id, END_STREAM, GET)),
        ("DATA after the end", |id| [data(id, END_STREAM, b""), data(id, 0, b"x")].concat()),
        ("HEADERS after the end", |id| [data(id, END_STREAM, b""), headers(id, 0, &[("a", "b")])].concat()),
        ("large DATA", |id| data(id, 0, &vec![0; 16_385])),
    ];
    for (name, provoke) in provoking {
        let mut server = Tested::server();
        let (count, error) = count_taken(&mut server, 5_000, |count| {
            let id = 2 * count + 1;
            [headers(id, 0, POST), provoke(id)].concat()
        });
        assert_eq!((count, error), (limits::RESETS_BURST, Some(Error::Flood(Flood::Resets))), "{name}");
        assert_eq!(server.codec.counters().resets_provoked, u64::from(count) + 1);
    }
    let mut server = Tested::server();
    let (count, _) = count_taken(&mut server, 5_000, |count| headers(2 * count + 1, END_STREAM, &GET[1..]));
    assert_eq!(count, limits::RESETS_BURST);
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let mut server = Tested::ready(Role::Server, &Options::default().streams_max(3));
    for id in [1, 3, 5] {
        assert_eq!(server.feed(&headers(id, END_STREAM, GET)).len(), 1);
    }
    let late = [headers(7, 0, POST), data(7, 0, b"abc"), headers(7, END_STREAM, &[("a", "b")])].concat();
    assert_eq!(server.feed(&late), []);
    let said = server.said();
    let said: Vec<_> = said.iter().map(|frame| (frame.kind, frame.id, frame.number())).collect();
    assert_eq!(said, [(RST_STREAM, 7, ErrorCode::REFUSED_STREAM.0)]);
    assert_eq!(server.codec.counters().streams_refused, 1);
    server.send(3, OK, true);
    assert_eq!(server.feed(&headers(9, END_STREAM, GET)).len(), 1);
    let (count, _) = count_taken(&mut server, 5_000, |count| headers(2 * count + 11, END_STREAM, GET));
    assert_eq!(count, limits::RESETS_BURST - 1);
}

#[test]
fn heads_that_are_too_large_leave_the_table_right() {
    let options = Options::default().header_list_size_max(1_000).fields_max(20);
    let name = [&[0x40, 0x7f, 0x81, 0x01][..], &[b'n'; 256], &[0]].concat();
    let small = block(GET);
    let many = [small.clone(), block(&[("a", "b")]).repeat(17)].concat();
    let bomb = [small.clone(), name, vec![0xbe; 10_000]].concat();
    for large in [many, bomb] {
        let mut server = Tested::ready(Role::Server, &options);
        let seen = server.feed(&frame(HEADERS, END_HEADERS, 1, &large));
        assert_eq!(seen, [Seen::TooLarge(1)]);
        assert_eq!(server.codec.counters().heads_too_large, 1);
        assert_eq!(server.feed(&data(1, END_STREAM, b"x")).len(), 1);
        server.send(1, &[(":status", "431")], true);
        assert_eq!(server.codec.streams(), 0);
        // What is defined in a list that is too large may be used.
        let seen = server.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &small));
        assert_eq!(seen, [Seen::Head { id: 3, fields: owned(GET), ends: true }]);
        let mut client = Tested::ready(Role::Client, &options);
        client.open(GET, true);
        let seen = client.feed(&frame(HEADERS, END_HEADERS, 1, &large));
        let [Seen::Reset { reset, .. }] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!(reset.cause, ringtide::proto::h2::ResetCause::Fault(StreamFault::HeadTooLarge));
    }
}
