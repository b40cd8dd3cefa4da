//! Resources as they are written: plain structs that read and render the documents of a world.
//!
//! Own shapes on purpose: nothing here knows the model of the product, so a field that the model reads wrongly is seen.
//! They judge nothing; what is absent is absent.

use crate::selector::Selector;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

mod endpoint;
mod plugin;
mod policy;
mod settings;

pub use endpoint::{HostEndpoint, NamedPort, NetworkSet, WorkloadEndpoint, WorkloadPort};
pub use plugin::{Plugin, PluginCondition};
pub use policy::{
    Action, Direction, Entity, Icmp, Policy, Port, Profile, Protocol, Rule, ServiceAccounts, Tier,
};
pub use settings::{Exemptions, Failsafe, Felix, Palisade};

/// Labels by key.
pub type Labels = BTreeMap<String, String>;

/// One resource.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// `projectcalico.org/v3` or `palisade.dev/v1`.
    pub api_version: String,
    /// Who it is.
    pub metadata: Metadata,
    /// Kind and spec.
    #[serde(flatten)]
    pub body: Body,
}

/// Who a resource is.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Unique in kind and namespace.
    pub name: String,
    /// Of namespaced kinds; empty otherwise.
    #[serde(default, skip_serializing_if = "absent")]
    pub namespace: String,
    /// What selectors see.
    #[serde(default, skip_serializing_if = "absent")]
    pub labels: Labels,
    /// When it was made, RFC 3339; decides between FelixConfigurations.
    #[serde(default, skip_serializing_if = "absent")]
    pub creation_timestamp: Option<String>,
}

/// A kind with its spec.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(tag = "kind", content = "spec")]
#[expect(missing_docs, reason = "the kinds of the specification, by name")]
pub enum Body {
    GlobalNetworkPolicy(Policy),
    NetworkPolicy(Policy),
    StagedGlobalNetworkPolicy(Policy),
    StagedNetworkPolicy(Policy),
    Tier(Tier),
    Profile(Profile),
    HostEndpoint(HostEndpoint),
    WorkloadEndpoint(WorkloadEndpoint),
    GlobalNetworkSet(NetworkSet),
    NetworkSet(NetworkSet),
    FelixConfiguration(Felix),
    PalisadeConfiguration(Palisade),
    Plugin(Plugin),
    Node(Empty),
}

/// A spec that says nothing.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

impl Document {
    /// A resource; the API group follows from the kind, and from rules that only one group has.
    pub fn new(name: &str, body: Body) -> Self {
        let asks = |spec: &Policy| {
            spec.ingress
                .iter()
                .chain(&spec.egress)
                .any(|r| r.plugin.is_some())
        };
        let group = match &body {
            Body::PalisadeConfiguration(_) | Body::Plugin(_) => "palisade.dev/v1",
            Body::GlobalNetworkPolicy(spec) if asks(spec) => "palisade.dev/v1",
            _ => "projectcalico.org/v3",
        };
        Self {
            api_version: group.to_owned(),
            metadata: Metadata {
                name: name.to_owned(),
                ..Metadata::default()
            },
            body,
        }
    }

    /// The same, in a namespace.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.metadata.namespace);
        self
    }

    /// The same, with labels.
    #[must_use]
    pub fn labelled(mut self, labels: Labels) -> Self {
        self.metadata.labels = labels;
        self
    }

    /// CamelCase singular.
    pub fn kind(&self) -> &'static str {
        match self.body {
            Body::GlobalNetworkPolicy(_) => "GlobalNetworkPolicy",
            Body::NetworkPolicy(_) => "NetworkPolicy",
            Body::StagedGlobalNetworkPolicy(_) => "StagedGlobalNetworkPolicy",
            Body::StagedNetworkPolicy(_) => "StagedNetworkPolicy",
            Body::Tier(_) => "Tier",
            Body::Profile(_) => "Profile",
            Body::HostEndpoint(_) => "HostEndpoint",
            Body::WorkloadEndpoint(_) => "WorkloadEndpoint",
            Body::GlobalNetworkSet(_) => "GlobalNetworkSet",
            Body::NetworkSet(_) => "NetworkSet",
            Body::FelixConfiguration(_) => "FelixConfiguration",
            Body::PalisadeConfiguration(_) => "PalisadeConfiguration",
            Body::Plugin(_) => "Plugin",
            Body::Node(_) => "Node",
        }
    }

    /// As JSON, fit for any door of the product.
    ///
    /// # Panics
    /// Never: these shapes have text keys and finite numbers.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("text keys and finite numbers")
    }
}

/// What is written is left out where it says nothing.
pub(crate) fn absent<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// All resources, and the machine that is asked about.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct World {
    /// All resources.
    pub documents: Vec<Document>,
    /// The machine.
    pub machine: Machine,
}

/// Live facts of the node that is asked about.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Machine {
    /// Name of the node.
    pub node: String,
    /// Interfaces with their addresses.
    pub interfaces: BTreeMap<String, Vec<IpAddr>>,
    /// Resolved addresses and ports of the control plane.
    pub control_plane: Vec<std::net::SocketAddr>,
}

/// An optional selector; the empty text is none.
pub type MaybeSelector = Option<Selector>;
