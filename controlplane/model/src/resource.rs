//! A resource past the door: everything in it is parsed.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cluster_information::ClusterInformationSpec;
use crate::felix::FelixConfigurationSpec;
use crate::host_endpoint::HostEndpointSpec;
use crate::kind::{Kind, ResourceId};
use crate::metadata::{Metadata, RawMetadata};
use crate::name::Name;
use crate::network_set::NetworkSetSpec;
use crate::node::NodeSpec;
use crate::palisade_configuration::PalisadeConfigurationSpec;
use crate::path::{At, FieldPath};
use crate::plugin::PluginSpec;
use crate::policy::{PolicySpec, StagedPolicySpec};
use crate::problem::Report;
use crate::profile::ProfileSpec;
use crate::tier::TierSpec;
use crate::workload_endpoint::WorkloadEndpointSpec;

/// A validated resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// The group it was written in.
    pub api_version: ApiVersion,
    /// Names, labels, annotations.
    pub metadata: Metadata,
    /// What its writer wants; says the kind.
    pub spec: Spec,
}

/// The group and version of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiVersion {
    /// `projectcalico.org/v3`
    Calico,
    /// `palisade.dev/v1`, a superset
    Palisade,
}

/// The spec of a resource, by kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Spec {
    /// A policy.
    GlobalNetworkPolicy(Box<PolicySpec>),
    /// A policy of a namespace.
    NetworkPolicy(Box<PolicySpec>),
    /// A policy that is evaluated only.
    StagedGlobalNetworkPolicy(StagedPolicySpec),
    /// A policy of a namespace that is evaluated only.
    StagedNetworkPolicy(StagedPolicySpec),
    /// A policy in Kubernetes' words, which nothing here evaluates.
    StagedKubernetesNetworkPolicy,
    /// A set of addresses.
    GlobalNetworkSet(NetworkSetSpec),
    /// A set of addresses of a namespace.
    NetworkSet(NetworkSetSpec),
    /// An interface of a host.
    HostEndpoint(HostEndpointSpec),
    /// The host's side of a workload's interface.
    WorkloadEndpoint(Box<WorkloadEndpointSpec>),
    /// A group of policies.
    Tier(TierSpec),
    /// Rules and labels by name.
    Profile(ProfileSpec),
    /// Settings in Calico's words.
    FelixConfiguration(Box<FelixConfigurationSpec>),
    /// A host.
    Node(NodeSpec),
    /// What the cluster says of itself.
    ClusterInformation(ClusterInformationSpec),
    /// Settings in ours.
    PalisadeConfiguration(PalisadeConfigurationSpec),
    /// A component that nodes run.
    Plugin(Box<PluginSpec>),
}

/// The raw shape of a kind's spec, and the way to the typed one.
pub(crate) trait RawSpec: Default + Serialize + DeserializeOwned {
    /// Reports every fault; writes defaults back into `self` and `metadata`. `None` only after a report.
    fn parse(
        &mut self,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec>;

    /// Fields in it that `projectcalico.org/v3` does not have.
    fn extensions(&self, _at: &At<'_>) -> Vec<FieldPath> {
        Vec::new()
    }
}

impl Resource {
    /// What it is, where it lives, what it is called.
    pub fn id(&self) -> ResourceId {
        ResourceId {
            kind: self.kind(),
            namespace: self.metadata.namespace.clone(),
            name: self.metadata.name.clone(),
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.spec.kind()
    }
}

impl Spec {
    /// The kind this is the spec of.
    pub fn kind(&self) -> Kind {
        match self {
            Self::GlobalNetworkPolicy(_) => Kind::GlobalNetworkPolicy,
            Self::NetworkPolicy(_) => Kind::NetworkPolicy,
            Self::StagedGlobalNetworkPolicy(_) => Kind::StagedGlobalNetworkPolicy,
            Self::StagedNetworkPolicy(_) => Kind::StagedNetworkPolicy,
            Self::StagedKubernetesNetworkPolicy => Kind::StagedKubernetesNetworkPolicy,
            Self::GlobalNetworkSet(_) => Kind::GlobalNetworkSet,
            Self::NetworkSet(_) => Kind::NetworkSet,
            Self::HostEndpoint(_) => Kind::HostEndpoint,
            Self::WorkloadEndpoint(_) => Kind::WorkloadEndpoint,
            Self::Tier(_) => Kind::Tier,
            Self::Profile(_) => Kind::Profile,
            Self::FelixConfiguration(_) => Kind::FelixConfiguration,
            Self::Node(_) => Kind::Node,
            Self::ClusterInformation(_) => Kind::ClusterInformation,
            Self::PalisadeConfiguration(_) => Kind::PalisadeConfiguration,
            Self::Plugin(_) => Kind::Plugin,
        }
    }

    /// The tier that a policy, staged or not, belongs to.
    pub fn tier(&self) -> Option<&Name> {
        match self {
            Self::GlobalNetworkPolicy(policy) | Self::NetworkPolicy(policy) => Some(&policy.tier),
            Self::StagedGlobalNetworkPolicy(staged) | Self::StagedNetworkPolicy(staged) => {
                Some(staged.tier())
            }
            Self::StagedKubernetesNetworkPolicy
            | Self::GlobalNetworkSet(_)
            | Self::NetworkSet(_)
            | Self::HostEndpoint(_)
            | Self::WorkloadEndpoint(_)
            | Self::Tier(_)
            | Self::Profile(_)
            | Self::FelixConfiguration(_)
            | Self::Node(_)
            | Self::ClusterInformation(_)
            | Self::PalisadeConfiguration(_)
            | Self::Plugin(_) => None,
        }
    }
}

impl ApiVersion {
    /// As documents write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calico => "projectcalico.org/v3",
            Self::Palisade => "palisade.dev/v1",
        }
    }
}
