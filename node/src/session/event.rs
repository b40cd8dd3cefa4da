//! What happens to a session, and what it wants done.

use palisade_policy::{fault::FieldFault, item::ItemId, view::Position};
use palisade_proto::v1;
use std::time::Duration;

/// `google.rpc.Code` values that the node uses.
pub mod code {
    /// The view's content is refused.
    pub const INVALID_ARGUMENT: i32 = 3;
    /// It does not build on what is held.
    pub const FAILED_PRECONDITION: i32 = 9;
    /// The machine failed.
    pub const INTERNAL: i32 = 13;
}

/// A transaction, complete.
#[derive(Clone, PartialEq, Debug)]
pub struct Transaction {
    /// The whole view, or a change of it.
    pub kind: v1::TransactionKind,
    /// Where it leads.
    pub to: Position,
    /// In order.
    pub ops: Vec<v1::ViewOp>,
}

/// What became of a transaction.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Enforced, read back, on disk.
    Applied {
        /// From commit received to read-back done.
        micros: u64,
    },
    /// Not enforced; what was enforced before still is.
    Rejected(Rejection),
}

/// Why a transaction was refused.
#[derive(Clone, PartialEq, Debug)]
pub struct Rejection {
    /// `code` of the whole.
    pub code: i32,
    /// For people.
    pub message: String,
    /// Items at fault, each with its reason.
    pub items: Vec<(ItemId, String)>,
    /// A snapshot may help.
    pub want_snapshot: bool,
}

/// What happens to a session.
#[derive(Debug)]
pub enum Event {
    /// The control plane said something.
    Message(v1::StreamViewResponse),
    /// The transaction handed on is decided.
    Decided(Outcome),
    /// The inventory asked for.
    Inventory(v1::Inventory),
    /// The node sees something new.
    Report(v1::NodeReport),
    /// Time went by.
    Tick,
}

/// What a session wants done.
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
