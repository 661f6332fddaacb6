//! Heads and trailers: the list of their fields, the rules for it (RFC 9113 §8.2 and §8.3, RFC 8441), and views of it.
//!
//! [`check_request`] and its like validate a list once. Views trust that: of a list that was not checked they return
//! arbitrary parts, or nothing.

mod check;
mod error;
mod list;
mod view;

pub use check::{
    MethodKind, RequestFacts, ResponseFacts, check_request, check_response, check_trailers, outgoing_field,
};
pub use error::HeadError;
pub use list::{FieldList, FieldsIter};
pub use view::{Fields, RequestHead, ResponseHead};
