//! Heads and bodies that disagree, and header blocks that repeat.

use ringtide::proto::h2::{ErrorCode, HeadError, MethodKind, Options, ResetCause, Role, StreamFault};

use super::support::*;

fn fault(seen: &[Seen]) -> Option<&StreamFault> {
    match seen {
        [.., Seen::Reset { reset, .. }] => match &reset.cause {
            ResetCause::Fault(fault) => Some(fault),
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn malformed_requests_are_refused() {
    let with = |more: &[(&'static str, &'static str)]| [GET, more].concat();
    for fields in [
        vec![],
        GET[1..].to_vec(),
        [&GET[..1], &GET[2..]].concat(),
        GET[..3].to_vec(),
        with(&[(":path", "/")]),
        with(&[(":status", "200")]),
        with(&[(":unknown", "")]),
        with(&[("a", "b"), (":method", "GET")]),
        with(&[("Upper", "case")]),
        with(&[("sp ace", "")]),
        with(&[("a", "\r\n")]),
        with(&[("a", "\0")]),
        with(&[("a", " b")]),
        with(&[("connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "h2c")]),
        with(&[("keep-alive", "1")]),
        with(&[("proxy-connection", "x")]),
        with(&[("te", "gzip")]),
        with(&[("content-length", "-1")]),
        with(&[("content-length", "1"), ("content-length", "2")]),
        with(&[("host", "other")]),
        with(&[(":protocol", "websocket")]),
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "")],
        vec![(":method", "CONNECT"), (":scheme", "http"), (":authority", "a:1"), (":path", "/")],
        // Announced, and not sent.
        with(&[("content-length", "1")]),
        with(&[("content-length", "18446744073709551615")]),
    ] {
        let mut server = Tested::server();
        assert_eq!(server.feed(&headers(1, END_STREAM, &fields)), [], "{fields:?}");
        let said = server.said();
        let said: Vec<_> = said.iter().map(|frame| (frame.kind, frame.id, frame.number())).collect();
        assert_eq!(said, [(RST_STREAM, 1, ErrorCode::PROTOCOL_ERROR.0)], "{fields:?}");
        assert_eq!(server.codec.counters().resets_provoked, 1);
        assert_eq!(server.codec.streams(), 0);
    }
}

#[test]
fn sound_requests_arrive() {
    let connect = vec![(":method", "CONNECT"), (":authority", "a:1")];
    let extended = [&[(":method", "CONNECT"), (":protocol", "websocket")], &GET[1..]].concat();
    for (fields, method) in [
        (
            [GET, &[("te", "trailers"), ("cookie", "a=b"), ("cookie", "c=d"), ("host", "a")]].concat(),
            MethodKind::Get,
        ),
        ([&[(":method", "HEAD")], &GET[1..]].concat(), MethodKind::Head),
        (POST.to_vec(), MethodKind::Other),
        (connect, MethodKind::Connect),
        (extended, MethodKind::ExtendedConnect),
    ] {
        let mut server = Tested::ready(Role::Server, &Options::default().extended_connect(true));
        let seen = server.feed(&headers(1, 0, &fields));
        assert_eq!(seen, [Seen::Head { id: 1, fields: owned(&fields), ends: false }]);
        assert_eq!(server.codec.request_facts().unwrap().method, method);
    }
}

#[test]
fn a_body_is_as_long_as_announced() {
    let lengths: &[(&str, &str)] = &[("content-length", "5"), ("content-length", "5")];
    let trailers: &[(&str, &str)] = &[("a", "b")];
    for (frames, is_right) in [
        (vec![data(1, END_STREAM, b"12345")], true),
        (vec![data(1, 0, b"123"), padded_data(1, END_STREAM, b"45", 7)], true),
        (vec![data(1, 0, b"12345"), data(1, END_STREAM, b"")], true),
        (vec![data(1, 0, b"12345"), headers(1, END_STREAM, trailers)], true),
        (vec![data(1, 0, b"123456")], false),
        (vec![data(1, 0, b"12345"), data(1, 0, b"6")], false),
        (vec![data(1, END_STREAM, b"1234")], false),
        (vec![padded_data(1, END_STREAM, b"1234", 1)], false),
        (vec![data(1, 0, b"1234"), headers(1, END_STREAM, trailers)], false),
        (vec![headers(1, END_STREAM, trailers)], false),
        (vec![data(1, END_STREAM, b"")], false),
    ] {
        for role in [Role::Server, Role::Client] {
            let mut tested = Tested::ready(role, &Options::default());
            if role == Role::Server {
                tested.feed(&headers(1, 0, &[POST, lengths].concat()));
            } else {
                tested.open(GET, true);
                tested.feed(&headers(1, 0, &[OK, lengths].concat()));
            }
            let seen = tested.feed(&frames.concat());
            let expected = (!is_right).then_some(&StreamFault::ContentLength);
            assert_eq!(fault(&seen), expected, "{role:?} {seen:?}");
            assert_eq!(tested.codec.streams(), usize::from(role == Role::Server && is_right));
        }
    }
}

#[test]
fn responses_without_content() {
    let head: &[(&str, &str)] = &[(":method", "HEAD")];
    let with_length = |status| vec![(":status", status), ("content-length", "5")];
    for (request, response) in [
        ([head, &GET[1..]].concat(), with_length("200")),
        (GET.to_vec(), with_length("204")),
        (GET.to_vec(), with_length("304")),
    ] {
        for (rest, is_right) in [(data(1, END_STREAM, b""), true), (data(1, END_STREAM, b"12345"), false)] {
            let mut client = Tested::client();
            client.open(&request, true);
            let seen = client.feed(&[headers(1, 0, &response), rest].concat());
            assert_eq!(fault(&seen), (!is_right).then_some(&StreamFault::ContentLength), "{seen:?}");
        }
        let mut client = Tested::client();
        client.open(&request, true);
        let seen = client.feed(&headers(1, END_STREAM, &response));
        assert_eq!(seen, [Seen::Head { id: 1, fields: owned(&response), ends: true }]);
    }
    for length in ["5", "18446744073709551615"] {
        let mut client = Tested::client();
        client.open(GET, true);
        let seen = client.feed(&headers(1, END_STREAM, &[(":status", "200"), ("content-length", length)]));
        assert_eq!(fault(&seen), Some(&StreamFault::ContentLength));
        // Both sides have ended, so there is nothing to reset.
        assert_eq!(client.said(), []);
    }
}

#[test]
fn the_length_of_a_response_to_connect_means_nothing() {
    let connect: &[(&str, &str)] = &[(":method", "CONNECT"), (":authority", "a:1")];
    let ok: &[(&str, &str)] = &[(":status", "200"), ("content-length", "5")];
    let mut client = Tested::client();
    for fields in [connect, GET, connect, GET, connect, GET] {
        client.open(fields, false);
    }
    // The same block twice for both kinds of requests.
    for [id, other_id] in [[1, 3], [5, 7]] {
        client.feed(&headers(id, 0, ok));
        assert_eq!(client.codec.response_facts().unwrap().content_length, None);
        assert_eq!(fault(&client.feed(&data(id, 0, b"much more than five bytes"))), None);
        client.feed(&headers(other_id, 0, ok));
        assert_eq!(client.codec.response_facts().unwrap().content_length, Some(5));
        assert_eq!(fault(&client.feed(&data(other_id, 0, b"more"))), None);
        assert_eq!(fault(&client.feed(&data(other_id, 0, b" than"))), Some(&StreamFault::ContentLength));
    }
    // Other responses to CONNECT have a body.
    client.feed(&headers(9, 0, &[(":status", "403"), ("content-length", "5")]));
    assert_eq!(fault(&client.feed(&data(9, 0, b"more than five"))), Some(&StreamFault::ContentLength));
}

#[test]
fn interim_responses_come_before_the_final_one_and_are_limited() {
    let early: &[(&str, &str)] = &[(":status", "103"), ("link", "x")];
    let mut client = Tested::client();
    client.open(GET, true);
    let seen = client.feed(&[headers(1, 0, early).repeat(64), headers(1, 0, OK)].concat());
    assert_eq!(seen.len(), 65);
    assert!(seen[..64].iter().all(|seen| *seen == Seen::Informational { id: 1, fields: owned(early) }));
    assert_eq!(seen[64], Seen::Head { id: 1, fields: owned(OK), ends: false });
    client.open(GET, true);
    let seen = client.feed(&headers(3, 0, early).repeat(65));
    assert_eq!(fault(&seen), Some(&StreamFault::Informational));
}

/// The codec compares a block with the last one before it decodes it. Nothing may follow from the comparison that would
/// not follow from decoding.
#[test]
fn a_repeated_block_means_what_it_says() {
    let request = block(GET);
    let mut server = Tested::server();
    let send = |server: &mut Tested, id: u32, block: &[u8]| server.feed(&frame(HEADERS, 0x5, id, block));
    let get = |id| vec![Seen::Head { id, fields: owned(GET), ends: true }];
    for id in [1, 3, 5] {
        assert_eq!(send(&mut server, id, &request), get(id));
    }
    // As trailers, the same bytes are malformed.
    server.feed(&frame(HEADERS, END_HEADERS, 7, &request));
    let seen = send(&mut server, 7, &request);
    assert!(matches!(fault(&seen), Some(StreamFault::Head(HeadError::PseudoUnexpected(_)))), "{seen:?}");
    assert_eq!(send(&mut server, 9, &request), get(9));
    // With another table, the same index is another field.
    let [one, two] = [("name", "one"), ("name", "two")]
        .map(|(name, value)| [&[0x40, 4], name.as_bytes(), &[3], value.as_bytes()].concat());
    let indexed = [&request[..], &[0xbe]].concat();
    let named = |value| [GET, &[("name", value)]].concat();
    assert_eq!(send(&mut server, 11, &[&request[..], &one].concat()).len(), 1);
    for (id, insert, value) in
        [(13, None, "one"), (15, None, "one"), (17, Some(&two), "two"), (19, Some(&one), "one")]
    {
        if let Some(insert) = insert {
            assert_eq!(send(&mut server, id + 100, &[&request[..], insert].concat()).len(), 1);
        }
        let id = if insert.is_some() { id + 102 } else { id };
        let seen = send(&mut server, id, &indexed);
        assert_eq!(seen, [Seen::Head { id, fields: owned(&named(value)), ends: true }]);
    }
    // An insertion by a block on a stream that was reset counts too.
    server.reset(1);
    let insert = [&two[..]].concat();
    assert_eq!(send(&mut server, 1, &insert), []);
    let seen = send(&mut server, 201, &indexed);
    assert_eq!(seen, [Seen::Head { id: 201, fields: owned(&named("two")), ends: true }]);
    // A size update empties the table.
    assert_eq!(send(&mut server, 203, &[&[0x20, 0x3f, 0xe1, 0x1f], &request[..]].concat()), get(203));
    assert!(matches!(send(&mut server, 205, &indexed)[..], [Seen::Failed(_)]));
}

#[test]
fn a_repeated_block_with_an_announced_length_must_have_a_body() {
    let fields = [POST, &[("content-length", "3")]].concat();
    let mut server = Tested::server();
    for id in [1, 3] {
        assert_eq!(server.feed(&headers(id, 0, &fields)).len(), 1);
    }
    assert_eq!(server.feed(&headers(5, END_STREAM, &fields)), []);
    assert_eq!(server.said().len(), 1);
    for id in [7, 9] {
        assert_eq!(server.feed(&headers(id, 0, &fields)).len(), 1);
        assert_eq!(fault(&server.feed(&data(id, 0, b"1234"))), Some(&StreamFault::ContentLength));
    }
}

#[test]
fn a_repeated_response_is_bound_to_its_own_request() {
    let ok = &[(":status", "200"), ("content-length", "3")];
    let mut client = Tested::client();
    client.open(GET, true);
    client.open(&[&[(":method", "HEAD")], &GET[1..]].concat(), true);
    client.open(GET, true);
    assert_eq!(fault(&client.feed(&[headers(1, 0, ok), data(1, END_STREAM, b"abc")].concat())), None);
    assert_eq!(fault(&client.feed(&headers(3, END_STREAM, ok))), None);
    assert_eq!(fault(&client.feed(&headers(5, END_STREAM, ok))), Some(&StreamFault::ContentLength));
    // Interim ones repeat as well, and stay what they are.
    let hints = &[(":status", "103")];
    client.open(GET, true);
    client.open(GET, true);
    for id in [7, 9, 7] {
        assert!(matches!(client.feed(&headers(id, 0, hints))[..], [Seen::Informational { .. }]));
    }
}

#[test]
fn a_table_that_we_shrank_is_enforced_even_for_a_repeated_block() {
    let options = Options::default().header_table_size(0);
    let mut server = Tested::new(Role::Server, &options);
    server.feed(ringtide::proto::h2::PREFACE);
    server.feed(&settings(&[]));
    let insert = [&block(GET)[..], &[0x40, 1, b'n', 1, b'v']].concat();
    assert_eq!(server.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &insert)).len(), 1);
    assert_eq!(server.feed(&headers(3, END_STREAM, GET)).len(), 1);
    server.feed(&settings_ack());
    let seen = server.feed(&headers(5, END_STREAM, GET));
    assert!(
        matches!(&seen[..], [Seen::Failed(error)] if error.code() == ErrorCode::COMPRESSION_ERROR),
        "{seen:?}"
    );
}
