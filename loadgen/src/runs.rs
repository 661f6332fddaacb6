//! Many runs, one after the other, that can be ended from any thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::plan::Plan;
use crate::progress::Display;
use crate::result::RunResult;
use crate::run::{Run, Stopper};

/// Runs one plan after the other, without a display of their own.
#[derive(Clone, Debug)]
pub struct Runs {
    notice: fn(&str),
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    is_stopped: bool,
    current: Option<Stopper>,
}

impl Runs {
    /// `notice` is called with each line that the user should see. Each run may say the same again.
    pub fn new(notice: fn(&str)) -> Self {
        Self { notice, state: Arc::default() }
    }

    /// Ends the current run and all that would follow; false if that was asked for before. For a clone on another
    /// thread.
    pub fn stop(&self) -> bool {
        let mut state = self.state();
        if let Some(stopper) = &state.current {
            stopper.stop();
        }
        !std::mem::replace(&mut state.is_stopped, true)
    }

    /// Whether they have been ended.
    pub fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// Runs `plan` to its end. `None` if it was ended early: then it may be too short to mean anything.
    ///
    /// # Errors
    /// As [`Run::new`] and [`Run::execute`].
    pub fn run(&self, plan: Plan) -> Result<Option<RunResult>, Error> {
        let run = Run::new(plan, Display::Silent, None, self.notice)?;
        {
            let mut state = self.state();
            if state.is_stopped {
                return Ok(None);
            }
            state.current = Some(run.stopper());
        }
        let outcome = run.execute();
        let mut state = self.state();
        state.current = None;
        match outcome {
            // Also an error can come from being ended.
            Ok(_) | Err(Error::Interrupted | Error::NothingConnected { .. }) if state.is_stopped => Ok(None),
            Ok(result) => Ok(Some(result)),
            Err(error) => Err(error),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stopped_runs_no_more() {
        let runs = Runs::new(|_| ());
        assert!(!runs.is_stopped());
        assert!(runs.clone().stop() && !runs.stop());
        let plan = Plan::for_url("http://127.0.0.1:1/").expect("valid");
        assert!(runs.run(plan).expect("nothing is tried").is_none());
    }
}
