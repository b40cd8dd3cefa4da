//! Views of tracked nodes, put together from items that all nodes share.

use super::{Dirty, endpoints::Endpoints, policies::Policies, sets::Sets};
use crate::{
    config::{Settings, node_config},
    world::World,
};
use palisade_model::Name;
use palisade_policy::{
    item::ItemId,
    table::{Item, ItemTable},
    wire::Body,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Tracked nodes.
#[derive(Default)]
pub(crate) struct Nodes {
    nodes: BTreeMap<Name, State>,
}

struct State {
    table: ItemTable,
    log_prefix: String,
}

impl Nodes {
    pub(crate) fn track(
        &mut self,
        node: &Name,
        world: &World,
        endpoints: &Endpoints,
        policies: &mut Policies,
        sets: &Sets,
    ) -> &ItemTable {
        let state = self.nodes.entry(node.clone()).or_insert_with(|| {
            let mut state = State {
                table: ItemTable::new(),
                log_prefix: String::new(),
            };
            state.configure(node, world);
            state.gather(node, endpoints, policies, sets);
            state
        });
        &state.table
    }

    pub(crate) fn forget(&mut self, node: &Name) {
        self.nodes.remove(node);
    }

    /// Brings all views up to date; gives the nodes whose view is another now.
    pub(crate) fn update(
        &mut self,
        world: &World,
        endpoints: &Endpoints,
        policies: &mut Policies,
        sets: &Sets,
        dirty: &Dirty,
    ) -> BTreeSet<Name> {
        let mut affected = BTreeSet::new();
        for (node, state) in &mut self.nodes {
            let before = state.table.digest();
            let relogged = dirty.settings && state.configure(node, world);
            let has = |id: &ItemId| state.table.get(id).is_some();
            let regather = relogged
                || dirty.auditors
                || dirty.nodes.contains(node)
                || dirty.references.iter().any(|id| has(&id.into()));
            if regather {
                state.gather(node, endpoints, policies, sets);
            } else {
                state.refresh(policies, sets, dirty);
            }
            if state.table.digest() != before {
                affected.insert(node.clone());
            }
        }
        affected
    }
}

impl State {
    /// Whether the log prefix is another now.
    fn configure(&mut self, node: &Name, world: &World) -> bool {
        let settings = Settings::of(world, node);
        let body = Body::Config(Arc::new(node_config(world, &settings)));
        self.table
            .insert(Arc::new(Item::new(ItemId::config(), &body)));
        let relogged = self.log_prefix != settings.log_prefix();
        if relogged {
            settings.log_prefix().clone_into(&mut self.log_prefix);
        }
        relogged
    }

    /// Replaces items that are there already: what refers to what is unchanged.
    fn refresh(&mut self, policies: &mut Policies, sets: &Sets, dirty: &Dirty) {
        for id in &dirty.rules {
            if self.table.get(&id.into()).is_some()
                && let Some(item) = policies.item(id, &self.log_prefix)
            {
                self.table.insert(item);
            }
        }
        for id in &dirty.set_members {
            if self.table.get(&id.into()).is_some()
                && let Some(item) = sets.item(id)
            {
                self.table.insert(Arc::clone(item));
            }
        }
    }

    /// Walks from the endpoints to everything they refer to.
    fn gather(&mut self, node: &Name, endpoints: &Endpoints, policies: &mut Policies, sets: &Sets) {
        let mut wanted: BTreeMap<ItemId, Arc<Item>> = BTreeMap::new();
        let mut want = |item: &Arc<Item>| wanted.insert(item.id().clone(), Arc::clone(item));
        let mut named = BTreeSet::new();
        let mut members = BTreeSet::new();
        for endpoint in endpoints.of_node(node) {
            want(&endpoint.item);
            for class in &endpoint.classes {
                if want(&class.item).is_none() {
                    named.extend(&class.policies);
                }
            }
        }
        for id in &named {
            if let Some(item) = policies.item(id, &self.log_prefix) {
                want(&item);
            }
        }
        for id in &named {
            policies.matchers(id).for_each(|item| drop(want(item)));
        }
        policies.auditors().for_each(|item| drop(want(item)));
        for id in named {
            members.extend(policies.sets(id));
        }
        for item in members.into_iter().filter_map(|id| sets.item(id)) {
            want(item);
        }
        wanted.extend(
            self.table
                .get(&ItemId::config())
                .map(|config| (ItemId::config(), Arc::clone(config))),
        );
        let gone: Vec<ItemId> = self
            .table
            .iter()
            .map(|item| item.id())
            .filter(|id| !wanted.contains_key(id))
            .cloned()
            .collect();
        for id in &gone {
            self.table.remove(id);
        }
        for item in wanted.into_values() {
            self.table.insert(item);
        }
    }
}
