//! Heads as views: validated bytes, and the small values that describe them.
//!
//! This module does not parse. [`parse`](super::parse) has validated the bytes.

use std::fmt;

use http::StatusCode;

use crate::proto::fields::{Text, fields_by_iteration};

/// The HTTP versions that this codec speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl From<Version> for http::Version {
    fn from(version: Version) -> Self {
        match version {
            Version::Http10 => Self::HTTP_10,
            Version::Http11 => Self::HTTP_11,
        }
    }
}

/// The head of a response: a view of its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ResponseHead<'b> {
    bytes: &'b [u8],
    meta: ResponseMeta,
}

/// The parsed values of a [`ResponseHead`], without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseMeta {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) fields_offset: u32,
    pub(super) length: u32,
}

/// The minimum length of a status line: "HTTP/1.1 200". A space and the reason phrase may follow.
pub(super) const STATUS_LINE_SIZE_MIN: usize = 12;

impl<'b> ResponseHead<'b> {
    /// Rebuilds a head from its `meta` and a copy of its bytes. More bytes may follow the head in `bytes`.
    ///
    /// If `bytes` are not the bytes of that head, the fields are arbitrary, but the call is safe.
    ///
    /// # Panics
    /// Panics if `bytes` is shorter than [`ResponseMeta::length`].
    #[inline]
    pub fn from_parts(bytes: &'b [u8], meta: ResponseMeta) -> Self {
        Self { bytes: &bytes[..meta.length as usize], meta }
    }

    /// Returns the value that, together with [`bytes`](Self::bytes), rebuilds this view.
    #[inline]
    pub fn meta(&self) -> ResponseMeta {
        self.meta
    }

    /// Copies the head, to keep it while the body is read. The view itself is invalid as soon as its connection
    /// continues.
    pub fn keep(&self) -> KeptResponseHead {
        KeptResponseHead { bytes: self.bytes.into(), meta: self.meta }
    }

    /// Returns the bytes of the head, from the status line to the empty line.
    #[inline]
    pub fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// Returns the status code, from 100 to 999.
    #[inline]
    pub fn status(&self) -> StatusCode {
        self.meta.status
    }

    /// Returns the HTTP version of the response. Versions 1.2 to 1.9 count as 1.1.
    #[inline]
    pub fn version(&self) -> Version {
        self.meta.version
    }

    /// Returns the reason phrase; empty if there is none. It may contain any bytes except control characters.
    pub fn reason(&self) -> &'b [u8] {
        let line = &self.bytes[STATUS_LINE_SIZE_MIN.min(self.bytes.len())..];
        let line = &line[..memchr::memchr(b'\n', line).unwrap_or(line.len())];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.strip_prefix(b" ").unwrap_or(line)
    }

    /// Returns the field lines.
    #[inline]
    pub fn fields(&self) -> Fields<'b> {
        Fields { lines: &self.bytes[self.meta.fields_offset as usize..] }
    }
}

impl ResponseMeta {
    /// Returns the length of the head in bytes.
    #[inline]
    pub fn length(&self) -> usize {
        self.length as usize
    }

    /// Returns the status code, from 100 to 999.
    #[inline]
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

/// An owned copy of a response's head; see [`ResponseHead::keep`].
#[derive(Clone, PartialEq, Eq)]
pub struct KeptResponseHead {
    bytes: Box<[u8]>,
    meta: ResponseMeta,
}

impl KeptResponseHead {
    /// Returns a view of the head.
    #[inline]
    pub fn head(&self) -> ResponseHead<'_> {
        ResponseHead { bytes: &self.bytes, meta: self.meta }
    }
}

impl fmt::Debug for KeptResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head().fmt(f)
    }
}

impl fmt::Debug for ResponseHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("version", &self.version())
            .field("status", &self.status())
            .field("reason", &Text(self.reason()))
            .field("fields", &self.fields())
            .finish()
    }
}

/// The head of a request: a view of its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestHead<'b> {
    bytes: &'b [u8],
    meta: RequestMeta,
}

/// The parsed values of a [`RequestHead`], without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestMeta {
    pub(super) version: Version,
    pub(super) expects_continue: bool,
    pub(super) requests_upgrade: bool,
    pub(super) method_length: u32,
    pub(super) target_length: u32,
    pub(super) fields_offset: u32,
    pub(super) length: u32,
}

impl<'b> RequestHead<'b> {
    /// Rebuilds a head from its `meta` and a copy of its bytes. More bytes may follow the head in `bytes`.
    ///
    /// If `bytes` are not the bytes of that head, the fields are arbitrary, but the call is safe.
    ///
    /// # Panics
    /// Panics if `bytes` is shorter than [`RequestMeta::length`].
    #[inline]
    pub fn from_parts(bytes: &'b [u8], meta: RequestMeta) -> Self {
        Self { bytes: &bytes[..meta.length as usize], meta }
    }

    /// Returns the value that, together with [`bytes`](Self::bytes), rebuilds this view.
    #[inline]
    pub fn meta(&self) -> RequestMeta {
        self.meta
    }

    /// Copies the head, to keep it while the body is read. The view itself is invalid as soon as its connection
    /// continues.
    ///
    /// ```
    /// use ringtide::Error;
    /// use ringtide::http::{Method, StatusCode};
    /// use ringtide::server::{Answered, Exchange};
    ///
    /// async fn store(mut exchange: Exchange<'_>) -> Result<Answered, Error> {
    ///     let head = exchange.head().keep();
    ///     let body = exchange.body(64 * 1024).await?.unwrap_or_default();
    ///     if head.head().method() == Method::PUT {
    ///         println!("{}: {} bytes", head.head().path(), body.len());
    ///     }
    ///     exchange.respond(StatusCode::OK, &[], "stored\n")
    /// }
    /// ```
    pub fn keep(&self) -> KeptRequestHead {
        KeptRequestHead { bytes: self.bytes.into(), meta: self.meta }
    }

    /// Returns the bytes of the head, from the request line to the empty line.
    #[inline]
    pub fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// Returns the method as the peer sent it. Methods are case-sensitive (RFC 9110 §9.1). The result compares with an
    /// [`http::Method`].
    #[inline]
    pub fn method(&self) -> &'b str {
        // A method is a token, hence ASCII. Only `from_parts` with other bytes can produce something else.
        str::from_utf8(&self.bytes[..self.meta.method_length as usize]).unwrap_or_default()
    }

    /// Returns the request target, in a form that RFC 9112 §3.2 allows for the method. It is UTF-8.
    #[inline]
    pub fn target(&self) -> &'b [u8] {
        let start = self.meta.method_length as usize + 1;
        &self.bytes[start..start + self.meta.target_length as usize]
    }

    /// Returns the path of the target as the peer sent it, without percent-decoding.
    ///
    /// It is `/` if the target is a URI without a path, `*` for `OPTIONS *`, and empty for CONNECT, whose target is a
    /// host and a port.
    ///
    /// ```
    /// use ringtide::proto::h1::{Limits, RequestEvent, ServerCodec};
    ///
    /// # let mut codec = ServerCodec::new(Limits::default());
    /// let bytes = b"GET /users/7?sort=name HTTP/1.1\r\nHost: h\r\n\r\n";
    /// # let (_, RequestEvent::Head(head)) = codec.decode(bytes)? else { panic!("it is whole") };
    /// assert_eq!(head.path().strip_prefix("/users/"), Some("7"));
    /// assert_eq!(head.query(), Some("sort=name"));
    /// # Ok::<(), ringtide::proto::h1::Error>(())
    /// ```
    pub fn path(&self) -> &'b str {
        self.path_and_query().0
    }

    /// Returns what follows the first `?` of the target, as the peer sent it; `None` if there is no `?`.
    pub fn query(&self) -> Option<&'b str> {
        self.path_and_query().1
    }

    fn path_and_query(&self) -> (&'b str, Option<&'b str>) {
        // A parsed target is UTF-8. Only `from_parts` with other bytes can produce something else.
        let target = str::from_utf8(self.target()).unwrap_or_default();
        if target.starts_with('/') || target == "*" {
            return split_query(target);
        }
        // RFC 9112 §3.2.2: a URI; for CONNECT only its authority.
        let Some((_, behind_scheme)) = target.split_once("://") else { return ("", None) };
        let authority_length = behind_scheme.find(['/', '?']).unwrap_or(behind_scheme.len());
        match split_query(&behind_scheme[authority_length..]) {
            ("", query) => ("/", query),
            parts => parts,
        }
    }

    /// Returns the host and the optional port that the request is for: those of the target if it names them, otherwise those
    /// of `Host` (RFC 9112 §3.2.2).
    pub fn authority(&self) -> Option<&'b str> {
        let target = str::from_utf8(self.target()).unwrap_or_default();
        if self.method() == "CONNECT" {
            return Some(target);
        }
        if !target.starts_with('/')
            && let Some((_, rest)) = target.split_once("://")
        {
            return Some(&rest[..rest.find(['/', '?']).unwrap_or(rest.len())]);
        }
        str::from_utf8(self.fields().get("host")?).ok()
    }

    /// Returns the HTTP version of the request. Versions 1.2 to 1.9 count as 1.1.
    #[inline]
    pub fn version(&self) -> Version {
        self.meta.version
    }

    /// Returns whether the peer waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1). Always false for
    /// HTTP/1.0.
    #[inline]
    pub fn expects_continue(&self) -> bool {
        self.meta.expects_continue
    }

    /// Returns whether the peer offers another protocol, with `Connection: upgrade` and an `Upgrade` field (RFC 9110
    /// §7.8). Always false for HTTP/1.0.
    #[inline]
    pub fn requests_upgrade(&self) -> bool {
        self.meta.requests_upgrade
    }

    /// Returns the field lines.
    #[inline]
    pub fn fields(&self) -> Fields<'b> {
        Fields { lines: &self.bytes[self.meta.fields_offset as usize..] }
    }
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

impl RequestMeta {
    /// Returns the length of the head in bytes.
    #[inline]
    pub fn length(&self) -> usize {
        self.length as usize
    }
}

/// An owned copy of a request's head; see [`RequestHead::keep`].
#[derive(Clone, PartialEq, Eq)]
pub struct KeptRequestHead {
    bytes: Box<[u8]>,
    meta: RequestMeta,
}

impl KeptRequestHead {
    /// Returns a view of the head.
    #[inline]
    pub fn head(&self) -> RequestHead<'_> {
        RequestHead { bytes: &self.bytes, meta: self.meta }
    }
}

impl fmt::Debug for KeptRequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head().fmt(f)
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method())
            .field("target", &Text(self.target()))
            .field("version", &self.version())
            .field("fields", &self.fields())
            .finish()
    }
}

/// The field lines of a head, in order, as pairs of name and value.
///
/// A name is a token, in the case that the peer sent. A value has no leading or trailing white space. It may contain
/// any bytes except control characters; a tab is allowed inside it.
///
/// The iterator splits the lines as it goes. Fields are not stored separately, and each search starts at the first
/// line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fields<'b> {
    /// Validated lines, including the empty line that ends them.
    pub(super) lines: &'b [u8],
}

impl<'b> Fields<'b> {
    /// Creates a view of valid field lines, including the empty line that ends them.
    pub(crate) fn from_lines(lines: &'b [u8]) -> Self {
        Self { lines }
    }

    /// Returns an iterator over all fields.
    #[inline]
    pub fn iter(&self) -> FieldsIter<'b> {
        FieldsIter { lines: self.lines }
    }
}

fields_by_iteration!(Fields, FieldsIter);

/// The iterator that [`Fields::iter`] returns.
#[derive(Clone, Debug)]
pub struct FieldsIter<'b> {
    lines: &'b [u8],
}

impl<'b> Iterator for FieldsIter<'b> {
    type Item = (&'b [u8], &'b [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr::memchr(b'\n', self.lines)?;
        let line = &self.lines[..end];
        // The final empty line has no colon, so it ends the iteration.
        let colon = memchr::memchr(b':', line)?;
        self.lines = &self.lines[end + 1..];
        Some((&line[..colon], trim(&line[colon + 1..])))
    }
}

/// Removes white space at both ends of `bytes`, and the CR of the line end.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\r'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[u8]) -> Vec<(&str, &str)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        Fields { lines }.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn values_are_trimmed_and_lines_may_end_with_a_bare_lf() {
        let lines = b"A:1\r\nb: \t two words \t\nEmpty:\r\nBlank:   \r\nColon: a:b\r\n\r\n";
        let expected = [("A", "1"), ("b", "two words"), ("Empty", ""), ("Blank", ""), ("Colon", "a:b")];
        assert_eq!(fields(lines), expected);
        assert_eq!(fields(b"\r\n"), []);
        assert_eq!(fields(b"\n"), []);
        assert_eq!(fields(b""), []);
    }

    #[test]
    fn fields_are_found_in_any_case_and_in_order() {
        let fields = Fields { lines: b"Via: a\r\nX: 0\r\nVIA: b\r\n\r\n" };
        assert_eq!(fields.get("via"), Some(&b"a"[..]));
        assert_eq!(fields.get_all("vIa").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(fields.get("vi"), None);
    }

    #[test]
    fn the_path_and_the_query_of_every_form_of_a_target() {
        for (target, path, query) in [
            ("/", "/", None),
            ("/a%2Fb/../c?x=1?y#z", "/a%2Fb/../c", Some("x=1?y#z")),
            ("/?", "/", Some("")),
            ("//double?to=http://h/p", "//double", Some("to=http://h/p")),
            ("*", "*", None),
            ("http://h:80/a?b", "/a", Some("b")),
            ("http://h", "/", None),
            ("http://h?a/b", "/", Some("a/b")),
            ("h:80", "", None),
        ] {
            let bytes = format!("M {target}");
            let length = bytes.len() as u32;
            let meta = RequestMeta {
                version: Version::Http11,
                expects_continue: false,
                requests_upgrade: false,
                method_length: 1,
                target_length: target.len() as u32,
                fields_offset: length,
                length,
            };
            let head = RequestHead::from_parts(bytes.as_bytes(), meta);
            assert_eq!((head.path(), head.query()), (path, query), "{target}");
        }
    }

    #[test]
    fn the_values_kept_for_a_head_are_small() {
        assert!(size_of::<ResponseMeta>() <= 12);
        assert!(size_of::<RequestMeta>() <= 20);
    }

    #[test]
    fn a_version_is_the_same_in_the_words_of_http() {
        assert_eq!(http::Version::from(Version::Http10), http::Version::HTTP_10);
        assert_eq!(http::Version::from(Version::Http11), http::Version::HTTP_11);
    }
}
