//! A connection pool: idle connections, and a queue for requests that wait for one.
//!
//! A pool belongs to one worker. It does not connect. It grants a [`Permit`] for one connection, together with an idle
//! connection if there is one. When a permit is dropped, at any point, it goes to the request that has waited longest.
//! So no permit is lost.
//!
//! Idle connections are taken last in, first out. The connection that was used last is the least likely to have been
//! closed by its peer. Surplus connections after a peak stay unused until they reach their idle timeout, instead of
//! being kept alive in turn.

mod authority;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(crate) use self::authority::Authority;
use crate::conn::Connection;
use crate::runtime::{self, JoinHandle, Timer};

/// Interval of the check for idle connections that their peers have closed. Until then, such a connection occupies a
/// descriptor.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Limits on the connections to one host and port, and on how long they stay idle.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use ringtide::client::PoolOptions;
///
/// let pool = PoolOptions::default().connections_per_host_max(512).idle_timeout(Duration::from_secs(4));
/// assert_eq!(pool.idle_per_host_max, None);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PoolOptions {
    /// Maximum of connections to one host and port, idle ones included. Further requests wait in the order in which
    /// they came, for at most [`Timeouts::pool`](crate::client::Timeouts::pool). 0 means 1. The default is 128.
    pub connections_per_host_max: usize,
    /// Maximum of idle connections to one host and port. `None`, the default, means no separate limit; 0 closes every
    /// connection after its response. With a limit below the number of concurrent requests, connections are closed and
    /// reopened all the time.
    pub idle_per_host_max: Option<usize>,
    /// Time after which an idle connection is closed. Servers commonly allow between 5 and 75 seconds. The default is
    /// 30 seconds; 0 closes a connection soon after its response.
    pub idle_timeout: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { connections_per_host_max: 128, idle_per_host_max: None, idle_timeout: Duration::from_secs(30) }
    }
}

impl PoolOptions {
    /// Sets [`connections_per_host_max`](Self::connections_per_host_max).
    #[must_use]
    pub fn connections_per_host_max(mut self, max: usize) -> Self {
        self.connections_per_host_max = max;
        self
    }

    /// Sets [`idle_per_host_max`](Self::idle_per_host_max). Takes a number or `None`.
    #[must_use]
    pub fn idle_per_host_max(mut self, max: impl Into<Option<usize>>) -> Self {
        self.idle_per_host_max = max.into();
        self
    }

    /// Sets [`idle_timeout`](Self::idle_timeout).
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }
}

/// The connections of one client.
pub(crate) struct Pool {
    shared: Rc<Shared>,
    sweeper: JoinHandle<()>,
}

struct Shared {
    options: PoolOptions,
    /// Borrowed only within a method, never while a waker is called or a permit is dropped.
    hosts: RefCell<HashMap<Rc<Authority>, Host>>,
    sweeper_waker: Cell<Option<Waker>>,
}

/// The state of one host and port. Requests wait only if there is no idle connection and `busy` is at its limit.
#[derive(Default)]
struct Host {
    /// The number of granted permits.
    busy: usize,
    /// The idle connections. The one that became idle last is at the back.
    idle: VecDeque<Idle>,
    waiting: VecDeque<Rc<Seat>>,
}

struct Idle {
    pooled: Box<Pooled>,
    since_ns: u64,
}

/// A connection and its timer, which are passed from request to request. It is boxed before its first request.
pub(crate) struct Pooled {
    pub(crate) connection: Connection,
    /// Measures the time limits of a request. Setting it again is much cheaper than creating a new one.
    pub(crate) timer: Timer,
}

impl Pooled {
    pub(crate) fn new(connection: Connection) -> Box<Self> {
        Box::new(Self { connection, timer: Timer::new() })
    }
}

/// Permission to have one connection to a host.
pub(crate) struct Permit {
    shared: Weak<Shared>,
    authority: Rc<Authority>,
}

/// A permit, and an idle connection if there was one.
pub(crate) struct Acquired {
    // The order matters: this connection is closed before the next holder of the permit connects.
    pub(crate) pooled: Option<Box<Pooled>>,
    pub(crate) permit: Permit,
}

impl Pool {
    /// Creates an empty pool on this worker.
    #[track_caller]
    pub(crate) fn new(options: PoolOptions) -> Self {
        let shared = Rc::new(Shared { options, hosts: RefCell::default(), sweeper_waker: Cell::default() });
        let sweeper = runtime::spawn(sweep(Rc::downgrade(&shared)));
        Self { shared, sweeper }
    }

    /// Waits for a permit for a connection to `authority`. Cancel-safe: a permit that was granted to a dropped future
    /// goes to the next waiting request.
    pub(crate) async fn acquire(&self, authority: &Rc<Authority>) -> Acquired {
        let seat = match self.shared.take_or_queue(authority) {
            Ok(acquired) => return acquired,
            Err(seat) => seat,
        };
        let wait = Wait { shared: &self.shared, authority, seat };
        let mut acquired = poll_fn(|context| wait.seat.poll(context)).await;
        // The peer may have closed it since it was granted.
        if acquired.pooled.as_mut().is_some_and(|pooled| !pooled.connection.is_reusable()) {
            acquired.pooled = None;
        }
        acquired
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("hosts", &self.shared.hosts.borrow().len()).finish_non_exhaustive()
    }
}

impl Acquired {
    /// Returns the connection to the pool for the next request. If there is no connection, or it cannot be reused, only
    /// returns the permit.
    pub(crate) fn give_back(self) {
        let Self { pooled, permit } = self;
        let (Some(mut pooled), Some(shared)) = (pooled, permit.shared.upgrade()) else { return };
        if !pooled.connection.is_reusable() {
            return;
        }
        pooled.timer.unset();
        let mut hosts = shared.hosts.borrow_mut();
        let Some(host) = hosts.get_mut(&permit.authority) else { return };
        if let Some(seat) = host.waiting.pop_front() {
            drop(hosts);
            seat.grant(Self { pooled: Some(pooled), permit });
            return;
        }
        let idle_max = shared.options.idle_per_host_max;
        if idle_max == Some(0) {
            drop(hosts);
            return;
        }
        let superfluous =
            if idle_max.is_some_and(|max| host.idle.len() >= max) { host.idle.pop_front() } else { None };
        let since_ns = pooled.connection.turn_time_ns();
        host.idle.push_back(Idle { pooled, since_ns });
        drop(hosts);
        drop(superfluous);
        // The connection is already in its place. No request waits, so this only changes the count.
        drop(permit);
        if let Some(waker) = shared.sweeper_waker.take() {
            waker.wake();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut hosts = shared.hosts.borrow_mut();
        let Some(host) = hosts.get_mut(&self.authority) else { return };
        if let Some(seat) = host.waiting.pop_front() {
            drop(hosts);
            let permit = Self { shared: self.shared.clone(), authority: Rc::clone(&self.authority) };
            seat.grant(Acquired { pooled: None, permit });
            return;
        }
        host.busy -= 1;
        if host.busy == 0 && host.idle.is_empty() {
            hosts.remove(&self.authority);
        }
    }
}

impl Shared {
    /// Takes an idle connection or a permit for a new one. If there is neither, queues the request and returns its
    /// seat.
    fn take_or_queue(self: &Rc<Self>, authority: &Rc<Authority>) -> Result<Acquired, Rc<Seat>> {
        let mut hosts = self.hosts.borrow_mut();
        let host = hosts.entry(Rc::clone(authority)).or_default();
        let mut pooled = None;
        while let Some(mut idle) = host.idle.pop_back() {
            let connection = &mut idle.pooled.connection;
            let idle_ns = connection.turn_time_ns().saturating_sub(idle.since_ns);
            if connection.is_reusable() && u128::from(idle_ns) < self.options.idle_timeout.as_nanos() {
                pooled = Some(idle.pooled);
                break;
            }
        }
        if pooled.is_none() && host.busy >= self.options.connections_per_host_max.max(1) {
            let seat = Rc::<Seat>::default();
            host.waiting.push_back(Rc::clone(&seat));
            return Err(seat);
        }
        host.busy += 1;
        Ok(Acquired {
            pooled,
            permit: Permit { shared: Rc::downgrade(self), authority: Rc::clone(authority) },
        })
    }

    /// Closes idle connections that have timed out or that their peers have closed. Returns the time until the next
    /// check, or `None` if no idle connection is left.
    fn sweep(&self, now_ns: u64) -> Option<Duration> {
        let timeout_ns = u64::try_from(self.options.idle_timeout.as_nanos()).unwrap_or(u64::MAX);
        let mut next_ns = None;
        self.hosts.borrow_mut().retain(|_, host| {
            host.idle.retain_mut(|idle| {
                let due_ns = idle.since_ns.saturating_add(timeout_ns);
                let stays = due_ns > now_ns && idle.pooled.connection.is_reusable();
                if stays {
                    next_ns = Some(next_ns.map_or(due_ns, |next_ns: u64| next_ns.min(due_ns)));
                }
                stays
            });
            host.busy > 0 || !host.idle.is_empty()
        });
        next_ns.map(|next_ns| Duration::from_nanos(next_ns - now_ns).min(SWEEP_INTERVAL))
    }
}

/// The task that closes idle connections. It waits without a timer while there are none, and ends with its pool.
async fn sweep(shared: Weak<Shared>) {
    loop {
        let pause = poll_fn(|context| {
            let Some(shared) = shared.upgrade() else { return Poll::Ready(None) };
            let pause = shared.sweep(runtime::now_ns());
            if pause.is_none() {
                shared.sweeper_waker.set(Some(context.waker().clone()));
                return Poll::Pending;
            }
            Poll::Ready(pause)
        })
        .await;
        let Some(pause) = pause else { return };
        runtime::sleep(pause).await;
    }
}

/// A place in a host's queue.
#[derive(Default)]
struct Seat(RefCell<SeatState>);

#[derive(Default)]
enum SeatState {
    #[default]
    Queued,
    Waiting(Waker),
    Granted(Box<Acquired>),
    /// The request no longer waits.
    Left,
}

impl Seat {
    /// Grants `acquired` to the request that waits here. Must be called only once, after the seat was removed from the
    /// queue.
    fn grant(&self, acquired: Acquired) {
        let before = mem::replace(&mut *self.0.borrow_mut(), SeatState::Granted(Box::new(acquired)));
        if let SeatState::Waiting(waker) = before {
            waker.wake();
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Acquired> {
        let mut state = self.0.borrow_mut();
        if let SeatState::Granted(acquired) = mem::replace(&mut *state, SeatState::Left) {
            return Poll::Ready(*acquired);
        }
        *state = SeatState::Waiting(context.waker().clone());
        Poll::Pending
    }
}

/// Removes the seat from the queue if the waiting future is dropped.
struct Wait<'p> {
    shared: &'p Shared,
    authority: &'p Authority,
    seat: Rc<Seat>,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        match self.seat.0.replace(SeatState::Left) {
            SeatState::Granted(acquired) => acquired.give_back(),
            SeatState::Left => {}
            SeatState::Queued | SeatState::Waiting(_) => {
                if let Some(host) = self.shared.hosts.borrow_mut().get_mut(self.authority) {
                    host.waiting.retain(|seat| !Rc::ptr_eq(seat, &self.seat));
                }
            }
        }
    }
}
