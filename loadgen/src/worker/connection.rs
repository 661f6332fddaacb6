//! One of a worker's connections: it connects, carries requests until it is over, and is replaced by a successor.
//!
//! What it carries is the matter of `users`, and how it is counted that of `booking`.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use ringtide::runtime::{self, Timer};
use ringtide::{Connection, RequestId};

use super::connect::Connected;
use super::phase::wake_main;
use super::shared::{ConnectPermit, Shared};
use super::source::{ConnectionNumber, Draw, Due};
use super::tickets::{Ticket, Tickets};
use crate::metrics::ErrorKind;

/// After a failed connect the next one waits this long,
const RECONNECT_WAIT_MS_MIN: u8 = 1;
/// and twice as long after each further failure, up to this. So a server that is down is not hammered, and one that
/// comes back is found soon.
const RECONNECT_WAIT_MS_MAX: u8 = 250;

/// One of a worker's connections, with its successors.
pub(super) struct ConnectionTask {
    pub(super) shared: Rc<Shared>,
    /// A [`ConnectionNumber`], in half its size.
    number: u32,
    pub(super) connection: Option<Connection>,
    /// Whether it speaks HTTP/2.
    pub(super) is_http2: bool,
    /// If sent bytes are counted as they leave: how many of them are counted.
    pub(super) sent_size: u64,
    /// Whether no place for a request was free when last looked.
    pub(super) is_full: bool,
    /// Whether it may carry no further request, although HTTP would allow it (`--no-keepalive` in HTTP/2).
    pub(super) is_spent: bool,
    pub(super) tickets: Tickets,
    /// Over HTTP/2: requests in the order of their sends, and when they were found in flight. It is filled when a deadline
    /// passes and it is empty, so it costs nothing while all are answered in time. All in it were sent before all others.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 32 in every connection")]
    pub(super) oldest: Option<Box<VecDeque<(RequestId, u64)>>>,
    /// What the task begins with, if it does not wait for a request. Boxed, because it soon has done so.
    beginning: Option<Box<Beginning>>,
    reconnect_wait_ms: u8,
    /// When it last began to have a free place: when it connected, or when an answer arrived while it was full.
    pub(super) free_since_ns: u64,
}

/// What a task begins with.
pub(super) enum Beginning {
    /// It connects before the run.
    Connect(ConnectPermit),
    /// It connects for this request.
    Send(Due),
}

/// Why a connection stops carrying requests.
pub(super) enum Over {
    /// The run has ended.
    Run,
    /// It cannot carry another request; nothing is in flight.
    Connection,
    /// It failed, perhaps with requests in flight.
    Failed(ErrorKind),
}

impl ConnectionTask {
    /// Starts a task.
    pub(super) fn spawn(shared: &Rc<Shared>, beginning: Option<Beginning>) {
        let number = shared.source.borrow_mut().add_connection();
        shared.deadlines.add_connection();
        shared.tasks_left.set(shared.tasks_left.get() + 1);
        let task = Self {
            shared: Rc::clone(shared),
            number: number as u32,
            connection: None,
            is_http2: false,
            sent_size: 0,
            is_full: false,
            is_spent: false,
            tickets: Tickets::default(),
            oldest: None,
            beginning: beginning.map(Box::new),
            reconnect_wait_ms: 0,
            free_since_ns: 0,
        };
        // It reports its own end.
        runtime::spawn_detached(task.into_task());
    }

    /// The task is in the future once: an async fn would have room for it twice. Each part borrows the whole task, which is
    /// one pointer, and what is rare and large is boxed.
    #[expect(clippy::manual_async_fn, reason = "an async fn would have room for the task twice")]
    fn into_task(mut self) -> impl Future<Output = ()> {
        async move {
            poll_fn(|context| self.introduce(context)).await;
            if self.connects_before_the_run() {
                Box::pin(self.connect_before_the_run()).await;
            }
            while !self.shared.sending_ended.get() {
                if self.connection.is_none() {
                    let Some(due) = poll_fn(|_| self.poll_draw()).await else { break };
                    if !Box::pin(self.connect_for(due)).await {
                        continue;
                    }
                }
                match poll_fn(|context| self.poll_requests(context)).await {
                    Over::Run => break,
                    Over::Connection => self.retire(),
                    Over::Failed(kind) => Box::pin(self.fail(kind)).await,
                }
            }
            Box::pin(self.censor()).await;
        }
    }

    #[inline]
    pub(super) fn number(&self) -> ConnectionNumber {
        self.number as ConnectionNumber
    }

    /// Lets the worker know whom to wake.
    fn introduce(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.shared.source.borrow_mut().set_connection_waker(self.number(), context.waker());
        Poll::Ready(())
    }

    /// Waits for a request that needs a connection; `None` when none may be sent any more.
    fn poll_draw(&mut self) -> Poll<Option<Due>> {
        if let Some(due) = self.take_waiting() {
            return Poll::Ready(Some(due));
        }
        if self.shared.sending_ended.get() {
            return Poll::Ready(None);
        }
        let mut source = self.shared.source.borrow_mut();
        // Connecting for one at a time: the others come when there is a connection.
        match source.draw(self.number(), runtime::turn_time_ns(), 1) {
            Draw::Now(due) | Draw::Assigned(due) => Poll::Ready(Some(due)),
            Draw::Wait => Poll::Pending,
        }
    }

    fn connects_before_the_run(&self) -> bool {
        matches!(self.beginning.as_deref(), Some(Beginning::Connect(_)))
    }

    /// Takes the request for which the task was started.
    pub(super) fn take_waiting(&mut self) -> Option<Due> {
        match self.beginning.as_deref() {
            Some(Beginning::Send(due)) => {
                let due = *due;
                self.beginning = None;
                Some(due)
            }
            Some(Beginning::Connect(_)) | None => None,
        }
    }

    async fn connect_before_the_run(&mut self) {
        let Some(Beginning::Connect(permit)) = self.beginning.take().map(|beginning| *beginning) else {
            return;
        };
        let connects = &permit.shared.connects;
        match self.shared.connect_or_end(runtime::now_ns()).await {
            Some(Ok(connected)) => {
                connects.connected.set(connects.connected.get() + 1);
                self.use_connection(connected);
            }
            Some(Err(failure)) => {
                connects.first_error.borrow_mut().get_or_insert(failure.text);
            }
            None => {}
        }
    }

    fn use_connection(&mut self, Connected { connection, tunnel_size, ready_ns }: Connected) {
        self.is_http2 = connection.version() == http::Version::HTTP_2;
        self.sent_size = tunnel_size;
        self.is_full = false;
        self.is_spent = false;
        self.oldest = None;
        self.free_since_ns = ready_ns;
        self.connection = Some(connection);
        let open = self.shared.open.get() + 1;
        self.shared.open.set(open);
        self.shared.open_max.set(self.shared.open_max.get().max(open));
    }

    /// Connects for a due request and sends it; false if that failed, and with it the request.
    ///
    /// Connecting counts as waiting for a free connection. Delay before the connect is the generator's own lag: to
    /// keep it in the lag, the request counts as ready that much earlier.
    async fn connect_for(&mut self, mut due: Due) -> bool {
        let closed = self.shared.plan.open_loop().is_none();
        let mut begun_ns = runtime::now_ns();
        let mut late_ns = begun_ns.saturating_sub(due.scheduled_ns.max(self.free_since_ns));
        if self.reconnect_wait_ms > 0 {
            let wait = Duration::from_millis(self.reconnect_wait_ms.into());
            let ended = self.sleep_or_end(wait).await;
            if ended {
                self.shared.censor_undelivered(due);
                return false;
            }
            begun_ns = runtime::now_ns();
        }
        // In a closed loop a request that needs a connection is due when its connect begins. A request drawn in the
        // warm-up keeps its time, and so does one that is sent again.
        if closed && self.shared.is_measured(due.scheduled_ns) && !due.is_again() {
            due.scheduled_ns = begun_ns;
            late_ns = 0;
        }
        match self.shared.connect_or_end(begun_ns).await {
            None => {
                self.shared.censor_unstarted(due);
                false
            }
            Some(Ok(connected)) => {
                self.reconnect_wait_ms = 0;
                self.use_connection(connected);
                let ready_ns = self.free_since_ns.saturating_sub(late_ns).max(due.scheduled_ns);
                if due.is_again() {
                    self.note_replayed();
                }
                if let Err(kind) = self.start(Ticket { due, ready_ns }, runtime::turn_time_ns()) {
                    self.fail(kind).await;
                    return false;
                }
                true
            }
            Some(Err(failure)) => {
                self.free_since_ns = runtime::now_ns();
                self.reconnect_wait_ms = self
                    .reconnect_wait_ms
                    .saturating_mul(2)
                    .clamp(RECONNECT_WAIT_MS_MIN, RECONNECT_WAIT_MS_MAX);
                self.fail_unconnected(due, failure);
                false
            }
        }
    }

    /// Waits; true if no request may be sent any more.
    async fn sleep_or_end(&mut self, duration: Duration) -> bool {
        let mut timer = Timer::new();
        timer.set(runtime::now_ns() + duration.as_nanos() as u64);
        poll_fn(|context| {
            if self.shared.sending_ended.get() {
                return Poll::Ready(true);
            }
            timer.poll_elapsed(context).map(|()| false)
        })
        .await
    }

    /// Takes the connection out, which is no longer used.
    pub(super) fn take_connection(&mut self) -> Option<Connection> {
        let connection = self.connection.take()?;
        self.shared.open.set(self.shared.open.get() - 1);
        Some(connection)
    }

    /// Closes a connection that has nothing in flight.
    fn retire(&mut self) {
        if let Some(mut connection) = self.take_connection() {
            if self.is_http2 {
                self.note_http2(&connection);
            }
            if connection.has_unexpected_bytes() && self.shared.is_measuring() {
                self.shared.recorder.borrow_mut().unexpected_bytes();
            }
            connection.close_after_peer();
        }
    }
}

/// However the task ends, it gives its place back. A panic ends the run as well: its figures could not be trusted,
/// and an unbooked request would keep it from ending.
impl Drop for ConnectionTask {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.in_flight.set(shared.in_flight.get().saturating_sub(self.tickets.len()));
        shared.tasks_left.set(shared.tasks_left.get() - 1);
        if thread::panicking() {
            // The code that panicked may still have borrowed it.
            if let Ok(mut source) = shared.source.try_borrow_mut() {
                source.leave(self.number());
            }
            shared.fail();
        }
        wake_main();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_task_is_small() {
        fn size_of_future<F>(_: impl Fn(ConnectionTask) -> F) -> usize {
            size_of::<F>()
        }
        // There is one per connection, and there may be tens of thousands of them. The published figure is 768 bytes for
        // everything that a connection needs.
        let size = size_of_future(|task: ConnectionTask| task.into_task());

        assert!(size <= 408, "{size} bytes");
    }
}
