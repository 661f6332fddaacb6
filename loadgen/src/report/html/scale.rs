//! Where values stand in a plot, and which of them are written beside its axes.

/// An axis has about this many marks.
const TICKS: f64 = 5.0;
/// A logarithmic axis with more marks than this keeps only the powers of ten.
const LOG_TICKS_MAX: usize = 9;
/// Times that differ by less than this factor are shown from zero upwards.
const LOG_FACTOR_MIN: f64 = 10.0;

/// The marks of an axis of seconds.
const SECONDS: [f64; 18] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0,
    21_600.0, 43_200.0, 86_400.0,
];

/// Maps values to coordinates. Values beyond its ends stand at them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    is_log: bool,
}

impl Scale {
    /// From `from` at `start` to `to` at `end`.
    pub(super) fn linear(from: f64, to: f64, start: f64, end: f64) -> Self {
        let to = if to > from { to } else { from + 1.0 };
        Self { from, to, start, end, is_log: false }
    }

    /// The same with equal distances for equal factors.
    pub(super) fn log(from: f64, to: f64, start: f64, end: f64) -> Self {
        let from = from.max(f64::MIN_POSITIVE);
        let to = if to > from { to } else { from * 2.0 };
        Self { from, to, start, end, is_log: true }
    }

    /// For times from `min` to `max`: logarithmic if they differ much, else from zero.
    pub(super) fn of_times(min: f64, max: f64, start: f64, end: f64) -> Self {
        if min > 0.0 && max / min >= LOG_FACTOR_MIN {
            Self::log(min, max, start, end)
        } else {
            Self::linear(0.0, max * 1.05, start, end)
        }
    }

    /// The coordinate of a value.
    pub(super) fn at(self, value: f64) -> f64 {
        let value = value.clamp(self.from, self.to);
        let share = if self.is_log {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + share * (self.end - self.start)
    }

    /// Round values within its ends.
    pub(super) fn ticks(self) -> Vec<f64> {
        if self.is_log && self.to / self.from >= LOG_FACTOR_MIN {
            let fine = self.powers(&[1.0, 2.0, 5.0]);
            return if fine.len() <= LOG_TICKS_MAX { fine } else { self.powers(&[1.0]) };
        }
        self.multiples(round_step((self.to - self.from) / TICKS))
    }

    /// Round values, if they are seconds.
    pub(super) fn ticks_of_seconds(self) -> Vec<f64> {
        let step = (self.to - self.from) / (TICKS + 1.0);
        if step < 0.5 {
            return self.ticks();
        }
        let last = SECONDS[SECONDS.len() - 1];
        let rounded = SECONDS.into_iter().find(|second| *second >= step);
        self.multiples(rounded.unwrap_or_else(|| (step / last).ceil() * last))
    }

    fn powers(self, steps: &[f64]) -> Vec<f64> {
        let (first, last) = (self.from.log10().floor() as i32, self.to.log10().ceil() as i32);
        let all = (first..=last).flat_map(|power| steps.iter().map(move |step| step * 10.0_f64.powi(power)));
        all.filter(|tick| self.has(*tick)).collect()
    }

    fn multiples(self, step: f64) -> Vec<f64> {
        let first = (self.from / step).ceil();
        // Few, as the step follows from the length.
        (0..32).map(|index| (first + f64::from(index)) * step).filter(|tick| self.has(*tick)).collect()
    }

    fn has(self, tick: f64) -> bool {
        let rounding = 1e-9 * (self.to - self.from);
        (self.from - rounding..=self.to + rounding).contains(&tick)
    }
}

/// 1, 2 or 5 times a power of ten, not less than `step`.
fn round_step(step: f64) -> f64 {
    let power = 10.0_f64.powf(step.max(f64::MIN_POSITIVE).log10().floor());
    let rounded = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    rounded.unwrap_or(10.0) * power
}

/// A coordinate as short as it can be, to a tenth.
pub(super) fn shown(coordinate: f64) -> String {
    let text = format!("{coordinate:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_stand_at_the_ends() {
        for scale in [Scale::linear(2.0, 10.0, 100.0, 20.0), Scale::log(2.0, 10.0, 100.0, 20.0)] {
            assert_eq!((shown(scale.at(2.0)), shown(scale.at(10.0))), ("100".to_owned(), "20".to_owned()));
            assert_eq!((shown(scale.at(0.0)), shown(scale.at(1e300))), ("100".to_owned(), "20".to_owned()));
        }
        assert_eq!(shown(Scale::linear(0.0, 4.0, 0.0, 80.0).at(1.0)), "20");
        assert_eq!(shown(Scale::log(1.0, 10_000.0, 0.0, 80.0).at(10.0)), "20");
    }

    #[test]
    fn marks_are_round() {
        assert_eq!(Scale::linear(0.0, 10.0, 0.0, 1.0).ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(Scale::linear(0.0, 0.0, 0.0, 1.0).ticks().len(), 6, "an empty range is a range of 1");
        assert_eq!(Scale::log(3.0, 300.0, 0.0, 1.0).ticks(), [5.0, 10.0, 20.0, 50.0, 100.0, 200.0]);
        assert_eq!(Scale::log(1.0, 1e6, 0.0, 1.0).ticks().len(), 7, "only powers of ten");
        assert_eq!(Scale::log(100.0, 400.0, 0.0, 1.0).ticks(), [100.0, 200.0, 300.0, 400.0]);
        assert_eq!(Scale::linear(0.0, 90.0, 0.0, 1.0).ticks_of_seconds(), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(Scale::linear(0.0, 400.0, 0.0, 1.0).ticks_of_seconds(), [0.0, 120.0, 240.0, 360.0]);
        assert_eq!(Scale::linear(0.0, 0.4, 0.0, 1.0).ticks_of_seconds().len(), 5);
    }

    #[test]
    fn similar_times_are_shown_from_zero() {
        assert!(!Scale::of_times(1.0, 9.0, 0.0, 1.0).is_log);
        assert!(Scale::of_times(1.0, 10.0, 0.0, 1.0).is_log);
        assert!(!Scale::of_times(0.0, 10.0, 0.0, 1.0).is_log);
    }

    proptest! {
        #[test]
        fn any_range_has_marks_within_it(from in 0.0_f64..1e18, length in 0.0_f64..1e18) {
            for scale in [
                Scale::linear(from, from + length, 0.0, 100.0),
                Scale::log(from, from + length, 0.0, 100.0),
                Scale::of_times(from, from + length, 0.0, 100.0),
            ] {
                for ticks in [scale.ticks(), scale.ticks_of_seconds()] {
                    prop_assert!(ticks.len() <= 32, "{:?} {:?}", scale, ticks);
                    for tick in ticks {
                        prop_assert!((-0.01..=100.01).contains(&scale.at(tick)), "{:?} {}", scale, tick);
                    }
                }
            }
        }
    }
}
