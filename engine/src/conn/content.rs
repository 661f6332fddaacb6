//! The bytes of a response's body.

use bytes::Bytes;

/// Bytes of a response, converted from `&str`, `&[u8]`, `String`, `Vec<u8>`, [`Bytes`], or a reference to one of these.
///
/// Borrowed bytes are copied. Owned bytes are sent without a copy if they are large. To send a large constant without a
/// copy, use [`Bytes::from_static`].
#[derive(Debug)]
pub struct Content<'b>(Inner<'b>);

#[derive(Debug)]
enum Inner<'b> {
    Borrowed(&'b [u8]),
    Owned(Bytes),
}

impl Content<'_> {
    #[inline]
    pub(in crate::conn) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Inner::Borrowed(bytes) => bytes,
            Inner::Owned(bytes) => bytes,
        }
    }

    /// Converts borrowed bytes to owned ones.
    pub(in crate::conn) fn into_owned(self) -> Bytes {
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
