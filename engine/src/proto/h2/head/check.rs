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
    if name.is_empty() || !name.iter().all(|&byte| IN_NAME[byte as usize]) {
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
    // Counted, not searched, so that the compiler looks at many bytes at once.
    let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    value.iter().fold(0, |count, &byte| count | u8::from(is_control(byte))) > 0
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
