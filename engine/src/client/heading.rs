//! The head of a request, and whom it is for: what requests that follow each other often have in common.

use std::cell::RefCell;
use std::mem;
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
    /// Returns the heading of `GET` for a URI and without fields, if the last request was the same.
    #[inline]
    pub(super) fn get(&self, uri: &str) -> Option<Rc<Heading>> {
        let recent = self.bodiless.borrow();
        recent.as_ref().filter(|heading| heading.is_get(uri)).map(Rc::clone)
    }

    /// Returns the heading of a request without a body.
    #[inline]
    pub(super) fn bodiless(&self, parts: &mut Parts) -> Result<Rc<Heading>, RequestError> {
        match &*self.bodiless.borrow() {
            Some(heading) if heading.is_of(parts) => return Ok(Rc::clone(heading)),
            _ => {}
        }
        self.other(parts)
    }

    #[inline(never)]
    fn other(&self, parts: &mut Parts) -> Result<Rc<Heading>, RequestError> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = mem::take(&mut parts.method);
        *request.uri_mut() = mem::take(&mut parts.uri);
        *request.headers_mut() = mem::take(&mut parts.headers);
        let heading = self.heading(request, PreparedRequest::new)?;
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
    /// Returns whether it is that of `GET uri` without fields. A URI that is written in another way is not recognized.
    fn is_get(&self, uri: &str) -> bool {
        let behind_scheme =
            self.uri.scheme_str().and_then(|scheme| uri.strip_prefix(scheme)?.strip_prefix("://"));
        let target =
            text_of_authority(&self.uri).and_then(|authority| behind_scheme?.strip_prefix(authority));
        self.method == Method::GET
            && self.headers.is_empty()
            && target
                .is_some_and(|target| self.uri.path_and_query().is_some_and(|known| known.as_str() == target))
    }

    fn is_of(&self, parts: &Parts) -> bool {
        self.method == parts.method
            && self.uri.path_and_query() == parts.uri.path_and_query()
            && have_same_authority(&self.uri, &parts.uri)
            && self.headers.iter().eq(&parts.headers)
    }
}

fn have_same_authority(one: &Uri, other: &Uri) -> bool {
    one.scheme() == other.scheme() && text_of_authority(one) == text_of_authority(other)
}

/// Returns the authority as it is written and sent. `http` compares it without its case.
fn text_of_authority(uri: &Uri) -> Option<&str> {
    uri.authority().map(http::uri::Authority::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heading(recent: &Recent, method: &str, uri: &str, fields: &[(&str, &str)]) -> Rc<Heading> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        recent.bodiless(&mut request.body(()).unwrap().into_parts().0).unwrap()
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
    fn a_repeated_get_is_recognized_by_its_text() {
        let recent = Recent::default();
        for uri in ["http://h:1/a?b", "https://me@h/", "http://[::1]:8080/%20"] {
            assert!(recent.get(uri).is_none());
            let first = heading(&recent, "GET", uri, &[]);
            assert!(Rc::ptr_eq(&first, &recent.get(uri).unwrap()));
            for other in [
                "http://h:1/a",
                "http://h:1/a?bc",
                "http://h:1/a?b#c",
                "http://H:1/a?b",
                "http://h:1",
                "h",
                "",
            ] {
                assert!(recent.get(other).is_none(), "{other}");
            }
        }
        for (method, fields) in [("HEAD", &[][..]), ("GET", &[("x", "1")])] {
            heading(&recent, method, "http://h/", fields);
            assert!(recent.get("http://h/").is_none(), "{method} {fields:?}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_again() {
        let recent = Recent::default();
        for uri in ["/", "ftp://h/", "http://h:0/", "http://h:99999/"] {
            let parts = || Request::get(uri).body(()).unwrap().into_parts().0;
            for _ in 0..2 {
                assert!(recent.bodiless(&mut parts()).is_err(), "{uri}");
            }
        }
    }
}
