//! How single resources become parts of views: what from-scratch and incremental compilation share. Each is a function
//! of one resource, or of what the resource names.

use crate::{
    lower::{Lowered, Owner, logs, lower},
    world::World,
};
use palisade_model::{HostEndpointSpec, HostInterface, Name, PolicySpec, ProfileSpec};
use palisade_policy::{
    class::{Class, ClassProfile, EndpointKind},
    endpoint::{Endpoint, InterfaceMatch},
    ids::{ClassId, EndpointId, IfName, PolicyId},
};

pub(crate) fn policy_id(name: &Name) -> PolicyId {
    PolicyId::new(format!("gnp/{name}"))
}

pub(crate) fn profile_id(name: &Name) -> PolicyId {
    PolicyId::new(format!("profile/{name}"))
}

pub(crate) fn endpoint_id(name: &Name) -> EndpointId {
    EndpointId::new(format!("hep/{name}"))
}

/// Rules of a direction that `types` leaves out are inert.
pub(crate) fn lower_policy(name: &Name, spec: &PolicySpec, log_prefix: &str) -> Lowered {
    let id = policy_id(name);
    let owner = Owner {
        id: &id,
        name: name.as_str(),
        kind: "gnp",
        tier: spec.tier.as_str(),
    };
    let ingress = if spec.types.ingress() {
        &spec.ingress[..]
    } else {
        &[]
    };
    let egress = if spec.types.egress() {
        &spec.egress[..]
    } else {
        &[]
    };
    lower(&owner, log_prefix, ingress, egress)
}

pub(crate) fn lower_profile(name: &Name, spec: &ProfileSpec, log_prefix: &str) -> Lowered {
    let id = profile_id(name);
    let owner = Owner {
        id: &id,
        name: name.as_str(),
        kind: "pro",
        tier: "",
    };
    lower(&owner, log_prefix, &spec.ingress, &spec.egress)
}

pub(crate) fn policy_logs(spec: &PolicySpec) -> bool {
    logs(spec.ingress.iter().chain(&spec.egress))
}

pub(crate) fn profile_logs(spec: &ProfileSpec) -> bool {
    logs(spec.ingress.iter().chain(&spec.egress))
}

/// The profiles of an endpoint; one that does not exist is kept, and denies.
pub(crate) fn class_profiles(world: &World, spec: &HostEndpointSpec) -> Vec<ClassProfile> {
    let profile = |name: &Name| match world.profile(name) {
        Some(_) => ClassProfile::Present(profile_id(name)),
        None => ClassProfile::Missing(profile_id(name)),
    };
    spec.profiles.iter().map(profile).collect()
}

/// An endpoint with its classes, each under its name.
pub(crate) fn endpoint(spec: &HostEndpointSpec, classes: &[(ClassId, &Class)]) -> Endpoint {
    let mut addresses = spec.expected_ips.clone();
    addresses.sort_unstable();
    addresses.dedup();
    Endpoint {
        kind: EndpointKind::Host,
        interface: match &spec.interface {
            Some(HostInterface::Any) => InterfaceMatch::Any,
            Some(HostInterface::Named(name)) => InterfaceMatch::Named(IfName::new(name.as_str())),
            None => InterfaceMatch::ByAddress,
        },
        addresses,
        classes: classes
            .iter()
            .map(|(id, class)| ((class.list, class.direction), id.clone()))
            .collect(),
    }
}
