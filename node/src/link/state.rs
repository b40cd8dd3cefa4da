//! What people are told of the way to the control plane: one value that others follow.
//!
//! Owns no connection and no report; whoever fails on the way says so here, and takes it back.

use crate::{arguments::Server, condition::Condition};
use jiff::Timestamp;
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::watch;

/// Kinds of conditions of the way to the control plane; one of each kind at most stands at a time.
pub mod kind {
    /// The node cannot show a certificate: reasons `Missing`, `Unreadable`, `Damaged`, `Expired`, `Refused`, `NotStored`.
    pub const CERTIFICATE: &str = "CertificateUnavailable";
    /// The server's name has no address now; the addresses remembered are used, if there are any.
    pub const RESOLVER: &str = "ResolverUnavailable";
    /// The addresses of the control plane could not be written to the state directory.
    pub const ADDRESSES: &str = "AddressesNotKept";
    /// Another daemon shows the same certificate.
    pub const DUPLICATE: &str = "DuplicateIdentity";
}

/// The way to the control plane, as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkState {
    /// The control plane's API, as it was given.
    pub server: Server,
    /// The control plane has answered, and the stream lasts.
    pub connected: bool,
    /// Since when it is so.
    pub since: Timestamp,
    /// Why the last stream or attempt ended.
    pub last_error: Option<String>,
    /// The wait after that, until the next attempt; `None` while one is made.
    pub retry_in: Option<Duration>,
    /// What is not as it should be, by kind.
    pub conditions: BTreeMap<&'static str, Condition>,
}

/// The state, to be changed and followed. Cheap to clone; clones are one.
#[derive(Clone, Debug)]
pub struct Link(watch::Sender<LinkState>);

impl Link {
    /// Not connected so far.
    pub fn new(server: &Server) -> Self {
        Self(watch::Sender::new(LinkState {
            server: server.clone(),
            connected: false,
            since: Timestamp::now(),
            last_error: None,
            retry_in: None,
            conditions: BTreeMap::new(),
        }))
    }

    /// Follows the state.
    pub fn subscribe(&self) -> watch::Receiver<LinkState> {
        self.0.subscribe()
    }

    /// What is not as it should be, by kind.
    pub fn conditions(&self) -> Vec<Condition> {
        self.0.borrow().conditions.values().cloned().collect()
    }

    /// The control plane has answered.
    pub fn connected(&self) {
        self.0.send_modify(|state| {
            state.connected = true;
            state.since = Timestamp::now();
            state.retry_in = None;
        });
    }

    /// A stream or an attempt ended; another attempt follows after the wait.
    pub fn failed(&self, error: String, retry_in: Duration) {
        self.0.send_modify(|state| {
            if std::mem::take(&mut state.connected) {
                state.since = Timestamp::now();
            }
            state.last_error = Some(error);
            state.retry_in = Some(retry_in);
        });
    }

    /// Another attempt begins.
    pub fn trying(&self) {
        self.0.send_modify(|state| state.retry_in = None);
    }

    /// Says what is not as it should be.
    pub fn set(&self, kind: &'static str, reason: &'static str, message: String) {
        let condition = Condition {
            kind,
            reason,
            message,
        };
        self.0.send_if_modified(|state| {
            if state.conditions.get(kind) == Some(&condition) {
                return false;
            }
            state.conditions.insert(kind, condition);
            true
        });
    }

    /// It is as it should be again.
    pub fn clear(&self, kind: &'static str) {
        self.0
            .send_if_modified(|state| state.conditions.remove(kind).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_says_since_when_it_is_connected_and_what_stands() {
        let server = Server {
            host: "control.example".into(),
            port: 7600,
        };
        let link = Link::new(&server);
        let mut states = link.subscribe();
        link.connected();
        assert!(states.borrow_and_update().connected);
        link.failed("gone".into(), Duration::from_secs(2));
        let lost = states.borrow_and_update().clone();
        assert!(!lost.connected);
        assert_eq!(lost.last_error.as_deref(), Some("gone"));
        assert_eq!(lost.retry_in, Some(Duration::from_secs(2)));
        link.failed("gone again".into(), Duration::from_secs(4));
        assert_eq!(states.borrow_and_update().since, lost.since);
        link.set(kind::RESOLVER, "Failing", "no answer".into());
        link.set(kind::RESOLVER, "Failing", "no answer".into());
        assert_eq!(link.conditions().len(), 1);
        states.mark_unchanged();
        link.clear(kind::DUPLICATE);
        assert!(!states.has_changed().expect("open"), "nothing changed");
        link.clear(kind::RESOLVER);
        assert_eq!(link.conditions(), []);
    }
}
