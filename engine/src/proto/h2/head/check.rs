//! The rules for the fields of a message: RFC 9113 §8.2 and §8.3, and RFC 8441.

use super::error::{HeadError, quoted};
use super::list::FieldList;
use crate::proto::h1::{is_authority, is_connect_target, is_token};

/// What the codec needs to know of a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// What kind of request it is.
    pub method: MethodKind,
    /// The size of the body in bytes, if the peer announced it.
    pub content_length: Option<u64>,
    /// Whether the peer waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
}

/// The methods that the codec tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// GET
    Get,
    /// HEAD, whose response has no body.
    Head,
    /// CONNECT, which makes the stream a tunnel to a host.
    Connect,
    /// CONNECT with `:protocol`, which makes the stream one of that protocol (RFC 8441).
    ExtendedConnect,
    /// Any other method.
    Other,
}

/// What the codec needs to know of a response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFacts {
    /// The status code, from 100 to 999.
    pub status: u16,
    /// The size of the body in bytes, if the peer announced it.
    pub content_length: Option<u64>,
}

/// Checks the head of a request. `allows_extended_connect` is whether SETTINGS_ENABLE_CONNECT_PROTOCOL was sent.
///
/// # Errors
/// Returns the first rule that the head breaks.
pub fn check_request(fields: &FieldList, allows_extended_connect: bool) -> Result<RequestFacts, HeadError> {
    let mut regular = Regular::default();
    let (mut method, mut scheme, mut authority, mut path, mut protocol) = (None, None, None, None, None);
    for (name, value) in fields {
        if !name.starts_with(b":") {
            regular.field(name, value)?;
            continue;
        }
        let (known, slot) = match name {
            b":method" => (":method", &mut method),
            b":scheme" => (":scheme", &mut scheme),
            b":authority" => (":authority", &mut authority),
            b":path" => (":path", &mut path),
            b":protocol" if allows_extended_connect => (":protocol", &mut protocol),
            _ => return Err(HeadError::PseudoUnexpected(quoted(name))),
        };
        if regular.is_begun {
            return Err(HeadError::PseudoLate(quoted(name)));
        }
        if slot.replace(value).is_some() {
            return Err(HeadError::PseudoRepeated(known));
        }
    }
    let method = method.ok_or(HeadError::PseudoMissing(":method"))?;
    if !is_name(method) {
        return Err(HeadError::PseudoInvalid(":method"));
    }
    let kind = match (method, protocol) {
        (b"CONNECT", None) => MethodKind::Connect,
        (b"CONNECT", Some(_)) => MethodKind::ExtendedConnect,
        (_, Some(_)) => return Err(HeadError::PseudoUnexpected(quoted(b":protocol"))),
        (b"GET", None) => MethodKind::Get,
        (b"HEAD", None) => MethodKind::Head,
        _ => MethodKind::Other,
    };
    if kind == MethodKind::Connect {
        // RFC 9113 §8.5.
        for (name, value) in [(":scheme", scheme), (":path", path)] {
            if value.is_some() {
                return Err(HeadError::PseudoUnexpected(quoted(name.as_bytes())));
            }
        }
        let authority = authority.ok_or(HeadError::PseudoMissing(":authority"))?;
        if !is_connect_target(authority) {
            return Err(HeadError::PseudoInvalid(":authority"));
        }
    } else {
        let scheme = scheme.ok_or(HeadError::PseudoMissing(":scheme"))?;
        let path = path.ok_or(HeadError::PseudoMissing(":path"))?;
        if !is_scheme(scheme) {
            return Err(HeadError::PseudoInvalid(":scheme"));
        }
        if !is_path(path, method) {
            return Err(HeadError::PseudoInvalid(":path"));
        }
        if protocol.is_some_and(|protocol| !is_name(protocol)) {
            return Err(HeadError::PseudoInvalid(":protocol"));
        }
        if authority.is_some_and(|authority| !is_authority(authority)) {
            return Err(HeadError::PseudoInvalid(":authority"));
        }
        let is_http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
        let is_needed = is_http || kind == MethodKind::ExtendedConnect;
        if is_needed && authority.or(regular.host).is_none() {
            return Err(HeadError::PseudoMissing(":authority"));
        }
    }
    if let Some(host) = regular.host
        && !authority.map_or_else(|| is_authority(host), |authority| host.eq_ignore_ascii_case(authority))
    {
        return Err(HeadError::Host);
    }
    Ok(RequestFacts {
        method: kind,
        content_length: regular.content_length,
        expects_continue: regular.expects_continue,
    })
}

/// Checks the head of a response, also of an interim one.
///
/// # Errors
/// Returns the first rule that the head breaks.
pub fn check_response(fields: &FieldList) -> Result<ResponseFacts, HeadError> {
    let mut regular = Regular::default();
    let mut status = None;
    for (name, value) in fields {
        if !name.starts_with(b":") {
            regular.field(name, value)?;
            continue;
        }
        if name != b":status" {
            return Err(HeadError::PseudoUnexpected(quoted(name)));
        }
        if regular.is_begun {
            return Err(HeadError::PseudoLate(quoted(name)));
        }
        if status.replace(value).is_some() {
            return Err(HeadError::PseudoRepeated(":status"));
        }
    }
    let status = match status.ok_or(HeadError::PseudoMissing(":status"))? {
        &[hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            let digit = |byte| u16::from(byte - b'0');
            digit(hundreds) * 100 + digit(tens) * 10 + digit(ones)
        }
        _ => return Err(HeadError::PseudoInvalid(":status")),
    };
    if status == 101 {
        return Err(HeadError::SwitchingProtocols);
    }
    Ok(ResponseFacts { status, content_length: regular.content_length })
}

/// Checks a trailer section. It has no pseudo-header fields (RFC 9113 §8.1).
///
/// # Errors
/// Returns the first rule that it breaks.
pub fn check_trailers(fields: &FieldList) -> Result<(), HeadError> {
    for (name, value) in fields {
        if name.starts_with(b":") {
            return Err(HeadError::PseudoUnexpected(quoted(name)));
        }
        check_field(name, value)?;
    }
    Ok(())
}

/// Checks a field that a user wants to send, and returns it as HTTP/2 sends it: its name in lower case, for which
/// `scratch` may be overwritten, and its value without white space around it.
///
/// Returns `None` for fields that belong to a connection of HTTP/1.1, and for `te` other than `trailers`: HTTP/2 does
/// without them (RFC 9113 §8.2.2). `host` is not treated specially: the caller sends it as `:authority`.
///
/// # Errors
/// Returns an error if the name is not a token, if the value contains a control character, or for `content-length` and
/// `transfer-encoding`, which the body determines.
#[expect(clippy::type_complexity, reason = "a name and a value, as everywhere")]
pub fn outgoing_field<'f>(
    name: &'f [u8],
    value: &'f [u8],
    scratch: &'f mut Vec<u8>,
) -> Result<Option<(&'f [u8], &'f [u8])>, HeadError> {
    if !is_name(name) {
        return Err(HeadError::FieldName(quoted(name)));
    }
    let value = trim(value);
    if has_control(value) {
        return Err(HeadError::FieldValue(quoted(name)));
    }
    let name = if name.iter().any(u8::is_ascii_uppercase) {
        scratch.clear();
        scratch.extend(name.iter().map(u8::to_ascii_lowercase));
        scratch
    } else {
        name
    };
    if matches!(name, b"content-length" | b"transfer-encoding") {
        return Err(HeadError::FramingField(quoted(name)));
    }
    Ok(if is_of_connection(name, value) { None } else { Some((name, value)) })
}

/// What the fields that are not pseudo-header fields say.
#[derive(Default)]
struct Regular<'l> {
    /// There was one.
    is_begun: bool,
    content_length: Option<u64>,
    expects_continue: bool,
    host: Option<&'l [u8]>,
}

impl<'l> Regular<'l> {
    #[inline]
    fn field(&mut self, name: &'l [u8], value: &'l [u8]) -> Result<(), HeadError> {
        self.is_begun = true;
        check_field(name, value)?;
        match name {
            b"content-length" => {
                let length = decimal(value).ok_or(HeadError::ContentLengthInvalid)?;
                // RFC 9110 §8.6: equal ones count as one.
                if self.content_length.replace(length).is_some_and(|before| before != length) {
                    return Err(HeadError::ContentLengthsDiffer);
                }
            }
            b"host" if self.host.replace(value).is_some() => return Err(HeadError::Host),
            // RFC 9110 §10.1.1 defines only this expectation and allows a server to ignore others.
            b"expect" => {
                self.expects_continue |= value
                    .split(|&byte| byte == b',')
                    .any(|item| trim(item).eq_ignore_ascii_case(b"100-continue"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Checks RFC 9113 §8.2 for a field that is not a pseudo-header field.
#[inline]
fn check_field(name: &[u8], value: &[u8]) -> Result<(), HeadError> {
    // Without an end in the middle, which is faster for valid names.
    let is_valid = name.iter().fold(!name.is_empty(), |valid, &byte| valid & IN_NAME[byte as usize]);
    if !is_valid {
        return Err(HeadError::FieldName(quoted(name)));
    }
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_space(value.first()) || is_space(value.last()) || has_control(value) {
        return Err(HeadError::FieldValue(quoted(name)));
    }
    if is_of_connection(name, value) {
        return Err(HeadError::ConnectionField(quoted(name)));
    }
    Ok(())
}

/// Returns whether a field belongs to a connection of HTTP/1.1 (RFC 9113 §8.2.2).
#[inline]
fn is_of_connection(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => true,
        b"te" => !value.eq_ignore_ascii_case(b"trailers"),
        _ => false,
    }
}

/// The bytes of a token in lower case.
static IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_token(byte as u8) && !(byte as u8).is_ascii_uppercase();
        byte += 1;
    }
    table
};

/// Returns whether there is a control character other than a tab. RFC 9113 §8.2.1 forbids only some of them, RFC 9110
/// §5.5 all.
#[inline]
fn has_control(value: &[u8]) -> bool {
    let (words, rest) = value.as_chunks();
    let is_suspect = match value.last_chunk() {
        // The last word overlaps the one before.
        Some(last) => may_have_control(*last) || words.iter().any(|word| may_have_control(*word)),
        None => !rest.is_empty(),
    };
    is_suspect && value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
}

/// Returns whether one of eight bytes is a control character or a tab.
#[inline]
fn may_have_control(bytes: [u8; 8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let word = u64::from_ne_bytes(bytes);
    // In each byte the highest bit is set if it was below the subtrahend; borrows only come from such bytes.
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7f);
    let is_delete = delete.wrapping_sub(ONES) & !delete;
    (below_space | is_delete) & (ONES * 0x80) > 0
}

/// Returns whether `bytes` is a token (RFC 9110 §5.6.2).
fn is_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token(byte))
}

/// RFC 3986 §3.1.
fn is_scheme(scheme: &[u8]) -> bool {
    let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.iter().all(is_inside)
}

/// RFC 9113 §8.3.1: an absolute path with an optional query, or the asterisk. Like a target of HTTP/1.1, it is UTF-8
/// without white space and control characters.
fn is_path(path: &[u8], method: &[u8]) -> bool {
    let is_form = path.starts_with(b"/") || (path == b"*" && method == b"OPTIONS");
    is_form && !path.iter().any(|&byte| byte <= b' ' || byte == 0x7f) && str::from_utf8(path).is_ok()
}

/// Parses `1*DIGIT`, without sign or white space.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    type Field = (&'static str, &'static str);

    const GET: [Field; 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "a:80"), (":path", "/x?y")];

    fn list(fields: &[Field]) -> FieldList {
        let mut list = FieldList::new(u32::MAX, u32::MAX);
        for (name, value) in fields {
            list.push(name.as_bytes(), value.as_bytes());
        }
        list
    }

    fn request(fields: &[Field]) -> Result<RequestFacts, HeadError> {
        check_request(&list(fields), true)
    }

    /// A request with these fields behind the pseudo-header fields.
    fn get(fields: &[Field]) -> Result<RequestFacts, HeadError> {
        request(&[&GET, fields].concat())
    }

    /// `GET` with another value, or without the field.
    fn changed(name: &str, value: Option<&'static str>) -> Result<RequestFacts, HeadError> {
        let keep = |&(found, old): &Field| match value {
            _ if found != name => Some((found, old)),
            value => value.map(|value| (found, value)),
        };
        request(&GET.iter().filter_map(keep).collect::<Vec<_>>())
    }

    fn response(fields: &[Field]) -> Result<ResponseFacts, HeadError> {
        check_response(&list(fields))
    }

    fn named(name: &str) -> Box<[u8]> {
        name.as_bytes().into()
    }

    #[test]
    fn the_facts_of_requests() {
        let facts = |method| RequestFacts { method, content_length: None, expects_continue: false };
        assert_eq!(get(&[]), Ok(facts(MethodKind::Get)));
        assert_eq!(changed(":method", Some("HEAD")), Ok(facts(MethodKind::Head)));
        for method in ["POST", "get", "OPTIONS", "CONNECTS"] {
            assert_eq!(changed(":method", Some(method)), Ok(facts(MethodKind::Other)), "{method}");
        }
        let connect = [(":method", "CONNECT"), (":authority", "a:80")];
        assert_eq!(request(&connect), Ok(facts(MethodKind::Connect)));
        let expected =
            RequestFacts { content_length: Some(7), expects_continue: true, ..facts(MethodKind::Get) };
        assert_eq!(get(&[("content-length", "7"), ("expect", "x, 100-Continue")]), Ok(expected));
        assert_eq!(get(&[("expect", "x"), ("expect", "")]), Ok(facts(MethodKind::Get)));
        assert_eq!(get(&[("cookie", "a"), ("cookie", "b"), ("te", "Trailers")]), Ok(facts(MethodKind::Get)));
    }

    #[test]
    fn each_pseudo_header_field_is_needed_once_and_first() {
        for name in [":method", ":scheme", ":path", ":authority"] {
            assert_eq!(changed(name, None), Err(HeadError::PseudoMissing(name)));
            let known = GET.iter().find(|field| field.0 == name).unwrap();
            assert_eq!(get(&[*known]), Err(HeadError::PseudoRepeated(name)));
            assert_eq!(get(&[("a", "b"), *known]), Err(HeadError::PseudoLate(named(name))));
        }
        for name in [":status", ":host", ":", ":Method", ":protocol "] {
            assert_eq!(get(&[(name, "200")]), Err(HeadError::PseudoUnexpected(named(name))), "{name}");
        }
        assert_eq!(request(&[]), Err(HeadError::PseudoMissing(":method")));
    }

    #[test]
    fn the_values_of_pseudo_header_fields() {
        for (name, values) in [
            (":method", &["", "G T", "G\n", "\u{e4}"][..]),
            (":scheme", &["", "1a", "ht tp", "http:"]),
            (":authority", &["", "a b", "u@a", "a/", "a:x", "a:80:80"]),
            (":path", &["", "x", "*", "/ ", "/\t", "/\n", "/\0", "/\x7f", "http://a/"]),
        ] {
            for value in values {
                assert_eq!(changed(name, Some(value)), Err(HeadError::PseudoInvalid(name)), "{value:?}");
            }
        }
        for (name, value) in [
            (":scheme", "HTTP"),
            (":scheme", "a+b-c.1"),
            (":authority", "[::1]:1"),
            (":authority", "a"),
            (":path", "/"),
            (":path", "/\u{e4}"),
        ] {
            assert!(changed(name, Some(value)).is_ok(), "{value}");
        }
        let mut not_utf8 = list(&GET[..3]);
        not_utf8.push(b":path", b"/\xff");
        assert_eq!(check_request(&not_utf8, true), Err(HeadError::PseudoInvalid(":path")));
        let options = [(":method", "OPTIONS"), (":scheme", "http"), (":authority", "a"), (":path", "*")];
        assert!(request(&options).is_ok());
    }

    #[test]
    fn a_host_stands_in_for_the_authority_or_equals_it() {
        let pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
        let with = |fields: &[Field]| request(&[&pseudo, fields].concat()).map(drop);
        assert_eq!(with(&[("host", "a")]), Ok(()));
        assert_eq!(with(&[("host", "a b")]), Err(HeadError::Host));
        assert_eq!(with(&[("host", "")]), Err(HeadError::Host));
        assert_eq!(with(&[("host", "a"), ("host", "a")]), Err(HeadError::Host));
        assert_eq!(with(&[]), Err(HeadError::PseudoMissing(":authority")));
        assert_eq!(get(&[("host", "A:80")]).map(drop), Ok(()));
        assert_eq!(get(&[("host", "a")]).map(drop), Err(HeadError::Host));
        // Another scheme may do without.
        assert!(request(&[(":method", "GET"), (":scheme", "urn"), (":path", "/")]).is_ok());
    }

    #[test]
    fn connect_has_a_host_and_a_port_alone() {
        let connect = |fields: &[Field]| request(&[&[(":method", "CONNECT")], fields].concat());
        assert_eq!(connect(&[]), Err(HeadError::PseudoMissing(":authority")));
        for authority in ["a", "a:", "a:0", ":80", ""] {
            let expected = Err(HeadError::PseudoInvalid(":authority"));
            assert_eq!(connect(&[(":authority", authority)]), expected, "{authority}");
        }
        for name in [":scheme", ":path"] {
            let fields = [(":authority", "a:80"), (name, "/")];
            assert_eq!(connect(&fields), Err(HeadError::PseudoUnexpected(named(name))));
        }
        assert_eq!(connect(&[(":authority", "a:80"), ("host", "b:80")]), Err(HeadError::Host));
    }

    #[test]
    fn extended_connect_has_everything_if_it_is_allowed() {
        let fields = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":path", "/"),
            (":authority", "a"),
        ];
        assert_eq!(request(&fields).unwrap().method, MethodKind::ExtendedConnect);
        assert_eq!(
            check_request(&list(&fields), false),
            Err(HeadError::PseudoUnexpected(named(":protocol")))
        );
        for missing in 2..5 {
            let mut fewer = fields.to_vec();
            let (name, _) = fewer.remove(missing);
            assert_eq!(request(&fewer), Err(HeadError::PseudoMissing(name)));
        }
        let mut urn = fields;
        urn[2].1 = "urn";
        assert_eq!(request(&urn[..4]), Err(HeadError::PseudoMissing(":authority")));
        let mut invalid = fields;
        invalid[1].1 = "web socket";
        assert_eq!(request(&invalid), Err(HeadError::PseudoInvalid(":protocol")));
        // Not with another method.
        let other = [&GET[..], &[(":protocol", "websocket")]].concat();
        assert_eq!(request(&other), Err(HeadError::PseudoUnexpected(named(":protocol"))));
    }

    #[test]
    fn the_status_is_three_digits() {
        for status in [100, 103, 200, 404, 999] {
            let mut head = FieldList::new(1_000, 1);
            head.push(b":status", status.to_string().as_bytes());
            assert_eq!(check_response(&head), Ok(ResponseFacts { status, content_length: None }));
        }
        for status in ["", "20", "2000", "099", "2 0", "+20", "20x", "000"] {
            assert_eq!(
                response(&[(":status", status)]),
                Err(HeadError::PseudoInvalid(":status")),
                "{status}"
            );
        }
        assert_eq!(response(&[(":status", "101")]), Err(HeadError::SwitchingProtocols));
        assert_eq!(response(&[("a", "b")]), Err(HeadError::PseudoMissing(":status")));
        let twice = [(":status", "200"), (":status", "200")];
        assert_eq!(response(&twice), Err(HeadError::PseudoRepeated(":status")));
        let late = [("a", "b"), (":status", "200")];
        assert_eq!(response(&late), Err(HeadError::PseudoLate(named(":status"))));
        for name in [":method", ":path", ":x"] {
            let fields = [(":status", "200"), (name, "GET")];
            assert_eq!(response(&fields), Err(HeadError::PseudoUnexpected(named(name))));
        }
        assert_eq!(response(&[(":status", "200"), ("content-length", "7")]).unwrap().content_length, Some(7));
    }

    #[test]
    fn a_content_length_is_one_number() {
        let length = |values: &[&'static str]| {
            let fields: Vec<Field> = values.iter().map(|value| ("content-length", *value)).collect();
            get(&fields).map(|facts| facts.content_length)
        };
        assert_eq!(length(&["0"]), Ok(Some(0)));
        assert_eq!(length(&["007", "7"]), Ok(Some(7)));
        assert_eq!(length(&["18446744073709551615"]), Ok(Some(u64::MAX)));
        for value in ["", "-1", "+1", "1,1", "1 1", "0x1", "18446744073709551616", "99999999999999999999"] {
            assert_eq!(length(&[value]), Err(HeadError::ContentLengthInvalid), "{value}");
        }
        assert_eq!(length(&["1", "2"]), Err(HeadError::ContentLengthsDiffer));
    }

    #[test]
    fn names_values_and_fields_of_connections_in_every_kind_of_section() {
        let check = |name: &str, value: &[u8]| {
            let mut section = list(&[]);
            section.push(name.as_bytes(), value);
            let trailers = check_trailers(&section);
            for head in [&GET[..], &[(":status", "200")]] {
                let mut section = list(head);
                section.push(name.as_bytes(), value);
                let found = if head.len() == 1 {
                    check_response(&section).map(drop)
                } else {
                    check_request(&section, false).map(drop)
                };
                assert_eq!(found, trailers, "{name}");
            }
            trailers
        };
        for name in ["", "A", "aB", "a b", "a:", "a\0", "a\n", "\u{e4}", "a\x7f", "a(", "a\""] {
            assert_eq!(check(name, b"x"), Err(HeadError::FieldName(named(name))), "{name:?}");
        }
        assert_eq!(check("!#$%&'*+-.^_`|~09az", b""), Ok(()));
        // At every place of a value of any length.
        for byte in (0..=0x1f).chain([0x7f]).filter(|&byte| byte != b'\t') {
            for size in [1, 7, 8, 20, 40] {
                for at in 0..size {
                    let mut value = vec![b'v'; size];
                    value[at] = byte;
                    let expected = Err(HeadError::FieldValue(named("x")));
                    assert_eq!(check_field(b"x", &value), expected, "{byte} {at} {size}");
                }
            }
            assert_eq!(check("x", &[byte]), Err(HeadError::FieldValue(named("x"))), "{byte}");
        }
        for value in [&b" "[..], b"\t", b" a", b"\ta", b"a ", b"a\t"] {
            assert_eq!(check("x", value), Err(HeadError::FieldValue(named("x"))), "{value:?}");
        }
        for value in [&b""[..], b"a b\tc", b"\x80\xff", b"~!"] {
            assert_eq!(check("x", value), Ok(()), "{value:?}");
        }
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"] {
            assert_eq!(check(name, b"x"), Err(HeadError::ConnectionField(named(name))), "{name}");
        }
        assert_eq!(check("te", b"trailers, gzip"), Err(HeadError::ConnectionField(named("te"))));
        assert_eq!(check("te", b"trailers"), Ok(()));
    }

    #[test]
    fn trailers_have_no_pseudo_header_fields() {
        assert_eq!(check_trailers(&list(&[])), Ok(()));
        let fields = [("a", "b"), (":status", "200")];
        assert_eq!(check_trailers(&list(&fields)), Err(HeadError::PseudoUnexpected(named(":status"))));
    }

    #[test]
    fn outgoing_fields_become_those_of_http_2() {
        let sent = |name: &'static str, value: &'static str| {
            let mut scratch = b"old".to_vec();
            let field = outgoing_field(name.as_bytes(), value.as_bytes(), &mut scratch)?;
            Ok(field.map(|(name, value)| [name, b"=", value].concat()))
        };
        assert_eq!(sent("x-a", "b"), Ok(Some(b"x-a=b".to_vec())));
        assert_eq!(sent("X-A", " \tb c\t "), Ok(Some(b"x-a=b c".to_vec())));
        assert_eq!(sent("TE", "trailers"), Ok(Some(b"te=trailers".to_vec())));
        for (name, value) in [
            ("Connection", "close"),
            ("keep-alive", "1"),
            ("Proxy-Connection", "x"),
            ("UPGRADE", "a"),
            ("te", "gzip"),
        ] {
            assert_eq!(sent(name, value), Ok(None), "{name}");
        }
        for name in ["Content-Length", "transfer-encoding"] {
            let expected = HeadError::FramingField(named(&name.to_ascii_lowercase()));
            assert_eq!(sent(name, "1"), Err(expected));
        }
        for name in ["", ":path", "a b", "a\n", "\u{e4}"] {
            assert_eq!(sent(name, "x"), Err(HeadError::FieldName(named(name))), "{name:?}");
        }
        for value in ["a\nb", "\r", "a\0", "\x7f"] {
            assert_eq!(sent("X", value), Err(HeadError::FieldValue(named("X"))), "{value:?}");
        }
    }

    #[test]
    fn an_error_names_the_field_and_the_rule_briefly() {
        let text = |fields: &[Field]| get(fields).unwrap_err().to_string();
        assert_eq!(text(&[("X-\n", "a")]), "field name \"X-\\n\" is not a token in lower case");
        assert_eq!(text(&[("upgrade", "a")]), "field \"upgrade\" is not allowed in HTTP/2");
        assert_eq!(text(&[(":path", "/")]), "pseudo-header field \":path\" is repeated");
        assert_eq!(
            text(&[("x", "a ")]),
            "the value of field \"x\" contains a control character, or white space at an end"
        );
        let mut long = list(&GET);
        long.push(&[b'X'; 10_000], b"");
        assert!(check_request(&long, false).unwrap_err().to_string().len() < 150);
    }
}
