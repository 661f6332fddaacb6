//! Fuzz tests: arbitrary bytes, and messages that the encoder wrote.
//!
//! `cargo test` replays the corpus beside this file and tries some generated inputs. `cargo bolero test` runs with a
//! fuzzing engine, without end. The properties are: no panic, no endless loop, no more bytes consumed than there are,
//! no more bytes to keep than the limits allow (`support` checks these), and the same events wherever the bytes are
//! cut.
//!
//! An input that begins with an ASCII byte is the stream itself, so a corpus can be read and written by hand. In any
//! other input each byte stands for one of [`WORDS`], because random bytes alone would rarely get past a start line.

use std::path::Path;

use bolero::{TypeGenerator, check};
use ringtide::proto::h1::{
    BodyLength, CHUNK_END, ChunkHeader, Limits, RequestKind, Version, encode_last_chunk, encode_request_head,
    encode_response_head,
};

use crate::support::{Event, Pairs, Side, assert_same, events};

const WORDS: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    b"POST /a HTTP/1.1\r\nHost: a\r\n",
    b"PUT /b HTTP/1.0\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Name: value\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"hello",
    b"5\r\nhello\r\n",
    b"a;ext=1\r\n0123456789\r\n",
    b"0\r\n",
    b"0\r\n\r\n",
    b"\n",
    b"\r",
    b" ",
    b":",
    b"f",
    b"\0",
    b"HTTP/1.7 200 OK\r\n",
    b"GET http://a/ HTTP/1.3\r\nHost: a\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n",
    b"Host: [::1]:80\r\n",
    b"Name: folded\r\n line\r\n",
    b"Bare: LF\n",
    b"5 ;a=b\r\nhello\r\n",
    b"\r\n ",
];

/// Small enough that generated messages exceed them.
const TIGHT: Limits = Limits {
    head_size_max: 80,
    trailer_size_max: 24,
    header_count_max: 3,
    informational_count_max: 2,
    target_size_max: 8,
    chunk_extension_size_max: 8,
};

const INPUT_SIZE_MAX: usize = 256;
const ITERATIONS: usize = 2_000;

#[test]
fn responses() {
    check!().with_max_len(INPUT_SIZE_MAX).with_iterations(ITERATIONS).for_each(responses_hold);
}

#[test]
fn requests() {
    check!().with_max_len(INPUT_SIZE_MAX).with_iterations(ITERATIONS).for_each(requests_hold);
}

/// This test is necessary because bolero does not report a missing corpus.
#[test]
fn the_corpus_is_there_and_holds() {
    for target in ["responses", "requests"] {
        let property = if target == "responses" { responses_hold } else { requests_hold };
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/proto_h1/__fuzz__")
            .join(format!("fuzz__{target}"))
            .join("corpus");
        let files =
            std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let count = files.map(|file| property(&std::fs::read(file.unwrap().path()).unwrap())).count();
        assert!(count >= 8, "{count} files in {}", directory.display());
    }
}

fn responses_hold(input: &[u8]) {
    for first in [RequestKind::Other, RequestKind::Head, RequestKind::Connect, RequestKind::Upgrade] {
        let requests = [first, RequestKind::Other, RequestKind::Head, RequestKind::Other];
        holds(Side::Client(&requests), input);
    }
}

fn requests_hold(input: &[u8]) {
    holds(Side::Server, input);
}

fn holds(side: Side<'_>, input: &[u8]) {
    let mut stream = if input.first().is_none_or(u8::is_ascii) {
        input.to_vec()
    } else {
        input.iter().flat_map(|&byte| WORDS[byte as usize % WORDS.len()]).copied().collect()
    };
    let mut some_cuts: Vec<usize> =
        input.iter().take(8).map(|&byte| byte as usize * stream.len() / 256).collect();
    some_cuts.sort_unstable();
    // Once unchanged, and once with an end appended to an incomplete head, which reveals its faults.
    for _ in 0..2 {
        let all_cuts: Vec<usize> = (1..stream.len()).collect();
        for limits in [Limits::default(), TIGHT] {
            let whole = events(side, limits, &stream, []);
            assert_same(side, limits, &stream, &whole, &all_cuts);
            assert_same(side, limits, &stream, &whole, &some_cuts);
        }
        stream.extend_from_slice(b"\r\n\r\n");
    }
}

/// The raw material of a message.
#[derive(Clone, Debug, TypeGenerator)]
struct Draft {
    /// Whether names and values are used unchanged; otherwise they are made valid.
    raw: bool,
    method: u8,
    target: Vec<u8>,
    status: u16,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    framing: Framing,
    body: Vec<Vec<u8>>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    cuts: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TypeGenerator)]
enum Framing {
    Length,
    Chunked,
    None,
}

#[test]
fn an_encoded_request_is_decoded_as_it_was_meant() {
    check!().with_type::<Draft>().with_iterations(ITERATIONS).for_each(|draft| {
        let method = ["GET", "POST", "M-SEARCH", "x"][draft.method as usize % 4];
        let target = [b"/".to_vec(), visible(&draft.target)].concat();
        let mut fields = vec![(b"Host".to_vec(), b"a".to_vec())];
        fields.extend(pairs(draft.raw, &draft.fields));
        let mut out = Vec::new();
        let body = body_length(draft);
        let given = fields.iter().map(|(name, value)| (name, value));
        let head = encode_request_head(&mut out, method, &target, Version::Http11, given, body);
        let Some((expected, stream)) = message(draft, fields, out, head.is_ok(), body) else { return };
        let request = |fields| Event::Request {
            method: method.into(),
            target: target.clone(),
            version: Version::Http11,
            flags: [false; 2],
            fields,
            body,
        };
        check_round_trip(Side::Server, draft, &stream, expected, request);
    });
}

#[test]
fn an_encoded_response_is_decoded_as_it_was_meant() {
    check!().with_type::<Draft>().with_iterations(ITERATIONS).for_each(|draft| {
        let status = http::StatusCode::from_u16(200 + draft.status % 400).unwrap();
        if matches!(status.as_u16(), 204 | 304) || draft.framing == Framing::None {
            return;
        }
        let fields = pairs(draft.raw, &draft.fields);
        let mut out = Vec::new();
        let body = body_length(draft);
        let given = fields.iter().map(|(name, value)| (name, value));
        let head = encode_response_head(&mut out, status, Version::Http11, given, body);
        let Some((expected, stream)) = message(draft, fields, out, head.is_ok(), body) else { return };
        let response = |fields| Event::Response {
            status: status.as_u16(),
            version: Version::Http11,
            reason: status.canonical_reason().unwrap_or_default().into(),
            fields,
            body,
        };
        check_round_trip(Side::Client(&[RequestKind::Other]), draft, &stream, expected, response);
    });
}

/// What the decoder should return.
struct Expected {
    fields: Pairs,
    data: Vec<u8>,
    trailers: Pairs,
}

/// Appends the body of `draft` to the head in `out`. Returns `None` if the encoder refused the head or the trailers,
/// which it must do exactly when they are invalid.
fn message(
    draft: &Draft,
    mut fields: Pairs,
    mut out: Vec<u8>,
    head_taken: bool,
    body: BodyLength,
) -> Option<(Expected, Vec<u8>)> {
    assert_eq!(head_taken, all_valid(&fields), "{fields:?}");
    if !head_taken {
        assert!(out.is_empty(), "a refused head leaves nothing behind");
        return None;
    }
    let mut data = Vec::new();
    let mut trailers = Vec::new();
    match body {
        BodyLength::Length(size) => {
            data = draft.body.concat();
            out.extend_from_slice(&data);
            fields.push((b"Content-Length".to_vec(), size.to_string().into_bytes()));
        }
        BodyLength::Chunked => {
            for piece in &draft.body {
                let Ok(size) = (piece.len() as u64).try_into() else { continue };
                out.extend_from_slice(&ChunkHeader::new(size));
                out.extend_from_slice(piece);
                out.extend_from_slice(CHUNK_END);
                data.extend_from_slice(piece);
            }
            trailers = pairs(draft.raw, &draft.trailers);
            let before = out.len();
            let given = trailers.iter().map(|(name, value)| (name, value));
            let taken = encode_last_chunk(&mut out, given).is_ok();
            assert_eq!(taken, all_valid(&trailers), "{trailers:?}");
            if !taken {
                assert_eq!(out.len(), before, "refused trailers leave nothing behind");
                return None;
            }
            fields.push((b"Transfer-Encoding".to_vec(), b"chunked".to_vec()));
        }
        BodyLength::None | BodyLength::UntilClose => {}
    }
    Some((Expected { fields: trimmed(fields), data, trailers: trimmed(trailers) }, out))
}

fn check_round_trip(
    side: Side<'_>,
    draft: &Draft,
    stream: &[u8],
    expected: Expected,
    head: impl FnOnce(Pairs) -> Event,
) {
    let mut all = vec![head(expected.fields)];
    all.extend(Some(expected.data).filter(|data| !data.is_empty()).map(Event::Data));
    all.extend(Some(expected.trailers).filter(|trailers| !trailers.is_empty()).map(Event::Trailers));
    all.push(Event::End { reusable: true });
    all.push(Event::EndOfStream(Ok(())));
    let mut cuts: Vec<usize> = draft.cuts.iter().map(|&cut| cut as usize * stream.len() / 65_536).collect();
    cuts.sort_unstable();
    assert_eq!(events(side, Limits::default(), stream, []), all);
    assert_eq!(events(side, Limits::default(), stream, cuts), all);
}

fn body_length(draft: &Draft) -> BodyLength {
    match draft.framing {
        Framing::Length => BodyLength::Length(draft.body.iter().map(|piece| piece.len() as u64).sum()),
        Framing::Chunked => BodyLength::Chunked,
        Framing::None => BodyLength::None,
    }
}

/// Returns the fields, unchanged or made valid.
fn pairs(raw: bool, fields: &[(Vec<u8>, Vec<u8>)]) -> Pairs {
    if raw {
        return fields.to_vec();
    }
    let name = |name: &[u8]| [b"X-".to_vec(), name.iter().map(|byte| b'a' + byte % 26).collect()].concat();
    // Includes white space, also at both ends, and non-ASCII bytes.
    let value = |value: &[u8]| value.iter().map(|&byte| if is_value(byte) { byte } else { b' ' }).collect();
    fields.iter().map(|(field, text)| (name(field), value(text))).collect()
}

fn visible(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| b'!' + byte % 94).collect()
}

fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Returns whether the fields are valid by RFC 9110 §5. Written independently of the encoder's check.
fn all_valid(fields: &Pairs) -> bool {
    fields.iter().all(|(name, value)| {
        http::HeaderName::from_bytes(name)
            .is_ok_and(|lower| lower.as_str().eq_ignore_ascii_case(&String::from_utf8_lossy(name)))
            && http::HeaderValue::from_bytes(value).is_ok()
    })
}

/// RFC 9110 §5.5: white space around a value is not part of it.
fn trimmed(fields: Pairs) -> Pairs {
    let is_space = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let trim = |value: Vec<u8>| {
        let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
        let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
        value[start..end].to_vec()
    };
    fields.into_iter().map(|(name, value)| (name, trim(value))).collect()
}
