//! The driver of a worker. It is chosen at run time by trying, and stored in a closed enum.

use std::env;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::str::FromStr;

use ringtide_driver::sim::Sim;
use ringtide_driver::{
    Address, BufferPool, Completion, Driver, Handle, Interest, Notifier, SendBuffer, TcpQueues,
};
use ringtide_fallback::Fallback;

use super::system;

/// The environment variable that replaces [`DriverChoice::Auto`].
const DRIVER_VARIABLE: &str = "RINGTIDE_DRIVER";

/// The driver to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring where it is usable, the fallback elsewhere. The environment variable `RINGTIDE_DRIVER` can name a
    /// driver instead. Each worker tries for itself: a worker whose ring does not fit into the remaining locked memory
    /// runs on the fallback, even while others run on io_uring.
    #[default]
    Auto,
    /// io_uring, or an error if it is not usable.
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
    /// Returns the driver that a new worker would try first. If this is the fallback although it was not asked for,
    /// also returns the reason on one line.
    ///
    /// This function tests io_uring with a ring that is smaller than a worker's ring, and closes it at once. All rings
    /// of a user share the allowed locked memory (`RLIMIT_MEMLOCK`). So a worker may still find that its own ring does
    /// not fit; see [`Worker::fallback_reason`](super::Worker::fallback_reason).
    ///
    /// # Errors
    /// If io_uring was asked for and is not usable, or if the environment variable does not name a driver.
    pub fn resolve(self) -> Result<(Self, Option<String>), SetupError> {
        self.or_named()?
            .try_io_uring(|| system::io_uring_usable().map(|()| Self::IoUring), || Ok(Self::Fallback))
    }

    /// Replaces [`Auto`](Self::Auto) by the choice in the environment variable, if it is set.
    fn or_named(self) -> Result<Self, SetupError> {
        match (self, env::var(DRIVER_VARIABLE)) {
            (Self::Auto, Ok(name)) => name.parse().map_err(|_| SetupError::UnknownDriverInVariable(name)),
            (choice, _) => Ok(choice),
        }
    }

    /// Calls `io_uring` unless the choice is the fallback, and calls `fallback` if `io_uring` was not wanted or failed.
    /// If it failed, also returns the reason.
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

/// The reason why a worker could not be created. No resources are left behind.
#[derive(Debug)]
pub enum SetupError {
    /// io_uring was asked for and is not usable, for this reason.
    IoUring(String),
    /// The fallback could not be set up.
    Fallback(io::Error),
    /// There is no driver of this name.
    UnknownDriver(String),
    /// The environment variable names this driver, which does not exist.
    UnknownDriverInVariable(String),
    /// The worker could not be pinned to this core.
    Pin(usize),
    /// The process has 65,535 workers already, which is the maximum.
    TooManyWorkers,
    /// The system could not start a thread for the worker.
    Thread(io::Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IoUring(reason) => write!(f, "io_uring is not usable here: {reason}"),
            Self::Fallback(error) => write!(f, "the fallback driver could not be set up: {error}"),
            Self::UnknownDriver(name) => {
                write!(f, "no driver is called '{name}': use auto, io_uring or fallback")
            }
            Self::UnknownDriverInVariable(name) => {
                write!(f, "{DRIVER_VARIABLE} is '{name}': use auto, io_uring or fallback")
            }
            Self::Pin(core) => {
                write!(f, "could not pin a worker to core {core}: this process may not run there")
            }
            Self::Thread(error) => write!(f, "could not start a worker's thread: {error}"),
            Self::TooManyWorkers => f.write_str("a process can have at most 65,535 workers"),
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

/// One of the drivers. Each call costs one predictable branch.
pub(crate) enum AnyDriver {
    #[cfg(target_os = "linux")]
    IoUring(ringtide_driver::io_uring::IoUring),
    Fallback(Fallback),
    Sim(Sim),
}

impl AnyDriver {
    pub(crate) fn new(choice: DriverChoice) -> Result<(Self, Option<String>), SetupError> {
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

    /// Returns whether this is the simulated driver, whose time is virtual.
    pub(super) fn is_simulated(&self) -> bool {
        matches!(self, Self::Sim(_))
    }

    /// Calls [`Sim::reset_at_close`]. Returns false on the other drivers.
    pub(super) fn reset_at_close(&mut self, local: &Address, peer: &Address) -> bool {
        match self {
            Self::Sim(sim) => sim.reset_at_close(local, peer),
            _ => false,
        }
    }
}

/// Calls the same method on each kind of driver.
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
    fn connect_from(&mut self, address: &Address, source: Option<IpAddr>) -> io::Result<Handle> {
        each!(self, driver => driver.connect_from(address, source))
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
    fn gather(&mut self, count: u32, within_ns: u64) {
        each!(self, driver => driver.gather(count, within_ns));
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

    fn tcp_queues(&self, handle: Handle) -> io::Result<TcpQueues> {
        each!(self, driver => driver.tcp_queues(handle))
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
