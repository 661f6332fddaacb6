//! Where a worker's requests come from: the server's answers (closed loop) or a schedule (open loop).
//!
//! An open loop has one schedule for all connections of a worker. A due request goes to the connection that has been
//! idle longest. If none is idle, it waits in the schedule, which stores nothing; so memory stays constant however
//! far the server falls behind.

use std::collections::VecDeque;
use std::task::Waker;

use ringtide_driver::slots::reserve_sparingly;

use crate::schedule::Schedule;

/// A connection's index in the source.
pub(super) type ConnectionNumber = usize;

/// What a connection gets when it asks for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draw {
    /// Send one now. It was due at this time.
    Now(u64),
    /// Send one now. It came due at this time, while the connection waited for it.
    Assigned(u64),
    /// None is due; the connection is woken when one is.
    Wait,
}

/// The source of one phase of a run.
pub(super) struct Source {
    kind: Kind,
    /// Waiting connections; the one that has waited longest comes first.
    idle: VecDeque<u32>,
    connections: Vec<ConnectionState>,
    /// The pacing task, woken when a connection begins to wait.
    pacer: Option<Waker>,
}

#[derive(Default)]
struct ConnectionState {
    waker: Option<Waker>,
    place: Place,
}

/// Where a connection is, as far as the source knows.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// At work.
    #[default]
    Busy,
    /// In the queue of waiting connections.
    Idle,
    /// Woken for a request that was due at this time.
    Assigned(u64),
}

enum Kind {
    /// Nothing to send yet.
    Waiting,
    Closed {
        start_ns: u64,
        end_ns: u64,
        left: u64,
    },
    Open {
        start_ns: u64,
        schedule: Schedule,
        connections_max: usize,
        /// Requests taken so far.
        taken: u64,
    },
}

impl Source {
    /// A source that gives nothing.
    pub(super) fn waiting() -> Self {
        Self::new(Kind::Waiting)
    }

    /// Gives a request whenever a connection asks, from `start_ns` to `end_ns`, at most `count` in all.
    pub(super) fn closed(start_ns: u64, end_ns: u64, count: u64) -> Self {
        Self::new(Kind::Closed { start_ns, end_ns, left: count })
    }

    /// Gives the requests of a schedule that begins at `start_ns`, to at most `connections_max` connections.
    pub(super) fn open(start_ns: u64, schedule: Schedule, connections_max: usize) -> Self {
        Self::new(Kind::Open { start_ns, schedule, connections_max, taken: 0 })
    }

    fn new(kind: Kind) -> Self {
        Self { kind, idle: VecDeque::new(), connections: Vec::new(), pacer: None }
    }

    /// Switches to the next phase. The connections stay, and those that wait are served from it.
    pub(super) fn replace(&mut self, next: Self) {
        self.kind = next.kind;
        if let Kind::Closed { .. } = self.kind {
            // Connections ask by themselves. The pacer makes sure that none is served before the start.
            self.wake_pacer();
        }
    }

    /// Adds a connection.
    pub(super) fn add_connection(&mut self) -> ConnectionNumber {
        let length = self.connections.len() + 1;
        reserve_sparingly(&mut self.connections, length);
        self.connections.push(ConnectionState::default());
        length - 1
    }

    /// Sets the waker of a connection, used when it is assigned a request and at the end.
    pub(super) fn set_connection_waker(&mut self, connection: ConnectionNumber, waker: &Waker) {
        self.connections[connection].waker = Some(waker.clone());
    }

    /// Wakes all connections at the end.
    pub(super) fn wake_connections(&self) {
        for waker in self.connections.iter().filter_map(|connection| connection.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// A request for `connection` at `now_ns`, if one is due.
    #[inline]
    pub(super) fn draw(&mut self, connection: ConnectionNumber, now_ns: u64) -> Draw {
        if let Place::Assigned(scheduled_ns) = self.connections[connection].place {
            self.connections[connection].place = Place::Busy;
            return Draw::Assigned(scheduled_ns);
        }
        if let Some(scheduled_ns) = self.take_due(now_ns) {
            self.leave_queue(connection);
            return Draw::Now(scheduled_ns);
        }
        if self.connections[connection].place == Place::Busy {
            self.connections[connection].place = Place::Idle;
            self.idle.push_back(connection as u32);
            self.wake_pacer();
        }
        Draw::Wait
    }

    /// Says that the connection will not ask again. Returns a request that was assigned to it and not taken.
    pub(super) fn leave(&mut self, connection: ConnectionNumber) -> Option<u64> {
        self.leave_queue(connection);
        match std::mem::take(&mut self.connections[connection].place) {
            Place::Assigned(scheduled_ns) => Some(scheduled_ns),
            Place::Busy | Place::Idle => None,
        }
    }

    /// A connection served while it waits must leave the queue, or it would be assigned another request.
    #[inline]
    fn leave_queue(&mut self, connection: ConnectionNumber) {
        let place = &mut self.connections[connection].place;
        if *place == Place::Idle {
            *place = Place::Busy;
            self.remove_idle(connection);
        }
    }

    #[inline(never)]
    fn remove_idle(&mut self, connection: ConnectionNumber) {
        self.idle.retain(|other| *other as usize != connection);
    }

    /// Assigns the next due request to the connection that has waited longest; false if there is no such request or
    /// connection.
    pub(super) fn assign(&mut self, now_ns: u64) -> bool {
        if self.idle.is_empty() {
            return false;
        }
        let Some(scheduled_ns) = self.take_due(now_ns) else { return false };
        let Some(connection) = self.idle.pop_front() else { return false };
        let state = &mut self.connections[connection as usize];
        state.place = Place::Assigned(scheduled_ns);
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
        true
    }

    /// A due request for a connection that is yet to be opened, if fewer are open than may be.
    pub(super) fn take_for_new_connection(&mut self, now_ns: u64, connections: usize) -> Option<u64> {
        match &self.kind {
            Kind::Open { connections_max, .. } if connections < *connections_max => self.take_due(now_ns),
            _ => None,
        }
    }

    /// Requests due before `end_ns` that nobody has taken: roughly when they were due, and how many they are.
    pub(super) fn take_overdue(&mut self, end_ns: u64) -> Option<(u64, u64)> {
        match &mut self.kind {
            Kind::Open { start_ns, schedule, .. } => {
                let (due_ns, count) = schedule.next_overdue(end_ns.checked_sub(*start_ns)?)?;
                Some((start_ns.saturating_add(due_ns), count))
            }
            Kind::Waiting | Kind::Closed { .. } => None,
        }
    }

    /// How many requests of the schedule were due by `now_ns`, and how many of these nobody has taken yet.
    pub(super) fn due(&self, now_ns: u64) -> (u64, u64) {
        match &self.kind {
            Kind::Open { start_ns, schedule, taken, .. } => {
                let waiting = schedule.overdue(now_ns.saturating_sub(*start_ns));
                (taken + waiting, waiting)
            }
            Kind::Waiting | Kind::Closed { .. } => (0, 0),
        }
    }

    /// Whether all requests have been taken.
    pub(super) fn is_exhausted(&self) -> bool {
        match &self.kind {
            Kind::Waiting => false,
            Kind::Closed { left, .. } => *left == 0,
            Kind::Open { schedule, .. } => schedule.peek_ns().is_none(),
        }
    }

    /// Whether the run's number of requests has been taken; never true for a run limited by time alone.
    pub(super) fn is_complete(&self) -> bool {
        match &self.kind {
            Kind::Waiting => false,
            Kind::Closed { left, .. } => *left == 0,
            Kind::Open { schedule, .. } => schedule.is_complete(),
        }
    }

    /// Whether all `connections` are waiting.
    pub(super) fn all_idle(&self, connections: usize) -> bool {
        self.idle.len() == connections
    }

    /// When the pacer must look again; `None` if the connections need no pacing.
    pub(super) fn next_wake_ns(&self) -> Option<u64> {
        match &self.kind {
            Kind::Waiting => None,
            Kind::Closed { start_ns, left, .. } => (*left > 0 && !self.idle.is_empty()).then_some(*start_ns),
            Kind::Open { start_ns, schedule, connections_max, .. } => {
                let wanted = !self.idle.is_empty() || self.connections.len() < *connections_max;
                schedule.peek_ns().filter(|_| wanted).map(|due_ns| start_ns.saturating_add(due_ns))
            }
        }
    }

    /// Sets whom to wake when a connection begins to wait.
    pub(super) fn set_waker(&mut self, waker: &Waker) {
        self.pacer = Some(waker.clone());
    }

    /// Wakes the pacer if all requests have been taken.
    pub(super) fn wake_pacer_at_the_end(&mut self) {
        if self.is_exhausted() {
            self.wake_pacer();
        }
    }

    fn wake_pacer(&mut self) {
        if let Some(waker) = self.pacer.take() {
            waker.wake();
        }
    }

    #[inline]
    fn take_due(&mut self, now_ns: u64) -> Option<u64> {
        match &mut self.kind {
            Kind::Waiting => None,
            Kind::Closed { start_ns, end_ns, left } => {
                let due = now_ns >= *start_ns && now_ns < *end_ns && *left > 0;
                due.then(|| {
                    *left -= 1;
                    now_ns
                })
            }
            Kind::Open { start_ns, schedule, taken, .. } => {
                let due_ns = start_ns.saturating_add(schedule.peek_ns()?);
                if due_ns > now_ns {
                    return None;
                }
                schedule.next();
                *taken += 1;
                Some(due_ns)
            }
        }
    }
}
