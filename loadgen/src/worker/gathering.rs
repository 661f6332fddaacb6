//! Decides when a worker waits for several answers at once.
//!
//! A server may send each answer by itself although very many requests are in flight. A generator that is faster wakes up
//! for each of them, sends one request, and sleeps again: both sides then spend most of their time on wake-ups, and on
//! sends and receives of a single message. So a closed loop lets the kernel gather answers before it wakes the worker. This
//! makes an answer seem later than it was, by 1/128 of the mean latency at most; an open loop does not do it.

/// How often to decide.
pub(super) const INTERVAL_NS: u64 = 50_000_000;
/// With fewer requests in flight, a worker never waits for several answers.
const IN_FLIGHT_MIN: usize = 128;
/// The share of the requests in flight to wait for,
const IN_FLIGHT_SHARE: usize = 32;
/// and the most answers.
const COUNT_MAX: usize = 32;
/// The longest wait, as a share of the mean latency,
const LATENCY_SHARE: u64 = 128;
/// and at most.
const WITHIN_NS_MAX: u64 = 50_000;
/// A shorter wait costs more than it saves: it sets another timer.
const WITHIN_NS_MIN: u64 = 10_000;
/// Gathering begins when a wait brings less than this share of the answers that it would wait for.
const COUNT_SHARE: u64 = 4;
/// After so many intervals with gathering, one without shows whether it is still needed.
const INTERVALS_ON: u32 = 40;

/// How many answers to wait for, and how long at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gather {
    pub(super) count: u32,
    pub(super) within_ns: u64,
}

impl Gather {
    pub(super) const NONE: Self = Self { count: 1, within_ns: 0 };
}

/// What a worker has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) at_ns: u64,
    pub(super) completed: u64,
    /// Each wait is one, and hardly anything else.
    pub(super) syscalls: u64,
}

/// The decision, made anew in intervals.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    last: Progress,
    /// Intervals with gathering that are left.
    intervals_left: u32,
}

impl Gathering {
    /// Call this after each interval. Returns what to do in the next one, or `None` to go on as before.
    pub(super) fn next(&mut self, now: Progress, in_flight: usize) -> Option<Gather> {
        let last = std::mem::replace(&mut self.last, now);
        if self.intervals_left > 0 {
            self.intervals_left -= 1;
            return (self.intervals_left == 0).then_some(Gather::NONE);
        }
        // The count begins anew with the measured part.
        let completed = now.completed.checked_sub(last.completed).filter(|completed| *completed > 0)?;
        if last.at_ns == 0 || in_flight < IN_FLIGHT_MIN {
            return None;
        }
        let count = (in_flight / IN_FLIGHT_SHARE).min(COUNT_MAX) as u64;
        // Little's law.
        let latency_ns = (now.at_ns - last.at_ns).saturating_mul(in_flight as u64) / completed;
        let within_ns = (latency_ns / LATENCY_SHARE).min(WITHIN_NS_MAX);
        let is_needed = completed * COUNT_SHARE < (now.syscalls - last.syscalls) * count;
        if !is_needed || within_ns < WITHIN_NS_MIN {
            return None;
        }
        self.intervals_left = INTERVALS_ON;
        Some(Gather { count: count as u32, within_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The decisions after intervals with these numbers of answers and system calls.
    fn decisions(in_flight: usize, intervals: &[(u64, u64)]) -> Vec<Option<Gather>> {
        let mut gathering = Gathering::default();
        let mut now = Progress { at_ns: 1, ..Progress::default() };
        let mut decisions = vec![gathering.next(now, in_flight)];
        for (completed, syscalls) in intervals {
            now.at_ns += INTERVAL_NS;
            now.completed += completed;
            now.syscalls += syscalls;
            decisions.push(gathering.next(now, in_flight));
        }
        decisions
    }

    #[test]
    fn answers_that_come_one_by_one_are_gathered() {
        // 100,000 a second of 1,000 in flight take 10 ms each.
        let gather = Gather { count: 31, within_ns: 50_000 };
        assert_eq!(decisions(1000, &[(5_000, 5_000)]), [None, Some(gather)]);
        // 256 of them take 2.56 ms.
        let gather = Gather { count: 8, within_ns: 20_000 };
        assert_eq!(decisions(256, &[(5_000, 5_000)]), [None, Some(gather)]);
    }

    #[test]
    fn nothing_is_gathered_that_comes_together_or_soon() {
        assert_eq!(decisions(1000, &[(5_000, 600)]), [None, None], "8 with each wait");
        assert_eq!(decisions(127, &[(5_000, 5_000)]), [None, None], "few in flight");
        assert_eq!(decisions(128, &[(10_000, 10_000)]), [None, None], "5 µs are too short");
        assert_eq!(decisions(1000, &[(0, 10)]), [None, None], "no answer");
    }

    #[test]
    fn it_is_tried_without_now_and_then() {
        let all = decisions(1000, &[(5_000, 5_000); 90]);
        let changes: Vec<_> = (0..all.len()).filter(|at| all[*at].is_some()).collect();
        assert_eq!(changes, [1, 41, 42, 82, 83]);
        assert_eq!((all[41], all[42].map(|gather| gather.count)), (Some(Gather::NONE), Some(31)));
    }

    #[test]
    fn a_count_that_begins_anew_decides_nothing() {
        let mut gathering = Gathering::default();
        let warm_up = Progress { at_ns: 1, completed: 50_000, syscalls: 50_000 };
        assert_eq!(gathering.next(warm_up, 1000), None);
        let measured = Progress { at_ns: 1 + INTERVAL_NS, completed: 20_000, syscalls: 80_000 };
        assert_eq!(gathering.next(measured, 1000), None);
    }
}
