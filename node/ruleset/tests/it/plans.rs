//! Laws c and d: plans lead from what is to what should be, and leave nothing dangling on the way.

use crate::worlds;
use palisade_policy::{
    delta::{Change, SetChange},
    ids::{PolicyId, SetId},
    set::{IpSet, Member},
    view::View,
};
use palisade_ruleset::{
    apply, diff,
    ir::{Chain, ChainName, Expression, Rule, Ruleset, SetName, TableName, Verdict},
    lower::{LowerCache, lower},
    lower_members,
    plan::{Op, Plan},
};
use proptest::{collection::vec, prelude::*, sample::select};
use std::sync::Arc;

/// A few dozen worlds each: `PROPTEST_CASES` asks for four times as many.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases / 4,
        failure_persistence: None,
        ..config
    }
}

fn lowered(view: &View, revision: u64, cache: &mut LowerCache) -> Ruleset {
    let position = worlds::position(revision);
    lower(view, &worlds::environment(), Some(&position), cache).ruleset
}

fn check(actual: &Ruleset, desired: &Ruleset) -> Result<Plan, TestCaseError> {
    let plan = diff(actual, desired);
    let mut next = actual.clone();
    apply(&mut next, &plan).map_err(|err| TestCaseError::fail(err.to_string()))?;
    prop_assert!(&next == desired);
    prop_assert!(diff(&next, desired).is_empty());
    check_steps(actual, desired, plan.clone())?;
    Ok(plan)
}

/// Transaction by transaction to the same place.
fn check_steps(actual: &Ruleset, desired: &Ruleset, plan: Plan) -> Result<(), TestCaseError> {
    let steps = plan.transactions();
    prop_assert!(steps.len() <= 3);
    let mut next = actual.clone();
    for step in &steps {
        apply(&mut next, step).map_err(|err| TestCaseError::fail(err.to_string()))?;
    }
    prop_assert!(&next == desired);
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_plan_leads_to_what_is_desired(views in vec(worlds::view(), 2..4)) {
        let mut actual = Ruleset::default();
        for (view, revision) in views.iter().zip(1..) {
            let desired = lowered(view, revision, &mut LowerCache::new());
            check(&actual, &desired)?;
            actual = desired;
        }
        check(&actual, &Ruleset::default())?;
    }

    #[test]
    fn what_the_cache_remembers_changes_nothing(
        first in worlds::view(),
        edits in vec((select(worlds::POLICIES.as_slice()), worlds::policy("gnp/new"), worlds::config()), 1..4),
    ) {
        let mut view = first;
        let mut cache = LowerCache::new();
        let mut actual = lowered(&view, 1, &mut cache);
        for (name, policy, config) in edits {
            view.policies.insert(PolicyId::from(name), Arc::new(policy));
            let warm = lowered(&view, 2, &mut cache);
            let cold = lowered(&view, 2, &mut LowerCache::new());
            prop_assert!(warm == cold, "warm {:#?}\ncold {:#?}", diff(&cold, &warm), diff(&warm, &cold));
            check(&actual, &warm)?;
            view.config = Arc::new(config);
            actual = lowered(&view, 3, &mut cache);
            prop_assert!(actual == lowered(&view, 3, &mut LowerCache::new()));
        }
    }

    #[test]
    fn members_go_the_short_way_to_the_same_place(
        first in worlds::view(),
        edits in vec(vec((any::<prop::sample::Index>(), worlds::member_net(), worlds::port_member()), 1..4), 1..5),
    ) {
        let mut view = first;
        let mut cache = LowerCache::new();
        let mut actual = lowered(&view, 0, &mut cache);
        for (edit, revision) in edits.into_iter().zip(1..) {
            let change = toggle(&mut view, edit);
            let position = worlds::position(revision);
            let desired = lowered(&view, revision, &mut LowerCache::new());
            match lower_members(&actual, &view, &change, Some(&position)) {
                Some(plan) => {
                    apply(&mut actual, &plan).map_err(|err| TestCaseError::fail(err.to_string()))?;
                    prop_assert!(actual == desired);
                    cache.remember_members(&view, &actual, change.sets.keys());
                    prop_assert!(diff(&actual, &lowered(&view, revision, &mut cache)).is_empty());
                }
                None => actual = desired,
            }
        }
    }
}

/// Members that are there go, others come.
fn toggle(
    view: &mut View,
    edit: Vec<(
        prop::sample::Index,
        ipnet::IpNet,
        palisade_policy::set::PortMember,
    )>,
) -> Change {
    let mut change = Change::default();
    for (at, net, port) in edit {
        let ids: Vec<SetId> = view.sets.keys().cloned().collect();
        let id = at.get(&ids).clone();
        let Some(set) = view.sets.get_mut(&id) else {
            continue;
        };
        let member = if set.holds_ports() {
            Member::Port(port)
        } else {
            Member::Net(net)
        };
        let set = Arc::make_mut(set);
        let patch = change.sets.entry(id).or_insert(SetChange::Patched {
            add: Vec::new(),
            remove: Vec::new(),
        });
        let SetChange::Patched { add, remove } = patch else {
            continue;
        };
        if add.contains(&member) || remove.contains(&member) {
            continue;
        }
        if set.remove(&member) {
            remove.push(member);
        } else {
            set.insert(&member);
            add.push(member);
        }
        add.sort_unstable();
        remove.sort_unstable();
    }
    change
}

fn main_of(ruleset: &mut Ruleset) -> &mut palisade_ruleset::ir::Table {
    ruleset
        .tables
        .get_mut(&TableName::Main)
        .expect("the main table")
}

#[test]
fn foreign_changes_are_repaired() {
    let view = crate::views::small_view();
    let desired = lowered(&view, 1, &mut LowerCache::new());
    let mut actual = desired.clone();
    let table = main_of(&mut actual);
    let stranger = ChainName::new("stranger");
    let accept = Rule::new(vec![Expression::Verdict(Verdict::Accept)]);
    let chain = |rules: Vec<Rule>| Chain {
        base: None,
        rules: Arc::new(rules),
    };
    table.chains.insert(stranger.clone(), chain(vec![accept]));
    let jump = Rule::new(vec![Expression::Verdict(Verdict::Jump(stranger))]);
    let input = table
        .chains
        .get_mut(&ChainName::new("input"))
        .expect("the input chain");
    Arc::make_mut(&mut input.rules).insert(0, jump);
    let plan = check(&actual, &desired).expect("a plan");
    assert!(matches!(
        plan.ops.as_slice(),
        [
            Op::FlushChain { .. },
            Op::AddRules { .. },
            Op::DeleteChain { .. }
        ]
    ));
}

#[test]
fn a_set_of_the_wrong_kind_costs_the_table() {
    let view = crate::views::small_view();
    let desired = lowered(&view, 1, &mut LowerCache::new());
    let mut actual = desired.clone();
    let sets = &mut main_of(&mut actual).sets;
    let set = sets
        .get_mut(&SetName::new("failsafe_in"))
        .expect("failsafes");
    Arc::make_mut(set).interval = true;
    let plan = check(&actual, &desired).expect("a plan");
    assert_eq!(plan.ops.first(), Some(&Op::DeleteTable(TableName::Main)));
}

#[test]
fn dangling_plans_are_refused() {
    let mut ruleset = lowered(&crate::views::small_view(), 1, &mut LowerCache::new());
    let before = ruleset.clone();
    let plan = Plan {
        ops: vec![Op::DeleteChain {
            table: TableName::Main,
            chain: ChainName::new("host_out"),
        }],
    };
    assert!(apply(&mut ruleset, &plan).is_err());
    assert!(ruleset == before);
}

#[test]
fn replacing_one_policy_of_many_touches_one_bucket() {
    let mut view = crate::views::wide_view(1000);
    let mut cache = LowerCache::new();
    let actual = lowered(&view, 1, &mut cache);
    let policy = crate::views::port_policy(500, "s:02");
    view.policies
        .insert(PolicyId::from("gnp/p0500"), Arc::new(policy));
    let desired = lowered(&view, 1, &mut cache);
    let plan = check(&actual, &desired).expect("a plan");
    let kinds: Vec<_> = plan.ops.iter().map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), 7, "{:#?}", plan.ops);
    let shared = |ruleset: &Ruleset| -> Vec<Arc<palisade_ruleset::ir::Set>> {
        ruleset.tables[&TableName::Main]
            .sets
            .values()
            .cloned()
            .collect()
    };
    let (before, after) = (shared(&actual), shared(&desired));
    let kept = after
        .iter()
        .filter(|set| before.iter().any(|old| Arc::ptr_eq(old, set)))
        .count();
    assert!(kept >= 1, "sets of selectors are shared");
}

#[test]
fn a_member_of_a_large_set_is_one_element() {
    let mut view = crate::views::wide_view(2);
    let mut cache = LowerCache::new();
    let mut actual = lowered(&view, 1, &mut cache);
    let id = SetId::from("s:01");
    let member = Member::Net("10.9.9.9/32".parse().expect("a net"));
    let set = view.sets.get_mut(&id).expect("the set");
    assert!(Arc::make_mut(set).insert(&member));
    assert!(matches!(&**set, IpSet::Nets(_)));
    let mut change = Change::default();
    let patched = SetChange::Patched {
        add: vec![member],
        remove: Vec::new(),
    };
    change.sets.insert(id, patched);
    let position = worlds::position(2);
    let plan = lower_members(&actual, &view, &change, Some(&position)).expect("the short way");
    // The member, and the position out and in.
    assert_eq!(plan.ops.len(), 3, "{plan:#?}");
    apply(&mut actual, &plan).expect("applies");
    assert!(actual == lowered(&view, 2, &mut LowerCache::new()));
}

#[test]
fn members_that_are_there_already_are_refused_and_nothing_is_left() {
    let mut ruleset = lowered(&crate::views::small_view(), 1, &mut LowerCache::new());
    let before = ruleset.clone();
    let set = SetName::new("failsafe_in");
    let table = &before.tables[&TableName::Main];
    let there = table.sets[&set]
        .elements
        .first()
        .expect("an element")
        .clone();
    let fresh = palisade_ruleset::ir::Element::single(palisade_ruleset::ir::Value::ProtocolPort(
        palisade_policy::rule::Protocol::TCP,
        9,
    ));
    let add = |elements| Plan {
        ops: vec![Op::AddElements {
            table: TableName::Main,
            set: set.clone(),
            shape: palisade_ruleset::ir::Shape::ProtocolPort,
            interval: false,
            elements,
        }],
    };
    assert!(apply(&mut ruleset, &add(vec![fresh.clone(), there])).is_err());
    assert!(ruleset == before);
    assert!(apply(&mut ruleset, &add(vec![fresh])).is_ok());
    assert!(ruleset != before);
}
