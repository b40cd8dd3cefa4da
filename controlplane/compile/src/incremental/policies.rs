//! Compiled policies and profiles: each compiled when it or a plugin that it names changes, encoded when a node first
//! needs it.

use super::plugins::Plugins;
use crate::{
    lower::Lowered,
    order::PolicyPlace,
    policy::{PolicySource, policy_id},
    profile::{lower_profile, profile_id, profile_logs},
    set::SetDefinition,
};
use palisade_model::{DEFAULT_ALLOW_PROFILE, Name, ProfileSpec, Resource, ResourceId, Spec};
use palisade_policy::{
    ids::{PolicyId, SetId},
    item::ItemId,
    table::Item,
    wire::Body,
};
use palisade_selector::Selector;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// All policies and profiles.
pub(crate) struct Policies {
    rules: BTreeMap<PolicyId, Rules>,
    places: BTreeMap<PolicyId, (PolicyPlace, Selector)>,
    plugins: Plugins,
}

/// The rules of one policy or profile.
struct Rules {
    source: Source,
    logs: bool,
    sets: BTreeSet<SetId>,
    plugins: BTreeSet<Name>,
    /// By log prefix, which is a node's; one, under no prefix, where nothing is logged.
    items: BTreeMap<String, Arc<Item>>,
}

/// What a policy or profile is compiled from.
#[derive(Clone)]
enum Source {
    Written(Arc<Resource>),
    DefaultAllow(Name),
}

/// What became of a policy.
pub(crate) struct PolicyChange {
    pub(crate) id: PolicyId,
    /// Its subject, or its place among others, is another.
    pub(crate) place: bool,
    /// Its rules may be others.
    pub(crate) rules: bool,
    /// It names other plugins, or they changed.
    pub(crate) plugins: bool,
    /// Sets that it names now and did not before.
    pub(crate) added: BTreeMap<SetId, SetDefinition>,
    /// Sets that it names no longer.
    pub(crate) removed: Vec<SetId>,
}

/// What a plugin did.
pub(crate) struct PluginChange {
    /// It is or was an auditor.
    pub(crate) auditors: bool,
    /// Policies that name it.
    pub(crate) users: Vec<PolicyChange>,
}

impl Default for Policies {
    /// With the profile that always exists; its rules name no sets.
    fn default() -> Self {
        let mut policies = Self {
            rules: BTreeMap::new(),
            places: BTreeMap::new(),
            plugins: Plugins::default(),
        };
        if let Some(name) = Name::new(DEFAULT_ALLOW_PROFILE) {
            let id = profile_id(&name);
            policies.set_rules(id, Some(Source::DefaultAllow(name)), false);
        }
        policies
    }
}

impl Policies {
    pub(crate) fn subject(&self, id: &PolicyId) -> Option<&Selector> {
        self.places.get(id).map(|(_, subject)| subject)
    }

    pub(crate) fn place(&self, id: &PolicyId) -> Option<&PolicyPlace> {
        self.places.get(id).map(|(place, _)| place)
    }

    /// Policies with what they select.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = (&PolicyId, &Selector)> {
        self.places.iter().map(|(id, (_, subject))| (id, subject))
    }

    /// The sets that a policy names.
    pub(crate) fn sets(&self, id: &PolicyId) -> impl Iterator<Item = &SetId> {
        self.rules.get(id).into_iter().flat_map(|rules| &rules.sets)
    }

    /// The items of matchers that a policy names.
    pub(crate) fn matchers(&self, id: &PolicyId) -> impl Iterator<Item = &Arc<Item>> {
        let named = self
            .rules
            .get(id)
            .into_iter()
            .flat_map(|rules| &rules.plugins);
        named.filter_map(|name| self.plugins.matcher(name))
    }

    /// The items of all auditors.
    pub(crate) fn auditors(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.plugins.auditors()
    }

    /// The item of a policy on nodes with this log prefix.
    pub(crate) fn item(&mut self, id: &PolicyId, log_prefix: &str) -> Option<Arc<Item>> {
        let rules = self.rules.get_mut(id)?;
        let key = if rules.logs { log_prefix } else { "" };
        if let Some(item) = rules.items.get(key) {
            return Some(Arc::clone(item));
        }
        let body = Body::Policy(Arc::new(
            rules.source.lower(log_prefix, &self.plugins).policy,
        ));
        let item = Arc::new(Item::new(ItemId::from(id), &body));
        rules.items.insert(key.to_owned(), Arc::clone(&item));
        Some(item)
    }

    /// Takes a policy in, or out with `None`. A staged deletion says nothing of packets, and so is out. `None` if the
    /// identity is not a policy's.
    pub(crate) fn set_policy(
        &mut self,
        id: &ResourceId,
        resource: Option<&Arc<Resource>>,
    ) -> Option<PolicyChange> {
        let policy = resource.and_then(|r| Some((r, PolicySource::of(r)?)));
        let source = policy.as_ref().map(|(r, _)| Source::Written(Arc::clone(r)));
        let place = policy.map(|(_, policy)| (policy.place(), policy.subject()));
        let id = policy_id(id)?;
        let same_place = self.places.get(&id) == place.as_ref();
        match place {
            Some(place) => self.places.insert(id.clone(), place),
            None => self.places.remove(&id),
        };
        Some(self.set_rules(id, source, !same_place))
    }

    /// Takes a profile in, or out with `None`. The one that always exists stays as it is.
    pub(crate) fn set_profile(
        &mut self,
        name: &Name,
        resource: Option<&Arc<Resource>>,
    ) -> PolicyChange {
        let source = if name.as_str() == DEFAULT_ALLOW_PROFILE {
            Some(Source::DefaultAllow(name.clone()))
        } else {
            resource.cloned().map(Source::Written)
        };
        self.set_rules(profile_id(name), source, false)
    }

    /// Takes a plugin in, or out with `None`: who names it is compiled again.
    pub(crate) fn set_plugin(
        &mut self,
        name: &Name,
        resource: Option<&Arc<Resource>>,
    ) -> PluginChange {
        let auditors = self.plugins.set(name, resource);
        let mut users = Vec::new();
        for id in self.plugins.users(name) {
            let source = self.rules.get(&id).map(|rules| rules.source.clone());
            users.push(PolicyChange {
                plugins: true,
                ..self.set_rules(id, source, false)
            });
        }
        PluginChange { auditors, users }
    }

    fn set_rules(&mut self, id: PolicyId, source: Option<Source>, place: bool) -> PolicyChange {
        let mut added = source
            .as_ref()
            .map(|source| source.lower("", &self.plugins).sets)
            .unwrap_or_default();
        let rules = source.map(|source| Rules {
            logs: source.logs(),
            sets: added.keys().cloned().collect(),
            plugins: source.plugins(),
            items: BTreeMap::new(),
            source,
        });
        let old = match rules {
            Some(rules) => self.rules.insert(id.clone(), rules),
            None => self.rules.remove(&id),
        };
        let (before, named_before) = old.map(|old| (old.sets, old.plugins)).unwrap_or_default();
        let named = self.rules.get(&id).map(|rules| rules.plugins.clone());
        let named = named.unwrap_or_default();
        self.plugins.rename(&id, &named_before, &named);
        let removed = before
            .into_iter()
            .filter(|set| added.remove(set).is_none())
            .collect();
        PolicyChange {
            id,
            place,
            rules: true,
            plugins: named != named_before,
            added,
            removed,
        }
    }
}

impl Source {
    fn lower(&self, log_prefix: &str, plugins: &Plugins) -> Lowered {
        match self {
            Self::DefaultAllow(name) => {
                lower_profile(name, &ProfileSpec::default_allow(), log_prefix)
            }
            Self::Written(resource) => match (&resource.spec, PolicySource::of(resource)) {
                (_, Some(policy)) => policy.lower(log_prefix, plugins),
                (Spec::Profile(spec), None) => {
                    lower_profile(&resource.metadata.name, spec, log_prefix)
                }
                (_, None) => Lowered::default(),
            },
        }
    }

    /// The plugins that its rules name.
    fn plugins(&self) -> BTreeSet<Name> {
        match self {
            Self::DefaultAllow(_) => BTreeSet::new(),
            Self::Written(resource) => PolicySource::of(resource)
                .map(|policy| policy.plugins())
                .unwrap_or_default(),
        }
    }

    fn logs(&self) -> bool {
        match self {
            Self::DefaultAllow(_) => false,
            Self::Written(resource) => match (&resource.spec, PolicySource::of(resource)) {
                (_, Some(policy)) => policy.logs(),
                (Spec::Profile(spec), None) => profile_logs(spec),
                (_, None) => false,
            },
        }
    }
}
