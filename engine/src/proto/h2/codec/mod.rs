//! The state of an HTTP/2 connection, of either side (RFC 9113): it turns received bytes into events, and knows what may be sent.
//!
//! The codec holds no body. Data that arrives is lent from the buffer that is decoded; data to be sent stays with the
//! caller, who asks how much may go.

mod control;
mod event;
mod headers;
mod receive;
mod send;
mod state;
mod usual;

pub use self::event::{Counters, Event, OpenError, RequestKind, Role};
pub use self::state::Codec;
