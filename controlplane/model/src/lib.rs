//! Resources as users write them: strict decoding, validation of everything at once, defaults, typed kinds.
//!
//! Text → [`document::read`] → [`Document`] → [`decode_document`] → [`Decoded`]: a typed [`Resource`], canonical JSON and
//! warnings, or every [`Problem`] with its field path. Past this door no string is a selector, CIDR, port or name.
//! Judges one resource alone: whether a tier or profile exists is for the control plane. Pure: no IO, no clock.

#![forbid(unsafe_code)]

mod cluster_information;
pub mod document;
mod envelope;
mod felix;
mod host_endpoint;
mod kind;
mod metadata;
mod name;
mod net;
mod network_set;
mod node;
mod palisade_configuration;
mod path;
mod plugin;
mod policy;
mod problem;
mod profile;
mod resource;
mod rule;
mod shape;
mod staged_kubernetes;
pub mod stored;
mod tier;
mod unenforced;
mod workload_endpoint;

pub use cluster_information::{CLUSTER_INFORMATION, ClusterInformationSpec};
pub use document::{DEFAULT_NAMESPACE, Document, ReadError, SourceSpan};
pub use envelope::{Decoded, decode, decode_document, decode_json};
pub use felix::{
    DenyAction, EndpointToHostAction, Failsafe, FelixConfigurationSpec, FelixScope,
    InterfacePattern, LogRate, RateUnit,
};
pub use host_endpoint::{EndpointPort, HostEndpointSpec, HostInterface, PortProtocol};
pub use kind::{Kind, ResourceId};
pub use metadata::{Metadata, NAMESPACE_LABEL};
pub use name::{InterfaceName, Name, PortName};
pub use network_set::NetworkSetSpec;
pub use node::{NodeAddress, NodeAddressRole, NodeSpec};
pub use palisade_configuration::{Exemptions, PALISADE_CONFIGURATION, PalisadeConfigurationSpec};
pub use path::{FieldPath, FieldPathError, Segment};
pub use plugin::{OnFailure, PluginDigest, PluginKind, PluginLimits, PluginSink, PluginSpec};
pub use policy::{PolicySpec, PolicyStage, PolicyTypes, StagedAction, StagedPolicySpec};
pub use problem::{Part, Problem, TextSpan, Warning};
pub use profile::{DEFAULT_ALLOW_PROFILE, ProfileSpec};
pub use resource::{ApiVersion, Resource, Spec};
pub use rule::{
    Action, EntityRule, Icmp, IpVersion, PluginMatch, PortRange, PortSpec, Protocol, ProtocolName,
    Rule, Service, ServiceAccounts,
};
pub use tier::{
    BUILT_IN_TIERS, DEFAULT_TIER, KUBE_ADMIN_TIER, KUBE_BASELINE_TIER, TierAction, TierSpec,
};
pub use unenforced::{Unenforced, unenforced};
pub use workload_endpoint::{SERVICE_ACCOUNT_LABEL, WorkloadEndpointSpec};
