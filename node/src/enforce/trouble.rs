//! What can keep the kernel from being as it should be, and how a refused transaction is told to the control plane.

use super::blame::blame;
use crate::{
    cause::chain,
    enforce::transaction::{Rejection, code},
};
use palisade_netfilter::{CommitError, Failure, Mismatch, ReadError, Unfit};
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
    /// Our tables cannot be read.
    #[error("read our tables")]
    Kernel(#[from] ReadError),
    /// The state directory.
    #[error("state directory")]
    State(#[from] io::Error),
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
    /// The plan could not be sent.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The kernel could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was read back is not what was written.
    #[error("read back: {0}")]
    Mismatch(#[from] Mismatch),
    /// The state directory.
    #[error("state directory: {0}")]
    State(#[from] io::Error),
}

impl Trouble {
    /// The answer to the control plane: the items at fault, as far as they are known. `view` is the one refused.
    pub(super) fn reject(&self, view: Option<&View>, change: &Change) -> Rejection {
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
            code: if items.is_empty() {
                code::INTERNAL
            } else {
                code::INVALID_ARGUMENT
            },
            message: chain(self),
            items,
            want_snapshot: false,
        }
    }
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
    /// The machine's fault, not the view's.
    pub fn internal(message: &str) -> Self {
        Self {
            code: code::INTERNAL,
            message: message.to_owned(),
            items: Vec::new(),
            want_snapshot: false,
        }
    }
}
