//! Servers of several threads: a worker for each, with listeners of its own at the same addresses.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use ringtide_driver::Address;

use super::accept::serve;
use super::{ServiceOptions, Shutdown};
use crate::conn::{Answered, Exchange};
use crate::runtime::{self, DriverChoice, SetupError, Worker, WorkerOptions};
use crate::stream::Listener;

/// How a [`Server`] is to be.
///
/// ```
/// use ringtide::server::{ServerOptions, ServiceOptions};
///
/// let options = ServerOptions::default().workers(2).service(ServiceOptions::default().connections_max(1_000));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Threads. As many as there are cores by default.
    pub workers: usize,
    /// The cores to pin them to, in turn; none by default.
    pub cores: Vec<usize>,
    /// The driver.
    pub driver: DriverChoice,
    /// What clients are allowed.
    pub service: ServiceOptions,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            workers: runtime::available_cores(),
            cores: Vec::new(),
            driver: DriverChoice::Auto,
            service: ServiceOptions::default(),
        }
    }
}

/// Each of these sets the field of its name.
impl ServerOptions {
    /// Threads; 0 counts as 1.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// The cores to pin them to, in turn.
    #[must_use]
    pub fn cores(self, cores: impl Into<Vec<usize>>) -> Self {
        Self { cores: cores.into(), ..self }
    }

    /// The driver.
    #[must_use]
    pub fn driver(self, driver: DriverChoice) -> Self {
        Self { driver, ..self }
    }

    /// What clients are allowed.
    #[must_use]
    pub fn service(self, service: ServiceOptions) -> Self {
        Self { service, ..self }
    }
}

/// A running server. Dropping it leaves it running; see [`shutdown`](Self::shutdown) and [`join`](Self::join).
///
/// One that runs until Ctrl-C, or until the system ends it, with the crate `signal-hook`. Requests in flight are answered:
///
/// ```no_run
/// use ringtide::http::StatusCode;
/// use ringtide::server::{Exchange, Server, ServerOptions};
/// use signal_hook::consts::{SIGINT, SIGTERM};
/// use signal_hook::iterator::Signals;
///
/// let address = "127.0.0.1:8080".parse()?;
/// let handler = async |exchange: Exchange<'_>| exchange.respond(StatusCode::OK, &[], "hello world\n");
/// let server = Server::start(&[address], &ServerOptions::default(), handler)?;
/// Signals::new([SIGINT, SIGTERM])?.forever().next();
/// server.shutdown().begin();
/// server.join();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    addresses: Vec<Address>,
    shutdown: Shutdown,
    fallback_reason: Option<String>,
    threads: Vec<JoinHandle<()>>,
}

/// Why a server could not be started. Nothing is left running.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened at.
    Listen {
        /// The address.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// A worker could not be made.
    Worker(SetupError),
    /// The system gave no thread.
    Thread(io::Error),
}

impl Server {
    /// Listens at `addresses` and serves whoever connects, with a clone of `handler` on each thread. Returns when all threads listen.
    ///
    /// Port 0 is a free port, the same for all threads. The kernel spreads the connections over the threads' listeners (`SO_REUSEPORT`). A Unix socket
    /// cannot have several listeners, so all its connections are the first thread's; its file is removed in the end.
    ///
    /// # Errors
    /// [`StartError`]. Nothing is left running.
    pub fn start<H, E>(addresses: &[Address], options: &ServerOptions, handler: H) -> Result<Self, StartError>
    where
        H: AsyncFn(Exchange<'_>) -> Result<Answered, E> + Clone + Send + 'static,
        E: fmt::Display + 'static,
    {
        Self::start_with(addresses, options, move |_| handler.clone())
    }

    /// As [`start`](Self::start), with the handler that `make` gives on each thread for its number, from 0 on, once for each address that
    /// the thread listens at. Such a handler may hold what belongs to its thread, without a lock; a [`Client`](crate::Client), for instance.
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// use ringtide::http::StatusCode;
    /// use ringtide::server::{Exchange, Server, ServerOptions};
    ///
    /// let server = Server::start_with(&["127.0.0.1:0".parse()?], &ServerOptions::default(), |thread| {
    ///     let count = Cell::new(0);
    ///     async move |exchange: Exchange<'_>| {
    ///         count.set(count.get() + 1);
    ///         exchange.respond(StatusCode::OK, &[], format!("request {} of thread {thread}\n", count.get()))
    ///     }
    /// })?;
    /// # server.shutdown().begin();
    /// # server.join();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with<F, H, E>(
        addresses: &[Address],
        options: &ServerOptions,
        make: F,
    ) -> Result<Self, StartError>
    where
        F: Fn(usize) -> H + Clone + Send + 'static,
        H: AsyncFn(Exchange<'_>) -> Result<Answered, E> + 'static,
        E: fmt::Display + 'static,
    {
        let workers = options.workers.max(1);
        if workers > 1 {
            addresses.iter().try_for_each(refuse_if_taken)?;
        }
        let shutdown = Shutdown::new();
        let mut server = Self {
            addresses: addresses.to_vec(),
            shutdown: shutdown.clone(),
            fallback_reason: None,
            threads: Vec::new(),
        };
        for number in 0..workers {
            let plan = ThreadPlan {
                // The first has found a port for each port 0.
                addresses: server.addresses.clone(),
                number,
                shares: workers > 1,
                worker: WorkerOptions {
                    driver: options.driver,
                    core: (!options.cores.is_empty()).then(|| options.cores[number % options.cores.len()]),
                    ..WorkerOptions::default()
                },
                service: options.service.clone(),
                shutdown: shutdown.clone(),
            };
            match plan.spawn(make.clone()) {
                Ok((thread, started)) => {
                    server.threads.push(thread);
                    if number == 0 {
                        server.addresses = started.addresses;
                    }
                    server.fallback_reason = server.fallback_reason.take().or(started.fallback_reason);
                }
                Err(error) => {
                    shutdown.begin();
                    server.join();
                    return Err(error);
                }
            }
        }
        Ok(server)
    }

    /// Where it listens, in the order that was asked for, with the ports that the system chose.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The way to end it, from any thread.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// In one line, why the driver is not io_uring although it was to be if possible; with several workers, what the first of those that are
    /// not on it says.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    /// Waits until it has ended, which is for ever if nobody begins its [`shutdown`](Self::shutdown).
    ///
    /// # Panics
    /// When a worker has panicked, which no handler can cause.
    pub fn join(self) {
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

struct ThreadPlan {
    addresses: Vec<Address>,
    number: usize,
    shares: bool,
    worker: WorkerOptions,
    service: ServiceOptions,
    shutdown: Shutdown,
}

struct Started {
    addresses: Vec<Address>,
    fallback_reason: Option<String>,
}

impl ThreadPlan {
    /// Starts the thread, and waits until it listens.
    fn spawn<F, H, E>(self, make: F) -> Result<(JoinHandle<()>, Started), StartError>
    where
        F: Fn(usize) -> H + Send + 'static,
        H: AsyncFn(Exchange<'_>) -> Result<Answered, E> + 'static,
        E: fmt::Display + 'static,
    {
        let (sender, receiver) = mpsc::sync_channel(1);
        let name = format!("ringtide-serve-{}", self.number);
        let thread = thread::Builder::new().name(name).spawn(move || self.run(&make, &sender));
        let thread = thread.map_err(StartError::Thread)?;
        if let Ok(started) = receiver.recv() {
            return started.map(|started| (thread, started));
        }
        let panic = thread.join().expect_err("a thread that does not panic says how it has started");
        std::panic::resume_unwind(panic)
    }

    fn run<F, H, E>(self, make: &F, started: &mpsc::SyncSender<Result<Started, StartError>>)
    where
        F: Fn(usize) -> H,
        H: AsyncFn(Exchange<'_>) -> Result<Answered, E> + 'static,
        E: fmt::Display + 'static,
    {
        let say = |outcome| started.send(outcome).expect("whoever starts a thread waits for it");
        let mut worker = match Worker::new(&self.worker) {
            Ok(worker) => worker,
            Err(error) => return say(Err(StartError::Worker(error))),
        };
        let fallback_reason = worker.fallback_reason().map(str::to_owned);
        worker.block_on(async {
            let mut bound = self.addresses.clone();
            let mut listeners = Vec::new();
            let mut paths = RemovedPaths(Vec::new());
            for address in &mut bound {
                if let Address::Unix(path) = address {
                    if self.number > 0 {
                        continue;
                    }
                    paths.0.push(path.clone());
                }
                let listener = Listener::bind(address, self.shares);
                let listener = listener.and_then(|listener| Ok((listener.local_address()?, listener)));
                match listener {
                    Ok((local, listener)) => {
                        *address = local;
                        listeners.push(listener);
                    }
                    Err(source) => {
                        if let Address::Unix(_) = address {
                            paths.0.pop();
                        }
                        return say(Err(StartError::Listen { address: address.clone(), source }));
                    }
                }
            }
            say(Ok(Started { addresses: bound, fallback_reason }));
            let services: Vec<_> = listeners
                .into_iter()
                .map(|listener| {
                    let handler = make(self.number);
                    runtime::spawn(serve(listener, self.service.clone(), self.shutdown.clone(), handler))
                })
                .collect();
            for service in services {
                service.await.expect("an accept loop does not panic and is not aborted");
            }
        });
    }
}

/// Removes the files of Unix sockets in the end.
struct RemovedPaths(Vec<PathBuf>);

impl Drop for RemovedPaths {
    fn drop(&mut self) {
        for path in &self.0 {
            // Somebody else may have removed it, which is as good.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// With `SO_REUSEPORT` a second server at the same address would not fail, but share its connections with the first.
fn refuse_if_taken(address: &Address) -> Result<(), StartError> {
    match address {
        Address::Tcp(tcp) if tcp.port() != 0 => match TcpListener::bind(tcp) {
            Ok(_) => Ok(()),
            Err(source) => Err(StartError::Listen { address: address.clone(), source }),
        },
        _ => Ok(()),
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, source } => write!(f, "cannot listen at {address}: {source}"),
            Self::Worker(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { source, .. } | Self::Thread(source) => source.source(),
            Self::Worker(error) => error.source(),
        }
    }
}
