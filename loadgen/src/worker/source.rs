//! Where a worker's requests come from: the server's answers (closed loop) or a schedule (open loop).
//!
//! An open loop has one schedule for all connections of a worker. A due request goes to the connection that has waited
//! longest with a free place (in HTTP/2, a stream). If none is free, it waits in the schedule, which stores nothing; so
//! memory stays constant however far the server falls behind.

use std::collections::VecDeque;
use std::num::NonZeroU8;
use std::task::Waker;

use fastrand::Rng;
use ringtide_driver::slots::reserve_sparingly;

use super::choice::Choice;
use super::queue::{Next, Queue};
use crate::schedule::Schedule;

/// A connection's index in the source.
pub(super) type ConnectionNumber = usize;

/// Which of the plan's requests.
pub(super) type RequestIndex = u32;

/// How often a request is sent at most. A server may refuse all requests, and the run must end all the same.
const SENDS_MAX: NonZeroU8 = NonZeroU8::new(100).unwrap();

/// A request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// When it was due for the first time.
    pub(super) scheduled_ns: u64,
    pub(super) request: RequestIndex,
    /// How often it will have been sent, this time included.
    sends: NonZeroU8,
}

impl Due {
    /// A request that was not sent before.
    #[inline]
    pub(super) fn first(scheduled_ns: u64, request: RequestIndex) -> Self {
        Self { scheduled_ns, request, sends: NonZeroU8::MIN }
    }

    /// The same once more, as the server has announced not to process it; `None` if it was sent often enough.
    pub(super) fn again(self) -> Option<Self> {
        (self.sends < SENDS_MAX).then(|| Self { sends: self.sends.saturating_add(1), ..self })
    }

    /// Whether it was sent before.
    #[inline]
    pub(super) fn is_again(self) -> bool {
        self.sends > NonZeroU8::MIN
    }
}

/// What a connection gets when it asks for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draw {
    /// Send it now.
    Now(Due),
    /// Send it now. It came due while the connection waited for it.
    Assigned(Due),
    /// None is due; the connection is woken when one is.
    Wait,
}

/// The source of one phase of a run.
pub(super) struct Source {
    kind: Kind,
    /// Waiting connections; the one that has waited longest comes first.
    idle: VecDeque<u32>,
    connections: Vec<ConnectionState>,
    /// Which request is next; `None` if there is only one.
    chooser: Option<Chooser>,
    /// Requests that were handed back. While there are any, no connection waits.
    returned: VecDeque<Due>,
    /// Free places of connections that were woken for a request, beside the place for this one.
    spare: usize,
    /// The pacing task, woken when a connection begins to wait.
    pacer: Option<Waker>,
}

#[derive(Default)]
struct ConnectionState {
    waker: Option<Waker>,
    place: Place,
    /// Free places when it last waited. Not 0.
    free: u32,
}

/// Where a connection is, as far as the source knows.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// At work.
    #[default]
    Busy,
    /// In the queue of waiting connections. It may have requests in flight at its other places.
    Idle,
    /// Woken for this request.
    Assigned(Due),
}

/// Chooses among several requests.
enum Chooser {
    /// By weight.
    Mix { choice: Choice, random: Rng },
    /// By what the users of a scenario do next. A request stands for its user.
    Users(Queue),
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
        Self {
            kind,
            idle: VecDeque::new(),
            connections: Vec::new(),
            chooser: None,
            returned: VecDeque::new(),
            spare: 0,
            pacer: None,
        }
    }

    /// Chooses among as many requests as there are weights, in an order that follows from the seed.
    pub(super) fn mixes(&mut self, weights: &[f64], seed: u64) {
        self.chooser = Some(Chooser::Mix { choice: Choice::new(weights), random: Rng::with_seed(seed) });
    }

    /// Gives the requests of these users.
    pub(super) fn walks(&mut self, users: Queue) {
        self.chooser = Some(Chooser::Users(users));
    }

    /// A user has no request in flight any more.
    pub(super) fn put_user(&mut self, user: RequestIndex, next: Next) {
        if let Some(Chooser::Users(users)) = &mut self.chooser {
            users.put(user, next);
            // Whoever gives the user back may not draw again itself, and the end of thinking has to be waited for.
            if !self.idle.is_empty() {
                self.wake_pacer();
            }
        }
    }

    /// Whether no user of a scenario can go on but those with a request in flight.
    pub(super) fn is_out_of_users(&self) -> bool {
        self.users().is_some_and(Queue::is_spent)
    }

    fn users(&self) -> Option<&Queue> {
        match &self.chooser {
            Some(Chooser::Users(users)) => Some(users),
            _ => None,
        }
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

    /// Sets the waker of a connection, used when it is assigned a request, at its deadline and at the end.
    pub(super) fn set_connection_waker(&mut self, connection: ConnectionNumber, waker: &Waker) {
        self.connections[connection].waker = Some(waker.clone());
    }

    /// Wakes a connection because its deadline has passed.
    pub(super) fn wake_connection(&self, connection: ConnectionNumber) {
        if let Some(waker) = &self.connections[connection].waker {
            waker.wake_by_ref();
        }
    }

    /// Wakes all connections at the end.
    pub(super) fn wake_connections(&self) {
        for waker in self.connections.iter().filter_map(|connection| connection.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// A request for `connection` at `now_ns`, if one is due. The connection has `free` places, at least 1.
    #[inline]
    pub(super) fn draw(&mut self, connection: ConnectionNumber, now_ns: u64, free: usize) -> Draw {
        if let Place::Assigned(due) = self.connections[connection].place {
            self.become_busy(connection);
            return Draw::Assigned(due);
        }
        if let Some(due) = self.take(now_ns) {
            // With another free place it waits on.
            if free == 1 {
                self.leave_queue(connection);
            }
            return Draw::Now(due);
        }
        let state = &mut self.connections[connection];
        state.free = free as u32;
        if state.place == Place::Busy {
            state.place = Place::Idle;
            self.idle.push_back(connection as u32);
            self.wake_pacer();
        }
        Draw::Wait
    }

    /// Says that the connection has no free place for now although it may wait for a request. One that was assigned to it
    /// goes to another.
    #[inline]
    pub(super) fn withdraw(&mut self, connection: ConnectionNumber) {
        if self.connections[connection].place != Place::Busy
            && let Some(due) = self.leave(connection)
        {
            self.hand_back(due);
        }
    }

    /// Says that the connection will not ask again. Returns a request that was assigned to it and not taken.
    pub(super) fn leave(&mut self, connection: ConnectionNumber) -> Option<Due> {
        self.leave_queue(connection);
        match self.connections[connection].place {
            Place::Assigned(due) => {
                self.become_busy(connection);
                Some(due)
            }
            Place::Busy | Place::Idle => None,
        }
    }

    /// Takes a request back that is to be sent by whoever is free first.
    #[cold]
    pub(super) fn hand_back(&mut self, due: Due) {
        self.returned.push_back(due);
        self.assign(0);
    }

    /// Takes back the requests that were assigned to connections and that these have not taken.
    pub(super) fn retract(&mut self) {
        for connection in 0..self.connections.len() {
            if let Place::Assigned(due) = self.connections[connection].place {
                self.become_busy(connection);
                self.returned.push_back(due);
            }
        }
    }

    /// A request that was handed back and that nobody has taken.
    pub(super) fn take_returned(&mut self) -> Option<Due> {
        self.returned.pop_front()
    }

    #[inline]
    fn become_busy(&mut self, connection: ConnectionNumber) {
        let state = &mut self.connections[connection];
        state.place = Place::Busy;
        self.spare -= state.free as usize - 1;
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
        let Some(due) = self.take(now_ns) else { return false };
        let Some(connection) = self.idle.pop_front() else { return false };
        let state = &mut self.connections[connection as usize];
        state.place = Place::Assigned(due);
        self.spare += state.free as usize - 1;
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
        true
    }

    /// A due request for a connection that is yet to be opened, if fewer are open than may be and those that are about
    /// to ask have no free place for it.
    pub(super) fn take_for_new_connection(&mut self, now_ns: u64, connections: usize) -> Option<Due> {
        match &self.kind {
            Kind::Open { connections_max, .. } if connections < *connections_max && self.spare == 0 => {
                self.take(now_ns)
            }
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
        self.returned.is_empty()
            && match &self.kind {
                Kind::Waiting => false,
                _ if self.is_out_of_users() => true,
                Kind::Closed { left, .. } => *left == 0,
                Kind::Open { schedule, .. } => schedule.peek_ns().is_none(),
            }
    }

    /// Whether the run's number of requests has been taken; never true for a run limited by time alone.
    pub(super) fn is_complete(&self) -> bool {
        self.returned.is_empty()
            && match &self.kind {
                Kind::Waiting => false,
                _ if self.is_out_of_users() => true,
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
        // The next request needs a user who is ready for it.
        let ready_ns = match self.users() {
            Some(users) if !users.is_ready() => users.next_ns()?,
            _ => 0,
        };
        Some(self.next_due_ns()?.max(ready_ns))
    }

    fn next_due_ns(&self) -> Option<u64> {
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

    /// A request that was handed back, or the next due one.
    #[inline]
    fn take(&mut self, now_ns: u64) -> Option<Due> {
        if !self.returned.is_empty() {
            return self.take_returned();
        }
        if self.chooser.is_some() {
            return self.take_chosen(now_ns);
        }
        Some(Due::first(self.take_due(now_ns)?, 0))
    }

    /// The next due one of several, which the schedule names or the chooser. Inlined, it would make drawing the only one
    /// slower.
    #[inline(never)]
    fn take_chosen(&mut self, now_ns: u64) -> Option<Due> {
        if let Some(Chooser::Users(users)) = &mut self.chooser
            && !users.has_one(now_ns)
        {
            return None;
        }
        let named = match &self.kind {
            Kind::Open { schedule, .. } => schedule.peek_request(),
            Kind::Waiting | Kind::Closed { .. } => None,
        };
        let scheduled_ns = self.take_due(now_ns)?;
        let request = match (named, self.chooser.as_mut()?) {
            (Some(request), _) => request,
            (None, Chooser::Mix { choice, random }) => choice.next(random),
            (None, Chooser::Users(users)) => users.take(),
        };
        Some(Due::first(scheduled_ns, request))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{OpenLoop, Part, Stop};

    /// A source with `connections` that gives a request at 0 ns and one each 1,000 ns after it.
    fn open(connections: usize, connections_max: usize) -> Source {
        let open = OpenLoop::steady(1e6, connections_max);
        let stop = Stop::Duration { ns: 1_000_000_000 };
        let part = Part { worker: 0, workers: 1, connections: connections.max(1) };
        let mut source = Source::open(0, Schedule::new(&open, stop, 0, part), connections_max);
        for _ in 0..connections {
            source.add_connection();
        }
        source
    }

    /// When the next request is due.
    fn next_ns(source: &Source) -> u64 {
        match &source.kind {
            Kind::Open { schedule, .. } => schedule.peek_ns().expect("there is one"),
            Kind::Waiting | Kind::Closed { .. } => panic!("it is open"),
        }
    }

    #[test]
    fn a_connection_with_further_free_places_waits_on() {
        let mut source = open(2, 2);
        let first_ns = next_ns(&source);
        assert_eq!(
            source.draw(0, 0, 3),
            if first_ns == 0 { Draw::Now(Due::first(0, 0)) } else { Draw::Wait }
        );
        let far_ns = 1_000_000;
        assert!(matches!(source.draw(1, 0, 1), Draw::Wait));
        let _ = source.draw(0, 0, 3);
        // Both wait. The one with three places draws two and still waits.
        assert!(source.all_idle(2));
        assert!(matches!(source.draw(0, far_ns, 3), Draw::Now(_)));
        assert!(matches!(source.draw(0, far_ns, 2), Draw::Now(_)));
        assert!(source.all_idle(2));
        assert!(matches!(source.draw(0, far_ns, 1), Draw::Now(_)));
        assert!(!source.all_idle(2), "it is full");
    }

    #[test]
    fn no_connection_is_opened_while_woken_ones_have_free_places() {
        for (free, opens) in [(1, true), (2, false)] {
            let mut source = open(1, 9);
            while matches!(source.draw(0, 0, free), Draw::Now(_)) {}
            let due_ns = next_ns(&source);
            assert!(source.assign(due_ns), "it waits");
            let later_ns = due_ns + 5_000;
            assert!(!source.assign(later_ns), "nobody waits any more");
            assert_eq!(source.take_for_new_connection(later_ns, 1).is_some(), opens);
            // It takes what was assigned, and is then as full as it says.
            assert_eq!(source.draw(0, later_ns, free), Draw::Assigned(Due::first(due_ns, 0)));
            assert!(source.take_for_new_connection(later_ns, 1).is_some());
        }
    }

    #[test]
    fn what_is_handed_back_comes_first_and_keeps_the_run_going() {
        let mut source = Source::closed(0, 100, 1);
        let (a, b) = (source.add_connection(), source.add_connection());
        let Draw::Now(due) = source.draw(a, 7, 1) else { panic!("one is due") };
        assert_eq!(source.draw(b, 8, 1), Draw::Wait);
        assert!(source.is_complete() && source.is_exhausted());
        let again = due.again().expect("it was sent once");
        assert!(again.is_again() && !due.is_again());
        source.hand_back(again);
        // The one that waits gets it at once; after that it waits for the next that is free.
        assert_eq!(source.draw(b, 9, 1), Draw::Assigned(again));
        source.hand_back(again);
        assert!(!source.is_complete() && !source.is_exhausted());
        assert_eq!(source.draw(a, 10, 1), Draw::Now(again));
        assert!(source.is_complete() && source.take_returned().is_none());
    }

    #[test]
    fn a_connection_that_withdraws_passes_on_what_was_assigned_to_it() {
        let mut source = open(2, 2);
        while matches!(source.draw(0, 0, 4), Draw::Now(_)) {}
        let due_ns = next_ns(&source);
        assert!(source.assign(due_ns));
        source.withdraw(0);
        assert_eq!(source.draw(1, due_ns, 1), Draw::Now(Due::first(due_ns, 0)));
        assert_eq!(source.draw(1, due_ns, 1), Draw::Wait);
        source.withdraw(1);
        assert!(source.all_idle(0));
        assert_eq!(source.spare, 0);
    }

    #[test]
    fn what_was_assigned_and_not_taken_can_be_retracted() {
        let mut source = open(2, 2);
        while matches!(source.draw(0, 0, 1), Draw::Now(_)) {}
        let due_ns = next_ns(&source);
        assert!(source.assign(due_ns));
        source.retract();
        assert_eq!(source.take_returned(), Some(Due::first(due_ns, 0)));
        assert_eq!((source.take_returned(), source.leave(0), source.spare), (None, None, 0));
    }

    #[test]
    fn a_request_is_not_sent_for_ever() {
        let mut due = Due::first(0, 0);
        let mut sends = 1;
        while let Some(again) = due.again() {
            (due, sends) = (again, sends + 1);
        }
        assert_eq!(sends, SENDS_MAX.get());
    }
}
