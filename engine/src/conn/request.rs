//! Requests that are encoded once and sent many times.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Scheme;
use http::{Method, Request};
use ringtide_driver::SendBuffer;

use crate::error::RequestError;
use crate::proto::h1::{self, BodyLength, RequestKind};
use crate::proto::h2::{hpack, outgoing_field};

/// A cookie shorter than this could be guessed by trying one after the other, if what repeats became shorter.
const COOKIE_INDEXED_SIZE_MIN: usize = 20;

/// An encoded request, with or without its body.
///
/// It is kept as HTTP/1.1 sends it, and encoded for HTTP/2 when a connection first needs that. Clones share both.
///
/// ```
/// use ringtide::PreparedRequest;
/// use ringtide::bytes::Bytes;
/// use ringtide::http::Request;
///
/// let request = Request::get("http://localhost:8080/hello?n=1").body(Bytes::new())?;
/// let prepared = PreparedRequest::new(&request)?;
/// assert_eq!(prepared.bytes(), b"GET /hello?n=1 HTTP/1.1\r\nhost: localhost:8080\r\n\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PreparedRequest {
    bytes: Encoded,
    kind: RequestKind,
    /// The part of the body that is sent separately.
    pending_body: BodyLength,
    closes: bool,
    /// The part of `bytes` before the body.
    head_size: u32,
    scheme: Scheme,
    header_block: OnceLock<Arc<[u8]>>,
}

#[derive(Clone, Debug)]
enum Encoded {
    Static(&'static [u8]),
    Shared(Bytes),
}

impl PreparedRequest {
    /// Encodes `request` with its body.
    ///
    /// `Host` comes from the URI unless the request has such a field. `Content-Length` is added if the body is not
    /// empty or the method usually has one (POST, PUT, PATCH). The target is sent as in the URI, with two exceptions:
    /// an empty path is sent as `/`, and user information is not sent.
    ///
    /// # Errors
    /// An error in these cases:
    /// - A part of the head has bytes that the peer could read as something else.
    /// - There is no host, or more than one.
    /// - The method is CONNECT and there is no port.
    pub fn new(request: &Request<Bytes>) -> Result<Self, RequestError> {
        let body = request.body();
        let length = body_length(request.method(), body);
        let mut bytes = encode_head(request, length)?;
        let head_size = bytes.len();
        bytes.extend_from_slice(body);
        Ok(Self::describe(request, bytes, head_size, BodyLength::None))
    }

    /// Encodes a request from its parts, with the target and the fields as they are. Its [scheme](Self::scheme) is
    /// `http`.
    ///
    /// The fields must contain `Host`. `Content-Length` is added if the body is not empty or the method usually has one
    /// (POST, PUT, PATCH). If `body` is a `Vec`, the head is inserted in front of it in the same allocation.
    ///
    /// # Errors
    /// An error in these cases:
    /// - A part of the head has bytes that the peer could read as something else.
    /// - There is not exactly one `Host`.
    pub fn from_parts<'f>(
        method: &Method,
        target: &str,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
        body: impl Into<Vec<u8>>,
    ) -> Result<Self, RequestError> {
        let mut bytes = body.into();
        let length = body_length(method, &bytes);
        let closes = connection_has(fields.clone(), "close");
        let kind = request_kind(method, connection_has(fields.clone(), "upgrade"));
        let mut head = Vec::with_capacity(256);
        h1::encode_request_head(&mut head, method.as_str(), target, h1::Version::Http11, fields, length)
            .map_err(RequestError::Head)?;
        // Growing a large allocation moves its pages and copies nothing (mremap(2)).
        bytes.reserve_exact(head.len());
        let head_size = head.len() as u32;
        bytes.splice(..0, head);
        Ok(Self {
            bytes: Encoded::Shared(bytes.into()),
            kind,
            pending_body: BodyLength::None,
            closes,
            head_size,
            scheme: Scheme::HTTP,
            header_block: OnceLock::new(),
        })
    }

    /// Encodes the head of `request` only.
    ///
    /// The caller sends the body with [`Connection::send_data`](crate::Connection::send_data). The body has `length`
    /// bytes, or is sent in chunks if `length` is `None`.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_streamed_body<B>(request: &Request<B>, length: Option<u64>) -> Result<Self, RequestError> {
        let length = length.map_or(BodyLength::Chunked, BodyLength::Length);
        let bytes = encode_head(request, length)?;
        let head_size = bytes.len();
        Ok(Self::describe(request, bytes, head_size, length))
    }

    fn describe<B>(request: &Request<B>, bytes: Vec<u8>, head_size: usize, pending_body: BodyLength) -> Self {
        let fields =
            || request.headers().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let kind = request_kind(request.method(), connection_has(fields(), "upgrade"));
        let closes = connection_has(fields(), "close");
        Self {
            bytes: Encoded::Shared(bytes.into()),
            kind,
            pending_body,
            closes,
            head_size: head_size as u32,
            scheme: request.uri().scheme().cloned().unwrap_or(Scheme::HTTP),
            header_block: OnceLock::new(),
        }
    }

    /// Sets the scheme, which only HTTP/2 sends. Without this call it is that of the URI.
    #[must_use]
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self.header_block = OnceLock::new();
        self
    }

    /// Moves the request to memory that is never freed, for a request that is sent as long as the program runs.
    ///
    /// Such a request is sent without copying it, without counting references and without a completion for each send.
    /// Bytes that no clone shares stay where they are.
    #[must_use]
    pub fn leak(self) -> Self {
        let bytes = match self.bytes {
            Encoded::Static(bytes) => bytes,
            Encoded::Shared(bytes) => Vec::from(bytes).leak(),
        };
        Self { bytes: Encoded::Static(bytes), ..self }
    }

    /// Returns the bytes that HTTP/1.1 sends: the head and the body.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Encoded::Static(bytes) => bytes,
            Encoded::Shared(bytes) => bytes,
        }
    }

    /// Returns the body; empty if it is sent separately.
    pub fn body(&self) -> &[u8] {
        &self.bytes()[self.head_size as usize..]
    }

    /// Returns the head that HTTP/2 sends: a header block (RFC 7541) without use of the dynamic table, so it is valid on
    /// any connection.
    ///
    /// It has no fields that concern a connection of HTTP/1.1, such as `Connection` (RFC 9113 §8.2.2).
    pub fn header_block(&self) -> &[u8] {
        self.header_block.get_or_init(|| {
            let mut block = Vec::with_capacity(256);
            self.for_each_field(|name, value, is_secret| {
                hpack::encode_stateless(name, value, is_secret, &mut block);
            });
            block.into()
        })
    }

    /// Passes the fields that HTTP/2 sends to `take`, pseudo-header fields first: the name in lower case, the value, and
    /// whether it is a secret that no table may contain (RFC 7541 §7.1.3).
    pub(super) fn for_each_field(&self, take: impl FnMut(&[u8], &[u8], bool)) {
        self.for_each_field_of(&self.bytes()[..self.head_size as usize], &mut Vec::new(), take);
    }

    /// Does the same with another head of this request's scheme, as HTTP/1.1 sends it. `lower_case` is memory for names.
    pub(super) fn for_each_field_of(
        &self,
        head: &[u8],
        lower_case: &mut Vec<u8>,
        mut take: impl FnMut(&[u8], &[u8], bool),
    ) {
        let (line, lines) = head.split_at(memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1));
        let mut words = line.split(|byte| *byte == b' ');
        let method = words.next().unwrap_or_default();
        // It was encoded from text.
        let target = words.next().and_then(|target| str::from_utf8(target).ok()).unwrap_or_default();
        let fields = h1::Fields::from_lines(lines);
        let host = fields.get("host").unwrap_or_default();
        take(b":method", method, false);
        if method == b"CONNECT" {
            take(b":authority", target.as_bytes(), false);
        } else {
            let (scheme, authority, path) = split_target(target, self.scheme.as_str(), host);
            take(b":scheme", scheme.as_bytes(), false);
            if !authority.is_empty() {
                take(b":authority", authority, false);
            }
            take(b":path", path.as_bytes(), false);
        }
        for (name, value) in fields {
            if name.eq_ignore_ascii_case(b"content-length") {
                take(b"content-length", value, false);
            } else if !name.eq_ignore_ascii_case(b"host")
                && let Ok(Some((name, value))) = outgoing_field(name, value, lower_case)
            {
                take(name, value, is_secret(name, value));
            }
        }
    }

    /// Returns whether `other` certainly has the same head: both are clones of one request.
    #[inline]
    pub(super) fn has_head_of(&self, other: &Self) -> bool {
        std::ptr::eq(self.bytes(), other.bytes()) && self.scheme == other.scheme
    }

    /// Returns how the request affects the form of its response.
    pub(super) fn kind(&self) -> RequestKind {
        self.kind
    }

    /// Returns which part of the body is sent separately.
    pub(super) fn pending_body(&self) -> BodyLength {
        self.pending_body
    }

    /// Returns whether the request asks the peer to close the connection after the response.
    pub(super) fn closes(&self) -> bool {
        self.closes
    }

    /// Returns the bytes if they are static.
    #[inline]
    pub(super) fn as_static(&self) -> Option<&'static [u8]> {
        match self.bytes {
            Encoded::Static(bytes) => Some(bytes),
            Encoded::Shared(_) => None,
        }
    }

    pub(super) fn to_buffer(&self) -> SendBuffer {
        match &self.bytes {
            Encoded::Static(bytes) => SendBuffer::Static(bytes),
            Encoded::Shared(bytes) => SendBuffer::Shared(bytes.clone()),
        }
    }
}

fn body_length(method: &Method, body: &[u8]) -> BodyLength {
    // RFC 9110 §8.6: a method that usually has a body announces an empty one. Other methods do not mention it.
    let anticipated = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    if body.is_empty() && !anticipated { BodyLength::None } else { BodyLength::Length(body.len() as u64) }
}

fn request_kind(method: &Method, upgrades: bool) -> RequestKind {
    match *method {
        Method::HEAD => RequestKind::Head,
        Method::CONNECT => RequestKind::Connect,
        _ if upgrades => RequestKind::Upgrade,
        _ => RequestKind::Other,
    }
}

/// Returns whether the `Connection` fields contain `option` (RFC 9110 §7.6.1).
fn connection_has<'f>(fields: impl Iterator<Item = (&'f [u8], &'f [u8])>, option: &str) -> bool {
    fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"connection")).any(|(_, value)| {
        value
            .split(|byte| *byte == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
    })
}

/// Returns the scheme, the authority and the path of a target; from `scheme` and `host` if it is only a path.
fn split_target<'t>(target: &'t str, scheme: &'t str, host: &'t [u8]) -> (&'t str, &'t [u8], Cow<'t, str>) {
    let uri = if target.starts_with('/') { None } else { target.split_once("://") };
    match uri {
        // RFC 9112 §3.2.2: a URI, whose authority replaces the host.
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            (scheme, authority.as_bytes(), rooted(path))
        }
        None => (scheme, host, target.into()),
    }
}

/// Returns `path`, behind "/" if it is empty or only a query (RFC 9112 §3.2.1).
fn rooted(path: &str) -> Cow<'_, str> {
    if path.is_empty() || path.starts_with('?') { format!("/{path}").into() } else { path.into() }
}

fn is_secret(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"authorization" | b"proxy-authorization" => true,
        b"cookie" => value.len() < COOKIE_INDEXED_SIZE_MIN,
        _ => false,
    }
}

fn encode_head<B>(request: &Request<B>, length: BodyLength) -> Result<Vec<u8>, RequestError> {
    let uri = request.uri();
    let lacking = |reason: &str| RequestError::Uri { uri: uri.to_string(), reason: reason.to_owned() };
    // RFC 9110 §4.2.4: user information is not sent; it is usually an attempt to deceive.
    let authority =
        uri.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    let host = match request.headers().get(HOST) {
        Some(_) => None,
        None => Some(authority.ok_or_else(|| lacking("no host, and no Host header"))?),
    };
    let target = match *request.method() {
        // Encoding it checks it fully.
        Method::CONNECT => authority.ok_or_else(|| lacking("CONNECT needs a host and a port"))?.into(),
        _ => rooted(uri.path_and_query().map_or("", |target| target.as_str())),
    };
    let host = host.iter().map(|host| (&b"host"[..], host.as_bytes()));
    // This function sets the framing itself, once.
    let fields = request
        .headers()
        .iter()
        .filter(|(name, _)| **name != CONTENT_LENGTH && **name != TRANSFER_ENCODING)
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let mut bytes = Vec::with_capacity(256);
    h1::encode_request_head(
        &mut bytes,
        request.method().as_str(),
        &*target,
        h1::Version::Http11,
        host.chain(fields),
        length,
    )
    .map_err(RequestError::Head)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::h2::{FieldList, check_request};

    fn first_lines(method: &str, uri: &str) -> Result<String, String> {
        let request = Request::builder().method(method).uri(uri).body(Bytes::new());
        let prepared = PreparedRequest::new(&request.map_err(|error| error.to_string())?);
        let prepared = prepared.map_err(|error| error.to_string())?;
        let text = String::from_utf8(prepared.bytes().to_vec()).expect("it is ASCII");
        Ok(text.replace(" HTTP/1.1\r\nhost:", "").trim_end().to_owned())
    }

    #[test]
    fn the_target_and_the_host_follow_from_the_uri() {
        for (method, uri, expected) in [
            ("GET", "http://h?x=1", "GET /?x=1 h"),
            ("GET", "http://h", "GET / h"),
            ("GET", "http://h/?", "GET /? h"),
            ("GET", "http://me:secret@h:80/a", "GET /a h:80"),
            ("CONNECT", "http://me:secret@h:80/", "CONNECT h:80 h:80"),
            ("CONNECT", "h:443", "CONNECT h:443 h:443"),
            ("GET", "http://[::1]:80/", "GET / [::1]:80"),
        ] {
            assert_eq!(first_lines(method, uri).as_deref(), Ok(expected), "{method} {uri}");
        }
        for (method, uri, says) in [
            ("CONNECT", "http://h/", "host and a port"),
            ("CONNECT", "h:0", "host and a port"),
            ("CONNECT", "/", "host"),
            ("GET", "/", "no host"),
            ("GET", "http://:80/", ""),
            ("GET", "http:///", ""),
            ("GET", "http://me@:80/", ""),
        ] {
            let error = first_lines(method, uri).expect_err(uri);
            assert!(error.contains(says) && !error.contains("secret"), "{method} {uri}: {error}");
        }
    }

    #[test]
    fn a_request_has_one_host() {
        for (hosts, is_taken) in [
            (&["a"][..], true),
            (&["a:80"], true),
            (&["a", "b"], false),
            (&["a", "a"], false),
            (&["a b"], false),
            (&["a b/c@d"], false),
            (&[":80"], false),
        ] {
            let mut request = Request::get("http://h/").body(Bytes::new()).expect("it is valid");
            for host in hosts {
                request.headers_mut().append(HOST, host.parse().expect("it is a value"));
            }
            assert_eq!(PreparedRequest::new(&request).is_ok(), is_taken, "{hosts:?}");
            let fields = hosts.iter().map(|host| (&b"Host"[..], host.as_bytes()));
            let from_parts = PreparedRequest::from_parts(&Method::GET, "/", fields, b"");
            assert_eq!(from_parts.is_ok(), is_taken, "{hosts:?}");
        }
        assert!(PreparedRequest::from_parts(&Method::GET, "/", [].into_iter(), b"").is_err());
    }

    #[test]
    fn a_leaked_request_is_the_same_in_memory_that_stays() {
        let request = Request::put("http://h/").header("Connection", "close").body("body".into()).unwrap();
        let shared = PreparedRequest::new(&request).unwrap();
        assert_eq!(shared.as_static(), None);
        let leaked = shared.clone().leak();
        assert_eq!(leaked.as_static(), Some(shared.bytes()));
        assert_eq!((leaked.closes(), leaked.kind()), (true, RequestKind::Other));
        assert!(std::ptr::eq(leaked.clone().leak().bytes(), leaked.bytes()));
    }

    /// RFC 9112 §6.3: where the response ends depends on it.
    #[test]
    fn the_kind_of_a_request_follows_from_its_method_and_its_offer() {
        for (method, upgrades, kind) in [
            (Method::GET, false, RequestKind::Other),
            (Method::HEAD, false, RequestKind::Head),
            (Method::HEAD, true, RequestKind::Head),
            (Method::CONNECT, false, RequestKind::Connect),
            (Method::CONNECT, true, RequestKind::Connect),
            (Method::GET, true, RequestKind::Upgrade),
        ] {
            assert_eq!(request_kind(&method, upgrades), kind, "{method} {upgrades}");
        }
    }

    /// The fields of the header block, as a peer decodes them.
    fn decoded(request: &PreparedRequest) -> Vec<String> {
        let mut fields = FieldList::new(u32::MAX, u32::MAX);
        hpack::Decoder::new(4096).decode(request.header_block(), &mut fields).unwrap();
        check_request(&fields, false).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields.iter().map(|(name, value)| format!("{} {}", text(name), text(value))).collect()
    }

    #[test]
    fn the_header_block_says_the_same_as_the_head_of_http_1() {
        let request = Request::post("https://me:secret@h:80/a?b=1")
            .header("X-One", "1")
            .header("Connection", "close, x-hop")
            .header("Cookie", "short")
            .body(Bytes::from_static(b"four"));
        let request = PreparedRequest::new(&request.unwrap()).unwrap();
        let expected = [
            ":method POST",
            ":scheme https",
            ":authority h:80",
            ":path /a?b=1",
            "x-one 1",
            "cookie short",
            "content-length 4",
        ];
        assert_eq!(decoded(&request), expected);
        assert_eq!(request.body(), b"four");
        assert!(std::ptr::eq(request.clone().header_block(), request.header_block()), "it is shared");
        assert_eq!(decoded(&request.leak()), expected);

        let streamed = Request::put("http://h").header("TE", "trailers, gzip").body(()).unwrap();
        let streamed = PreparedRequest::with_streamed_body(&streamed, None).unwrap();
        assert_eq!(decoded(&streamed), [":method PUT", ":scheme http", ":authority h", ":path /"]);
        assert_eq!(streamed.body(), b"");
        let tunnel = PreparedRequest::new(&Request::connect("h:443").body(Bytes::new()).unwrap()).unwrap();
        assert_eq!(decoded(&tunnel), [":method CONNECT", ":authority h:443"]);
    }

    #[test]
    fn the_header_block_of_parts_names_what_the_target_names() {
        let of_target = |target: &str| {
            let fields = [(&b"HOST"[..], &b"other"[..]), (b"X-Name", b" a ")];
            PreparedRequest::from_parts(&Method::GET, target, fields.into_iter(), b"").unwrap()
        };
        for (target, expected) in [
            ("/a://b", [":scheme http", ":authority other", ":path /a://b"]),
            ("*", [":scheme http", ":authority other", ":path *"]),
            ("https://h:1/a/b?c://d", [":scheme https", ":authority h:1", ":path /a/b?c://d"]),
            ("http://h?c", [":scheme http", ":authority h", ":path /?c"]),
        ] {
            let request = if target == "*" {
                PreparedRequest::from_parts(
                    &Method::OPTIONS,
                    target,
                    [(&b"host"[..], &b"other"[..])].into_iter(),
                    b"",
                )
                .unwrap()
            } else {
                of_target(target)
            };
            assert_eq!(decoded(&request)[1..4], expected, "{target}");
        }
        let request = of_target("/");
        assert_eq!(decoded(&request)[4..], ["x-name a"]);
        assert_eq!(decoded(&request.scheme(Scheme::HTTPS))[1], ":scheme https");
    }

    #[test]
    fn secrets_are_never_indexed() {
        let secrets: Vec<_> = [
            (&b"authorization"[..], &b"Basic x"[..]),
            (b"proxy-authorization", b"Basic x"),
            (b"cookie", b"0123456789012345678"),
            (b"cookie", b"01234567890123456789"),
            (b"accept", b"x"),
        ]
        .iter()
        .map(|(name, value)| is_secret(name, value))
        .collect();
        assert_eq!(secrets, [true, true, true, false, false]);
    }
}
