//! What is measured under the name of each request, beside the whole. Without names this is empty and costs nothing.

use std::cell::RefCell;

use crate::metrics::{Recorder, Sample};
use crate::plan::Plan;

/// A recorder for each name.
pub(super) struct Names {
    /// The place of each request's recorder; out of range for one without a name.
    places: Box<[usize]>,
    recorders: Box<[RefCell<Recorder>]>,
}

/// What a name gets of the requests that nobody drew.
pub(super) struct Share {
    part: f64,
    /// What it has a right to and did not get yet, as requests are whole.
    owed: f64,
}

impl Names {
    pub(super) fn new(plan: &Plan) -> Self {
        let names = plan.names();
        let place = |name: &str| names.iter().position(|other| *other == name).unwrap_or(usize::MAX);
        let recorder = || RefCell::new(Recorder::new(plan.open_loop().is_some()));
        Self {
            places: plan.requests.iter().map(|request| place(&request.name)).collect(),
            recorders: names.iter().map(|_| recorder()).collect(),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.recorders.is_empty()
    }

    /// The recorder of a request's name.
    pub(super) fn of(&self, request: u32) -> Option<&RefCell<Recorder>> {
        self.recorders.get(*self.places.get(request as usize)?)
    }

    /// Records an answered request under its name. Apart from the caller, as most runs have no names.
    #[inline(never)]
    pub(super) fn completed(&self, request: u32, is_due_when_sent: bool, sample: Sample) {
        if let Some(recorder) = self.of(request) {
            let mut recorder = recorder.borrow_mut();
            if is_due_when_sent {
                recorder.completed_at_once(sample);
            } else {
                recorder.completed(sample);
            }
        }
    }

    pub(super) fn for_each(&self, change: impl Fn(&mut Recorder)) {
        self.recorders.iter().for_each(|recorder| change(&mut recorder.borrow_mut()));
    }

    /// The share of each name in what was drawn.
    pub(super) fn shares(&self) -> Vec<Share> {
        let drawn = |recorder: &RefCell<Recorder>| recorder.borrow().counters().scheduled() as f64;
        let sum: f64 = self.recorders.iter().map(drawn).sum();
        let share = |recorder| Share { part: if sum > 0.0 { drawn(recorder) / sum } else { 0.0 }, owed: 0.0 };
        self.recorders.iter().map(share).collect()
    }

    /// Records `count` requests of the schedule that nobody drew before the end. Nobody knows which they would have been, so
    /// they are divided by the shares of those that were drawn.
    pub(super) fn overdue(&self, shares: &mut [Share], scheduled_ns: u64, ended_ns: u64, count: u64) {
        for (recorder, share) in self.recorders.iter().zip(shares) {
            share.owed += count as f64 * share.part;
            let whole = share.owed.round().max(0.0);
            if whole > 0.0 {
                share.owed -= whole;
                recorder.borrow_mut().overdue(scheduled_ns, ended_ns, whole as u64);
            }
        }
    }

    pub(super) fn into_recorders(self) -> Vec<Recorder> {
        self.recorders.into_iter().map(RefCell::into_inner).collect()
    }
}
