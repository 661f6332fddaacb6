//! What a codec reports, and the words in which its caller speaks to it.

use super::super::error::StreamReset;
use super::super::error_code::ErrorCode;
use super::super::streams::StreamKey;

/// The side of a connection that a codec plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sends requests.
    Client,
    /// It answers them.
    Server,
}

/// How a request affects the form of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// HEAD: the response has no content.
    Head,
    /// CONNECT: after a 2xx the stream carries bytes of another protocol.
    Connect,
    /// Any other method.
    Other,
}

/// What [`crate::proto::h2::Codec::decode`] has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// More bytes are needed. Those that were not consumed must be passed again, with more behind them.
    NeedMore,
    /// A head: a new request at a server, the final head of a response at a client. [`crate::proto::h2::Codec::fields`] has its fields.
    Head {
        /// Its stream.
        stream: StreamKey,
        /// Whether nothing follows it.
        ends: bool,
    },
    /// At a server: a new request whose fields are larger than allowed. They were dropped.
    HeadTooLarge {
        /// Its stream.
        stream: StreamKey,
    },
    /// At a client: an interim response (1xx). [`crate::proto::h2::Codec::fields`] has its fields.
    Informational {
        /// Its stream.
        stream: StreamKey,
    },
    /// A piece of a body, empty only if it `ends`. It counts in the windows until it is
    /// [released](crate::proto::h2::Codec::release).
    Data {
        /// Its stream.
        stream: StreamKey,
        /// The piece.
        data: &'b [u8],
        /// Whether nothing follows it.
        ends: bool,
    },
    /// Trailers, the end of a message. [`crate::proto::h2::Codec::fields`] has the fields.
    Trailers {
        /// Their stream.
        stream: StreamKey,
    },
    /// A stream has ended before its time. It is forgotten; the connection lives on.
    ///
    /// A server may reset a stream with `NO_ERROR` behind a whole response, because it does not want the rest of the request. The
    /// response counts (RFC 9113 §8.1).
    Reset {
        /// The stream.
        stream: StreamKey,
        /// By whom and why.
        reset: StreamReset,
    },
    /// The peer closes the connection. An [`Event::Reset`] for each stream that it excludes follows.
    GoAway {
        /// Why.
        code: ErrorCode,
        /// The last stream that the peer may have processed.
        last_stream_id: u32,
    },
    /// The peer has made room for data or streams that had to wait.
    SendOpened,
    /// The answer to a [`crate::proto::h2::Codec::ping`].
    Pong {
        /// Its payload.
        payload: [u8; 8],
    },
}

/// Why a stream cannot be opened now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// As many streams are open as the peer allows. [`Event::SendOpened`], or the end of a stream, makes room.
    Full,
    /// The connection takes no further stream: one side closes it, or its stream ids are used up.
    Closing,
}

/// How often a peer did what a limit bounds, since the connection began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Streams that the peer has reset.
    pub resets_received: u64,
    /// Streams that this side has reset because of a fault of the peer.
    pub resets_provoked: u64,
    /// Frames that brought nothing, see [`limits::IDLE_FRAMES_BURST`](crate::proto::h2::limits::IDLE_FRAMES_BURST).
    pub idle_frames: u64,
    /// CONTINUATION frames.
    pub continuations: u64,
    /// Header lists that were larger than allowed.
    pub heads_too_large: u64,
    /// Streams beyond the limit that was announced.
    pub streams_refused: u64,
}
