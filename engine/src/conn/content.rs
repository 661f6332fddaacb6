//! What may be given as the bytes of an answer.

use bytes::Bytes;

/// Bytes of an answer, made from what there is: `&str`, `&[u8]`, `String`, `Vec<u8>`, [`Bytes`], or references to these. What is
/// borrowed is copied; what is owned is sent as it is where it is much. [`Bytes::from_static`] has a large constant sent uncopied.
#[derive(Debug)]
pub struct Content<'b>(Inner<'b>);

#[derive(Debug)]
enum Inner<'b> {
    Borrowed(&'b [u8]),
    Owned(Bytes),
}

impl Content<'_> {
    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Inner::Borrowed(bytes) => bytes,
            Inner::Owned(bytes) => bytes,
        }
    }

    /// The same with memory of its own.
    pub(super) fn into_owned(self) -> Bytes {
        match self.0 {
            Inner::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Inner::Owned(bytes) => bytes,
        }
    }
}

impl<'b> From<&'b [u8]> for Content<'b> {
    fn from(bytes: &'b [u8]) -> Self {
        Self(Inner::Borrowed(bytes))
    }
}

impl<'b, const SIZE: usize> From<&'b [u8; SIZE]> for Content<'b> {
    fn from(bytes: &'b [u8; SIZE]) -> Self {
        Self(Inner::Borrowed(bytes))
    }
}

impl<'b> From<&'b str> for Content<'b> {
    fn from(text: &'b str) -> Self {
        Self(Inner::Borrowed(text.as_bytes()))
    }
}

impl<'b> From<&'b String> for Content<'b> {
    fn from(text: &'b String) -> Self {
        Self(Inner::Borrowed(text.as_bytes()))
    }
}

impl<'b> From<&'b Vec<u8>> for Content<'b> {
    fn from(bytes: &'b Vec<u8>) -> Self {
        Self(Inner::Borrowed(bytes))
    }
}

impl From<&Bytes> for Content<'_> {
    fn from(bytes: &Bytes) -> Self {
        Self(Inner::Owned(bytes.clone()))
    }
}

impl From<Bytes> for Content<'_> {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::Owned(bytes))
    }
}

impl From<String> for Content<'_> {
    fn from(text: String) -> Self {
        Self(Inner::Owned(text.into()))
    }
}

impl From<Vec<u8>> for Content<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Inner::Owned(bytes.into()))
    }
}
