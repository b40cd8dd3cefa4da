//! What a tier is lowered from, and what it is lowered to.

use crate::{
    ir::{ChainName, Rule as NftRule, SetName, Table, Verdict},
    lower::{
        rule::{Allow, Port},
        selector::Use,
    },
    reference::{self, Referent},
};
use palisade_policy::{
    class::{Direction, PolicyList, TierDefault},
    config::LogLimit,
    fault::ItemFault,
    ids::{EndpointId, PolicyId, RuleId, TierName},
    rule::{Policy, Protocol, Rule},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// All that a lowered tier is a function of, beside its place and the kinds of its sets.
#[derive(Clone, Debug)]
pub(in crate::lower) struct TierContent {
    pub(in crate::lower) policies: Vec<(PolicyId, Arc<Policy>)>,
    pub(in crate::lower) terms: Terms,
}

/// What all rules of a tier share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::lower) struct Terms {
    pub(in crate::lower) direction: Direction,
    pub(in crate::lower) default: TierDefault,
    pub(in crate::lower) default_id: Option<RuleId>,
    pub(in crate::lower) rejects: bool,
    pub(in crate::lower) allow: Allow,
    pub(in crate::lower) ipv6: bool,
    pub(in crate::lower) log_limit: Option<LogLimit>,
}

impl PartialEq for TierContent {
    /// Policies are compared by pointer: they are replaced, never changed.
    fn eq(&self, other: &Self) -> bool {
        self.terms == other.terms
            && self.policies.len() == other.policies.len()
            && self
                .policies
                .iter()
                .zip(&other.policies)
                .all(|((a, x), (b, y))| a == b && Arc::ptr_eq(x, y))
    }
}

impl TierContent {
    /// Buckets of the one can serve the other.
    pub(in crate::lower) fn is_kin(&self, other: &Self) -> bool {
        self.terms == other.terms
    }

    pub(super) fn lines(&self) -> Vec<Line<'_>> {
        let line = |policy| {
            move |(index, rule)| Line {
                rule,
                policy,
                index,
            }
        };
        self.policies
            .iter()
            .flat_map(|(id, policy)| {
                let policy = (id, policy);
                let rules = policy.1.rules(self.terms.direction);
                rules.iter().enumerate().map(line(policy))
            })
            .collect()
    }
}

/// A rule and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) rule: &'a Rule,
    pub(super) policy: (&'a PolicyId, &'a Arc<Policy>),
    pub(super) index: usize,
}

/// A tier as it stands in the kernel.
#[derive(Debug)]
pub(in crate::lower) struct LoweredTier {
    /// Where the class chain jumps to.
    pub(in crate::lower) chain: ChainName,
    /// All that it needs but selector sets.
    pub(in crate::lower) part: Table,
    /// Selector sets that it names.
    pub(in crate::lower) used: BTreeMap<SetName, Use>,
    /// It would have cost too many copies.
    pub(in crate::lower) plain: bool,
    pub(in crate::lower) rules: usize,
    pub(super) buckets: HashMap<BucketKey, Arc<Bucket>>,
}

/// What a bucket is a function of, beside the terms of its tier. The policies are held by the tier's content.
#[derive(PartialEq, Eq, Hash, Debug)]
pub(super) struct BucketKey {
    pub(super) protocol: Protocol,
    pub(super) lines: Vec<(usize, usize, Port)>,
    pub(super) ending: NftRule,
}

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) verdict: Verdict,
    pub(super) part: Table,
    pub(super) used: BTreeMap<SetName, Use>,
}

/// Where a tier stands.
pub(in crate::lower) struct TierPlace<'a> {
    /// Says it all.
    pub(in crate::lower) name: String,
    /// The dispatch: chains are shared within it.
    pub(in crate::lower) hook: &'static str,
    pub(in crate::lower) list: PolicyList,
    pub(in crate::lower) endpoint: Option<&'a EndpointId>,
    pub(in crate::lower) tier: Option<&'a TierName>,
}

impl Line<'_> {
    pub(super) fn fault(&self, reason: palisade_policy::fault::Reason) -> ItemFault {
        ItemFault {
            item: self.policy.0.into(),
            reason,
        }
    }
}

/// Removes what the chain does not lead to.
pub(super) fn prune(part: &mut Table, used: &mut BTreeMap<SetName, Use>, root: &ChainName) {
    let mut reached = BTreeSet::new();
    let mut open = vec![Referent::Chain(root.clone())];
    while let Some(referent) = open.pop() {
        if reached.contains(&referent) {
            continue;
        }
        match &referent {
            Referent::Chain(name) => {
                open.extend(
                    part.chains
                        .get(name)
                        .into_iter()
                        .flat_map(reference::of_chain),
                );
            }
            Referent::Set(name) => {
                open.extend(
                    part.maps
                        .get(name)
                        .into_iter()
                        .flat_map(|m| reference::of_map(m)),
                );
            }
        }
        reached.insert(referent);
    }
    part.chains
        .retain(|name, _| reached.contains(&Referent::Chain(name.clone())));
    part.maps
        .retain(|name, _| reached.contains(&Referent::Set(name.clone())));
    part.sets
        .retain(|name, _| reached.contains(&Referent::Set(name.clone())));
    used.retain(|name, _| reached.contains(&Referent::Set(name.clone())));
}
