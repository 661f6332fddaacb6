//! Message framing: where a message ends and whether another may follow, from the fields of its head (RFC 9112 §6.3,
//! §9.3).

use std::net::Ipv6Addr;

use http::StatusCode;

use super::error::{Error, FramingError, HostError};
use super::head::Version;

/// How the end of a body is determined (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body, and no framing field.
    None,
    /// The body has this number of bytes.
    Length(u64),
    /// The last chunk ends the body.
    Chunked,
    /// The end of the stream ends the body; only in responses.
    UntilClose,
}

impl BodyLength {
    /// Returns the size of the body in bytes, or `None` if only its end shows it.
    #[inline]
    pub fn size(self) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::Length(size) => Some(size),
            Self::Chunked | Self::UntilClose => None,
        }
    }
}

/// The values of the fields that concern framing and the connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    content_length: Option<u64>,
    codings: TransferCodings,
    connection: ConnectionOptions,
    upgrade: bool,
    expects_continue: bool,
    hosts: Hosts,
}

/// The options in `Connection` that a codec uses.
#[derive(Clone, Copy, Debug, Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

/// The list in `Transfer-Encoding`, from all fields of that name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TransferCodings {
    #[default]
    Absent,
    Chunked,
    Others,
    OthersThenChunked,
    ChunkedThenOthers,
    /// Empty, not a list of plain names, or `chunked` twice (RFC 9112 §6.1).
    Invalid,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hosts {
    #[default]
    None,
    One,
    Invalid,
    Several,
}

impl Facts {
    /// Collects the relevant fields. Compares the length of a name first, because most fields are not relevant, and then
    /// the usual spelling, which takes a few instructions.
    #[inline]
    pub(super) fn collect(&mut self, headers: &[httparse::Header<'_>]) -> Result<(), Error> {
        for header in headers {
            let is = |name: &str| header.name == name || header.name.eq_ignore_ascii_case(name);
            match header.name.len() {
                4 if is("Host") => self.host(header.value),
                6 if is("Expect") => self.expects_continue |= list(header.value).any(is_continue),
                7 if is("Upgrade") => self.upgrade = true,
                10 if is("Connection") => self.connection(header.value),
                14 if is("Content-Length") => self.content_length(header.value).map_err(Error::Framing)?,
                17 if is("Transfer-Encoding") => self.codings.add(header.value),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns whether the message allows the connection to persist (RFC 9112 §9.3).
    #[inline]
    pub(super) fn persists(&self, version: Version) -> bool {
        !self.connection.close && (version == Version::Http11 || self.connection.keep_alive)
    }

    /// Returns whether the message announces that it is the last.
    #[inline]
    pub(super) fn announces_close(&self) -> bool {
        self.connection.close
    }

    /// Checks RFC 9112 §3.2: exactly one `Host` in an HTTP/1.1 request, at most one in any request.
    pub(super) fn check_host(&self, version: Version) -> Result<(), Error> {
        match self.hosts {
            Hosts::One => Ok(()),
            Hosts::None if version == Version::Http10 => Ok(()),
            Hosts::None => Err(Error::Host(HostError::Missing)),
            Hosts::Invalid => Err(Error::Host(HostError::Invalid)),
            Hosts::Several => Err(Error::Host(HostError::Repeated)),
        }
    }

    /// Returns whether the sender waits for `100 Continue`. RFC 9110 §10.1.1: ignored in HTTP/1.0 requests.
    pub(super) fn expects_continue(&self, version: Version) -> bool {
        self.expects_continue && version == Version::Http11
    }

    /// Returns whether the sender offers another protocol. RFC 9110 §7.8: ignored in HTTP/1.0 requests.
    pub(super) fn requests_upgrade(&self, version: Version) -> bool {
        self.upgrade && self.connection.upgrade && version == Version::Http11
    }

    /// Returns how the body of a request ends (the items of RFC 9112 §6.3 for requests).
    #[inline]
    pub(super) fn request_body(&self, version: Version) -> Result<BodyLength, Error> {
        let fault = match self.codings {
            TransferCodings::Absent => {
                return Ok(self.content_length.map_or(BodyLength::None, BodyLength::Length));
            }
            // §6.1: the framing is faulty, even with a Content-Length.
            _ if version == Version::Http10 => FramingError::TransferEncodingInHttp10,
            // Item 3: this "might indicate an attempt to perform request smuggling" and ought to be handled as an
            // error.
            _ if self.content_length.is_some() => FramingError::TransferEncodingWithContentLength,
            TransferCodings::Chunked => return Ok(BodyLength::Chunked),
            TransferCodings::OthersThenChunked => FramingError::TransferEncodingUnsupported,
            // Item 4.
            TransferCodings::Others | TransferCodings::ChunkedThenOthers => {
                FramingError::TransferEncodingNotChunked
            }
            TransferCodings::Invalid => FramingError::TransferEncodingInvalid,
        };
        Err(Error::Framing(fault))
    }

    /// Returns how the body of a response ends that may have one (RFC 9112 §6.3 from item 3 on), and whether the
    /// connection can be used again after it.
    #[inline]
    pub(super) fn response_body(&self, version: Version) -> Result<(BodyLength, bool), Error> {
        match (self.codings, self.content_length) {
            (TransferCodings::Absent, Some(length)) => {
                Ok((BodyLength::Length(length), self.persists(version)))
            }
            (TransferCodings::Absent, None) => Ok((BodyLength::UntilClose, false)),
            (TransferCodings::Chunked, length) => {
                // §6.1 and item 3: with HTTP/1.0, or with a Content-Length as well, an intermediary may have framed the
                // message differently.
                let trusted = version == Version::Http11 && length.is_none();
                Ok((BodyLength::Chunked, trusted && self.persists(version)))
            }
            // §7.4: the client requested none of these codings, and the decoded bytes would not be the content.
            (
                TransferCodings::Others
                | TransferCodings::OthersThenChunked
                | TransferCodings::ChunkedThenOthers,
                _,
            ) => Err(Error::Framing(FramingError::TransferEncodingUnsupported)),
            (TransferCodings::Invalid, _) => Err(Error::Framing(FramingError::TransferEncodingInvalid)),
        }
    }

    /// Returns whether the connection can be used again after a response without a body (RFC 9112 §6.3 item 1).
    #[inline]
    pub(super) fn persists_without_body(&self, status: StatusCode, version: Version) -> bool {
        // RFC 9110 §8.6 and RFC 9112 §6.1 forbid these fields in 204. A sender that ignores this may also send a body.
        let suspect = status == StatusCode::NO_CONTENT
            && (self.codings != TransferCodings::Absent
                || self.content_length.is_some_and(|length| length > 0));
        !suspect && self.persists(version)
    }

    fn host(&mut self, value: &[u8]) {
        self.hosts = match self.hosts {
            Hosts::None if is_host(value) => Hosts::One,
            Hosts::None => Hosts::Invalid,
            _ => Hosts::Several,
        };
    }

    fn connection(&mut self, value: &[u8]) {
        let options = &mut self.connection;
        for option in list(value) {
            options.close |= option.eq_ignore_ascii_case(b"close");
            options.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            options.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    #[inline]
    fn content_length(&mut self, value: &[u8]) -> Result<(), FramingError> {
        if self.content_length.is_none()
            && let Ok(length) = decimal(value)
        {
            self.content_length = Some(length);
            return Ok(());
        }
        self.content_lengths(value)
    }

    /// Handles several values, in a list or in several fields. RFC 9110 §8.6 allows treating equal values as one.
    #[cold]
    fn content_lengths(&mut self, value: &[u8]) -> Result<(), FramingError> {
        for item in list(value) {
            let length = decimal(item)?;
            if self.content_length.replace(length).is_some_and(|before| before != length) {
                return Err(FramingError::ContentLengthsDiffer);
            }
        }
        Ok(())
    }
}

impl TransferCodings {
    /// Adds the items of one field.
    fn add(&mut self, value: &[u8]) {
        let mut empty = true;
        for coding in list(value).filter(|coding| !coding.is_empty()) {
            empty = false;
            let chunked = coding.eq_ignore_ascii_case(b"chunked");
            *self = match (*self, chunked) {
                // No coding in use has parameters, and `chunked` allows none (RFC 9112 §7).
                _ if !coding.iter().all(|&byte| is_token(byte)) => Self::Invalid,
                (Self::Absent, true) => Self::Chunked,
                (Self::Absent | Self::Others, false) => Self::Others,
                (Self::Others, true) => Self::OthersThenChunked,
                (Self::Chunked | Self::OthersThenChunked | Self::ChunkedThenOthers, false) => {
                    Self::ChunkedThenOthers
                }
                (_, true) | (Self::Invalid, false) => Self::Invalid,
            };
        }
        if empty {
            *self = Self::Invalid;
        }
    }
}

/// RFC 9110 §10.1.1 defines only this expectation and allows a server to ignore others.
fn is_continue(expectation: &[u8]) -> bool {
    expectation.eq_ignore_ascii_case(b"100-continue")
}

/// Returns the items of a comma-separated list (RFC 9110 §5.6.1), including empty ones.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(|item| {
        let start = item.iter().position(|byte| !b" \t".contains(byte)).unwrap_or(item.len());
        let end = item.iter().rposition(|byte| !b" \t".contains(byte)).map_or(start, |last| last + 1);
        &item[start..end]
    })
}

/// Parses `1*DIGIT`, without sign or white space.
#[inline]
fn decimal(digits: &[u8]) -> Result<u64, FramingError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(FramingError::ContentLengthInvalid);
    }
    let value = digits
        .iter()
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    value.ok_or(FramingError::ContentLengthTooLarge)
}

/// `tchar` (RFC 9110 §5.6.2).
pub(in crate::proto) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
        || matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Returns whether `value` is `uri-host [ ":" port ]`, the syntax of `Host` (RFC 9110 §7.2), or empty. An empty value
/// means that there is no authority (RFC 9112 §3.2).
pub(super) fn is_host(value: &[u8]) -> bool {
    value.is_empty() || is_authority(value)
}

/// Returns whether `value` is a non-empty host with an optional port. The port after the colon may be empty (RFC 3986
/// §3.2.3).
pub(in crate::proto) fn is_authority(value: &[u8]) -> bool {
    split_host(value).is_some_and(|(_, rest)| match rest {
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        rest => rest.is_empty(),
    })
}

/// Returns whether `target` is a host and a port other than 0 (RFC 9110 §9.3.6).
pub(in crate::proto) fn is_connect_target(target: &[u8]) -> bool {
    split_host(target).is_some_and(|(_, rest)| match rest {
        [b':', port @ ..] => {
            port.iter().all(u8::is_ascii_digit)
                && str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
        }
        _ => false,
    })
}

/// Splits `value` into the host at its start and the rest (RFC 3986 §3.2.2).
#[inline]
fn split_host(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut end = 0;
    loop {
        match value.get(end) {
            Some(&byte) if is_in_name(byte) => end += 1,
            Some(b'%') if is_encoded(&value[end..]) => end += 3,
            Some(b'[') if end == 0 => {
                let close = memchr::memchr(b']', value)?;
                return is_ip_literal(&value[1..close]).then(|| value.split_at(close + 1));
            }
            _ => return (end > 0).then(|| value.split_at(end)),
        }
    }
}

/// `unreserved` and `sub-delims` of RFC 3986 §2.
#[inline]
fn is_in_name(byte: u8) -> bool {
    const IN_NAME: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric()
                || matches!(byte as u8, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')')
                || matches!(byte as u8, b'*' | b'+' | b',' | b';' | b'=');
            byte += 1;
        }
        table
    };
    IN_NAME[byte as usize]
}

/// `pct-encoded` of RFC 3986 §2.1.
fn is_encoded(bytes: &[u8]) -> bool {
    matches!(bytes, [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

/// Returns whether `literal`, the text between brackets, is an IPv6 address or a future IP version's. An IPv6 zone is
/// not allowed, because it means nothing to the peer (RFC 6874 §1).
fn is_ip_literal(literal: &[u8]) -> bool {
    if let [b'v' | b'V', rest @ ..] = literal {
        let Some(dot) = memchr::memchr(b'.', rest) else { return false };
        let (version, address) = (&rest[..dot], &rest[dot + 1..]);
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(|&byte| byte == b':' || is_in_name(byte));
    }
    str::from_utf8(literal).is_ok_and(|literal| literal.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(fields: &[(&str, &str)]) -> Result<Facts, Error> {
        let headers = fields.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() });
        let mut facts = Facts::default();
        facts.collect(&headers.collect::<Vec<_>>()).map(|()| facts)
    }

    #[test]
    fn a_content_length_is_digits_and_nothing_else() {
        assert_eq!(decimal(b"0"), Ok(0));
        assert_eq!(decimal(b"007"), Ok(7));
        assert_eq!(decimal(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(decimal(b"18446744073709551616"), Err(FramingError::ContentLengthTooLarge));
        for text in ["", "+1", "-1", "1 2", "0x1", "1.0", "1e3", "１"] {
            assert_eq!(decimal(text.as_bytes()), Err(FramingError::ContentLengthInvalid), "{text}");
        }
    }

    #[test]
    fn list_items_lose_the_white_space_around_them_only() {
        assert_eq!(list(b"a,\tb c ,,d ").collect::<Vec<_>>(), [&b"a"[..], b"b c", b"", b"d"]);
        assert_eq!(list(b" ").collect::<Vec<_>>(), [b""]);
    }

    #[test]
    fn names_count_whatever_their_case_and_lists_go_over_fields() {
        let facts = facts(&[("CONNECTION", "x, Upgrade"), ("connection", "CLOSE"), ("UPGRADE", "websocket")])
            .unwrap();
        assert!(!facts.persists(Version::Http11));
        assert!(facts.requests_upgrade(Version::Http11));
        assert!(!facts.requests_upgrade(Version::Http10));
    }

    #[test]
    fn an_upgrade_needs_both_fields() {
        assert!(!facts(&[("Upgrade", "websocket")]).unwrap().requests_upgrade(Version::Http11));
        assert!(!facts(&[("Connection", "upgrade")]).unwrap().requests_upgrade(Version::Http11));
    }

    #[test]
    fn an_old_connection_persists_when_it_says_so_and_a_new_one_unless() {
        let cases = [
            ("keep-alive", true, true),
            ("close", false, false),
            ("keep-alive, close", false, false),
            ("keep-alives", false, true),
            ("", false, true),
        ];
        for (value, old, new) in cases {
            let facts = facts(&[("Connection", value)]).unwrap();
            assert_eq!(
                (facts.persists(Version::Http10), facts.persists(Version::Http11)),
                (old, new),
                "{value}"
            );
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in [
            "",
            "example.org",
            "example.org:80",
            "example.org:",
            "1.2.3.4:5",
            "[::1]",
            "[::1]:8080",
            "[::ffff:1.2.3.4]",
            "[v1.a:b]",
            "a_b",
            "xn--bcher-kva.example",
            "%41%4a:1",
            "!$&'()*+,;=~",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a b",
            "a/b",
            "user@host",
            "a?b",
            "a#b",
            "a\\b",
            "a\"b",
            "\u{fc}",
            "x:abc",
            "a:b:c",
            "x:-1",
            "x:+1",
            ":x",
            ":80",
            ":",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "x]",
            "]",
            "[",
            "[]",
            "::1",
            "[zz::1]",
            "[fe80::1%25eth0]",
            "[1.2.3.4]",
            "[v.a]",
            "[v1.]",
            "[v1]",
            "%zz",
            "%4",
            "%",
            "a%",
            "x[::1]",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn the_target_of_connect_is_a_host_and_a_port() {
        for target in ["a:1", "example.org:443", "[::1]:65535", "a:0443"] {
            assert!(is_connect_target(target.as_bytes()), "{target}");
        }
        for target in
            ["", "a", "a:", ":443", "a:0", "a:65536", "a:-1", "a:+1", "a:b", "::1", "[::1]", "u@a:1", "a:1/"]
        {
            assert!(!is_connect_target(target.as_bytes()), "{target}");
        }
    }

    #[test]
    fn a_field_that_is_as_long_as_one_that_matters_is_none() {
        let cases = [
            ("Host", "From", "a b"),
            ("Expect", "Accept", "100-continue"),
            ("Upgrade", "Trailer", "upgrade"),
            ("Connection", "X-Position", "close, upgrade"),
            ("Content-Length", "X-Content-Size", "5"),
            ("Transfer-Encoding", "X-Transfer-Coding", "gzip"),
        ];
        assert!(cases.iter().all(|(matters, other, _)| matters.len() == other.len()));
        let others = cases.map(|(_, other, value)| (other, value));
        let found = facts(&others).unwrap();
        assert_eq!(found.check_host(Version::Http11), Err(Error::Host(HostError::Missing)));
        assert_eq!(found.request_body(Version::Http11), Ok(BodyLength::None));
        assert!(found.persists(Version::Http11) && !found.expects_continue(Version::Http11));
        let offers = facts(&[("Trailer", "x"), ("Connection", "upgrade")]).unwrap();
        assert!(!offers.requests_upgrade(Version::Http11));
        let names = facts(&[("Upgrade", "x"), ("X-Position", "upgrade")]).unwrap();
        assert!(!names.requests_upgrade(Version::Http11));
    }

    /// RFC 9110 §10.1.1.
    #[test]
    fn an_expectation_that_is_not_known_is_ignored() {
        for (value, expects) in [("100-Continue", true), ("x, 100-continue", true), ("x", false), ("", false)]
        {
            let found = facts(&[("Expect", value)]).unwrap();
            assert_eq!(found.expects_continue(Version::Http11), expects, "{value:?}");
        }
    }
}
