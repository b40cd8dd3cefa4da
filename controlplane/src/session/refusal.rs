//! What a Nack teaches: which items are at fault, or that the view as a whole is.

use super::Memory;
use palisade_policy::{
    digest::ItemHash,
    item::{ItemId, ItemKind},
    table::ItemTable,
};
use palisade_proto::v1;

/// An item that a node refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    /// Of the content that was refused.
    pub(super) hash: ItemHash,
    /// What the node said.
    pub(super) reason: String,
}

impl Refused {
    /// Whether the latest view still has the item as it was refused.
    pub(super) fn stands(&self, id: &ItemId, latest: &ItemTable) -> bool {
        latest.get(id).is_some_and(|item| item.hash() == self.hash)
    }
}

impl Memory {
    /// Takes note of a Nack of `sent`. Items count only as they stand in the latest view: if a Nack names none that can
    /// be replaced, the whole view is held back, so that the same bytes are not sent again and again.
    pub(super) fn reject(&mut self, sent: &ItemTable, latest: Option<&ItemTable>, nack: &v1::Nack) {
        let known = self.acknowledged.is_some() || !self.held_before;
        let mut learnt = false;
        for error in &nack.items {
            let Some(kind) = ItemKind::from_number(error.kind) else {
                continue;
            };
            let id = ItemId::new(kind, error.id.as_str());
            let Some(hash) = sent.get(&id).map(|item| item.hash()) else {
                continue;
            };
            let is_latest = latest
                .and_then(|l| l.get(&id))
                .is_some_and(|i| i.hash() == hash);
            // Of a substitute that is refused too, nothing better is known.
            let fresh = !self.refused.contains_key(&id);
            if kind == ItemKind::Config && self.acknowledged.is_none() {
                continue;
            }
            if is_latest && fresh && known {
                let reason = text(error.status.as_ref());
                self.refused.insert(id, Refused { hash, reason });
                learnt = true;
            } else if !is_latest {
                // It changed meanwhile: the next transaction carries another version.
                learnt |= latest.is_some_and(|l| l.digest() != sent.digest()) && fresh;
            }
        }
        if !learnt {
            self.held_back = Some((sent.digest(), summary(nack)));
        }
    }
}

fn summary(nack: &v1::Nack) -> String {
    let whole = text(nack.status.as_ref());
    match nack.items.first() {
        Some(item) => format!("{whole}: `{}`: {}", item.id, text(item.status.as_ref())),
        None => whole,
    }
}

fn text(status: Option<&palisade_proto::google::rpc::Status>) -> String {
    status.map_or_else(
        || "refused without a reason".to_owned(),
        |s| s.message.clone(),
    )
}
