//! Numbers of the kernel that the daemon listens at and could not bind: queues, the group that rules log to. People are
//! told while it lasts; the threads that want them try again by themselves.

use crate::condition::Condition;
use palisade_netfilter::{nflog::Log, queue::Queue};
use std::{collections::BTreeMap, io};
use tokio::sync::watch;

/// What is bound.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Number {
    /// Packets that rules ask plugins about (NFQUEUE).
    Queue(u16),
    /// Packets that rules log for auditors (NFLOG).
    Group(u16),
}

/// Cheap to clone; clones are one.
#[derive(Clone, Debug, Default)]
pub struct BindFailures(watch::Sender<BTreeMap<Number, Condition>>);

// === impl BindFailures ===

impl BindFailures {
    /// It was tried in vain. Logged once for each cause.
    pub fn failed(&self, number: Number, err: &io::Error) {
        let condition = number.condition(err, number.holder().map(program));
        self.0.send_if_modified(|known| {
            let changed = known.get(&number) != Some(&condition);
            if changed {
                let Condition {
                    reason, message, ..
                } = &condition;
                tracing::warn!(reason, %err, message, "not bound");
                known.insert(number, condition);
            }
            changed
        });
    }

    /// It is bound, or nobody wants it any more.
    pub fn settled(&self, number: Number) {
        self.forget(|other| other == number);
    }

    /// Nobody wants such numbers any more.
    pub fn forget(&self, which: impl Fn(Number) -> bool) {
        self.0.send_if_modified(|known| {
            let before = known.len();
            known.retain(|number, _| !which(*number));
            known.len() != before
        });
    }

    /// What people are told, by number.
    pub fn conditions(&self) -> Vec<Condition> {
        self.0.borrow().values().cloned().collect()
    }

    /// Wakes when that changes.
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<Number, Condition>> {
        self.0.subscribe()
    }
}

// === impl Number ===

impl Number {
    /// The port of whoever has it.
    fn holder(self) -> Option<u32> {
        let holder = match self {
            Self::Queue(number) => Queue::holder(number),
            Self::Group(group) => Log::holder(group),
        };
        // Unknown is as good as nobody: the error then speaks for itself.
        holder.ok().flatten()
    }

    fn condition(self, err: &io::Error, holder: Option<String>) -> Condition {
        let (kind, name, without) = match self {
            Self::Queue(number) => (
                "PluginsUnavailable",
                format!("NFQUEUE {number}"),
                "no plugin is asked, and the failure policy of each condition decides",
            ),
            Self::Group(group) => (
                "AuditUnavailable",
                format!("NFLOG group {group}"),
                "auditors and `flows` miss what rules deny, log and let through",
            ),
        };
        let (reason, message) = match holder {
            Some(holder) => (
                "NumberTaken",
                format!(
                    "{name} is bound by {holder}: {without}; end that program, or give it another \
                     number: this one is bound as soon as it is free"
                ),
            ),
            None => (
                "NotBound",
                format!("{name} cannot be bound ({err}): {without}; it is tried again"),
            ),
        };
        Condition {
            kind,
            reason,
            message,
        }
    }
}

/// The program behind a netlink port, which most often is its pid.
fn program(port: u32) -> String {
    match std::fs::read_to_string(format!("/proc/{port}/comm")) {
        Ok(name) => format!(
            "another program, by its port `{}` (pid {port})",
            name.trim()
        ),
        Err(_) => format!("another program (netlink port {port})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_told_of_with_its_cause_until_it_is_bound_or_unwanted() {
        let bind_failures = BindFailures::default();
        let mut changes = bind_failures.subscribe();
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        bind_failures.failed(Number::Queue(7601), &denied);
        bind_failures.failed(Number::Group(7600), &denied);
        let told = bind_failures.conditions();
        let kinds: Vec<_> = told.iter().map(|told| (told.kind, told.reason)).collect();
        assert_eq!(
            kinds,
            [
                ("PluginsUnavailable", "NotBound"),
                ("AuditUnavailable", "NotBound")
            ]
        );
        assert!(told[0].message.contains("NFQUEUE 7601"));
        assert!(told[1].message.contains("NFLOG group 7600"));

        // The same again is no news.
        changes.mark_unchanged();
        bind_failures.failed(Number::Queue(7601), &denied);
        assert!(!changes.has_changed().expect("there"));
        bind_failures.settled(Number::Queue(7601));
        assert!(changes.has_changed().expect("there"));
        bind_failures.forget(|number| matches!(number, Number::Group(_)));
        assert_eq!(bind_failures.conditions(), []);
    }

    #[test]
    fn a_number_that_is_taken_names_the_program() {
        let err = io::Error::from(io::ErrorKind::ResourceBusy);
        let me = program(std::process::id());
        let told = Number::Queue(7603).condition(&err, Some(me));
        assert_eq!(told.reason, "NumberTaken");
        let pid = format!("(pid {})", std::process::id());
        assert!(told.message.contains(&pid), "{}", told.message);
    }
}
