//! HTTP/2 with clients that ask for much and give little: what it costs is bounded, and others go on.

use std::io::Write;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringtide::proto::h2::limits::{CONTINUATIONS_MAX, IDLE_FRAMES_BURST, RESETS_BURST};
use ringtide::server::{FailureKind, ServiceOptions};

use crate::http2_raw::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADER_TABLE_SIZE, HEADERS,
    INITIAL_WINDOW_SIZE, PING, RST_STREAM, Raw, WINDOW_UPDATE, block, frame, get, request, settings,
};
use crate::site::{LARGE_SIZE, Running};

const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(60);
const ENHANCE_YOUR_CALM: u32 = 11;
const CANCEL: u32 = 8;

/// What is told of a failure: its text, and whether it is one of a connection.
fn telling(options: ServiceOptions) -> (ServiceOptions, mpsc::Receiver<(String, bool)>) {
    let (tell, told) = mpsc::channel();
    let options = options.on_error(move |failure| {
        let is_of_connection = matches!(failure.kind, FailureKind::Http2 { .. });
        tell.send((failure.kind.to_string(), is_of_connection)).unwrap();
    });
    (options, told)
}

#[test]
fn a_flood_ends_its_connection_and_no_other() {
    let ids = |count: u32| (0..count).map(|number| 2 * number + 1);
    let many_resets = RESETS_BURST * 3;
    // Also if this machine is busy: the limit is one of a rate.
    let many_frames = IDLE_FRAMES_BURST * 3;
    let rapid_reset = ids(many_resets)
        .flat_map(|id| [get(id, "/wait"), frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes())].concat());
    // The server is made to reset: an increment of nothing (CVE-2025-8671).
    let provoked = ids(many_resets)
        .flat_map(|id| [get(id, "/wait"), frame(WINDOW_UPDATE, 0, id, &0_u32.to_be_bytes())].concat());
    // Refused before anyone sees them.
    let malformed =
        ids(many_resets).flat_map(|id| frame(HEADERS, END_HEADERS | END_STREAM, id, &block(&[("A", "b")])));
    let pings = (0..many_frames).flat_map(|_| frame(PING, 0, 0, b"12345678"));
    let many_settings = (0..many_frames).flat_map(|_| settings(&[]));
    let continuations = std::iter::once(frame(HEADERS, 0, 1, b""))
        .flatten()
        .chain((0..=CONTINUATIONS_MAX).flat_map(|_| frame(CONTINUATION, 0, 1, b"")));
    let floods: [(&str, Vec<u8>, &str); 6] = [
        ("rapid reset", rapid_reset.collect(), "too many streams that were reset"),
        ("provoked resets", provoked.collect(), "too many streams that were reset"),
        ("malformed requests", malformed.collect(), "too many streams that were reset"),
        ("PING", pings.collect(), "too many frames without use"),
        ("SETTINGS", many_settings.collect(), "too many frames without use"),
        ("CONTINUATION", continuations.collect(), "a header block that is too large"),
    ];
    let (options, told) = telling(ServiceOptions::default());
    let running = Running::with(options);
    let mut other = Raw::connect(running.address(), &[]);
    for (number, (name, flood, reason)) in floods.into_iter().enumerate() {
        let mut raw = Raw::connect(running.address(), &[]);
        let mut writer = raw.peer.stream.try_clone().unwrap();
        // The server may close before it has taken all.
        let writing = std::thread::spawn(move || drop(writer.write_all(&flood)));
        if let Some(go_away) = raw.go_away_if_there() {
            assert_eq!(go_away.number(4), ENHANCE_YOUR_CALM, "{name}");
        }
        let (text, _) = std::iter::repeat_with(|| told.recv_timeout(PATIENCE).unwrap())
            .find(|(_, is_of_connection)| *is_of_connection)
            .unwrap();
        assert!(text.contains(reason), "{name}: {text}");
        writing.join().unwrap();
        assert_eq!(other.ask(2 * number as u32 + 1, "/").1, b"hello world\n", "{name}");
    }
}

#[test]
fn a_request_against_the_rules_is_told_and_ends_alone() {
    let (options, told) = telling(ServiceOptions::default());
    let running = Running::with(options);
    let mut raw = Raw::connect(running.address(), &[]);
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", "/wait"),
        ("content-length", "5"),
    ];
    raw.send(frame(HEADERS, END_HEADERS, 1, &block(&fields)));
    raw.send(frame(DATA, END_STREAM, 1, b"four"));
    assert_eq!(raw.until(RST_STREAM).number(0), 1, "PROTOCOL_ERROR");
    let text = told.recv_timeout(PATIENCE).unwrap().0;
    assert_eq!(text, "refused: the body is not as long as Content-Length says");
    assert_eq!(raw.ask(3, "/").1, b"hello world\n");
}

#[test]
fn a_peer_that_keeps_its_window_shut_loses_its_stream() {
    let running = Running::with(ServiceOptions::default().stall_timeout(SHORT));
    let mut raw = Raw::connect(running.address(), &[(INITIAL_WINDOW_SIZE, 0)]);
    raw.send([get(1, "/large"), get(3, "/")].concat());
    let mut ended = [raw.until(RST_STREAM), raw.until(RST_STREAM)].map(|frame| (frame.id, frame.number(0)));
    ended.sort_unstable();
    assert_eq!(ended, [(1, CANCEL), (3, CANCEL)]);
    // What needs no window goes on.
    raw.send(get(5, "/empty"));
    assert_eq!(raw.until(HEADERS).id, 5);
}

#[test]
fn bodies_share_the_connection_in_equal_parts() {
    let running = Running::start();
    let mut raw = Raw::connect(running.address(), &[(INITIAL_WINDOW_SIZE, 100_000_000)]);
    raw.send(frame(WINDOW_UPDATE, 0, 0, &100_000_000_u32.to_be_bytes()));
    raw.send([get(1, "/endless"), get(3, "/endless")].concat());
    let mut sizes = [0; 2];
    while sizes[0] + sizes[1] < 20 * LARGE_SIZE {
        let data = raw.until(DATA);
        sizes[usize::from(data.id == 3)] += data.payload.len();
    }
    assert!(sizes[0] < 2 * sizes[1] && sizes[1] < 2 * sizes[0], "{sizes:?}");
    // A small response does not wait for them: what is on its way before it is bounded by what the sockets hold.
    raw.send(get(5, "/"));
    let before = Instant::now();
    let mut passed = 0;
    loop {
        let data = raw.until(DATA);
        if data.id == 5 {
            break;
        }
        passed += data.payload.len();
    }
    assert!(passed < 20 * LARGE_SIZE, "{passed} bytes before it, {:?}", before.elapsed());
}

#[test]
fn a_header_block_that_stalls_ends_the_connection_but_not_what_has_begun() {
    let (options, told) = telling(ServiceOptions::default().head_timeout(SHORT));
    let running = Running::with(options);
    let whole = request(3, "GET", "/", END_STREAM);
    for part in [frame(HEADERS, 0, 3, b""), whole[..whole.len() - 1].to_vec()] {
        let mut raw = Raw::connect(running.address(), &[]);
        // A body that stalls is another thing than a head that does.
        raw.send(request(1, "POST", "/whole", 0));
        raw.send(frame(DATA, 0, 1, b"some"));
        std::thread::sleep(3 * SHORT);
        raw.send(frame(DATA, END_STREAM, 1, b" more"));
        assert_eq!(raw.response(1).1, b"some more");
        raw.send(part);
        raw.until(GOAWAY);
        assert_eq!(
            told.recv_timeout(PATIENCE).unwrap().0,
            "refused: the head of the request did not arrive in time"
        );
        raw.peer.expect_end();
    }
}

#[test]
fn a_peer_that_has_closed_its_half_gets_the_responses_that_come_soon() {
    let running = Running::with(ServiceOptions::default().half_close_timeout(Duration::from_millis(300)));
    let mut raw = Raw::connect(running.address(), &[]);
    raw.send([get(1, "/later"), get(3, "/wait")].concat());
    raw.peer.finish();
    let since = Instant::now();
    assert_eq!(raw.response(1).1, b"later\n");
    running.dropped.recv_timeout(PATIENCE).unwrap();
    assert!(since.elapsed() >= Duration::from_millis(300));
    raw.peer.rest();
    // A request that will not arrive any more fails at once.
    let mut raw = Raw::connect(running.address(), &[]);
    raw.send(request(1, "POST", "/whole", 0));
    raw.peer.finish();
    let head = raw.response(1).0;
    assert_eq!(head.get(b":status"), Some(&b"500"[..]));
    raw.peer.rest();
}

/// The size of the peer's table changes, streams are reset, and all blocks that follow can be decoded.
#[test]
fn blocks_follow_the_table_of_the_peer_whatever_happens_to_streams() {
    let running = Running::start();
    let mut raw = Raw::connect(running.address(), &[]);
    let mut ids = (0..).map(|number| 2 * number + 1);
    for round in 0..40 {
        let size = [4096, 0, 100, 60, 4096, 1000][round % 6];
        let mut bytes = Vec::new();
        // Shrinks and grows again, before the server has sent a block.
        bytes.extend(settings(&[(HEADER_TABLE_SIZE, size / 2), (HEADER_TABLE_SIZE, size)]));
        let waits = ids.next().unwrap();
        let target = ["/later", "/later-pieces", "/begin-and-wait"][round % 3];
        bytes.extend(get(waits, target));
        let mut last = 0;
        for path in ["/", "/prepared", "/nowhere", "/empty", "/early", "/"] {
            last = ids.next().unwrap();
            bytes.extend(get(last, path));
            if path == "/nowhere" {
                bytes.extend(frame(RST_STREAM, 0, waits, &CANCEL.to_be_bytes()));
            }
        }
        // An upload that waits for `100 Continue` gets a block of its own, and is reset.
        let expects = ids.next().unwrap();
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "h"),
            (":path", "/whole"),
            ("expect", "100-continue"),
        ];
        bytes.extend(frame(HEADERS, END_HEADERS, expects, &block(&fields)));
        bytes.extend(frame(RST_STREAM, 0, expects, &CANCEL.to_be_bytes()));
        raw.send(&bytes);
        // `fields` decodes each block on the way.
        assert_eq!(raw.response(last).1, b"hello world\n");
    }
}

#[test]
fn a_shutdown_takes_two_steps() {
    let mut running = Running::start();
    let mut raw = Raw::connect(running.address(), &[]);
    raw.send(request(1, "POST", "/whole", 0));
    assert_eq!(raw.ask(3, "/").1, b"hello world\n");
    running.shutdown.begin();
    let first = raw.until(GOAWAY);
    assert_eq!((first.number(0), first.number(4)), (0x7fff_ffff, 0));
    let ping = raw.until(PING);
    // It was on its way.
    assert_eq!(raw.ask(5, "/").1, b"hello world\n");
    raw.send(frame(PING, ACK, 0, &ping.payload));
    let second = raw.until(GOAWAY);
    assert_eq!((second.number(0), second.number(4)), (5, 0));
    // This one is not served, and what has begun ends.
    raw.send([get(7, "/"), frame(DATA, END_STREAM, 1, b"in time")].concat());
    assert_eq!(raw.response(1).1, b"in time");
    raw.peer.expect_end();
    running.server.take().unwrap().join();
}

#[test]
fn trailers_go_both_ways_in_both_versions() {
    let running = Running::start();
    let mut raw = Raw::connect(running.address(), &[]);
    raw.send(request(1, "POST", "/trailers", 0));
    raw.send(frame(DATA, 0, 1, b"body"));
    raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x-sum", "7")])));
    let (_, body, trailers) = raw.response(1);
    assert_eq!(body, b"body");
    assert_eq!(trailers.unwrap().get(b"x-sum-of"), Some(&b"7"[..]));
    // The trailers of a large body come after its end, also when it waits for a window.
    raw.send(get(3, "/trailers?large"));
    raw.send(frame(WINDOW_UPDATE, 0, 0, &10_000_000_u32.to_be_bytes()));
    raw.send(frame(WINDOW_UPDATE, 0, 3, &10_000_000_u32.to_be_bytes()));
    let (_, body, trailers) = raw.response(3);
    assert_eq!(body.len(), LARGE_SIZE);
    assert_eq!(trailers.unwrap().get(b"x-sum-of"), Some(&b"none"[..]));
    // After HEAD there is no body, so there are no trailers.
    raw.send(request(5, "HEAD", "/trailers", END_STREAM));
    assert!(raw.response(5).2.is_none());

    let mut peer = running.peer();
    peer.send("POST /trailers HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 7\r\n\r\n");
    assert!(peer.head().1.contains("transfer-encoding: chunked"));
    let expected = "4\r\nbody\r\n0\r\nX-Sum-Of: 7\r\n\r\n";
    assert_eq!(peer.take(expected.len()), expected.as_bytes());
    // Those of one request are not those of the next.
    peer.send("POST /trailers HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert!(peer.head().1.contains("transfer-encoding: chunked"));
    let expected = "0\r\nX-Sum-Of: none\r\n\r\n";
    assert_eq!(peer.take(expected.len()), expected.as_bytes());
}

/// Its index is free for the next stream only when its handler is done with it.
#[test]
fn a_head_request_that_is_answered_slowly_stays_apart_from_the_next_one() {
    let running = Running::start();
    let mut raw = Raw::connect(running.address(), &[]);
    raw.send(request(1, "HEAD", "/later-pieces", 0));
    let head = raw.until(HEADERS);
    assert_eq!(raw.fields(&head).get(b":status"), Some(&b"200"[..]));
    raw.send(frame(DATA, END_STREAM, 1, b"of the first"));
    raw.send([request(3, "POST", "/whole", 0), frame(DATA, END_STREAM, 3, b"of the second")].concat());
    let mut bodies = [Vec::new(), Vec::new()];
    for _ in 0..2 {
        let end = loop {
            let data = raw.until(DATA);
            bodies[usize::from(data.id == 3)].extend_from_slice(&data.payload);
            if data.flags & END_STREAM != 0 {
                break data.id;
            }
        };
        assert!(end == 1 || end == 3);
    }
    assert_eq!(bodies, [b"".to_vec(), b"of the second".to_vec()]);
}

#[test]
fn a_late_stream_that_is_reset_does_not_take_the_handler_of_another() {
    let running = Running::with(ServiceOptions::default().stall_timeout(SHORT));
    let mut raw = Raw::connect(running.address(), &[(INITIAL_WINDOW_SIZE, 0)]);
    raw.send(request(1, "POST", "/whole", 0));
    let head = raw.until(HEADERS);
    assert_eq!(raw.fields(&head).get(b":status"), Some(&b"408"[..]));
    // Its body waits for a window. The next handler takes the slot that became free.
    raw.send([get(3, "/wait"), frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes())].concat());
    raw.send(frame(PING, 0, 0, b"12345678"));
    raw.until(PING);
    assert!(running.dropped.try_recv().is_err(), "the handler of another stream was dropped");
    raw.send(frame(RST_STREAM, 0, 3, &CANCEL.to_be_bytes()));
    running.dropped.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_late_stream_whose_answer_gets_no_window_is_ended() {
    let running = Running::with(ServiceOptions::default().stall_timeout(SHORT));
    let mut raw = Raw::connect(running.address(), &[(INITIAL_WINDOW_SIZE, 0)]);
    raw.send(request(1, "POST", "/whole", 0));
    let head = raw.until(HEADERS);
    assert_eq!(raw.fields(&head).get(b":status"), Some(&b"408"[..]));
    assert_eq!(raw.until(RST_STREAM).number(0), CANCEL);
}

/// Nobody will read such a body.
#[test]
fn a_body_behind_an_answer_without_a_window_takes_nothing_from_the_connection() {
    let running = Running::start();
    let mut raw = Raw::connect(running.address(), &[(INITIAL_WINDOW_SIZE, 0)]);
    // Each fills the window of its stream, and all of them together that of the connection.
    for id in [1, 3, 5, 7] {
        raw.send(request(id, "POST", "/early", 0));
        let head = raw.until(HEADERS);
        assert_eq!((head.id, raw.fields(&head).get(b":status")), (id, Some(&b"403"[..])));
    }
    for id in [1, 3, 5, 7] {
        raw.send(frame(DATA, 0, id, &[b'x'; 16 * 1024]).repeat(16));
    }
    while raw.until(WINDOW_UPDATE).id != 0 {}
}

/// Whether it is that of HEAD cannot be known.
#[test]
fn a_head_that_is_too_large_gets_an_answer_without_a_body() {
    let running = Running::start();
    let mut raw = Raw::connect(running.address(), &[]);
    for (id, method) in [(1, "HEAD"), (3, "GET")] {
        let fields = [(":method", method), (":scheme", "http"), (":authority", "h"), (":path", "/")];
        let fields: Vec<_> = fields.into_iter().chain([("x", "v"); 200]).collect();
        raw.send(frame(HEADERS, END_HEADERS | END_STREAM, id, &block(&fields)));
        let head = raw.until(HEADERS);
        let fields = raw.fields(&head);
        assert_eq!(fields.get(b":status"), Some(&b"431"[..]));
        assert_eq!(fields.get(b"content-length"), Some(&b"0"[..]));
        assert_eq!((head.id, head.flags & END_STREAM), (id, END_STREAM));
    }
}

/// The streams take turns, and one of many waits for long.
#[test]
fn a_stream_that_waits_for_its_turn_has_not_stalled() {
    const STREAMS: usize = 32;
    let running = Running::with(ServiceOptions::default().stall_timeout(Duration::from_millis(1500)));
    let mut raw = Raw::connect(running.address(), &[(INITIAL_WINDOW_SIZE, 100_000_000)]);
    (0..STREAMS as u32).for_each(|number| raw.send(get(2 * number + 1, "/large")));
    // A turn of all takes twice the limit.
    let mut sizes = [0; STREAMS];
    for _ in 0..2 * STREAMS {
        std::thread::sleep(Duration::from_millis(90));
        raw.send(frame(WINDOW_UPDATE, 0, 0, &(16 * 1024_u32).to_be_bytes()));
        let data = loop {
            let frame = raw.frame();
            match frame.kind {
                HEADERS => drop(raw.fields(&frame)),
                DATA => break frame,
                RST_STREAM => panic!("{frame:?} after {sizes:?}"),
                _ => {}
            }
        };
        sizes[data.id as usize / 2] += data.payload.len();
    }
    assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
    // When nothing moves, all of them have.
    (0..STREAMS).for_each(|_| assert_eq!(raw.until(RST_STREAM).number(0), CANCEL));
}
