//! The head of a request, and whom it is for: what requests that follow each other often have in common.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri};

use crate::conn::PreparedRequest;
use crate::error::RequestError;
use crate::pool::Authority;

pub(super) struct Heading {
    pub(super) method: Method,
    uri: Uri,
    headers: HeaderMap,
    pub(super) authority: Rc<Authority>,
    pub(super) prepared: PreparedRequest,
}

/// What is kept of the requests before.
#[derive(Default)]
pub(super) struct Recent {
    /// Of the last request without a body. The next one often has the same head, which is then neither checked nor encoded
    /// again.
    bodiless: RefCell<Option<Rc<Heading>>>,
    /// The authority of the last request, and a URI that has it.
    authority: RefCell<Option<(Uri, Rc<Authority>)>>,
}

impl Recent {
    /// Returns the heading of a request without a body.
    pub(super) fn bodiless(&self, parts: Parts) -> Result<Rc<Heading>, RequestError> {
        if let Some(heading) = &*self.bodiless.borrow()
            && heading.is_of(&parts)
        {
            return Ok(Rc::clone(heading));
        }
        let heading = self.heading(Request::from_parts(parts, Bytes::new()), PreparedRequest::new)?;
        self.bodiless.replace(Some(Rc::clone(&heading)));
        Ok(heading)
    }

    /// Returns the heading of `request`, which `prepare` encodes.
    pub(super) fn heading<B>(
        &self,
        request: Request<B>,
        prepare: impl FnOnce(&Request<B>) -> Result<PreparedRequest, RequestError>,
    ) -> Result<Rc<Heading>, RequestError> {
        let authority = self.authority(request.uri())?;
        let prepared = prepare(&request)?;
        let (Parts { method, uri, headers, .. }, _) = request.into_parts();
        Ok(Rc::new(Heading { method, uri, headers, authority, prepared }))
    }

    fn authority(&self, uri: &Uri) -> Result<Rc<Authority>, RequestError> {
        if let Some((known, authority)) = &*self.authority.borrow()
            && have_same_authority(known, uri)
        {
            return Ok(Rc::clone(authority));
        }
        let authority = Rc::new(Authority::of(uri)?);
        self.authority.replace(Some((uri.clone(), Rc::clone(&authority))));
        Ok(authority)
    }
}

impl Heading {
    fn is_of(&self, parts: &Parts) -> bool {
        self.method == parts.method
            && self.uri.path_and_query() == parts.uri.path_and_query()
            && have_same_authority(&self.uri, &parts.uri)
            && self.headers.iter().eq(&parts.headers)
    }
}

fn have_same_authority(one: &Uri, other: &Uri) -> bool {
    // `Authority` ignores the case, but what is written is sent.
    fn text(uri: &Uri) -> Option<&str> {
        uri.authority().map(http::uri::Authority::as_str)
    }
    one.scheme() == other.scheme() && text(one) == text(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heading(recent: &Recent, method: &str, uri: &str, fields: &[(&str, &str)]) -> Rc<Heading> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        recent.bodiless(request.body(()).unwrap().into_parts().0).unwrap()
    }

    #[test]
    fn only_an_equal_head_is_taken_from_the_request_before() {
        let recent = Recent::default();
        let usual = ("GET", "http://h:1/a?b", &[("x", "1"), ("x", "2"), ("y", "1")][..]);
        for (method, uri, fields) in [
            ("PUT", usual.1, usual.2),
            (usual.0, "https://h:1/a?b", usual.2),
            (usual.0, "http://H:1/a?b", usual.2),
            (usual.0, "http://h:2/a?b", usual.2),
            (usual.0, "http://me@h:1/a?b", usual.2),
            (usual.0, "http://h:1/a?c", usual.2),
            (usual.0, "http://h:1/a", usual.2),
            (usual.0, usual.1, &usual.2[..2]),
            (usual.0, usual.1, &[("x", "2"), ("x", "1"), ("y", "1")]),
            (usual.0, usual.1, &[("x", "1"), ("x", "2"), ("z", "1")]),
        ] {
            let first = heading(&recent, usual.0, usual.1, usual.2);
            assert!(Rc::ptr_eq(&first, &heading(&recent, usual.0, usual.1, usual.2)));
            let other = heading(&recent, method, uri, fields);
            assert!(!Rc::ptr_eq(&first, &other), "{method} {uri} {fields:?}");
            assert_eq!(*other.authority, Authority::of(&uri.parse().unwrap()).unwrap());
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_again() {
        let recent = Recent::default();
        for uri in ["/", "ftp://h/", "http://h:0/", "http://h:99999/"] {
            let parts = || Request::get(uri).body(()).unwrap().into_parts().0;
            assert!(recent.bodiless(parts()).is_err() && recent.bodiless(parts()).is_err(), "{uri}");
        }
    }
}
