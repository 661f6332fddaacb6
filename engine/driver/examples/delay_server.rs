//! A spinning server of known delay, which records how long each request really took: the truth that the latencies of a load
//! generator are compared with.
//!
//! It speaks HTTP/1.1, and HTTP/2 to clients that know it beforehand (RFC 9113 §3.3). One thread never sleeps. It answers each
//! request after a delay that it draws, and it can stall: for a time it neither reads nor writes. It is not suitable for any
//! other purpose.
//!
//! ```text
//! delay_server [--addr 127.0.0.1:0] [--delay 1ms | 1ms,20ms,0.07 | 0ms..100ms] [--stall 200ms --every 5s]
//! ```
//!
//! A delay is fixed, or it is the second one for a share of the requests, or it is drawn evenly from a range. The first stall
//! begins half of `--every` after the first request. The server prints the address that it listens on, then serves until it is
//! killed.
//!
//! `GET /report` is answered with JSON about all other requests since the start or the last report, in microseconds:
//!
//! - `delay_us`: from the turn that brought a request to the end of the turn in which the kernel took its answer.
//! - `stalls_us`: when each stall began and how long it was, from the first request on.
//! - With `GET /report?rate=R` also `scheduled_us`: what a client would see that sends `R` requests a second evenly. The k-th
//!   answer belongs to the request that was due at `k / R`. Where the schedule begins is fitted: half of the requests came
//!   after they were due, and half before. Answers are in the order of the requests, if all delays are the same.

#[cfg(target_os = "linux")]
#[path = "delay/server.rs"]
mod delay;
#[cfg(not(target_os = "linux"))]
#[path = "floor/elsewhere.rs"]
mod delay;

fn main() -> std::process::ExitCode {
    delay::main()
}
