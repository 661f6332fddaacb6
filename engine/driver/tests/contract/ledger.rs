//! Book-keeping of what a caller has started, so that every completion can be checked against it: exactly once, and
//! nothing after `Closed`. It knows no driver; it is told what was called and what came.

use std::collections::HashMap;

use ringtide_driver::{Completion, Event, Handle, ReceiveEnd, SendBuffer};

/// What is under way on each handle.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: HashMap<Handle, Account>,
}

/// What is under way on one handle.
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
    /// Skip-success sends of which nothing has been told: each may fail once, or have to wait and go on as an ordinary send.
    pub(crate) skip_success: u32,
    /// A send was refused because of a skip-success one, of which something has to be told then.
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
    /// A new handle came back from a call.
    pub(crate) fn open(&mut self, handle: Handle, account: Account) {
        let before = self.accounts.insert(handle, account);
        assert!(before.is_none(), "{handle:?} was given twice: {before:?}");
    }

    /// What is under way on `handle`, which is open.
    pub(crate) fn at(&mut self, handle: Handle) -> &mut Account {
        self.accounts.get_mut(&handle).unwrap_or_else(|| panic!("{handle:?} is not open"))
    }

    /// The account of `handle`, if it is open.
    pub(crate) fn get(&self, handle: Handle) -> Option<&Account> {
        self.accounts.get(&handle)
    }

    /// How many handles are open.
    pub(crate) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// `cancel` was called.
    pub(crate) fn cancel(&mut self, handle: Handle) {
        if let Some(account) = self.accounts.get_mut(&handle) {
            account.cancelled = account.receiving || account.accepting;
        }
    }

    /// `cancel_send` was called.
    pub(crate) fn cancel_send(&mut self, handle: Handle) {
        if let Some(account) = self.accounts.get_mut(&handle) {
            account.send_cancelled = account.sending || account.skip_success_refused;
        }
    }

    /// Checks that `completion` answers something that is under way, and books it.
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
            // A skip-success send that succeeded has told nobody, so it stays on the account. When both kinds may have failed, it is
            // the buffer that tells: skip-success sends have constant ones.
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
                // Those before it were taken.
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
