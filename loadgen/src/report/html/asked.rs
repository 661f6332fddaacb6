//! The rate over time that a plan asks for.

use crate::result::PlanSummary;

/// A rate over time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// A second and the rate at it, in order; straight lines between them.
    pub(super) places: Vec<(f64, f64)>,
}

impl Asked {
    /// What `plan` asks for until `end_s`. `None` in a closed loop, and for a replay, whose times the result does not hold.
    pub(super) fn of(plan: &PlanSummary, end_s: f64) -> Option<Self> {
        let mut places: Vec<(f64, f64)> = Vec::new();
        let mut at_s = 0.0;
        for stage in &plan.stages {
            let left_s = end_s - at_s;
            if left_s <= 0.0 {
                break;
            }
            let whole_s = stage.duration_s.unwrap_or(left_s).max(0.0);
            let part = if whole_s > left_s { left_s / whole_s } else { 1.0 };
            let end_rate = stage.rate + (stage.rate_end - stage.rate) * part;
            if places.last() != Some(&(at_s, stage.rate)) {
                places.push((at_s, stage.rate));
            }
            at_s += whole_s.min(left_s);
            places.push((at_s, end_rate));
        }
        (!places.is_empty()).then_some(Self { places })
    }

    /// The highest rate.
    pub(super) fn most(&self) -> f64 {
        self.places.iter().map(|(_, rate)| *rate).fold(0.0, f64::max)
    }

    /// The rate at a second; 0 after the last stage.
    pub(super) fn at(&self, second: f64) -> f64 {
        let pair = self.places.windows(2).find(|pair| pair[0].0 <= second && second <= pair[1].0);
        let Some([(from_s, from), (to_s, to)]) = pair else { return 0.0 };
        if to_s > from_s { from + (to - from) * (second - from_s) / (to_s - from_s) } else { *to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::StageSummary;

    fn plan(stages: &[(Option<f64>, f64, f64)]) -> PlanSummary {
        let mut plan = crate::result::tests::example().plan;
        let stage = |(duration_s, rate, rate_end): &(Option<f64>, f64, f64)| StageSummary {
            duration_s: *duration_s,
            rate: *rate,
            rate_end: *rate_end,
        };
        plan.stages = stages.iter().map(stage).collect();
        plan
    }

    #[test]
    fn stages_follow_each_other_until_the_end() {
        let spike = plan(&[(Some(2.0), 10.0, 10.0), (Some(4.0), 10.0, 50.0), (Some(9.0), 5.0, 5.0)]);
        let asked = Asked::of(&spike, 20.0).expect("it has stages");
        assert_eq!(asked.places, [(0.0, 10.0), (2.0, 10.0), (6.0, 50.0), (6.0, 5.0), (15.0, 5.0)]);
        for (second, rate) in [(1.0, 10.0), (4.0, 30.0), (10.0, 5.0), (19.0, 0.0)] {
            assert!((asked.at(second) - rate).abs() < 1e-9, "{second}");
        }
        // Ended early, in the middle of the ramp.
        let early = Asked::of(&spike, 4.0).expect("it has stages");
        assert_eq!(early.places, [(0.0, 10.0), (2.0, 10.0), (4.0, 30.0)]);
        assert!((early.most() - 30.0).abs() < 1e-9);
        // Until a number of requests is reached.
        let endless = Asked::of(&plan(&[(None, 7.0, 7.0)]), 3.0).expect("it has a stage");
        assert_eq!(endless.places, [(0.0, 7.0), (3.0, 7.0)]);
        assert_eq!(Asked::of(&plan(&[]), 3.0), None);
    }
}
