//! What a lowering leaves behind for the next one.

use super::{
    selector::{Selectors, set_name},
    tier::{LoweredTier, Touched},
};
use crate::ir::{Ruleset, TableName};
use palisade_policy::{
    fault::ItemFault,
    ids::{PolicyId, SetId},
    rule::Family,
    view::View,
};
use std::collections::HashMap;

/// Answers of the last lowering, so that the next one costs what changed. Dropping it costs time, never correctness.
#[derive(Debug, Default)]
pub struct LowerCache {
    pub(super) selectors: Selectors,
    pub(super) tiers: Tiers,
    /// All that the last view led to is remembered.
    whole: bool,
}

/// Tiers by their places.
#[derive(Debug, Default)]
pub(super) struct Tiers {
    known: HashMap<String, Remembered>,
    round: u64,
}

#[derive(Debug)]
struct Remembered {
    tier: Box<LoweredTier>,
    round: u64,
}

impl Tiers {
    /// What was lowered at a place.
    pub(super) fn take(&mut self, place: &str) -> Option<Box<LoweredTier>> {
        self.known.remove(place).map(|known| known.tier)
    }

    pub(super) fn keep(&mut self, tier: Box<LoweredTier>) {
        let round = self.round;
        let place = tier.place().to_owned();
        self.known.insert(place, Remembered { tier, round });
    }
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
        self.whole = false;
        self.tiers.round += 1;
    }

    /// Forgets tiers that the round did not meet.
    pub(super) fn end(&mut self, faults: &[ItemFault]) {
        let round = self.tiers.round;
        self.tiers.known.retain(|_, tier| tier.round == round);
        self.selectors.retain();
        self.whole = faults.is_empty();
    }

    /// Brings the tiers that were lowered up to policies that became others, and says what that touches.
    ///
    /// `None`: the view must be lowered.
    pub(crate) fn patch<'a>(
        &mut self,
        view: &View,
        changed: impl Iterator<Item = &'a PolicyId> + Clone,
    ) -> Option<Touched> {
        if !std::mem::take(&mut self.whole) {
            return None;
        }
        let mut touched = Touched::default();
        let mut broken = None;
        for (place, known) in &mut self.tiers.known {
            let tier = &mut known.tier;
            if changed.clone().any(|id| tier.is_beyond(id, view)) {
                return None;
            }
            let replaced = |id| tier.replacement(id, view.policies.get(id)?);
            let edits: Vec<_> = changed.clone().filter_map(replaced).collect();
            let patched = edits.is_empty()
                || tier
                    .patch(view, &mut self.selectors, edits, &mut touched)
                    .is_some();
            if !patched {
                broken = Some(place.clone());
                break;
            }
        }
        if let Some(place) = broken {
            self.tiers.known.remove(&place);
            return None;
        }
        self.whole = true;
        Some(touched)
    }
}
