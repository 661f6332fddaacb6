//! A server's HTTP/2 connection: runs the handlers of its requests side by side, and applies the time limits.
//!
//! The future of a handler lives in a slot that the next handler uses again. A handler is polled at once; only one that
//! has to wait is woken later, through its slot. There is one timer per connection. While requests wait, it finds those
//! that took too long; otherwise it ends the idle connection.

use std::any::Any;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use http::StatusCode;

use super::connections::Lifecycle;
use super::failure::{FailureKind, HandlerFailure, report_http2};
use super::service::{KEEP_BUFFER_NS, LINGER_NS, Service, poll_deadline};
use crate::conn::http2::{self, Connection, Late, Next, NextError, StreamTimeouts};
use crate::conn::{Answered, Exchange};
use crate::proto::h2::{ErrorCode, ResetCause, StreamKey};
use crate::runtime::Timer;
use crate::stream::{Reader, Transport};

/// How long the peer may take to show that it has seen the announcement of the connection's end. Until then it may open
/// streams.
const DRAIN_NS: u64 = 1_000_000_000;

/// Serves a connection to its end. `input` are bytes that have been received already, `accepted_ns` is the time of the
/// accept.
pub(super) async fn serve<H, E>(
    transport: Transport,
    input: Reader,
    service: &Service<H>,
    timer: Timer,
    accepted_ns: u64,
) where
    H: AsyncFn(Exchange<'_>) -> Result<Answered, E>,
    E: Display + 'static,
{
    let task = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
    let connection = Connection::new(transport, input, &service.http2, task.clone());
    // The type of a handler's future has no name: the call gives it one.
    let make = |exchange: Exchange<'static>| (service.handler)(exchange);
    let mut driver = Driver::new(Rc::clone(&connection), service, make, timer, accepted_ns, task);
    let _end = End(connection);
    poll_fn(|context| driver.poll(context)).await;
}

/// Ends a connection whose task is over, for the exchanges that other tasks hold.
struct End(Rc<Connection>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The task of a connection.
struct Driver<'s, H, M, F> {
    connection: Rc<Connection>,
    service: &'s Service<H>,
    /// Calls the handler.
    make: M,
    handlers: Handlers<F>,
    timer: Timer,
    stage: Stage,
    /// Since when there has been no stream.
    idle_ns: u64,
    /// When streams have to be looked at again.
    sweep_ns: u64,
    /// When the second GOAWAY is due.
    drain_ns: u64,
    /// When the peer ended its side.
    ended_ns: Option<u64>,
    /// Since when the peer could have acknowledged our SETTINGS; [`SETTLED`] once it has.
    settings_ns: Option<NonZeroU64>,
    /// The memory that an idle connection does not need was freed.
    tidied: bool,
    late: Vec<Late>,
}

/// The peer has acknowledged our SETTINGS.
const SETTLED: Option<NonZeroU64> = Some(NonZeroU64::MAX);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// The peer sends nothing more.
    Ended,
    /// Everything is to be sent, then the connection closes.
    Closing {
        deadline_ns: u64,
    },
    /// The peer has been told that nothing follows.
    Lingering {
        deadline_ns: u64,
        discarded: u64,
    },
}

impl<'s, H, M, F, E> Driver<'s, H, M, F>
where
    M: Fn(Exchange<'static>) -> F,
    F: Future<Output = Result<Answered, E>>,
    E: Display + 'static,
{
    fn new(
        connection: Rc<Connection>,
        service: &'s Service<H>,
        make: M,
        timer: Timer,
        accepted_ns: u64,
        task: Waker,
    ) -> Self {
        Self {
            connection,
            service,
            make,
            handlers: Handlers::new(task),
            timer,
            stage: Stage::Serving,
            idle_ns: accepted_ns,
            sweep_ns: u64::MAX,
            drain_ns: u64::MAX,
            ended_ns: None,
            settings_ns: None,
            tidied: false,
            late: Vec::new(),
        }
    }

    /// Ready when the connection is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.connection.set_polled(true);
        let polled = self.poll_inner(context);
        if polled.is_ready() {
            // Here their panics are caught.
            self.handlers.clear_all();
        }
        self.connection.set_polled(false);
        polled
    }

    fn poll_inner(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self.service.connections.lifecycle() {
            Lifecycle::Serving => {}
            Lifecycle::Draining => self.drain(),
            Lifecycle::Aborting => return Poll::Ready(()),
        }
        if matches!(self.stage, Stage::Serving | Stage::Ended) {
            loop {
                if self.stage == Stage::Serving {
                    self.take_events(context);
                }
                self.run_ready();
                let was_full = self.connection.is_full();
                let flushed = self.connection.poll_flush(context);
                if has_failed(&flushed) {
                    return Poll::Ready(());
                }
                let were_blocked = flushed.is_ready() && self.stage == Stage::Ended && self.drop_blocked();
                // Sending has made room for requests that wait, or has let handlers go on.
                let has_room = was_full && !self.connection.is_full();
                if !(has_room || were_blocked || self.handlers.has_ready()) {
                    break;
                }
            }
            if self.check(context).is_pending() {
                return Poll::Pending;
            }
        }
        self.poll_close(context)
    }

    /// Decodes what has arrived, and begins to handle the requests.
    fn take_events(&mut self, context: &mut Context<'_>) {
        loop {
            match self.connection.poll_next(context) {
                Poll::Pending => return,
                Poll::Ready(Ok(Next::Request(request))) => self.begin(request),
                Poll::Ready(Ok(Next::TooLarge(stream))) => {
                    let (status, reason) = (
                        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                        "the header fields are larger than allowed",
                    );
                    self.refuse(stream, status, reason);
                }
                Poll::Ready(Ok(Next::Reset(stream, slot, reset))) => {
                    if let ResetCause::Fault(fault) = &reset.cause {
                        let kind = FailureKind::Refused(&fault.to_string());
                        report_http2(self.service.hook(), &self.connection, Some(stream), kind, None);
                    }
                    if let Some(slot) = slot {
                        self.drop_handler(slot, stream);
                    }
                }
                Poll::Ready(Ok(Next::End)) => {
                    self.end_input();
                    return;
                }
                Poll::Ready(Err(error)) => {
                    if let NextError::Protocol(error) = &error {
                        let kind = FailureKind::Http2 { error, counters: self.connection.counters() };
                        report_http2(self.service.hook(), &self.connection, None, kind, None);
                        // The codec has said why.
                        self.close();
                    } else {
                        self.stage = Stage::Closing { deadline_ns: 0 };
                    }
                    return;
                }
            }
        }
    }

    /// Calls the handler of a new request, and polls it.
    #[inline]
    fn begin(&mut self, request: Box<http2::Request>) {
        let stream = request.stream();
        let is_connect = request.is_connect();
        self.tidied = false;
        self.idle_ns = u64::MAX;
        // RFC 9110 §9.3.6: most servers do not implement CONNECT.
        if is_connect {
            self.connection.keep_request(request);
            return self.refuse(stream, StatusCode::NOT_IMPLEMENTED, "this server is not a proxy");
        }
        let exchange = Exchange::from(http2::Exchange::new(Rc::clone(&self.connection), request));
        let slot = self.handlers.take_slot();
        self.connection.set_slot(stream, slot);
        let make = &self.make;
        // The handler's code runs in the call, in each poll and in the drop.
        match catch_unwind(AssertUnwindSafe(|| make(exchange))) {
            Ok(future) => {
                self.handlers.fill(slot, future, stream);
                self.poll_handler(slot);
            }
            Err(payload) => {
                let payload = self.handlers.clear(slot).err().unwrap_or(payload);
                self.fail(stream, &HandlerFailure::Panic(payload));
            }
        }
    }

    fn run_ready(&mut self) {
        while let Some(slot) = self.handlers.next_ready() {
            self.poll_handler(slot);
        }
    }

    #[inline]
    fn poll_handler(&mut self, slot: u32) {
        let Some((stream, polled)) = self.handlers.poll(slot) else { return };
        match polled {
            Ok(Poll::Pending) => {
                let sweep_ns = self.connection.turn_time_ns().saturating_add(self.limit_ns());
                self.sweep_ns = self.sweep_ns.min(sweep_ns);
            }
            Ok(Poll::Ready(outcome)) => {
                let dropped = self.handlers.clear(slot);
                match (outcome, dropped) {
                    // It may have returned the proof of another response.
                    (Ok(_), Ok(())) if self.connection.end_handler(stream) => {}
                    (Ok(_), Ok(())) => self.connection.reset(stream, ErrorCode::INTERNAL_ERROR),
                    (Err(error), Ok(())) => self.fail(stream, &HandlerFailure::Error(error)),
                    (_, Err(payload)) => self.fail(stream, &HandlerFailure::Panic(payload)),
                }
            }
            Err(payload) => {
                let payload = self.handlers.clear(slot).err().unwrap_or(payload);
                self.fail(stream, &HandlerFailure::Panic(payload));
            }
        }
    }

    /// Ends the stream of a handler that has failed.
    #[cold]
    fn fail(&mut self, stream: StreamKey, failure: &HandlerFailure<E>) {
        let has_begun = self.connection.has_begun(stream);
        let status = (!has_begun).then_some(StatusCode::INTERNAL_SERVER_ERROR);
        self.connection.end_handler(stream);
        report_http2(self.service.hook(), &self.connection, Some(stream), failure.kind(), status);
        match status {
            Some(status) => self.connection.fail(stream, status, "the request could not be handled"),
            // The server cannot take back a partial response.
            None => self.connection.reset(stream, ErrorCode::INTERNAL_ERROR),
        }
    }

    /// Drops a handler whose stream is gone, or took too long.
    #[cold]
    fn drop_handler(&mut self, slot: u32, stream: StreamKey) {
        let dropped = self.handlers.clear(slot);
        // The next handler in the slot is another stream's. Not before the drop, which leaves the request to the slot's owner.
        self.connection.end_handler(stream);
        if let Err(payload) = dropped {
            let failure = HandlerFailure::<E>::Panic(payload);
            report_http2(self.service.hook(), &self.connection, Some(stream), failure.kind(), None);
        }
    }

    /// Responds with `status`, unless a response has begun, and reports the failure.
    #[cold]
    fn refuse(&mut self, stream: StreamKey, status: StatusCode, reason: &str) {
        let begun = self.connection.has_begun(stream);
        let kind = FailureKind::Refused(reason);
        report_http2(self.service.hook(), &self.connection, Some(stream), kind, (!begun).then_some(status));
        if begun {
            self.connection.reset(stream, ErrorCode::CANCEL);
        } else {
            self.connection.fail(stream, status, reason);
        }
    }

    /// Applies the limits. Ready if the connection is to close.
    fn check(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !matches!(self.stage, Stage::Serving | Stage::Ended) {
            return Poll::Ready(());
        }
        let now_ns = self.connection.turn_time_ns();
        loop {
            if now_ns >= self.drain_ns {
                self.connection.drain_finally();
                self.drain_ns = u64::MAX;
            }
            let is_idle = self.connection.streams() == 0 && self.handlers.running == 0;
            if is_idle && (self.stage == Stage::Ended || self.connection.is_final()) {
                self.close();
                return Poll::Ready(());
            }
            let deadline_ns = if is_idle { self.idle_deadline_ns(now_ns) } else { Some(self.sweep(now_ns)) };
            let Some(deadline_ns) = deadline_ns else {
                self.close();
                return Poll::Ready(());
            };
            // Streams that took too long may have ended by now.
            if !is_idle && self.connection.streams() == 0 && self.handlers.running == 0 {
                continue;
            }
            let partial_ns = self.connection.partial_ns().saturating_add(self.service.head_timeout_ns);
            if now_ns >= partial_ns {
                let kind = FailureKind::Refused("the head of the request did not arrive in time");
                report_http2(self.service.hook(), &self.connection, None, kind, None);
                self.connection.drain_finally();
                self.end_input();
                continue;
            }
            let settings_ns = self.settings_deadline_ns(now_ns);
            if now_ns >= settings_ns {
                let error = self.connection.settings_timeout();
                let kind = FailureKind::Http2 { error: &error, counters: self.connection.counters() };
                report_http2(self.service.hook(), &self.connection, None, kind, None);
                self.close();
                return Poll::Ready(());
            }
            let deadline_ns = deadline_ns.min(self.drain_ns).min(partial_ns).min(settings_ns);
            if has_failed(&self.connection.poll_flush(context)) {
                self.stage = Stage::Closing { deadline_ns: 0 };
                return Poll::Ready(());
            }
            if poll_deadline(&mut self.timer, deadline_ns, now_ns, context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Returns until when the peer must have acknowledged our SETTINGS (RFC 9113 §6.5.3).
    #[inline]
    fn settings_deadline_ns(&mut self, now_ns: u64) -> u64 {
        if self.settings_ns == SETTLED || self.stage != Stage::Serving {
            return u64::MAX;
        }
        self.settings_ns = if self.connection.is_settled() {
            SETTLED
        } else if self.connection.awaits_settings() {
            self.settings_ns.or(NonZeroU64::new(now_ns))
        } else {
            None
        };
        self.settings_ns
            .map_or(u64::MAX, |since_ns| since_ns.get().saturating_add(self.service.head_timeout_ns))
    }

    /// Returns when an idle connection has to do something, or `None` if it was idle for too long.
    fn idle_deadline_ns(&mut self, now_ns: u64) -> Option<u64> {
        self.sweep_ns = u64::MAX;
        let awaits_preface = self.connection.awaits_preface();
        if !awaits_preface && self.idle_ns == u64::MAX {
            self.idle_ns = now_ns;
        }
        let timeout_ns =
            if awaits_preface { self.service.head_timeout_ns } else { self.service.idle_timeout_ns };
        let deadline_ns = self.idle_ns.saturating_add(timeout_ns);
        if now_ns >= deadline_ns {
            return None;
        }
        let tidy_ns = self.idle_ns.saturating_add(KEEP_BUFFER_NS);
        if self.tidied {
            return Some(deadline_ns);
        }
        if now_ns < tidy_ns {
            return Some(deadline_ns.min(tidy_ns));
        }
        self.tidied = true;
        self.connection.tidy();
        self.handlers.clear_all();
        Some(deadline_ns)
    }

    /// Returns the time after which a stream can be late.
    #[inline]
    fn limit_ns(&self) -> u64 {
        self.service.stall_timeout_ns.min(self.service.request_timeout_ns)
    }

    /// Ends streams that took too long. Returns when to look again.
    fn sweep(&mut self, now_ns: u64) -> u64 {
        self.idle_ns = u64::MAX;
        if self.sweep_ns == u64::MAX {
            self.sweep_ns = now_ns.saturating_add(self.limit_ns());
        }
        if now_ns >= self.sweep_ns {
            let timeouts = StreamTimeouts {
                stall_ns: self.service.stall_timeout_ns,
                request_ns: self.service.request_timeout_ns,
                half_close: self.ended_ns.map(|ended_ns| (ended_ns, self.service.half_close_timeout_ns)),
            };
            let mut late = mem::take(&mut self.late);
            self.sweep_ns = self.connection.sweep(timeouts, &mut late);
            if !late.is_empty() {
                // A response that says so may wait for a window.
                self.sweep_ns = self.sweep_ns.min(now_ns.saturating_add(self.limit_ns()));
            }
            self.end_late(late);
        }
        self.sweep_ns
    }

    /// Ends the streams whose responses wait for windows, after the peer has ended its side. Returns whether there are any.
    fn drop_blocked(&mut self) -> bool {
        let mut blocked = mem::take(&mut self.late);
        self.connection.find_blocked(&mut blocked);
        let are_some = !blocked.is_empty();
        self.end_late(blocked);
        are_some
    }

    fn end_late(&mut self, mut late: Vec<Late>) {
        for Late { stream, slot, status } in late.drain(..) {
            // With the handler goes the exchange, and the failure is told with the request.
            if let Some(slot) = slot {
                self.drop_handler(slot, stream);
            }
            match status {
                Some(status) => self.refuse(stream, status, "the request took too long"),
                None => self.connection.reset(stream, ErrorCode::CANCEL),
            }
        }
        self.late = late;
    }

    /// Waits only for the responses to what has arrived.
    fn end_input(&mut self) {
        self.stage = Stage::Ended;
        self.connection.end_input();
        let now_ns = self.connection.turn_time_ns();
        self.ended_ns = Some(now_ns);
        self.sweep_ns = now_ns;
    }

    /// Begins the graceful end of the connection.
    fn drain(&mut self) {
        if self.drain_ns == u64::MAX && !self.connection.is_final() {
            self.connection.drain();
            self.drain_ns = self.connection.turn_time_ns().saturating_add(DRAIN_NS);
        }
    }

    /// Closes the connection after everything was sent.
    fn close(&mut self) {
        self.handlers.clear_all();
        self.connection.drain_finally();
        let deadline_ns = self.connection.turn_time_ns().saturating_add(self.service.stall_timeout_ns);
        self.stage = Stage::Closing { deadline_ns };
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now_ns = self.connection.turn_time_ns();
        if let Stage::Closing { deadline_ns } = self.stage {
            if deadline_ns == 0 {
                return Poll::Ready(());
            }
            match self.connection.poll_flush(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return poll_deadline(&mut self.timer, deadline_ns, now_ns, context),
            }
            match self.connection.poll_shutdown(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return poll_deadline(&mut self.timer, deadline_ns, now_ns, context),
            }
            self.stage = Stage::Lingering { deadline_ns: now_ns.saturating_add(LINGER_NS), discarded: 0 };
        }
        if let Stage::Lingering { deadline_ns, discarded } = &mut self.stage {
            if self.connection.poll_linger(discarded, context).is_ready() {
                return Poll::Ready(());
            }
            return poll_deadline(&mut self.timer, *deadline_ns, now_ns, context);
        }
        Poll::Ready(())
    }
}

/// What a handler's code returned, or its panic.
type Contained<T> = Result<T, Box<dyn Any + Send>>;

/// The handlers of a connection.
struct Handlers<F> {
    slots: Vec<Slot<F>>,
    free: Vec<u32>,
    running: usize,
    ready: Arc<Ready>,
    /// Those that are polled next, the last one first.
    next: Vec<u32>,
}

struct Slot<F> {
    future: Pin<Box<Option<F>>>,
    signal: Arc<Signal>,
    /// The signal, as the handler knows it.
    waker: Waker,
    stream: Option<StreamKey>,
}

impl<F: Future> Handlers<F> {
    fn new(task: Waker) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            running: 0,
            ready: Arc::new(Ready { slots: Mutex::default(), count: AtomicUsize::new(0), task }),
            next: Vec::new(),
        }
    }

    /// Takes a slot that has no handler.
    #[inline]
    fn take_slot(&mut self) -> u32 {
        self.running += 1;
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        let slot = self.slots.len() as u32;
        let signal =
            Arc::new(Signal { slot, is_given: AtomicBool::new(false), ready: Arc::clone(&self.ready) });
        let waker = Waker::from(Arc::clone(&signal));
        self.slots.push(Slot { future: Box::pin(None), signal, waker, stream: None });
        slot
    }

    #[inline]
    fn fill(&mut self, slot: u32, future: F, stream: StreamKey) {
        let slot = &mut self.slots[slot as usize];
        slot.future.set(Some(future));
        slot.stream = Some(stream);
    }

    /// Polls a handler, if the slot has one. A panic is caught here, so that the drop does not happen while the panic
    /// unwinds: a second panic would abort the process.
    #[inline]
    fn poll(&mut self, slot: u32) -> Option<(StreamKey, Contained<Poll<F::Output>>)> {
        let slot = self.slots.get_mut(slot as usize)?;
        let future = slot.future.as_mut().as_pin_mut()?;
        let mut context = Context::from_waker(&slot.waker);
        // Unwind-safe: after a panic the future is dropped and never polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| future.poll(&mut context)));
        Some((slot.stream?, polled))
    }

    /// Drops what a slot holds, and frees it. Returns the panic of the drop, if there was one.
    #[inline]
    fn clear(&mut self, slot: u32) -> Contained<()> {
        let entry = &mut self.slots[slot as usize];
        entry.stream = None;
        let dropped = catch_unwind(AssertUnwindSafe(|| entry.future.set(None)));
        self.running -= 1;
        self.free.push(slot);
        dropped
    }

    /// Drops all handlers, and the memory of the slots.
    fn clear_all(&mut self) {
        for slot in 0..self.slots.len() as u32 {
            if self.slots[slot as usize].stream.is_some() {
                // The connection ends, and nobody waits for the response.
                let _ = self.clear(slot);
            }
        }
        (self.slots, self.free, self.next) = Default::default();
    }

    #[inline]
    fn has_ready(&self) -> bool {
        !self.next.is_empty() || self.ready.count.load(Ordering::Acquire) > 0
    }

    #[inline]
    fn next_ready(&mut self) -> Option<u32> {
        if self.next.is_empty() {
            if self.ready.count.load(Ordering::Acquire) == 0 {
                return None;
            }
            let mut woken = self.ready.slots.lock().unwrap_or_else(PoisonError::into_inner);
            mem::swap(&mut *woken, &mut self.next);
            self.ready.count.store(0, Ordering::Release);
            drop(woken);
            self.next.reverse();
        }
        let slot = self.next.pop()?;
        if let Some(entry) = self.slots.get(slot as usize) {
            entry.signal.is_given.store(false, Ordering::Release);
        }
        Some(slot)
    }
}

/// The slots whose handlers were woken. Any thread may wake one.
struct Ready {
    slots: Mutex<Vec<u32>>,
    /// How many there are, to be looked at without the lock.
    count: AtomicUsize,
    /// Of the connection's task.
    task: Waker,
}

/// What wakes the handler in one slot. A late one wakes the next handler in the slot, to which it means nothing.
struct Signal {
    slot: u32,
    /// The slot is among those that were woken.
    is_given: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_given.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut slots = self.ready.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.push(self.slot);
        self.ready.count.store(slots.len(), Ordering::Release);
        drop(slots);
        self.ready.task.wake_by_ref();
    }
}

/// Returns whether sending has failed.
fn has_failed(flushed: &Poll<io::Result<()>>) -> bool {
    matches!(flushed, Poll::Ready(Err(_)))
}
