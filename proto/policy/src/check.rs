//! References between items: what makes a collection of valid items a valid view.

use crate::{
    class::{Class, ClassProfile, Direction, PolicyList},
    endpoint::Endpoint,
    fault::{ItemFault, Reason},
    ids::{PluginId, SetId},
    item::ItemId,
    plugin::PluginKind,
    rule::{EntityMatch, Policy},
    view::View,
    wire::Body,
};
use std::sync::Arc;

impl View {
    /// Everything that breaks the invariant of views, ordered by item.
    pub fn check(&self) -> Vec<ItemFault> {
        self.bodies()
            .filter_map(|(item, body)| {
                self.check_body(&body)
                    .map(|reason| ItemFault { item, reason })
            })
            .collect()
    }

    /// Items that are not sets, ordered by kind and id.
    pub fn bodies(&self) -> impl Iterator<Item = (ItemId, Body)> + '_ {
        let config = (ItemId::config(), Body::Config(Arc::clone(&self.config)));
        let endpoints = self
            .endpoints
            .iter()
            .map(|(id, endpoint)| (id.into(), Body::Endpoint(Arc::clone(endpoint))));
        let classes = self
            .classes
            .iter()
            .map(|(id, class)| (id.into(), Body::Class(Arc::clone(class))));
        let policies = self
            .policies
            .iter()
            .map(|(id, policy)| (id.into(), Body::Policy(Arc::clone(policy))));
        let plugins = self
            .plugins
            .iter()
            .map(|(id, plugin)| (id.into(), Body::Plugin(Arc::clone(plugin))));
        std::iter::once(config)
            .chain(endpoints)
            .chain(classes)
            .chain(policies)
            .chain(plugins)
    }

    /// The first thing wrong with what an item refers to.
    pub(crate) fn check_body(&self, body: &Body) -> Option<Reason> {
        match body {
            Body::Config(_) | Body::Plugin(_) => None,
            Body::Endpoint(endpoint) => self.check_endpoint(endpoint),
            Body::Class(class) => self.check_class(class),
            Body::Policy(policy) => set_ids(policy)
                .find(|id| !self.sets.contains_key(id))
                .map(|id| Reason::Dangling(id.into()))
                .or_else(|| self.check_plugins(policy)),
        }
    }

    fn check_plugins(&self, policy: &Policy) -> Option<Reason> {
        plugin_ids(policy).find_map(|id| match self.plugins.get(id) {
            None => Some(Reason::Dangling(id.into())),
            Some(plugin) if plugin.kind != PluginKind::Matcher => Some(Reason::Mismatch(id.into())),
            Some(_) => None,
        })
    }

    fn check_endpoint(&self, endpoint: &Endpoint) -> Option<Reason> {
        for direction in [Direction::Ingress, Direction::Egress] {
            if !endpoint
                .classes
                .contains_key(&(PolicyList::Normal, direction))
            {
                return Some(Reason::NoNormalClass);
            }
        }
        endpoint
            .classes
            .iter()
            .find_map(|(&(list, direction), id)| match self.classes.get(id) {
                None => Some(Reason::Dangling(id.into())),
                Some(class)
                    if (class.list, class.direction, class.endpoint)
                        != (list, direction, endpoint.kind) =>
                {
                    Some(Reason::Mismatch(id.into()))
                }
                Some(_) => None,
            })
    }

    fn check_class(&self, class: &Class) -> Option<Reason> {
        let policies = class.tiers.iter().flat_map(|tier| {
            let enforced = tier.policies.iter().map(|id| (id, false));
            enforced.chain(tier.staged.iter().map(|(id, _)| (id, true)))
        });
        let profiles = class.profiles.iter().filter_map(|profile| match profile {
            ClassProfile::Present(id) => Some((id, false)),
            ClassProfile::Missing(_) => None,
        });
        policies
            .chain(profiles)
            .find_map(|(id, staged)| match self.policies.get(id) {
                None => Some(Reason::Dangling(id.into())),
                Some(policy) if policy.staged != staged => Some(Reason::Mismatch(id.into())),
                Some(_) => None,
            })
    }

    /// An item that refers to another; slow, for the text of a refusal.
    pub(crate) fn user_of(&self, referent: &ItemId) -> Option<ItemId> {
        self.bodies()
            .find(|(_, body)| referents(body).iter().any(|id| id == referent))
            .map(|(id, _)| id)
    }
}

/// What an item refers to, once per mention.
pub fn referents(body: &Body) -> Vec<ItemId> {
    match body {
        Body::Config(_) | Body::Plugin(_) => Vec::new(),
        Body::Endpoint(endpoint) => endpoint.classes.values().map(ItemId::from).collect(),
        Body::Class(class) => class
            .tiers
            .iter()
            .flat_map(|tier| {
                let staged = tier.staged.iter().map(|(id, _)| id);
                tier.policies.iter().chain(staged)
            })
            .chain(class.profiles.iter().filter_map(|profile| match profile {
                ClassProfile::Present(id) => Some(id),
                ClassProfile::Missing(_) => None,
            }))
            .map(ItemId::from)
            .collect(),
        Body::Policy(policy) => {
            let sets = set_ids(policy).map(ItemId::from);
            sets.chain(plugin_ids(policy).map(ItemId::from)).collect()
        }
    }
}

/// The sets that a policy's rules name, once per mention.
pub fn set_ids(policy: &Policy) -> impl Iterator<Item = &SetId> {
    policy
        .ingress
        .iter()
        .chain(&policy.egress)
        .flat_map(|rule| [&rule.matches.source, &rule.matches.destination])
        .flat_map(EntityMatch::set_ids)
}

/// The plugins that a policy's rules name, once per mention.
pub fn plugin_ids(policy: &Policy) -> impl Iterator<Item = &PluginId> {
    let rules = policy.ingress.iter().chain(&policy.egress);
    rules.filter_map(|rule| {
        rule.matches
            .plugin
            .as_ref()
            .map(|condition| &condition.plugin)
    })
}

impl EntityMatch {
    /// The sets that it names.
    pub fn set_ids(&self) -> impl Iterator<Item = &SetId> {
        self.sets
            .iter()
            .chain(&self.not_sets)
            .chain(&self.ports.sets)
            .chain(&self.not_ports.sets)
    }
}
