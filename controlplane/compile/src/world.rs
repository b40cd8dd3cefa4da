//! All resources, by identity: what views are a function of (law a).

use palisade_model::{
    BUILT_IN_TIERS, DEFAULT_ALLOW_PROFILE, FelixConfigurationSpec, Kind, Metadata, Name,
    PalisadeConfigurationSpec, PluginSpec, ProfileSpec, Resource, ResourceId, Spec, TierSpec,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

static DEFAULT_ALLOW: LazyLock<ProfileSpec> = LazyLock::new(ProfileSpec::default_allow);

/// All resources.
///
/// INVARIANT: no kind without resources.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct World {
    kinds: BTreeMap<Kind, BTreeMap<ResourceId, Arc<Resource>>>,
}

impl World {
    /// Without resources.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts, or with `None` removes, a resource; gives what was there.
    pub fn set(
        &mut self,
        id: ResourceId,
        resource: Option<Arc<Resource>>,
    ) -> Option<Arc<Resource>> {
        match resource {
            Some(resource) => self.kinds.entry(id.kind).or_default().insert(id, resource),
            None => {
                let resources = self.kinds.get_mut(&id.kind)?;
                let old = resources.remove(&id);
                if resources.is_empty() {
                    self.kinds.remove(&id.kind);
                }
                old
            }
        }
    }

    /// Finds a resource.
    pub fn get(&self, id: &ResourceId) -> Option<&Arc<Resource>> {
        self.kinds.get(&id.kind)?.get(id)
    }

    /// All of them, ordered by kind, namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceId, &Arc<Resource>)> {
        self.kinds.values().flatten()
    }

    /// Those of a kind, ordered by namespace and name.
    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Resource> {
        let resources = self.kinds.get(&kind).into_iter();
        resources.flat_map(BTreeMap::values).map(AsRef::as_ref)
    }

    fn find(&self, kind: Kind, name: &Name) -> Option<&Resource> {
        self.get(&ResourceId::global(kind, name.clone()))
            .map(AsRef::as_ref)
    }

    pub(crate) fn felix(&self) -> impl Iterator<Item = (&Metadata, &FelixConfigurationSpec)> {
        self.of_kind(Kind::FelixConfiguration)
            .filter_map(|r| match &r.spec {
                Spec::FelixConfiguration(spec) => Some((&r.metadata, spec.as_ref())),
                _ => None,
            })
    }

    pub(crate) fn palisade(&self) -> PalisadeConfigurationSpec {
        let mut specs = self
            .of_kind(Kind::PalisadeConfiguration)
            .filter_map(|r| match &r.spec {
                Spec::PalisadeConfiguration(spec) => Some(*spec),
                _ => None,
            });
        specs.next().unwrap_or_default()
    }

    /// Plugins whose components are stored.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = (&Name, &PluginSpec)> {
        self.of_kind(Kind::Plugin).filter_map(|r| match &r.spec {
            Spec::Plugin(spec) if spec.size.is_some() => Some((&r.metadata.name, spec.as_ref())),
            _ => None,
        })
    }

    /// Whether anything runs on nodes that knows labels of endpoints.
    pub(crate) fn has_plugins(&self) -> bool {
        self.plugins().next().is_some()
    }

    /// A profile, written or built in.
    pub(crate) fn profile(&self, name: &Name) -> Option<&ProfileSpec> {
        if name.as_str() == DEFAULT_ALLOW_PROFILE {
            return Some(&DEFAULT_ALLOW);
        }
        match &self.find(Kind::Profile, name)?.spec {
            Spec::Profile(spec) => Some(spec),
            _ => None,
        }
    }

    /// A tier, written or built in.
    pub(crate) fn tier(&self, name: &str) -> Option<&TierSpec> {
        let written = Name::new(name).and_then(|name| self.find(Kind::Tier, &name));
        match written.map(|r| &r.spec) {
            Some(Spec::Tier(spec)) => Some(spec),
            _ => BUILT_IN_TIERS
                .iter()
                .find(|(built_in, _)| *built_in == name)
                .map(|(_, spec)| spec),
        }
    }

    /// A node's labels; none for a node without a resource.
    pub(crate) fn node_labels(&self, name: &Name) -> BTreeMap<String, String> {
        self.find(Kind::Node, name)
            .map(|r| r.metadata.labels.clone())
            .unwrap_or_default()
    }
}
