//! The embedded server to test against: `ringtide serve`, `targets`, and tests.
//!
//! It uses [`ringtide::server`] like any other program; `site` has its answers.
//!
//! ```
//! use ringtide_loadgen::serve::{ServeOptions, serve};
//!
//! let server = serve(&ServeOptions::default())?;
//! println!("http://{}/", server.addresses()[0]);
//! server.shutdown();
//! server.join();
//! # Ok::<(), ringtide_loadgen::serve::ServeError>(())
//! ```

mod counters;
mod failures;
mod site;
mod target;

use std::sync::Arc;
use std::time::Duration;

use ringtide::Address;
use ringtide::runtime::{DriverChoice, Spin, available_cores};
use ringtide::server::{Failure, Server, ServerOptions, ServiceOptions, Shutdown};
use ringtide::tls::ServerTls;

use self::counters::Counters;
pub use self::counters::Requests;
pub use self::failures::FailedHandshakes;
use self::site::{Blocks, Site};

/// Why the server could not be started.
pub type ServeError = ringtide::server::StartError;

/// How long a request may wait whose client has closed its sending half: the client may be gone altogether, and `/delay`
/// and `/flaky` wait as long as they are asked to.
const HALF_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long requests in flight may take to end after [`ServeHandle::shutdown`].
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// The settings of the server.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen. Port 0 is a free port. `127.0.0.1:0` by default.
    pub addresses: Vec<Address>,
    /// Threads, one worker each; 0 counts as 1. As many as there are cores by default.
    pub threads: usize,
    /// The cores to pin them to, in turn; none by default.
    pub cores: Vec<usize>,
    /// The driver.
    pub driver: DriverChoice,
    /// Whether and how long the workers spin. [`Spin::Off`] by default.
    pub spin: Spin,
    /// TLS; `None`, the default, for plain HTTP.
    pub tls: Option<ServerTls>,
    /// How long to keep the core busy for each request. 0 by default.
    pub burn: Duration,
    /// The seed of the choices of `/flaky`.
    pub seed: u64,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            addresses: vec![Address::Tcp(([127, 0, 0, 1], 0).into())],
            threads: available_cores(),
            cores: Vec::new(),
            driver: DriverChoice::Auto,
            spin: Spin::Off,
            tls: None,
            burn: Duration::ZERO,
            seed: 0,
        }
    }
}

/// A running server. Dropping it leaves it running.
#[derive(Debug)]
pub struct ServeHandle {
    server: Server,
    counters: Vec<Arc<Counters>>,
    handshakes: Arc<FailedHandshakes>,
}

/// Starts the server; returns when it listens.
///
/// # Errors
/// When the server cannot listen at an address, or a worker cannot be set up. Nothing is left running.
pub fn serve(options: &ServeOptions) -> Result<ServeHandle, ServeError> {
    let threads = options.threads.max(1);
    let counters: Vec<Arc<Counters>> = (0..threads).map(|_| Arc::default()).collect();
    let handshakes = Arc::<FailedHandshakes>::default();
    let on_error = {
        let handshakes = Arc::clone(&handshakes);
        move |failure: &Failure<'_>| handshakes.note(failure)
    };
    // A request may be as slow as its client asks, as long as the client may still be there.
    let service = ServiceOptions::default()
        .request_timeout(None)
        .half_close_timeout(HALF_CLOSE_TIMEOUT)
        .shutdown_timeout(SHUTDOWN_TIMEOUT)
        .tls(options.tls.clone())
        .on_error(on_error);
    let server_options = ServerOptions::default()
        .workers(threads)
        .cores(options.cores.clone())
        .driver(options.driver)
        .spin(options.spin)
        .service(service);
    let make = {
        let (counters, burn, seed) = (counters.clone(), options.burn, options.seed);
        let blocks = Blocks::new();
        move |worker: usize| {
            // Each worker makes its own random choices.
            let random_seed = seed.wrapping_add(worker as u64);
            Site::new(blocks.clone(), Arc::clone(&counters[worker]), burn, random_seed).into_handler()
        }
    };
    Ok(ServeHandle {
        server: Server::start_with(&options.addresses, &server_options, make)?,
        counters,
        handshakes,
    })
}

impl ServeHandle {
    /// Where it listens, in the order of the options, with the ports that the system chose.
    pub fn addresses(&self) -> &[Address] {
        self.server.addresses()
    }

    /// In one line, why `auto` did not choose io_uring; `None` if it did, or was not asked to.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.server.fallback_reason()
    }

    /// How many requests there have been so far, on all threads.
    pub fn requests(&self) -> Requests {
        Counters::sum(&self.counters)
    }

    /// The TLS handshakes that failed; they can be asked for after [`join`](Self::join) as well.
    pub fn failed_handshakes(&self) -> Arc<FailedHandshakes> {
        Arc::clone(&self.handshakes)
    }

    /// Ends the server; requests in flight have one second. Returns at once.
    pub fn shutdown(&self) {
        self.server.shutdown().begin();
    }

    /// A handle to end it while another thread waits in [`join`](Self::join).
    pub fn shutdown_handle(&self) -> Shutdown {
        self.server.shutdown()
    }

    /// Waits until it has ended; returns how many requests there were.
    ///
    /// # Panics
    /// When a worker has panicked.
    pub fn join(self) -> Requests {
        let Self { server, counters, handshakes: _ } = self;
        server.join();
        Counters::sum(&counters)
    }
}
