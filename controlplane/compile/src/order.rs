//! The order of tiers, and of policies in them (specification §4.1; a tier without order comes last).

use palisade_model::{PolicySpec, PolicyStage, TierAction, TierSpec};
use palisade_policy::{
    class::{Class, ClassProfile, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    ids::{PolicyId, TierName},
};
use std::cmp::Ordering;

/// Where a tier stands: known ones first, then by order, then by name.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct TierPlace {
    unknown: bool,
    order: f64,
    name: String,
    default: TierDefault,
}

impl TierPlace {
    /// A policy may name a tier that does not exist: it comes last, and denies.
    pub(crate) fn new(name: &str, spec: Option<&TierSpec>) -> Self {
        Self {
            unknown: spec.is_none(),
            order: spec.and_then(|spec| spec.order).unwrap_or(f64::INFINITY),
            name: name.to_owned(),
            default: match spec.map(|spec| spec.default_action) {
                Some(TierAction::Pass) => TierDefault::Pass,
                Some(TierAction::Deny) | None => TierDefault::Deny,
            },
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.unknown
            .cmp(&other.unknown)
            .then(by_order(self.order, other.order))
            .then_with(|| self.name.cmp(&other.name))
    }
}

/// What a class needs to know of a policy.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct PolicyPlace {
    pub(crate) id: PolicyId,
    pub(crate) tier: String,
    order: f64,
    /// `name/namespace/kind`: what decides between equal orders.
    tie: String,
    ingress: bool,
    egress: bool,
    stage: PolicyStage,
    staged: bool,
}

impl PolicyPlace {
    pub(crate) fn new(id: PolicyId, tie: String, spec: &PolicySpec, staged: bool) -> Self {
        Self {
            id,
            tier: spec.tier.as_str().to_owned(),
            order: spec.order.unwrap_or(f64::INFINITY),
            tie,
            ingress: spec.types.ingress(),
            egress: spec.types.egress(),
            stage: spec.stage,
            staged,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        by_order(self.order, other.order).then_with(|| self.tie.cmp(&other.tie))
    }

    fn serves(&self, list: PolicyList, direction: Direction) -> bool {
        let governed = match direction {
            Direction::Ingress => self.ingress,
            Direction::Egress => self.egress,
        };
        governed
            && matches!(
                (list, self.stage),
                (
                    PolicyList::Normal,
                    PolicyStage::Normal | PolicyStage::NormalAndForward
                ) | (PolicyList::Forward, PolicyStage::NormalAndForward)
                    | (PolicyList::Untracked, PolicyStage::Untracked)
                    | (PolicyList::PreDnat, PolicyStage::PreDnat)
            )
    }
}

/// Orders are finite or infinite, never NaN; -0 and 0 are one order, so this is not `total_cmp`.
fn by_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

/// Lists and directions that an endpoint may have classes for; workloads have the normal list only (specification §4.2).
const LISTS: [(PolicyList, Direction); 7] = [
    (PolicyList::Normal, Direction::Ingress),
    (PolicyList::Normal, Direction::Egress),
    (PolicyList::Forward, Direction::Ingress),
    (PolicyList::Forward, Direction::Egress),
    (PolicyList::Untracked, Direction::Ingress),
    (PolicyList::Untracked, Direction::Egress),
    (PolicyList::PreDnat, Direction::Ingress),
];

/// The classes of an endpoint that is selected by these policies.
pub(crate) fn classes<'a>(
    endpoint: EndpointKind,
    selected: impl IntoIterator<Item = &'a PolicyPlace>,
    tier: impl Fn(&str) -> TierPlace,
    profiles: &[ClassProfile],
) -> Vec<Class> {
    let mut tiers: Vec<(TierPlace, Vec<&PolicyPlace>)> = Vec::new();
    let mut selected: Vec<&PolicyPlace> = selected.into_iter().collect();
    selected.sort_by(|a, b| a.tier.cmp(&b.tier).then_with(|| a.compare(b)));
    for policies in selected.chunk_by(|a, b| a.tier == b.tier) {
        if let Some(first) = policies.first() {
            tiers.push((tier(&first.tier), policies.to_vec()));
        }
    }
    tiers.sort_by(|(a, _), (b, _)| a.compare(b));
    LISTS
        .into_iter()
        .filter(|(list, _)| match endpoint {
            EndpointKind::Host => true,
            EndpointKind::Workload => *list == PolicyList::Normal,
        })
        .filter_map(|(list, direction)| {
            let normal = list == PolicyList::Normal;
            let class = Class {
                list,
                direction,
                endpoint,
                tiers: class_tiers(&tiers, list, direction),
                profiles: if normal {
                    profiles.to_vec()
                } else {
                    Vec::new()
                },
            };
            (normal || !class.tiers.is_empty()).then_some(class)
        })
        .collect()
}

fn class_tiers(
    tiers: &[(TierPlace, Vec<&PolicyPlace>)],
    list: PolicyList,
    direction: Direction,
) -> Vec<ClassTier> {
    let normal_follows = matches!(list, PolicyList::Untracked | PolicyList::PreDnat);
    let default = |place: &TierPlace| match normal_follows {
        true => TierDefault::Pass,
        false => place.default,
    };
    let tiers = tiers.iter().map(|(place, policies)| {
        let mut tier = ClassTier {
            name: TierName::new(place.name.as_str()),
            default: default(place),
            policies: Vec::new(),
            staged: Vec::new(),
        };
        for policy in policies.iter().filter(|p| p.serves(list, direction)) {
            if policy.staged {
                tier.staged.push((policy.id.clone(), tier.policies.len()));
            } else {
                tier.policies.push(policy.id.clone());
            }
        }
        tier
    });
    tiers
        .filter(|tier| !tier.policies.is_empty() || !tier.staged.is_empty())
        .collect()
}
