//! How a worker may spin: the choice of its user.

/// Whether a worker may spin instead of sleeping in the kernel, and for how long.
///
/// Without spinning, a wake-up from the kernel comes tens of microseconds late. A worker that may spin does so in two
/// cases: before the deadlines of [precise](super::Timer::precise) timers, and while a peer is expected to send
/// something soon.
///
/// A peer is expected to send from the moment when something was sent to it until something of it is received; in the
/// middle of an answer, as long as the client waits for the rest. For a client these are its requests in flight. For a
/// server it is the next request of a client that was just answered. While nothing is expected, the worker sleeps.
///
/// Spinning takes the whole core. It is for workers that have a core of their own, and it is up to the caller to leave a
/// core to the peer if both are on the same machine: [`Learnt`](Self::Learnt) notices a core that it shares only after
/// some milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spin {
    /// Never spin. The core is left to others.
    #[default]
    Off,
    /// Spin for this many nanoseconds before a deadline, and for at most as long after the last send or receive while
    /// a peer is expected to send, whatever experience says.
    For(u64),
    /// Spin for as long as experience says that it helps.
    ///
    /// - Before a deadline: as long as recent wake-ups were late, at most 200 µs.
    /// - While a peer is expected to send: at most 200 µs a time, as long as most of the recent waits were shorter
    ///   than this, and at most 8 connections are waited for. With more, their bytes come in batches, and a wake-up is
    ///   shared by many.
    /// - Not for a while (100 ms, up to 1.6 s if it stays so) after the thread has waited more than an eighth of 20 ms for
    ///   its core because others had it, where the system tells (Linux: `/proc/thread-self/schedstat`).
    Learnt,
}
