//! A request, as its exchange has it. It outlives its stream if its handler runs on.

use crate::conn::piece::Piece;
use crate::proto::h2::{self, FieldList, StreamKey};

/// A request, as its exchange has it.
pub(crate) struct Request {
    pub(in crate::conn::h2) stream: StreamKey,
    pub(in crate::conn::h2) fields: FieldList,
    pub(in crate::conn::h2) content_length: Option<u64>,
    pub(in crate::conn::h2) has_body: bool,
    pub(super) is_connect: bool,
    /// The piece of the body that the handler reads.
    pub(in crate::conn::h2) piece: Option<Piece>,
    /// Those that came after the body.
    pub(in crate::conn::h2) trailers: Option<Box<FieldList>>,
}

impl Request {
    /// Returns the stream.
    pub(crate) fn stream(&self) -> StreamKey {
        self.stream
    }

    /// Returns whether its method is CONNECT.
    #[inline]
    pub(crate) fn is_connect(&self) -> bool {
        self.is_connect
    }

    /// Returns its head.
    pub(crate) fn head(&self) -> h2::RequestHead<'_> {
        h2::RequestHead::new(&self.fields)
    }

    pub(super) fn new(stream: StreamKey) -> Self {
        Self {
            stream,
            // What it takes over has been checked.
            fields: FieldList::new(u32::MAX, u32::MAX),
            content_length: None,
            has_body: false,
            is_connect: false,
            piece: None,
            trailers: None,
        }
    }
}
