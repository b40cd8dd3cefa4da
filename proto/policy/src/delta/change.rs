//! What a transaction changed.

use crate::{
    ids::{ClassId, EndpointId, PluginId, PolicyId, SetId},
    item::{ItemId, ItemKind},
    set::Member,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Which items a transaction changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// The config is another.
    pub config: bool,
    /// Added, replaced or removed.
    pub endpoints: BTreeSet<EndpointId>,
    /// Added, replaced or removed.
    pub classes: BTreeSet<ClassId>,
    /// Added, replaced or removed.
    pub policies: BTreeSet<PolicyId>,
    /// Added, replaced or removed.
    pub plugins: BTreeSet<PluginId>,
    /// Each with what happened to it.
    pub sets: BTreeMap<SetId, SetChange>,
}

impl Change {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn touch(&mut self, id: &ItemId, what: SetChange) {
        let text = Arc::clone(&id.id);
        match id.kind {
            ItemKind::Config => self.config = true,
            ItemKind::Endpoint => drop(self.endpoints.insert(EndpointId::new(text))),
            ItemKind::Class => drop(self.classes.insert(ClassId::new(text))),
            ItemKind::Policy => drop(self.policies.insert(PolicyId::new(text))),
            ItemKind::Plugin => drop(self.plugins.insert(PluginId::new(text))),
            ItemKind::Set => drop(self.sets.insert(SetId::new(text), what)),
        }
    }

    /// Only members of sets changed: no rule, class or endpoint did.
    pub fn is_members_only(&self) -> bool {
        let patched = |change: &SetChange| matches!(change, SetChange::Patched { .. });
        !self.config
            && self.endpoints.is_empty()
            && self.classes.is_empty()
            && self.policies.is_empty()
            && self.plugins.is_empty()
            && self.sets.values().all(patched)
    }
}

/// What happened to a set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SetChange {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has other members.
    Replaced,
    /// A few members came and went.
    Patched {
        /// Sorted.
        add: Vec<Member>,
        /// Sorted.
        remove: Vec<Member>,
    },
}
