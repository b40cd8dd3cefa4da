//! What a lowering leaves behind for the next one.

use super::{
    selector::{Selectors, set_name},
    tier::{LoweredTier, TierContent},
};
use crate::ir::{Ruleset, TableName};
use palisade_policy::{ids::SetId, rule::Family, view::View};
use std::{collections::HashMap, sync::Arc};

/// Answers of the last lowering, so that the next one costs what changed. Dropping it costs time, never correctness.
#[derive(Debug, Default)]
pub struct LowerCache {
    pub(super) selectors: Selectors,
    tiers: HashMap<String, Remembered>,
    round: u64,
}

#[derive(Debug)]
struct Remembered {
    content: TierContent,
    lowered: Arc<LoweredTier>,
    round: u64,
}

impl LowerCache {
    /// Nothing remembered.
    pub fn new() -> Self {
        Self::default()
    }

    /// After [`crate::patch::lower_members`] was applied: the kernel's sets stand for the view's again, so that the next
    /// lowering does not make them anew.
    pub fn remember_members<'a>(
        &mut self,
        view: &View,
        ruleset: &Ruleset,
        sets: impl IntoIterator<Item = &'a SetId>,
    ) {
        // Of two tables with one set the main one's is kept: it is the larger table.
        let tables = [TableName::Raw, TableName::Main].map(|name| ruleset.tables.get(&name));
        for id in sets {
            for (family, interval) in [
                (Family::V4, false),
                (Family::V4, true),
                (Family::V6, false),
                (Family::V6, true),
            ] {
                let name = set_name(id, family, interval);
                for set in tables.iter().flatten().filter_map(|t| t.sets.get(&name)) {
                    self.selectors.remember(view, id, family, set);
                }
            }
        }
    }

    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// Forgets tiers that the round did not meet.
    pub(super) fn end(&mut self) {
        let round = self.round;
        self.tiers.retain(|_, tier| tier.round == round);
        self.selectors.retain();
    }

    /// What was lowered at a place: the same again, or something to start from.
    pub(super) fn tier(&mut self, place: &str, content: &TierContent) -> Found {
        match self.tiers.get_mut(place) {
            Some(tier) if tier.content == *content => {
                tier.round = self.round;
                Found::Same(Arc::clone(&tier.lowered))
            }
            Some(tier) if tier.content.is_kin(content) => Found::Kin(Arc::clone(&tier.lowered)),
            _ => Found::Nothing,
        }
    }

    pub(super) fn keep(&mut self, place: &str, content: TierContent, lowered: &Arc<LoweredTier>) {
        let remembered = Remembered {
            content,
            lowered: Arc::clone(lowered),
            round: self.round,
        };
        self.tiers.insert(place.to_owned(), remembered);
    }
}

/// What the cache knows of a tier.
pub(super) enum Found {
    /// Lowered before, from the same.
    Same(Arc<LoweredTier>),
    /// Lowered before, with other policies: its buckets can be taken over.
    Kin(Arc<LoweredTier>),
    /// New.
    Nothing,
}
