//! A server's HTTP/1.1 connection: it returns requests in place, and collects responses into one send.
//!
//! A connection allocates nothing per request. Heads and bodies are borrowed from the buffers that received them; only
//! a head that arrives in several buffers is copied. A connection has no time limits: the server adds them.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use ringtide_driver::Address;

use super::head_place::{HeadPlace, range_of};
use super::wire::{Answer, Progress, Wire};
use crate::conn::response::{self, Ending, Persistence};
use crate::conn::takeover::Takeover;
use crate::error::{Error, ProtocolError};
use crate::proto::h1::{
    self, BodyLength, Limits, RequestEvent, RequestHead, RequestMeta, ServerCodec, Version,
};
use crate::proto::h2::{FieldList, PREFACE};
use crate::stream::{Reader, Stream, Transport};

/// Maximum number of bytes of an unread body that a connection reads and drops.
///
/// Reading them keeps the connection usable, or closes it without a reset. A reset could destroy the response before
/// the peer reads it (RFC 9112 §9.6).
pub const DISCARD_SIZE_MAX: u64 = 256 * 1024;

/// A server's HTTP/1.1 connection.
///
/// It belongs to the worker on which it was created. [`serve`](crate::server::serve) creates one for each connection
/// that it accepts, and adds the time limits. Use this type directly to accept connections yourself.
///
/// ```no_run
/// use ringtide::http::StatusCode;
/// use ringtide::runtime::{Worker, WorkerOptions};
/// use ringtide::server::{PreparedResponse, ServerConnection};
/// use ringtide::stream::Listener;
///
/// let hello = PreparedResponse::new(StatusCode::OK, [("Content-Type", "text/plain")], "hello world\n")?;
/// Worker::new(&WorkerOptions::default())?.block_on(async {
///     let mut listener = Listener::bind(&"127.0.0.1:8080".parse()?, false)?;
///     let mut connection = ServerConnection::new(listener.accept().await?, Default::default());
///     while let Some(exchange) = connection.request().await? {
///         println!("{:?}", exchange.head());
///         exchange.respond_with(&hello);
///     }
///     connection.close().await?;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct ServerConnection {
    pub(in crate::conn) wire: Rc<Wire>,
    codec: ServerCodec,
    /// Its given bytes are those that the last event covers. They are consumed once the caller is done with it.
    pub(in crate::conn) input: Reader,
    meta: Option<RequestMeta>,
    head: HeadPlace,
    stage: RequestStage,
    /// The peer waits for `100 Continue`, which has not been sent.
    owes_continue: bool,
    /// The response has announced that the connection persists.
    persists: bool,
    /// Bytes of the current body that have been read.
    body_read: u64,
    /// Bytes that have been read and dropped.
    discarded: u64,
    /// Why the request could not be read, and the status to respond with.
    fault: Option<Fault>,
    shut_down: bool,
    /// The trailers of the current request.
    trailers: Option<Box<FieldList>>,
    /// The first bytes may be the preface of HTTP/2.
    expects_preface: bool,
    /// What goes on with the stream.
    takeover: Option<Takeover>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestStage {
    /// No request has begun, or its head is incomplete.
    Between,
    /// The caller has the head; the end has not been reached.
    Body,
    /// The whole request has been received. Its response may still be missing.
    End { reusable: bool },
    /// There are no further requests. If `lingers`, the peer may still be sending.
    Closed { lingers: bool },
}

/// A request that cannot be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) error: h1::Error,
}

/// What [`ServerConnection::poll_request`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Request,
    /// There is no further request.
    End,
    /// The client speaks HTTP/2. Nothing was consumed.
    Http2,
}

/// What a connection waits for while it is polled for the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The first byte of a request.
    Request,
    /// The rest of a head.
    Head,
    /// The rest of a request whose response is complete; or for the peer to take its responses.
    Peer,
}

impl ServerConnection {
    /// Creates a connection over `stream`, on which nothing may have been received yet.
    pub fn new(stream: Stream, limits: Limits) -> Self {
        let (transport, input) = stream.into_parts();
        Self {
            wire: Rc::new(Wire::new(transport)),
            codec: ServerCodec::new(limits),
            input,
            meta: None,
            head: HeadPlace::Nowhere,
            stage: RequestStage::Between,
            owes_continue: false,
            persists: true,
            body_read: 0,
            discarded: 0,
            fault: None,
            shut_down: false,
            trailers: None,
            expects_preface: false,
            takeover: None,
        }
    }

    /// Lets the client begin to speak HTTP/2 instead, if nothing has been received yet.
    pub(crate) fn expect_preface(&mut self) {
        self.expects_preface = true;
    }

    /// Returns what carries the connection, and the bytes that were not consumed. `None` if an exchange has it.
    pub(crate) fn into_parts(self) -> Option<(Transport, Reader)> {
        let Self { wire, mut input, .. } = self;
        input.consume_given();
        wire.hold(0);
        Rc::into_inner(wire).map(|wire| (wire.into_transport(), input))
    }

    /// Responds to a request that could not be read, with the status that matches the error.
    ///
    /// Call [`close`](Self::close) next. This has no effect if there was no such request or its response has begun.
    pub fn refuse(&mut self) {
        if let Some(Fault { status, error }) = self.fault.take() {
            self.fail(status, &error.to_string());
        }
    }

    /// Sends what is queued, and closes the connection so that the peer can read all of it.
    ///
    /// If the peer may still be sending, this closes the sending half first. It then reads and drops up to
    /// [`DISCARD_SIZE_MAX`] bytes until the peer ends the stream, and closes the rest.
    ///
    /// If a handler has [upgraded](crate::server::Exchange::upgrade) the connection, this runs what it has given for the new
    /// protocol instead.
    ///
    /// There is no time limit. To close at once, drop the future, or drop the connection instead.
    ///
    /// # Errors
    /// The connection failed before everything was sent.
    pub async fn close(mut self) -> io::Result<()> {
        if let Some(takeover) = self.take_takeover() {
            poll_fn(|context| self.wire.poll_push(context)).await?;
            if let Some((transport, input)) = self.into_parts() {
                takeover.run(Stream::from_parts(transport, input)).await;
            }
            return Ok(());
        }
        poll_fn(|context| self.poll_close(context)).await
    }

    /// Returns the peer's address.
    ///
    /// # Errors
    /// As for getpeername(2).
    pub fn peer_address(&self) -> io::Result<Address> {
        self.wire.peer_address()
    }

    /// Returns the part that is accessible during an exchange.
    pub(crate) fn wire(&self) -> Rc<Wire> {
        Rc::clone(&self.wire)
    }

    /// Returns the head of the current request, if there is one.
    pub(crate) fn head(&self) -> Option<RequestHead<'_>> {
        (!matches!(self.head, HeadPlace::Nowhere)).then(|| self.request_head())
    }

    /// Returns why the current request could not be read.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Returns the size of the buffer that the connection holds, including consumed bytes.
    #[inline]
    pub(crate) fn held_size(&self) -> usize {
        self.input.buffer().len()
    }

    /// Returns what the last pending `poll_request` waits for.
    pub(crate) fn waiting(&self) -> Waiting {
        match self.stage {
            RequestStage::Between if self.wire.progress().waits => Waiting::Peer,
            RequestStage::Between if self.input.bytes().is_empty() => Waiting::Request,
            RequestStage::Between => Waiting::Head,
            _ => Waiting::Peer,
        }
    }

    /// Polls as [`request`](Self::request) does.
    #[inline]
    pub(crate) fn poll_request(&mut self, context: &mut Context<'_>) -> Poll<Result<Found, Error>> {
        let outcome = self.poll_request_inner(context);
        match outcome {
            Poll::Pending => {
                // Send the responses so far now.
                if let Poll::Ready(Err(error)) = self.wire.poll_push(context) {
                    return self.failed(Error::of_stream(error));
                }
                Poll::Pending
            }
            Poll::Ready(Err(error)) => self.failed(error),
            Poll::Ready(Ok(found)) => Poll::Ready(Ok(found)),
        }
    }

    #[inline]
    fn poll_request_inner(&mut self, context: &mut Context<'_>) -> Poll<Result<Found, Error>> {
        loop {
            match self.stage {
                RequestStage::Between => {}
                RequestStage::Body | RequestStage::End { .. } => {
                    ready!(self.poll_rest(context));
                    continue;
                }
                RequestStage::Closed { .. } => return Poll::Ready(Ok(Found::End)),
            }
            // If the peer does not read its responses, take no further requests from it.
            if self.wire.poll_room(context).map_err(Error::of_stream)?.is_pending() {
                self.wire.note(|progress| progress.waits = true);
                self.wire.hold(self.held_size());
                return Poll::Pending;
            }
            self.wire.hold(0);
            self.wire.note(|progress| progress.waits = false);
            if !self.input.bytes().is_empty() {
                let may_be_http1 = !self.expects_preface || {
                    let bytes = self.input.bytes();
                    if bytes.starts_with(PREFACE) {
                        return Poll::Ready(Ok(Found::Http2));
                    }
                    !PREFACE.starts_with(bytes)
                };
                if may_be_http1 {
                    self.expects_preface = false;
                    if self.decode_head()? {
                        return Poll::Ready(Ok(Found::Request));
                    }
                }
            }
            if let Some(lease) = ready!(self.wire.poll_receive(context)).map_err(Error::of_stream)? {
                self.input.extend(lease);
            } else {
                self.codec.end_of_stream()?;
                self.stage = RequestStage::Closed { lingers: false };
            }
        }
    }

    /// Decodes the next head. Returns whether it is complete; it is then the current one.
    #[inline]
    fn decode_head(&mut self) -> Result<bool, Error> {
        let position = self.input.position();
        let (consumed, event) = self.codec.decode(self.input.bytes())?;
        let RequestEvent::Head(head) = event else {
            self.input.consume(consumed);
            self.input.release();
            return Ok(false);
        };
        let meta = head.meta();
        self.owes_continue = head.expects_continue();
        self.head = HeadPlace::Input((position + consumed - meta.length()) as u32);
        self.meta = Some(meta);
        self.input.consume(consumed);
        self.stage = RequestStage::Body;
        self.body_read = 0;
        // Most requests have no body and end here.
        if self.codec.body_length() == BodyLength::None {
            self.end_without_body()?;
        }
        Ok(true)
    }

    /// Ends a request without a body.
    #[inline]
    fn end_without_body(&mut self) -> Result<(), Error> {
        if let (_, RequestEvent::End { reusable }) = self.codec.decode(&[])? {
            self.end(reusable);
        }
        Ok(())
    }

    #[inline]
    fn end(&mut self, reusable: bool) {
        self.stage = RequestStage::End { reusable };
        self.wire.note(|progress| progress.received = true);
    }

    /// Ready when the exchange is over. The connection is then between two requests, or closed.
    #[inline]
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.wire.progress().answer != Answer::Whole {
            self.stage = RequestStage::Closed { lingers: true };
            return Poll::Ready(());
        }
        while self.stage == RequestStage::Body {
            // The connection will close after this response, or the limit for dropped bytes has been exceeded.
            if !self.persists || self.discarded > DISCARD_SIZE_MAX {
                self.stage = RequestStage::Closed { lingers: true };
                return Poll::Ready(());
            }
            match ready!(self.poll_body(context)) {
                Ok(Some(range)) => self.discarded += range.len() as u64,
                Ok(None) => {}
                // The response is complete and still has to be sent.
                Err(error) => {
                    self.stage = RequestStage::Closed { lingers: matches!(error, Error::Protocol(_)) };
                    return Poll::Ready(());
                }
            }
        }
        self.discarded = 0;
        self.trailers = None;
        self.wire.note(|progress| *progress = Progress::default());
        self.head = HeadPlace::Nowhere;
        self.input.consume_given();
        self.input.release();
        self.stage = match self.stage {
            RequestStage::End { reusable: true } if self.persists => RequestStage::Between,
            _ => RequestStage::Closed { lingers: !self.input.bytes().is_empty() || self.wire.has_news() },
        };
        Poll::Ready(())
    }

    /// Polls for the next piece of the body, as a range of the input's buffer; `None` at its end.
    pub(in crate::conn) fn poll_data(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Range<usize>>, Error>> {
        let outcome = self.poll_body(context);
        let waits = outcome.is_pending();
        self.wire.note(|progress| {
            progress.waits |= waits;
            progress.moved |= !waits;
        });
        match outcome {
            Poll::Ready(Err(error)) => self.failed(error),
            outcome => outcome,
        }
    }

    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Range<usize>>, Error>> {
        self.input.consume_given();
        loop {
            match self.stage {
                RequestStage::Body => {}
                RequestStage::End { .. } => return Poll::Ready(Ok(None)),
                RequestStage::Between | RequestStage::Closed { .. } => {
                    return Poll::Ready(Err(Error::Closed));
                }
            }
            let position = self.input.position();
            let bytes = self.input.bytes();
            let (consumed, event) = self.codec.decode(bytes)?;
            match event {
                RequestEvent::Data(data) => {
                    let range = range_of(data, bytes.as_ptr(), position);
                    self.body_read += data.len() as u64;
                    self.input.give(consumed);
                    self.owes_continue = false;
                    return Poll::Ready(Ok(Some(range)));
                }
                RequestEvent::End { reusable } => {
                    self.input.consume(consumed);
                    self.end(reusable);
                    continue;
                }
                RequestEvent::Trailers(fields) => {
                    let mut list = FieldList::new(u32::MAX, u32::MAX);
                    fields.iter().for_each(|(name, value)| list.push(name, value));
                    self.trailers = (!list.is_empty()).then(|| Box::new(list));
                }
                RequestEvent::NeedMore | RequestEvent::Head(_) => {}
            }
            let wants_more = event == RequestEvent::NeedMore;
            self.input.consume(consumed);
            if wants_more {
                ready!(self.poll_more_body(context))?;
            }
        }
    }

    /// Ready when more of a body has been received.
    fn poll_more_body(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // RFC 9110 §10.1.1: do not send it after the final response has begun, or once the body has started to arrive.
        if self.owes_continue && !self.wire.progress().has_begun() && !self.wire.has_news() {
            self.wire.write(|out| out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"));
            self.owes_continue = false;
        }
        // The peer may wait for this, or for an earlier response, before it sends. If it does not take them, it may
        // still send.
        if let Poll::Ready(Err(error)) = self.wire.poll_push(context) {
            return Poll::Ready(Err(Error::of_stream(error)));
        }
        match ready!(self.wire.poll_receive(context)).map_err(Error::of_stream)? {
            Some(lease) => {
                self.keep_head();
                self.input.extend(lease);
            }
            None => self.codec.end_of_stream()?,
        }
        Poll::Ready(Ok(()))
    }

    /// Copies the current head before its buffer is released.
    fn keep_head(&mut self) {
        if let Some(meta) = self.meta {
            self.head.keep(&self.input, meta.length());
        }
    }

    /// Records a final error.
    #[cold]
    fn failed<T>(&mut self, error: Error) -> Poll<Result<T, Error>> {
        let fault = match error {
            Error::Protocol(ProtocolError::H1(error)) => Some(error),
            // RFC 9112 §8: if the peer has ended only its sending half, it can still receive a response.
            Error::Incomplete(incomplete) => Some(h1::Error::Incomplete(incomplete)),
            _ => None,
        };
        self.fault = fault.map(|error| Fault { status: error.status(), error });
        self.stage = RequestStage::Closed { lingers: matches!(error, Error::Protocol(_)) };
        Poll::Ready(Err(error))
    }

    /// Responds with a status and a line of text that contains the reason, unless a response has begun. Takes no
    /// further requests.
    pub(crate) fn fail(&mut self, status: StatusCode, reason: &str) {
        self.wire.set_last();
        let lingers = !self.wire.progress().received || self.wire.has_news();
        self.stage = RequestStage::Closed { lingers };
        if self.wire.progress().has_begun() {
            return;
        }
        let body = format!("{status}: {reason}\n");
        let is_head = self.is_head_request_if_any();
        let ending = self.ending(Persistence::Close);
        let fields = [("Content-Type", "text/plain; charset=utf-8")];
        self.wire.write(|out| {
            let length = BodyLength::Length(body.len() as u64);
            response::encode_head(out, status, fields, length, ending).expect("constants are valid");
            if !is_head {
                out.extend_from_slice(body.as_bytes());
            }
        });
        self.wire.note(|progress| progress.answer = Answer::Whole);
    }

    /// Takes no further requests.
    pub(crate) fn finish(&mut self) {
        self.stage = RequestStage::Closed { lingers: false };
    }

    /// Returns whether the sending half is closed and the peer has not ended its own yet.
    pub(crate) fn has_shut_down(&self) -> bool {
        self.shut_down
    }

    /// Ready when everything was sent and the peer has had time to read it.
    pub(crate) fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.wire.poll_finished(context))?;
        if !matches!(self.stage, RequestStage::Closed { lingers: true }) {
            return Poll::Ready(Ok(()));
        }
        // RFC 9112 §9.6: closing while the peer sends would reset the connection and could destroy the response.
        if !self.shut_down {
            ready!(self.wire.poll_shutdown(context))?;
            self.shut_down = true;
            self.discarded = 0;
            self.input = Reader::default();
        }
        while self.discarded <= DISCARD_SIZE_MAX {
            match ready!(self.wire.poll_receive(context))? {
                Some(lease) => self.discarded += lease.len() as u64,
                None => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Returns the head of the current request.
    pub(in crate::conn) fn request_head(&self) -> RequestHead<'_> {
        let bytes = self.head.bytes(&self.input);
        RequestHead::from_parts(bytes, self.meta.expect("an exchange is created after its head has arrived"))
    }

    pub(in crate::conn) fn trailers(&self) -> Option<&FieldList> {
        self.trailers.as_deref()
    }

    pub(in crate::conn) fn body_length(&self) -> BodyLength {
        self.codec.body_length()
    }

    #[inline]
    pub(in crate::conn) fn is_head_request(&self) -> bool {
        self.request_head().bytes().starts_with(b"HEAD ")
    }

    /// Same as `is_head_request`, but also works if the head is incomplete or invalid. RFC 9110 §9.3.2 allows no
    /// content in a response to HEAD, even if the request is wrong.
    fn is_head_request_if_any(&self) -> bool {
        match self.head {
            HeadPlace::Nowhere => {
                let bytes = self.input.bytes();
                // RFC 9112 §2.2: empty lines before a request are ignored.
                let start = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                bytes[start..].starts_with(b"HEAD ")
            }
            _ => self.is_head_request(),
        }
    }

    #[inline]
    pub(in crate::conn) fn version(&self) -> Version {
        self.request_head().version()
    }

    /// Begins a response, and decides what it announces about the connection.
    ///
    /// `delimited`: the end of the response can be marked without closing. `reads_on`: the handler may still read the
    /// request's body.
    #[inline]
    pub(in crate::conn) fn begin_answer(&mut self, delimited: bool, reads_on: bool) -> Ending {
        self.persists = delimited
            && !self.wire.is_last()
            && match self.stage {
                RequestStage::End { reusable } => reusable,
                // If the peer still waits for `100 Continue`, it may send the body or omit it. The next request's start
                // is then unknown.
                RequestStage::Body => {
                    self.codec.is_reusable() && !self.owes_continue && (reads_on || self.rest_is_small())
                }
                RequestStage::Between | RequestStage::Closed { .. } => false,
            };
        let persistence = match (self.persists, self.version()) {
            (false, _) => Persistence::Close,
            (true, Version::Http11) => Persistence::Implied,
            (true, Version::Http10) => Persistence::Stated,
        };
        self.wire.note(|progress| progress.answer = Answer::Begun);
        self.ending(persistence)
    }

    /// Returns whether the rest of the body is small enough to be read and dropped, as far as is known.
    fn rest_is_small(&self) -> bool {
        match self.codec.body_length() {
            BodyLength::Length(length) => length - self.body_read <= DISCARD_SIZE_MAX,
            _ => true,
        }
    }

    pub(in crate::conn) fn ending(&self, persistence: Persistence) -> Ending {
        Ending { now_ns: self.wire.turn_time_ns(), persistence }
    }

    /// Returns why the current request cannot be answered with a switch to another protocol, if it cannot.
    pub(in crate::conn) fn upgrade_refusal(&self, status: StatusCode) -> Option<&'static str> {
        let head = self.request_head();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            if !head.requests_upgrade() {
                return Some("the request does not ask for it");
            }
        } else if head.method() != "CONNECT" || !status.is_success() {
            return Some("the status has to be 101, or to CONNECT one of success");
        }
        // RFC 9110 §7.8: it comes before the other protocol.
        (!matches!(self.stage, RequestStage::End { .. })).then_some("the request's body has not been read")
    }

    /// Takes no further requests. `takeover` gets the stream when the response has been sent.
    pub(in crate::conn) fn hand_over(&mut self, takeover: Takeover) {
        self.stage = RequestStage::Closed { lingers: false };
        self.takeover = Some(takeover);
        self.wire.note(|progress| progress.answer = Answer::Whole);
    }

    /// Takes what goes on with the stream.
    #[inline]
    pub(crate) fn take_takeover(&mut self) -> Option<Takeover> {
        self.takeover.take()
    }

    /// Closes the connection without a response.
    pub(in crate::conn) fn disconnect(&mut self) {
        self.stage = RequestStage::Closed { lingers: false };
        self.wire.note(|progress| progress.answer = Answer::Whole);
    }
}

impl fmt::Debug for ServerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConnection").field("stage", &self.stage).finish_non_exhaustive()
    }
}
