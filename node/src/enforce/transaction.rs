//! A transaction of the view, as the control plane sends it, and what becomes of it.

use palisade_policy::{item::ItemId, view::Position};
use palisade_proto::v1;

/// `google.rpc.Code` values that the node uses.
pub mod code {
    /// The view's content is refused.
    pub const INVALID_ARGUMENT: i32 = 3;
    /// It does not build on what is held.
    pub const FAILED_PRECONDITION: i32 = 9;
    /// The machine cannot, for now; nothing is wrong with the view.
    pub const UNAVAILABLE: i32 = 14;
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
