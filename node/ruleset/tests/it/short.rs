//! The short way: rules of policies become others, and the plan leads where lowering the whole view would.

use crate::worlds;
use palisade_policy::{
    delta::{Change, SetChange},
    ids::{PolicyId, SetId},
    plugin::PluginCondition,
    rule::{Action, EntityMatch, Match, Policy, PortMatch, PortRange, Rule},
    set::Member,
    view::View,
};
use palisade_ruleset::{
    apply,
    apply::Actual,
    diff,
    ir::Ruleset,
    lower::{LowerCache, lower},
    lower_change,
    plan::{Op, Plan},
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};
use std::sync::Arc;

fn lowered(view: &View, revision: u64, cache: &mut LowerCache) -> Ruleset {
    let position = worlds::position(revision);
    lower(view, &worlds::environment(), Some(&position), cache).ruleset
}

/// Every step is taken by the model that refuses what dangles.
fn follow(actual: &mut Actual, plan: &Plan) -> Result<(), TestCaseError> {
    let mut whole = actual.ruleset().clone();
    apply(&mut whole, plan).map_err(|err| TestCaseError::fail(err.to_string()))?;
    let applied = actual.apply(plan);
    applied.map_err(|err| TestCaseError::fail(err.to_string()))?;
    prop_assert!(&whole == actual.ruleset());
    Ok(())
}

/// Only what an index decides: a protocol with ports, and ports by number.
fn ported(mut policy: Policy) -> Policy {
    let fits = |rule: &Rule| {
        let protocol = rule.matches.protocol;
        protocol.is_some_and(|p| p.has_ports() && rule.matches.not_protocol != Some(p))
    };
    for rules in [&mut policy.ingress, &mut policy.egress] {
        rules.retain(fits);
        for rule in rules {
            let ports = &mut rule.matches.destination.ports;
            if ports.ranges.is_empty() {
                *ports = PortMatch {
                    ranges: vec![PortRange::single(80)],
                    sets: Vec::new(),
                };
            }
            ports.sets.clear();
        }
    }
    policy
}

/// Policies that become others: which, whether by rules that only an index decides, and what a rule asks a plugin, where
/// there are any.
fn edits() -> impl Strategy<Value = Vec<(Index, Policy, bool, Option<PluginCondition>)>> {
    vec(
        (
            any::<Index>(),
            worlds::policy("gnp/new"),
            prop::bool::weighted(0.8),
            option::weighted(0.2, select(worlds::conditions().to_vec())),
        ),
        1..3,
    )
}

/// With a condition in the first rule of each direction.
fn asking(mut policy: Policy, condition: Option<PluginCondition>) -> Policy {
    for rules in [&mut policy.ingress, &mut policy.egress] {
        if let Some(rule) = rules.first_mut() {
            rule.matches.plugin.clone_from(&condition);
        }
    }
    policy
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn policies_go_the_short_way_to_the_same_place(
        first in prop_oneof![2 => worlds::view(), 1 => worlds::asking_view()],
        most_ported in prop::bool::weighted(0.8),
        rounds in vec(edits(), 1..8),
    ) {
        let mut view = first;
        if most_ported {
            for policy in view.policies.values_mut() {
                *policy = Arc::new(ported((**policy).clone()));
            }
        }
        let mut cache = LowerCache::new();
        let mut actual = Actual::new(lowered(&view, 0, &mut cache));
        for (edits, revision) in rounds.into_iter().zip(1..) {
            let mut change = Change::default();
            for (at, policy, is_ported, condition) in edits {
                let id = PolicyId::from(*at.get(&worlds::POLICIES));
                let policy = if is_ported { ported(policy) } else { policy };
                let condition = condition.filter(|asked| view.plugins.contains_key(&asked.plugin));
                let policy = asking(policy, condition);
                view.policies.insert(id.clone(), Arc::new(policy));
                change.policies.insert(id);
            }
            let position = worlds::position(revision);
            let desired = lowered(&view, revision, &mut LowerCache::new());
            match lower_change(&mut actual, &view, &change, Some(&position), &mut cache) {
                Some(plan) => {
                    follow(&mut actual, &plan)?;
                    prop_assert!(
                        actual.ruleset() == &desired,
                        "{:#?}", diff(actual.ruleset(), &desired)
                    );
                    // And what is remembered is what a whole lowering would leave.
                    if revision % 3 == 0 {
                        prop_assert!(lowered(&view, revision, &mut cache) == desired);
                    }
                }
                None => {
                    let warm = lowered(&view, revision, &mut cache);
                    prop_assert!(warm == desired, "{:#?}", diff(&warm, &desired));
                    actual = Actual::new(warm);
                }
            }
        }
    }
}

fn wide(policies: u16) -> (View, LowerCache, Actual) {
    let view = crate::views::wide_view(policies);
    let mut cache = LowerCache::new();
    let actual = Actual::new(lowered(&view, 0, &mut cache));
    (view, cache, actual)
}

fn replaced(view: &mut View, n: u16, policy: Policy) -> Change {
    let id = PolicyId::from(format!("gnp/p{n:04}").as_str());
    view.policies.insert(id.clone(), Arc::new(policy));
    let mut change = Change::default();
    change.policies.insert(id);
    change
}

#[test]
fn the_first_the_last_and_a_middle_policy_are_served() {
    let (mut view, mut cache, mut actual) = wide(100);
    for (n, revision) in [(0, 1), (99, 2), (50, 3), (50, 4)] {
        let set = if revision == 4 { "s:01" } else { "s:02" };
        let change = replaced(&mut view, n, crate::views::port_policy(n, set));
        let position = worlds::position(revision);
        let plan = lower_change(&mut actual, &view, &change, Some(&position), &mut cache);
        let plan = plan.expect("the short way");
        assert!(plan.ops.len() <= 9, "{:#?}", plan.ops);
        follow(&mut actual, &plan).expect("applies");
        let cold = lowered(&view, revision, &mut LowerCache::new());
        assert!(actual.ruleset() == &cold);
    }
}

/// Ports behind a final rule come to what a miss comes to, and so have no element; the short way must see it too.
#[test]
fn ports_that_come_to_a_miss_have_no_element() {
    let tcp = |first, last, sets: &[&str]| {
        let mut policy = crate::views::port_policy(first, "s:01");
        for rule in &mut policy.ingress {
            rule.matches.source = EntityMatch::default();
            rule.matches.destination.ports = PortMatch {
                ranges: PortRange::new(first, last).into_iter().collect(),
                sets: sets.iter().map(|id| SetId::from(*id)).collect(),
            };
        }
        policy
    };
    let mut ahead = tcp(1, 53, &["p:01"]);
    let all = crate::views::rule(1, Action::Allow, Match::default());
    ahead.ingress.push(all);
    let policies = [("gnp/a", ahead), ("gnp/p0001", tcp(60, 70, &[]))];
    let policies = policies.map(|(name, policy)| (name.to_owned(), policy));
    let mut view = crate::views::view(policies.into(), Vec::new());
    let mut cache = LowerCache::new();
    let mut actual = Actual::new(lowered(&view, 0, &mut cache));
    let change = replaced(&mut view, 1, tcp(60, 80, &[]));
    let position = worlds::position(1);
    let plan = lower_change(&mut actual, &view, &change, Some(&position), &mut cache);
    follow(&mut actual, &plan.expect("the short way")).expect("applies");
    assert!(actual.ruleset() == &lowered(&view, 1, &mut LowerCache::new()));
}

#[test]
fn members_and_rules_change_in_one_plan() {
    let (mut view, mut cache, mut actual) = wide(20);
    let mut change = replaced(&mut view, 7, crate::views::port_policy(7, "s:02"));
    let (id, member) = (
        SetId::from("s:01"),
        Member::Net("10.9.9.9/32".parse().expect("a net")),
    );
    assert!(Arc::make_mut(view.sets.get_mut(&id).expect("the set")).insert(&member));
    let (add, remove) = (vec![member], Vec::new());
    change.sets.insert(id, SetChange::Patched { add, remove });
    let position = worlds::position(1);
    let plan = lower_change(&mut actual, &view, &change, Some(&position), &mut cache);
    follow(&mut actual, &plan.expect("the short way")).expect("applies");
    assert!(actual.ruleset() == &lowered(&view, 1, &mut LowerCache::new()));
}

#[test]
fn a_policy_that_leaves_the_index_is_lowered_whole() {
    let (mut view, mut cache, mut actual) = wide(20);
    let mut policy = crate::views::port_policy(7, "s:02");
    for rule in &mut policy.ingress {
        rule.matches.destination.ports = PortMatch::default();
    }
    let change = replaced(&mut view, 7, policy);
    let position = worlds::position(1);
    let plan = lower_change(&mut actual, &view, &change, Some(&position), &mut cache);
    assert_eq!(plan, None);
    let warm = lowered(&view, 1, &mut cache);
    assert!(warm == lowered(&view, 1, &mut LowerCache::new()));
}

#[test]
fn nothing_remembered_is_no_short_way() {
    let (mut view, _, mut actual) = wide(5);
    let change = replaced(&mut view, 3, crate::views::port_policy(3, "s:02"));
    let position = worlds::position(1);
    let mut cache = LowerCache::new();
    let plan = lower_change(&mut actual, &view, &change, Some(&position), &mut cache);
    assert_eq!(plan, None);
}

#[test]
fn rules_that_stay_the_same_move_the_position_only() {
    let (mut view, mut cache, mut actual) = wide(5);
    let change = replaced(&mut view, 3, crate::views::port_policy(3, "s:01"));
    let position = worlds::position(1);
    let plan = lower_change(&mut actual, &view, &change, Some(&position), &mut cache);
    let plan = plan.expect("the short way");
    let [Op::DeleteElements { .. }, Op::AddElements { .. }] = plan.ops.as_slice() else {
        panic!("{plan:#?}");
    };
}
