//! Fuzz tests: arbitrary bytes, and arbitrary frames.
//!
//! `cargo test` replays the corpus beside this file and tries some generated inputs. `cargo bolero test` runs with a
//! fuzzing engine, without end. The properties are: no panic, no endless loop, no more bytes kept than a frame has (`support`
//! checks these), the same events and the same output wherever the bytes are cut, an output in proportion to the
//! input, and a connection that has failed names its error.
//!
//! The first byte of an input says what the others are. 0: what a peer sends behind its preface and SETTINGS. 1: all that it
//! sends. Otherwise each byte stands for one of `words`, because random bytes alone are rarely frames.

use std::path::Path;

use bolero::check;
use ringtide::proto::h2::{ErrorCode, Options, PREFACE, Role};

use super::support::*;

const INPUT_SIZE_MAX: usize = 256;
const ITERATIONS: usize = 1_000;

#[test]
fn server() {
    check!().with_max_len(INPUT_SIZE_MAX).with_iterations(ITERATIONS).for_each(server_holds);
}

#[test]
fn client() {
    check!().with_max_len(INPUT_SIZE_MAX).with_iterations(ITERATIONS).for_each(client_holds);
}

/// This test is necessary because bolero does not report a missing corpus.
#[test]
fn the_corpus_is_there_and_holds() {
    for target in ["server", "client"] {
        let property = if target == "server" { server_holds } else { client_holds };
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/h2_codec/__fuzz__")
            .join(format!("fuzz__{target}"))
            .join("corpus");
        let files =
            std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let count = files.map(|file| property(&std::fs::read(file.unwrap().path()).unwrap())).count();
        assert!(count >= 8, "{count} files in {}", directory.display());
    }
}

fn server_holds(input: &[u8]) {
    holds(Role::Server, input);
}

fn client_holds(input: &[u8]) {
    holds(Role::Client, input);
}

fn holds(role: Role, input: &[u8]) {
    let begin = if role == Role::Server { [&PREFACE[..], &settings(&[])].concat() } else { settings(&[]) };
    let (form, rest) = input.split_first().unwrap_or((&1, b""));
    let stream = match form {
        0 => [&begin, rest].concat(),
        1 => rest.to_vec(),
        _ => {
            let words = words(role);
            let frames = rest.iter().flat_map(|&byte| &words[usize::from(byte) % words.len()]);
            begin.iter().chain(frames).copied().collect()
        }
    };
    let mut some_cuts: Vec<usize> = rest.iter().map(|&byte| usize::from(byte) * stream.len() / 256).collect();
    some_cuts.sort_unstable();
    let tight = Options::default()
        .stream_window(20)
        .streams_max(2)
        .header_list_size_max(250)
        .fields_max(6)
        .header_table_size(64);
    for options in [Options::default(), tight] {
        let whole = run(role, &options, &stream, &[]);
        assert_eq!(run(role, &options, &stream, &some_cuts), whole);
        assert_eq!(run(role, &options, &stream, &(1..stream.len()).collect::<Vec<_>>()), whole);
    }
}

/// Returns the events, the output, and whether the stream may end at its end.
pub(crate) fn run(
    role: Role,
    options: &Options,
    stream: &[u8],
    cuts: &[usize],
) -> (Vec<Seen>, Vec<Frame>, bool) {
    let mut tested = Tested::new(role, options);
    // When windows are returned depends on the cuts.
    tested.releases = false;
    if role == Role::Client {
        let head = [&[(":method", "HEAD")], &GET[1..]].concat();
        for (fields, ends) in [(GET, true), (POST, false), (&head, true), (GET, true), (GET, true)] {
            tested.open(fields, ends);
        }
        tested.reset(9);
    }
    let begin = tested.said().len();
    let mut seen = Vec::new();
    let mut start = 0;
    for &end in cuts.iter().chain([&stream.len()]) {
        tested.feed_into(&stream[start..end], &mut seen);
        start = end;
    }
    let said = tested.said();
    // A frame has 9 bytes at least and is answered by one at most; the last one may end the connection.
    assert!(said.len() <= stream.len() / 9 + 2 + begin, "{} bytes led to {said:?}", stream.len());
    if let Some(Seen::Failed(error)) = seen.last() {
        let last = said.last().unwrap();
        assert_eq!((last.kind, &last.payload[4..8]), (GOAWAY, &error.code().0.to_be_bytes()[..]));
    }
    let ends_well = tested.end().is_ok();
    (seen, said, ends_well)
}

/// Frames that make a connection go on, and some that do not.
pub(crate) fn words(role: Role) -> Vec<Vec<u8>> {
    let insert = [&block(GET)[..], &[0x40, 1, b'n', 1, b'v']].concat();
    let indexed = [&block(GET)[..], &[0xbe]].concat();
    let mut words = vec![
        settings(&[]),
        settings_ack(),
        settings(&[(4, 0)]),
        settings(&[(4, (1 << 31) - 1), (5, 1 << 20)]),
        settings(&[(1, 0), (3, 1)]),
        settings(&[(4, 1 << 31)]),
        frame(PING, 0, 0, b"12345678"),
        frame(PING, ACK, 0, b"12345678"),
        go_away(0, ErrorCode::NO_ERROR),
        go_away(3, ErrorCode::INTERNAL_ERROR),
        window_update(0, 1),
        window_update(0, (1 << 31) - 1),
        window_update(0, 0),
        frame(0xfa, 0, 0, b"grease"),
        frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 16]),
        frame(PRIORITY, 0, 3, &[]),
        data(0, 0, b""),
    ];
    for id in [1, 3, 5, 7, 9, 11] {
        words.extend([
            headers(id, 0, POST),
            headers(id, END_STREAM, GET),
            headers(id, 0, OK),
            headers(id, END_STREAM, OK),
            headers(id, 0, &[(":status", "103")]),
            headers(id, END_STREAM, &[("trailer", "t")]),
            headers(
                id,
                0,
                &[if role == Role::Server { POST } else { OK }, &[("content-length", "8")]].concat(),
            ),
            headers(id, 0, &[GET, &[("a", "b"), ("c", "d"), ("e", "f")]].concat()),
            frame(HEADERS, END_HEADERS | END_STREAM, id, &insert),
            frame(HEADERS, END_HEADERS | END_STREAM, id, &indexed),
            frame(HEADERS, 0, id, &block(OK)),
            frame(CONTINUATION, 0, id, b""),
            frame(CONTINUATION, END_HEADERS, id, &block(&[("a", "b")])),
            frame(HEADERS, END_HEADERS, id, &[0x3f, 0xe1, 0x1f, 0x88]),
            data(id, 0, b"1234"),
            data(id, END_STREAM, b"5678"),
            data(id, END_STREAM, b""),
            padded_data(id, 0, b"1234", 3),
            padded_data(id, END_STREAM, b"", 3),
            data(id, 0, b""),
            rst_stream(id, ErrorCode::CANCEL),
            window_update(id, 100),
            window_update(id, (1 << 31) - 1),
        ]);
    }
    words
}
