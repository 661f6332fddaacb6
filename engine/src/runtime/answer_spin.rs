//! Whether spinning for bytes that are expected is worth it: learnt from how long they took.
//!
//! It sees only times, and decides nothing about cores; `core_share` does.

use super::spin::Spin;
use crate::limits::{ANSWER_SPIN_NS_MAX, ANSWERS_EXPECTED_MAX};

/// The inverse weight of one wait in the mean.
const MEAN_WEIGHT: u64 = 8;

/// The most that one wait counts in the mean. So the mean says roughly how many waits are longer than
/// [`ANSWER_SPIN_NS_MAX`], and a single long one is soon forgotten.
const COUNTED_NS_MAX: u64 = 2 * ANSWER_SPIN_NS_MAX;

/// What to do while nothing else is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Spin: something may come soon.
    Spin,
    /// Sleep.
    Sleep,
    /// Sleep, and expect nothing until something is sent: what was expected takes too long.
    GiveUp,
}

/// The time between two answers while at least one is expected, and what follows from it.
#[derive(Debug)]
pub(super) struct AnswerSpin {
    spin: Spin,
    /// The mean of the last waits, each counted as [`COUNTED_NS_MAX`] at most.
    mean_ns: u64,
    /// When the present wait began, if there is one.
    since_ns: Option<u64>,
}

impl AnswerSpin {
    pub(super) fn new(spin: Spin) -> Self {
        Self { spin, mean_ns: 0, since_ns: None }
    }

    /// The worker has nothing to do at `now_ns`, and `expected` connections are expected to receive. If the next turn
    /// `submits` sends, a wait begins only after it: submitting takes a while.
    #[inline]
    pub(super) fn advise(&mut self, now_ns: u64, expected: usize, submits: bool) -> Advice {
        let expected_max = if self.spin == Spin::Learnt { ANSWERS_EXPECTED_MAX } else { usize::MAX };
        if expected == 0 || expected > expected_max {
            self.since_ns = None;
            return Advice::Sleep;
        }
        if submits && self.since_ns.is_none() && self.bound_ns() > 0 {
            return Advice::Spin;
        }
        let waited_ns = now_ns - *self.since_ns.get_or_insert(now_ns);
        if waited_ns < self.bound_ns() {
            return Advice::Spin;
        }
        let patience_ns = if self.spin == Spin::Learnt { COUNTED_NS_MAX } else { 0 };
        if waited_ns < patience_ns {
            return Advice::Sleep;
        }
        self.answered(now_ns);
        Advice::GiveUp
    }

    /// Something that was expected has come.
    #[inline]
    pub(super) fn answered(&mut self, now_ns: u64) {
        if let Some(since_ns) = self.since_ns.take() {
            let waited_ns = (now_ns - since_ns).min(COUNTED_NS_MAX);
            self.mean_ns = (self.mean_ns * (MEAN_WEIGHT - 1) + waited_ns) / MEAN_WEIGHT;
        }
    }

    /// How long one wait may be spun through.
    fn bound_ns(&self) -> u64 {
        match self.spin {
            Spin::For(bound_ns) => bound_ns,
            // A worker that sleeps sees its waits longer by a wake-up. So one that has begun to sleep goes on with it for
            // answers at the limit, and does not change its mind all the time.
            Spin::Learnt if self.mean_ns <= ANSWER_SPIN_NS_MAX => ANSWER_SPIN_NS_MAX,
            Spin::Off | Spin::Learnt => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_NS: u64 = 500;

    /// Lets `waits` pass, each of the given length, with a look every [`STEP_NS`] while it spins, as a worker does.
    /// Returns how long it has spun in each.
    fn spun_ns(answers: &mut AnswerSpin, waits: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut now_ns = 1_000_000_000;
        let mut one = |length_ns| {
            let start_ns = now_ns;
            let mut spun_ns = 0;
            while now_ns < start_ns + length_ns {
                match answers.advise(now_ns, 1, false) {
                    Advice::Spin => {
                        now_ns += STEP_NS;
                        spun_ns += STEP_NS;
                    }
                    Advice::Sleep => now_ns = start_ns + length_ns,
                    Advice::GiveUp => break,
                }
            }
            now_ns = now_ns.max(start_ns + length_ns);
            answers.answered(now_ns);
            now_ns += 10_000;
            spun_ns
        };
        waits.into_iter().map(&mut one).collect()
    }

    fn repeated(length_ns: u64, count: usize) -> impl Iterator<Item = u64> {
        std::iter::repeat_n(length_ns, count)
    }

    #[test]
    fn answers_that_come_soon_are_spun_for_to_their_end() {
        let mut answers = AnswerSpin::new(Spin::Learnt);
        let spun = spun_ns(&mut answers, repeated(20_000, 1_000));
        assert!(spun.iter().all(|spun_ns| *spun_ns == 20_000), "{spun:?}");
        // Those just below the bound as well.
        let just_below_ns = ANSWER_SPIN_NS_MAX - 10_000;
        let spun = spun_ns(&mut answers, repeated(just_below_ns, 1_000));
        assert!(spun.iter().all(|spun_ns| *spun_ns == just_below_ns), "{spun:?}");
    }

    #[test]
    fn slow_answers_are_slept_for_after_a_few() {
        for length_ns in [3 * ANSWER_SPIN_NS_MAX / 2, 5 * ANSWER_SPIN_NS_MAX, 50_000_000] {
            let mut answers = AnswerSpin::new(Spin::Learnt);
            let spun = spun_ns(&mut answers, repeated(length_ns, 1_000));
            assert!(
                spun.iter().all(|spun_ns| *spun_ns <= ANSWER_SPIN_NS_MAX),
                "one wait has a bound: {spun:?}"
            );
            let tries = spun.iter().filter(|spun_ns| **spun_ns > 0).count();
            assert!((1..=12).contains(&tries), "{tries} tries at answers after {length_ns} ns");
            assert_eq!(spun[999], 0);
        }
    }

    #[test]
    fn a_worker_that_sleeps_notices_that_answers_have_become_fast() {
        let mut answers = AnswerSpin::new(Spin::Learnt);
        spun_ns(&mut answers, repeated(50_000_000, 100));
        let spun = spun_ns(&mut answers, repeated(60_000, 100));
        let slept = spun.iter().take_while(|spun_ns| **spun_ns == 0).count();
        assert!((1..=12).contains(&slept), "{slept} answers slept through");
        assert_eq!(spun[99], 60_000);
    }

    #[test]
    fn one_late_answer_among_fast_ones_changes_nothing_and_costs_one_bound() {
        let mut answers = AnswerSpin::new(Spin::Learnt);
        let waits = (0..1_000).map(|number| if number % 10 == 9 { 50_000_000 } else { 20_000 });
        let spun = spun_ns(&mut answers, waits);
        assert!(spun.chunks(10).all(|ten| ten[..9].iter().all(|spun_ns| *spun_ns == 20_000)), "{spun:?}");
        assert!(spun.chunks(10).all(|ten| ten[9] <= ANSWER_SPIN_NS_MAX), "{spun:?}");
    }

    #[test]
    fn where_most_answers_are_slow_a_fast_one_now_and_then_changes_nothing() {
        let mut answers = AnswerSpin::new(Spin::Learnt);
        let slow_ns = 5 * ANSWER_SPIN_NS_MAX;
        let waits = (0..1_000).map(|number| if number % 10 == 9 { 20_000 } else { slow_ns });
        let spun = spun_ns(&mut answers, waits);
        assert!(spun[20..].iter().all(|spun_ns| *spun_ns == 0), "{spun:?}");
    }

    #[test]
    fn nothing_expected_is_slept_for_and_not_learnt_from() {
        let mut answers = AnswerSpin::new(Spin::Learnt);
        for second in 1..1_000 {
            assert_eq!(answers.advise(second * 1_000_000_000, 0, false), Advice::Sleep);
            answers.answered(second * 1_000_000_000);
        }
        assert_eq!(answers.mean_ns, 0);
    }

    #[test]
    fn many_expected_at_once_are_slept_for() {
        let mut answers = AnswerSpin::new(Spin::Learnt);
        assert_eq!(answers.advise(1_000, ANSWERS_EXPECTED_MAX, false), Advice::Spin);
        assert_eq!(answers.advise(1_000, ANSWERS_EXPECTED_MAX + 1, false), Advice::Sleep);
    }

    #[test]
    fn what_takes_too_long_is_given_up_once_and_counts_as_slow() {
        let mut answers = AnswerSpin::new(Spin::Learnt);
        assert_eq!(answers.advise(0, 1, false), Advice::Spin);
        assert_eq!(answers.advise(ANSWER_SPIN_NS_MAX, 1, false), Advice::Sleep, "it may still come");
        assert_eq!(answers.advise(50_000_000, 1, false), Advice::GiveUp);
        assert_eq!(answers.mean_ns, COUNTED_NS_MAX / MEAN_WEIGHT);
    }

    #[test]
    fn the_time_of_a_submission_is_not_spun() {
        let mut answers = AnswerSpin::new(Spin::For(50_000));
        assert_eq!(answers.advise(0, 1, true), Advice::Spin);
        assert_eq!(answers.advise(80_000, 1, false), Advice::Spin);
        assert_eq!(answers.advise(129_999, 1, false), Advice::Spin);
        assert_eq!(answers.advise(130_000, 1, false), Advice::GiveUp);
        // A worker that sleeps submits and waits in one call.
        let mut answers = AnswerSpin::new(Spin::Learnt);
        spun_ns(&mut answers, repeated(50_000_000, 100));
        assert_eq!(answers.advise(0, 1, true), Advice::Sleep);
        assert_eq!(answers.since_ns, Some(0));
    }

    #[test]
    fn a_given_time_holds_whatever_answers_take() {
        let mut answers = AnswerSpin::new(Spin::For(50_000));
        let spun = spun_ns(&mut answers, repeated(1_000_000, 100));
        assert!(spun.iter().all(|spun_ns| *spun_ns == 50_000), "{spun:?}");
        let spun = spun_ns(&mut answers, repeated(30_000, 100));
        assert!(spun.iter().all(|spun_ns| *spun_ns == 30_000), "{spun:?}");
        assert_eq!(answers.advise(0, 1_000, false), Advice::Spin, "also for many");
    }

    #[test]
    fn who_may_not_spin_does_not() {
        let mut answers = AnswerSpin::new(Spin::Off);
        assert_eq!(spun_ns(&mut answers, repeated(1_000, 100)), [0; 100]);
    }
}
