//! What can keep the kernel from being as it should be, and how a refused transaction is told to the control plane.

use super::blame::blame;
use crate::{
    cause::chain,
    enforce::transaction::{Rejection, code},
};
use palisade_netfilter::{CommitError, Failure, Mismatch, OwnError, ReadError, Unfit};
use palisade_policy::{
    delta::Change,
    fault::{ItemFault, Refusal},
    item::ItemId,
    view::View,
};
use palisade_ruleset::plan::Plan;
use std::io;

/// Why a start failed. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another program owns our tables.
    #[error("own our tables")]
    Taken(#[source] OwnError),
    /// Another process uses the state directory.
    #[error("use the state directory")]
    InUse(#[source] io::Error),
    /// A thread, a runtime or a socket cannot be made.
    #[error("start the enforcer")]
    Machine(#[from] io::Error),
}

/// Why the kernel is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Items of the view cannot be lowered.
    #[error("{} items cannot be lowered", .0.len())]
    Faults(Vec<ItemFault>),
    /// The kernel refused the plan.
    #[error("the kernel refused {}", .failures.first().map_or_else(String::new, ToString::to_string))]
    Refused {
        /// Not empty.
        failures: Vec<Failure>,
        /// What was refused.
        plan: Plan,
    },
    /// The plan cannot be put into messages; nothing was sent.
    #[error("operation {op} of the plan: {reason}")]
    Unfit {
        /// Index in the plan.
        op: usize,
        /// Why.
        reason: Unfit,
        /// What cannot be sent.
        plan: Plan,
    },
    /// The plan could not be sent, or its answer was lost.
    #[error("commit a transaction")]
    Commit(#[source] CommitError),
    /// The kernel could not be read.
    #[error("read our tables")]
    Read(#[from] ReadError),
    /// What was read back is not what was written.
    #[error("read back")]
    Mismatch(#[source] Mismatch),
    /// Others changed our tables during every attempt.
    #[error("our tables kept changing while they were written")]
    Contended,
    /// The state directory.
    #[error("state directory")]
    State(#[from] io::Error),
}

impl Trouble {
    /// Whether the machine is at fault, and not what the view says: the same may succeed later.
    pub(super) fn is_of_the_machine(&self) -> bool {
        match self {
            Self::Faults(_) | Self::Unfit { .. } => false,
            Self::Refused { failures, .. } => failures.iter().any(|f| is_passing(f.errno)),
            Self::Commit(_)
            | Self::Read(_)
            | Self::Mismatch(_)
            | Self::Contended
            | Self::State(_) => true,
        }
    }

    /// The answer to the control plane: the items at fault, as far as they are known. `view` is the one refused.
    pub(super) fn reject(&self, view: Option<&View>, change: &Change) -> Rejection {
        if self.is_of_the_machine() {
            return Rejection::unavailable(&chain(self));
        }
        let items = match (self, view) {
            (Self::Faults(faults), _) => named(faults),
            (Self::Refused { failures, plan }, Some(view)) => {
                let spots = failures
                    .iter()
                    .map(|failure| (failure.op, failure.element, failure.to_string()));
                blame(view, change, plan, spots)
            }
            (Self::Unfit { op, reason, plan }, Some(view)) => {
                blame(view, change, plan, [(Some(*op), None, reason.to_string())])
            }
            _ => Vec::new(),
        };
        Rejection {
            code: code::INVALID_ARGUMENT,
            message: chain(self),
            items,
            want_snapshot: false,
        }
    }
}

/// Errors that say something of the machine at this moment: memory, descriptors, time, rights. All others are about what was
/// asked for.
fn is_passing(errno: i32) -> bool {
    use rustix::io::Errno;
    const PASSING: [Errno; 14] = [
        Errno::NOMEM,
        Errno::NOBUFS,
        Errno::INTR,
        Errno::AGAIN,
        Errno::NOSPC,
        Errno::MFILE,
        Errno::NFILE,
        Errno::IO,
        Errno::TIMEDOUT,
        Errno::BUSY,
        Errno::PERM,
        Errno::ACCESS,
        Errno::CANCELED,
        // Somebody else's transaction came between (`NFNL_BATCH_GENID`), or a module is being loaded.
        Errno::from_raw_os_error(85),
    ];
    PASSING
        .iter()
        .any(|passing| passing.raw_os_error() == errno)
}

fn named(faults: &[ItemFault]) -> Vec<(ItemId, String)> {
    faults
        .iter()
        .map(|fault| (fault.item.clone(), fault.reason.to_string()))
        .collect()
}

/// A transaction that does not become a view.
pub(super) fn refused(refusal: &Refusal) -> Rejection {
    let items = match refusal {
        Refusal::Items(faults) => named(faults),
        Refusal::Operation(_) | Refusal::OutOfStep(_) => Vec::new(),
    };
    Rejection {
        code: if refusal.wants_snapshot() {
            code::FAILED_PRECONDITION
        } else {
            code::INVALID_ARGUMENT
        },
        message: refusal.to_string(),
        items,
        want_snapshot: refusal.wants_snapshot(),
    }
}

impl Rejection {
    /// The machine's fault, not the view's: the same may succeed later.
    pub fn unavailable(message: &str) -> Self {
        Self {
            code: code::UNAVAILABLE,
            message: message.to_owned(),
            items: Vec::new(),
            want_snapshot: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errnos: &[i32]) -> Trouble {
        let failure = |errno: &i32| Failure {
            op: None,
            element: None,
            errno: *errno,
            message: "a rule".to_owned(),
        };
        Trouble::Refused {
            failures: errnos.iter().map(failure).collect(),
            plan: Plan::default(),
        }
    }

    #[test]
    fn only_what_the_kernel_says_of_the_content_is_the_views_fault() {
        // ENOMEM, ENOBUFS, EINTR, ENOSPC, EMFILE, ENFILE, EIO, ETIMEDOUT, ERESTART
        for errno in [12, 105, 4, 28, 24, 23, 5, 110, 85] {
            let trouble = refused(&[errno]);
            assert!(trouble.is_of_the_machine(), "{errno}");
            let rejection = trouble.reject(None, &Change::default());
            assert_eq!(rejection.code, code::UNAVAILABLE);
            assert_eq!(rejection.items, []);
        }
        // EINVAL, EOPNOTSUPP, EEXIST, ENOENT, E2BIG, EMLINK
        for errno in [22, 95, 17, 2, 7, 31] {
            assert!(!refused(&[errno]).is_of_the_machine(), "{errno}");
        }
        // What comes with a fault of the machine may follow from it.
        assert!(refused(&[12, 2]).is_of_the_machine());
    }
}
