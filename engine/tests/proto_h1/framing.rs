//! The body that a head announces, and whether the connection persists after it: tables from RFC 9112 §6.3 and §9.3.

use ringtide::proto::h1::{BodyLength, Error, FramingError, HostError, Limits, RequestKind};

use crate::support::{Event, Side, events};

use BodyLength::{Chunked, Length, None as NoBody, UntilClose};

/// Returns the body length of the only response in `head`, and whether the connection is reusable after it.
fn response(request: RequestKind, head: &str) -> Result<(BodyLength, bool), Error> {
    let stream = format!("{head}\r\n\r\n");
    let rest = match outcome(Side::Client(&[request]), &stream)? {
        NoBody | Length(0) => return Ok((NoBody, reusable(Side::Client(&[request]), &stream))),
        length @ Length(size) => (length, "x".repeat(size as usize)),
        Chunked => (Chunked, "1\r\nx\r\n0\r\n\r\n".to_owned()),
        UntilClose => (UntilClose, String::new()),
    };
    Ok((rest.0, reusable(Side::Client(&[request]), &(stream + &rest.1))))
}

/// Returns the same for a request.
fn request(head: &str) -> Result<(BodyLength, bool), Error> {
    let stream = format!("{head}\r\n\r\n");
    let rest = match outcome(Side::Server, &stream)? {
        length @ (NoBody | Length(0)) => return Ok((length, reusable(Side::Server, &stream))),
        length @ Length(size) => (length, "x".repeat(size as usize)),
        Chunked => (Chunked, "1\r\nx\r\n0\r\n\r\n".to_owned()),
        UntilClose => panic!("a request does not end with the stream"),
    };
    Ok((rest.0, reusable(Side::Server, &(stream + &rest.1))))
}

fn outcome(side: Side<'_>, stream: &str) -> Result<BodyLength, Error> {
    match events(side, Limits::default(), stream.as_bytes(), []).first() {
        Some(Event::Response { body, .. } | Event::Request { body, .. }) => Ok(*body),
        Some(Event::Failed(error)) => Err(*error),
        other => panic!("{stream:?}: neither a head nor an error: {other:?}"),
    }
}

fn reusable(side: Side<'_>, stream: &str) -> bool {
    let events = events(side, Limits::default(), stream.as_bytes(), []);
    let end = events.iter().find_map(|event| match event {
        Event::End { reusable } => Some(*reusable),
        _ => None,
    });
    end.unwrap_or_else(|| panic!("{stream:?}: no end: {events:?}"))
}

#[test]
fn responses_are_framed_by_the_rules_in_their_order() {
    let cases = [
        // No body, even if fields announce one.
        (RequestKind::Head, "HTTP/1.1 200 OK\r\nContent-Length: 5", NoBody, true),
        (RequestKind::Head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", NoBody, true),
        (RequestKind::Head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", NoBody, true),
        (RequestKind::Head, "HTTP/1.1 200 OK", NoBody, true),
        (RequestKind::Head, "HTTP/1.1 200 OK\r\nConnection: close", NoBody, false),
        (RequestKind::Other, "HTTP/1.1 204 No Content", NoBody, true),
        (RequestKind::Other, "HTTP/1.1 204 No Content\r\nContent-Length: 0", NoBody, true),
        (RequestKind::Other, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5", NoBody, true),
        (RequestKind::Other, "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked", NoBody, true),
        // The sender of such a response is not trusted with another request.
        (RequestKind::Other, "HTTP/1.1 204 No Content\r\nContent-Length: 5", NoBody, false),
        (RequestKind::Other, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked", NoBody, false),
        // A refused CONNECT is an ordinary response.
        (RequestKind::Connect, "HTTP/1.1 407 No\r\nContent-Length: 5", Length(5), true),
        (RequestKind::Upgrade, "HTTP/1.1 200 OK\r\nContent-Length: 5", Length(5), true),
        // Content-Length.
        (RequestKind::Other, "HTTP/1.1 200 OK\r\nContent-Length: 0", NoBody, true),
        (RequestKind::Other, "HTTP/1.1 200 OK\r\ncontent-LENGTH:5", Length(5), true),
        (RequestKind::Other, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", Length(5), true),
        (RequestKind::Other, "HTTP/1.1 200 OK\r\nContent-Length: 5 ,5,\t05", Length(5), true),
        (RequestKind::Other, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close", Length(5), false),
        (
            RequestKind::Other,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: foo, CLOSE",
            Length(5),
            false,
        ),
        (RequestKind::Other, "HTTP/1.0 200 OK\r\nContent-Length: 5", Length(5), false),
        (
            RequestKind::Other,
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive",
            Length(5),
            true,
        ),
        (
            RequestKind::Other,
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\nConnection: close",
            Length(5),
            false,
        ),
        // Transfer-Encoding.
        (RequestKind::Other, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", Chunked, true),
        (RequestKind::Other, "HTTP/1.1 200 OK\r\nTransfer-Encoding: , Chunked ,", Chunked, true),
        (
            RequestKind::Other,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close",
            Chunked,
            false,
        ),
        (
            RequestKind::Other,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
            Chunked,
            false,
        ),
        (
            RequestKind::Other,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
            Chunked,
            false,
        ),
        (
            RequestKind::Other,
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive",
            Chunked,
            false,
        ),
        // Neither.
        (RequestKind::Other, "HTTP/1.1 200 OK", UntilClose, false),
        (RequestKind::Other, "HTTP/1.1 200 OK\r\nConnection: keep-alive", UntilClose, false),
        (RequestKind::Other, "HTTP/1.0 200 OK", UntilClose, false),
    ];
    for (kind, head, body, reusable) in cases {
        assert_eq!(response(kind, head), Ok((body, reusable)), "{kind:?} {head:?}");
    }
}

#[test]
fn responses_without_a_certain_end_are_errors() {
    let cases = [
        ("Content-Length: 5\r\nContent-Length: 6", FramingError::ContentLengthsDiffer),
        ("Content-Length: 5, 6", FramingError::ContentLengthsDiffer),
        ("Content-Length: 5,", FramingError::ContentLengthInvalid),
        ("Content-Length:", FramingError::ContentLengthInvalid),
        ("Content-Length: +5", FramingError::ContentLengthInvalid),
        ("Content-Length: -5", FramingError::ContentLengthInvalid),
        ("Content-Length: 5 5", FramingError::ContentLengthInvalid),
        ("Content-Length: 0x5", FramingError::ContentLengthInvalid),
        ("Content-Length: 18446744073709551616", FramingError::ContentLengthTooLarge),
        ("Transfer-Encoding: chunked\r\nContent-Length: x", FramingError::ContentLengthInvalid),
        ("Transfer-Encoding:", FramingError::TransferEncodingInvalid),
        ("Transfer-Encoding: ,", FramingError::TransferEncodingInvalid),
        ("Transfer-Encoding: chunked, chunked", FramingError::TransferEncodingInvalid),
        ("Transfer-Encoding: chunked, gzip, chunked", FramingError::TransferEncodingInvalid),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", FramingError::TransferEncodingInvalid),
        ("Transfer-Encoding: chunked;a=b", FramingError::TransferEncodingInvalid),
        ("Transfer-Encoding: \"chunked\"", FramingError::TransferEncodingInvalid),
        ("Transfer-Encoding: gzip chunked", FramingError::TransferEncodingInvalid),
        // The client requested none of these codings, and the codec decodes none of them.
        ("Transfer-Encoding: gzip", FramingError::TransferEncodingUnsupported),
        ("Transfer-Encoding: gzip\r\nContent-Length: 5", FramingError::TransferEncodingUnsupported),
        ("Transfer-Encoding: xchunked", FramingError::TransferEncodingUnsupported),
        ("Transfer-Encoding: gzip, chunked", FramingError::TransferEncodingUnsupported),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", FramingError::TransferEncodingUnsupported),
        ("Transfer-Encoding: chunked, gzip", FramingError::TransferEncodingUnsupported),
    ];
    for (fields, error) in cases {
        let found = response(RequestKind::Other, &format!("HTTP/1.1 200 OK\r\n{fields}"));
        assert_eq!(found, Err(Error::Framing(error)), "{fields:?}");
    }
    for kind in [RequestKind::Other, RequestKind::Head, RequestKind::Connect] {
        let found = response(kind, "HTTP/1.1 101 Switching Protocols");
        assert_eq!(found, Err(Error::Framing(FramingError::UpgradeNotRequested)), "{kind:?}");
    }
}

#[test]
fn requests_are_framed_by_the_rules_in_their_order() {
    let cases = [
        ("GET / HTTP/1.1\r\nHost: a", NoBody, true),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close", NoBody, false),
        ("GET / HTTP/1.0", NoBody, false),
        ("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive", NoBody, true),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0", Length(0), true),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5", Length(5), true),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5", Length(5), true),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5", Length(5), true),
        ("POST / HTTP/1.0\r\nContent-Length: 5", Length(5), false),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked", Chunked, true),
        ("POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: CHUNKED", Chunked, true),
    ];
    for (head, body, reusable) in cases {
        assert_eq!(request(head), Ok((body, reusable)), "{head:?}");
    }
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_errors() {
    let framing = [
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            FramingError::TransferEncodingWithContentLength,
            400,
        ),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            FramingError::TransferEncodingWithContentLength,
            400,
        ),
        ("Content-Length: 5\r\nTransfer-Encoding: x", FramingError::TransferEncodingWithContentLength, 400),
        ("Content-Length: 5\r\nContent-Length: 6", FramingError::ContentLengthsDiffer, 400),
        ("Content-Length: 5,6", FramingError::ContentLengthsDiffer, 400),
        ("Content-Length: +5", FramingError::ContentLengthInvalid, 400),
        ("Content-Length: 18446744073709551616", FramingError::ContentLengthTooLarge, 400),
        ("Transfer-Encoding: gzip", FramingError::TransferEncodingNotChunked, 400),
        ("Transfer-Encoding: chunked, gzip", FramingError::TransferEncodingNotChunked, 400),
        ("Transfer-Encoding: xchunked", FramingError::TransferEncodingNotChunked, 400),
        ("Transfer-Encoding: gzip, chunked", FramingError::TransferEncodingUnsupported, 501),
        ("Transfer-Encoding: identity, chunked", FramingError::TransferEncodingUnsupported, 501),
        ("Transfer-Encoding: chunked, chunked", FramingError::TransferEncodingInvalid, 400),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            FramingError::TransferEncodingInvalid,
            400,
        ),
        ("Transfer-Encoding:", FramingError::TransferEncodingInvalid, 400),
        ("Transfer-Encoding: chunked;q=1", FramingError::TransferEncodingInvalid, 400),
    ];
    for (fields, error, status) in framing {
        let found = request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}"));
        assert_eq!(found, Err(Error::Framing(error)), "{fields:?}");
        assert_eq!(found.unwrap_err().status(), status, "{fields:?}");
    }
    let found = request("POST / HTTP/1.0\r\nTransfer-Encoding: chunked");
    assert_eq!(found, Err(Error::Framing(FramingError::TransferEncodingInHttp10)));

    let hosts = [
        ("GET / HTTP/1.1", HostError::Missing),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a", HostError::Repeated),
        ("GET / HTTP/1.1\r\nHost: a b\r\nHost: a", HostError::Repeated),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b", HostError::Repeated),
        ("GET / HTTP/1.1\r\nHost: a b", HostError::Invalid),
        ("GET / HTTP/1.1\r\nHost: user@a", HostError::Invalid),
        ("GET / HTTP/1.1\r\nHost: x:abc", HostError::Invalid),
        ("GET / HTTP/1.1\r\nHost: [zz::1]", HostError::Invalid),
        ("GET / HTTP/1.0\r\nHost: a/b", HostError::Invalid),
    ];
    for (head, error) in hosts {
        assert_eq!(request(head), Err(Error::Host(error)), "{head:?}");
    }
}
