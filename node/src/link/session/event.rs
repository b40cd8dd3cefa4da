//! What happens to a session, and what it wants done.

use crate::enforce::transaction::{Outcome, Transaction};
use palisade_policy::{fault::FieldFault, view::Position};
use palisade_proto::v1;
use std::time::Duration;

/// What happens to a session.
#[derive(Debug)]
pub enum Event {
    /// The control plane said something.
    Message(v1::StreamViewResponse),
    /// The transaction handed on is decided.
    Decided {
        /// How.
        outcome: Outcome,
        /// What the kernel is known to enforce now.
        enforced: Option<Position>,
    },
    /// The inventory asked for.
    Inventory(v1::Inventory),
    /// The node sees something new.
    Report {
        /// All but `enforced`.
        report: v1::NodeReport,
        /// What the kernel is known to enforce now.
        enforced: Option<Position>,
    },
    /// Time went by.
    Tick,
}

/// What a session wants done.
#[expect(
    clippy::large_enum_variant,
    reason = "a session gives one or two, and they are performed at once"
)]
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Say this.
    Send(v1::StreamViewRequest),
    /// Enforce this, then tell the outcome.
    Apply(Transaction),
    /// The view held counts as this position from now on.
    Unchanged(Position),
    /// Make an inventory of what is held.
    MakeInventory,
    /// End the stream; policy stays.
    Close(Closed),
}

/// What a stream was good for, in growing order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Life {
    /// Nothing; a Welcome alone is nothing.
    Brief,
    /// It acknowledged a transaction, or held a complete view for [`super::GOOD_AFTER`].
    Good,
    /// It lasted for [`super::UNCONTESTED_AFTER`]: no other daemon with our identity is about.
    Uncontested,
}

/// Why a session ends.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Closed {
    /// Nothing heard for too long.
    #[error("the control plane was silent for {0:?}")]
    Silence(Duration),
    /// It offered a view older than the one held.
    #[error("revision {offered} was offered, {held} is held in the same epoch")]
    WentBack {
        /// By the control plane.
        offered: u64,
        /// By this node.
        held: u64,
    },
    /// It chose a schema that this version does not read.
    #[error("schema {0} is not one that this version reads")]
    Schema(u32),
    /// A message out of turn.
    #[error("{0}")]
    OutOfTurn(&'static str),
    /// A position that is none.
    #[error("position: {0}")]
    Position(FieldFault),
}
