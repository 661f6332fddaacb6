//! The HTTP/2 codec (RFC 9113, RFC 7541) of both sides. Like [`super::h1`] it has no I/O.
//!
//! A [`Codec`] is the state of one connection. It turns received bytes into [`Event`]s, in place, and appends what it has to
//! say itself (acknowledgements, windows, resets) to an output that its caller sends. It holds no body: data that
//! arrives is lent, and the caller asks how much of its own data may be sent.
//!
//! - A **stream error** ends one stream: the caller gets [`Event::Reset`]. Only what the RFC calls a connection error is an
//!   [`Error`].
//! - What a peer may make this side hold or do is bounded by [`limits`]. The work is linear in the bytes that arrive.
//! - A connection that does what it did before allocates nothing.
//!
//! Server push is refused, and priorities are ignored (RFC 9113 §5.3). Time limits, and which request goes to which connection, are
//! the matter of the layers above.
//!
//! # Examples
//!
//! Both sides of a connection, without a network:
//!
//! ```
//! use ringtide::proto::h2::{Codec, Event, Options, RequestKind, Role, hpack};
//!
//! let mut client = Codec::new(Role::Client, &Options::default());
//! let mut server = Codec::new(Role::Server, &Options::default());
//!
//! let mut wire = Vec::new();
//! client.take_output(&mut wire);
//! let mut block = Vec::new();
//! for (name, value) in [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "h")] {
//!     hpack::encode_stateless(name.as_bytes(), value.as_bytes(), false, &mut block);
//! }
//! let stream = client.open(&block, RequestKind::Other, true, &mut wire).expect("it is the first");
//!
//! let mut position = 0;
//! loop {
//!     let (consumed, event) = server.decode(&wire[position..])?;
//!     position += consumed;
//!     match event {
//!         Event::NeedMore => break,
//!         Event::Head { stream: arrived, ends: true } => {
//!             assert_eq!(arrived.id(), stream.id());
//!             assert_eq!(server.fields().get(b":path"), Some(&b"/"[..]));
//!         }
//!         Event::SendOpened => {}
//!         event => panic!("{event:?}"),
//!     }
//! }
//! # Ok::<(), ringtide::proto::h2::Error>(())
//! ```

mod codec;
mod error;
mod error_code;
mod flood;
mod frame;
mod head;
pub mod hpack;
pub mod limits;
mod settings;
mod streams;

pub use self::codec::{Codec, Counters, Event, OpenError, RequestKind, Role};
pub use self::error::{Error, Flood, ResetCause, StreamFault, StreamReset};
pub use self::error_code::ErrorCode;
pub use self::frame::{FRAME_HEADER_SIZE, FrameHeader, FrameKind, PREFACE};
pub use self::head::{
    FieldList, Fields, FieldsIter, HeadError, MethodKind, RequestFacts, RequestHead, ResponseFacts,
    ResponseHead, check_request, check_response, check_trailers, outgoing_field,
};
pub use self::limits::Options;
pub use self::settings::Settings;
pub use self::streams::StreamKey;
