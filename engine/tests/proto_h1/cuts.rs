//! The same bytes give the same events, wherever the network cuts them.

use ringtide::proto::h1::{Limits, RequestKind};

use crate::support::{Event, Side, assert_same, events};

use RequestKind::{Connect, Head, Other, Upgrade};

/// Streams up to this length are also cut at each pair of positions.
const PAIRS_LENGTH_MAX: usize = 120;

/// Limits that some of the streams below exceed.
const TIGHT: Limits = Limits {
    head_size_max: 60,
    trailer_size_max: 20,
    header_count_max: 2,
    informational_count_max: 1,
    target_size_max: 12,
    chunk_extension_size_max: 6,
};

/// Each stream, with the kinds of its requests and the number of its complete messages.
const RESPONSES: &[(&[RequestKind], &[u8], usize)] = &[
    (&[Other], b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n", 1),
    (&[Other], b"HTTP/1.1 200 OK\nContent-Length: 2\n\nab", 1),
    (
        &[Other, Head, Other, Other],
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\
          HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304\r\nETag: \"x\"\r\n\r\n",
        4,
    ),
    (&[Other], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 1),
    (
        &[Other, Other],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n00A;c=\"d e\"\r\n0123456789\r\n\
          0;last\r\nDigest: abc\r\nX-Empty:\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        2,
    ),
    (&[Other], b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end\r\n\r\n", 1),
    (&[Other], b"HTTP/1.0 200 OK\r\n\r\nold", 1),
    (
        &[Other, Other],
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 204 \r\n\r\n",
        2,
    ),
    (
        &[Other],
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        1,
    ),
    (
        &[Upgrade],
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n\x81\x05hello",
        0,
    ),
    (&[Connect], b"HTTP/1.1 200 Connection established\r\n\r\n\x16\x03\x01", 0),
    (&[Connect], b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno", 1),
    // Later versions, folded lines, white space around a chunk extension.
    (&[Other], b"HTTP/1.9 200 OK\r\nContent-Length: 2\r\n\r\nab", 1),
    (&[Other], b"HTTP/1.1 200 OK\r\nA: b\r\n\t c\r\n \r\nContent-Length:\r\n 2\r\n\r\n\r\n ", 1),
    (&[Other], b"HTTP/1.2 200 OK\nA: b\n c\nConnection:\n close\n\nab\r\n c", 1),
    (
        &[Other],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 \t;a = b\r\nx\r\n0 ;c\r\nA: b\r\n c\r\n\r\n",
        1,
    ),
    // Bytes without a request.
    (&[Other], b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", 1),
    (&[Head], b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", 1),
    // Incomplete.
    (&[Other], b"", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nContent-Le", 0),
    (&[Other], b"HTTP/1.1 100 Continue\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n", 0),
    // Invalid.
    (&[Other], b"SSH-2.0-OpenSSH_9.2\r\n", 0),
    (&[Other], b"\r\nHTTP/1.1 200 OK\r\n\r\n", 0),
    (&[Other], b"HTTP/2.0 200 OK\r\n\r\n", 0),
    (&[Other], b"HTTP/1.x 200 OK\r\n\r\n", 0),
    (&[Other], b"HTTP/1.12 200 OK\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 099 OK\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 2000\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200 O\x01K\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200\rOK\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\n folded\r\nA: b\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\nC\r\n d\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nD: e\r\n f\r\nG: h\r\n\r\n", 1),
    (&[Other], b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\n\rA: b\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 1\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n A: b\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n", 0),
    (&[Other], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA b\r\n\r\n", 0),
    (&[Other], b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 0),
];

const REQUESTS: &[(&[u8], usize)] = &[
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
    (b"GET / HTTP/1.7\r\nHost: a \t\r\nA:\r\n\r\n", 1),
    (b"GET http://a?b HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 1),
    (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n", 2),
    (
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc\
          PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nde\r\n0\r\nA: b\r\n\r\n\
          GET /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        3,
    ),
    (b"GET / HTTP/1.0\r\n\r\n", 1),
    (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\nmore", 2),
    (b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", 1),
    (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 1),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 1),
    // Incomplete.
    (b"", 0),
    (b"\r\n\r", 0),
    (b"GET / HTTP/1.1\r\nHo", 0),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", 0),
    // Invalid.
    (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 0),
    (b"GET / HTTP/1.1\r\nHost: a\nA: b\r\n\r\n", 0),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 0),
    (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    (b"GET / HTTP/1.5\r\nHost: a\nA b\r\n\r\n", 0),
    (b"GET / HTTP/1.1\r\nA: b\r\nC: d\nE: f\n\r\n", 0),
    (b"GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    (b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    (b"GET /0123456789ab HTTP/1.1\nHost: a\r\n\r\n", 0),
    (b"GET /01234567\0 HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    (b"G\xe4T / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    (b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    (b"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    (b"GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    (b"CONNECT a:0 HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    (b"GET / HTTP/1.1\r\nHost: x:abc\r\n\r\n", 0),
    (b"GET / HTTP/1.1\r\nHost: a\r\nB: c\r\nD: e\r\nF: g\r\n", 0),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 ;a\nb\r\n0\r\n\r\n", 0),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n c\r\n\r\n", 0),
    (b"GET / HTTP/1.1\r\n\r\n", 0),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 0),
    (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 0),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0),
    (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    (b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    (b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", 0),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0),
];

/// Cuts `stream` in every way to be tested, under both limits. Repeats this with an empty line at the end, which
/// reveals every fault of an incomplete last head.
fn check(side: Side<'_>, stream: &[u8]) {
    let terminated = [stream, b"\r\n\r\n"].concat();
    for stream in [stream, &terminated] {
        for limits in [Limits::default(), TIGHT] {
            let whole = events(side, limits, stream, []);
            assert_same(side, limits, stream, &whole, &(1..stream.len()).collect::<Vec<_>>());
            for first in 0..=stream.len() {
                assert_same(side, limits, stream, &whole, &[first]);
                if stream.len() <= PAIRS_LENGTH_MAX {
                    for second in first..=stream.len() {
                        assert_same(side, limits, stream, &whole, &[first, second]);
                    }
                }
            }
        }
    }
}

/// A byte that is not allowed at its place is refused as soon as it arrives.
#[test]
fn a_bad_head_is_refused_at_its_bad_byte() {
    let responses: &[&[u8]] = &[
        b"HTTP/2",
        b"HTTP/1.x",
        b"HTTP/1.1 099",
        b"HTTP/1.1 20x",
        b"HTTP/1.1 200 O\0",
        b"HTTP/1.1 200\rO",
        b"HTTP/1.1 200 OK\r\n ",
        b"HTTP/1.1 200 OK\r\nA ",
        b"HTTP/1.1 200 OK\r\nA: b\0",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\rx",
        b"HTTP/1.1 200 OK\r\nA: b\r\n:",
    ];
    let requests: &[&[u8]] = &[
        b"GE(",
        b"GET /\x7f",
        b"GET x HTTP/1.1",
        b"GET http:/// HTTP/1.3",
        b"GET /\xff ",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/2",
        b"GET / HTTP/1.1\r\n ",
        b"GET / HTTP/1.1\r\nA: b\n",
        b"GET / HTTP/1.1\r\nA: b\r\n\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c",
    ];
    let sides = [(Side::Client(&[Other]), responses), (Side::Server, requests)];
    for (side, stream) in sides.iter().flat_map(|(side, streams)| streams.iter().map(move |s| (*side, *s))) {
        // The first byte of the fold in the last request is already invalid.
        let bad = stream.len() - usize::from(stream.ends_with(b" c"));
        for size in [bad - 1, bad] {
            let pieces = events(side, Limits::default(), &stream[..size], 1..size);
            let failed = matches!(pieces.last(), Some(Event::Failed(_)));
            assert_eq!(failed, size == bad, "{}: {pieces:?}", stream[..size].escape_ascii());
        }
    }
}

fn ends(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::End { .. })).count()
}

#[test]
fn responses_do_not_depend_on_the_cuts() {
    for &(requests, stream, messages) in RESPONSES {
        let side = Side::Client(requests);
        let whole = events(side, Limits::default(), stream, []);
        assert_eq!(ends(&whole), messages, "{}: {whole:#?}", stream.escape_ascii());
        check(side, stream);
    }
}

#[test]
fn requests_do_not_depend_on_the_cuts() {
    for &(stream, messages) in REQUESTS {
        let whole = events(Side::Server, Limits::default(), stream, []);
        assert_eq!(ends(&whole), messages, "{}: {whole:#?}", stream.escape_ascii());
        check(Side::Server, stream);
    }
}
