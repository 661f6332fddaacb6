//! Heads as views of a list of fields that was checked.

use std::fmt;

use http::StatusCode;

use super::list::{FieldList, FieldsIter};
use crate::proto::fields::fields_by_iteration;

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
}

fields_by_iteration!(Fields, FieldsIter);

/// The head of a request: a view of its fields.
#[derive(Clone, Copy)]
pub struct RequestHead<'l> {
    list: &'l FieldList,
}

impl<'l> RequestHead<'l> {
    /// Creates a view of a list that [`check_request`](super::check_request) found valid.
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
    /// Creates a view of a list that [`check_response`](super::check_response) found valid.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn list(fields: &[(&str, &str)]) -> FieldList {
        let mut list = FieldList::new(u32::MAX, u32::MAX);
        for (name, value) in fields {
            list.push(name.as_bytes(), value.as_bytes());
        }
        list
    }

    #[test]
    fn a_request_is_seen_in_parts() {
        let list = list(&[
            (":path", "/a/b?c=d?e"),
            (":method", "PUT"),
            (":authority", "h:1"),
            (":scheme", "https"),
            ("via", "1"),
            ("x", ""),
            ("via", "2"),
        ]);
        let head = RequestHead::new(&list);
        assert_eq!((head.method(), head.target()), ("PUT", "/a/b?c=d?e"));
        assert_eq!((head.path(), head.query()), ("/a/b", Some("c=d?e")));
        assert_eq!((head.scheme(), head.authority(), head.protocol()), (Some("https"), Some("h:1"), None));
        let fields: Vec<_> = head.fields().iter().collect();
        assert_eq!(fields, [(&b"via"[..], &b"1"[..]), (b"x", b""), (b"via", b"2")]);
        assert_eq!(head.fields().get_all("VIA").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!((head.fields().get("x"), head.fields().get(":path")), (Some(&b""[..]), None));
        assert_eq!(head.list().get(":PATH"), Some(&b"/a/b?c=d?e"[..]));
        assert_eq!(head.list().iter().len(), 7);
        // A kept copy shows the same.
        let kept = head.list().clone();
        assert_eq!(format!("{:?}", RequestHead::new(&kept)), format!("{head:?}"));
    }

    #[test]
    fn other_requests() {
        let connect = list(&[(":method", "CONNECT"), (":authority", "h:1")]);
        let head = RequestHead::new(&connect);
        assert_eq!((head.target(), head.path(), head.query(), head.scheme()), ("h:1", "", None, None));
        let options = list(&[(":method", "OPTIONS"), (":path", "*"), ("host", "h"), (":authority", "no")]);
        let head = RequestHead::new(&options);
        assert_eq!((head.target(), head.path(), head.query(), head.authority()), ("*", "*", None, Some("h")));
        let extended = list(&[(":method", "CONNECT"), (":protocol", "websocket"), (":path", "/c")]);
        let head = RequestHead::new(&extended);
        assert_eq!((head.target(), head.protocol(), head.authority()), ("/c", Some("websocket"), None));
        // Never checked.
        let empty = list(&[]);
        let head = RequestHead::new(&empty);
        assert_eq!((head.method(), head.target(), head.fields().iter().count()), ("", "", 0));
        assert_eq!(ResponseHead::new(&empty).status(), 500);
    }

    #[test]
    fn a_response_is_a_status_and_fields() {
        let list = list(&[(":status", "404"), ("a", "b")]);
        let head = ResponseHead::new(&list);
        assert_eq!((head.status(), head.fields().get("A")), (StatusCode::NOT_FOUND, Some(&b"b"[..])));
        assert_eq!(format!("{head:?}"), "ResponseHead { status: 404, fields: {\"a\": \"b\"} }");
        assert_eq!(head.fields().into_iter().len(), 1);
        assert_eq!(Fields::new(head.list()).iter().len(), 1);
    }
}
