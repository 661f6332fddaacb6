//! The HTTP/1.1 codec alone: nanoseconds per message, in memory, with warm caches.
//!
//! | group | what is measured | compared with |
//! |---|---|---|
//! | `response` | a 136-byte head and a 12-byte body, from `begin` to `End`: each head new, or each like the last | httparse on the same head |
//! | `chunked response` | a head and eight chunks of 128 bytes, from `begin` to `End` | httparse on the same head and on each chunk size |
//! | `request` | a server's decoding of a request with five fields, from `Head` to `End` | httparse on the same head |
//! | `encode` | the heads of the first group's response and of the request, into a vector with enough room | a copy of the encoded bytes |
//!
//! How to read the figures: the codec uses httparse for its heads, except for the head of a response that equals the
//! last one. For new heads, the difference between the two is the cost of framing by RFC 9112 (which fields determine
//! the body), of the limits, and of finding the boundary between two messages. httparse alone does none of this, and its
//! chunk loop here trusts the chunk sizes. The copy is the minimum for encoding, and is what a prepared request costs.
//! These figures are not those of a connection, where the kernel's share is much larger; see `round_trip`.

use std::hint::black_box;
use std::mem::MaybeUninit;

use criterion::{Criterion, Throughput};
use http::StatusCode;
use ringtide::proto::h1::{
    BodyLength, ClientCodec, Limits, RequestEvent, RequestKind, ResponseEvent, ServerCodec, Version,
    encode_request_head, encode_response_head,
};

/// A small response as a common server sends it.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: example/1.26\r\n\
    Date: Tue, 01 Jul 2025 12:00:00 GMT\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 12\r\n\
    ETag: \"a1\"\r\n\
    \r\n\
    hello world\n";

const RESPONSE_HEAD_SIZE: usize = 136;
const RESPONSE_BODY_SIZE: usize = 12;
const _: () = assert!(RESPONSE.len() == RESPONSE_HEAD_SIZE + RESPONSE_BODY_SIZE);

/// The same fields for the encoder, without those that frame the message.
const RESPONSE_FIELDS: [(&str, &str); 4] = [
    ("Server", "example/1.26"),
    ("Date", "Tue, 01 Jul 2025 12:00:00 GMT"),
    ("Content-Type", "text/plain"),
    ("ETag", "\"a1\""),
];

const CHUNKED_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
const CHUNK_SIZE: usize = 128;
const CHUNKS: usize = 8;

const REQUEST: &[u8] = b"GET /search?q=tide&page=2 HTTP/1.1\r\n\
    Host: 127.0.0.1:8080\r\n\
    User-Agent: example/1.0\r\n\
    Accept: */*\r\n\
    Accept-Encoding: gzip, br\r\n\
    Accept-Language: en\r\n\
    \r\n";

const REQUEST_FIELDS: [(&str, &str); 5] = [
    ("Host", "127.0.0.1:8080"),
    ("User-Agent", "example/1.0"),
    ("Accept", "*/*"),
    ("Accept-Encoding", "gzip, br"),
    ("Accept-Language", "en"),
];

/// Field slots for httparse. No message here has more fields.
const FIELDS_MAX: usize = 16;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    response(&mut criterion);
    chunked_response(&mut criterion);
    request(&mut criterion);
    encode(&mut criterion);
    criterion.final_summary();
}

fn response(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("response");
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    let mut codec = ClientCodec::new(Limits::default());
    let mut response = RESPONSE.to_vec();
    assert_eq!(decode_response(&mut codec, &mut response), RESPONSE_BODY_SIZE);
    group.bench_function("ringtide", |bencher| {
        bencher.iter(|| {
            renew(&mut response);
            decode_response(&mut codec, black_box(&mut response))
        });
    });
    group.bench_function("ringtide, the head like the last", |bencher| {
        bencher.iter(|| decode_response(&mut codec, black_box(&mut response)));
    });
    assert_eq!(parse_response_head(RESPONSE), RESPONSE_HEAD_SIZE);
    group.bench_function("httparse, the head", |bencher| {
        bencher.iter(|| parse_response_head(black_box(RESPONSE)));
    });
    group.finish();
}

fn chunked_response(criterion: &mut Criterion) {
    let mut message = chunked_message();
    let mut group = criterion.benchmark_group("chunked response");
    group.throughput(Throughput::Bytes(message.len() as u64));
    let mut codec = ClientCodec::new(Limits::default());
    assert_eq!(decode_response(&mut codec, &mut message), CHUNK_SIZE * CHUNKS);
    group.bench_function("ringtide", |bencher| {
        bencher.iter(|| {
            renew(&mut message);
            decode_response(&mut codec, black_box(&mut message))
        });
    });
    assert_eq!(walk_chunks(&message), CHUNK_SIZE * CHUNKS);
    group.bench_function("httparse, the head and the chunk sizes", |bencher| {
        bencher.iter(|| walk_chunks(black_box(&message)));
    });
    group.finish();
}

fn request(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    let mut codec = ServerCodec::new(Limits::default());
    assert_eq!(decode_request(&mut codec, REQUEST), REQUEST.len());
    group.bench_function("ringtide", |bencher| {
        bencher.iter(|| decode_request(&mut codec, black_box(REQUEST)));
    });
    assert_eq!(parse_request_head(REQUEST), REQUEST.len());
    group.bench_function("httparse, the head", |bencher| {
        bencher.iter(|| parse_request_head(black_box(REQUEST)));
    });
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let mut out = Vec::with_capacity(1024);
    group.bench_function("ringtide, a response head", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode_response_head(
                &mut out,
                black_box(StatusCode::OK),
                Version::Http11,
                black_box(RESPONSE_FIELDS),
                BodyLength::Length(RESPONSE_BODY_SIZE as u64),
            )
            .expect("the head is sound");
            black_box(out.len())
        });
    });
    assert_eq!(out.len(), RESPONSE_HEAD_SIZE);
    group.bench_function("ringtide, a request head", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode_request_head(
                &mut out,
                black_box("GET"),
                black_box("/search?q=tide&page=2"),
                Version::Http11,
                black_box(REQUEST_FIELDS),
                BodyLength::None,
            )
            .expect("the head is sound");
            black_box(out.len())
        });
    });
    assert_eq!(out, REQUEST);
    group.bench_function("a copy of the response head", |bencher| {
        bencher.iter(|| {
            out.clear();
            out.extend_from_slice(black_box(&RESPONSE[..RESPONSE_HEAD_SIZE]));
            black_box(out.len())
        });
    });
    group.finish();
}

fn chunked_message() -> Vec<u8> {
    let mut message = CHUNKED_HEAD.to_vec();
    for _ in 0..CHUNKS {
        message.extend_from_slice(format!("{CHUNK_SIZE:x}\r\n").as_bytes());
        message.resize(message.len() + CHUNK_SIZE, b'x');
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"0\r\n\r\n");
    message
}

/// Makes the head of `response` differ from the last one, which the codec remembers: changes the reason phrase.
fn renew(response: &mut [u8]) {
    let last_of_reason = b"HTTP/1.1 200 O".len();
    response[last_of_reason] ^= b'K' ^ b'L';
}

/// Decodes a whole response as a connection does. Returns the size of its body.
fn decode_response(codec: &mut ClientCodec, input: &mut [u8]) -> usize {
    let (mut position, mut body_size) = (0, 0);
    codec.begin(RequestKind::Other);
    loop {
        let (consumed, event) = codec.decode(&mut input[position..]).expect("the response is sound");
        position += consumed;
        match event {
            ResponseEvent::Data(data) => body_size += black_box(data).len(),
            ResponseEvent::End { .. } => return body_size,
            ResponseEvent::NeedMore => unreachable!("the response is whole"),
            event => {
                black_box(event);
            }
        }
    }
}

/// Decodes a whole request. Returns its size.
fn decode_request(codec: &mut ServerCodec, input: &[u8]) -> usize {
    let mut position = 0;
    loop {
        let (consumed, event) = codec.decode(&input[position..]).expect("the request is sound");
        position += consumed;
        match event {
            RequestEvent::End { .. } => return position,
            RequestEvent::NeedMore => unreachable!("the request is whole"),
            event => {
                black_box(event);
            }
        }
    }
}

/// Parses a response head. Returns its size.
fn parse_response_head(input: &[u8]) -> usize {
    let mut fields = [MaybeUninit::uninit(); FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, input, &mut fields)
        .expect("the head is sound");
    black_box(&response);
    status.unwrap()
}

/// Parses a request head. Returns its size.
fn parse_request_head(input: &[u8]) -> usize {
    let mut fields = [MaybeUninit::uninit(); FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let status = request.parse_with_uninit_headers(input, &mut fields).expect("the head is sound");
    black_box(&request);
    status.unwrap()
}

/// Parses a head and all chunk sizes. Returns the size of the body.
fn walk_chunks(input: &[u8]) -> usize {
    let mut position = parse_response_head(input);
    let mut body_size = 0;
    loop {
        let parsed = httparse::parse_chunk_size(&input[position..]).expect("the chunk sizes are sound");
        let (line_size, chunk_size) = parsed.unwrap();
        position += line_size;
        if chunk_size == 0 {
            return body_size;
        }
        let chunk_end = position + chunk_size as usize;
        body_size += black_box(&input[position..chunk_end]).len();
        position = chunk_end + b"\r\n".len();
    }
}
