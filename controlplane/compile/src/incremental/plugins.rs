//! Plugins that are there, and who names them.

use crate::plugin::{Matchers, compile_plugin, plugin_id};
use palisade_model::{Name, PluginKind, PluginSpec, Resource, Spec};
use palisade_policy::{ids::PolicyId, item::ItemId, table::Item, wire::Body};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// All plugins whose components are stored.
#[derive(Default)]
pub(crate) struct Plugins {
    known: BTreeMap<Name, Known>,
    /// Policies that name a plugin, whether it is there or not.
    users: BTreeMap<Name, BTreeSet<PolicyId>>,
}

struct Known {
    spec: PluginSpec,
    item: Arc<Item>,
}

impl Matchers for Plugins {
    fn plugin(&self, name: &Name) -> Option<&PluginSpec> {
        self.known.get(name).map(|known| &known.spec)
    }
}

impl Plugins {
    /// Takes a plugin in, or out with `None`. Gives whether it is or was an auditor, which all nodes run.
    pub(crate) fn set(&mut self, name: &Name, resource: Option<&Arc<Resource>>) -> bool {
        let known = resource.and_then(|resource| match &resource.spec {
            Spec::Plugin(spec) => Known::new(name, spec),
            _ => None,
        });
        let is_auditor = known.as_ref().is_some_and(Known::is_auditor);
        let old = match known {
            Some(known) => self.known.insert(name.clone(), known),
            None => self.known.remove(name),
        };
        is_auditor || old.is_some_and(|old| old.is_auditor())
    }

    /// A policy names these plugins now, and others no longer.
    pub(crate) fn rename(
        &mut self,
        user: &PolicyId,
        before: &BTreeSet<Name>,
        now: &BTreeSet<Name>,
    ) {
        for name in before.difference(now) {
            if let Some(users) = self.users.get_mut(name) {
                users.remove(user);
                if users.is_empty() {
                    self.users.remove(name);
                }
            }
        }
        for name in now.difference(before) {
            let users = self.users.entry(name.clone()).or_default();
            users.insert(user.clone());
        }
    }

    /// Policies that name a plugin.
    pub(crate) fn users(&self, name: &Name) -> Vec<PolicyId> {
        let users = self.users.get(name).into_iter().flatten();
        users.cloned().collect()
    }

    /// The item of a matcher.
    pub(crate) fn matcher(&self, name: &Name) -> Option<&Arc<Item>> {
        let known = self.known.get(name).filter(|known| !known.is_auditor());
        known.map(|known| &known.item)
    }

    /// The items of all auditors.
    pub(crate) fn auditors(&self) -> impl Iterator<Item = &Arc<Item>> {
        let auditors = self.known.values().filter(|known| known.is_auditor());
        auditors.map(|known| &known.item)
    }
}

impl Known {
    fn new(name: &Name, spec: &PluginSpec) -> Option<Self> {
        let body = Body::Plugin(Arc::new(compile_plugin(spec)?));
        Some(Self {
            spec: spec.clone(),
            item: Arc::new(Item::new(ItemId::from(&plugin_id(name)), &body)),
        })
    }

    fn is_auditor(&self) -> bool {
        self.spec.kind == PluginKind::Auditor
    }
}
