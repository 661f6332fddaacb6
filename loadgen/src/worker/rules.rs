//! What is asked of the responses to each request of a plan.

use crate::expect::Expect;
use crate::plan::{CaptureFrom, Plan, Scenario};

/// What is asked of a response.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) expect: Option<Expect>,
    /// Whether the body has to be kept.
    pub(super) needs_body: bool,
}

/// The rules of all requests, in the order of the plan.
pub(super) struct AllRules {
    of_each: Box<[Rules]>,
    /// Whether responses have to be seen while they arrive. If only statuses are checked, they do not.
    pub(super) observes: bool,
    /// Whether a response can be other than it should.
    pub(super) checks: bool,
}

impl AllRules {
    pub(super) fn new(plan: &Plan) -> Self {
        let expects = || plan.requests.iter().filter_map(|request| request.expect.as_ref());
        Self {
            observes: expects()
                .any(|expect| expect.needs_head() || expect.needs_body() || expect.needs_size())
                || plan.scenario.as_ref().is_some_and(looks_at_responses),
            checks: expects().next().is_some() || plan.scenario.as_ref().is_some_and(captures),
            of_each: plan
                .requests
                .iter()
                .enumerate()
                .map(|(index, request)| Rules {
                    needs_body: request.expect.as_ref().is_some_and(Expect::needs_body)
                        || plan.scenario.as_ref().is_some_and(|scenario| captures_from_body(scenario, index)),
                    expect: request.expect.clone(),
                })
                .collect(),
        }
    }

    pub(super) fn of(&self, request: u32) -> Option<&Rules> {
        self.of_each.get(request as usize)
    }
}

/// Whether a step takes something from its responses.
fn captures(scenario: &Scenario) -> bool {
    scenario.steps.iter().any(|step| !step.captures.is_empty())
}

/// Whether what a scenario's users do depends on more of a response than its end.
fn looks_at_responses(scenario: &Scenario) -> bool {
    scenario.cookies || captures(scenario) || scenario.steps.iter().any(|step| step.redirects > 0)
}

/// Whether a step takes something from the bodies of its responses.
fn captures_from_body(scenario: &Scenario, step: usize) -> bool {
    let captures = scenario.steps.get(step).into_iter().flat_map(|step| &step.captures);
    captures.into_iter().any(|capture| !matches!(capture.from, CaptureFrom::Header(_)))
}
