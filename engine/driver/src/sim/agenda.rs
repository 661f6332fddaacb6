//! What the simulation will do and when, and the bell that other threads ring.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::contract::{Event, Handle};

/// Something that happens at a moment of virtual time. A step of a handle that has become stale does nothing.
#[derive(Debug)]
pub(super) enum Step {
    /// The answer to a connect, which is a refusal if so decided.
    Handshake { handle: Handle, refused: bool },
    /// The next segment reaches a stream.
    Arrive(Handle),
    /// A receive or an accept takes what there is.
    CarryOn(Handle),
    /// A receive or an accept that the kernel ended is armed again.
    Rearm(Handle),
    /// A cancel takes effect.
    Cancel { handle: Handle, start: u64 },
    /// A cancel of the send of that number takes effect.
    CancelSend { handle: Handle, number: u64 },
    /// A send hands over what the peer has room for.
    Send(Handle),
    /// The kernel finds receive buffers again.
    BuffersBack,
    /// The connection fails.
    Reset(Handle),
    /// A completion comes out.
    Complete(Handle, Event),
}

/// Steps by time; those of one moment in the order in which they were put down.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    steps: BTreeMap<(u64, u64), Step>,
    count: u64,
}

impl Agenda {
    pub(super) fn at(&mut self, due_ns: u64, step: Step) {
        self.count += 1;
        self.steps.insert((due_ns, self.count), step);
    }

    pub(super) fn next_ns(&self) -> Option<u64> {
        self.steps.first_key_value().map(|(&(due_ns, _), _)| due_ns)
    }

    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<Step> {
        let entry = self.steps.first_entry()?;
        (entry.key().0 <= now_ns).then(|| entry.remove())
    }
}

/// Rung by notifiers, from any thread.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        // A poisoned flag is still a flag.
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Whether it was rung since the last time that somebody asked.
    pub(super) fn take(&self) -> bool {
        std::mem::take(&mut self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until it is rung, at most for `longest`; whether it was.
    pub(super) fn wait(&self, longest: Duration) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rung, _) = self
            .changed
            .wait_timeout_while(rung, longest, |rung| !*rung)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut rung)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The step that [`Agenda::take_due`] gives, by its handle's slot.
    fn due(agenda: &mut Agenda, now_ns: u64) -> Option<u32> {
        match agenda.take_due(now_ns) {
            Some(Step::Arrive(handle)) => Some(handle.slot()),
            None => None,
            Some(step) => panic!("{step:?} was not put down"),
        }
    }

    #[test]
    fn steps_come_when_they_are_due_and_in_their_order() {
        let mut agenda = Agenda::default();
        assert_eq!((agenda.next_ns(), due(&mut agenda, u64::MAX)), (None, None));
        for (slot, due_ns) in [(0, 500), (1, 300), (2, 500), (3, 400), (4, 500)] {
            agenda.at(due_ns, Step::Arrive(Handle::new(slot, 1)));
        }
        assert_eq!((agenda.next_ns(), due(&mut agenda, 299)), (Some(300), None));
        assert_eq!((due(&mut agenda, 300), due(&mut agenda, 300)), (Some(1), None));
        assert_eq!(agenda.next_ns(), Some(400));
        for slot in [3, 0, 2, 4] {
            assert_eq!(due(&mut agenda, 1_000), Some(slot));
        }
        assert_eq!((agenda.next_ns(), due(&mut agenda, u64::MAX)), (None, None));
    }

    #[test]
    fn a_bell_rings_once() {
        let bell = Arc::new(Bell::default());
        assert!(!bell.take() && !bell.wait(Duration::ZERO));
        bell.ring();
        bell.ring();
        assert!(bell.take(), "it was rung");
        assert!(!bell.take(), "somebody has asked");
        bell.ring();
        let long = Duration::from_mins(1);
        assert!(bell.wait(long), "it was rung before");
        assert!(!bell.take(), "somebody has waited");
        let other = Arc::clone(&bell);
        let ringer = std::thread::spawn(move || other.ring());
        assert!(bell.wait(long), "it is rung meanwhile");
        ringer.join().expect("it only rings");
    }
}
