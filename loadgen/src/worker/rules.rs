//! What is asked of the responses to each request of a plan.

use crate::expect::Expect;
use crate::plan::Plan;

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
                .any(|expect| expect.needs_head() || expect.needs_body() || expect.needs_size()),
            checks: expects().next().is_some(),
            of_each: plan
                .requests
                .iter()
                .map(|request| Rules {
                    needs_body: request.expect.as_ref().is_some_and(Expect::needs_body),
                    expect: request.expect.clone(),
                })
                .collect(),
        }
    }

    pub(super) fn of(&self, request: u32) -> Option<&Rules> {
        self.of_each.get(request as usize)
    }
}
