//! What a codec knows, how it begins, and what its parts have in common: how streams end, and which frames come too late.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::super::error::{Error, ResetCause, StreamFault, StreamReset};
use super::super::error_code::ErrorCode;
use super::super::flood::Calm;
use super::super::frame::{self, FrameKind, PREFACE};
use super::super::head::{FieldList, RequestFacts, ResponseFacts};
use super::super::hpack;
use super::super::limits::{
    HEADER_TABLE_SIZE_INITIAL, Options, RESETS_REMEMBERED_MAX, STREAM_ID_MAX, WINDOW_SIZE_INITIAL,
    WINDOW_SIZE_MAX,
};
use super::super::settings::{self, Settings};
use super::super::streams::{LENGTH_UNKNOWN, Stream, StreamKey, Streams};
use super::event::{Counters, Event, Role};

/// What the last head said, as far as the codec needs it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Facts {
    None,
    Request(RequestFacts),
    Response(ResponseFacts),
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
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
pub(super) struct Partial {
    /// 0 if there is none.
    pub(super) stream_id: u32,
    pub(super) ends: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) continuations: u32,
}

/// The block whose fields are in `Codec::fields`. Many servers send the same block again and again, and comparing it costs a
/// small part of decoding it.
#[derive(Debug, Default)]
pub(super) struct Repeat {
    pub(super) is_known: bool,
    pub(super) block: Vec<u8>,
    /// State of the decoder's table. With another one the same bytes may mean something else.
    pub(super) insert_count: u64,
}

/// Bytes of fields that an idle connection keeps.
const IDLE_FIELDS_SIZE_MAX: usize = 2 * 1024;

/// Ids that a peer has left out, up to [`SKIPS_REMEMBERED_MAX`] ranges of them.
pub(super) type SkippedIds = Vec<RangeInclusive<u32>>;

/// Blocks up to this size are remembered.
pub(super) const REPEAT_SIZE_MAX: usize = 512;

/// The codec of one side of a connection.
#[derive(Debug)]
pub struct Codec {
    pub(super) role: Role,
    pub(super) options: Options,
    pub(super) expected: Expected,
    /// What the codec has to say on its own.
    pub(super) output: Vec<u8>,
    pub(super) decoder: hpack::Decoder,
    pub(super) encoder: hpack::Encoder,
    pub(super) fields: FieldList,
    /// How often `fields` were decoded.
    pub(super) fields_number: u64,
    pub(super) facts: Facts,
    pub(super) repeat: Repeat,
    pub(super) partial: Partial,
    pub(super) streams: Streams,
    /// Streams that this side has reset, oldest first.
    pub(super) reset_ids: VecDeque<u32>,
    /// The largest id that had to make room in `reset_ids`. Any stream up to it may have been reset.
    pub(super) reset_forgotten_id: u32,
    pub(super) peer: Settings,
    /// Whether the peer has acknowledged our SETTINGS, and must keep to them.
    pub(super) is_acknowledged: bool,
    pub(super) send_window: i64,
    pub(super) receive_window: i64,
    /// Bytes that were read and not yet given back to the peer.
    pub(super) returned: u32,
    /// The id of the next stream that this side opens.
    pub(super) next_id: u32,
    /// The last stream that the peer has opened.
    pub(super) last_peer_id: u32,
    /// Ids below it that the peer has left out. Boxed, because this is rare.
    pub(super) skipped_ids: Option<Box<SkippedIds>>,
    /// The last stream that our GOAWAY includes.
    pub(super) own_last_id: Option<u32>,
    /// The last stream that the peer's GOAWAY includes, and its code.
    pub(super) peer_last: Option<(u32, ErrorCode)>,
    /// Streams above `peer_last` are still to be reported.
    pub(super) excludes: bool,
    /// Streams at indices below this one are reported.
    pub(super) excluded_to: usize,
    pub(super) calm: Calm,
    pub(super) counters: Counters,
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
            fields_number: 0,
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
            skipped_ids: None,
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

    /// Returns the fields of the last head or trailers, until the next [`decode`](Self::decode).
    #[inline]
    pub fn fields(&self) -> &FieldList {
        &self.fields
    }

    /// Returns a number of the [`fields`](Self::fields). A head with another number has been decoded anew; with the same number
    /// it has the same fields.
    #[inline]
    pub fn fields_number(&self) -> u64 {
        self.fields_number
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

    /// Returns whether a stream is not over yet.
    #[inline]
    pub fn is_open(&self, stream: StreamKey) -> bool {
        self.streams.get(stream).is_some()
    }

    /// Returns how many streams are open.
    #[inline]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Returns whether the peer has acknowledged our SETTINGS.
    pub fn is_acknowledged(&self) -> bool {
        self.is_acknowledged
    }

    /// Ends the connection because the peer has not acknowledged our SETTINGS in a time that the caller sets (RFC 9113 §6.5.3).
    pub fn settings_timeout(&mut self) -> Error {
        let error = Error::SettingsTimeout;
        self.fail(&error);
        error
    }

    /// Frees the memory of a large head, for a connection that is idle.
    pub fn tidy(&mut self) {
        if self.fields.capacity() > IDLE_FIELDS_SIZE_MAX {
            self.fields.clear();
            self.fields.shrink_to(0);
            // They were the fields of the last block.
            self.repeat.is_known = false;
            self.facts = Facts::None;
        }
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

    /// Returns whether a header block has begun and not all of its frames have arrived.
    #[inline]
    pub fn is_inside_header_block(&self) -> bool {
        self.partial.stream_id != 0
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

    /// Returns whether no further stream can ever be opened.
    #[inline]
    pub fn is_closing(&self) -> bool {
        self.peer_last.is_some() || self.own_last_id.is_some() || self.next_id > STREAM_ID_MAX
    }

    pub(super) fn stream(&self, id: u32) -> Stream {
        // A peer that has not acknowledged our SETTINGS may go by the initial value. It may also have applied them.
        let window_min = if self.is_acknowledged { 0 } else { WINDOW_SIZE_INITIAL };
        let window = self.options.stream_window.max(window_min);
        Stream {
            id,
            local_ended: false,
            remote_ended: false,
            has_head: false,
            has_no_content: false,
            is_connect: false,
            informational: 0,
            send_window: i64::from(self.peer.stream_window),
            receive_window: i64::from(window),
            returned: 0,
            content_left: LENGTH_UNKNOWN,
        }
    }

    /// Ends an open stream because of a fault of the peer.
    #[cold]
    pub(super) fn fault<'b>(&mut self, stream: StreamKey, fault: StreamFault) -> Result<Event<'b>, Error> {
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
    pub(super) fn refuse<'b>(&mut self, stream_id: u32, code: ErrorCode) -> Result<Option<Event<'b>>, Error> {
        self.repeat.is_known = false;
        self.counters.resets_provoked += 1;
        self.calm.reset().map_err(Error::Flood)?;
        self.say_reset(stream_id, code);
        Ok(None)
    }

    /// Checks a frame for a stream that is not open: whether it may be ignored.
    #[cold]
    pub(super) fn check_not_open(&self, kind: FrameKind, stream_id: u32) -> Result<(), Error> {
        self.check_begun(kind, stream_id)?;
        // RFC 9113 §5.1: frames that were on their way when this side reset the stream.
        if stream_id <= self.reset_forgotten_id || self.reset_ids.contains(&stream_id) {
            Ok(())
        } else {
            Err(Error::ClosedStream { kind, stream_id })
        }
    }

    /// Checks that a stream is not idle (RFC 9113 §5.1).
    pub(super) fn check_begun(&self, kind: FrameKind, stream_id: u32) -> Result<(), Error> {
        let has_begun = match self.role {
            Role::Client => !stream_id.is_multiple_of(2) && stream_id < self.next_id,
            Role::Server => !stream_id.is_multiple_of(2) && stream_id <= self.last_peer_id,
        };
        if has_begun { Ok(()) } else { Err(Error::IdleStream { kind, stream_id }) }
    }

    pub(super) fn note_idle_frame(&mut self) -> Result<(), Error> {
        self.counters.idle_frames += 1;
        self.calm.idle_frame().map_err(Error::Flood)
    }

    #[inline]
    pub(super) fn release_connection(&mut self, size: u32) {
        self.returned += size;
        if self.returned > self.options.connection_window / 2 {
            self.receive_window += i64::from(self.returned);
            frame::push_window_update(&mut self.output, 0, self.returned);
            self.returned = 0;
        }
    }

    #[inline]
    pub(super) fn end_local(&mut self, stream: StreamKey) {
        let Some(open) = self.streams.get_mut(stream) else { return };
        open.local_ended = true;
        if open.remote_ended {
            self.streams.remove(stream);
        }
    }

    #[inline]
    pub(super) fn end_remote(&mut self, stream: StreamKey) {
        let Some(open) = self.streams.get_mut(stream) else { return };
        open.remote_ended = true;
        if open.local_ended {
            self.streams.remove(stream);
        }
    }

    pub(super) fn say_reset(&mut self, stream_id: u32, code: ErrorCode) {
        frame::push_reset(&mut self.output, stream_id, code);
        self.remember_reset(stream_id);
    }

    pub(super) fn remember_reset(&mut self, stream_id: u32) {
        if self.reset_ids.len() >= RESETS_REMEMBERED_MAX {
            let forgotten_id = self.reset_ids.pop_front().unwrap_or(0);
            self.reset_forgotten_id = self.reset_forgotten_id.max(forgotten_id);
        }
        self.reset_ids.push_back(stream_id);
    }

    #[cold]
    pub(super) fn fail(&mut self, error: &Error) {
        self.refuse_streams(error.code(), error.to_string().as_bytes());
    }

    pub(super) fn refuse_streams(&mut self, code: ErrorCode, debug: &[u8]) {
        // RFC 9113 §6.8: the id may not grow. Streams that the peer has opened since were ignored.
        let last_id = *self.own_last_id.get_or_insert(self.last_peer_id);
        frame::push_go_away(&mut self.output, last_id, code, debug);
    }
}

impl Expected {
    /// What follows when `left` unwanted bytes have passed.
    #[inline]
    pub(super) fn after(left: u32) -> Self {
        if left == 0 { Self::Frame } else { Self::Nothing { left } }
    }
}
