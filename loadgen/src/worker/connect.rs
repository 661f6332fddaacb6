//! Connects: each address in turn, with its time limit, and what is recorded of it. Which request needs the connection
//! is not its matter.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ringtide::runtime;
use ringtide::stream::Stream;
use ringtide::{Connection, ConnectionOptions};

use super::shared::Shared;

/// Why no connection was made.
pub(super) struct ConnectFailure {
    /// What happened at the last address.
    pub(super) text: String,
    /// Whether an address was waited for in vain. Then it is not known how long the connect would have taken.
    pub(super) timed_out: bool,
}

impl Shared {
    /// Connects; `None` if the run ended in the meantime.
    pub(super) async fn connect_or_end(&self) -> Option<Result<Connection, ConnectFailure>> {
        let begun_ns = Cell::new(None);
        let mut connect = pin!(self.connect(&begun_ns));
        let outcome = poll_fn(|context| {
            if self.ended.get() {
                return Poll::Ready(None);
            }
            connect.as_mut().poll(context).map(Some)
        })
        .await;
        if let (None, Some(begun_ns), true) = (&outcome, begun_ns.get(), self.is_measuring()) {
            self.give_up_connect(begun_ns);
        }
        outcome
    }

    /// Tries the addresses in order, each for up to the whole connect timeout. Sets `begun` to the time when the
    /// latest attempt began.
    async fn connect(&self, begun: &Cell<Option<u64>>) -> Result<Connection, ConnectFailure> {
        let plan = &self.plan;
        let mut failure =
            ConnectFailure { text: "there is no address to connect to".to_owned(), timed_out: false };
        for address in &self.addresses {
            let begun_ns = runtime::now_ns();
            begun.set(Some(begun_ns));
            let timeout = Duration::from_nanos(plan.connect_timeout_ns);
            match runtime::timeout(timeout, Stream::connect(address)).await {
                Some(Ok(stream)) => {
                    if !self.warming_up.get() {
                        let time_ns = runtime::turn_time_ns().saturating_sub(begun_ns);
                        self.recorder.borrow_mut().connected(time_ns);
                    }
                    let options = ConnectionOptions::default().pipelining(plan.parallel > 1);
                    return Ok(Connection::new(stream, &options));
                }
                Some(Err(error)) => {
                    self.note_shortage(&error);
                    // The system has a limit of its own (ETIMEDOUT).
                    if error.kind() == io::ErrorKind::TimedOut {
                        self.give_up_connect(begun_ns);
                        failure.timed_out = true;
                    }
                    failure.text = format!("could not connect to {address}: {error}");
                }
                None => {
                    self.give_up_connect(begun_ns);
                    failure.timed_out = true;
                    failure.text = format!("could not connect to {address} within {timeout:?}");
                }
            }
        }
        Err(failure)
    }

    /// Records the time of an attempt to connect that did not come to an end.
    fn give_up_connect(&self, begun_ns: u64) {
        if !self.warming_up.get() {
            let time_ns = runtime::now_ns().saturating_sub(begun_ns);
            self.recorder.borrow_mut().connect_cut_short(time_ns);
        }
    }

    /// Notes an error that means this machine ran out of descriptors or ports.
    fn note_shortage(&self, error: &io::Error) {
        let mut recorder = self.recorder.borrow_mut();
        match error.kind() {
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => recorder.ports_ran_out(),
            _ if error.raw_os_error().is_some_and(is_descriptor_shortage) => recorder.descriptors_ran_out(),
            _ => {}
        }
    }
}

/// Whether it is EMFILE or ENFILE, for which the standard library has no kind.
fn is_descriptor_shortage(errno: i32) -> bool {
    errno == nix::errno::Errno::EMFILE as i32 || errno == nix::errno::Errno::ENFILE as i32
}
