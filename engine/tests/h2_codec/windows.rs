//! Flow control (RFC 9113 §5.2, §6.9), from the view of each side.

use ringtide::proto::h2::{ErrorCode, Options, RequestKind, ResetCause, Role, StreamFault};

use super::support::*;

fn faults(seen: &[Seen]) -> Vec<(u32, StreamFault)> {
    seen.iter()
        .filter_map(|seen| match seen {
            Seen::Reset { id, reset } => match &reset.cause {
                ResetCause::Fault(fault) => Some((*id, fault.clone())),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

fn updates(said: &[Frame]) -> Vec<(u32, u32)> {
    let updates = said.iter().filter(|frame| frame.kind == WINDOW_UPDATE);
    updates.map(|frame| (frame.id, frame.number())).collect()
}

fn failure(seen: &[Seen]) -> Option<ErrorCode> {
    match seen.last() {
        Some(Seen::Failed(error)) => Some(error.code()),
        _ => None,
    }
}

#[test]
fn more_data_than_the_window_of_a_stream_ends_the_stream() {
    let options = Options::default().stream_window(10).connection_window(100_000);
    let mut server = Tested::ready(Role::Server, &options);
    server.releases = false;
    server.feed(&[headers(1, 0, POST), headers(3, 0, POST)].concat());
    assert_eq!(faults(&server.feed(&data(1, 0, &[0; 10]))), []);
    assert_eq!(faults(&server.feed(&data(1, 0, b""))), []);
    assert_eq!(faults(&server.feed(&data(1, 0, b"x"))), [(1, StreamFault::WindowExceeded)]);
    let said = server.said();
    let codes: Vec<_> = said.iter().map(|frame| (frame.kind, frame.id, frame.number())).collect();
    assert_eq!(codes, [(RST_STREAM, 1, ErrorCode::FLOW_CONTROL_ERROR.0)]);
    // Padding counts.
    assert_eq!(faults(&server.feed(&padded_data(3, 0, b"x", 9))), [(3, StreamFault::WindowExceeded)]);
}

#[test]
fn more_data_than_the_window_of_the_connection_ends_the_connection() {
    for id in [1, 7] {
        let mut server = Tested::ready(Role::Server, &Options::default().connection_window(70_000));
        server.releases = false;
        server.feed(&[headers(1, 0, POST), headers(7, 0, POST)].concat());
        for _ in 0..70 {
            assert_eq!(failure(&server.feed(&data(1, 0, &[0; 1_000]))), None);
        }
        assert_eq!(failure(&server.feed(&data(id, 0, b""))), None);
        // Even if the stream cannot take it.
        server.reset(7);
        assert_eq!(failure(&server.feed(&data(id, 0, b"x"))), Some(ErrorCode::FLOW_CONTROL_ERROR));
    }
}

#[test]
fn data_that_nobody_reads_is_given_back() {
    let mut server = Tested::ready(Role::Server, &Options::default().connection_window(65_535));
    server.releases = false;
    server.feed(&headers(1, 0, POST));
    server.reset(1);
    server.said();
    let mut back = 0;
    for _ in 0..1_000 {
        assert_eq!(server.feed(&[data(1, 0, &[0; 10_000]), padded_data(1, 0, b"", 255)].concat()), []);
        back += updates(&server.said()).iter().map(|(_, increment)| u64::from(*increment)).sum::<u64>();
    }
    assert!(back > 1_000 * 10_256 - 32_768 && back <= 1_000 * 10_256, "{back}");
}

#[test]
fn windows_are_returned_in_batches_and_never_exceed_their_size() {
    let options = Options::default().stream_window(10_000).connection_window(100_000);
    let mut client = Tested::ready(Role::Client, &options);
    client.open(GET, true);
    client.feed(&headers(1, 0, OK));
    let (mut stream, mut connection) = (10_000, 100_000);
    let mut count = 0;
    for size in (1..2_000).cycle().take(5_000) {
        if size % 3 == 0 {
            client.feed(&padded_data(1, 0, &vec![0; size - 1], 0));
        } else {
            client.feed(&data(1, 0, &vec![0; size]));
        }
        (stream, connection) = (stream - size, connection - size);
        for (id, increment) in updates(&client.said()) {
            count += 1;
            *(if id == 0 { &mut connection } else { &mut stream }) += increment as usize;
        }
        // What was read is back, up to half a window.
        assert!((5_000..=10_000).contains(&stream) && (50_000..=100_000).contains(&connection));
    }
    assert!(count < 1_200, "{count} updates for 5 MB");
}

#[test]
fn the_initial_window_holds_until_ours_is_acknowledged() {
    let options = Options::default().stream_window(1_000);
    let mut server = Tested::new(Role::Server, &options);
    server.releases = false;
    server.feed(ringtide::proto::h2::PREFACE);
    server.feed(&[settings(&[]), headers(1, 0, POST), headers(3, 0, POST)].concat());
    for size in [16_384, 16_384, 16_384, 16_383] {
        assert_eq!(faults(&server.feed(&data(1, 0, &vec![0; size]))), []);
    }
    server.feed(&settings_ack());
    // The window is 64,535 below zero now. An empty frame needs none.
    assert_eq!(faults(&server.feed(&data(1, 0, b""))), []);
    assert_eq!(faults(&server.feed(&data(3, 0, &[0; 1_000]))), []);
    assert_eq!(faults(&server.feed(&data(3, 0, b"x"))), [(3, StreamFault::WindowExceeded)]);
    server.codec.release(server.key(1), 65_535);
    let back: u32 = updates(&server.said()).iter().filter(|(id, _)| *id == 1).map(|(_, size)| *size).sum();
    assert_eq!(back, 65_535);
    assert_eq!(faults(&server.feed(&data(1, 0, &[0; 1_000]))), []);
    assert_eq!(server.feed(&data(1, END_STREAM, b"")), [Seen::Data { id: 1, data: Vec::new(), ends: true }]);
}

#[test]
fn a_peer_may_use_our_window_before_it_acknowledges_it() {
    let mut client = Tested::new(Role::Client, &Options::default());
    client.feed(&settings(&[]));
    client.open(GET, true);
    client.feed(&headers(1, 0, OK));
    client.releases = false;
    for _ in 0..64 {
        assert_eq!(faults(&client.feed(&data(1, 0, &[0; 16_384]))), []);
    }
    assert_eq!(
        faults(&client.feed(&[settings_ack(), data(1, 0, b"x")].concat())),
        [(1, StreamFault::WindowExceeded)]
    );
}

#[test]
fn sent_data_keeps_to_all_three_limits() {
    let mut client = Tested::ready(Role::Client, &Options::default());
    let first = client.open(POST, false);
    let second = client.open(POST, false);
    assert_eq!(client.codec.send_capacity(first), 16_384);
    client.feed(&settings(&[(5, 1 << 20)]));
    assert_eq!(client.codec.send_capacity(first), 65_535);
    let header = client.codec.send_data(first, 65_000, false);
    assert_eq!(header, [0, 0xfd, 0xe8, 0, 0, 0, 0, 0, 1]);
    assert_eq!(client.codec.send_capacity(first), 535);
    assert_eq!(client.codec.send_capacity(second), 535);
    client.feed(&window_update(0, 1_000_000));
    assert_eq!((client.codec.send_capacity(first), client.codec.send_capacity(second)), (535, 65_535));
    // Below zero: what was sent counts.
    client.feed(&settings(&[(4, 1_000)]));
    assert_eq!((client.codec.send_capacity(first), client.codec.send_capacity(second)), (0, 1_000));
    client.feed(&window_update(1, 64_000));
    assert_eq!(client.codec.send_capacity(first), 0);
    assert_eq!(client.feed(&window_update(1, 7)), [Seen::SendOpened]);
    assert_eq!(client.codec.send_capacity(first), 7);
    // An end needs no window.
    assert_eq!(client.codec.send_data(second, 1_000, false)[..3], [0, 3, 0xe8]);
    assert_eq!(client.codec.send_data(second, 0, true), [0, 0, 0, 0, 1, 0, 0, 0, 3]);
    assert_eq!(client.codec.send_capacity(second), 0);
    assert!(!client.codec.is_sendable(second) && client.codec.is_open(second));
}

#[test]
fn the_limit_of_streams_is_kept_and_follows_the_peer() {
    let mut client = Tested::new(Role::Client, &Options::default());
    assert_eq!(client.codec.opens_now_max(), 100);
    client.feed(&settings(&[(3, 2)]));
    client.open(GET, true);
    client.open(GET, true);
    assert_eq!(client.codec.opens_now_max(), 0);
    let refused = client.codec.open(&block(GET), RequestKind::Other, true, &mut Vec::new());
    assert_eq!(refused, Err(ringtide::proto::h2::OpenError::Full));
    client.feed(&settings(&[(3, 0)]));
    client.feed(&headers(1, END_STREAM, OK));
    assert_eq!(client.codec.opens_now_max(), 0);
    client.feed(&settings(&[(3, 3)]));
    assert_eq!(client.codec.opens_now_max(), 2);
    client.codec.go_away(ErrorCode::NO_ERROR);
    let refused = client.codec.open(&block(GET), RequestKind::Other, true, &mut Vec::new());
    assert_eq!(refused, Err(ringtide::proto::h2::OpenError::Closing));
}

#[test]
fn options_out_of_range_are_brought_into_it() {
    let mut options = Options::default();
    options.stream_window = u32::MAX;
    options.connection_window = u32::MAX;
    let mut client = Tested::new(Role::Client, &options);
    let said = client.said();
    assert_eq!(updates(&said), [(0, (1 << 31) - 1 - 65_535)]);
    assert_eq!(said[0].payload[6..12], [0, 4, 0x7f, 0xff, 0xff, 0xff]);
    options.connection_window = 0;
    let mut client = Tested::ready(Role::Client, &options);
    client.open(GET, true);
    client.feed(&headers(1, 0, OK));
    assert_eq!(failure(&client.feed(&data(1, 0, &[0; 16_000]))), None);
    assert_eq!(updates(&client.said()), []);
}

#[test]
fn a_table_that_shrinks_and_grows_in_one_frame_has_lost_its_entries() {
    use ringtide::proto::h2::hpack::Indexing;
    let mut client = Tested::client();
    let mut before = Vec::new();
    client.codec.encoder().begin(&mut before);
    client.codec.encoder().field(b"name", b"value", Indexing::Add, &mut before);
    client.feed(&settings(&[(1, 0), (1, 4_096)]));
    let mut after = Vec::new();
    client.codec.encoder().begin(&mut after);
    client.codec.encoder().field(b"name", b"value", Indexing::Add, &mut after);
    assert_eq!(after[..4], [0x20, 0x3f, 0xe1, 0x1f], "to 0, and to 4,096");
    assert_eq!(after[4..], before);
}
