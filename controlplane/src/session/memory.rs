//! What is known of a node, beyond one stream: what it acknowledged, what it refused, what it reported.

use super::{fault::Fault, refusal::Refused, substitute::substitute};
use palisade_policy::{
    item::ItemId,
    table::ItemTable,
    view::{Digest, Position},
};
use palisade_proto::v1;
use std::collections::BTreeMap;

/// Knowledge about a node; kept in memory only, and learnt anew from the node's Hello.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The view that the node last acknowledged, with its items.
    pub acknowledged: Option<(Position, ItemTable)>,
    /// What the node's kernel enforces, as it last said in a Hello, an Ack, a Nack or a report. `None`: nothing, or the
    /// node does not know.
    pub enforced: Option<Position>,
    /// The node held a view when its stream began.
    pub(super) held_before: bool,
    /// What the node last reported of itself.
    pub report: Option<v1::NodeReport>,
    /// As in its Hello.
    pub agent_version: String,
    /// Duration of the last apply.
    pub apply_micros: u64,
    /// A transaction is unanswered for long.
    pub lagging: bool,
    /// Items the node refused, until they change.
    pub(super) refused: BTreeMap<ItemId, Refused>,
    /// A view that the node refused as a whole; it is not sent again.
    pub(super) held_back: Option<(Digest, String)>,
    /// The node's machine failed at a view, which is sent again after a while.
    pub(super) fault: Option<Fault>,
}

impl Memory {
    /// Whether the node runs on something other than what is desired, because it refused that or its machine failed.
    pub fn is_degraded(&self) -> bool {
        !self.refused.is_empty() || self.held_back.is_some() || self.fault.is_some()
    }

    /// What the control plane has to say about the node, whose latest view may not have come to its stream yet: what was
    /// refused of an older one and has changed since is no longer so.
    pub fn conditions(&self, latest: Option<&ItemTable>) -> Vec<v1::Condition> {
        let condition = |kind: &str, reason: &str, message: String| v1::Condition {
            r#type: kind.to_owned(),
            reason: reason.to_owned(),
            message,
        };
        let mut conditions = Vec::new();
        let items = self
            .refused
            .iter()
            .filter(|(id, refused)| latest.is_none_or(|latest| refused.stands(id, latest)))
            .map(|(id, refused)| format!("{id}: {}", refused.reason));
        let whole = self.held_back.iter().map(|(_, reason)| reason.clone());
        let text: Vec<String> = items.chain(whole).collect();
        if !text.is_empty() {
            conditions.push(condition("Degraded", "Rejected", text.join("; ")));
        }
        if let Some(fault) = &self.fault {
            conditions.push(condition("Degraded", "MachineFault", fault.reason.clone()));
        }
        if self.lagging {
            let text = "a transaction has not been answered for a minute".to_owned();
            conditions.push(condition("Lagging", "Unanswered", text));
        }
        conditions
    }

    /// A new stream begins: the node may judge otherwise now (another kernel, another version).
    pub(super) fn forgive(&mut self) {
        self.refused.clear();
        self.held_back = None;
        self.fault = None;
        self.lagging = false;
    }

    /// Drops refusals of items that have changed or gone since; whether there were any.
    pub(super) fn forget_cured(&mut self, latest: &ItemTable) -> bool {
        let before = self.refused.len();
        self.refused
            .retain(|id, refused| refused.stands(id, latest));
        self.refused.len() != before
    }

    /// The view with refused items replaced; `None` if that cannot be done.
    pub(super) fn acceptable(&self, latest: &ItemTable) -> Option<ItemTable> {
        let is_refused = |id: &ItemId| {
            let refused = self.refused.get(id)?;
            (latest.get(id)?.hash() == refused.hash).then_some(())
        };
        if !self.refused.keys().any(|id| is_refused(id).is_some()) {
            return Some(latest.clone());
        }
        let acknowledged = self.acknowledged.as_ref().map(|(_, table)| table);
        substitute(latest, acknowledged, |id| is_refused(id).is_some())
    }

    /// Whether the node refused this very view as a whole. A view that differs frees the way.
    pub(super) fn holds_back(&mut self, digest: &Digest) -> bool {
        let held = self
            .held_back
            .as_ref()
            .is_some_and(|(held, _)| held == digest);
        if !held {
            self.held_back = None;
        }
        held
    }
}
