//! Heads and fields as their readers see them, whatever version of HTTP brought them.
//!
//! Nothing is parsed or checked here: the codecs in [`proto`](crate::proto) have done that. Each type is a view of what a
//! codec has found, or a copy of it.

use std::fmt;

use crate::proto::fields::fields_by_iteration;
use crate::proto::h1;
use crate::proto::h2::{self, FieldList};

/// The head of a response: a view of the received bytes.
#[derive(Clone, Copy)]
pub struct ResponseHead<'b>(ResponseView<'b>);

#[derive(Clone, Copy)]
enum ResponseView<'b> {
    H1(h1::ResponseHead<'b>),
    H2(h2::ResponseHead<'b>),
}

impl<'b> ResponseHead<'b> {
    /// Returns the status code, from 100 to 999.
    #[inline]
    pub fn status(&self) -> http::StatusCode {
        match &self.0 {
            ResponseView::H1(head) => head.status(),
            ResponseView::H2(head) => head.status(),
        }
    }

    /// Returns the HTTP version of the response. Versions 1.2 to 1.9 count as 1.1.
    #[inline]
    pub fn version(&self) -> http::Version {
        match &self.0 {
            ResponseView::H1(head) => head.version().into(),
            ResponseView::H2(_) => http::Version::HTTP_2,
        }
    }

    /// Returns the header fields.
    #[inline]
    pub fn fields(&self) -> Fields<'b> {
        match &self.0 {
            ResponseView::H1(head) => head.fields().into(),
            ResponseView::H2(head) => head.fields().into(),
        }
    }

    /// Copies the head, to keep it while the body is read. The view itself is invalid as soon as its connection
    /// continues.
    pub fn keep(&self) -> KeptResponseHead {
        match &self.0 {
            ResponseView::H1(head) => KeptResponseHead(KeptResponse::H1(head.keep())),
            ResponseView::H2(head) => KeptResponseHead(KeptResponse::H2(head.list().clone())),
        }
    }
}

impl<'b> From<h1::ResponseHead<'b>> for ResponseHead<'b> {
    #[inline]
    fn from(head: h1::ResponseHead<'b>) -> Self {
        Self(ResponseView::H1(head))
    }
}

impl<'b> From<h2::ResponseHead<'b>> for ResponseHead<'b> {
    #[inline]
    fn from(head: h2::ResponseHead<'b>) -> Self {
        Self(ResponseView::H2(head))
    }
}

impl fmt::Debug for ResponseHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ResponseView::H1(head) => head.fmt(f),
            ResponseView::H2(head) => head.fmt(f),
        }
    }
}

/// An owned copy of a response's head; see [`ResponseHead::keep`].
#[derive(Clone)]
pub struct KeptResponseHead(KeptResponse);

#[derive(Clone)]
enum KeptResponse {
    H1(h1::KeptResponseHead),
    H2(FieldList),
}

impl KeptResponseHead {
    /// Returns a view of the head.
    #[inline]
    pub fn head(&self) -> ResponseHead<'_> {
        match &self.0 {
            KeptResponse::H1(kept) => kept.head().into(),
            KeptResponse::H2(list) => h2::ResponseHead::new(list).into(),
        }
    }
}

impl fmt::Debug for KeptResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head().fmt(f)
    }
}

/// The head of a request: a view of the received bytes.
#[derive(Clone, Copy)]
pub struct RequestHead<'b>(RequestView<'b>);

#[derive(Clone, Copy)]
enum RequestView<'b> {
    H1(h1::RequestHead<'b>),
    H2(h2::RequestHead<'b>),
}

impl<'b> RequestHead<'b> {
    /// Returns the method as the peer sent it. Methods are case-sensitive (RFC 9110 §9.1). The result compares with an
    /// [`http::Method`].
    #[inline]
    pub fn method(&self) -> &'b str {
        match &self.0 {
            RequestView::H1(head) => head.method(),
            RequestView::H2(head) => head.method(),
        }
    }

    /// Returns the request target as the peer sent it, in a form that RFC 9112 §3.2 allows for the method. It is UTF-8. In
    /// HTTP/2 it is the path with the query, and for CONNECT the authority.
    #[inline]
    pub fn target(&self) -> &'b [u8] {
        match &self.0 {
            RequestView::H1(head) => head.target(),
            RequestView::H2(head) => head.target().as_bytes(),
        }
    }

    /// Returns the path of the target as the peer sent it, without percent-decoding.
    ///
    /// It is `/` if the target is a URI without a path, `*` for `OPTIONS *`, and empty for CONNECT, whose target is a
    /// host and a port.
    #[inline]
    pub fn path(&self) -> &'b str {
        match &self.0 {
            RequestView::H1(head) => head.path(),
            RequestView::H2(head) => head.path(),
        }
    }

    /// Returns what follows the first `?` of the target, as the peer sent it; `None` if there is no `?`.
    #[inline]
    pub fn query(&self) -> Option<&'b str> {
        match &self.0 {
            RequestView::H1(head) => head.query(),
            RequestView::H2(head) => head.query(),
        }
    }

    /// Returns the host and the optional port that the request is for: those of the target if it names them, otherwise those
    /// of `Host`.
    pub fn authority(&self) -> Option<&'b str> {
        match &self.0 {
            RequestView::H1(head) => head.authority(),
            RequestView::H2(head) => head.authority(),
        }
    }

    /// Returns the protocol that an extended CONNECT asks for (RFC 8441 §4). Only HTTP/2 has it.
    pub fn protocol(&self) -> Option<&'b str> {
        match &self.0 {
            RequestView::H1(_) => None,
            RequestView::H2(head) => head.protocol(),
        }
    }

    /// Returns the HTTP version of the request. Versions 1.2 to 1.9 count as 1.1.
    #[inline]
    pub fn version(&self) -> http::Version {
        match &self.0 {
            RequestView::H1(head) => head.version().into(),
            RequestView::H2(_) => http::Version::HTTP_2,
        }
    }

    /// Returns whether the peer waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1). Always false for
    /// HTTP/1.0.
    #[inline]
    pub fn expects_continue(&self) -> bool {
        match &self.0 {
            RequestView::H1(head) => head.expects_continue(),
            RequestView::H2(head) => head
                .fields()
                .get_all("expect")
                .flat_map(|value| value.split(|byte| *byte == b','))
                .any(|item| item.trim_ascii().eq_ignore_ascii_case(b"100-continue")),
        }
    }

    /// Returns whether the peer offers another protocol, with `Connection: upgrade` and an `Upgrade` field (RFC 9110
    /// §7.8). Only HTTP/1.1 has such an offer.
    #[inline]
    pub fn requests_upgrade(&self) -> bool {
        match &self.0 {
            RequestView::H1(head) => head.requests_upgrade(),
            RequestView::H2(_) => false,
        }
    }

    /// Returns the header fields.
    #[inline]
    pub fn fields(&self) -> Fields<'b> {
        match &self.0 {
            RequestView::H1(head) => head.fields().into(),
            RequestView::H2(head) => head.fields().into(),
        }
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
        match &self.0 {
            RequestView::H1(head) => KeptRequestHead(KeptRequest::H1(head.keep())),
            RequestView::H2(head) => KeptRequestHead(KeptRequest::H2(head.list().clone())),
        }
    }
}

impl<'b> From<h1::RequestHead<'b>> for RequestHead<'b> {
    #[inline]
    fn from(head: h1::RequestHead<'b>) -> Self {
        Self(RequestView::H1(head))
    }
}

impl<'b> From<h2::RequestHead<'b>> for RequestHead<'b> {
    #[inline]
    fn from(head: h2::RequestHead<'b>) -> Self {
        Self(RequestView::H2(head))
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            RequestView::H1(head) => head.fmt(f),
            RequestView::H2(head) => head.fmt(f),
        }
    }
}

/// An owned copy of a request's head; see [`RequestHead::keep`].
#[derive(Clone)]
pub struct KeptRequestHead(KeptRequest);

#[derive(Clone)]
enum KeptRequest {
    H1(h1::KeptRequestHead),
    H2(FieldList),
}

impl KeptRequestHead {
    /// Returns a view of the head.
    #[inline]
    pub fn head(&self) -> RequestHead<'_> {
        match &self.0 {
            KeptRequest::H1(kept) => kept.head().into(),
            KeptRequest::H2(list) => h2::RequestHead::new(list).into(),
        }
    }
}

impl fmt::Debug for KeptRequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head().fmt(f)
    }
}

/// The header fields of a message, in order, as pairs of name and value.
///
/// A name is a token, in the case that the peer sent; in HTTP/2 always in lower case. A value has no leading or trailing white space. It may contain
/// any bytes except control characters; a tab is allowed inside it.
///
/// Each search starts at the first field.
#[derive(Clone, Copy)]
pub struct Fields<'b>(FieldsView<'b>);

#[derive(Clone, Copy)]
enum FieldsView<'b> {
    H1(h1::Fields<'b>),
    H2(h2::Fields<'b>),
}

impl<'b> Fields<'b> {
    /// Returns an iterator over all fields.
    #[inline]
    pub fn iter(&self) -> FieldsIter<'b> {
        match &self.0 {
            FieldsView::H1(fields) => FieldsIter(Iter::H1(fields.iter())),
            FieldsView::H2(fields) => FieldsIter(Iter::H2(fields.iter())),
        }
    }
}

impl<'b> From<h1::Fields<'b>> for Fields<'b> {
    #[inline]
    fn from(fields: h1::Fields<'b>) -> Self {
        Self(FieldsView::H1(fields))
    }
}

impl<'b> From<h2::Fields<'b>> for Fields<'b> {
    #[inline]
    fn from(fields: h2::Fields<'b>) -> Self {
        Self(FieldsView::H2(fields))
    }
}

fields_by_iteration!(Fields, FieldsIter);

/// The iterator that [`Fields::iter`] returns.
#[derive(Clone, Debug)]
pub struct FieldsIter<'b>(Iter<'b>);

#[derive(Clone, Debug)]
enum Iter<'b> {
    H1(h1::FieldsIter<'b>),
    H2(h2::FieldsIter<'b>),
}

impl<'b> Iterator for FieldsIter<'b> {
    type Item = (&'b [u8], &'b [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Iter::H1(iter) => iter.next(),
            Iter::H2(iter) => iter.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::h1::{ClientCodec, Limits, RequestEvent, RequestKind, ResponseEvent, ServerCodec};

    #[test]
    fn a_head_of_http_1_shows_what_its_codec_has_found() {
        let bytes = b"GET /a?b=1 HTTP/1.0\r\nHost: h\r\nX: 1\r\nx: 2\r\n\r\n";
        let mut codec = ServerCodec::new(Limits::default());
        let Ok((_, RequestEvent::Head(found))) = codec.decode(bytes) else { panic!("it is whole") };
        let kept = RequestHead::from(found).keep();
        let head = kept.head();
        assert_eq!((head.method(), head.target()), ("GET", &b"/a?b=1"[..]));
        assert_eq!((head.path(), head.query(), head.version()), ("/a", Some("b=1"), http::Version::HTTP_10));
        assert_eq!((head.authority(), head.protocol()), (Some("h"), None));
        assert_eq!((head.expects_continue(), head.requests_upgrade()), (false, false));
        assert_eq!(head.fields().get_all("X").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(head.fields().into_iter().count(), 3);
        assert_eq!(format!("{kept:?}"), format!("{found:?}"));

        for (line, authority) in [
            ("GET http://a:1/b?c HTTP/1.1", Some("a:1")),
            ("GET http://a?c=/ HTTP/1.1", Some("a")),
            ("GET /://a HTTP/1.1", Some("h")),
            ("CONNECT a:443 HTTP/1.1", Some("a:443")),
        ] {
            let bytes = format!("{line}\r\nHost: h\r\n\r\n");
            let mut codec = ServerCodec::new(Limits::default());
            let Ok((_, RequestEvent::Head(found))) = codec.decode(bytes.as_bytes()) else { panic!("{line}") };
            assert_eq!(RequestHead::from(found).authority(), authority, "{line}");
        }

        let mut bytes = *b"HTTP/1.1 404 None Such\r\nServer: s\r\nContent-Length: 0\r\n\r\n";
        let mut codec = ClientCodec::new(Limits::default());
        codec.begin(RequestKind::Other);
        let Ok((_, ResponseEvent::Head(found))) = codec.decode(&mut bytes) else { panic!("it is whole") };
        let kept = ResponseHead::from(found).keep();
        let head = kept.head();
        assert_eq!((head.status().as_u16(), head.version()), (404, http::Version::HTTP_11));
        assert_eq!(head.fields().get("server"), Some(&b"s"[..]));
        assert_eq!(format!("{kept:?}"), format!("{found:?}"));
    }

    #[test]
    fn a_head_of_http_2_shows_the_fields_of_its_list() {
        let mut list = FieldList::new(u32::MAX, u32::MAX);
        for (name, value) in [
            (&b":method"[..], &b"GET"[..]),
            (b":scheme", b"https"),
            (b":authority", b"h:1"),
            (b":path", b"/a?b=1"),
            (b"expect", b"x, 100-Continue"),
            (b"x", b"1"),
        ] {
            list.push(name, value);
        }
        let kept = RequestHead::from(h2::RequestHead::new(&list)).keep();
        let head = kept.head();
        assert_eq!((head.method(), head.target()), ("GET", &b"/a?b=1"[..]));
        assert_eq!((head.path(), head.query(), head.version()), ("/a", Some("b=1"), http::Version::HTTP_2));
        assert_eq!((head.authority(), head.protocol()), (Some("h:1"), None));
        assert_eq!((head.expects_continue(), head.requests_upgrade()), (true, false));
        assert_eq!(head.fields().get("X"), Some(&b"1"[..]));
        assert_eq!(head.fields().into_iter().count(), 2, "no pseudo-header fields");

        list.clear();
        list.push(b":status", b"404");
        list.push(b"server", b"s");
        let kept = ResponseHead::from(h2::ResponseHead::new(&list)).keep();
        let head = kept.head();
        assert_eq!((head.status().as_u16(), head.version()), (404, http::Version::HTTP_2));
        assert_eq!(head.fields().get("server"), Some(&b"s"[..]));
    }
}
