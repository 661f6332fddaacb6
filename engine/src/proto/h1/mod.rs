//! The HTTP/1.1 codec (RFC 9112), both sides. How the parts fit together is told in [`crate::proto`].
//!
//! It is strict: what RFC 9112 lets a recipient tolerate is tolerated only where real peers need it (a bare LF as the
//! end of a line in the head of a response, a status line without a reason, empty lines before a request). In particular
//! - a server takes CRLF alone for the end of a line, and so do both sides in chunk framing and trailers (§2.2, §7.1);
//! - obsolete line folding is an error in requests, and replaced by spaces in responses (§5.2); white space before a colon is an error (§5.1);
//! - a `Content-Length` that is not a plain number is an error, whatever else is in the head;
//! - so is a transfer coding besides `chunked`, as nothing here decodes one or has asked for one (§7).
//!
//! Not here: what a status or a field means to an application, content codings, timeouts, HTTP/2.

mod body;
mod chunked;
mod client;
mod encode;
mod error;
mod follow;
mod framing;
mod head;
mod limits;
mod parse;
mod scan;
mod server;

pub use client::{ClientCodec, RequestKind, ResponseEvent};
pub use encode::{
    CHUNK_END, ChunkHeader, EncodeError, LAST_CHUNK, encode_last_chunk, encode_request_head,
    encode_response_head,
};
pub use error::{
    ChunkError, ChunkFault, Error, FramingError, HostError, Incomplete, LimitExceeded, SyntaxError,
    SyntaxPart,
};
pub use framing::BodyLength;
pub use head::{
    Fields, FieldsIter, KeptRequestHead, KeptResponseHead, RequestHead, RequestMeta, ResponseHead,
    ResponseMeta, Version,
};
pub use limits::{
    CHUNK_EXTENSION_SIZE_MAX, EMPTY_LINES_MAX, HEAD_SIZE_MAX, HEADER_COUNT_CEILING, HEADER_COUNT_MAX,
    INFORMATIONAL_COUNT_MAX, Limits, TARGET_SIZE_MAX, TRAILER_SIZE_MAX,
};
pub use server::{RequestEvent, ServerCodec};
