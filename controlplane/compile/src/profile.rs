//! Profiles: rules after all tiers, and labels that their users inherit.

use crate::{
    lower::{Lowered, Owner, logs, lower},
    plugin::NoMatchers,
    world::World,
};
use palisade_model::{Name, ProfileSpec};
use palisade_policy::{class::ClassProfile, ids::PolicyId};

pub(crate) fn profile_id(name: &Name) -> PolicyId {
    PolicyId::new(format!("profile/{name}"))
}

/// The profile whose labels a network set of this namespace inherits (specification §2.5).
pub(crate) fn of_namespace(namespace: &Name) -> Option<Name> {
    Name::new(&format!("kns.{namespace}"))
}

pub(crate) fn lower_profile(name: &Name, spec: &ProfileSpec, log_prefix: &str) -> Lowered {
    let id = profile_id(name);
    let owner = Owner {
        id: &id,
        namespace: None,
        name,
        kind: "pro",
        tier: "",
    };
    // Rules of profiles ask no plugins.
    lower(&owner, log_prefix, &spec.ingress, &spec.egress, &NoMatchers)
}

pub(crate) fn profile_logs(spec: &ProfileSpec) -> bool {
    logs(spec.ingress.iter().chain(&spec.egress))
}

/// The profiles of an endpoint, in order; one that does not exist is kept, and denies.
pub(crate) fn class_profiles(world: &World, names: &[Name]) -> Vec<ClassProfile> {
    let profile = |name: &Name| match world.profile(name) {
        Some(_) => ClassProfile::Present(profile_id(name)),
        None => ClassProfile::Missing(profile_id(name)),
    };
    names.iter().map(profile).collect()
}
