//! A worker thread of a run: it opens its connections, keeps them busy as the plan says, and counts.
//!
//! The coordinator (`run`) starts one of these per thread and leads it through its phases: connect → wait for the
//! start → warm up → measure → end. Workers share only the progress snapshots.

mod booking;
mod choice;
mod connect;
mod connection;
mod cookies;
mod deadlines;
mod end;
mod gathering;
mod names;
mod observer;
mod phase;
mod queue;
mod random;
mod rules;
mod seen;
mod shared;
mod source;
mod tickets;
mod tunnel;
mod users;
mod wake_up;
mod walkers;

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use ringtide::runtime::{self, SetupError, Statistics, Timer, Worker, WorkerOptions};
use ringtide_driver::allocator::CountingAllocator;

use self::connection::{Beginning, ConnectionTask};
use self::end::end;
use self::gathering::{Gather, Gathering};
pub(crate) use self::phase::Controls;
use self::phase::{PHASE, Phase};
pub(crate) use self::shared::Assignment;
use self::shared::{ConnectPermit, Shared};
use self::source::Source;
pub(crate) use self::tunnel::{Target, Tunnel};
use crate::environment::{ThreadMeter, ThreadUsage, worker_spin};
use crate::metrics::{Moment, Recorder, WorkerFacts};
use crate::plan::{Mode, Plan, Stop};
use crate::progress::PUBLISH_INTERVAL_NS;
use crate::schedule::Schedule;

/// How opening the connections went.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// How many are open.
    pub connected: usize,
    /// Why the first one that failed did so.
    pub first_error: Option<String>,
}

/// What a worker tells the coordinator.
pub(crate) enum Report {
    /// The worker could not be set up. It has ended.
    NotSetUp(SetupError),
    /// The worker is set up, with its controls; and why its driver is not io_uring, unless the plan chose another.
    SetUp(Controls, Option<String>),
    /// The worker has tried to open each connection that should be open before the start.
    Opened(Opened),
    /// As many requests have failed as the plan allows.
    TooManyErrors,
    /// The measured part is over. Answers may still be waited for.
    Measured,
    /// The worker has closed its connections, and this is its outcome.
    Ended(Box<Outcome>),
    /// The thread has ended; without an outcome if it or one of its tasks panicked.
    Gone,
}

/// The result of one worker.
pub(crate) struct Outcome {
    /// Its measurements,
    pub recorder: Recorder,
    /// and those of each name of the plan, in its order.
    pub names: Vec<Recorder>,
    /// What it cost.
    pub facts: WorkerFacts,
    /// What its driver did.
    pub statistics: Statistics,
    /// When the measured part ended, on the clock of all workers.
    pub ended_ns: u64,
    /// Whether no user of the scenario could go on.
    pub out_of_users: bool,
    /// How long answers were waited for after that.
    pub drained_ns: u64,
    /// The most requests that were in flight at once.
    pub in_flight_max: usize,
    /// The most connections that were open at once.
    pub open_max: usize,
    /// The peak size of the heap, shared by all workers, read when this worker was done.
    pub heap_peak_bytes: Option<usize>,
    /// Why the CPU usage of its thread could not be read.
    pub meter_error: Option<io::Error>,
}

/// The body of a worker's thread. It reports each step through `report`.
pub(crate) fn work(assignment: Assignment, report: impl Fn(Report)) {
    let plan = &assignment.plan;
    let options = WorkerOptions {
        driver: plan.driver.into(),
        core: plan.cpus.as_ref().and_then(|cpus| cpus.get(assignment.index).copied()),
        spin: worker_spin(plan.spin, plan.threads),
    };
    let mut worker = match Worker::new(&options) {
        Ok(worker) => worker,
        Err(error) => return report(Report::NotSetUp(error)),
    };
    let heap = assignment.heap;
    go_through_phases(&mut worker, Rc::new(Shared::new(assignment)), heap, &report);
}

/// Returns without an outcome if a task has panicked.
fn go_through_phases(
    worker: &mut Worker,
    shared: Rc<Shared>,
    heap: Option<&'static CountingAllocator>,
    report: &impl Fn(Report),
) {
    let phase = Rc::new(Phase::default());
    PHASE.set(Some(Rc::clone(&phase)));
    let mut meter = ThreadMeter::of_this_thread();
    let reason = worker.fallback_reason().map(str::to_owned);
    let wake_up_ns = worker.block_on(wake_up::cost_ns());
    report(Report::SetUp(Controls { remote: worker.handle() }, reason));
    worker.block_on(async {
        phase.until(|phase| phase.may_connect.get() || phase.stopped.get()).await;
        watch_deadlines(&shared);
        connect(&shared, &phase).await;
    });
    if shared.panicked.get() {
        return;
    }
    report(Report::Opened(Opened {
        connected: shared.connects.connected.get(),
        first_error: shared.connects.first_error.take(),
    }));
    let measured = worker.block_on(measure(&shared, &phase, &mut meter, heap, report));
    let statistics = worker.statistics();
    PHASE.set(None);
    if shared.panicked.get() {
        return;
    }
    // All connection tasks have ended and dropped their references.
    let shared = Rc::into_inner(shared).expect("only the connection tasks hold it, and they have ended");
    let Measured { mut facts, ended_ns, drained_ns, heap_peak_bytes, meter_error, .. } = measured;
    facts.wake_up_ns = wake_up_ns;
    report(Report::Ended(Box::new(Outcome {
        recorder: shared.recorder.into_inner(),
        names: shared.names.into_recorders(),
        out_of_users: measured.out_of_users,
        facts,
        statistics,
        ended_ns,
        drained_ns,
        in_flight_max: shared.in_flight_max.get(),
        open_max: shared.open_max.get(),
        heap_peak_bytes,
        meter_error,
    })));
}

/// Wakes connections whose deadlines have passed, as long as there are any.
fn watch_deadlines(shared: &Rc<Shared>) {
    let shared = Rc::downgrade(shared);
    let mut timer = Timer::new();
    runtime::spawn_detached(poll_fn(move |context| {
        let Some(shared) = shared.upgrade() else { return Poll::Ready(()) };
        let source = shared.source.borrow();
        shared.deadlines.watch(&mut timer, context, |connection| source.wake_connection(connection));
        Poll::Pending
    }));
}

/// Starts the connection tasks and waits until they have tried to open the connections that the run starts with.
///
/// Without keep-alive each request opens its own connection. One is opened here all the same, to see whether the
/// server is there.
async fn connect(shared: &Rc<Shared>, phase: &Phase) {
    let plan = &shared.plan;
    let connections = plan.part(shared.index).connections_of(plan.connections);
    let connects = if plan.keepalive { connections } else { 1 };
    for connection in 0..connections {
        // Waiting here, not in each task, costs no memory for those that wait.
        let mut permit = None;
        if connection < connects {
            phase.until(|phase| ConnectPermit::is_free(shared) || phase.stopped.get()).await;
            permit = ConnectPermit::take(shared);
        }
        ConnectionTask::spawn(shared, permit.map(Beginning::Connect));
    }
    phase.until(|phase| shared.connects.tried.get() == connects || phase.stopped.get()).await;
}

struct Measured {
    facts: WorkerFacts,
    ended_ns: u64,
    drained_ns: u64,
    heap_peak_bytes: Option<usize>,
    meter_error: Option<io::Error>,
    out_of_users: bool,
}

async fn measure(
    shared: &Rc<Shared>,
    phase: &Phase,
    meter: &mut ThreadMeter,
    heap: Option<&'static CountingAllocator>,
    report: &impl Fn(Report),
) -> Measured {
    let plan = Arc::clone(&shared.plan);
    let index = shared.index;
    phase.until(|phase| phase.start_ns.get().is_some() || phase.stopped.get()).await;
    let start_ns = phase.start_ns.get().unwrap_or_else(runtime::now_ns);
    let measured_ns = start_ns.saturating_add(plan.warmup_ns);

    if plan.warmup_ns > 0 {
        let stop = Stop::Duration { ns: plan.warmup_ns };
        let source = match &plan.mode {
            Mode::Closed => Source::closed(start_ns, measured_ns, u64::MAX),
            Mode::Open(open) => {
                let schedule = Schedule::new(&open.warm_up(), stop, plan.seed ^ 1, plan.part(index));
                Source::open(start_ns, schedule, connections_max(&plan, index))
            }
        };
        shared.warming_up.set(true);
        run_source(shared, source, phase, Some(measured_ns), false).await;
        shared.warming_up.set(false);
    }

    let mut meter_error = None;
    let mut read = |meter: &mut ThreadMeter| {
        meter.read().unwrap_or_else(|error| {
            meter_error = Some(error);
            ThreadUsage::default()
        })
    };
    let end_ns = plan.stop.duration_ns().map(|ns| measured_ns.saturating_add(ns));
    let source = match &plan.mode {
        Mode::Closed => {
            let count = plan.part(index).requests_of(plan.stop);
            Source::closed(measured_ns, end_ns.unwrap_or(u64::MAX), count)
        }
        Mode::Open(open) => {
            let schedule = Schedule::new(open, plan.stop, plan.seed, plan.part(index));
            Source::open(measured_ns, schedule, connections_max(&plan, index))
        }
    };
    // Without a start the run was stopped before it.
    let begins = phase.start_ns.get().is_some() && phase.comes_to(measured_ns).await;
    shared.recorder.borrow_mut().reset();
    shared.names.for_each(Recorder::reset);
    // If the run was stopped before the measured part, nothing is measured and no later arrival comes due.
    let source = if begins {
        shared.measured_from_ns.set(measured_ns);
        if let Some(reporter) = &mut *shared.reporter.borrow_mut() {
            reporter.begin(measured_ns);
        }
        source
    } else {
        Source::waiting()
    };
    shared.in_flight_max.set(shared.in_flight.get());
    shared.open_max.set(shared.open.get());
    if let (Some(heap), 0) = (heap, index) {
        heap.reset_peak();
    }
    let before = read(meter);
    let statistics_before = runtime::statistics();
    run_source(shared, source, phase, end_ns, true).await;
    let ended_ns = runtime::now_ns();
    let out_of_users = shared.source.borrow().is_out_of_users();
    let after = read(meter);
    let statistics = runtime::statistics();
    let heap_peak_bytes = heap.map(CountingAllocator::peak_bytes);
    let gauges = shared.gauges(ended_ns);
    report(Report::Measured);

    shared.recorder.borrow_mut().ends(measured_ns, ended_ns);
    shared.names.for_each(|recorder| recorder.ends(measured_ns, ended_ns));
    let drained_ns = end(shared, phase, ended_ns).await;
    if let Some(reporter) = shared.reporter.take() {
        reporter.end(&mut shared.recorder.borrow_mut(), gauges, ended_ns);
    }
    if shared.too_many_errors.get() {
        report(Report::TooManyErrors);
    }
    let recorder = shared.recorder.borrow();
    let wall_ns = ended_ns.saturating_sub(measured_ns);
    let facts = WorkerFacts {
        wall_ns,
        other_wakes: other_wakes(wall_ns, recorder.moments()),
        user_ns: after.user_ns.saturating_sub(before.user_ns),
        system_ns: after.system_ns.saturating_sub(before.system_ns),
        spin_ns: statistics.spin_ns - statistics_before.spin_ns,
        run_queue_wait_ns: after.run_queue_wait_ns.saturating_sub(before.run_queue_wait_ns),
        syscalls: statistics.syscalls - statistics_before.syscalls,
        wake_up_ns: 0,
        queues: shared.queues.take(),
    };
    Measured { facts, ended_ns, drained_ns, heap_peak_bytes, meter_error, out_of_users }
}

/// How often a worker wakes in this time for something other than its requests; `moments` of these are told by its recorder.
pub(crate) fn other_wakes(wall_ns: u64, moments: u64) -> u64 {
    wall_ns / PUBLISH_INTERVAL_NS + wall_ns / gathering::INTERVAL_NS + moments
}

fn connections_max(plan: &Plan, index: usize) -> usize {
    plan.part(index).connections_of(plan.connections_max())
}

/// Lets the connections draw from `source` until `end_ns`, until the requested number is answered, or until the
/// coordinator stops the run. A schedule without a number of requests runs to `end_ns` even if its last request was
/// earlier.
async fn run_source(
    shared: &Rc<Shared>,
    source: Source,
    phase: &Phase,
    end_ns: Option<u64>,
    publishes: bool,
) {
    shared.source.borrow_mut().replace(source);
    let mut pacer = Timer::precise();
    let mut end = Timer::new();
    if let Some(end_ns) = end_ns {
        end.set(end_ns);
    }
    let mut publish = Timer::new();
    // At fixed distances from the start, so that seconds begin and end together on all workers.
    let mut publish_ns = runtime::now_ns();
    publish.set(publish_ns);
    let mut gathering = Gathering::default();
    let mut gather = Timer::new();
    if shared.plan.open_loop().is_none() {
        gather.set(runtime::now_ns());
    }
    let mut moment = Timer::new();
    if publishes && shared.plan.open_loop().is_some() {
        moment.set(runtime::now_ns() + shared.recorder.borrow().next_moment_ns());
    }
    poll_fn(|context| {
        let now_ns = runtime::now_ns();
        pace(shared, now_ns);
        if phase.stopped.get() || end.poll_elapsed(context).is_ready() {
            return Poll::Ready(());
        }
        {
            let mut source = shared.source.borrow_mut();
            if source.is_complete() && shared.in_flight.get() == 0 && source.all_idle(shared.tasks_left.get())
            {
                return Poll::Ready(());
            }
            source.set_waker(context.waker());
            match source.next_wake_ns() {
                Some(next_ns) => pacer.set(next_ns),
                None => pacer.unset(),
            }
        }
        // Set before it is polled: a deadline that has passed in the meantime fires in the next turn.
        let _ = pacer.poll_elapsed(context);
        if publish.poll_elapsed(context).is_ready() {
            if publishes {
                shared.publish(now_ns);
                // Answers never raise the share of errors, but they can bring it to the minimum from which it is
                // judged.
                shared.count_errors();
            }
            publish_ns += (now_ns.saturating_sub(publish_ns) / PUBLISH_INTERVAL_NS + 1) * PUBLISH_INTERVAL_NS;
            publish.set(publish_ns);
            let _ = publish.poll_elapsed(context);
        }
        if gather.poll_elapsed(context).is_ready() {
            if let Some(Gather { count, within_ns }) =
                gathering.next(shared.progress(now_ns), shared.in_flight.get())
            {
                runtime::gather_completions(count, within_ns);
            }
            gather.set(now_ns + gathering::INTERVAL_NS);
            let _ = gather.poll_elapsed(context);
        }
        if moment.poll_elapsed(context).is_ready() {
            let mut recorder = shared.recorder.borrow_mut();
            let (due, waiting) = shared.source.borrow().due(now_ns);
            let ended = recorder.counters().completed + recorder.counters().failed;
            recorder.passed(Moment { at_ns: now_ns, due, ended, waiting });
            moment.set(now_ns + recorder.next_moment_ns());
            let _ = moment.poll_elapsed(context);
        }
        phase.waker.set(Some(context.waker().clone()));
        Poll::Pending
    })
    .await;
    runtime::gather_completions(Gather::NONE.count, Gather::NONE.within_ns);
    if publishes {
        shared.publish(runtime::now_ns());
    }
}

/// Assigns due requests to idle connections, and opens further connections as far as the plan allows.
fn pace(shared: &Rc<Shared>, now_ns: u64) {
    loop {
        let mut source = shared.source.borrow_mut();
        if source.assign(now_ns) {
            continue;
        }
        let Some(due) = source.take_for_new_connection(now_ns, shared.tasks_left.get()) else {
            return;
        };
        drop(source);
        ConnectionTask::spawn(shared, Some(Beginning::Send(due)));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
    use std::thread;
    use std::time::Duration;

    use ringtide::{Address, PreparedRequest};
    use ringtide_driver::monotonic_ns;

    use super::*;
    use crate::progress::Snapshot;

    /// Each step here takes less than a hundredth of this.
    const PATIENCE: Duration = Duration::from_secs(30);

    thread_local! {
        /// The state of the worker on this thread, so that a test can inject a fault.
        static SHARED: RefCell<Option<Rc<Shared>>> = const { RefCell::new(None) };
    }

    /// Starts a server; returns its address and a channel with a message for each request.
    fn server() -> (Address, Receiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("bound");
        let (sender, seen) = channel();
        let serve = move |mut stream: TcpStream, sender: Sender<()>| {
            // The requests are small and come one at a time.
            while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
                let _ = sender.send(());
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        };
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let sender = sender.clone();
                thread::spawn(move || serve(stream, sender));
            }
        });
        (Address::Tcp(address), seen)
    }

    /// The work of the only worker of `plan`, which connects to `address`.
    fn assignment(plan: Plan, address: Address) -> Assignment {
        let request = PreparedRequest::from_parts(
            &http::Method::GET,
            "/",
            [(&b"Host"[..], &b"h"[..])].into_iter(),
            Vec::new(),
        );
        Assignment {
            plan: Arc::new(plan),
            index: 0,
            targets: vec![Target::direct(address)],
            tls: None,
            requests: [request.expect("it is sound").leak()].into(),
            templates: None,
            snapshots: Arc::from([Snapshot::default()]),
            reporter: None,
            heap: None,
        }
    }

    /// Leads a worker with three connections to `address` as `run` does and injects `fault` on its thread. Returns
    /// what the worker reported, after checking that it ended and gave everything back.
    fn reports_after(
        address: Address,
        seen: &Receiver<()>,
        when_connected: bool,
        fault: fn(&Shared),
    ) -> Vec<Report> {
        let mut plan = Plan::for_url("http://h/").expect("valid");
        plan.stop = Stop::Duration { ns: 3600 * 1_000_000_000 };
        (plan.connections, plan.threads) = (3, 1);
        let assignment = assignment(plan, address);
        let (sender, reports) = channel();
        let worker = thread::spawn(move || {
            let mut worker = Worker::new(&WorkerOptions::default()).expect("there is a driver");
            let shared = Rc::new(Shared::new(assignment));
            SHARED.set(Some(Rc::clone(&shared)));
            go_through_phases(&mut worker, Rc::clone(&shared), None, &|report| drop(sender.send(report)));
            let given_back = (shared.tasks_left.get(), shared.in_flight.get(), shared.connects.under_way());
            (shared.panicked.get(), given_back)
        });
        let next = || reports.recv_timeout(PATIENCE).expect("the worker says something");
        let Report::SetUp(controls, _) = next() else { panic!("it is set up first") };
        let inject = || {
            let fault = move || SHARED.with_borrow(|shared| fault(shared.as_ref().expect("it is set up")));
            controls.remote.call(fault).expect("the worker is there");
        };
        if !when_connected {
            inject();
        }
        controls.connect();
        let mut told = Vec::new();
        if when_connected {
            told.push(next());
            controls.start(monotonic_ns());
            seen.recv_timeout(PATIENCE).expect("requests come");
            inject();
        }
        loop {
            match reports.recv_timeout(PATIENCE) {
                Ok(report) => told.push(report),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the worker goes on"),
            }
        }
        let (panicked, given_back) = worker.join().expect("the panic is a connection task's");
        assert!(panicked);
        assert_eq!(given_back, (0, 0, 0), "tasks, requests in flight, connects under way");
        told
    }

    #[test]
    fn a_connection_task_that_panics_while_it_connects_ends_the_worker() {
        let (address, seen) = server();
        // Each task panics when it records how long its connect took.
        let told =
            reports_after(address, &seen, false, |shared| std::mem::forget(shared.recorder.borrow_mut()));
        assert!(told.is_empty(), "there is nothing to tell");
    }

    #[test]
    fn a_connection_task_that_panics_at_an_answer_ends_the_worker_without_an_outcome() {
        let (address, seen) = server();
        // More answers than requests in flight: the subtraction overflows.
        let told = reports_after(address, &seen, true, |shared| shared.in_flight.set(0));
        assert!(matches!(told[..], [Report::Opened(_), Report::Measured]), "it was open, and has no outcome");
    }

    /// A worker that wakes late starts connections for what has come due, and finds in the same turn that the run is over.
    #[test]
    fn a_request_whose_connection_was_not_begun_before_the_end_is_counted() {
        let mut plan = Plan::for_url("http://h/").expect("valid");
        (plan.connections, plan.threads) = (1, 1);
        plan.mode = Mode::Open(crate::plan::OpenLoop::steady(100.0, 3));
        let (address, _seen) = server();
        let mut worker = Worker::new(&WorkerOptions::default()).expect("there is a driver");
        let shared = Rc::new(Shared::new(assignment(plan, address)));
        PHASE.set(Some(Rc::default()));
        let counted = worker.block_on(async {
            let begun_ns = runtime::now_ns();
            shared.measured_from_ns.set(begun_ns);
            let schedule = Schedule::new(
                shared.plan.open_loop().expect("it is one"),
                shared.plan.stop,
                0,
                shared.plan.part(0),
            );
            // A second late: a hundred requests are due, and three connections may be open.
            let source = Source::open(begun_ns, schedule, connections_max(&shared.plan, 0));
            shared.source.borrow_mut().replace(source);
            pace(&shared, begun_ns + 1_000_000_000);
            let started = shared.tasks_left.get();
            shared.sending_ended.set(true);
            shared.ended.set(true);
            PHASE.with_borrow(Clone::clone).expect("it is set").until(|_| shared.tasks_left.get() == 0).await;
            (started, shared.recorder.borrow().counters().censored)
        });
        PHASE.set(None);
        assert_eq!(counted, (3, 3), "connections started, requests counted");
    }
}
