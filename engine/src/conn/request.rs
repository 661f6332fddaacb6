//! Requests that are encoded once and sent many times.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{Method, Request};
use ringtide_driver::SendBuffer;

use crate::error::RequestError;
use crate::proto::h1::{self, BodyLength, RequestKind};

/// An encoded HTTP/1.1 request, with or without its body.
///
/// Clones share the bytes.
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
        bytes.extend_from_slice(body);
        Ok(Self {
            bytes: Encoded::Shared(bytes.into()),
            pending_body: BodyLength::None,
            ..Self::describe(request)
        })
    }

    /// Encodes a request from its parts, with the target and the fields as they are.
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
        bytes.splice(..0, head);
        Ok(Self { bytes: Encoded::Shared(bytes.into()), kind, pending_body: BodyLength::None, closes })
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
        Ok(Self { bytes: Encoded::Shared(bytes.into()), pending_body: length, ..Self::describe(request) })
    }

    fn describe<B>(request: &Request<B>) -> Self {
        let fields =
            || request.headers().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let kind = request_kind(request.method(), connection_has(fields(), "upgrade"));
        let closes = connection_has(fields(), "close");
        let bytes = Encoded::Static(b"");
        Self { bytes, kind, pending_body: BodyLength::None, closes }
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

    /// Returns the encoded bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Encoded::Static(bytes) => bytes,
            Encoded::Shared(bytes) => bytes,
        }
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
        _ => match uri.path_and_query().map_or("", |target| target.as_str()) {
            // RFC 9112 §3.2.1: an empty path is sent as "/".
            query if query.is_empty() || query.starts_with('?') => Cow::Owned(format!("/{query}")),
            target => Cow::Borrowed(target),
        },
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
}
