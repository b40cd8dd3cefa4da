//! Nodes whose views wait, because rows that may affect them cannot be read.
//!
//! A frozen node keeps what it acknowledged. The hub keeps the view that was its latest when it froze, if there was one,
//! at the revision that it was good for: that view was compiled when every row could be read.

use super::{Hub, Node};
use crate::{session::Compiled, unreadable::Rows};
use palisade_proto::v1;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard},
};

/// Which nodes are frozen, by what.
#[derive(Default)]
pub(super) struct Freeze {
    rows: Arc<Rows>,
    /// Each with the revision that its view was last good for.
    nodes: BTreeMap<Arc<str>, u64>,
}

// === impl Hub ===

impl Hub {
    pub(super) fn frozen(&self) -> RwLockReadGuard<'_, Freeze> {
        self.freeze.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn frozen_mut(&self) -> RwLockWriteGuard<'_, Freeze> {
        self.freeze.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows that cannot be read.
    pub fn unreadable(&self) -> Arc<Rows> {
        Arc::clone(&self.frozen().rows)
    }

    /// Why the node is frozen, in words; `None` if it is not.
    pub fn frozen_by(&self, name: &str) -> Option<String> {
        let condition = self.frozen().condition(name)?;
        Some(condition.message)
    }

    /// The revision that the view of a node is good for.
    pub fn good_for(&self, name: &str, view: &Compiled) -> u64 {
        let frozen = self.frozen().good_for(name);
        view.revision.max(frozen.unwrap_or_else(|| self.compiled()))
    }

    /// A node that was only listed because it was frozen.
    pub(super) fn forget_without_view(&self, name: &str) {
        let has_view = |node: &Arc<Node>| node.view.borrow().is_some();
        if self.find(name).is_some_and(|node| !has_view(&node)) {
            self.forget_view(name);
        }
    }
}

// === impl Freeze ===

impl Freeze {
    /// Whether every view there is may be affected.
    pub(super) fn is_whole(&self) -> bool {
        self.rows.concern_everybody()
    }

    /// The revision that the view of a frozen node is good for; `None` if it is not frozen.
    pub(super) fn good_for(&self, node: &str) -> Option<u64> {
        self.nodes.get(node).copied()
    }

    /// Freezes these nodes too, which are good for `compiled`.
    pub(super) fn begin(&mut self, rows: Arc<Rows>, nodes: &BTreeSet<Arc<str>>, compiled: u64) {
        self.rows = rows;
        for node in nodes {
            self.nodes.entry(Arc::clone(node)).or_insert(compiled);
        }
    }

    /// Frees all nodes but these; gives those that it frees.
    pub(super) fn end(&mut self, nodes: &BTreeSet<Arc<str>>) -> Vec<Arc<str>> {
        let (kept, freed) = std::mem::take(&mut self.nodes)
            .into_iter()
            .partition(|(name, _)| nodes.contains(name));
        self.nodes = kept;
        freed.into_keys().collect()
    }

    /// Whether nobody knows what the node should have: a row concerns it, or its view is on its way since none does.
    pub(super) fn concerns(&self, node: &str) -> bool {
        self.nodes.contains_key(node) || self.rows.concern(node)
    }

    /// What is said of a node.
    pub(super) fn condition(&self, node: &str) -> Option<v1::Condition> {
        let told = self.rows.sentence_for(node);
        (!told.is_empty()).then(|| v1::Condition {
            r#type: "Frozen".to_owned(),
            reason: "UnreadableRow".to_owned(),
            message: format!(
                "the node keeps the view that it has, if it has one, and is sent none that lacks a row: {told}"
            ),
        })
    }
}
