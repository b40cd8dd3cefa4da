//! All resources, by identity: what views are a function of (law a).

use palisade_model::{
    BUILT_IN_TIERS, DEFAULT_ALLOW_PROFILE, FelixConfigurationSpec, HostEndpointSpec, Kind,
    Metadata, Name, NetworkSetSpec, PalisadeConfigurationSpec, PolicySpec, ProfileSpec, Resource,
    ResourceId, Spec, TierSpec,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

static DEFAULT_ALLOW: LazyLock<ProfileSpec> = LazyLock::new(ProfileSpec::default_allow);

/// All resources.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct World {
    resources: BTreeMap<ResourceId, Arc<Resource>>,
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
            Some(resource) => self.resources.insert(id, resource),
            None => self.resources.remove(&id),
        }
    }

    /// Finds a resource.
    pub fn get(&self, id: &ResourceId) -> Option<&Arc<Resource>> {
        self.resources.get(id)
    }

    /// All of them, ordered by kind and name.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceId, &Arc<Resource>)> {
        self.resources.iter()
    }

    fn find(&self, kind: Kind, name: &Name) -> Option<&Resource> {
        self.resources
            .get(&ResourceId::global(kind, name.clone()))
            .map(AsRef::as_ref)
    }

    pub(crate) fn policies(&self) -> impl Iterator<Item = (&Metadata, &PolicySpec)> {
        self.resources.values().filter_map(|r| match &r.spec {
            Spec::GlobalNetworkPolicy(spec) => Some((&r.metadata, spec.as_ref())),
            _ => None,
        })
    }

    pub(crate) fn host_endpoints(&self) -> impl Iterator<Item = (&Metadata, &HostEndpointSpec)> {
        self.resources.values().filter_map(|r| match &r.spec {
            Spec::HostEndpoint(spec) => Some((&r.metadata, spec)),
            _ => None,
        })
    }

    pub(crate) fn network_sets(&self) -> impl Iterator<Item = (&Metadata, &NetworkSetSpec)> {
        self.resources.values().filter_map(|r| match &r.spec {
            Spec::GlobalNetworkSet(spec) => Some((&r.metadata, spec)),
            _ => None,
        })
    }

    pub(crate) fn felix(&self) -> impl Iterator<Item = (&Metadata, &FelixConfigurationSpec)> {
        self.resources.values().filter_map(|r| match &r.spec {
            Spec::FelixConfiguration(spec) => Some((&r.metadata, spec.as_ref())),
            _ => None,
        })
    }

    pub(crate) fn palisade(&self) -> PalisadeConfigurationSpec {
        let specs = self.resources.values().find_map(|r| match &r.spec {
            Spec::PalisadeConfiguration(spec) => Some(*spec),
            _ => None,
        });
        specs.unwrap_or_default()
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
