//! The server's connection: requests in, borrowed and in place, and answers out, collected into one send.
//!
//! Nothing is allocated per request, and nothing copied but a head that was cut by the network. It knows no time limit:
//! whoever drives it does.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use ringtide_driver::Address;

use super::input::Input;
use super::response::{self, Ending, Persistence};
use super::wire::{Answer, Progress, Wire};
use crate::error::Error;
use crate::proto::h1::{
    self, BodyLength, Limits, RequestEvent, RequestHead, RequestMeta, ServerCodec, Version,
};
use crate::stream::Stream;

/// Bytes of a body that nobody wants which are read all the same, so that the connection can be kept, or closed without a reset
/// that would take the answer with it (RFC 9112 §9.6).
pub const DISCARD_SIZE_MAX: u64 = 256 * 1024;

/// A server's HTTP/1.1 connection. It belongs to the worker it was made on. [`serve`](crate::server::serve) makes one for each
/// connection that it accepts, and adds the time limits; this is for those who accept by themselves.
///
/// ```no_run
/// use http::StatusCode;
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
pub struct ServerConnection {
    pub(super) wire: Rc<Wire>,
    codec: ServerCodec,
    pub(super) input: Input,
    /// Consumed by what was given out last, once the caller is done with it.
    given: usize,
    meta: Option<RequestMeta>,
    head: HeadPlace,
    stage: RequestStage,
    /// `100 Continue` has been asked for and not been sent.
    owes_continue: bool,
    /// The answer has said that the connection persists.
    persists: bool,
    /// Bytes of the current body that were read.
    body_read: u64,
    /// Bytes that were read though nobody wanted them.
    discarded: u64,
    /// What to answer with when the request could not be read.
    fault: Option<Fault>,
    shut_down: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestStage {
    /// No request has begun, or its head is not whole.
    Between,
    /// The head has been given out, the end not.
    Body,
    /// The end of the request has been seen; its answer may still be to come.
    End { reusable: bool },
    /// There will be no further request. If `lingers`, the peer may still be sending.
    Closed { lingers: bool },
}

/// Where the bytes of the current head are.
#[derive(Default)]
enum HeadPlace {
    #[default]
    Nowhere,
    /// In the input's buffer, from this position.
    Input(usize),
    /// Aside, as the input has moved on.
    Kept(Box<[u8]>),
}

/// A request that cannot be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) error: h1::Error,
}

impl Fault {
    /// Whether the peer has ended in the middle of the request.
    pub(crate) fn is_incomplete(self) -> bool {
        matches!(self.error, h1::Error::Incomplete(_))
    }
}

/// What a connection that is asked for the next request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The first byte of a request.
    Request,
    /// The rest of a head.
    Head,
    /// The rest of a request that has been answered, or that the peer takes its answers.
    Peer,
}

impl ServerConnection {
    /// A connection over `stream`, on which nothing has been received yet.
    pub fn new(stream: Stream, limits: Limits) -> Self {
        Self {
            wire: Rc::new(Wire::new(stream)),
            codec: ServerCodec::new(limits),
            input: Input::default(),
            given: 0,
            meta: None,
            head: HeadPlace::Nowhere,
            stage: RequestStage::Between,
            owes_continue: false,
            persists: true,
            body_read: 0,
            discarded: 0,
            fault: None,
            shut_down: false,
        }
    }

    /// Answers a request that could not be read with the status that the error suggests; [`close`](Self::close) follows. Nothing
    /// happens when there was no such request, or its answer had begun.
    pub fn refuse(&mut self) {
        if let Some(Fault { status, error }) = self.fault.take() {
            self.fail(status, &error.to_string());
        }
    }

    /// Sends what is queued, and ends the connection so that the peer can read all of it: the sending half first, then, after up to
    /// [`DISCARD_SIZE_MAX`] bytes that it may still send, the rest. There is no time limit; dropping the future, or the connection instead, ends it at
    /// once.
    ///
    /// # Errors
    /// When the connection has failed before everything was sent.
    pub async fn close(mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_close(context)).await
    }

    /// The address at the other end.
    ///
    /// # Errors
    /// As getpeername(2).
    pub fn peer_address(&self) -> io::Result<Address> {
        self.wire.peer_address()
    }

    /// The part that can be reached during an exchange.
    pub(crate) fn wire(&self) -> Rc<Wire> {
        Rc::clone(&self.wire)
    }

    /// The head of the current request, if there is one.
    pub(crate) fn head(&self) -> Option<RequestHead<'_>> {
        (!matches!(self.head, HeadPlace::Nowhere)).then(|| self.request_head())
    }

    /// What the current request was unreadable for.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Received bytes that are here, whatever of them has been worked on.
    #[inline]
    pub(crate) fn held_size(&self) -> usize {
        self.input.buffer().len()
    }

    /// What the last `poll_request` that was pending waits for.
    pub(crate) fn waiting(&self) -> Waiting {
        match self.stage {
            RequestStage::Between if self.wire.progress().waits => Waiting::Peer,
            RequestStage::Between if self.input.bytes().is_empty() => Waiting::Request,
            RequestStage::Between => Waiting::Head,
            _ => Waiting::Peer,
        }
    }

    /// As [`request`](Self::request); whether there is one.
    #[inline]
    pub(crate) fn poll_request(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        let outcome = self.poll_request_inner(context);
        match outcome {
            Poll::Pending => {
                // What was answered so far is to leave now.
                if let Poll::Ready(Err(error)) = self.wire.poll_push(context) {
                    return self.failed(Error::Network(error));
                }
                Poll::Pending
            }
            Poll::Ready(Err(error)) => self.failed(error),
            Poll::Ready(Ok(found)) => Poll::Ready(Ok(found)),
        }
    }

    #[inline]
    fn poll_request_inner(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        loop {
            match self.stage {
                RequestStage::Between => {}
                RequestStage::Body | RequestStage::End { .. } => {
                    ready!(self.poll_rest(context));
                    continue;
                }
                RequestStage::Closed { .. } => return Poll::Ready(Ok(false)),
            }
            // A peer that does not read its answers is not given further ones.
            if self.wire.poll_room(context).map_err(Error::Network)?.is_pending() {
                self.wire.note(|progress| progress.waits = true);
                self.wire.hold(self.held_size());
                return Poll::Pending;
            }
            self.wire.hold(0);
            self.wire.note(|progress| progress.waits = false);
            if !self.input.bytes().is_empty() && self.decode_head()? {
                return Poll::Ready(Ok(true));
            }
            if let Some(lease) = ready!(self.wire.poll_receive(context)).map_err(Error::Network)? {
                self.input.extend(lease);
            } else {
                self.codec.end_of_stream()?;
                self.stage = RequestStage::Closed { lingers: false };
            }
        }
    }

    /// Whether a whole head is there; it is then the current one.
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
        self.head = HeadPlace::Input(position + consumed - meta.length());
        self.meta = Some(meta);
        self.input.consume(consumed);
        self.stage = RequestStage::Body;
        self.body_read = 0;
        // Nearly always there is no body, and the request ends here.
        if self.codec.body_length() == BodyLength::None {
            self.end_without_body()?;
        }
        Ok(true)
    }

    /// Takes the end of a request without a body.
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

    /// Ready when the exchange is over and the connection is between two requests, or closed.
    #[inline]
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.wire.progress().answer != Answer::Whole {
            self.stage = RequestStage::Closed { lingers: true };
            return Poll::Ready(());
        }
        while self.stage == RequestStage::Body {
            // The peer was told to stop, or waits to be told to go on.
            if !self.persists || self.discarded > DISCARD_SIZE_MAX {
                self.stage = RequestStage::Closed { lingers: true };
                return Poll::Ready(());
            }
            match ready!(self.poll_body(context)) {
                Ok(Some(range)) => self.discarded += range.len() as u64,
                Ok(None) => {}
                // The answer has been given, and is still to be sent.
                Err(error) => {
                    self.stage = RequestStage::Closed { lingers: matches!(error, Error::Protocol(_)) };
                    return Poll::Ready(());
                }
            }
        }
        self.discarded = 0;
        self.wire.note(|progress| *progress = Progress::default());
        self.head = HeadPlace::Nowhere;
        self.input.consume(mem::take(&mut self.given));
        self.input.release();
        self.stage = match self.stage {
            RequestStage::End { reusable: true } if self.persists => RequestStage::Between,
            _ => RequestStage::Closed { lingers: !self.input.bytes().is_empty() || self.wire.has_news() },
        };
        Poll::Ready(())
    }

    /// The next piece of the body, by its place in the input's buffer; `None` at its end.
    pub(super) fn poll_data(
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
        self.input.consume(mem::take(&mut self.given));
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
                    let start = position + (data.as_ptr().addr() - bytes.as_ptr().addr());
                    let range = start..start + data.len();
                    self.given = consumed;
                    self.body_read += data.len() as u64;
                    self.owes_continue = false;
                    return Poll::Ready(Ok(Some(range)));
                }
                RequestEvent::End { reusable } => {
                    self.input.consume(consumed);
                    self.end(reusable);
                    continue;
                }
                RequestEvent::NeedMore | RequestEvent::Trailers(_) | RequestEvent::Head(_) => {}
            }
            let wants_more = event == RequestEvent::NeedMore;
            self.input.consume(consumed);
            if wants_more {
                ready!(self.poll_more_body(context))?;
            }
        }
    }

    /// Ready when more has been received of a body.
    fn poll_more_body(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // RFC 9110 §10.1.1: not after the final answer has begun, and needless once the body is coming.
        if self.owes_continue && !self.wire.progress().has_begun() && !self.wire.has_news() {
            self.wire.write(|out| out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"));
            self.owes_continue = false;
        }
        // The peer may wait for this, or for an earlier answer, before it sends. When it does not take them, it may still send.
        if let Poll::Ready(Err(error)) = self.wire.poll_push(context) {
            return Poll::Ready(Err(Error::Network(error)));
        }
        match ready!(self.wire.poll_receive(context)).map_err(Error::Network)? {
            Some(lease) => {
                self.keep_head();
                self.input.extend(lease);
            }
            None => self.codec.end_of_stream()?,
        }
        Poll::Ready(Ok(()))
    }

    /// Copies the current head aside before its buffer goes.
    fn keep_head(&mut self) {
        if let (HeadPlace::Input(position), Some(meta)) = (&self.head, self.meta) {
            let bytes = &self.input.buffer()[*position..*position + meta.length()];
            self.head = HeadPlace::Kept(bytes.into());
        }
    }

    /// Notes an error that is final.
    #[cold]
    fn failed<T>(&mut self, error: Error) -> Poll<Result<T, Error>> {
        let fault = match error {
            Error::Protocol(error) => Some(error),
            // RFC 9112 §8: a peer that has only ended its sending half can still be told.
            Error::Incomplete(incomplete) => Some(h1::Error::Incomplete(incomplete)),
            _ => None,
        };
        self.fault = fault.map(|error| Fault { status: error.status(), error });
        self.stage = RequestStage::Closed { lingers: matches!(error, Error::Protocol(_)) };
        Poll::Ready(Err(error))
    }

    /// Answers with a status and a line of text that says why, if no answer has begun, and takes no further request.
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
            response::encode_head(out, status, fields, length, ending).expect("these are constants");
            if !is_head {
                out.extend_from_slice(body.as_bytes());
            }
        });
        self.wire.note(|progress| progress.answer = Answer::Whole);
    }

    /// Takes no further request.
    pub(crate) fn finish(&mut self) {
        self.stage = RequestStage::Closed { lingers: false };
    }

    /// Whether the sending half was ended, and the peer is still to end its own.
    pub(crate) fn has_shut_down(&self) -> bool {
        self.shut_down
    }

    /// Ready when everything was sent and the peer has had the time to read it.
    pub(crate) fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.wire.poll_flushed(context))?;
        if !matches!(self.stage, RequestStage::Closed { lingers: true }) {
            return Poll::Ready(Ok(()));
        }
        // RFC 9112 §9.6: closing while the peer sends would reset the connection, and the answer could be lost with it.
        if !self.shut_down {
            self.shut_down = true;
            self.discarded = 0;
            self.input = Input::default();
            self.wire.shutdown()?;
        }
        while self.discarded <= DISCARD_SIZE_MAX {
            match ready!(self.wire.poll_receive(context))? {
                Some(lease) => self.discarded += lease.len() as u64,
                None => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The head of the current request.
    pub(super) fn request_head(&self) -> RequestHead<'_> {
        let bytes = match &self.head {
            HeadPlace::Input(position) => &self.input.buffer()[*position..],
            HeadPlace::Kept(bytes) => bytes,
            HeadPlace::Nowhere => unreachable!("a head stays as long as its exchange"),
        };
        RequestHead::from_parts(bytes, self.meta.expect("an exchange is made when its head is there"))
    }

    pub(super) fn body_length(&self) -> BodyLength {
        self.codec.body_length()
    }

    #[inline]
    pub(super) fn is_head_request(&self) -> bool {
        self.request_head().bytes().starts_with(b"HEAD ")
    }

    /// The same where the head may not have been understood, or not be whole: RFC 9110 §9.3.2 allows a response to HEAD no content,
    /// whatever is wrong with the request.
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
    pub(super) fn version(&self) -> Version {
        self.request_head().version()
    }

    /// Decides what the answer that begins now says about the connection. `delimited`: its end can be told without closing.
    /// `reads_on`: the handler may still read the body.
    #[inline]
    pub(super) fn begin_answer(&mut self, delimited: bool, reads_on: bool) -> Ending {
        self.persists = delimited
            && !self.wire.is_last()
            && match self.stage {
                RequestStage::End { reusable } => reusable,
                // A peer that has not been told to go on may send the body or leave it out: nobody can tell.
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

    /// Whether what is left of the body may be read and dropped, as far as is known.
    fn rest_is_small(&self) -> bool {
        match self.codec.body_length() {
            BodyLength::Length(length) => length - self.body_read <= DISCARD_SIZE_MAX,
            _ => true,
        }
    }

    fn ending(&self, persistence: Persistence) -> Ending {
        Ending { now_ns: self.wire.turn_time_ns(), persistence }
    }

    /// Ends the connection without an answer.
    pub(super) fn disconnect(&mut self) {
        self.stage = RequestStage::Closed { lingers: false };
        self.wire.note(|progress| progress.answer = Answer::Whole);
    }
}

impl fmt::Debug for ServerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConnection").field("stage", &self.stage).finish_non_exhaustive()
    }
}
