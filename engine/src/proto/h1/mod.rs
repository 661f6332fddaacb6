//! The HTTP/1.1 codec (RFC 9112) of both sides. [`crate::proto`] shows how its parts work together.
//!
//! The codec is strict. RFC 9112 allows recipients to tolerate some deviations; this codec tolerates only those that
//! real peers need: a bare LF as line end in the head of a response, a status line without a reason phrase, and empty
//! lines before a request. In particular:
//! - A server accepts only CRLF as line end. So do both sides in chunk framing and trailers (§2.2, §7.1).
//! - Obsolete line folding is an error in requests. In responses the codec replaces it with spaces (§5.2). White space
//!   before a colon is an error (§5.1).
//! - A `Content-Length` that is not a plain number is an error, even if another field frames the message.
//! - A transfer coding other than `chunked` is an error: this codec decodes no other, and never requests one (§7).
//!
//! It leaves to other layers: the meaning of statuses and fields, content codings, timeouts, and HTTP/2.

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
mod repeat;
mod scan;
mod server;

pub use client::{ClientCodec, RequestKind, ResponseEvent};
pub use encode::{
    CHUNK_END, ChunkHeader, EncodeError, LAST_CHUNK, check_field, encode_last_chunk, encode_request_head,
    encode_response_head,
};
pub use error::{
    ChunkError, ChunkFault, Error, FramingError, HostError, Incomplete, LimitExceeded, SyntaxError,
    SyntaxPart,
};
pub use framing::BodyLength;
// RFC 9110 defines these for all versions.
pub(super) use framing::{is_authority, is_connect_target, is_token};
pub use head::{
    Fields, FieldsIter, KeptRequestHead, KeptResponseHead, RequestHead, RequestMeta, ResponseHead,
    ResponseMeta, Version,
};
pub use limits::{
    CHUNK_EXTENSION_SIZE_MAX, EMPTY_LINES_MAX, HEAD_SIZE_MAX, HEADER_COUNT_CEILING, HEADER_COUNT_MAX,
    INFORMATIONAL_COUNT_MAX, Limits, TARGET_SIZE_MAX, TRAILER_SIZE_MAX,
};
pub use server::{RequestEvent, ServerCodec};
