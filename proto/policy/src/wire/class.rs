//! Classes, and the enums they share with endpoints.

use super::{Field, fault, list, number, text};
use crate::{
    class::{Class, ClassProfile, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    fault::FieldReason,
    ids::{PolicyId, TierName},
};
use palisade_proto::v1;

pub(super) fn encode(class: &Class) -> v1::Class {
    let list = match class.list {
        PolicyList::Normal => v1::PolicyList::Normal,
        PolicyList::Forward => v1::PolicyList::Forward,
        PolicyList::Untracked => v1::PolicyList::Untracked,
        PolicyList::PreDnat => v1::PolicyList::PreDnat,
    };
    let direction = match class.direction {
        Direction::Ingress => v1::Direction::Ingress,
        Direction::Egress => v1::Direction::Egress,
    };
    v1::Class {
        list: list.into(),
        direction: direction.into(),
        endpoint_kind: encode_kind(class.endpoint),
        tiers: class.tiers.iter().map(encode_tier).collect(),
        profiles: class.profiles.iter().map(encode_profile).collect(),
    }
}

pub(super) fn decode(message: v1::Class) -> Field<Class> {
    let policies = match v1::PolicyList::try_from(message.list) {
        Ok(v1::PolicyList::Normal) => PolicyList::Normal,
        Ok(v1::PolicyList::Forward) => PolicyList::Forward,
        Ok(v1::PolicyList::Untracked) => PolicyList::Untracked,
        Ok(v1::PolicyList::PreDnat) => PolicyList::PreDnat,
        Ok(v1::PolicyList::Unspecified) | Err(_) => {
            return fault("list", FieldReason::Unknown(message.list));
        }
    };
    let direction = match v1::Direction::try_from(message.direction) {
        Ok(v1::Direction::Ingress) => Direction::Ingress,
        Ok(v1::Direction::Egress) => Direction::Egress,
        Ok(v1::Direction::Unspecified) | Err(_) => {
            return fault("direction", FieldReason::Unknown(message.direction));
        }
    };
    if (policies, direction) == (PolicyList::PreDnat, Direction::Egress) {
        return fault("direction", FieldReason::Unexpected);
    }
    if policies != PolicyList::Normal && !message.profiles.is_empty() {
        return fault("profiles", FieldReason::Unexpected);
    }
    Ok(Class {
        list: policies,
        direction,
        endpoint: decode_kind("endpoint_kind", message.endpoint_kind)?,
        tiers: list("tiers", message.tiers, |tier| decode_tier(tier, policies))?,
        profiles: list("profiles", message.profiles, decode_profile)?,
    })
}

pub(super) fn encode_kind(kind: EndpointKind) -> i32 {
    match kind {
        EndpointKind::Host => v1::EndpointKind::Host,
        EndpointKind::Workload => v1::EndpointKind::Workload,
    }
    .into()
}

pub(super) fn decode_kind(field: &str, kind: i32) -> Field<EndpointKind> {
    match v1::EndpointKind::try_from(kind) {
        Ok(v1::EndpointKind::Host) => Ok(EndpointKind::Host),
        Ok(v1::EndpointKind::Workload) => Ok(EndpointKind::Workload),
        Ok(v1::EndpointKind::Unspecified) | Err(_) => fault(field, FieldReason::Unknown(kind)),
    }
}

fn encode_tier(tier: &ClassTier) -> v1::ClassTier {
    let default = match tier.default {
        TierDefault::Deny => v1::TierDefault::Deny,
        TierDefault::Pass => v1::TierDefault::Pass,
    };
    v1::ClassTier {
        name: tier.name.as_str().to_owned(),
        default_action: default.into(),
        policies: tier
            .policies
            .iter()
            .map(|id| id.as_str().to_owned())
            .collect(),
        staged: tier
            .staged
            .iter()
            .map(|(id, before)| v1::StagedPolicy {
                policy: id.as_str().to_owned(),
                before: u32::try_from(*before).expect("a tier has fewer than 2^32 policies"),
            })
            .collect(),
    }
}

fn decode_tier(message: v1::ClassTier, policies: PolicyList) -> Field<ClassTier> {
    let default = match v1::TierDefault::try_from(message.default_action) {
        Ok(v1::TierDefault::Deny) => TierDefault::Deny,
        Ok(v1::TierDefault::Pass) => TierDefault::Pass,
        Ok(v1::TierDefault::Unspecified) | Err(_) => {
            return fault(
                "default_action",
                FieldReason::Unknown(message.default_action),
            );
        }
    };
    let normal_follows = matches!(policies, PolicyList::Untracked | PolicyList::PreDnat);
    if normal_follows && default == TierDefault::Deny {
        return fault("default_action", FieldReason::Unexpected);
    }
    if message.policies.is_empty() && message.staged.is_empty() {
        return fault("policies", FieldReason::Missing);
    }
    let count = message.policies.len();
    Ok(ClassTier {
        name: TierName::new(text("name", message.name, |name| !name.is_empty())?),
        default,
        policies: list("policies", message.policies, policy_id)?,
        staged: list("staged", message.staged, |staged| {
            let last = u32::try_from(count).unwrap_or(u32::MAX);
            let before: u32 = number("before", staged.before, 0, last)?;
            let before = usize::try_from(before).unwrap_or(count);
            Ok((policy_id(staged.policy)?, before))
        })?,
    })
}

fn policy_id(id: String) -> Field<PolicyId> {
    text("", id, |id| {
        ["gnp/", "np/", "sgnp/", "snp/"]
            .iter()
            .any(|prefix| id.starts_with(prefix))
    })
    .map(PolicyId::new)
}

fn encode_profile(profile: &ClassProfile) -> v1::ClassProfile {
    let (id, missing) = match profile {
        ClassProfile::Present(id) => (id, false),
        ClassProfile::Missing(id) => (id, true),
    };
    v1::ClassProfile {
        profile: id.as_str().to_owned(),
        missing,
    }
}

fn decode_profile(message: v1::ClassProfile) -> Field<ClassProfile> {
    let id = text("profile", message.profile, |id| id.starts_with("profile/"))?;
    Ok(if message.missing {
        ClassProfile::Missing(PolicyId::new(id))
    } else {
        ClassProfile::Present(PolicyId::new(id))
    })
}
