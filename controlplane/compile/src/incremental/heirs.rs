//! Who inherits labels from which profile, whether or not it exists.

use palisade_model::{Name, ResourceId};
use std::collections::{BTreeMap, BTreeSet};

/// Profiles with those that name them.
#[derive(Default)]
pub(crate) struct Heirs {
    of: BTreeMap<Name, BTreeSet<ResourceId>>,
    ancestors: BTreeMap<ResourceId, Vec<Name>>,
}

impl Heirs {
    /// Those that name a profile.
    pub(crate) fn of(&self, profile: &Name) -> impl Iterator<Item = &ResourceId> {
        self.of.get(profile).into_iter().flatten()
    }

    /// What a resource inherits from now.
    pub(crate) fn set(&mut self, heir: &ResourceId, ancestors: &[Name]) {
        let old = match ancestors {
            [] => self.ancestors.remove(heir),
            _ if self.ancestors.get(heir).is_some_and(|old| old == ancestors) => return,
            _ => self.ancestors.insert(heir.clone(), ancestors.to_vec()),
        };
        for profile in old.iter().flatten() {
            if let Some(heirs) = self.of.get_mut(profile) {
                heirs.remove(heir);
                if heirs.is_empty() {
                    self.of.remove(profile);
                }
            }
        }
        for profile in ancestors {
            let heirs = self.of.entry(profile.clone()).or_default();
            heirs.insert(heir.clone());
        }
    }
}
