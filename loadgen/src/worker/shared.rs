//! The state that a worker's connections share with each other and with the task that paces them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use ringtide::runtime;
use ringtide::runtime::sync::{OwnedSemaphorePermit, Semaphore};
use ringtide::tls::ClientTls;
use ringtide::{Connection, PreparedRequest};
use ringtide_driver::allocator::CountingAllocator;

use super::deadlines::Deadlines;
use super::gathering::Progress;
use super::names::Names;
use super::phase::{wake_main, with_phase};
use super::queue::Queue;
use super::random;
use super::rules::AllRules;
use super::seen::AllSeen;
use super::source::{RequestIndex, Source};
use super::tunnel::Target;
use super::walkers::Walkers;
use crate::metrics::{QueueFacts, Recorder};
use crate::plan::{MaxErrors, Mode, Plan, Stop};
use crate::progress::Snapshot;
use crate::series::{Gauges, Reporter};
use crate::template::Templates;

/// Connections that one worker opens at the same time before a run. More would overflow the accept queue of most
/// servers, and a SYN dropped there is sent again only after a second.
const CONNECTS_AT_ONCE: usize = 128;

/// How often a percentile is computed for the progress. This takes tens of microseconds, in which nothing is sent.
const PERCENTILE_INTERVAL_NS: u64 = 1_000_000_000;

/// A worker asks the kernel about the queues of so many connections at the end, as each costs two system calls.
const QUEUES_ASKED_MAX: u64 = 256;

/// What a worker needs to start.
pub(crate) struct Assignment {
    /// What to do.
    pub plan: Arc<Plan>,
    /// The worker's number.
    pub index: usize,
    /// Where to connect, tried in order.
    pub targets: Vec<Target>,
    /// The TLS that all workers share, with its sessions; `None` for plain HTTP.
    pub tls: Option<ClientTls>,
    /// What to send, in the order of the plan.
    pub requests: Arc<[PreparedRequest]>,
    /// The requests of a scenario; `None` without one.
    pub templates: Option<Arc<Templates>>,
    /// Where the workers publish their progress, one entry each.
    pub snapshots: Arc<[Snapshot]>,
    /// Where to send what each second brought, if anybody wants it.
    pub reporter: Option<Reporter>,
    /// The allocator that counts the heap, if the program has one.
    pub heap: Option<&'static CountingAllocator>,
}

/// What all connections of a worker share.
pub(super) struct Shared {
    pub(super) plan: Arc<Plan>,
    pub(super) index: usize,
    pub(super) snapshots: Arc<[Snapshot]>,
    /// Whether each answer is published at once: a limit on the share of errors needs the number of ended requests.
    pub(super) counts_answers: bool,
    pub(super) targets: Vec<Target>,
    pub(super) tls: Option<ClientTls>,
    /// How many connects there were from one of the plan's addresses.
    pub(super) bound_connects: Cell<usize>,
    pub(super) requests: Arc<[PreparedRequest]>,
    /// Whether sent bytes are counted as they leave, for all requests together. With one request over HTTP/1.1 they are
    /// counted for each, which is exact even if a send was cut.
    pub(super) counts_sends: bool,
    /// The users of a scenario.
    pub(super) walkers: Option<RefCell<Walkers>>,
    /// What is asked of responses.
    pub(super) rules: AllRules,
    /// What is seen of them, by connection and slot; empty if nothing has to be.
    pub(super) seen: RefCell<AllSeen>,
    /// The whole,
    pub(super) recorder: RefCell<Recorder>,
    /// and the requests of each name.
    pub(super) names: Names,
    pub(super) source: RefCell<Source>,
    pub(super) deadlines: Deadlines,
    /// Only requests that were due from here on are recorded.
    pub(super) measured_from_ns: Cell<u64>,
    /// Connects during the warm-up are not recorded. Those before it are.
    pub(super) warming_up: Cell<bool>,
    /// The measured part is over: no request starts, and none is waited for that was not sent.
    pub(super) sending_ended: Cell<bool>,
    /// The run is over: those in flight are given up as well.
    pub(super) ended: Cell<bool>,
    pub(super) tasks_left: Cell<usize>,
    pub(super) connects: Connects,
    pub(super) in_flight: Cell<usize>,
    pub(super) in_flight_max: Cell<usize>,
    /// Open connections,
    pub(super) open: Cell<usize>,
    /// and the most of them at once.
    pub(super) open_max: Cell<usize>,
    /// What the kernel told of their queues at the end.
    pub(super) queues: Cell<QueueFacts>,
    /// Sends what each second brought, if anybody wants it.
    pub(super) reporter: RefCell<Option<Reporter>>,
    /// When to compute the next percentile for the progress.
    pub(super) next_percentile_ns: Cell<u64>,
    /// As many requests have failed as the plan allows.
    pub(super) too_many_errors: Cell<bool>,
    /// A connection task has panicked, so this worker's measurements are worthless.
    pub(super) panicked: Cell<bool>,
}

impl Shared {
    pub(super) fn new(assignment: Assignment) -> Self {
        let Assignment { plan, index, targets, tls, requests, templates, snapshots, reporter, heap: _ } =
            assignment;
        let mut source = Source::waiting();
        if requests.len() > 1 {
            let weights: Vec<f64> = plan.requests.iter().map(|request| request.weight).collect();
            source.mixes(&weights, random::seed_of(plan.seed, index));
        }
        let scenario = plan.scenario.as_ref().zip(templates);
        let walkers = scenario.map(|(scenario, templates)| {
            let users_max = match &plan.mode {
                Mode::Closed => plan.part(index).connections_of(plan.connections) * plan.parallel,
                Mode::Open(_) => u32::MAX as usize,
            };
            source.walks(Queue::new(users_max as u32, Walkers::walks_max(scenario, index, plan.threads)));
            Walkers::new(&plan, scenario, templates, index)
        });
        Self {
            recorder: RefCell::new(Recorder::new(plan.open_loop().is_some())),
            walkers: walkers.map(RefCell::new),
            rules: AllRules::new(&plan),
            seen: RefCell::default(),
            names: Names::new(&plan),
            source: RefCell::new(source),
            deadlines: Deadlines::default(),
            counts_answers: matches!(plan.max_errors, Some(MaxErrors::Percent(_))),
            plan,
            index,
            snapshots,
            targets,
            tls,
            // Workers begin at different addresses.
            bound_connects: Cell::new(index),
            counts_sends: requests.len() != 1,
            requests,
            measured_from_ns: Cell::new(u64::MAX),
            warming_up: Cell::new(false),
            sending_ended: Cell::new(false),
            ended: Cell::new(false),
            tasks_left: Cell::new(0),
            connects: Connects::default(),
            in_flight: Cell::new(0),
            in_flight_max: Cell::new(0),
            open: Cell::new(0),
            open_max: Cell::new(0),
            queues: Cell::default(),
            reporter: RefCell::new(reporter),
            next_percentile_ns: Cell::new(0),
            too_many_errors: Cell::new(false),
            panicked: Cell::new(false),
        }
    }

    /// Records something about a request: in the whole, and under its name.
    #[inline]
    pub(super) fn record(&self, request: RequestIndex, record: impl Fn(&mut Recorder)) {
        record(&mut self.recorder.borrow_mut());
        if !self.names.is_empty()
            && let Some(recorder) = self.names.of(self.request_of(request))
        {
            record(&mut recorder.borrow_mut());
        }
    }

    /// The request of the plan that was drawn.
    pub(super) fn request_of(&self, drawn: RequestIndex) -> u32 {
        match &self.walkers {
            None => drawn,
            Some(walkers) => walkers.borrow_mut().request_of(drawn),
        }
    }

    /// The request whose rules the response to a drawn one must follow; `None` if there are no rules for it.
    pub(super) fn judged_by(&self, drawn: RequestIndex) -> Option<u32> {
        match &self.walkers {
            None => Some(drawn),
            Some(walkers) => walkers.borrow_mut().judged_by(drawn),
        }
    }

    /// In a scenario: the user goes on after a response that came at `now_ns`.
    #[inline]
    pub(super) fn user_goes_on(&self, drawn: RequestIndex, now_ns: u64) {
        if let Some(walkers) = &self.walkers {
            let next = walkers.borrow_mut().advance(drawn, now_ns);
            self.source.borrow_mut().put_user(drawn, next);
        }
    }

    /// In a scenario: the user of a request that has failed gives up.
    pub(super) fn user_fails(&self, drawn: RequestIndex) {
        if let Some(walkers) = &self.walkers {
            let next = walkers.borrow_mut().fail(drawn);
            self.source.borrow_mut().put_user(drawn, next);
        }
    }

    pub(super) fn is_measured(&self, scheduled_ns: u64) -> bool {
        scheduled_ns >= self.measured_from_ns.get()
    }

    pub(super) fn is_measuring(&self) -> bool {
        self.measured_from_ns.get() != u64::MAX
    }

    /// Whether a request without an answer (timed out, or cut off by the end) counts. In a closed loop that runs for
    /// a time, one from the warm-up counts too: it blocked its connection in the measured part and would otherwise
    /// appear in no figure. With a schedule or a number of requests, the measured requests are fixed, so one from the
    /// warm-up is only noted.
    pub(super) fn counts_unanswered(&self, scheduled_ns: u64) -> bool {
        let kept_a_place = matches!((&self.plan.mode, self.plan.stop), (Mode::Closed, Stop::Duration { .. }));
        self.is_measured(scheduled_ns) || (self.is_measuring() && kept_a_place)
    }

    pub(super) fn sent_one(&self) {
        let in_flight = self.in_flight.get() + 1;
        self.in_flight.set(in_flight);
        self.in_flight_max.set(self.in_flight_max.get().max(in_flight));
    }

    pub(super) fn landed(&self, count: usize) {
        self.in_flight.set(self.in_flight.get() - count);
        // The last answer to the last request ends the run. Its connection may already count as waiting, and would
        // then not wake the pacer.
        if self.in_flight.get() == 0 {
            if self.sending_ended.get() {
                wake_main();
            }
            self.source.borrow_mut().wake_pacer_at_the_end();
        }
    }

    /// Publishes the figures for the progress display, and once a second what that second brought.
    pub(super) fn publish(&self, now_ns: u64) {
        let mut recorder = self.recorder.borrow_mut();
        let mut reporter = self.reporter.borrow_mut();
        if let Some(reporter) = &mut *reporter
            && reporter.is_due(now_ns)
        {
            let _ = reporter.report(&mut recorder, self.gauges(now_ns), now_ns);
        }
        // Whoever collects the seconds knows the percentiles, too.
        let is_due = reporter.is_none() && now_ns >= self.next_percentile_ns.get();
        let response_p99_ns = if is_due { recorder.response_p99_ns() } else { None };
        if response_p99_ns.is_some() {
            self.next_percentile_ns.set(now_ns + PERCENTILE_INTERVAL_NS);
        }
        self.snapshot().publish(recorder.counters(), response_p99_ns, now_ns);
        self.publish_open();
    }

    /// Publishes the figures for the progress display while answers are waited for after the end: they belong to no
    /// second.
    pub(super) fn publish_drain(&self, now_ns: u64) {
        self.snapshot().publish(self.recorder.borrow().counters(), None, now_ns);
        self.publish_open();
    }

    /// Publishes how many connections are open.
    pub(super) fn publish_open(&self) {
        self.snapshot().publish_open(self.open.get(), self.in_flight.get());
    }

    fn snapshot(&self) -> &Snapshot {
        &self.snapshots[self.index]
    }

    /// What this worker has at this moment.
    pub(super) fn gauges(&self, now_ns: u64) -> Gauges {
        let waiting = if self.plan.open_loop().is_some() { self.source.borrow().due(now_ns).1 } else { 0 };
        Gauges {
            connections: self.open.get() as u64,
            in_flight: self.in_flight.get() as u64,
            waiting,
            spin_ns: runtime::statistics().spin_ns,
        }
    }

    /// Asks the kernel about the queues of a connection at the end of the run, unless it has been asked about enough others.
    pub(super) fn ask_of_queues(&self, connection: &Connection) {
        let mut all = self.queues.get();
        if all.connections >= QUEUES_ASKED_MAX {
            return;
        }
        if let Ok(queues) = connection.tcp_queues() {
            let (used, size) = (u64::from(queues.receive_used), u64::from(queues.receive_size));
            all.add(&QueueFacts {
                connections: 1,
                unsent_size: queues.unsent_size.into(),
                sending_ns: queues.sending_ns,
                peer_limited_ns: queues.peer_limited_ns,
                buffer_limited_ns: queues.buffer_limited_ns,
                receive_full: u64::from(size > 0 && used * 4 >= size * 3),
            });
            self.queues.set(all);
        }
    }

    /// What this worker has done so far.
    pub(super) fn progress(&self, at_ns: u64) -> Progress {
        let completed = self.recorder.borrow().counters().completed;
        Progress { at_ns, completed, syscalls: runtime::statistics().syscalls }
    }

    /// Publishes how many requests have failed, and ends this worker's part if all workers together have reached the
    /// limit.
    #[cold]
    pub(super) fn count_errors(&self) {
        let Some(max) = self.plan.max_errors else { return };
        self.snapshots[self.index].count(self.recorder.borrow().counters());
        let (failed, ended) = Snapshot::failed_and_ended(&self.snapshots);
        if max.is_reached(failed, ended) {
            self.too_many_errors.set(true);
            with_phase(|phase| phase.stopped.set(true));
        }
    }

    /// Ends this worker's part because one of its tasks has panicked.
    pub(super) fn fail(&self) {
        self.panicked.set(true);
        with_phase(|phase| phase.stopped.set(true));
    }
}

/// The connects before the run.
pub(super) struct Connects {
    pub(super) tried: Cell<usize>,
    pub(super) connected: Cell<usize>,
    pub(super) first_error: RefCell<Option<String>>,
    permits: Rc<Semaphore>,
}

impl Default for Connects {
    fn default() -> Self {
        Self {
            tried: Cell::default(),
            connected: Cell::default(),
            first_error: RefCell::default(),
            permits: Rc::new(Semaphore::new(CONNECTS_AT_ONCE)),
        }
    }
}

impl Connects {
    /// How many are under way.
    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        CONNECTS_AT_ONCE - self.permits.available_permits()
    }
}

/// Permission for one of the connects before the run. Dropping it gives it back and counts the connect as tried,
/// however it ended.
pub(super) struct ConnectPermit {
    pub(super) shared: Rc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl ConnectPermit {
    /// Returns whether another connect may start.
    pub(super) fn is_free(shared: &Shared) -> bool {
        shared.connects.permits.available_permits() > 0
    }

    /// Takes a permit if another connect may start.
    pub(super) fn take(shared: &Rc<Shared>) -> Option<Self> {
        let permit = Rc::clone(&shared.connects.permits).try_acquire_owned().ok()?;
        Some(Self { shared: Rc::clone(shared), _permit: permit })
    }
}

impl Drop for ConnectPermit {
    fn drop(&mut self) {
        let tried = &self.shared.connects.tried;
        tried.set(tried.get() + 1);
        self.shared.publish_open();
        wake_main();
    }
}
