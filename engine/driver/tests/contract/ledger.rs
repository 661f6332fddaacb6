//! A record of the operations that a caller has started. It checks every completion: each operation ends exactly once,
//! and nothing comes after `Closed`.
//!
//! It does not use a driver. The test reports the calls and the completions to it.

use std::collections::HashMap;

use ringtide_driver::{Completion, Event, Handle, ReceiveEnd, SendBuffer};

/// The operations that are under way on each handle.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: HashMap<Handle, Account>,
}

/// The operations that are under way on one handle.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "operations that are under way independently of each other"
)]
pub(crate) struct Account {
    pub(crate) connecting: bool,
    pub(crate) receiving: bool,
    pub(crate) accepting: bool,
    pub(crate) sending: bool,
    /// How many skip-success sends have had no event. Each may still fail, or wait and continue as an ordinary send.
    pub(crate) skip_success: u32,
    /// A call was refused because a skip-success send has to wait. The driver must report that send.
    pub(crate) skip_success_refused: bool,
    pub(crate) polling: bool,
    pub(crate) closing: bool,
    /// The receive or accept under way was cancelled.
    pub(crate) cancelled: bool,
    /// The send under way was cancelled.
    pub(crate) send_cancelled: bool,
}

impl Account {
    pub(crate) fn start_receive(&mut self) {
        self.receiving = true;
        self.cancelled = false;
    }

    pub(crate) fn start_accept(&mut self) {
        self.accepting = true;
        self.cancelled = false;
    }
}

impl Ledger {
    /// Records a new handle that a call has returned.
    pub(crate) fn open(&mut self, handle: Handle, account: Account) {
        let before = self.accounts.insert(handle, account);
        assert!(before.is_none(), "{handle:?} was given twice: {before:?}");
    }

    /// Returns the account of `handle`, which must be open.
    pub(crate) fn at(&mut self, handle: Handle) -> &mut Account {
        self.accounts.get_mut(&handle).unwrap_or_else(|| panic!("{handle:?} is not open"))
    }

    /// Returns the account of `handle` if it is open.
    pub(crate) fn get(&self, handle: Handle) -> Option<&Account> {
        self.accounts.get(&handle)
    }

    /// Returns how many handles are open.
    pub(crate) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Records a call of `cancel`.
    pub(crate) fn cancel(&mut self, handle: Handle) {
        if let Some(account) = self.accounts.get_mut(&handle) {
            account.cancelled = account.receiving || account.accepting;
        }
    }

    /// Records a call of `cancel_send`.
    pub(crate) fn cancel_send(&mut self, handle: Handle) {
        if let Some(account) = self.accounts.get_mut(&handle) {
            account.send_cancelled = account.sending || account.skip_success_refused;
        }
    }

    /// Checks that `completion` belongs to something that is under way, and records it.
    pub(crate) fn observe(&mut self, completion: &Completion) {
        let handle = completion.handle;
        let Some(account) = self.accounts.get_mut(&handle) else {
            panic!("an event of a handle that is gone: {completion:?}");
        };
        assert!(
            !account.closing || matches!(completion.event, Event::Closed),
            "after close comes Closed alone: {completion:?}"
        );
        if matches!(completion.event, Event::SendWaits | Event::Sent(..)) {
            account.skip_success_refused = false;
        }
        let expected = match &completion.event {
            Event::Connected(_) => std::mem::take(&mut account.connecting),
            Event::Accepted(_) => account.accepting,
            Event::AcceptEnded(None) => account.cancelled && std::mem::take(&mut account.accepting),
            Event::AcceptEnded(Some(_)) => std::mem::take(&mut account.accepting),
            Event::Received(lease) => account.receiving && !lease.is_empty(),
            Event::ReceiveEnded(ReceiveEnd::Cancelled) => {
                account.cancelled && std::mem::take(&mut account.receiving)
            }
            Event::ReceiveEnded(_) => std::mem::take(&mut account.receiving),
            // A skip-success send that succeeded has no event, so it stays in the count. If both kinds of send may have
            // failed, the buffer tells them apart: only skip-success sends have static ones.
            Event::Sent(Err(_), SendBuffer::Static(_)) if account.skip_success > 0 => {
                account.skip_success -= 1;
                true
            }
            Event::Sent(result, buffer) => {
                let cancelled = std::mem::take(&mut account.send_cancelled);
                let cut_well = result.as_ref().err().is_none_or(|cut| {
                    let by_cancel = cut.error.raw_os_error() == Some(libc::ECANCELED);
                    (cut.sent_size < buffer.len() || buffer.is_empty()) && (cancelled || !by_cancel)
                });
                cut_well && std::mem::take(&mut account.sending)
            }
            Event::SendWaits => {
                let waits = account.skip_success > 0 && !account.sending;
                // The kernel took the skip-success sends before this one.
                account.skip_success = 0;
                account.sending = true;
                waits
            }
            Event::Polled(_) => account.polling,
            Event::Closed => account.closing,
        };
        assert!(expected, "nothing is under way that this could answer: {completion:?}, {account:?}");
        match completion.event {
            Event::Polled(_) | Event::Closed => drop(self.accounts.remove(&handle)),
            Event::Accepted(stream) => self.open(stream, Account::default()),
            _ => {}
        }
    }
}
