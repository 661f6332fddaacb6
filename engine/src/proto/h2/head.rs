//! Heads and trailers: the list of their fields, the rules for it (RFC 9113 §8.2 and §8.3, RFC 8441), and views of it.
//!
//! [`check_request`] and its like validate a list once. Views trust that: of a list that was not checked they return
//! arbitrary parts, or nothing.

use std::fmt;

use http::StatusCode;

use crate::proto::h1::{is_authority, is_connect_target, is_token};

/// What each field of a list costs beside its bytes (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// Up to this size an error quotes the name of a field.
const QUOTED_NAME_SIZE_MAX: usize = 64;

/// The decoded fields of a header block, in order. It is meant to be reused: clearing keeps its memory.
///
/// In a valid head the pseudo-header fields come first.
#[derive(Clone, Debug)]
pub struct FieldList {
    /// All names and values behind each other.
    bytes: Vec<u8>,
    ends: Vec<Ends>,
    count_max: u32,
    size_max: u32,
    is_too_large: bool,
}

/// Where the name and the value of a field end in `FieldList::bytes`. The name begins where the previous field ends.
#[derive(Clone, Copy, Debug)]
struct Ends {
    name: u32,
    value: u32,
}

impl FieldList {
    /// Creates an empty list. It admits `count_max` fields of `size_max` bytes together, counted as
    /// SETTINGS_MAX_HEADER_LIST_SIZE is: names, values, and 32 for each field (RFC 9113 §6.5.2).
    pub fn new(size_max: u32, count_max: u32) -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), count_max, size_max, is_too_large: false }
    }

    /// Removes all fields, and keeps their memory for the next ones.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.is_too_large = false;
    }

    /// Appends a field. If the list does not admit it, it becomes [too large](Self::is_too_large).
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        if self.admits(name.len() + value.len()) {
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(value);
            self.push_ends(name.len(), name.len() + value.len());
        }
    }

    /// Returns the number of fields.
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there is no field.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the size of all fields as `new` counts it.
    #[inline]
    pub fn size(&self) -> usize {
        self.end() + self.ends.len() * FIELD_OVERHEAD
    }

    /// Returns whether a field was not admitted. Since then nothing was appended, until [`clear`](Self::clear).
    #[inline]
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// Returns an iterator over all fields, as pairs of name and value.
    #[inline]
    pub fn iter(&self) -> FieldsIter<'_> {
        FieldsIter { bytes: &self.bytes, ends: self.ends.iter(), start: 0 }
    }

    /// Returns the value of the first field with this name. Case does not matter.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = name.as_ref();
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Appends a field whose name and value are behind each other.
    #[inline]
    pub(super) fn push_joined(&mut self, field: &[u8], name_size: usize) {
        if self.admits(field.len()) {
            self.bytes.extend_from_slice(field);
            self.push_ends(name_size, field.len());
        }
    }

    /// Returns the buffer, to append to it the name and the value of a field for [`push_spare`](Self::push_spare).
    #[inline]
    pub(super) fn spare(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Makes a field of what was appended to the buffer from `start` on, or removes it if the list does not admit it.
    #[inline]
    pub(super) fn push_spare(&mut self, start: usize, name_size: usize) {
        let size = self.bytes.len() - start;
        if self.admits(size) {
            self.push_ends(name_size, size);
        } else {
            self.bytes.truncate(start);
        }
    }

    /// Returns whether one more field may follow, with a name and a value of `size` bytes together.
    #[inline]
    fn admits(&mut self, size: usize) -> bool {
        let is_admitted = !self.is_too_large
            && self.ends.len() < self.count_max as usize
            && self.size() + size + FIELD_OVERHEAD <= self.size_max as usize;
        self.is_too_large = !is_admitted;
        is_admitted
    }

    #[inline]
    fn push_ends(&mut self, name_size: usize, size: usize) {
        // `size_max` has 32 bits, and counts these bytes.
        let start = self.end();
        self.ends.push(Ends { name: (start + name_size) as u32, value: (start + size) as u32 });
    }

    /// Returns where the last field ends in `bytes`.
    #[inline]
    fn end(&self) -> usize {
        self.ends.last().map_or(0, |ends| ends.value as usize)
    }
}

impl<'l> IntoIterator for &'l FieldList {
    type Item = (&'l [u8], &'l [u8]);
    type IntoIter = FieldsIter<'l>;

    fn into_iter(self) -> FieldsIter<'l> {
        self.iter()
    }
}

/// The iterator that [`FieldList::iter`] and [`Fields::iter`] return.
#[derive(Clone, Debug)]
pub struct FieldsIter<'l> {
    bytes: &'l [u8],
    ends: std::slice::Iter<'l, Ends>,
    start: usize,
}

impl<'l> Iterator for FieldsIter<'l> {
    type Item = (&'l [u8], &'l [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let ends = self.ends.next()?;
        let field = &self.bytes[self.start..ends.value as usize];
        let name_size = ends.name as usize - self.start;
        self.start = ends.value as usize;
        Some(field.split_at(name_size))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ends.size_hint()
    }
}

impl ExactSizeIterator for FieldsIter<'_> {}

/// The fields of a head or a trailer section without pseudo-header fields, in order, as pairs of name and value.
///
/// A name is a token in lower case. A value has no leading or trailing white space. It may contain any bytes except
/// control characters; a tab is allowed inside it.
#[derive(Clone, Copy)]
pub struct Fields<'l> {
    list: &'l FieldList,
}

impl<'l> Fields<'l> {
    /// Creates a view of a valid list.
    #[inline]
    pub fn new(list: &'l FieldList) -> Self {
        Self { list }
    }

    /// Returns an iterator over all fields.
    #[inline]
    pub fn iter(&self) -> FieldsIter<'l> {
        let mut fields = self.list.iter();
        loop {
            let rest = fields.clone();
            if !matches!(fields.next(), Some(([b':', ..], _))) {
                return rest;
            }
        }
    }

    /// Returns the value of the first field with this name. Case does not matter.
    pub fn get(&self, name: &str) -> Option<&'l [u8]> {
        self.get_all(name).next()
    }

    /// Returns the values of all fields with this name. Case does not matter.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'l [u8]> + use<'l, 'n> {
        self.iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }
}

impl<'l> IntoIterator for Fields<'l> {
    type Item = (&'l [u8], &'l [u8]);
    type IntoIter = FieldsIter<'l>;

    fn into_iter(self) -> FieldsIter<'l> {
        self.iter()
    }
}

impl<'l> IntoIterator for &Fields<'l> {
    type Item = (&'l [u8], &'l [u8]);
    type IntoIter = FieldsIter<'l>;

    fn into_iter(self) -> FieldsIter<'l> {
        self.iter()
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (Text(name), Text(value)))).finish()
    }
}

/// The head of a request: a view of its fields.
#[derive(Clone, Copy)]
pub struct RequestHead<'l> {
    list: &'l FieldList,
}

impl<'l> RequestHead<'l> {
    /// Creates a view of a list that [`check_request`] found valid.
    #[inline]
    pub fn new(list: &'l FieldList) -> Self {
        Self { list }
    }

    /// Returns the list that this is a view of.
    #[inline]
    pub fn list(&self) -> &'l FieldList {
        self.list
    }

    /// Returns the method as the peer sent it. Methods are case-sensitive (RFC 9110 §9.1).
    #[inline]
    pub fn method(&self) -> &'l str {
        self.pseudo(b":method").unwrap_or_default()
    }

    /// Returns the path and the query as the peer sent them, without percent-decoding: `*` for `OPTIONS *`. For CONNECT
    /// it is the host and the port instead. This is what stands in the request line of HTTP/1.1.
    #[inline]
    pub fn target(&self) -> &'l str {
        self.pseudo(b":path").or_else(|| self.authority()).unwrap_or_default()
    }

    /// Returns the path as the peer sent it, without percent-decoding. It is `*` for `OPTIONS *`, and empty for CONNECT,
    /// whose target is a host and a port.
    pub fn path(&self) -> &'l str {
        let path = self.pseudo(b":path").unwrap_or_default();
        path.split_once('?').map_or(path, |(path, _)| path)
    }

    /// Returns what follows the first `?` of the target, as the peer sent it; `None` if there is no `?`.
    pub fn query(&self) -> Option<&'l str> {
        self.pseudo(b":path")?.split_once('?').map(|(_, query)| query)
    }

    /// Returns the host and the optional port that the request is for; from `Host` if there is no `:authority` (RFC 9113
    /// §8.3.1). `None` only for schemes other than http and https.
    pub fn authority(&self) -> Option<&'l str> {
        self.pseudo(b":authority").or_else(|| str::from_utf8(self.fields().get("host")?).ok())
    }

    /// Returns the scheme: `https`, for example. `None` for CONNECT.
    #[inline]
    pub fn scheme(&self) -> Option<&'l str> {
        self.pseudo(b":scheme")
    }

    /// Returns the protocol that an extended CONNECT asks for (RFC 8441 §4).
    #[inline]
    pub fn protocol(&self) -> Option<&'l str> {
        self.pseudo(b":protocol")
    }

    /// Returns the fields, without pseudo-header fields.
    #[inline]
    pub fn fields(&self) -> Fields<'l> {
        Fields { list: self.list }
    }

    fn pseudo(self, name: &[u8]) -> Option<&'l str> {
        // Checked values are UTF-8.
        str::from_utf8(pseudo(self.list, name)?).ok()
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method())
            .field("target", &self.target())
            .field("scheme", &self.scheme())
            .field("authority", &self.authority())
            .field("fields", &self.fields())
            .finish()
    }
}

/// The head of a response: a view of its fields.
#[derive(Clone, Copy)]
pub struct ResponseHead<'l> {
    list: &'l FieldList,
}

impl<'l> ResponseHead<'l> {
    /// Creates a view of a list that [`check_response`] found valid.
    #[inline]
    pub fn new(list: &'l FieldList) -> Self {
        Self { list }
    }

    /// Returns the list that this is a view of.
    #[inline]
    pub fn list(&self) -> &'l FieldList {
        self.list
    }

    /// Returns the status code, from 100 to 999.
    pub fn status(&self) -> StatusCode {
        pseudo(self.list, b":status")
            .and_then(|value| StatusCode::from_bytes(value).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Returns the fields, without pseudo-header fields.
    #[inline]
    pub fn fields(&self) -> Fields<'l> {
        Fields { list: self.list }
    }
}

impl fmt::Debug for ResponseHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status())
            .field("fields", &self.fields())
            .finish()
    }
}

fn pseudo<'l>(list: &'l FieldList, name: &[u8]) -> Option<&'l [u8]> {
    list.iter()
        .take_while(|(found, _)| found.starts_with(b":"))
        .find(|field| field.0 == name)
        .map(|field| field.1)
}

/// Bytes that are usually text, for `Debug`.
struct Text<'b>(&'b [u8]);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

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

/// Why a head or a trailer section is malformed (RFC 9113 §8.1.1), or why a field cannot be sent.
///
/// Names are cut after 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The name of a field is not a token; in a received one, not in lower case.
    FieldName(Box<[u8]>),
    /// The value of the named field contains a control character, or begins or ends with white space.
    FieldValue(Box<[u8]>),
    /// The named field belongs to a connection, which HTTP/2 does not allow (RFC 9113 §8.2.2).
    ConnectionField(Box<[u8]>),
    /// The named field frames the message. Only the body may set it.
    FramingField(Box<[u8]>),
    /// The named pseudo-header field is unknown, or is not allowed in this kind of head.
    PseudoUnexpected(Box<[u8]>),
    /// The named pseudo-header field follows another field.
    PseudoLate(Box<[u8]>),
    /// The named pseudo-header field is there twice.
    PseudoRepeated(&'static str),
    /// The named pseudo-header field is missing.
    PseudoMissing(&'static str),
    /// The value of the named pseudo-header field is not valid.
    PseudoInvalid(&'static str),
    /// `host` is repeated or is not a host, or differs from `:authority` (RFC 9113 §8.3.1).
    Host,
    /// `content-length` is not a plain number of 64 bits.
    ContentLengthInvalid,
    /// Several `content-length` fields differ.
    ContentLengthsDiffer,
    /// The status is 101, which HTTP/2 does not have (RFC 9113 §8.6).
    SwitchingProtocols,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FieldName(name) => {
                write!(f, "field name \"{}\" is not a token in lower case", name.escape_ascii())
            }
            Self::FieldValue(name) => write!(
                f,
                "the value of field \"{}\" contains a control character, or white space at an end",
                name.escape_ascii()
            ),
            Self::ConnectionField(name) => {
                write!(f, "field \"{}\" is not allowed in HTTP/2", name.escape_ascii())
            }
            Self::FramingField(name) => {
                write!(f, "field \"{}\" is set by the body and must not be given", name.escape_ascii())
            }
            Self::PseudoUnexpected(name) => {
                write!(f, "pseudo-header field \"{}\" is not allowed here", name.escape_ascii())
            }
            Self::PseudoLate(name) => {
                write!(f, "pseudo-header field \"{}\" follows another field", name.escape_ascii())
            }
            Self::PseudoRepeated(name) => write!(f, "pseudo-header field \"{name}\" is repeated"),
            Self::PseudoMissing(name) => write!(f, "pseudo-header field \"{name}\" is missing"),
            Self::PseudoInvalid(name) => {
                write!(f, "the value of pseudo-header field \"{name}\" is not valid")
            }
            Self::Host => {
                f.write_str("field \"host\" is repeated, is not a host, or differs from \":authority\"")
            }
            Self::ContentLengthInvalid => f.write_str("field \"content-length\" is not a number"),
            Self::ContentLengthsDiffer => f.write_str("several \"content-length\" fields differ"),
            Self::SwitchingProtocols => f.write_str("\":status\" is 101, which HTTP/2 does not have"),
        }
    }
}

impl std::error::Error for HeadError {}

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

#[cold]
fn quoted(name: &[u8]) -> Box<[u8]> {
    name[..name.len().min(QUOTED_NAME_SIZE_MAX)].into()
}
