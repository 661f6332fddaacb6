//! The same bytes mean the same wherever the network cuts them: whole connections, cut once at every place, twice at many, and into
//! single bytes.

use ringtide::proto::h2::{ErrorCode, Options, PREFACE, Role};

use super::fuzz::{run, words};
use super::support::*;

fn check(role: Role, stream: &[u8]) -> Vec<Seen> {
    let options = Options::default().header_list_size_max(2_000);
    let whole = run(role, &options, stream, &[]);
    for first in 0..=stream.len() {
        assert_eq!(run(role, &options, stream, &[first]), whole, "cut at {first}");
        let second = (first + 13).min(stream.len());
        assert_eq!(run(role, &options, stream, &[first, second]), whole, "cut at {first} and {second}");
    }
    assert_eq!(run(role, &options, stream, &(0..stream.len()).collect::<Vec<_>>()), whole);
    whole.0
}

#[test]
fn requests_do_not_depend_on_the_cuts() {
    let stream = [
        PREFACE,
        &settings(&[(3, 100), (4, 1 << 20)])[..],
        &settings_ack(),
        &window_update(0, 1 << 20),
        &headers(1, END_STREAM, GET),
        &headers(3, 0, POST),
        &padded_data(3, 0, b"hello", 4),
        &data(3, 0, b""),
        &frame(
            HEADERS,
            PADDED | WITH_PRIORITY,
            5,
            &[&[2, 0, 0, 0, 0, 9], &block(POST)[..], &[0, 0]].concat(),
        ),
        &frame(CONTINUATION, 0, 5, b""),
        &frame(CONTINUATION, END_HEADERS, 5, &block(&[("a", "b")])),
        &data(3, END_STREAM, b" world"),
        &headers(5, END_STREAM, &[("trailer", "t")]),
        &frame(PING, 0, 0, b"12345678"),
        &headers(7, 0, &[GET, &[("large", &"x".repeat(2_000))]].concat()),
        &headers(9, 0, POST),
        &window_update(9, 0),
        &padded_data(9, END_STREAM, b"late", 0),
        &go_away(0, ErrorCode::NO_ERROR),
        &padded_data(7, END_STREAM, b"", 2),
    ]
    .concat();
    let seen = check(Role::Server, &stream);
    assert_eq!(seen.len(), 13, "{seen:#?}");
    assert!(matches!(seen.last(), Some(Seen::Data { id: 7, ends: true, .. })));
}

#[test]
fn responses_do_not_depend_on_the_cuts() {
    let stream = [
        &settings(&[(3, 100)])[..],
        &headers(1, 0, &[(":status", "103"), ("link", "x")]),
        &headers(1, 0, OK),
        &headers(3, 0, &[(":status", "200"), ("content-length", "5")]),
        &data(1, 0, b"hello"),
        &padded_data(3, 0, b"abc", 7),
        &settings_ack(),
        &data(9, 0, b"reset before"),
        &data(3, END_STREAM, b"de"),
        &data(1, END_STREAM, b""),
        &headers(5, END_STREAM, &[(":status", "404"), ("content-length", "5")]),
        &data(7, 0, b"no head"),
        &rst_stream(9, ErrorCode::CANCEL),
        &go_away(1, ErrorCode::NO_ERROR),
        &data(1, 0, b"closed"),
    ]
    .concat();
    let seen = check(Role::Client, &stream);
    assert_eq!(seen.len(), 12, "{seen:#?}");
    assert!(matches!(seen.last(), Some(Seen::Failed(_))));
}

#[test]
fn each_frame_behind_a_beginning_does_not_depend_on_the_cuts() {
    let options = Options::default();
    for role in [Role::Server, Role::Client] {
        let begin = if role == Role::Server { PREFACE.to_vec() } else { Vec::new() };
        let begin =
            [&begin[..], &settings(&[]), &headers(3, 0, if role == Role::Server { POST } else { OK })]
                .concat();
        for word in words(role) {
            let stream = [&begin[..], &word].concat();
            let whole = run(role, &options, &stream, &[]);
            for cut in begin.len()..stream.len() {
                assert_eq!(run(role, &options, &stream, &[cut]), whole);
            }
        }
    }
}
