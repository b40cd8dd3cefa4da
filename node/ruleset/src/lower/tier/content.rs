//! What a tier is lowered from: policies in order, and the terms they share.

use crate::{
    ir::{End, TableName},
    lower::rule::{Allow, Port, may_match, wants_ports},
    plugins::Questions,
};
use palisade_policy::{
    class::{Direction, PolicyList, TierDefault},
    config::LogLimit,
    fault::{ItemFault, Reason},
    ids::{EndpointId, PolicyId, RuleId, TierName},
    rule::{Policy, Protocol, Rule},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
    sync::Arc,
};

/// All that a lowered tier is a function of, beside its place and the kinds of its sets.
#[derive(Clone, Debug)]
pub(in crate::lower) struct TierContent {
    pub(in crate::lower) policies: Vec<(PolicyId, Arc<Policy>)>,
    pub(in crate::lower) terms: Terms,
}

/// What all rules of a tier share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::lower) struct Terms {
    pub(in crate::lower) direction: Direction,
    pub(in crate::lower) default: TierDefault,
    pub(in crate::lower) default_id: Option<RuleId>,
    pub(in crate::lower) rejects: bool,
    pub(in crate::lower) allow: Allow,
    /// As [`Dispatch::again`](crate::stage::Dispatch::again).
    pub(in crate::lower) again: Option<End>,
    /// Of the whole class.
    pub(in crate::lower) questions: Option<Arc<Questions>>,
    pub(in crate::lower) audits: bool,
    pub(in crate::lower) ipv6: bool,
    pub(in crate::lower) log_limit: Option<LogLimit>,
}

/// Where a tier stands.
pub(in crate::lower) struct TierPlace<'a> {
    /// Says it all.
    pub(in crate::lower) name: String,
    /// The dispatch: chains are shared within it.
    pub(in crate::lower) hook: &'static str,
    /// Where its chains and maps are.
    pub(in crate::lower) table: TableName,
    pub(in crate::lower) list: PolicyList,
    pub(in crate::lower) endpoint: Option<&'a EndpointId>,
    pub(in crate::lower) tier: Option<&'a TierName>,
}

impl Terms {
    /// Which end of a packet is its destination.
    pub(super) fn destination(&self) -> End {
        self.again.unwrap_or(End::Destination)
    }
}

/// The order of a policy in its tier. There are gaps, so that a policy that comes leaves the others' as they are.
pub(super) type Rank = u64;

/// Between policies of a tier that is lowered from scratch.
const GAP: Rank = 1 << 32;

/// A line by the rank of its policy and its place in the policy.
pub(super) type At = (Rank, usize);

/// A line of a bucket, and what was decided about its destination port.
pub(super) type Placed = (At, Port);

/// The policies of a tier, by rank.
#[derive(Debug)]
pub(super) struct Policies {
    direction: Direction,
    by_rank: BTreeMap<Rank, (PolicyId, Arc<Policy>)>,
    /// Empty if one stands there twice.
    ranks: HashMap<PolicyId, Rank>,
}

/// One policy comes, goes, or becomes another.
#[derive(Debug)]
pub(in crate::lower) struct Edit {
    pub(super) rank: Rank,
    pub(super) id: PolicyId,
    /// Absent: it goes.
    pub(super) policy: Option<Arc<Policy>>,
}

/// A rule and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) rule: &'a Rule,
    pub(super) policy: &'a PolicyId,
    pub(super) at: At,
}

// === impl Policies ===

impl Policies {
    pub(super) fn new(direction: Direction, policies: &[(PolicyId, Arc<Policy>)]) -> Self {
        let ranked = || (1..).map(|n: Rank| n * GAP).zip(policies);
        let by_rank: BTreeMap<Rank, _> = ranked().map(|(rank, p)| (rank, p.clone())).collect();
        let mut ranks: HashMap<PolicyId, Rank> =
            ranked().map(|(rank, (id, _))| (id.clone(), rank)).collect();
        if ranks.len() < by_rank.len() {
            ranks.clear();
        }
        Self {
            direction,
            by_rank,
            ranks,
        }
    }

    /// The edits that make these policies of ours. `None`: the order changes, or they are too many.
    pub(super) fn edits(&self, to: &[(PolicyId, Arc<Policy>)]) -> Option<Vec<Edit>> {
        if self.ranks.is_empty() {
            return None;
        }
        let (mut edits, mut last) = (Vec::new(), 0);
        // Those that go come first: one that comes may take the rank of one that goes.
        let kept = to.iter().filter(|(id, _)| self.ranks.contains_key(id));
        if kept.count() < self.by_rank.len() {
            let staying: HashSet<&PolicyId> = to.iter().map(|(id, _)| id).collect();
            let going = self.by_rank.iter();
            let going = going.filter(|(_, (id, _))| !staying.contains(id));
            edits.extend(going.map(|(rank, (id, _))| self.edit(id, *rank, None)));
        }
        let mut fresh: Vec<(PolicyId, Arc<Policy>)> = Vec::new();
        for (id, policy) in to {
            let Some(rank) = self.ranks.get(id) else {
                fresh.push((id.clone(), Arc::clone(policy)));
                continue;
            };
            insert_between(last, *rank, &mut fresh, &mut edits)?;
            last = *rank;
            let (_, old) = self.by_rank.get(rank)?;
            if !self.is_same(old, policy) {
                edits.push(self.edit(id, *rank, Some(policy)));
            }
        }
        let end = last.checked_add(GAP * (Rank::try_from(fresh.len()).ok()? + 1))?;
        insert_between(last, end, &mut fresh, &mut edits)?;
        Some(edits)
    }

    /// The edit that replaces one policy, if it stands here and changes.
    pub(super) fn replacement(&self, id: &PolicyId, policy: &Arc<Policy>) -> Option<Edit> {
        let rank = self.ranks.get(id)?;
        let (_, old) = self.by_rank.get(rank)?;
        (!self.is_same(old, policy)).then(|| self.edit(id, *rank, Some(policy)))
    }

    /// Whether the policies stand here once each, so that they can be found.
    pub(super) fn is_distinct(&self) -> bool {
        self.ranks.len() == self.by_rank.len()
    }

    pub(super) fn holds(&self, id: &PolicyId) -> bool {
        if self.is_distinct() {
            self.ranks.contains_key(id)
        } else {
            self.by_rank.values().any(|(other, _)| other == id)
        }
    }

    /// Same ids in the same order, and no rule of the direction differs.
    pub(super) fn is(&self, to: &[(PolicyId, Arc<Policy>)]) -> bool {
        let same = |((id, policy), (other, to)): (&(PolicyId, Arc<Policy>), &(PolicyId, _))| {
            id == other && self.is_same(policy, to)
        };
        self.by_rank.len() == to.len() && self.by_rank.values().zip(to).all(same)
    }

    pub(super) fn apply(&mut self, edit: Edit) {
        match edit.policy {
            Some(policy) => {
                self.ranks.insert(edit.id.clone(), edit.rank);
                self.by_rank.insert(edit.rank, (edit.id, policy));
            }
            None => {
                self.ranks.remove(&edit.id);
                self.by_rank.remove(&edit.rank);
            }
        }
    }

    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = Line<'_>> {
        self.by_rank
            .iter()
            .flat_map(|(rank, (id, policy))| lines(*rank, id, policy.rules(self.direction)))
    }

    /// The lines of the policy of a rank.
    pub(super) fn lines_of(&self, rank: Rank) -> impl Iterator<Item = Line<'_>> {
        self.by_rank
            .range((Bound::Included(rank), Bound::Included(rank)))
            .flat_map(|(rank, (id, policy))| lines(*rank, id, policy.rules(self.direction)))
    }

    /// The lines that the policy of an edit will have.
    pub(super) fn lines_to<'e>(&self, edit: &'e Edit) -> impl Iterator<Item = Line<'e>> {
        let direction = self.direction;
        edit.policy
            .iter()
            .flat_map(move |policy| lines(edit.rank, &edit.id, policy.rules(direction)))
    }

    pub(super) fn line(&self, at: At) -> Option<Line<'_>> {
        let (id, policy) = self.by_rank.get(&at.0)?;
        let rule = policy.rules(self.direction).get(at.1)?;
        let policy = id;
        Some(Line { rule, policy, at })
    }

    fn is_same(&self, a: &Arc<Policy>, b: &Arc<Policy>) -> bool {
        Arc::ptr_eq(a, b) || a.rules(self.direction) == b.rules(self.direction)
    }

    fn edit(&self, id: &PolicyId, rank: Rank, policy: Option<&Arc<Policy>>) -> Edit {
        Edit {
            rank,
            id: id.clone(),
            policy: policy.map(Arc::clone),
        }
    }
}

/// Ranks for policies that come between two. `None`: there is no room, or the two are not in order.
fn insert_between(
    before: Rank,
    after: Rank,
    fresh: &mut Vec<(PolicyId, Arc<Policy>)>,
    edits: &mut Vec<Edit>,
) -> Option<()> {
    let room = after.checked_sub(before).filter(|room| *room > 0)?;
    let step = room / (Rank::try_from(fresh.len()).ok()? + 1);
    if step == 0 {
        return None;
    }
    for ((id, policy), nth) in fresh.drain(..).zip(1..) {
        edits.push(Edit {
            rank: before + step * nth,
            id,
            policy: Some(policy),
        });
    }
    Some(())
}

fn lines<'a>(
    rank: Rank,
    policy: &'a PolicyId,
    rules: &'a [Rule],
) -> impl DoubleEndedIterator<Item = Line<'a>> {
    rules.iter().enumerate().map(move |(index, rule)| Line {
        rule,
        policy,
        at: (rank, index),
    })
}

// === impl Line ===

impl Line<'_> {
    /// The protocol whose index alone the line stands in: it names numbers of ports, and no ports by set. Absent too where
    /// a plugin is asked: the class's head depends on the line.
    pub(super) fn ported(&self) -> Option<Protocol> {
        let matches = &self.rule.matches;
        let ports = &matches.destination.ports;
        matches.protocol.filter(|protocol| {
            protocol.has_ports()
                && matches.plugin.is_none()
                && matches.not_protocol != Some(*protocol)
                && !ports.ranges.is_empty()
                && ports.sets.is_empty()
        })
    }

    /// Whether it can match a packet of a protocol at all, as far as ports go.
    pub(super) fn suits(&self, protocol: Protocol) -> bool {
        let matches = &self.rule.matches;
        may_match(matches, protocol) && (protocol.has_ports() || !wants_ports(matches))
    }

    pub(super) fn fault(&self, reason: Reason) -> ItemFault {
        ItemFault {
            item: self.policy.into(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::btree_set, prelude::*};

    fn policies(names: impl IntoIterator<Item = u8>) -> Vec<(PolicyId, Arc<Policy>)> {
        let named = |name| (PolicyId::new(format!("gnp/{name:03}")), Arc::default());
        names.into_iter().map(named).collect()
    }

    fn changed(
        from: &[(PolicyId, Arc<Policy>)],
        to: &[(PolicyId, Arc<Policy>)],
    ) -> Option<Policies> {
        let mut changed = Policies::new(Direction::Ingress, from);
        for edit in changed.edits(to)? {
            changed.apply(edit);
        }
        Some(changed)
    }

    /// It once took the rank of the one that went, and went with it.
    #[test]
    fn one_that_comes_where_another_goes_stays() {
        let (from, to) = (policies([22, 80, 81]), policies([44, 80]));
        assert!(changed(&from, &to).expect("edits").is(&to));
    }

    proptest! {
        #[test]
        fn edits_lead_to_the_policies_that_they_are_for(
            from in btree_set(0..20_u8, 0..8),
            to in btree_set(0..20_u8, 0..8),
        ) {
            let (from, to) = (policies(from), policies(to));
            if let Some(changed) = changed(&from, &to) {
                prop_assert!(changed.is(&to), "{:?}", changed.by_rank);
            }
        }
    }
}
