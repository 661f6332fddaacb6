//! The response times of one interval of a run, which a recorder gives away for an empty set.

use hdrhistogram::Histogram;

use super::recorder::{Recorder, highest_p99_ns};
use super::times::{Times, add, histogram, reset};

/// Where a recorder keeps response times. Swapping it for an empty one costs a few instructions, however many requests
/// there were; a sum of all is given back at the end.
#[derive(Clone, Debug)]
pub struct Interval {
    open_loop: bool,
    response: Times,
    /// Only in a closed loop, where service times are response times.
    service: Histogram<u64>,
    service_one_piece: Histogram<u64>,
    /// Of requests that were due before they were sent.
    schedule_lag: Histogram<u64>,
}

impl Interval {
    /// An empty one. Allocates all of its memory.
    pub fn new(open_loop: bool) -> Self {
        Self {
            open_loop,
            response: Times::new(),
            service: histogram(),
            service_one_piece: histogram(),
            schedule_lag: histogram(),
        }
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        self.response.add(&other.response);
        add(&mut self.service, &other.service);
        add(&mut self.service_one_piece, &other.service_one_piece);
        add(&mut self.schedule_lag, &other.schedule_lag);
    }

    /// Empties it.
    pub fn reset(&mut self) {
        self.response.reset();
        reset(&mut self.service);
        reset(&mut self.service_one_piece);
        reset(&mut self.schedule_lag);
    }

    /// Adds the response times to `times`.
    pub fn add_responses_to(&self, times: &mut Times) {
        times.add(&self.response);
        add(&mut times.exact, &self.service);
        add(&mut times.exact, &self.service_one_piece);
    }

    /// Adds the generator's own delays to `lag`.
    pub fn add_lag_to(&self, lag: &mut Histogram<u64>) {
        add(lag, &self.schedule_lag);
    }

    /// See [`Recorder::response_p99_ns`].
    pub fn response_p99_ns(&self) -> Option<u64> {
        highest_p99_ns(&[
            &self.response.exact,
            &self.response.censored,
            &self.service,
            &self.service_one_piece,
        ])
    }
}

impl Recorder {
    /// Takes the response times since the last call, and leaves those of `interval`, which is to be empty and of the
    /// same loop.
    pub fn swap(&mut self, interval: &mut Interval) {
        debug_assert_eq!(self.open_loop, interval.open_loop);
        std::mem::swap(&mut self.response, &mut interval.response);
        std::mem::swap(&mut self.schedule_lag, &mut interval.schedule_lag);
        if !self.open_loop {
            std::mem::swap(&mut self.service.exact, &mut interval.service);
            std::mem::swap(&mut self.service_one_piece, &mut interval.service_one_piece);
        }
    }

    /// Adds what was taken.
    pub fn give_back(&mut self, interval: &Interval) {
        self.response.add(&interval.response);
        add(&mut self.service.exact, &interval.service);
        add(&mut self.service_one_piece, &interval.service_one_piece);
        add(&mut self.schedule_lag, &interval.schedule_lag);
    }
}
