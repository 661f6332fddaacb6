//! Sans-I/O protocol codecs: bytes in, events out. No socket, no clock and no task is known here, so the same code
//! serves the client, the server, the tests and the fuzzers.
//!
//! # The path of the bytes
//!
//! 1. A connection receives bytes and shows them to [`h1::ClientCodec`] (or [`h1::ServerCodec`]), in place.
//! 2. The codec answers with how many of them it has consumed, and one event that borrows from them: a head, a piece of
//!    the body, the trailers, the end. Nothing is copied and nothing is allocated.
//! 3. `NeedMore` says that the rest is not enough. What was not consumed (the beginning of a head or of a trailer
//!    section, bounded by [`h1::Limits`]) is shown again with more bytes behind it; the codec knows how far it has
//!    looked, so that a peer who sends single bytes costs no more than linear time. A head that has gone wrong is refused with the byte that
//!    makes it so.
//! 4. A head is validated once. [`h1::ResponseHead`] and [`h1::RequestHead`] are views of its bytes and can be made
//!    again from those bytes and a small `Copy` value, without parsing.
//! 5. In the other direction [`h1::encode_request_head`] and its kin append to a buffer, and refuse whatever a peer
//!    could read as something else.
//!
//! # Example
//!
//! ```
//! use ringtide::proto::h1::{ClientCodec, Error, Limits, RequestKind, ResponseEvent};
//!
//! let mut received = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n".to_vec();
//! let mut position = 0;
//! let mut codec = ClientCodec::new(Limits::default());
//! codec.begin(RequestKind::Other);
//!
//! let mut body = Vec::new();
//! loop {
//!     let (consumed, event) = codec.decode(&mut received[position..])?;
//!     position += consumed;
//!     match event {
//!         ResponseEvent::Head(head) => {
//!             assert_eq!(head.status(), 200);
//!             assert_eq!(head.fields().get("content-length"), Some(&b"12"[..]));
//!         }
//!         ResponseEvent::Data(bytes) => body.extend_from_slice(bytes),
//!         ResponseEvent::End { reusable } => {
//!             assert!(reusable);
//!             break;
//!         }
//!         ResponseEvent::NeedMore => unreachable!("a connection would now receive more"),
//!         ResponseEvent::Informational(_) | ResponseEvent::Trailers(_) | ResponseEvent::Upgraded => {}
//!     }
//! }
//! assert_eq!(body, b"hello world\n");
//! # Ok::<(), Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod h1;
