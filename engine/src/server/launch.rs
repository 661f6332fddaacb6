//! Multi-threaded servers: one worker per thread, each with its own listeners at the same addresses.

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
use crate::runtime::{self, DriverChoice, SetupError, Spin, Worker, WorkerOptions};
use crate::stream::Listener;

/// The options of a [`Server`].
///
/// ```
/// use ringtide::server::{ServerOptions, ServiceOptions};
///
/// let options = ServerOptions::default().workers(2).service(ServiceOptions::default().connections_max(1_000));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The number of threads. One per available core by default; 0 counts as 1.
    pub workers: usize,
    /// The cores to pin the threads to, assigned in turn. Empty by default: the threads are not pinned.
    pub cores: Vec<usize>,
    /// The driver that the workers use.
    pub driver: DriverChoice,
    /// Whether and how long the workers spin for the next request of a client that they have just answered: the client
    /// then has its answer sooner by a wake-up. [`Spin::Off`] by default. Give each worker a core of its own, and leave
    /// at least one to the clients if they are on this machine.
    pub spin: Spin,
    /// The limits and timeouts for clients.
    pub service: ServiceOptions,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            workers: runtime::available_cores(),
            cores: Vec::new(),
            driver: DriverChoice::Auto,
            spin: Spin::Off,
            service: ServiceOptions::default(),
        }
    }
}

/// Each method sets the field of the same name.
impl ServerOptions {
    /// Sets the number of threads; 0 counts as 1.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Sets the cores to pin the threads to, assigned in turn.
    #[must_use]
    pub fn cores(self, cores: impl Into<Vec<usize>>) -> Self {
        Self { cores: cores.into(), ..self }
    }

    /// Sets the driver that the workers use.
    #[must_use]
    pub fn driver(self, driver: DriverChoice) -> Self {
        Self { driver, ..self }
    }

    /// Sets whether and how long the workers spin.
    #[must_use]
    pub fn spin(self, spin: Spin) -> Self {
        Self { spin, ..self }
    }

    /// Sets the limits and timeouts for clients.
    #[must_use]
    pub fn service(self, service: ServiceOptions) -> Self {
        Self { service, ..self }
    }
}

/// A running server.
///
/// Dropping it does not stop the server; use [`shutdown`](Self::shutdown) and [`join`](Self::join).
///
/// This example runs a server until SIGINT (Ctrl-C) or SIGTERM, with the crate `signal-hook`. Requests in flight still
/// get their responses:
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

/// Why a server could not start. No thread of it is left running.
#[derive(Debug)]
pub enum StartError {
    /// The server could not listen at an address.
    Listen {
        /// The address.
        address: Address,
        /// The system's error.
        source: io::Error,
    },
    /// A worker could not be created.
    Worker(SetupError),
    /// The system could not create a thread.
    Thread(io::Error),
}

impl Server {
    /// Listens at `addresses` and serves every connection, with a clone of `handler` on each thread. Returns when all
    /// threads listen.
    ///
    /// Port 0 selects a free port, the same for all threads. The kernel distributes the connections over the threads'
    /// listeners (`SO_REUSEPORT`). A Unix socket cannot have several listeners, so the first thread serves all its
    /// connections. The server removes the socket's file when it ends.
    ///
    /// # Errors
    /// Returns a [`StartError`]. No thread of the server is left running.
    pub fn start<H, E>(addresses: &[Address], options: &ServerOptions, handler: H) -> Result<Self, StartError>
    where
        H: AsyncFn(Exchange<'_>) -> Result<Answered, E> + Clone + Send + 'static,
        E: fmt::Display + 'static,
    {
        Self::start_with(addresses, options, move |_| handler.clone())
    }

    /// Like [`start`](Self::start), but calls `make` on each thread to create the handler.
    ///
    /// `make` gets the thread's number, starting at 0. The thread calls it once for each address that it listens at.
    /// The handler may therefore own thread-local values without a lock, for example a [`Client`](crate::Client).
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
    /// Same as [`start`](Self::start).
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
                // The first thread has replaced each port 0 with the port that the system chose.
                addresses: server.addresses.clone(),
                number,
                shares: workers > 1,
                worker: WorkerOptions {
                    driver: options.driver,
                    core: (!options.cores.is_empty()).then(|| options.cores[number % options.cores.len()]),
                    spin: options.spin,
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

    /// Returns the addresses that the server listens at, in the order given to `start`. Each port 0 is replaced with
    /// the port that the system chose.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Returns a handle that shuts the server down, from any thread.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Returns, in one line, why a worker does not use io_uring although [`DriverChoice::Auto`] prefers it. If several
    /// workers fell back, this is the reason of the first of them.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    /// Waits until the server has ended. Without a [`shutdown`](Self::shutdown), it waits forever.
    ///
    /// # Panics
    /// Panics if a worker has panicked. A handler cannot cause this, because the server catches panics of handlers.
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
    /// Starts the thread and waits until it listens.
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
        let panic = thread.join().expect_err("a thread that sends no result has panicked");
        std::panic::resume_unwind(panic)
    }

    fn run<F, H, E>(self, make: &F, started: &mpsc::SyncSender<Result<Started, StartError>>)
    where
        F: Fn(usize) -> H,
        H: AsyncFn(Exchange<'_>) -> Result<Answered, E> + 'static,
        E: fmt::Display + 'static,
    {
        let say = |outcome| started.send(outcome).expect("the thread's creator waits for the result");
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
                service.await.expect("accept loops do not panic and are not aborted");
            }
        });
    }
}

/// Removes the files of Unix sockets when the server ends.
struct RemovedPaths(Vec<PathBuf>);

impl Drop for RemovedPaths {
    fn drop(&mut self) {
        for path in &self.0 {
            // If the file is already gone, there is nothing to do.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Fails if another server listens at the address. Without this check `SO_REUSEPORT` would let two servers share the
/// connections of one address.
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
