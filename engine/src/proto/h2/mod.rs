//! The HTTP/2 codec (RFC 9113) of both sides, without I/O.

mod head;
pub mod hpack;

pub use head::{
    FieldList, Fields, FieldsIter, HeadError, MethodKind, RequestFacts, RequestHead, ResponseFacts,
    ResponseHead, check_request, check_response, check_trailers, outgoing_field,
};
