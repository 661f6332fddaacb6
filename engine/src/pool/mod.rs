//! A connection pool: idle connections, shared ones, and a queue for requests that wait.
//!
//! A pool belongs to one worker. It does not connect. It grants a [`Permit`] for one connection, together with an idle
//! connection if there is one. When a permit is dropped, at any point, it goes to the request that has waited longest.
//! So no permit is lost.
//!
//! Connections that speak HTTP/2 are shared: the pool grants places on them. A further one is opened only when those that there
//! are have no room; meanwhile other requests wait. Whether a host speaks HTTP/2 shows when the first connection to it is
//! there, and the requests that come before that wait too.
//!
//! Idle connections are taken last in, first out. The connection that was used last is the least likely to have been
//! closed by its peer. Surplus connections after a peak stay unused until they reach their idle timeout, instead of
//! being kept alive in turn.

mod authority;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::hash::BuildHasherDefault;
use std::mem;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(crate) use self::authority::Authority;
use self::authority::Hashed;
use crate::conn::http2::{Place, SharedConnection};
use crate::conn::{Connection, HttpVersion};
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
    ///
    /// An HTTP/2 connection that takes no further requests, and only finishes those it has, does not count.
    pub connections_per_host_max: usize,
    /// Maximum of idle HTTP/1.1 connections to one host and port. `None`, the default, means no separate limit; 0 closes every
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
    version: HttpVersion,
    /// Borrowed only within a method, never while a foreign waker is called or a permit is dropped.
    hosts: RefCell<HashMap<Rc<Authority>, Host, BuildHasherDefault<Hashed>>>,
    sweeper_waker: Cell<Option<Waker>>,
}

/// The state of one host and port. Requests wait only if there is no idle connection, no place on a shared one, and none may
/// be opened.
struct Host {
    /// The number of granted permits, and of shared connections.
    busy: usize,
    /// The idle connections. The one that became idle last is at the back.
    idle: VecDeque<Idle>,
    shared: Vec<Rc<SharedConnection>>,
    sharing: Sharing,
    /// A connection is being opened that may become a shared one.
    is_connecting: bool,
    waiting: VecDeque<Rc<Seat>>,
}

/// Whether the connections to a host are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    Never,
    /// No connection to it has shown it.
    Unknown,
    Always,
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
    /// Others wait for the connection, as it may become a shared one.
    is_awaited: bool,
}

/// What a request gets from the pool.
pub(crate) enum Acquired {
    /// An idle connection, which is its own meanwhile.
    // The order matters: this connection is closed before the next holder of the permit connects.
    Idle(Box<Pooled>, Permit),
    /// A place on a shared connection.
    Place(Place),
    /// The permission to connect.
    Permit(Permit),
}

impl Pool {
    /// Creates an empty pool on this worker. `version` tells which connections may be shared.
    #[track_caller]
    pub(crate) fn new(options: PoolOptions, version: HttpVersion) -> Self {
        let (hosts, sweeper_waker) = Default::default();
        let shared = Rc::new(Shared { options, version, hosts, sweeper_waker });
        let sweeper = runtime::spawn(sweep(Rc::downgrade(&shared)));
        Self { shared, sweeper }
    }

    /// Returns a connection to `authority` or the permission to open one, if that needs no wait.
    #[inline]
    pub(crate) fn acquire_now(&self, authority: &Rc<Authority>) -> Option<Acquired> {
        let mut hosts = self.shared.hosts.borrow_mut();
        hosts.get_mut(authority).and_then(|host| self.shared.take(host, authority))
    }

    /// Waits for a connection to `authority`, or for the permission to open one. Cancel-safe: what was granted to a dropped
    /// future goes to the next waiting request.
    pub(crate) async fn acquire(&self, authority: &Rc<Authority>) -> Acquired {
        let seat = match self.shared.take_or_queue(authority) {
            Ok(acquired) => return acquired,
            Err(seat) => seat,
        };
        let wait = Wait { shared: &self.shared, authority, seat };
        let mut acquired = poll_fn(|context| wait.seat.poll(context)).await;
        // The peer may have closed it since it was granted.
        if let Acquired::Idle(pooled, _) = &mut acquired
            && !pooled.connection.is_reusable()
            && let Acquired::Idle(pooled, permit) = acquired
        {
            drop(pooled);
            return Acquired::Permit(permit);
        }
        acquired
    }

    /// Adds a shared connection, for which `permit` was granted. Returns a place on it.
    pub(crate) fn share(&self, mut permit: Permit, connection: &Rc<SharedConnection>) -> Option<Place> {
        let authority = Rc::clone(&permit.authority);
        {
            let mut hosts = self.shared.hosts.borrow_mut();
            let host = hosts.get_mut(&authority)?;
            host.sharing = Sharing::Always;
            // All connections to a host probably take the same.
            if let Some(max) = host.shared.iter().find_map(|other| other.streams_max()) {
                connection.assume_streams_max(max.max(1));
            }
            host.shared.push(Rc::clone(connection));
            host.is_connecting &= !permit.is_awaited;
            // The connection counts instead of it.
            permit.shared = Weak::new();
        }
        let place = connection.reserve();
        runtime::spawn(drive(Rc::clone(connection), Rc::downgrade(&self.shared), Rc::clone(&authority)));
        self.shared.wake_sweeper();
        self.shared.grant_all(&authority);
        place
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.sweeper.abort();
        for host in self.shared.hosts.borrow().values() {
            host.shared.iter().for_each(|connection| connection.retire());
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("hosts", &self.shared.hosts.borrow().len()).finish_non_exhaustive()
    }
}

/// Returns a connection to the pool for the next request. If it cannot be reused, only returns the permit.
pub(crate) fn give_back(mut pooled: Box<Pooled>, permit: Permit) {
    let Some(shared) = permit.shared.upgrade() else { return };
    if !pooled.connection.is_reusable() {
        // It is closed before the next holder of the permit connects.
        drop(pooled);
        return;
    }
    pooled.timer.unset();
    let mut hosts = shared.hosts.borrow_mut();
    let Some(host) = hosts.get_mut(&permit.authority) else { return };
    if let Some(seat) = host.waiting.pop_front() {
        drop(hosts);
        seat.grant(Acquired::Idle(pooled, permit));
        return;
    }
    let idle_max = shared.options.idle_per_host_max;
    if idle_max == Some(0) {
        drop(hosts);
        drop(pooled);
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
    shared.wake_sweeper();
}

impl Permit {
    /// Returns whether others wait for the connection, as it may become a shared one.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// Notes that the connection is not a shared one, so that others need not wait for it.
    pub(crate) fn set_unshared(&mut self) {
        if !std::mem::take(&mut self.is_awaited) {
            return;
        }
        let Some(shared) = self.shared.upgrade() else { return };
        if let Some(host) = shared.hosts.borrow_mut().get_mut(&self.authority) {
            host.sharing = Sharing::Never;
            host.is_connecting = false;
        }
        shared.grant_all(&self.authority);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        if let Some(host) = shared.hosts.borrow_mut().get_mut(&self.authority) {
            host.busy -= 1;
            host.is_connecting &= !self.is_awaited;
        }
        shared.grant_all(&self.authority);
    }
}

impl Host {
    fn is_unused(&self) -> bool {
        self.busy == 0 && self.idle.is_empty() && self.shared.is_empty() && self.waiting.is_empty()
    }
}

impl Shared {
    /// Takes an idle connection, a place or a permit. If there is none, queues the request and returns its seat.
    fn take_or_queue(self: &Rc<Self>, authority: &Rc<Authority>) -> Result<Acquired, Rc<Seat>> {
        let mut hosts = self.hosts.borrow_mut();
        if !hosts.contains_key(authority) {
            hosts.insert(Rc::clone(authority), self.new_host(authority));
        }
        let host = hosts.get_mut(authority).expect("it was inserted if it was not there");
        self.take(host, authority).ok_or_else(|| {
            let seat = Rc::<Seat>::default();
            host.waiting.push_back(Rc::clone(&seat));
            host.shared.iter().for_each(|connection| connection.set_wanted(true));
            seat
        })
    }

    fn new_host(&self, authority: &Authority) -> Host {
        let sharing = match self.version {
            HttpVersion::Http2 => Sharing::Always,
            // There is ALPN only with TLS.
            HttpVersion::Negotiated if authority.is_tls => Sharing::Unknown,
            HttpVersion::Http1 | HttpVersion::Negotiated => Sharing::Never,
        };
        let (idle, shared, waiting) = Default::default();
        Host { busy: 0, idle, shared, sharing, is_connecting: false, waiting }
    }

    fn take(self: &Rc<Self>, host: &mut Host, authority: &Rc<Authority>) -> Option<Acquired> {
        if let Some(place) = host.shared.iter().find_map(SharedConnection::reserve) {
            return Some(Acquired::Place(place));
        }
        let mut pooled = None;
        while let Some(mut idle) = host.idle.pop_back() {
            let connection = &mut idle.pooled.connection;
            let idle_ns = connection.turn_time_ns().saturating_sub(idle.since_ns);
            if connection.is_reusable() && u128::from(idle_ns) < self.options.idle_timeout.as_nanos() {
                pooled = Some(idle.pooled);
                break;
            }
        }
        let is_awaited = pooled.is_none() && host.sharing != Sharing::Never;
        if is_awaited && (host.is_connecting || host.shared.iter().any(|connection| connection.is_settling()))
        {
            return None;
        }
        if pooled.is_none() && host.busy >= self.options.connections_per_host_max.max(1) {
            return None;
        }
        host.busy += 1;
        host.is_connecting |= is_awaited;
        let permit = Permit { shared: Rc::downgrade(self), authority: Rc::clone(authority), is_awaited };
        Some(match pooled {
            Some(pooled) => Acquired::Idle(pooled, permit),
            None => Acquired::Permit(permit),
        })
    }

    /// Grants what there is to the requests that wait.
    fn grant_all(self: &Rc<Self>, authority: &Rc<Authority>) {
        while let Some((seat, acquired)) = self.next_grant(authority) {
            seat.grant(acquired);
        }
    }

    fn next_grant(self: &Rc<Self>, authority: &Rc<Authority>) -> Option<(Rc<Seat>, Acquired)> {
        let mut hosts = self.hosts.borrow_mut();
        let host = hosts.get_mut(authority)?;
        if host.waiting.is_empty() {
            host.shared.iter().for_each(|connection| connection.set_wanted(false));
            if host.is_unused() {
                hosts.remove(authority);
            }
            return None;
        }
        let Some(acquired) = self.take(host, authority) else {
            host.shared.iter().for_each(|connection| connection.set_wanted(true));
            return None;
        };
        Some((host.waiting.pop_front()?, acquired))
    }

    /// After something has happened on a shared connection: retires it if it is over, or grants its places.
    #[inline]
    fn tend(self: &Rc<Self>, authority: &Rc<Authority>, connection: &Rc<SharedConnection>) {
        if !connection.is_open() {
            self.retire(authority, connection);
        } else if connection.is_wanted() {
            self.grant_all(authority);
        }
    }

    #[cold]
    fn retire(self: &Rc<Self>, authority: &Rc<Authority>, connection: &Rc<SharedConnection>) {
        if let Some(host) = self.hosts.borrow_mut().get_mut(authority) {
            let before = host.shared.len();
            host.shared.retain(|other| !Rc::ptr_eq(other, connection));
            host.busy -= before - host.shared.len();
        }
        connection.set_wanted(false);
        self.grant_all(authority);
    }

    /// Closes idle connections that have timed out or that their peers have closed. Returns the time until the next
    /// check, or `None` if no idle connection is left.
    fn sweep(&self, now_ns: u64) -> Option<Duration> {
        let timeout_ns = u64::try_from(self.options.idle_timeout.as_nanos()).unwrap_or(u64::MAX);
        let mut next_ns = None;
        let mut note =
            |due_ns: u64| next_ns = Some(next_ns.map_or(due_ns, |next_ns: u64| next_ns.min(due_ns)));
        self.hosts.borrow_mut().retain(|_, host| {
            host.idle.retain_mut(|idle| {
                let due_ns = idle.since_ns.saturating_add(timeout_ns);
                let stays = due_ns > now_ns && idle.pooled.connection.is_reusable();
                if stays {
                    note(due_ns);
                }
                stays
            });
            let before = host.shared.len();
            host.shared.retain(|connection| {
                let due_ns = connection.idle_since_ns().map_or(u64::MAX, |since_ns| {
                    connection.tidy();
                    since_ns.saturating_add(timeout_ns)
                });
                let stays = due_ns > now_ns;
                if stays {
                    note(due_ns);
                } else {
                    connection.retire();
                }
                stays
            });
            host.busy -= before - host.shared.len();
            !host.is_unused()
        });
        next_ns.map(|next_ns| Duration::from_nanos(next_ns - now_ns).min(SWEEP_INTERVAL))
    }

    fn wake_sweeper(&self) {
        if let Some(waker) = self.sweeper_waker.take() {
            waker.wake();
        }
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

/// The task that drives a shared connection to its end.
async fn drive(connection: Rc<SharedConnection>, pool: Weak<Shared>, authority: Rc<Authority>) {
    poll_fn(|context| {
        let polled = connection.poll(context);
        if let Some(pool) = pool.upgrade() {
            pool.tend(&authority, &connection);
        }
        polled
    })
    .await;
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
            SeatState::Granted(acquired) => match *acquired {
                Acquired::Idle(pooled, permit) => give_back(pooled, permit),
                // Dropping them passes them on.
                Acquired::Place(_) | Acquired::Permit(_) => {}
            },
            SeatState::Left => {}
            SeatState::Queued | SeatState::Waiting(_) => {
                if let Some(host) = self.shared.hosts.borrow_mut().get_mut(self.authority) {
                    host.waiting.retain(|seat| !Rc::ptr_eq(seat, &self.seat));
                }
            }
        }
    }
}
