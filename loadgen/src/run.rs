//! `ringtide run`: leads the workers through a run and merges their measurements into one result.
//!
//! Prints nothing but the progress; `report` shows the result.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ringtide::Address;
use ringtide::runtime::SetupError;
use ringtide::tls::ClientTls;
use ringtide_driver::allocator::CountingAllocator;
use ringtide_driver::monotonic_ns;

use crate::encode;
use crate::environment::{Environment, rss_peak_bytes, unix_s_of};
use crate::error::{Error, UsageError};
use crate::machine::MachineMeter;
use crate::metrics::{GeneratorFacts, MachineFacts, Totals};
use crate::plan::{Connect, Plan, ProxyKind};
use crate::progress::{Display, Progress, RunState};
use crate::result::{EndedEarly, Measured, RunResult};
use crate::series::{self, Collected, Collector, Second, Subscriber};
use crate::template::Templates;
use crate::tls;
use crate::worker::{self, Assignment, Controls, Opened, Outcome, Report, Target, Tunnel};

/// How long to wait for workers that have been told to end. Closing tens of thousands of connections takes seconds.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// From the moment when all connections are open to the first request, so that all workers are ready in time.
const START_DELAY_NS: u64 = 2_000_000;

/// A run that has not started.
#[derive(Debug)]
pub struct Run {
    plan: Plan,
    tls: Option<ClientTls>,
    display: Display,
    heap: Option<&'static CountingAllocator>,
    notice: fn(&str),
    state: RunState,
    keeps_series: bool,
    subscribers: Subscribers,
    sender: Sender<Message>,
    messages: Receiver<Message>,
}

/// Who looks at each second.
#[derive(Default)]
struct Subscribers(Vec<Subscriber>);

impl std::fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} subscribers", self.0.len())
    }
}

/// Ends a run early, from any thread. The report covers what ran until then.
#[derive(Clone, Debug)]
pub struct Stopper {
    sender: Sender<Message>,
}

impl Stopper {
    /// Ends the run at once; false if it is over already.
    pub fn stop(&self) -> bool {
        self.sender.send(Message::Stop).is_ok()
    }
}

enum Message {
    Stop,
    Resolved(io::Result<Vec<SocketAddr>>),
    Worker(Report),
}

impl Run {
    /// A run of `plan`. `heap` is the program's global allocator if it counts; `notice` is called with each line that
    /// the user should see during the run.
    ///
    /// # Errors
    /// When the plan's TLS cannot be set up, or its source addresses are not of this machine; the message names the flag.
    pub fn new(
        plan: Plan,
        display: Display,
        heap: Option<&'static CountingAllocator>,
        notice: fn(&str),
    ) -> Result<Self, UsageError> {
        for source in &plan.bind {
            // A datagram socket can be bound even if no port for streams is left.
            UdpSocket::bind((*source, 0)).map_err(|error| UsageError::Value {
                flag: "--bind",
                problem: format!("{source} cannot be connected from: {error}"),
            })?;
        }
        let tls = if plan.url.is_https { Some(tls::client(&plan)?) } else { None };
        let (sender, messages) = channel();
        Ok(Self {
            state: RunState::new(&plan),
            plan,
            tls,
            display,
            heap,
            notice,
            keeps_series: false,
            subscribers: Subscribers::default(),
            sender,
            messages,
        })
    }

    /// Puts a point per second into the result ([`RunResult::series`]).
    pub fn keep_series(&mut self) {
        self.keeps_series = true;
    }

    /// Shows each second to `subscriber`, on a thread of its own, as soon as the second is over; see [`series`]. May be
    /// called more than once. The seconds are kept only with [`keep_series`](Self::keep_series).
    pub fn subscribe(&mut self, subscriber: impl FnMut(&Second<'_>) + Send + 'static) {
        self.subscribers.0.push(Box::new(subscriber));
    }

    /// What is to be run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns what shows where the run is.
    pub fn state(&self) -> RunState {
        self.state.clone()
    }

    /// Returns the handle that ends the run early.
    pub fn stopper(&self) -> Stopper {
        Stopper { sender: self.sender.clone() }
    }

    /// Runs the plan and waits for its end.
    ///
    /// # Errors
    /// When the run failed as a whole: no address, no connection, no driver; or when a worker panicked. All its
    /// threads have ended, except after [`Error::Unstoppable`].
    pub fn execute(mut self) -> Result<RunResult, Error> {
        if self.tls.is_some() && self.plan.tls.insecure {
            (self.notice)(
                "INSECURE: -k accepts any certificate, so anybody on the way can read and answer the requests",
            );
        }
        let mut resolving = None;
        let targets = self.targets(&mut resolving)?;
        let dns_ns = resolving.map(|time| time.as_nanos() as u64);
        // The bodies can be large, so only the encoded requests keep them in memory.
        let bodies: Vec<_> =
            self.plan.requests.iter_mut().map(|request| std::mem::take(&mut request.body)).collect();
        let body_size = bodies.iter().map(Vec::len).max().unwrap_or(0);
        let requests = encode::requests(&self.plan, bodies)?;
        let templates = Templates::compile(&self.plan)?.map(Arc::new);
        let plan = Arc::new(self.plan);
        let snapshots = Arc::clone(self.state.snapshots());

        let keeps_series = self.keeps_series;
        let (collector, reporters) = if keeps_series || !self.subscribers.0.is_empty() {
            let seconds = plan.stop.duration_ns().map(|ns| ns.div_ceil(series::INTERVAL_NS));
            let open_loop = plan.open_loop().is_some();
            let subscribers = self.subscribers.0;
            let (collector, reporters) =
                Collector::start(open_loop, seconds, keeps_series, Arc::clone(&snapshots), subscribers)
                    .map_err(Error::Thread)?;
            (Some(collector), reporters)
        } else {
            (None, Vec::new())
        };
        let mut reporters = reporters.into_iter();

        let mut coordinator = Coordinator::new(plan.threads, self.messages, self.state, STOP_PATIENCE);
        let mut threads = Vec::with_capacity(plan.threads);
        let mut not_started = None;
        for index in 0..plan.threads {
            let sender = self.sender.clone();
            let assignment = Assignment {
                plan: Arc::clone(&plan),
                index,
                targets: targets.clone(),
                tls: self.tls.clone(),
                requests: Arc::clone(&requests),
                templates: templates.clone(),
                snapshots: Arc::clone(&snapshots),
                reporter: reporters.next(),
                heap: self.heap,
            };
            let started = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                let ended = EndGuard { sender: sender.clone() };
                worker::work(assignment, |report| drop(sender.send(Message::Worker(report))));
                drop(ended);
            });
            match started {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    not_started = Some(error);
                    break;
                }
            }
        }
        let outcome = match not_started {
            None => coordinator.lead(&plan, self.heap, self.display, self.notice),
            Some(error) => {
                coordinator.end(threads.len());
                Err(Error::Thread(error))
            }
        };
        if let Err(Error::Unstoppable { patience }) = outcome {
            return Err(Error::Unstoppable { patience });
        }
        // Those of workers that were not started. The collector ends when all are gone.
        drop(reporters);
        for thread in threads {
            // The guard reports a panic.
            let _ = thread.join();
        }
        let led = outcome?;
        let collected = match collector.map(Collector::join) {
            Some(None) => return Err(Error::WorkerPanicked),
            Some(Some(collected)) => Some(collected),
            None => None,
        };
        let mut result =
            result(&plan, &led, coordinator.outcomes, coordinator.ended_early, dns_ns, collected);
        result.plan.body_bytes = body_size;
        result.series = result.series.filter(|_| keeps_series);
        Ok(result)
    }

    /// Where to connect. Adds to `resolving` what it took to resolve names.
    fn targets(&self, resolving: &mut Option<Duration>) -> Result<Vec<Target>, Error> {
        if let Connect::Unix { path } = &self.plan.connect {
            return Ok(vec![Target::direct(Address::Unix(path.clone()))]);
        }
        let Some((host, port)) = self.plan.server() else { return Ok(Vec::new()) };
        let Some(proxy) = &self.plan.proxy else {
            let addresses = self.addresses(host, port, resolving)?;
            return Ok(addresses.into_iter().map(|address| Target::direct(Address::Tcp(address))).collect());
        };
        let hosts = match proxy.kind {
            ProxyKind::Http | ProxyKind::Socks5h => vec![host.to_owned()],
            ProxyKind::Socks5 => {
                let addresses = self.addresses(host, port, resolving)?;
                addresses.iter().map(|address| address.ip().to_string()).collect()
            }
        };
        let tunnels: Vec<_> = hosts.iter().map(|host| Arc::new(Tunnel::new(proxy, host, port))).collect();
        let proxies = self.addresses(&proxy.host, proxy.port, resolving)?;
        let through = |address: SocketAddr| {
            let target = move |tunnel| Target { address: Address::Tcp(address), tunnel: Some(tunnel) };
            tunnels.iter().cloned().map(target)
        };
        Ok(proxies.into_iter().flat_map(through).collect())
    }

    /// The addresses of `host`.
    fn addresses(
        &self,
        host: &str,
        port: u16,
        resolving: &mut Option<Duration>,
    ) -> Result<Vec<SocketAddr>, Error> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let given: Vec<_> = self.plan.resolve.iter().filter(|resolve| resolve.is_for(host, port)).collect();
        if !given.is_empty() {
            return Ok(given.into_iter().map(|resolve| SocketAddr::new(resolve.address, port)).collect());
        }
        let begun = Instant::now();
        let found = self.look_up(host, port)?;
        *resolving.get_or_insert_default() += begun.elapsed();
        Ok(found)
    }

    /// Asks the system's resolver. It cannot be interrupted, so it runs in a thread of its own, which is left behind if the
    /// user does not wait for it.
    fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let (sender, name) = (self.sender.clone(), host.to_owned());
        let look_up = move || {
            let found = (name.as_str(), port).to_socket_addrs();
            let _ = sender.send(Message::Resolved(found.map(Iterator::collect)));
        };
        thread::Builder::new().name("look-up".to_owned()).spawn(look_up).map_err(Error::Thread)?;
        let failed = |source| Error::Resolve { host: host.to_owned(), source };
        match self.messages.recv() {
            Ok(Message::Resolved(Ok(found))) if found.is_empty() => {
                Err(failed(io::Error::other("the name has no address")))
            }
            Ok(Message::Resolved(Ok(found))) => Ok(found),
            Ok(Message::Resolved(Err(source))) => Err(failed(source)),
            // No worker has been started, so there can be no other message.
            Ok(Message::Stop | Message::Worker(_)) | Err(_) => Err(Error::Interrupted),
        }
    }
}

/// Tells the coordinator that a worker's thread has ended, even by a panic.
struct EndGuard {
    sender: Sender<Message>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let _ = self.sender.send(Message::Worker(Report::Gone));
    }
}

/// Leads the workers and collects their reports.
struct Coordinator {
    messages: Receiver<Message>,
    /// What displays see.
    state: RunState,
    workers: usize,
    /// The cores that they are pinned to.
    cpus: Option<Vec<usize>>,
    controls: Vec<Controls>,
    fallback_reason: Option<String>,
    /// How many workers have tried to open their first connections, and the outcome of all together.
    opened: usize,
    connections: Opened,
    outcomes: Vec<Outcome>,
    setup_error: Option<SetupError>,
    /// Workers whose threads have ended.
    gone: usize,
    /// Watches the machine during the measured part.
    watch: Watch,
    /// Why the run was ended early.
    ended_early: Option<EndedEarly>,
    /// The deadline of workers that have been told to end, and how long they were given.
    deadline: Option<Instant>,
    patience: Duration,
}

/// When the coordinator looks at the machine. Both looks take some tens of microseconds on whichever core is free, so they are
/// made when nothing is measured: just before the measured part, and when all workers have ended it.
enum Watch {
    /// The measured part is not near.
    NotYet,
    /// The first look is due then.
    At(Instant),
    /// The first look is done; so many workers have ended the measured part since.
    Begun(MachineMeter, usize),
    Done(MachineFacts),
}

/// What the coordinator itself has measured.
struct Led {
    start_ns: u64,
    heap: Option<HeapBytes>,
    connected: usize,
    machine: MachineFacts,
}

/// Bytes on the heap.
struct HeapBytes {
    /// Before the first connection.
    before: usize,
    /// With all connections open and idle.
    idle: usize,
    /// The same at the start of the requests.
    start: usize,
}

impl Coordinator {
    fn new(workers: usize, messages: Receiver<Message>, state: RunState, patience: Duration) -> Self {
        Self {
            messages,
            state,
            workers,
            cpus: None,
            controls: Vec::new(),
            fallback_reason: None,
            opened: 0,
            connections: Opened::default(),
            outcomes: Vec::new(),
            setup_error: None,
            gone: 0,
            watch: Watch::NotYet,
            ended_early: None,
            deadline: None,
            patience,
        }
    }

    fn lead(
        &mut self,
        plan: &Plan,
        heap: Option<&'static CountingAllocator>,
        display: Display,
        notice: fn(&str),
    ) -> Result<Led, Error> {
        self.listen_until(|this| this.controls.len() == this.workers)?;
        if let Some(reason) = self.fallback_reason.take() {
            notice(&reason);
        }
        let live_bytes = || heap.map(CountingAllocator::live_bytes);
        let before = live_bytes();
        self.controls.iter().for_each(Controls::connect);
        self.listen_until(|this| this.opened == this.workers)?;
        let Opened { connected, first_error } = std::mem::take(&mut self.connections);
        if self.deadline.is_none() {
            if connected == 0 {
                self.stop_all();
                self.listen_until(|this| this.gone == this.workers)?;
                let reason = first_error.unwrap_or_else(|| "no connection was made".to_owned());
                return Err(Error::NothingConnected { url: plan.url.text.clone(), reason });
            }
            if let Some(error) = first_error {
                let wanted = if plan.keepalive { plan.connections } else { plan.threads };
                notice(&format!(
                    "only {connected} of {wanted} connections could be opened; retrying the others during the run ({error})"
                ));
            }
        }
        let idle = live_bytes();
        self.cpus.clone_from(&plan.cpus);
        self.watch = match plan.warmup_ns {
            0 => self.first_look(),
            warmup_ns => Watch::At(Instant::now() + Duration::from_nanos(warmup_ns)),
        };
        let start_ns = monotonic_ns() + START_DELAY_NS;
        for controls in &self.controls {
            controls.start(start_ns);
        }
        self.state.starts(start_ns);
        let progress = Progress::start(display, self.state.clone());
        // The progress display takes memory too, which belongs to no request.
        let start = live_bytes();
        let heap =
            before.zip(idle).zip(start).map(|((before, idle), start)| HeapBytes { before, idle, start });
        let ended = self.listen_until(|this| this.gone == this.workers);
        drop(progress);
        ended?;
        for error in self.outcomes.iter().filter_map(|outcome| outcome.meter_error.as_ref()) {
            notice(&format!("cannot read the generator's own CPU time: {error}"));
        }
        let machine = match self.watch {
            Watch::Done(facts) => facts,
            // No worker came to the end of the measured part.
            _ => MachineFacts::default(),
        };
        Ok(Led { start_ns: start_ns.saturating_add(plan.warmup_ns), heap, connected, machine })
    }

    /// Books the workers' reports until `condition` holds. A worker that ends without an outcome ends the run for
    /// all; once all have ended, it is the error.
    fn listen_until(&mut self, condition: impl Fn(&Self) -> bool) -> Result<(), Error> {
        while !condition(self) || self.has_failed() {
            if self.has_failed() && self.gone == self.workers {
                return Err(self.setup_error.take().map_or(Error::WorkerPanicked, Error::Setup));
            }
            let Some(message) = self.next_message()? else { continue };
            match message {
                Message::Stop => self.end_early(EndedEarly::Interrupted),
                // Only taken before the workers started.
                Message::Resolved(_) => {}
                Message::Worker(Report::NotSetUp(error)) => self.setup_error = Some(error),
                Message::Worker(Report::SetUp(controls, reason)) => {
                    // The run may have been ended before this worker was set up.
                    if self.deadline.is_some() {
                        controls.stop();
                    }
                    self.controls.push(controls);
                    self.fallback_reason = self.fallback_reason.take().or(reason);
                }
                Message::Worker(Report::Opened(part)) => {
                    self.opened += 1;
                    self.connections.connected += part.connected;
                    self.connections.first_error = self.connections.first_error.take().or(part.first_error);
                }
                Message::Worker(Report::TooManyErrors) => self.end_early(EndedEarly::MaxErrors),
                Message::Worker(Report::Measured) => self.watch_on(),
                Message::Worker(Report::Ended(outcome)) => self.outcomes.push(*outcome),
                Message::Worker(Report::Gone) => {
                    self.gone += 1;
                    if self.has_failed() {
                        self.stop_all();
                    }
                }
            }
        }
        Ok(())
    }

    /// The next message; `None` if it was time to look at the machine instead. An error if workers that have been told to
    /// end send none in time.
    fn next_message(&mut self) -> Result<Option<Message>, Error> {
        if let (Watch::At(moment), None) = (&self.watch, self.deadline) {
            let left = moment.saturating_duration_since(Instant::now());
            return match self.messages.recv_timeout(left) {
                Ok(message) => Ok(Some(message)),
                Err(RecvTimeoutError::Disconnected) => Err(Error::WorkerPanicked),
                Err(RecvTimeoutError::Timeout) => {
                    self.watch = self.first_look();
                    Ok(None)
                }
            };
        }
        // The run itself keeps a sender alive, so the channel stays open.
        let Some(deadline) = self.deadline else {
            return self.messages.recv().map(Some).map_err(|_| Error::WorkerPanicked);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let unstoppable = |_| Error::Unstoppable { patience: self.patience };
        self.messages.recv_timeout(left).map(Some).map_err(unstoppable)
    }

    fn first_look(&self) -> Watch {
        Watch::Begun(MachineMeter::begin(self.cpus.as_deref()), 0)
    }

    /// A worker has ended the measured part. After the last of them comes the second look.
    fn watch_on(&mut self) {
        if let Watch::Begun(meter, ended) = &mut self.watch {
            *ended += 1;
            if *ended == self.workers {
                self.watch = Watch::Done(meter.end());
            }
        }
    }

    /// Whether a worker has ended without an outcome. Each reports its outcome before it ends.
    fn has_failed(&self) -> bool {
        self.gone > self.outcomes.len()
    }

    /// Ends the first `workers` after the next one could not be started.
    fn end(&mut self, workers: usize) {
        self.workers = workers;
        self.stop_all();
        // Their reports make no difference.
        let _ = self.listen_until(|this| this.gone == this.workers);
    }

    /// Ends the run. Only the first reason counts.
    fn end_early(&mut self, why: EndedEarly) {
        self.ended_early.get_or_insert(why);
        self.stop_all();
    }

    fn stop_all(&mut self) {
        self.state.stops();
        let patience = self.patience;
        self.deadline.get_or_insert_with(|| Instant::now() + patience);
        self.controls.iter().for_each(Controls::stop);
    }
}

fn result(
    plan: &Plan,
    led: &Led,
    outcomes: Vec<Outcome>,
    ended_early: Option<EndedEarly>,
    dns_ns: Option<u64>,
    collected: Option<Collected>,
) -> RunResult {
    let out_of_data = !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.out_of_users);
    let ended_early = ended_early.or(out_of_data.then_some(EndedEarly::OutOfData));
    let in_flight_max: usize = outcomes.iter().map(|outcome| outcome.in_flight_max).sum();
    let connections_open_max: usize = outcomes.iter().map(|outcome| outcome.open_max).sum();
    let heap_peak_bytes = outcomes.iter().filter_map(|outcome| outcome.heap_peak_bytes).max();
    let per = |bytes: usize, count: usize| (bytes / count.max(1)) as u64;
    let generator = GeneratorFacts {
        heap_bytes_per_request: led
            .heap
            .as_ref()
            .zip(heap_peak_bytes)
            .filter(|_| in_flight_max > 0)
            .map(|(heap, peak)| per(peak.saturating_sub(heap.start), in_flight_max)),
        heap_bytes_per_connection: led
            .heap
            .as_ref()
            .filter(|_| led.connected > 0)
            .map(|heap| per(heap.idle.saturating_sub(heap.before), led.connected)),
        rss_peak_bytes: rss_peak_bytes(),
        machine: led.machine,
        workers: outcomes.iter().map(|outcome| outcome.facts).collect(),
    };
    let ended_ns = outcomes.iter().map(|outcome| outcome.ended_ns).max().unwrap_or(led.start_ns);
    let drained_ns = outcomes.iter().map(|outcome| outcome.drained_ns).max().unwrap_or(0);
    // Each worker chooses for itself: the limit on locked memory may suffice for the rings of some only.
    let drivers: BTreeSet<_> = outcomes.iter().map(|outcome| outcome.statistics.driver).collect();
    let driver = drivers.into_iter().collect::<Vec<_>>().join(" and ");
    let features: BTreeSet<_> =
        outcomes.iter().flat_map(|outcome| &outcome.statistics.driver_features).collect();
    let features = features.into_iter().map(ToString::to_string).collect();
    let (mut recorders, names): (Vec<_>, Vec<_>) =
        outcomes.into_iter().map(|outcome| (outcome.recorder, outcome.names)).unzip();
    if let (Some(first), Some(dns_ns)) = (recorders.first_mut(), dns_ns) {
        first.resolved(dns_ns);
    }
    let series = collected.map(|Collected { total, series }| {
        if let Some(first) = recorders.first_mut() {
            first.give_back(&total);
        }
        series
    });
    let totals = Totals::merge(&recorders);
    let step = |place: usize| Totals::merge(names.iter().filter_map(|of_worker| of_worker.get(place)));
    let steps = (0..plan.names().len()).map(|place| step(place).as_part_of(&totals)).collect();
    RunResult::new(
        plan,
        Measured {
            totals,
            steps,
            measured_from_ns: led.start_ns,
            connections_open_max: connections_open_max as u64,
            started_unix_s: unix_s_of(led.start_ns),
            series,
            elapsed: Duration::from_nanos(ended_ns.saturating_sub(led.start_ns)),
            drained_ns,
            ended_early,
            generator,
            environment: Environment::of_this_machine(&driver, features),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_is_not_waited_for_by_a_user_who_has_stopped_the_run() {
        let plan = Plan::for_url("http://localhost:1/").expect("valid");
        let run = Run::new(plan, Display::Silent, None, |_| ()).expect("nothing to set up");
        run.stopper().stop();
        assert!(matches!(run.execute(), Err(Error::Interrupted)));
    }

    #[test]
    fn a_stopper_knows_when_there_is_nothing_left_to_stop() {
        let plan = Plan::for_url("http://localhost:1/").expect("valid");
        let run = Run::new(plan, Display::Silent, None, |_| ()).expect("nothing to set up");
        let stopper = run.stopper();
        assert!(stopper.stop());
        assert!(run.execute().is_err());
        assert!(!stopper.stop());
    }

    /// What a coordinator of two workers makes of these reports, with no more to come.
    fn listen_to(reports: Vec<Message>, patience: Duration) -> (Result<(), Error>, Option<EndedEarly>) {
        let (sender, messages) = channel();
        for report in reports {
            sender.send(report).expect("it is heard");
        }
        let state = RunState::new(&Plan::for_url("http://localhost:1/").expect("valid"));
        let mut coordinator = Coordinator::new(2, messages, state, patience);
        let outcome = coordinator.listen_until(|this| this.gone == this.workers);
        (outcome, coordinator.ended_early)
    }

    #[test]
    fn a_worker_that_goes_without_an_outcome_is_a_defect_that_is_told() {
        let gone = || Message::Worker(Report::Gone);
        let (outcome, _) = listen_to(vec![gone(), gone()], Duration::from_mins(1));
        let error = outcome.expect_err("no outcome");
        assert!(matches!(error, Error::WorkerPanicked), "{error}");
        assert_eq!(crate::exit::Exit::from(&error), crate::exit::Exit::CouldNotRun);
    }

    #[test]
    fn workers_that_do_not_stop_are_not_waited_for() {
        for first in [Message::Stop, Message::Worker(Report::Gone)] {
            let (outcome, _) = listen_to(vec![first], Duration::from_millis(5));
            assert!(matches!(outcome, Err(Error::Unstoppable { .. })), "{outcome:?}");
        }
    }

    #[test]
    fn the_first_reason_to_end_early_is_told() {
        let errors = || Message::Worker(Report::TooManyErrors);
        let heard = |reports| listen_to(reports, Duration::from_millis(1)).1;
        assert_eq!(heard(vec![errors(), Message::Stop]), Some(EndedEarly::MaxErrors));
        assert_eq!(heard(vec![Message::Stop, errors()]), Some(EndedEarly::Interrupted));
        assert_eq!(heard(vec![Message::Worker(Report::Gone)]), None);
    }
}
