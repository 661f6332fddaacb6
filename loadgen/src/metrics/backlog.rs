//! Whether the backlog of an open loop grows: whether more and more of the due requests wait for their answers.
//!
//! A server that cannot keep up answers each request later than the one before. The end then cuts off the late ones,
//! and the answers until then say too little about them. A server that is merely slow has no more requests waiting at
//! the end than before, and those cut off are like the rest.

/// Moments that are kept. When there are this many, every second one is dropped and their interval doubles.
const MOMENTS_MAX: usize = 16;

/// When the first one is taken.
const INTERVAL_MIN_NS: u64 = 25_000_000;

/// If a smaller part of the due requests is unanswered at the end, it distorts the figures by about as little.
const UNANSWERED_SHARE_MIN: f64 = 0.05;

/// A backlog that grows is at least this many times what it was,
const GROWTH_MIN: f64 = 1.5;

/// and larger by this many standard deviations.
const DEVIATIONS_MIN: f64 = 3.0;

/// A worker's progress at one moment of the measured part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// On the workers' clock.
    pub at_ns: u64,
    /// Requests due by then.
    pub due: u64,
    /// Those of them that had been answered or had failed.
    pub ended: u64,
    /// Those for which no connection had been free.
    pub waiting: u64,
}

/// The course of a run: a few moments, evenly spread over it, however long it is.
#[derive(Clone, Debug)]
pub(super) struct Course {
    moments: Vec<Moment>,
    interval_ns: u64,
    told: u64,
}

impl Course {
    /// A course without moments.
    pub(super) fn new() -> Self {
        Self { moments: Vec::with_capacity(MOMENTS_MAX), interval_ns: INTERVAL_MIN_NS, told: 0 }
    }

    /// How long after the last moment (or the start) to take the next one.
    pub(super) fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// How many moments were added, including those that were not kept.
    pub(super) fn told(&self) -> u64 {
        self.told
    }

    /// Adds a moment.
    pub(super) fn tell(&mut self, moment: Moment) {
        if self.moments.len() == MOMENTS_MAX {
            let mut index = 0;
            self.moments.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            self.interval_ns *= 2;
        }
        self.moments.push(moment);
        self.told += 1;
    }

    /// Forgets all moments.
    pub(super) fn reset(&mut self) {
        self.moments.clear();
        self.interval_ns = INTERVAL_MIN_NS;
        self.told = 0;
    }

    /// The moment nearest to `time_ns`; all zeros if there is none.
    pub(super) fn nearest(&self, time_ns: u64) -> Moment {
        self.moments.iter().min_by_key(|moment| moment.at_ns.abs_diff(time_ns)).copied().unwrap_or_default()
    }
}

/// Half of a run: what came due in it, and the state at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Half {
    /// Requests that came due in this half.
    pub due: u64,
    /// Those of them that were unanswered at its end.
    pub unanswered: u64,
    /// Requests of the whole run that waited for a connection at its end.
    pub waiting: u64,
}

impl Half {
    fn add(&mut self, other: Self) {
        self.due += other.due;
        self.unanswered += other.unanswered;
        self.waiting += other.waiting;
    }
}

/// The two halves of an open loop's run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The first half.
    pub first: Half,
    /// The second half.
    pub second: Half,
}

impl Backlog {
    /// Whether the backlog grew, with `unanswered` of all due requests at the end. It did if these are at least 5 %
    /// of all and one of two figures was at least half as large again at the end as at half-time, by more than chance
    /// (three standard deviations):
    ///
    /// - the odds that a request was unanswered at the end of the half in which it came due. With constant latencies
    ///   they are the same in both halves, however long answers take;
    /// - the requests for which no connection was free.
    pub fn grew(&self, unanswered: u64) -> bool {
        let due = (self.first.due + self.second.due) as f64;
        self.first.due > 0
            && self.second.due > 0
            && unanswered as f64 >= UNANSWERED_SHARE_MIN * due
            && (self.odds_rose() || self.queue_rose(UNANSWERED_SHARE_MIN * due))
    }

    /// A test of two proportions.
    fn odds_rose(&self) -> bool {
        let share = |half: Half| half.unanswered as f64 / half.due as f64;
        let (before, after) = (share(self.first), share(self.second));
        let pooled = (self.first.unanswered + self.second.unanswered) as f64
            / (self.first.due + self.second.due) as f64;
        let variance = pooled * (1.0 - pooled) * (1.0 / self.first.due as f64 + 1.0 / self.second.due as f64);
        // Multiplied out, as the number of answered ones may be 0.
        after * (1.0 - before) >= GROWTH_MIN * before * (1.0 - after)
            && after - before > DEVIATIONS_MIN * variance.max(0.0).sqrt()
    }

    fn queue_rose(&self, at_least: f64) -> bool {
        let (before, after) = (self.first.waiting as f64, self.second.waiting as f64);
        after >= at_least
            && after >= GROWTH_MIN * before
            && after - before > DEVIATIONS_MIN * (before + after).sqrt()
    }

    pub(super) fn add(&mut self, other: Self) {
        self.first.add(other.first);
        self.second.add(other.second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `count` requests due in each half.
    fn backlog(count: u64, unanswered: [u64; 2], waiting: [u64; 2]) -> Backlog {
        let half = |index: usize| Half { due: count, unanswered: unanswered[index], waiting: waiting[index] };
        Backlog { first: half(0), second: half(1) }
    }

    #[test]
    fn moments_are_spread_over_the_run_however_long_it_is() {
        let mut course = Course::new();
        assert_eq!(course.nearest(7), Moment::default());
        let mut now_ns = 0;
        for _ in 0..200 {
            now_ns += course.interval_ns();
            course.tell(Moment { at_ns: now_ns, ..Moment::default() });
            assert!(course.moments.len() <= MOMENTS_MAX);
            let half_ns = course.nearest(now_ns / 2).at_ns;
            assert!(
                half_ns.abs_diff(now_ns / 2) <= now_ns / 10 || now_ns < 10 * INTERVAL_MIN_NS,
                "{half_ns}"
            );
        }
        course.reset();
        assert_eq!((course.told(), course.interval_ns()), (0, INTERVAL_MIN_NS));
    }

    /// Requests are due evenly; one due at `t` is answered `(k − 1)·t` later, where `k` is the load divided by the
    /// capacity.
    #[test]
    fn a_load_beyond_the_capacity_is_growth() {
        for (count, load) in
            [(100, 1.5), (1000, 1.1), (1000, 2.0), (1000, 10.0), (10_000, 100.0), (500, 50.0)]
        {
            let unanswered = |from: f64, to: f64| (to - (to / load).max(from)).max(0.0) * count as f64;
            let first = unanswered(0.0, 1.0) as u64;
            let second = unanswered(1.0, 2.0) as u64;
            let all = unanswered(0.0, 2.0) as u64;
            // With as many connections as needed, or almost none.
            let grew = backlog(count, [first, second], [0, 0]).grew(all);
            assert!(grew || load > 10.0, "{load} times its capacity");
            assert!(backlog(count, [first, second], [first, all]).grew(all), "{load} times its capacity");
        }
    }

    #[test]
    fn a_hang_from_half_time_on_is_growth() {
        assert!(backlog(1000, [1, 1000], [0, 0]).grew(1001));
        assert!(backlog(20, [0, 20], [0, 18]).grew(20));
    }

    #[test]
    fn a_slow_server_is_none() {
        // Answers take half of a half, or three quarters of it.
        assert!(!backlog(100, [50, 50], [0, 0]).grew(50));
        assert!(!backlog(100, [75, 77], [0, 0]).grew(77));
        // No answer comes before the end.
        assert!(!backlog(100, [100, 100], [0, 0]).grew(200));
        // A queue that comes and goes.
        assert!(!backlog(100, [10, 14], [8, 12]).grew(14));
        assert!(!backlog(20, [1, 3], [0, 2]).grew(3));
    }

    #[test]
    fn a_pause_at_the_end_of_a_long_run_bends_little() {
        assert!(!backlog(10_000, [3, 900], [0, 850]).grew(903));
        assert!(backlog(10_000, [3, 1100], [0, 1000]).grew(1103));
    }

    #[test]
    fn half_a_run_says_nothing() {
        assert!(
            !Backlog { second: Half { due: 9, unanswered: 9, waiting: 9 }, ..Backlog::default() }.grew(9)
        );
    }
}
