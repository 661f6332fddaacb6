//! The sessions that a client can resume.
//!
//! rustls has such a store too, with 8 tickets for each server. A ticket of TLS 1.3 is used once, so a client that opens
//! a thousand connections to one server at a time needs a thousand tickets to resume all of them. This store has one
//! limit for all servers together instead, and takes the newest ticket first.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// The sessions of all servers, at most `sessions_max` of them, which must be at least 1. Each further server takes the
/// place of one, as it may have a session of TLS 1.2.
pub(super) struct SessionCache {
    sessions_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    servers: HashMap<ServerName<'static>, Sessions>,
    /// The servers in the order in which they came.
    order: VecDeque<ServerName<'static>>,
    /// The TLS 1.3 tickets of all servers.
    tickets: usize,
}

#[derive(Default)]
struct Sessions {
    group: Option<NamedGroup>,
    /// A session of TLS 1.2 can be resumed any number of times, so one is enough.
    tls12: Option<Tls12ClientSessionValue>,
    /// The newest at the back.
    tickets: VecDeque<Tls13ClientSessionValue>,
}

impl SessionCache {
    pub(super) fn new(sessions_max: usize) -> Self {
        Self { sessions_max, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No operation leaves a half-done change behind that matters, so a panic elsewhere does not end resumption.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn edit(&self, name: &ServerName<'static>, edit: impl FnOnce(&mut Sessions)) {
        let mut state = self.state();
        let state = &mut *state;
        if !state.servers.contains_key(name) {
            state.order.push_back(name.clone());
        }
        let sessions = state.servers.entry(name.clone()).or_default();
        let before = sessions.tickets.len();
        edit(sessions);
        state.tickets = state.tickets + sessions.tickets.len() - before;
        // One server and one ticket always fit.
        while state.servers.len() + state.tickets > self.sessions_max.saturating_add(1) {
            state.forget_one();
        }
    }
}

impl State {
    /// Forgets the oldest ticket of the server that came first; if it has none, the server.
    fn forget_one(&mut self) {
        let Some(first) = self.order.front() else { return };
        if self.servers.get_mut(first).and_then(|sessions| sessions.tickets.pop_front()).is_some() {
            self.tickets -= 1;
        } else {
            self.servers.remove(first);
            self.order.pop_front();
        }
    }
}

impl ClientSessionStore for SessionCache {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.edit(&name, |sessions| sessions.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.state().servers.get(name).and_then(|sessions| sessions.group)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.edit(&name, |sessions| sessions.tls12 = Some(value));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.state().servers.get(name).and_then(|sessions| sessions.tls12.clone())
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        if let Some(sessions) = self.state().servers.get_mut(name) {
            sessions.tls12 = None;
        }
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.edit(&name, |sessions| sessions.tickets.push_back(value));
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut state = self.state();
        let ticket = state.servers.get_mut(name)?.tickets.pop_back()?;
        state.tickets -= 1;
        Some(ticket)
    }
}

impl fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The sessions are secret.
        f.debug_struct("SessionCache").field("sessions_max", &self.sessions_max).finish_non_exhaustive()
    }
}
