//! What the scripted side of a connection does, step by step. The script is data; it is played elsewhere.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use bytes::Bytes;

use super::pieces::Pieces;
use crate::tls::{ClientTls, ServerTls};

/// The steps of the scripted side of one connection.
///
/// The steps follow one another. Behind the last one, the scripted side stays silent and open until the code under test
/// ends its half, then it closes; any further byte fails the test. A script also fails the test if the test ends before
/// its last step.
///
/// ```
/// use std::time::Duration;
/// use ringtide::testing::{Pieces, Script};
///
/// let script = Script::new()
///     .expect("GET / HTTP/1.1\r\n")
///     .expect_until("\r\n\r\n")
///     .send(Pieces::of_size(1, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"))
///     .delay(Duration::from_secs(1))
///     .send("half of")
///     .reset();
/// # let _ = script;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a script does nothing until it is given to a network"]
pub struct Script {
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) action: Action,
    /// Where the test wrote this step.
    pub(super) place: &'static Location<'static>,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Expect(Bytes),
    ExpectUntil(Bytes),
    ExpectAny(usize),
    ExpectSilence(Duration),
    ExpectEnd,
    ExpectRest,
    IgnoreRest,
    Send(Pieces),
    Delay(Duration),
    AcceptTls(ServerTls),
    StartTls(String, ClientTls),
    End,
    Close,
    Reset,
}

impl Script {
    /// Creates a script without steps: it accepts the connection and says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects exactly these bytes next, in any number of pieces.
    #[track_caller]
    pub fn expect(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Action::Expect(Bytes::copy_from_slice(bytes.as_ref())))
    }

    /// Expects any bytes up to and including the next occurrence of `delimiter`.
    ///
    /// # Panics
    /// If the delimiter is empty.
    #[track_caller]
    pub fn expect_until(self, delimiter: impl AsRef<[u8]>) -> Self {
        assert!(!delimiter.as_ref().is_empty(), "a delimiter has at least one byte");
        self.then(Action::ExpectUntil(Bytes::copy_from_slice(delimiter.as_ref())))
    }

    /// Expects `size` bytes, whatever they are.
    #[track_caller]
    pub fn expect_any(self, size: usize) -> Self {
        self.then(Action::ExpectAny(size))
    }

    /// Expects that neither a byte nor the end of the stream comes for `duration`.
    #[track_caller]
    pub fn expect_silence(self, duration: Duration) -> Self {
        self.then(Action::ExpectSilence(duration))
    }

    /// Expects that the peer ends its half now, without a further byte and without a reset.
    #[track_caller]
    pub fn expect_end(self) -> Self {
        self.then(Action::ExpectEnd)
    }

    /// Expects any bytes, and that the peer ends its half behind them, without a reset.
    #[track_caller]
    pub fn expect_rest(self) -> Self {
        self.then(Action::ExpectRest)
    }

    /// Ignores from here on what the peer does: its bytes, and when and how it ends the connection. The script counts as
    /// played, and only steps that expect nothing can follow.
    #[track_caller]
    pub fn ignore_rest(self) -> Self {
        self.then(Action::IgnoreRest)
    }

    /// Sends bytes: text or bytes as one piece, or [`Pieces`].
    ///
    /// Each piece arrives 100 µs after the one before, also after that of the previous step. What follows the last
    /// piece, such as the end of the stream, comes right behind it. A reader that takes the pieces later gets some of
    /// them at once, as from a real network.
    #[track_caller]
    pub fn send(self, pieces: impl Into<Pieces>) -> Self {
        self.then(Action::Send(pieces.into()))
    }

    /// Does nothing for `duration` of virtual time, which costs no real time.
    ///
    /// If no step before expects anything, it does not receive either: what the sockets cannot hold waits at the code
    /// under test, as with a peer that is slow to read. Otherwise the system receives meanwhile, up to 1 MiB.
    #[track_caller]
    pub fn delay(self, duration: Duration) -> Self {
        self.then(Action::Delay(duration))
    }

    /// Speaks TLS from here on, as a server.
    ///
    /// Behind [`ignore_rest`](Self::ignore_rest), the handshake may fail: for a client that refuses the certificate.
    #[track_caller]
    pub fn accept_tls(self, tls: &ServerTls) -> Self {
        self.then(Action::AcceptTls(tls.clone()))
    }

    /// Speaks TLS from here on, as a client of the server `host`. See [`accept_tls`](Self::accept_tls).
    #[track_caller]
    pub fn start_tls(self, host: &str, tls: &ClientTls) -> Self {
        self.then(Action::StartTls(host.to_owned(), tls.clone()))
    }

    /// Ends the sending half, in TLS with close_notify. The code under test sees the end of the stream, and can still
    /// send.
    #[track_caller]
    pub fn end(self) -> Self {
        self.then(Action::End)
    }

    /// Closes the connection, in TLS without close_notify. This is the last step. If bytes are unread, the close resets
    /// the connection, as real ones do.
    #[track_caller]
    pub fn close(self) -> Self {
        self.then(Action::Close)
    }

    /// Resets the connection. This is the last step. Bytes sent before still arrive.
    #[track_caller]
    pub fn reset(self) -> Self {
        self.then(Action::Reset)
    }

    #[track_caller]
    fn then(mut self, action: Action) -> Self {
        if let Some(before) = self.steps.iter().find(|step| step.action.excludes(&action)) {
            panic!("`{action}` cannot follow `{}`", before.action);
        }
        self.steps.push(Step { action, place: Location::caller() });
        self
    }
}

impl Action {
    /// Whether `later` cannot follow this action.
    fn excludes(&self, later: &Self) -> bool {
        match self {
            Self::Close | Self::Reset => true,
            Self::IgnoreRest => later.expects(),
            _ => false,
        }
    }

    fn expects(&self) -> bool {
        match self {
            Self::Expect(_)
            | Self::ExpectUntil(_)
            | Self::ExpectAny(_)
            | Self::ExpectSilence(_)
            | Self::ExpectEnd
            | Self::ExpectRest => true,
            Self::IgnoreRest
            | Self::Send(_)
            | Self::Delay(_)
            | Self::AcceptTls(_)
            | Self::StartTls(..)
            | Self::End
            | Self::Close
            | Self::Reset => false,
        }
    }
}

/// Writes the method of [`Script`] that adds the step.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expect(_) => f.write_str("expect"),
            Self::ExpectUntil(delimiter) => write!(f, "expect_until(\"{}\")", delimiter.escape_ascii()),
            Self::ExpectAny(size) => write!(f, "expect_any({size})"),
            Self::ExpectSilence(duration) => write!(f, "expect_silence({duration:?})"),
            Self::ExpectEnd => f.write_str("expect_end"),
            Self::ExpectRest => f.write_str("expect_rest"),
            Self::IgnoreRest => f.write_str("ignore_rest"),
            Self::Send(_) => f.write_str("send"),
            Self::Delay(duration) => write!(f, "delay({duration:?})"),
            Self::AcceptTls(_) => f.write_str("accept_tls"),
            Self::StartTls(host, _) => write!(f, "start_tls({host:?})"),
            Self::End => f.write_str("end"),
            Self::Close => f.write_str("close"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "`send` cannot follow `reset`")]
    fn nothing_follows_a_reset() {
        let _ = Script::new().reset().send("more");
    }

    #[test]
    #[should_panic(expected = "`expect` cannot follow `ignore_rest`")]
    fn nothing_is_expected_of_what_is_ignored() {
        let _ = Script::new().ignore_rest().send("more").expect("x");
    }
}
