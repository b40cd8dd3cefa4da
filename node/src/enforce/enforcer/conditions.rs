//! What people are told of a node whose kernel, disk or machine is not as it should be.
//!
//! Owns words, and no decision: what is tried again, and when, is the enforcer's.

use super::{Enforcer, Kernel, Observed, Positions, Trouble};
use crate::{cause::chain, condition::Condition};
use palisade_policy::view::Position;
use std::io;

impl<K: Kernel> Enforcer<K> {
    /// What is to be reported.
    pub fn observed(&self) -> Observed {
        let mut conditions = self.remarks.clone();
        conditions.extend(self.trouble.clone());
        conditions.extend(self.foreign.clone());
        conditions.extend(self.deaf.then(deaf));
        conditions.extend(self.of_the_machine.values().cloned());
        conditions.extend(self.store.trouble().map(not_durable));
        conditions.sort();
        Observed {
            environment: self.environment.clone(),
            endpoints: self.endpoints.clone(),
            conditions,
        }
    }

    /// Something of this machine is not as it should be, or is again.
    pub fn set_condition(&mut self, kind: &'static str, condition: Option<Condition>) {
        match condition {
            Some(condition) => {
                if self.of_the_machine.get(kind) != Some(&condition) {
                    let Condition {
                        reason, message, ..
                    } = &condition;
                    tracing::warn!(kind, reason, message, "new condition");
                }
                self.of_the_machine.insert(kind, condition);
            }
            None => drop(self.of_the_machine.remove(kind)),
        }
    }

    /// Whether changes by others are not heard of.
    pub fn set_deaf(&mut self, deaf: bool) {
        self.deaf = deaf;
    }

    /// The foreign change is old news.
    pub fn forget_foreign(&mut self) {
        self.foreign = None;
    }

    pub(super) fn note_trouble(&mut self, trouble: &Trouble) {
        let message = chain(trouble);
        let Positions { have, enforced } = self.positions();
        // What is acknowledged is enforced all the same.
        let reason = if self.pending.is_some() && enforced == have {
            tracing::error!(err = %message, "a change waits; what was acknowledged is enforced; it is tried again");
            "MachineFault"
        } else {
            tracing::error!(err = %message, "policy is not known to be enforced; it is tried again");
            "NotEnforced"
        };
        self.trouble = Some(Condition {
            kind: "Degraded",
            reason,
            message,
        });
    }
}

pub(super) fn lost(newer: &Position, at: Option<&Position>) -> Condition {
    let readable = at.map_or_else(
        || "no saved view can be read".to_owned(),
        |at| {
            format!(
                "the newest saved view that can be read is revision {}",
                at.revision
            )
        },
    );
    Condition {
        kind: "Degraded",
        reason: "SavedViewLost",
        message: format!(
            "the kernel has the rules of revision {}, and {readable}: the rules stay as they are until the control \
             plane sends a view",
            newer.revision
        ),
    }
}

fn not_durable(err: &io::Error) -> Condition {
    // Only what was read at start is called so; the system has no such error.
    let (reason, message) = if err.kind() == io::ErrorKind::InvalidData {
        (
            "SavedViewDamaged",
            format!(
                "{err}: what is enforced, if anything is, may be older than what was acknowledged, until the control plane \
                 sends a change or the disk can be read again"
            ),
        )
    } else {
        (
            "StateDirectory",
            format!(
                "the state directory cannot be written ({err}): changes of policy wait, and a reboot enforces what was \
                 saved before; it is tried again"
            ),
        )
    };
    Condition {
        kind: "NotDurable",
        reason,
        message,
    }
}

fn deaf() -> Condition {
    Condition {
        kind: "Degraded",
        reason: "NotHeard",
        message: "the kernel does not tell of changes by other programs; it is asked to again, and then everything is read"
            .to_owned(),
    }
}
