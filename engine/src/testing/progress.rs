//! How far a script has been played, shared by its player, its network and the test.

use std::cell::{Cell, Ref, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use super::excerpt::Excerpt;
use super::script::{Action, Script, Step};

/// The state of one script.
#[derive(Debug)]
pub(super) struct Progress {
    /// Who plays it, for messages.
    name: String,
    steps: Vec<Step>,
    /// The current step. All steps have been played when it is their number.
    at: Cell<usize>,
    is_connected: Cell<bool>,
    /// Whether it does not matter any more what the peer does.
    ignores: Cell<bool>,
    /// Everything that was received.
    received: RefCell<Vec<u8>>,
    /// How much of `received` the steps have consumed.
    consumed: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

impl Progress {
    pub(super) fn new(name: String, script: Script) -> Self {
        Self {
            name,
            steps: script.steps,
            at: Cell::new(0),
            is_connected: Cell::new(false),
            ignores: Cell::new(false),
            received: RefCell::default(),
            consumed: Cell::new(0),
            waiting: RefCell::default(),
        }
    }

    pub(super) fn connected(&self) {
        self.is_connected.set(true);
    }

    pub(super) fn step(&self) -> Option<&Step> {
        self.steps.get(self.at.get())
    }

    /// Goes on to the next step.
    pub(super) fn advance(&self) {
        self.at.set(self.at.get() + 1);
        if self.is_played() {
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Notes that it does not matter any more what the peer does.
    pub(super) fn ignore_rest(&self) {
        self.ignores.set(true);
    }

    pub(super) fn ignores(&self) -> bool {
        self.ignores.get()
    }

    /// Whether the connection was made and all steps that matter have been played.
    pub(super) fn is_played(&self) -> bool {
        self.is_connected.get() && (self.ignores() || self.at.get() == self.steps.len())
    }

    pub(super) async fn played(&self) {
        poll_fn(|context| {
            if self.is_played() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(super) fn received(&self) -> Ref<'_, Vec<u8>> {
        self.received.borrow()
    }

    /// What was received and not consumed yet.
    pub(super) fn unread(&self) -> Ref<'_, [u8]> {
        Ref::map(self.received.borrow(), |received| &received[self.consumed.get()..])
    }

    pub(super) fn receive(&self, bytes: &[u8]) {
        self.received.borrow_mut().extend_from_slice(bytes);
    }

    pub(super) fn consume(&self, size: usize) {
        self.consumed.set(self.consumed.get() + size);
    }
}

/// Writes who is at which step: the beginning of each message about a script.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, steps, .. } = self;
        match self.step() {
            _ if !self.is_connected.get() => write!(f, "{name}: was not connected"),
            None => write!(f, "{name}: behind its last step"),
            Some(Step { action, place }) => {
                let (number, count) = (self.at.get() + 1, steps.len());
                write!(f, "{name}: at step {number} of {count}, `{action}` ({place})")
            }
        }
    }
}

/// Writes what a script waits for that is not at its end.
pub(super) struct Unplayed<'p>(pub(super) &'p Progress);

impl fmt::Display for Unplayed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unread = self.0.unread();
        write!(f, "{}", self.0)?;
        if let Some(Step { action: Action::Expect(bytes), .. }) = self.0.step() {
            write!(f, "\n  expected: {}", Excerpt { bytes, around: unread.len() })?;
        }
        write!(f, "\n  came:     {}, and no more", Excerpt { bytes: &unread, around: unread.len() })
    }
}
