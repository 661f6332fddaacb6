//! `ringtide run`: leads the workers through a run and makes one result of what they bring home.
//!
//! Nothing is printed here but the progress; what the result looks like is `report`'s.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use http::Method;
use ringtide::runtime::SetupError;
use ringtide::{Address, PreparedRequest};
use ringtide_driver::allocator::CountingAllocator;
use ringtide_driver::monotonic_ns;

use crate::environment::{Environment, rss_peak_bytes};
use crate::error::Error;
use crate::metrics::{GeneratorFacts, Totals};
use crate::plan::{Connect, Plan};
use crate::progress::{Display, Progress, Snapshot};
use crate::result::{Measured, RunResult};
use crate::worker::{self, Assignment, Controls, Outcome, Report};

/// From the moment when all connections stand to the first request, so that all workers are there in time.
const START_DELAY_NS: u64 = 2_000_000;

/// A run that has not begun.
#[derive(Debug)]
pub struct Run {
    plan: Plan,
    display: Display,
    heap: Option<&'static CountingAllocator>,
    notice: fn(&str),
    sender: Sender<Message>,
    messages: Receiver<Message>,
}

/// Ends a run early, from any thread. What ran by then is reported.
#[derive(Clone, Debug)]
pub struct Stopper {
    sender: Sender<Message>,
}

impl Stopper {
    /// Ends the run at once. Nothing happens when it is over.
    pub fn stop(&self) {
        let _ = self.sender.send(Message::Stop);
    }
}

enum Message {
    Stop,
    Worker(Report),
}

impl Run {
    /// A run of `plan`. `heap` is the program's global allocator if it counts, `notice` is told in a line what the user should know
    /// while it runs.
    pub fn new(
        plan: Plan,
        display: Display,
        heap: Option<&'static CountingAllocator>,
        notice: fn(&str),
    ) -> Self {
        let (sender, messages) = channel();
        Self { plan, display, heap, notice, sender, messages }
    }

    /// What ends it early.
    pub fn stopper(&self) -> Stopper {
        Stopper { sender: self.sender.clone() }
    }

    /// Does it, and waits for its end.
    ///
    /// # Errors
    /// When it could not be done at all: no address, nobody there, no driver. Threads that were started have ended.
    pub fn execute(self) -> Result<RunResult, Error> {
        let resolving = Instant::now();
        let (addresses, resolved) = addresses(&self.plan)?;
        let dns_ns = resolved.then(|| resolving.elapsed().as_nanos() as u64);
        let request = prepare(&self.plan)?;
        let plan = Arc::new(self.plan);
        let snapshots: Arc<[Snapshot]> = (0..plan.threads).map(|_| Snapshot::default()).collect();

        let mut coordinator = Coordinator {
            messages: self.messages,
            controls: Vec::new(),
            workers: plan.threads,
            left: plan.threads,
            stopped: false,
            outcomes: Vec::new(),
            setup_error: None,
        };
        let threads: Vec<_> = (0..plan.threads)
            .map(|index| {
                let sender = self.sender.clone();
                let assignment = Assignment {
                    plan: Arc::clone(&plan),
                    index,
                    addresses: addresses.clone(),
                    request: request.clone(),
                    snapshots: Arc::clone(&snapshots),
                    heap: self.heap,
                };
                thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                    let ended = EndGuard { sender: sender.clone() };
                    worker::work(assignment, |report| drop(sender.send(Message::Worker(report))));
                    drop(ended);
                })
            })
            .collect::<Result<_, _>>()
            .map_err(Error::Thread)?;
        let outcome = coordinator.lead(&plan, self.heap, self.display, &snapshots, self.notice);
        for thread in threads {
            // A panic was told by its guard.
            let _ = thread.join();
        }
        let led = outcome?;
        Ok(result(&plan, &led, coordinator.outcomes, coordinator.stopped, dns_ns))
    }
}

/// Tells the coordinator that a worker's thread is over, however it ended.
struct EndGuard {
    sender: Sender<Message>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let _ = self.sender.send(Message::Worker(Report::Gone));
    }
}

struct Coordinator {
    messages: Receiver<Message>,
    controls: Vec<Controls>,
    workers: usize,
    /// Workers whose threads are not over.
    left: usize,
    stopped: bool,
    outcomes: Vec<Outcome>,
    setup_error: Option<SetupError>,
}

/// What the coordinator has seen itself.
struct Led {
    start_ns: u64,
    /// Bytes on the heap before the first connection, and with all of them idle.
    heap_bytes: Option<(usize, usize)>,
    connected: usize,
}

impl Coordinator {
    fn lead(
        &mut self,
        plan: &Plan,
        heap: Option<&'static CountingAllocator>,
        display: Display,
        snapshots: &Arc<[Snapshot]>,
        notice: fn(&str),
    ) -> Result<Led, Error> {
        let mut reason = None;
        while self.controls.len() < plan.threads {
            match self.next()? {
                Report::SetUp(controls, fallback_reason) => {
                    // The user may have been faster than this worker.
                    if self.stopped {
                        controls.stop();
                    }
                    self.controls.push(controls);
                    reason = reason.or(fallback_reason);
                }
                Report::NotSetUp(error) => self.setup_error = Some(error),
                Report::Opened(_) | Report::Ended(_) | Report::Gone => {}
            }
        }
        if let Some(reason) = reason {
            notice(&reason);
        }
        let before_bytes = heap.map(CountingAllocator::live_bytes);
        self.controls.iter().for_each(Controls::connect);
        let (mut opened, mut connected, mut first_error) = (0, 0, None);
        while opened < plan.threads {
            if let Report::Opened(part) = self.next()? {
                opened += 1;
                connected += part.connected;
                first_error = first_error.or(part.first_error);
            }
        }
        if connected == 0 && !self.stopped {
            self.stop_all();
            self.wait_for_all();
            let reason = first_error.unwrap_or_else(|| "no connection was made".to_owned());
            return Err(Error::NothingConnected { url: plan.url.text.clone(), reason });
        }
        if let Some(error) = first_error
            && !self.stopped
        {
            notice(&format!("not all connections could be opened: {error}"));
        }
        let heap_bytes = before_bytes.zip(heap.map(CountingAllocator::live_bytes));
        let start_ns = monotonic_ns() + START_DELAY_NS;
        for controls in &self.controls {
            controls.start(start_ns);
        }
        let progress = Progress::start(display, plan.stop, plan.warmup_ns, Arc::clone(snapshots));
        self.wait_for_all();
        drop(progress);
        for error in self.outcomes.iter().filter_map(|outcome| outcome.meter_error.as_ref()) {
            notice(&format!("the generator's own CPU time is not known: {error}"));
        }
        if self.outcomes.len() < plan.threads {
            return Err(Error::WorkerFailed);
        }
        Ok(Led { start_ns: start_ns + plan.warmup_ns, heap_bytes, connected })
    }

    /// The next report that matters before the run; an error when a worker is gone by then.
    fn next(&mut self) -> Result<Report, Error> {
        loop {
            match self.messages.recv() {
                Ok(Message::Stop) => self.stop_all(),
                Ok(Message::Worker(Report::NotSetUp(error))) => self.setup_error = Some(error),
                Ok(Message::Worker(Report::Ended(outcome))) => self.outcomes.push(*outcome),
                Ok(Message::Worker(Report::Gone)) => {
                    self.left -= 1;
                    // Those that were stopped before the others stood have ended well.
                    if self.outcomes.len() + self.left == self.workers {
                        continue;
                    }
                    self.stop_all();
                    self.wait_for_all();
                    return Err(self.setup_error.take().map_or(Error::WorkerFailed, Error::Setup));
                }
                Ok(Message::Worker(report)) => return Ok(report),
                Err(_) => return Err(Error::WorkerFailed),
            }
        }
    }

    fn stop_all(&mut self) {
        self.stopped = true;
        self.controls.iter().for_each(Controls::stop);
    }

    fn wait_for_all(&mut self) {
        while self.left > 0 {
            match self.messages.recv() {
                Ok(Message::Stop) => self.stop_all(),
                Ok(Message::Worker(Report::Ended(outcome))) => self.outcomes.push(*outcome),
                Ok(Message::Worker(Report::Gone)) => self.left -= 1,
                Ok(Message::Worker(Report::SetUp(controls, _))) => {
                    // One that came up while another failed.
                    if self.stopped {
                        controls.stop();
                    }
                    self.controls.push(controls);
                }
                Ok(Message::Worker(_)) => {}
                Err(_) => return,
            }
        }
    }
}

fn result(
    plan: &Plan,
    led: &Led,
    outcomes: Vec<Outcome>,
    interrupted: bool,
    dns_ns: Option<u64>,
) -> RunResult {
    let in_flight_max: usize = outcomes.iter().map(|outcome| outcome.in_flight_max).sum();
    let heap_peak_bytes = outcomes.iter().filter_map(|outcome| outcome.heap_peak_bytes).max();
    let per = |bytes: usize, count: usize| (bytes / count.max(1)) as u64;
    let generator = GeneratorFacts {
        heap_bytes_per_request: led
            .heap_bytes
            .zip(heap_peak_bytes)
            .map(|((_, idle), peak)| per(peak.saturating_sub(idle), in_flight_max)),
        heap_bytes_per_connection: led
            .heap_bytes
            .filter(|_| led.connected > 0)
            .map(|(before, idle)| per(idle.saturating_sub(before), led.connected)),
        rss_peak_bytes: rss_peak_bytes(),
        workers: outcomes.iter().map(|outcome| outcome.facts).collect(),
    };
    let ended_ns = outcomes.iter().map(|outcome| outcome.ended_ns).max().unwrap_or(led.start_ns);
    let (driver, features) = outcomes.first().map_or(("", Vec::new()), |outcome| {
        (
            outcome.statistics.driver,
            outcome.statistics.driver_features.iter().map(ToString::to_string).collect(),
        )
    });
    let mut recorders: Vec<_> = outcomes.into_iter().map(|outcome| outcome.recorder).collect();
    if let (Some(first), Some(dns_ns)) = (recorders.first_mut(), dns_ns) {
        first.resolved(dns_ns);
    }
    RunResult::new(
        plan,
        Measured {
            totals: Totals::merge(&recorders),
            elapsed: Duration::from_nanos(ended_ns.saturating_sub(led.start_ns)),
            interrupted,
            generator,
            environment: Environment::of_this_machine(driver, features),
        },
    )
}

/// Where to connect, and whether a name had to be resolved for that.
fn addresses(plan: &Plan) -> Result<(Vec<Address>, bool), Error> {
    let (host, port) = match &plan.connect {
        Connect::Unix { path } => return Ok((vec![Address::Unix(path.clone())], false)),
        Connect::Tcp { host, port } => (host, *port),
        Connect::Url => (&plan.url.host, plan.url.port),
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok((vec![Address::Tcp(SocketAddr::new(address, port))], false));
    }
    let found: Vec<Address> = (host.as_str(), port)
        .to_socket_addrs()
        .map_err(|source| Error::Resolve { host: host.clone(), source })?
        .map(Address::Tcp)
        .collect();
    if found.is_empty() {
        let source = std::io::Error::other("the name has no address");
        return Err(Error::Resolve { host: host.clone(), source });
    }
    Ok((found, true))
}

/// Encodes the one request of the plan. It is leaked, as it is sent until the program ends; a plan has one.
fn prepare(plan: &Plan) -> Result<PreparedRequest, Error> {
    let method =
        Method::from_bytes(plan.method.as_bytes()).map_err(|_| Error::Method(plan.method.clone()))?;
    let has = |name: &str| plan.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    let own =
        |name: &'static str, value: &'static str| (!has(name)).then_some((name.as_bytes(), value.as_bytes()));
    let host = (!has("host")).then_some((&b"Host"[..], plan.url.authority.as_bytes()));
    let agent = own("User-Agent", concat!("ringtide/", env!("CARGO_PKG_VERSION")));
    let close = if plan.keepalive { None } else { own("Connection", "close") };
    let given = plan
        .headers
        .iter()
        // It is added for the body, and was found to agree with it.
        .filter(|header| !header.name.eq_ignore_ascii_case("content-length"))
        .map(|header| (header.name.as_bytes(), header.value.as_bytes()));
    let fields = host.into_iter().chain(agent).chain(close).chain(given);
    PreparedRequest::from_parts(&method, &plan.url.target, fields, &plan.body)
        .map(PreparedRequest::leak)
        .map_err(|source| Error::Request(source.to_string()))
}
