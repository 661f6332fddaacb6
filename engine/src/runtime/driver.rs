//! Which driver a worker runs on: chosen at run time by trying, and a closed enum from there on.

use std::env;
use std::fmt;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::str::FromStr;

use ringtide_driver::sim::Sim;
use ringtide_driver::{Address, BufferPool, Completion, Driver, Handle, Interest, Notifier, SendBuffer};
use ringtide_fallback::Fallback;

use super::system;

/// The environment variable that stands in for [`DriverChoice::Auto`].
const DRIVER_VARIABLE: &str = "RINGTIDE_DRIVER";

/// Which driver to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring where it is usable, the fallback elsewhere; the environment variable `RINGTIDE_DRIVER` may name one. Each worker finds
    /// out for itself: one whose ring does not fit into the locked memory that is left runs on the fallback, beside others on io_uring.
    #[default]
    Auto,
    /// io_uring or an error.
    IoUring,
    /// The fallback over epoll or kqueue.
    Fallback,
}

impl FromStr for DriverChoice {
    type Err = SetupError;

    fn from_str(name: &str) -> Result<Self, SetupError> {
        match name {
            "auto" => Ok(Self::Auto),
            "io_uring" => Ok(Self::IoUring),
            "fallback" => Ok(Self::Fallback),
            _ => Err(SetupError::UnknownDriver(name.to_owned())),
        }
    }
}

impl fmt::Display for DriverChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::IoUring => "io_uring",
            Self::Fallback => "fallback",
        })
    }
}

impl DriverChoice {
    /// The driver that a worker made now would try first, and in one line why it is not io_uring, if it is not by choice.
    ///
    /// It is found out with a ring that is smaller than a worker's and given back at once. So a worker may still find that its own does not
    /// fit into the locked memory allowed (`RLIMIT_MEMLOCK`), which all rings of a user share; see
    /// [`Worker::fallback_reason`](super::Worker::fallback_reason).
    ///
    /// # Errors
    /// When io_uring was asked for and is not usable, or the environment variable names no driver.
    pub fn resolve(self) -> Result<(Self, Option<String>), SetupError> {
        self.or_named()?
            .try_io_uring(|| system::io_uring_usable().map(|()| Self::IoUring), || Ok(Self::Fallback))
    }

    /// The choice that the environment variable makes in place of [`Auto`](Self::Auto).
    fn or_named(self) -> Result<Self, SetupError> {
        match (self, env::var(DRIVER_VARIABLE)) {
            (Self::Auto, Ok(name)) => name.parse().map_err(|_| SetupError::UnknownDriverInVariable(name)),
            (choice, _) => Ok(choice),
        }
    }

    /// What `io_uring` gives if that is wanted and works, else what `fallback` does, with the reason if it is not by choice.
    fn try_io_uring<T>(
        self,
        io_uring: impl FnOnce() -> Result<T, String>,
        fallback: impl FnOnce() -> Result<T, SetupError>,
    ) -> Result<(T, Option<String>), SetupError> {
        if self == Self::Fallback {
            return Ok((fallback()?, None));
        }
        match io_uring() {
            Ok(made) => Ok((made, None)),
            Err(reason) if self == Self::IoUring => Err(SetupError::IoUring(reason)),
            Err(reason) => {
                let reason = format!("io_uring is not usable here ({reason}); using the fallback driver");
                Ok((fallback()?, Some(reason)))
            }
        }
    }
}

/// Why a worker could not be made. Nothing is left behind.
#[derive(Debug)]
pub enum SetupError {
    /// io_uring was asked for and is not usable, for the reason given.
    IoUring(String),
    /// The fallback could not be set up.
    Fallback(io::Error),
    /// No driver has this name.
    UnknownDriver(String),
    /// No driver has the name that the environment variable gives.
    UnknownDriverInVariable(String),
    /// The worker could not be pinned to this core.
    Pin(usize),
    /// More workers than a process can have: 65,535.
    TooManyWorkers,
    /// The system gave no thread for the worker.
    Thread(io::Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IoUring(reason) => write!(f, "io_uring is not usable here: {reason}"),
            Self::Fallback(error) => write!(f, "the fallback driver could not be set up: {error}"),
            Self::UnknownDriver(name) => {
                write!(f, "no driver is called '{name}': there are auto, io_uring and fallback")
            }
            Self::UnknownDriverInVariable(name) => {
                write!(f, "{DRIVER_VARIABLE} is '{name}': there are auto, io_uring and fallback")
            }
            Self::Pin(core) => {
                write!(f, "could not pin a worker to core {core}: this process may not run there")
            }
            Self::Thread(error) => write!(f, "could not start a worker's thread: {error}"),
            Self::TooManyWorkers => f.write_str("a process has at most 65,535 workers"),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Fallback(error) | Self::Thread(error) => error.source(),
            _ => None,
        }
    }
}

/// The drivers there are. Each call costs one predictable branch.
pub(super) enum AnyDriver {
    #[cfg(target_os = "linux")]
    IoUring(ringtide_driver::io_uring::IoUring),
    Fallback(Fallback),
    Sim(Sim),
}

impl AnyDriver {
    pub(super) fn new(choice: DriverChoice) -> Result<(Self, Option<String>), SetupError> {
        let fallback = || Fallback::new().map(Self::Fallback).map_err(SetupError::Fallback);
        choice.or_named()?.try_io_uring(Self::io_uring, fallback)
    }

    #[cfg(target_os = "linux")]
    fn io_uring() -> Result<Self, String> {
        ringtide_driver::io_uring::IoUring::new().map(Self::IoUring).map_err(|reason| reason.to_string())
    }

    #[cfg(not(target_os = "linux"))]
    fn io_uring() -> Result<Self, String> {
        system::io_uring_usable().map(|()| unreachable!("only Linux has it"))
    }
}

/// Calls the same method of whichever driver it is.
macro_rules! each {
    ($self:ident, $driver:ident => $call:expr) => {
        match $self {
            #[cfg(target_os = "linux")]
            Self::IoUring($driver) => $call,
            Self::Fallback($driver) => $call,
            Self::Sim($driver) => $call,
        }
    };
}

impl Driver for AnyDriver {
    #[inline]
    fn now_ns(&self) -> u64 {
        each!(self, driver => driver.now_ns())
    }
    fn connect(&mut self, address: &Address) -> io::Result<Handle> {
        each!(self, driver => driver.connect(address))
    }
    fn listen(&mut self, address: &Address, reuse_port: bool) -> io::Result<Handle> {
        each!(self, driver => driver.listen(address, reuse_port))
    }
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Handle> {
        each!(self, driver => driver.adopt(socket))
    }
    fn accept(&mut self, listener: Handle) -> io::Result<()> {
        each!(self, driver => driver.accept(listener))
    }
    fn receive(&mut self, socket: Handle) -> io::Result<()> {
        each!(self, driver => driver.receive(socket))
    }
    fn limit_receives(&mut self, size_max: u32) {
        each!(self, driver => driver.limit_receives(size_max));
    }
    #[inline]
    fn send(&mut self, socket: Handle, buffer: SendBuffer) -> io::Result<()> {
        each!(self, driver => driver.send(socket, buffer))
    }
    #[inline]
    fn send_skip_success(&mut self, socket: Handle, bytes: &'static [u8]) -> io::Result<()> {
        each!(self, driver => driver.send_skip_success(socket, bytes))
    }
    fn shutdown(&mut self, socket: Handle) -> io::Result<()> {
        each!(self, driver => driver.shutdown(socket))
    }
    fn cancel(&mut self, handle: Handle) {
        each!(self, driver => driver.cancel(handle));
    }
    fn cancel_send(&mut self, socket: Handle) {
        each!(self, driver => driver.cancel_send(socket));
    }
    fn close(&mut self, handle: Handle) {
        each!(self, driver => driver.close(handle));
    }
    fn is_at_end(&mut self, socket: Handle) -> bool {
        each!(self, driver => driver.is_at_end(socket))
    }
    fn poll(&mut self, descriptor: RawFd, interest: Interest) -> io::Result<Handle> {
        each!(self, driver => driver.poll(descriptor, interest))
    }
    #[inline]
    fn turn(&mut self, deadline_ns: Option<u64>, completions: &mut Vec<Completion>) -> io::Result<()> {
        each!(self, driver => driver.turn(deadline_ns, completions))
    }
    fn notifier(&self) -> Notifier {
        each!(self, driver => driver.notifier())
    }
    fn pool(&self) -> &BufferPool {
        each!(self, driver => driver.pool())
    }
    fn local_address(&self, handle: Handle) -> io::Result<Address> {
        each!(self, driver => driver.local_address(handle))
    }
    fn peer_address(&self, handle: Handle) -> io::Result<Address> {
        each!(self, driver => driver.peer_address(handle))
    }
    fn name(&self) -> &'static str {
        each!(self, driver => driver.name())
    }
    fn features(&self) -> Vec<&'static str> {
        each!(self, driver => driver.features())
    }
    fn syscalls(&self) -> u64 {
        each!(self, driver => driver.syscalls())
    }
}
