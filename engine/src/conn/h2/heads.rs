//! The heads of responses, as types of the `http` crate.
//!
//! To make a map of fields costs several times what it costs to clone one. Most servers send the same head until the second of
//! their `Date` ends, so a head that comes again is made once more and kept. A request clones it when it takes it: memory
//! that is allocated then, and freed soon, stays in the cache of the core and of the allocator.

use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::proto::h2::{Codec, FieldList, HeadError, ResponseHead};

pub(super) struct Head {
    pub(super) status: StatusCode,
    headers: HeaderMap,
}

/// The head that arrived last.
#[derive(Default)]
pub(super) struct Heads {
    /// The codec's number of its fields.
    number: u64,
    /// It has come more than once.
    repeated: Option<Rc<Head>>,
}

impl Heads {
    /// Returns the head that `codec` has just decoded.
    #[inline]
    pub(super) fn arrived(&mut self, codec: &Codec) -> Result<Rc<Head>, HeadError> {
        match &self.repeated {
            Some(head) if self.number == codec.fields_number() => Ok(Rc::clone(head)),
            _ => self.make(codec),
        }
    }

    #[inline(never)]
    fn make(&mut self, codec: &Codec) -> Result<Rc<Head>, HeadError> {
        let fields = codec.fields();
        let status = ResponseHead::new(fields).status();
        let head = Rc::new(Head { status, headers: headers(fields)? });
        let is_repeated = self.number == codec.fields_number();
        *self = Self { number: codec.fields_number(), repeated: is_repeated.then(|| Rc::clone(&head)) };
        Ok(head)
    }
}

impl Head {
    /// Returns the fields, without a copy if no other request has them.
    pub(super) fn into_headers(self: Rc<Self>) -> HeaderMap {
        Rc::try_unwrap(self).map_or_else(|shared| shared.headers.clone(), |head| head.headers)
    }
}

/// Copies the fields of a head or trailers. The codec has checked them; `http` may have a stricter rule.
pub(super) fn headers(fields: &FieldList) -> Result<HeaderMap, HeadError> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in &ResponseHead::new(fields).fields() {
        let named = HeaderName::from_bytes(name).map_err(|_| HeadError::FieldName(name.to_owned().into()))?;
        let value =
            HeaderValue::from_bytes(value).map_err(|_| HeadError::FieldValue(name.to_owned().into()))?;
        headers.append(named, value);
    }
    Ok(headers)
}
