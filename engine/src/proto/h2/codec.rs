//! The state of an HTTP/2 connection, of either side (RFC 9113): it turns received bytes into events, and knows what may be sent.
//!
//! The codec holds no body. Data that arrives is lent from the buffer that is decoded; data to be sent stays with the
//! caller, who asks how much may go.

use std::collections::VecDeque;

use super::error::{Error, ResetCause, StreamFault, StreamReset};
use super::error_code::ErrorCode;
use super::flood::Calm;
use super::frame::{
    self, ACK, END_HEADERS, END_STREAM, FRAME_HEADER_SIZE, FrameHeader, FrameKind, PADDED, PREFACE, PRIORITY,
};
use super::head::{FieldList, RequestFacts, ResponseFacts, check_request, check_response, check_trailers};
use super::hpack;
use super::limits::{
    CONTINUATIONS_MAX, FRAME_SIZE_MAX, HEADER_BLOCK_SIZE_MAX, HEADER_TABLE_SIZE_INITIAL,
    INFORMATIONAL_COUNT_MAX, Options, RESETS_REMEMBERED_MAX, STREAM_ID_MAX, WINDOW_INCREMENT_SMALL,
    WINDOW_SIZE_INITIAL, WINDOW_SIZE_MAX,
};
use super::settings::{self, Settings};
use super::streams::{LENGTH_MAX, LENGTH_UNKNOWN, Stream, StreamKey, Streams};

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
    /// Any other method.
    Other,
}

/// What [`Codec::decode`] has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// More bytes are needed. Those that were not consumed must be passed again, with more behind them.
    NeedMore,
    /// A head: a new request at a server, the final head of a response at a client. [`Codec::fields`] has its fields.
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
    /// At a client: an interim response (1xx). [`Codec::fields`] has its fields.
    Informational {
        /// Its stream.
        stream: StreamKey,
    },
    /// A piece of a body, empty only if it `ends`. It counts in the windows until it is
    /// [released](Codec::release).
    Data {
        /// Its stream.
        stream: StreamKey,
        /// The piece.
        data: &'b [u8],
        /// Whether nothing follows it.
        ends: bool,
    },
    /// Trailers, the end of a message. [`Codec::fields`] has the fields.
    Trailers {
        /// Their stream.
        stream: StreamKey,
    },
    /// A stream has ended before its time. It is forgotten; the connection lives on.
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
    /// The answer to a [`Codec::ping`].
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
    /// Frames that brought nothing, see [`limits::IDLE_FRAMES_BURST`](super::limits::IDLE_FRAMES_BURST).
    pub idle_frames: u64,
    /// CONTINUATION frames.
    pub continuations: u64,
    /// Header lists that were larger than allowed.
    pub heads_too_large: u64,
    /// Streams beyond the limit that was announced.
    pub streams_refused: u64,
}

/// What the last head said, as far as the codec needs it.
#[derive(Clone, Copy, Debug)]
enum Facts {
    None,
    Request(RequestFacts),
    Response(ResponseFacts),
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// The preface of a client, of which so many bytes have come.
    Preface(usize),
    /// A frame.
    Frame,
    /// The rest of a DATA frame of an open stream.
    Data { stream: StreamKey, left: u32, padding: u32, ends: bool },
    /// Bytes that nobody wants.
    Nothing { left: u32 },
}

/// A header block whose frames have not all arrived.
#[derive(Debug, Default)]
struct Partial {
    /// 0 if there is none.
    stream_id: u32,
    ends: bool,
    bytes: Vec<u8>,
    continuations: u32,
}

/// The block whose fields are in `Codec::fields`. Many servers send the same block again and again, and comparing it costs a
/// small part of decoding it.
#[derive(Debug, Default)]
struct Repeat {
    is_known: bool,
    block: Vec<u8>,
    /// State of the decoder's table. With another one the same bytes may mean something else.
    insert_count: u64,
}

/// Blocks up to this size are remembered.
const REPEAT_SIZE_MAX: usize = 512;

/// The codec of one side of a connection.
#[derive(Debug)]
pub struct Codec {
    role: Role,
    options: Options,
    expected: Expected,
    /// What the codec has to say on its own.
    output: Vec<u8>,
    decoder: hpack::Decoder,
    encoder: hpack::Encoder,
    fields: FieldList,
    facts: Facts,
    repeat: Repeat,
    partial: Partial,
    streams: Streams,
    /// Streams that this side has reset, oldest first.
    reset_ids: VecDeque<u32>,
    /// The largest id that had to make room in `reset_ids`. Any stream up to it may have been reset.
    reset_forgotten_id: u32,
    peer: Settings,
    /// Whether the peer has acknowledged our SETTINGS, and must keep to them.
    is_acknowledged: bool,
    send_window: i64,
    receive_window: i64,
    /// Bytes that were read and not yet given back to the peer.
    returned: u32,
    /// The id of the next stream that this side opens.
    next_id: u32,
    /// The last stream that the peer has opened.
    last_peer_id: u32,
    /// The last stream that our GOAWAY includes.
    own_last_id: Option<u32>,
    /// The last stream that the peer's GOAWAY includes, and its code.
    peer_last: Option<(u32, ErrorCode)>,
    /// Streams above `peer_last` are still to be reported.
    excludes: bool,
    /// Streams at indices below this one are reported.
    excluded_to: usize,
    calm: Calm,
    counters: Counters,
}

impl Codec {
    /// Creates the codec of a connection that begins. What it has to say first is in its [output](Self::take_output).
    pub fn new(role: Role, options: &Options) -> Self {
        let mut codec = Self {
            role,
            options: Options {
                stream_window: options.stream_window.min(WINDOW_SIZE_MAX),
                connection_window: options.connection_window.clamp(WINDOW_SIZE_INITIAL, WINDOW_SIZE_MAX),
                ..*options
            },
            expected: match role {
                Role::Client => Expected::Frame,
                Role::Server => Expected::Preface(0),
            },
            output: Vec::new(),
            decoder: hpack::Decoder::new(options.header_table_size),
            encoder: hpack::Encoder::new(HEADER_TABLE_SIZE_INITIAL),
            fields: FieldList::new(options.header_list_size_max, options.fields_max),
            facts: Facts::None,
            repeat: Repeat::default(),
            partial: Partial::default(),
            streams: Streams::default(),
            reset_ids: VecDeque::new(),
            reset_forgotten_id: 0,
            peer: Settings::default(),
            is_acknowledged: false,
            send_window: i64::from(WINDOW_SIZE_INITIAL),
            receive_window: 0,
            returned: 0,
            next_id: 1,
            last_peer_id: 0,
            own_last_id: None,
            peer_last: None,
            excludes: false,
            excluded_to: 0,
            calm: Calm::new(),
            counters: Counters::default(),
        };
        codec.begin();
        codec
    }

    fn begin(&mut self) {
        let mut payload = Vec::with_capacity(36);
        if self.options.header_table_size != HEADER_TABLE_SIZE_INITIAL {
            settings::push(&mut payload, settings::HEADER_TABLE_SIZE, self.options.header_table_size);
        }
        match self.role {
            Role::Client => {
                self.output.extend_from_slice(PREFACE);
                settings::push(&mut payload, settings::ENABLE_PUSH, 0);
            }
            Role::Server => {
                settings::push(&mut payload, settings::MAX_CONCURRENT_STREAMS, self.options.streams_max);
                if self.options.extended_connect {
                    settings::push(&mut payload, settings::ENABLE_CONNECT_PROTOCOL, 1);
                }
            }
        }
        if self.options.stream_window != WINDOW_SIZE_INITIAL {
            settings::push(&mut payload, settings::INITIAL_WINDOW_SIZE, self.options.stream_window);
        }
        settings::push(&mut payload, settings::MAX_HEADER_LIST_SIZE, self.options.header_list_size_max);
        frame::push(&mut self.output, FrameKind::Settings, 0, 0, &payload);
        self.receive_window = i64::from(self.options.connection_window);
        let more = self.options.connection_window - WINDOW_SIZE_INITIAL;
        if more > 0 {
            frame::push_window_update(&mut self.output, 0, more);
        }
    }

    /// Moves what the codec itself has to send behind `out`: SETTINGS, acknowledgements, WINDOW_UPDATE, RST_STREAM, GOAWAY.
    ///
    /// Call it after [`decode`](Self::decode), and before anything else is sent. A peer that does not take these bytes makes them
    /// grow: a caller that cannot send must stop decoding.
    #[inline]
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.output);
    }

    /// Returns whether there is such output.
    #[inline]
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Tells the codec the time, for the limits on floods. Call it when bytes have arrived.
    #[inline]
    pub fn set_time_ns(&mut self, now_ns: u64) {
        self.calm.set_time_ns(now_ns);
    }

    /// Decodes the next event. Returns also how many bytes were consumed.
    ///
    /// # Errors
    /// The connection cannot go on. The GOAWAY is in the [output](Self::take_output).
    #[inline]
    pub fn decode<'b>(&mut self, bytes: &'b [u8]) -> Result<(usize, Event<'b>), Error> {
        let decoded = self.decode_events(bytes);
        if let Err(error) = &decoded {
            self.fail(error);
        }
        decoded
    }

    /// Checks whether the stream of bytes may end here. `unread` is the number of bytes that were received and not consumed.
    ///
    /// # Errors
    /// [`Error::Incomplete`] in the middle of a frame.
    pub fn end_of_stream(&self, unread: usize) -> Result<(), Error> {
        let is_between =
            unread == 0 && matches!(self.expected, Expected::Frame) && self.partial.stream_id == 0;
        if is_between { Ok(()) } else { Err(Error::Incomplete) }
    }

    /// Returns the fields of the last head or trailers, until the next [`decode`](Self::decode).
    #[inline]
    pub fn fields(&self) -> &FieldList {
        &self.fields
    }

    /// Returns what the last [`Event::Head`] of a server said.
    #[inline]
    pub fn request_facts(&self) -> Option<RequestFacts> {
        match self.facts {
            Facts::Request(facts) => Some(facts),
            Facts::Response(_) | Facts::None => None,
        }
    }

    /// Returns what the last [`Event::Head`] or [`Event::Informational`] of a client said.
    #[inline]
    pub fn response_facts(&self) -> Option<ResponseFacts> {
        match self.facts {
            Facts::Response(facts) => Some(facts),
            Facts::Request(_) | Facts::None => None,
        }
    }

    /// Returns the encoder of header blocks. Each block it encodes must be sent, in order.
    #[inline]
    pub fn encoder(&mut self) -> &mut hpack::Encoder {
        &mut self.encoder
    }

    /// Returns how many streams may be opened now.
    #[inline]
    pub fn opens_now_max(&self) -> u32 {
        if self.is_closing() { 0 } else { self.peer.open_max().saturating_sub(self.streams.len() as u32) }
    }

    /// Returns whether no further stream can ever be opened.
    #[inline]
    pub fn is_closing(&self) -> bool {
        self.peer_last.is_some() || self.own_last_id.is_some() || self.next_id > STREAM_ID_MAX
    }

    /// Opens a stream with the header block of a request, and appends its frames to `out`. `ends` if it has no body.
    ///
    /// # Errors
    /// Nothing was changed.
    #[inline]
    pub fn open(
        &mut self,
        block: &[u8],
        kind: RequestKind,
        ends: bool,
        out: &mut Vec<u8>,
    ) -> Result<StreamKey, OpenError> {
        debug_assert_eq!(self.role, Role::Client);
        if self.opens_now_max() == 0 {
            return Err(if self.is_closing() { OpenError::Closing } else { OpenError::Full });
        }
        let id = self.next_id;
        self.next_id += 2;
        let mut stream = self.stream(id);
        stream.local_ended = ends;
        stream.has_no_content = kind == RequestKind::Head;
        frame::push_block(out, block, ends, id, self.peer.frame_size_max);
        self.calm.useful_frame();
        Ok(self.streams.insert(stream))
    }

    /// Appends a header block of an open stream to `out`: a server's response or interim response, or the trailers of either
    /// side, which `ends` it. Nothing is sent on a stream that is over.
    #[inline]
    pub fn send_head(&mut self, stream: StreamKey, block: &[u8], ends: bool, out: &mut Vec<u8>) {
        let frame_size_max = self.peer.frame_size_max;
        let Some(open) = self.streams.get_mut(stream).filter(|open| !open.local_ended) else { return };
        frame::push_block(out, block, ends, open.id, frame_size_max);
        if ends {
            self.end_local(stream);
        }
    }

    /// Returns how many bytes may be sent in one DATA frame now. 0 if the stream must wait for the peer, or is over.
    #[inline]
    pub fn send_capacity(&self, stream: StreamKey) -> u32 {
        match self.streams.get(stream) {
            Some(open) if !open.local_ended => {
                let size = open.send_window.min(self.send_window).min(i64::from(self.peer.frame_size_max));
                u32::try_from(size).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Returns the header of a DATA frame of `size` bytes, at most [`send_capacity`](Self::send_capacity). The caller sends the
    /// bytes behind it. A frame that only `ends` has none, and may always be sent.
    #[inline]
    pub fn send_data(&mut self, stream: StreamKey, size: u32, ends: bool) -> [u8; FRAME_HEADER_SIZE] {
        debug_assert!(size <= self.send_capacity(stream));
        if let Some(open) = self.streams.get_mut(stream) {
            open.send_window -= i64::from(size);
            self.send_window -= i64::from(size);
            // A peer that opens its window by single bytes gets single bytes (CVE-2019-9511). That is of no use.
            if size >= WINDOW_INCREMENT_SMALL || open.send_window.min(self.send_window) > 0 {
                self.calm.useful_frame();
            }
        }
        if ends {
            self.end_local(stream);
        }
        let flags = if ends { END_STREAM } else { 0 };
        FrameHeader { size, kind: FrameKind::Data, flags, stream_id: stream.id }.encode()
    }

    /// Ends a stream before its time. Nothing happens if it is over.
    pub fn reset(&mut self, stream: StreamKey, code: ErrorCode) {
        if self.streams.get(stream).is_some() {
            self.streams.remove(stream);
            self.say_reset(stream.id, code);
        }
    }

    /// Notes that `size` bytes of [`Event::Data`] were read, so that the peer may send more. Each byte must be
    /// released once, also after its stream is over.
    #[inline]
    pub fn release(&mut self, stream: StreamKey, size: usize) {
        let size = size as u32;
        self.release_connection(size);
        if let Some(open) = self.streams.get_mut(stream)
            && !open.remote_ended
        {
            open.returned += size;
            // Half a window at a time: often enough that the peer does not wait, and seldom enough to cost nothing.
            if open.returned > self.options.stream_window / 2 {
                open.receive_window += i64::from(open.returned);
                frame::push_window_update(&mut self.output, open.id, open.returned);
                open.returned = 0;
            }
        }
    }

    /// Sends a PING, which the peer answers at once.
    pub fn ping(&mut self, payload: [u8; 8]) {
        frame::push(&mut self.output, FrameKind::Ping, 0, 0, &payload);
    }

    /// Announces the end of the connection, without an end in sight: the peer may still open streams until it knows of it. This is the
    /// first of the two steps of RFC 9113 §6.8.
    pub fn announce_close(&mut self) {
        if self.own_last_id.is_none() {
            frame::push_go_away(&mut self.output, STREAM_ID_MAX, ErrorCode::NO_ERROR, b"");
        }
    }

    /// Refuses all streams that the peer opens from now on. This is the second step; with another code than
    /// [`ErrorCode::NO_ERROR`] it is the only one.
    pub fn go_away(&mut self, code: ErrorCode) {
        self.refuse_streams(code, b"");
    }

    /// Returns whether a stream is not over yet.
    #[inline]
    pub fn is_open(&self, stream: StreamKey) -> bool {
        self.streams.get(stream).is_some()
    }

    /// Returns whether this side may still send on a stream.
    #[inline]
    pub fn is_sendable(&self, stream: StreamKey) -> bool {
        self.streams.get(stream).is_some_and(|open| !open.local_ended)
    }

    /// Returns how many streams are open.
    #[inline]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Returns what the peer has announced.
    pub fn peer_settings(&self) -> &Settings {
        &self.peer
    }

    /// Returns the last stream that the peer has opened; 0 if none.
    pub fn last_peer_stream_id(&self) -> u32 {
        self.last_peer_id
    }

    /// Returns how often the peer did what a limit bounds.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns whether nothing has happened on the connection yet, so far as the preface goes.
    pub fn awaits_preface(&self) -> bool {
        matches!(self.expected, Expected::Preface(_)) || !self.peer.is_known
    }

    fn stream(&self, id: u32) -> Stream {
        // A peer that has not acknowledged our SETTINGS may go by the initial value. It may also have applied them.
        let window_min = if self.is_acknowledged { 0 } else { WINDOW_SIZE_INITIAL };
        let window = self.options.stream_window.max(window_min);
        Stream {
            id,
            local_ended: false,
            remote_ended: false,
            has_head: false,
            has_no_content: false,
            informational: 0,
            send_window: i64::from(self.peer.stream_window),
            receive_window: i64::from(window),
            returned: 0,
            content_left: LENGTH_UNKNOWN,
        }
    }

    fn decode_events<'b>(&mut self, bytes: &'b [u8]) -> Result<(usize, Event<'b>), Error> {
        let mut position = 0;
        loop {
            if self.excludes {
                if let Some(event) = self.next_excluded() {
                    return Ok((position, event));
                }
                self.excludes = false;
            }
            let rest = &bytes[position..];
            match self.expected {
                Expected::Frame => {
                    let Some(header) = rest.first_chunk::<FRAME_HEADER_SIZE>() else {
                        return Ok((position, Event::NeedMore));
                    };
                    let header = FrameHeader::read(header);
                    match self.decode_frame(header, &rest[FRAME_HEADER_SIZE..])? {
                        Step::NeedMore => return Ok((position, Event::NeedMore)),
                        Step::Consumed(size) => position += FRAME_HEADER_SIZE + size,
                        Step::Event(size, event) => return Ok((position + FRAME_HEADER_SIZE + size, event)),
                    }
                }
                Expected::Data { stream, left, padding, ends } => {
                    if self.streams.get(stream).is_none_or(|open| open.remote_ended) {
                        // This side has reset it in the middle of the frame.
                        self.release_connection(left);
                        self.expected = Expected::after(left + padding);
                        continue;
                    }
                    if rest.is_empty() && left > 0 {
                        return Ok((position, Event::NeedMore));
                    }
                    let size = rest.len().min(left as usize);
                    let left = left - size as u32;
                    let ends_now = ends && left == 0;
                    self.expected = match left {
                        0 => Expected::after(padding),
                        _ => Expected::Data { stream, left, padding, ends },
                    };
                    if ends_now {
                        self.end_remote(stream);
                    }
                    return Ok((
                        position + size,
                        Event::Data { stream, data: &rest[..size], ends: ends_now },
                    ));
                }
                Expected::Nothing { left } => {
                    if rest.is_empty() {
                        return Ok((position, Event::NeedMore));
                    }
                    let size = rest.len().min(left as usize);
                    position += size;
                    self.expected = Expected::after(left - size as u32);
                }
                Expected::Preface(seen) => {
                    let size = rest.len().min(PREFACE.len() - seen);
                    if rest[..size] != PREFACE[seen..seen + size] {
                        return Err(Error::Preface);
                    }
                    position += size;
                    if seen + size < PREFACE.len() {
                        self.expected = Expected::Preface(seen + size);
                        return Ok((position, Event::NeedMore));
                    }
                    self.expected = Expected::Frame;
                }
            }
        }
    }

    /// Decodes one frame, from the bytes behind its header.
    #[inline]
    fn decode_frame<'b>(&mut self, header: FrameHeader, rest: &'b [u8]) -> Result<Step<'b>, Error> {
        let FrameHeader { size, kind, flags, stream_id } = header;
        if !self.peer.is_known && (kind != FrameKind::Settings || flags & ACK != 0) {
            return Err(Error::Preface);
        }
        // RFC 9113 §6.10: nothing may interrupt a header block.
        let continues = kind == FrameKind::Continuation && stream_id == self.partial.stream_id;
        if self.partial.stream_id != 0 && !continues {
            return Err(Error::Continuation(kind));
        }
        if kind == FrameKind::Data {
            return self.decode_data(header, rest);
        }
        if size > FRAME_SIZE_MAX {
            return Err(Error::FrameSize { kind, size });
        }
        let Some(payload) = rest.get(..size as usize) else { return Ok(Step::NeedMore) };
        let event = match kind {
            FrameKind::Headers => self.decode_headers(header, payload)?,
            FrameKind::Continuation => self.decode_continuation(header, payload)?,
            FrameKind::Settings => self.decode_settings(header, payload)?,
            FrameKind::WindowUpdate => self.decode_window_update(header, payload)?,
            FrameKind::RstStream => self.decode_reset(header, payload)?,
            FrameKind::Ping => self.decode_ping(header, payload)?,
            FrameKind::GoAway => self.decode_go_away(header, payload)?,
            FrameKind::Priority => self.decode_priority(header)?,
            FrameKind::PushPromise => return Err(Error::PushPromise),
            FrameKind::Unknown(_) | FrameKind::Data => {
                self.note_idle_frame()?;
                None
            }
        };
        Ok(match event {
            None => Step::Consumed(payload.len()),
            Some(event) => Step::Event(payload.len(), event),
        })
    }

    #[inline]
    fn decode_data<'b>(&mut self, header: FrameHeader, rest: &'b [u8]) -> Result<Step<'b>, Error> {
        let FrameHeader { size, kind, flags, stream_id } = header;
        if stream_id == 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        let mut own_size = 0;
        let mut padding = 0;
        if flags & PADDED != 0 {
            if size == 0 {
                return Err(Error::FrameSize { kind, size });
            }
            let Some(first) = rest.first() else { return Ok(Step::NeedMore) };
            own_size = 1;
            padding = u32::from(*first);
            if padding >= size {
                return Err(Error::Padding);
            }
        }
        let data_size = size - own_size - padding;
        // RFC 9113 §6.9: the whole payload counts, even if its stream is over.
        self.receive_window -= i64::from(size);
        if self.receive_window < 0 {
            return Err(Error::WindowExceeded);
        }
        let ends = flags & END_STREAM != 0;
        let Some(stream) = self.streams.find(stream_id) else {
            self.check_not_open(kind, stream_id)?;
            // The rest of a body was on its way when this side reset the stream.
            if data_size == 0 {
                self.note_idle_frame()?;
            }
            self.release_connection(size);
            self.expected = Expected::after(size - own_size);
            return Ok(Step::Consumed(own_size as usize));
        };
        if data_size > 0 {
            self.calm.useful_frame();
        } else if !ends {
            self.note_idle_frame()?;
        }
        if let Some(fault) = self.check_data(stream, size, data_size, ends) {
            self.release_connection(size);
            self.expected = Expected::after(size - own_size);
            let event = self.fault(stream, fault)?;
            return Ok(Step::Event(own_size as usize, event));
        }
        if own_size > 0 {
            // Padding is read when it arrives.
            self.release(stream, (own_size + padding) as usize);
        }
        if data_size == 0 && !ends {
            self.expected = Expected::after(padding);
            return Ok(Step::Consumed(own_size as usize));
        }
        self.expected = Expected::Data { stream, left: data_size, padding, ends };
        Ok(Step::Consumed(own_size as usize))
    }

    /// Checks and counts a DATA frame of an open stream.
    #[inline]
    fn check_data(
        &mut self,
        stream: StreamKey,
        size: u32,
        data_size: u32,
        ends: bool,
    ) -> Option<StreamFault> {
        let open = self.streams.get_mut(stream)?;
        if open.remote_ended {
            return Some(StreamFault::AfterEnd);
        }
        let fault = Self::count_data(open, size, data_size, ends);
        open.remote_ended = ends && fault.is_some();
        fault
    }

    #[inline]
    fn count_data(open: &mut Stream, size: u32, data_size: u32, ends: bool) -> Option<StreamFault> {
        if size > FRAME_SIZE_MAX {
            return Some(StreamFault::FrameSize);
        }
        if !open.has_head {
            return Some(StreamFault::Sequence);
        }
        open.receive_window -= i64::from(size);
        // An empty frame may always be sent (RFC 9113 §6.9.1), and our SETTINGS may have made the window negative.
        if open.receive_window < 0 && size > 0 {
            return Some(StreamFault::WindowExceeded);
        }
        let left = open.content_left;
        if left != LENGTH_UNKNOWN {
            let data_size = u64::from(data_size);
            // RFC 9113 §8.1.1.
            if data_size > left || (ends && data_size < left) {
                return Some(StreamFault::ContentLength);
            }
            open.content_left = left - data_size;
        }
        None
    }

    #[inline]
    fn decode_headers<'b>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, flags, stream_id } = header;
        if stream_id == 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        let mut block = payload;
        if flags & (PADDED | PRIORITY) != 0 {
            let padding = if flags & PADDED != 0 {
                let (first, rest) = block.split_first().ok_or(Error::FrameSize { kind, size })?;
                block = rest;
                usize::from(*first)
            } else {
                0
            };
            if flags & PRIORITY != 0 {
                block = block.get(5..).ok_or(Error::FrameSize { kind, size })?;
            }
            let end = block.len().checked_sub(padding).ok_or(Error::Padding)?;
            block = &block[..end];
        }
        let ends = flags & END_STREAM != 0;
        if flags & END_HEADERS != 0 {
            return self.decode_block(stream_id, ends, block);
        }
        self.partial.stream_id = stream_id;
        self.partial.ends = ends;
        self.partial.continuations = 0;
        self.partial.bytes.clear();
        self.partial.bytes.extend_from_slice(block);
        Ok(None)
    }

    fn decode_continuation<'b>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        if self.partial.stream_id == 0 {
            return Err(Error::Continuation(header.kind));
        }
        self.counters.continuations += 1;
        self.partial.continuations += 1;
        let is_too_large = self.partial.bytes.len() + payload.len() > HEADER_BLOCK_SIZE_MAX;
        if is_too_large || self.partial.continuations > CONTINUATIONS_MAX {
            return Err(Error::HeaderBlockTooLarge);
        }
        self.partial.bytes.extend_from_slice(payload);
        if header.flags & END_HEADERS == 0 {
            return Ok(None);
        }
        self.partial.stream_id = 0;
        // It is rare, so its memory is not kept.
        let block = std::mem::take(&mut self.partial.bytes);
        self.decode_block(header.stream_id, self.partial.ends, &block)
    }

    /// Decodes a whole header block.
    #[inline]
    fn decode_block<'b>(
        &mut self,
        stream_id: u32,
        ends: bool,
        block: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        let kind = FrameKind::Headers;
        let known = self.streams.find(stream_id);
        let is_head = known.is_none_or(|stream| self.streams.get(stream).is_none_or(|open| !open.has_head));
        let is_repeated = self.repeat.is_known
            && is_head
            && self.repeat.insert_count == self.decoder.insert_count()
            && self.repeat.block == block;
        if !is_repeated {
            // The table of the decoder must follow the peer's, whatever becomes of the stream (RFC 9113 §4.3).
            self.decode_fields(block)?;
        }
        match (known, self.role) {
            (Some(stream), _) if !is_head => self.decode_trailers(stream, ends),
            (Some(stream), Role::Client) => self.decode_response(stream, ends, is_repeated, block),
            // A server knows a stream only with its head.
            (Some(stream), Role::Server) => self.fault(stream, StreamFault::Sequence).map(Some),
            (None, Role::Client) => {
                self.repeat.is_known = false;
                self.check_not_open(kind, stream_id)?;
                self.note_idle_frame()?;
                Ok(None)
            }
            (None, Role::Server) => self.decode_request(stream_id, ends, is_repeated, block),
        }
    }

    #[inline(never)]
    fn decode_fields(&mut self, block: &[u8]) -> Result<(), Error> {
        self.repeat.is_known = false;
        self.facts = Facts::None;
        self.fields.clear();
        self.repeat.insert_count = self.decoder.insert_count();
        self.decoder.decode(block, &mut self.fields).map_err(Error::Compression)?;
        if self.fields.is_too_large() {
            self.counters.heads_too_large += 1;
        }
        Ok(())
    }

    /// Remembers a block whose fields are sound.
    fn remember(&mut self, block: &[u8]) {
        // A block that changes the table means something else the next time.
        self.repeat.is_known =
            block.len() <= REPEAT_SIZE_MAX && self.repeat.insert_count == self.decoder.insert_count();
        if self.repeat.is_known {
            self.repeat.block.clear();
            self.repeat.block.extend_from_slice(block);
        }
    }

    #[inline]
    fn decode_response<'b>(
        &mut self,
        stream: StreamKey,
        ends: bool,
        is_repeated: bool,
        block: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        if !is_repeated {
            if self.fields.is_too_large() {
                return self.fault(stream, StreamFault::HeadTooLarge).map(Some);
            }
            match check_response(&self.fields) {
                Ok(facts) => self.facts = Facts::Response(facts),
                Err(error) => return self.fault(stream, StreamFault::Head(error)).map(Some),
            }
            self.remember(block);
        }
        let Facts::Response(facts) = self.facts else { return Ok(None) };
        let Some(open) = self.streams.get_mut(stream) else { return Ok(None) };
        if facts.status < 200 {
            open.informational += 1;
            // RFC 9113 §8.1, §8.6.
            if ends || facts.status == 101 || open.informational > INFORMATIONAL_COUNT_MAX {
                return self.fault(stream, StreamFault::Informational).map(Some);
            }
            return Ok(Some(Event::Informational { stream }));
        }
        open.has_head = true;
        // RFC 9110 §6.4.1, §8.6: these have no content, and Content-Length says what another response would have.
        let has_no_content = open.has_no_content || facts.status == 204 || facts.status == 304;
        open.content_left = match facts.content_length {
            _ if has_no_content => 0,
            Some(length) => length.min(LENGTH_MAX),
            None => LENGTH_UNKNOWN,
        };
        if ends {
            if open.content_left != 0 && open.content_left != LENGTH_UNKNOWN {
                open.remote_ended = true;
                return self.fault(stream, StreamFault::ContentLength).map(Some);
            }
            self.end_remote(stream);
        }
        Ok(Some(Event::Head { stream, ends }))
    }

    fn decode_request<'b>(
        &mut self,
        stream_id: u32,
        ends: bool,
        is_repeated: bool,
        block: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        if stream_id <= self.last_peer_id || stream_id.is_multiple_of(2) {
            self.repeat.is_known = false;
            self.check_not_open(FrameKind::Headers, stream_id)?;
            self.note_idle_frame()?;
            return Ok(None);
        }
        self.last_peer_id = stream_id;
        if self.own_last_id.is_some_and(|last_id| stream_id > last_id) {
            // RFC 9113 §6.8: GOAWAY has told the peer that this stream is ignored.
            self.repeat.is_known = false;
            self.remember_reset(stream_id);
            return self.note_idle_frame().map(|()| None);
        }
        if self.streams.len() as u32 >= self.options.streams_max {
            self.repeat.is_known = false;
            self.counters.streams_refused += 1;
            return self.refuse(stream_id, ErrorCode::REFUSED_STREAM);
        }
        if self.fields.is_too_large() {
            let mut stream = self.stream(stream_id);
            (stream.has_head, stream.remote_ended) = (true, ends);
            let stream = self.streams.insert(stream);
            return Ok(Some(Event::HeadTooLarge { stream }));
        }
        if !is_repeated {
            match check_request(&self.fields, self.options.extended_connect) {
                Ok(facts) => self.facts = Facts::Request(facts),
                Err(_) => return self.refuse(stream_id, ErrorCode::PROTOCOL_ERROR),
            }
            self.remember(block);
        }
        let Facts::Request(facts) = self.facts else { return Ok(None) };
        let mut stream = self.stream(stream_id);
        (stream.has_head, stream.remote_ended) = (true, ends);
        stream.content_left = facts.content_length.map_or(LENGTH_UNKNOWN, |length| length.min(LENGTH_MAX));
        if ends && stream.content_left != 0 && stream.content_left != LENGTH_UNKNOWN {
            return self.refuse(stream_id, ErrorCode::PROTOCOL_ERROR);
        }
        self.calm.useful_frame();
        let stream = self.streams.insert(stream);
        Ok(Some(Event::Head { stream, ends }))
    }

    fn decode_trailers<'b>(&mut self, stream: StreamKey, ends: bool) -> Result<Option<Event<'b>>, Error> {
        self.repeat.is_known = false;
        let Some(open) = self.streams.get(stream) else { return Ok(None) };
        let fault = if open.remote_ended {
            Some(StreamFault::AfterEnd)
        } else if !ends {
            Some(StreamFault::Sequence)
        } else if self.fields.is_too_large() {
            Some(StreamFault::HeadTooLarge)
        } else if let Err(error) = check_trailers(&self.fields) {
            Some(StreamFault::Head(error))
        } else if open.content_left != 0 && open.content_left != LENGTH_UNKNOWN {
            Some(StreamFault::ContentLength)
        } else {
            None
        };
        if let Some(fault) = fault {
            if let Some(open) = self.streams.get_mut(stream) {
                open.remote_ended |= ends;
            }
            return self.fault(stream, fault).map(Some);
        }
        self.end_remote(stream);
        Ok(Some(Event::Trailers { stream }))
    }

    fn decode_settings<'b>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, flags, stream_id } = header;
        if stream_id != 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        let is_ack = flags & ACK != 0;
        if !size.is_multiple_of(6) || (is_ack && size != 0) {
            return Err(Error::FrameSize { kind, size });
        }
        self.note_idle_frame()?;
        if is_ack {
            self.apply_own_settings();
            return Ok(None);
        }
        let before = self.peer;
        // RFC 7541 §4.2: a table that shrinks and grows again in one frame has lost its entries.
        for size in settings::header_table_sizes(payload) {
            self.encoder.set_table_size_max(size);
        }
        self.peer
            .apply(payload, self.role == Role::Client)
            .map_err(|(id, value)| Error::Setting { id, value })?;
        // RFC 9113 §6.9.2: open streams get the difference, and their windows may fall below zero.
        let difference = i64::from(self.peer.stream_window) - i64::from(before.stream_window);
        if difference != 0 {
            for stream in self.streams.iter_mut() {
                stream.send_window += difference;
                if stream.send_window > i64::from(WINDOW_SIZE_MAX) {
                    return Err(Error::WindowOverflow);
                }
            }
        }
        frame::push(&mut self.output, FrameKind::Settings, ACK, 0, b"");
        Ok(Some(Event::SendOpened))
    }

    /// The peer has acknowledged our SETTINGS: from here on it keeps to them.
    fn apply_own_settings(&mut self) {
        if std::mem::replace(&mut self.is_acknowledged, true) {
            return;
        }
        let excess = i64::from(WINDOW_SIZE_INITIAL.saturating_sub(self.options.stream_window));
        if excess > 0 {
            for stream in self.streams.iter_mut() {
                stream.receive_window -= excess;
            }
        }
        self.decoder.settings_acknowledged();
        // The decoder may insist on a size update now, which the block has not.
        self.repeat.is_known = false;
    }

    fn decode_window_update<'b>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, stream_id, .. } = header;
        let bytes: [u8; 4] = payload.try_into().map_err(|_| Error::FrameSize { kind, size })?;
        let increment = u32::from_be_bytes(bytes) & WINDOW_SIZE_MAX;
        let found = self.streams.find(stream_id);
        // Large ones are bounded by the size of a window, if there is one.
        if increment < WINDOW_INCREMENT_SMALL || (found.is_none() && stream_id != 0) {
            self.note_idle_frame()?;
        }
        if stream_id == 0 {
            if increment == 0 {
                return Err(Error::WindowIncrementZero);
            }
            self.send_window += i64::from(increment);
            if self.send_window > i64::from(WINDOW_SIZE_MAX) {
                return Err(Error::WindowOverflow);
            }
            return Ok(Some(Event::SendOpened));
        }
        let Some(stream) = found else {
            self.check_begun(kind, stream_id)?;
            return Ok(None);
        };
        let Some(open) = self.streams.get_mut(stream) else { return Ok(None) };
        if increment == 0 {
            return self.fault(stream, StreamFault::WindowIncrementZero).map(Some);
        }
        open.send_window += i64::from(increment);
        if open.send_window > i64::from(WINDOW_SIZE_MAX) {
            return self.fault(stream, StreamFault::WindowOverflow).map(Some);
        }
        Ok(Some(Event::SendOpened))
    }

    fn decode_reset<'b>(&mut self, header: FrameHeader, payload: &[u8]) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, stream_id, .. } = header;
        let bytes: [u8; 4] = payload.try_into().map_err(|_| Error::FrameSize { kind, size })?;
        if stream_id == 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        let Some(stream) = self.streams.find(stream_id) else {
            self.check_begun(kind, stream_id)?;
            return self.note_idle_frame().map(|()| None);
        };
        self.counters.resets_received += 1;
        if self.role == Role::Server {
            self.calm.reset().map_err(Error::Flood)?;
        }
        self.streams.remove(stream);
        let code = ErrorCode(u32::from_be_bytes(bytes));
        Ok(Some(Event::Reset { stream, reset: StreamReset { code, cause: ResetCause::Peer } }))
    }

    fn decode_ping<'b>(&mut self, header: FrameHeader, payload: &[u8]) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, flags, stream_id } = header;
        let payload: [u8; 8] = payload.try_into().map_err(|_| Error::FrameSize { kind, size })?;
        if stream_id != 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        self.note_idle_frame()?;
        if flags & ACK != 0 {
            return Ok(Some(Event::Pong { payload }));
        }
        frame::push(&mut self.output, FrameKind::Ping, ACK, 0, &payload);
        Ok(None)
    }

    fn decode_go_away<'b>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, stream_id, .. } = header;
        if stream_id != 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        let (id, rest) = payload.split_first_chunk::<4>().ok_or(Error::FrameSize { kind, size })?;
        let (code, _debug) = rest.split_first_chunk::<4>().ok_or(Error::FrameSize { kind, size })?;
        self.note_idle_frame()?;
        let mut last_stream_id = u32::from_be_bytes(*id) & STREAM_ID_MAX;
        let code = ErrorCode(u32::from_be_bytes(*code));
        // RFC 9113 §6.8: it must not grow. Streams that an earlier one excluded are gone already.
        if let Some((before, _)) = self.peer_last {
            last_stream_id = last_stream_id.min(before);
        }
        self.peer_last = Some((last_stream_id, code));
        (self.excludes, self.excluded_to) = (self.role == Role::Client, 0);
        Ok(Some(Event::GoAway { code, last_stream_id }))
    }

    fn decode_priority<'b>(&mut self, header: FrameHeader) -> Result<Option<Event<'b>>, Error> {
        let FrameHeader { size, kind, stream_id, .. } = header;
        if stream_id == 0 {
            return Err(Error::StreamId { kind, stream_id });
        }
        self.note_idle_frame()?;
        // RFC 9113 §6.3. PRIORITY may come in any state of its stream.
        match self.streams.find(stream_id) {
            Some(stream) if size != 5 => self.fault(stream, StreamFault::FrameSize).map(Some),
            _ => Ok(None),
        }
    }

    /// The next stream that the peer's GOAWAY excludes.
    fn next_excluded<'b>(&mut self) -> Option<Event<'b>> {
        let (last_id, code) = self.peer_last?;
        let stream = self.streams.next_above(last_id, &mut self.excluded_to)?;
        self.streams.remove(stream);
        self.remember_reset(stream.id);
        Some(Event::Reset { stream, reset: StreamReset { code, cause: ResetCause::GoAway } })
    }

    /// Ends an open stream because of a fault of the peer.
    #[cold]
    fn fault<'b>(&mut self, stream: StreamKey, fault: StreamFault) -> Result<Event<'b>, Error> {
        self.repeat.is_known = false;
        let code = fault.code();
        self.counters.resets_provoked += 1;
        if self.role == Role::Server {
            self.calm.reset().map_err(Error::Flood)?;
        }
        // What has ended on both sides needs no RST_STREAM.
        let is_over = self.streams.get(stream).is_none_or(|open| open.local_ended && open.remote_ended);
        self.streams.remove(stream);
        if is_over {
            self.remember_reset(stream.id);
        } else {
            self.say_reset(stream.id, code);
        }
        Ok(Event::Reset { stream, reset: StreamReset { code, cause: ResetCause::Fault(fault) } })
    }

    /// Refuses a stream that the peer has tried to open. Nobody above knows of it.
    #[cold]
    fn refuse<'b>(&mut self, stream_id: u32, code: ErrorCode) -> Result<Option<Event<'b>>, Error> {
        self.repeat.is_known = false;
        self.counters.resets_provoked += 1;
        self.calm.reset().map_err(Error::Flood)?;
        self.say_reset(stream_id, code);
        Ok(None)
    }

    /// Checks a frame for a stream that is not open: whether it may be ignored.
    #[cold]
    fn check_not_open(&self, kind: FrameKind, stream_id: u32) -> Result<(), Error> {
        self.check_begun(kind, stream_id)?;
        // RFC 9113 §5.1: frames that were on their way when this side reset the stream.
        if stream_id <= self.reset_forgotten_id || self.reset_ids.contains(&stream_id) {
            Ok(())
        } else {
            Err(Error::ClosedStream { kind, stream_id })
        }
    }

    /// Checks that a stream is not idle (RFC 9113 §5.1).
    fn check_begun(&self, kind: FrameKind, stream_id: u32) -> Result<(), Error> {
        let has_begun = match self.role {
            Role::Client => !stream_id.is_multiple_of(2) && stream_id < self.next_id,
            Role::Server => !stream_id.is_multiple_of(2) && stream_id <= self.last_peer_id,
        };
        if has_begun { Ok(()) } else { Err(Error::IdleStream { kind, stream_id }) }
    }

    fn note_idle_frame(&mut self) -> Result<(), Error> {
        self.counters.idle_frames += 1;
        self.calm.idle_frame().map_err(Error::Flood)
    }

    #[inline]
    fn release_connection(&mut self, size: u32) {
        self.returned += size;
        if self.returned > self.options.connection_window / 2 {
            self.receive_window += i64::from(self.returned);
            frame::push_window_update(&mut self.output, 0, self.returned);
            self.returned = 0;
        }
    }

    #[inline]
    fn end_local(&mut self, stream: StreamKey) {
        let Some(open) = self.streams.get_mut(stream) else { return };
        open.local_ended = true;
        if open.remote_ended {
            self.streams.remove(stream);
        }
    }

    #[inline]
    fn end_remote(&mut self, stream: StreamKey) {
        let Some(open) = self.streams.get_mut(stream) else { return };
        open.remote_ended = true;
        if open.local_ended {
            self.streams.remove(stream);
        }
    }

    fn say_reset(&mut self, stream_id: u32, code: ErrorCode) {
        frame::push_reset(&mut self.output, stream_id, code);
        self.remember_reset(stream_id);
    }

    fn remember_reset(&mut self, stream_id: u32) {
        if self.reset_ids.len() >= RESETS_REMEMBERED_MAX {
            let forgotten_id = self.reset_ids.pop_front().unwrap_or(0);
            self.reset_forgotten_id = self.reset_forgotten_id.max(forgotten_id);
        }
        self.reset_ids.push_back(stream_id);
    }

    #[cold]
    fn fail(&mut self, error: &Error) {
        self.refuse_streams(error.code(), error.to_string().as_bytes());
    }

    fn refuse_streams(&mut self, code: ErrorCode, debug: &[u8]) {
        // RFC 9113 §6.8: the id may not grow. Streams that the peer has opened since were ignored.
        let last_id = *self.own_last_id.get_or_insert(self.last_peer_id);
        frame::push_go_away(&mut self.output, last_id, code, debug);
    }
}

impl Expected {
    /// What follows when `left` unwanted bytes have passed.
    #[inline]
    fn after(left: u32) -> Self {
        if left == 0 { Self::Frame } else { Self::Nothing { left } }
    }
}

/// What became of a frame. Sizes are those of the bytes behind its header.
enum Step<'b> {
    NeedMore,
    Consumed(usize),
    Event(usize, Event<'b>),
}
