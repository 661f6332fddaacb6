//! HTTP codecs without I/O: they take bytes and return events.
//!
//! A codec uses no socket, clock or task, so clients, servers, tests and fuzzers all run the same code.
//!
//! [`h1`] is HTTP/1.1, described here; [`h2`] is HTTP/2, whose codec knows all streams of a connection.
//!
//! # How a codec works
//!
//! 1. A connection receives bytes and passes them to [`h1::ClientCodec`] or [`h1::ServerCodec`], in place.
//! 2. The codec returns how many bytes it consumed, and one event that borrows from them: a head, a piece of the body,
//!    the trailers, or the end. It copies and allocates nothing. The only exception is a head of HTTP/1.2 to 1.9: the
//!    codec parses a copy of it.
//! 3. The event `NeedMore` means that the codec needs more bytes. The caller keeps the bytes that were not consumed and
//!    passes them again, followed by the new ones. They are the beginning of a head or a trailer section, so
//!    [`h1::Limits`] bounds them. The codec remembers how far it has scanned, so its work stays linear even if the peer
//!    sends single bytes. It reports a byte that is not allowed at its place in a head as soon as that byte arrives, and
//!    an invalid value, such as that of `Host`, when the head is complete.
//! 4. A head is validated once. [`h1::ResponseHead`] and [`h1::RequestHead`] are views of its bytes. They can be
//!    rebuilt from these bytes and a small `Copy` value, without parsing.
//! 5. To send, [`h1::encode_request_head`] and similar functions append to a buffer. They reject input that a peer
//!    could misinterpret.
//!
//! # Examples
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

pub(crate) mod fields;
pub mod h1;
pub mod h2;
