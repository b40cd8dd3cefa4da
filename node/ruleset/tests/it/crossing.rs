//! A packet under way while a change is committed is judged as before or as after, in every transaction of the change.
//!
//! Worlds are such that one decision judges a packet in a base chain: classes have one tier or one profile, and members of
//! sets stay. Two tiers, or a tier and a set, that change at once are two decisions; no order of transactions makes them
//! one. So are an early list that is judged again and the list behind it: where both change for a packet it may meet the one
//! as before and the other as after.

use crate::{faults::jumps_again, worlds};
use palisade_policy::{
    class::ClassProfile,
    ids::PolicyId,
    packet::{CtState, Packet},
    rule::Policy,
    view::View,
};
use palisade_ruleset::{
    apply, diff,
    interpret::{Crossing, End, Given, judge_crossing, judge_given},
    ir::{Expression, Rule, Ruleset, Verdict},
    lower::{LowerCache, lower},
    plan::Plan,
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use std::{collections::BTreeSet, sync::Arc};

mod named;

/// What of a world becomes that of another.
#[derive(Clone, Copy, Debug)]
enum Changes {
    OnePolicy,
    Policies,
    Config,
    Endpoints,
    All,
}

/// A change, and packets under way.
#[derive(Clone, Debug)]
struct Case {
    before: View,
    after: View,
    packets: Vec<Packet>,
}

fn case() -> impl Strategy<Value = Case> {
    use Changes::{All, Config, Endpoints, OnePolicy, Policies};
    let edits = vec(
        (select(&worlds::POLICIES[..]), worlds::policy("gnp/new")),
        3,
    );
    (
        select(vec![OnePolicy, Policies, Config, Endpoints, All]),
        (worlds::view(), worlds::view()),
        edits,
        vec(worlds::packet(), 40),
    )
        .prop_map(|(changes, (mut before, mut other), edits, mut packets)| {
            decide_once(&mut before);
            decide_once(&mut other);
            let mut after = before.clone();
            let edits = edits.into_iter();
            let replace = |view: &mut View, (name, policy): (&str, Policy)| {
                let id = PolicyId::from(name);
                view.policies.insert(id, Arc::new(policy));
            };
            match changes {
                OnePolicy => edits.take(1).for_each(|edit| replace(&mut after, edit)),
                Policies => edits.for_each(|edit| replace(&mut after, edit)),
                Config => after.config = other.config,
                Endpoints => {
                    after.endpoints = other.endpoints;
                    after.classes.extend(other.classes);
                }
                All => after = other,
            }
            keep_members(&before, &mut after);
            for packet in &mut packets {
                // Others are accepted by what never changes.
                if matches!(packet.ct, CtState::Established | CtState::Related) {
                    packet.ct = CtState::New;
                }
            }
            Case {
                before,
                after,
                packets,
            }
        })
}

/// One tier or profile in every class.
fn decide_once(view: &mut View) {
    for class in view.classes.values_mut() {
        let class = Arc::make_mut(class);
        class.tiers.retain(|tier| !tier.policies.is_empty());
        class.tiers.truncate(1);
        for tier in &mut class.tiers {
            let mut seen = BTreeSet::new();
            tier.policies.retain(|policy| seen.insert(policy.clone()));
        }
        class.profiles.truncate(1);
        if !class.tiers.is_empty() {
            for profile in &mut class.profiles {
                if let ClassProfile::Present(name) = profile {
                    *profile = ClassProfile::Missing(name.clone());
                }
            }
        }
    }
}

/// Sets are decisions of their own.
fn keep_members(before: &View, after: &mut View) {
    after.sets.clone_from(&before.sets);
    let config = Arc::make_mut(&mut after.config);
    let was = &before.config;
    config.failsafe_inbound.clone_from(&was.failsafe_inbound);
    config.failsafe_outbound.clone_from(&was.failsafe_outbound);
}

fn lowered(view: &View, revision: u64) -> Ruleset {
    let position = worlds::position(revision);
    let environment = worlds::environment();
    lower(view, &environment, Some(&position), &mut LowerCache::new()).ruleset
}

/// The ruleset before the first plan, and after each.
fn states(before: &Ruleset, plans: &[Plan]) -> Vec<Ruleset> {
    let mut states = vec![before.clone()];
    for plan in plans {
        let mut next = states.last().expect("the first").clone();
        apply(&mut next, plan).expect("plans apply");
        states.push(next);
    }
    states
}

/// What was seen of packets under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Seen {
    /// Lookups before which a transaction was committed.
    crossings: usize,
    /// Those where it matters to the base chain.
    matter: usize,
    /// Judged neither as before nor as after.
    mixed: usize,
    /// Accepted so, and denied by both.
    leaked: usize,
}

/// Commits these plans before every lookup of every packet, and calls for what is mixed.
fn cross(
    before: &Ruleset,
    plans: &[Plan],
    packets: &[Packet],
    mut mixed: impl FnMut(&Packet, usize, &Crossing),
) -> Seen {
    let mut seen = Seen::default();
    let given = Given::default();
    for pair in states(before, plans).windows(2) {
        let [before, after] = pair else { continue };
        for packet in packets {
            for at in 0.. {
                let crossing = judge_crossing(before, after, at, packet, &given);
                let Some(crossing) = crossing.expect("our own") else {
                    break;
                };
                seen.crossings += 1;
                seen.matter += usize::from(crossing.before != crossing.after);
                if !is_mixed(&crossing) {
                    continue;
                }
                // Another base chain may see to it.
                let verdict =
                    |state: &Ruleset| judge_given(state, packet, &given).expect("our own").verdict;
                let changes =
                    |of: fn(&Ruleset) -> Ruleset| verdict(&of(before)) != verdict(&of(after));
                let twice = changes(without_again) && changes(again_alone);
                if !(twice || [verdict(before), verdict(after)].contains(&crossing.verdict)) {
                    let denies = |end| end != End::Accept;
                    seen.mixed += 1;
                    seen.leaked += usize::from(
                        denies(crossing.before.end)
                            && denies(crossing.after.end)
                            && !denies(crossing.ended.end),
                    );
                    mixed(packet, at, &crossing);
                }
            }
        }
    }
    seen
}

/// Early lists are judged once only.
fn without_again(ruleset: &Ruleset) -> Ruleset {
    each_again(ruleset, |rules, at| {
        rules.remove(at);
    })
}

/// Where early lists are judged again nothing else lets a packet through.
fn again_alone(ruleset: &Ruleset) -> Ruleset {
    each_again(ruleset, |rules, at| {
        rules.truncate(at + 1);
        rules.push(Rule::new(vec![Expression::Verdict(Verdict::Drop)]));
    })
}

fn each_again(ruleset: &Ruleset, change: fn(&mut Vec<Rule>, usize)) -> Ruleset {
    let mut ruleset = ruleset.clone();
    let tables = ruleset.tables.values_mut();
    for chain in tables.flat_map(|table| table.chains.values_mut()) {
        let at = chain.rules.iter().position(jumps_again);
        if let Some(at) = at.filter(|_| chain.base.is_some()) {
            change(Arc::make_mut(&mut chain.rules), at);
        }
    }
    ruleset
}

fn is_mixed(crossing: &Crossing) -> bool {
    crossing.ended != crossing.before && crossing.ended != crossing.after
}

/// Half as many worlds as elsewhere: each packet goes its way many times.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases / 2,
        failure_persistence: None,
        ..config
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_packet_under_way_is_judged_as_before_or_as_after(case in case()) {
        let (before, after) = (lowered(&case.before, 1), lowered(&case.after, 2));
        let plans = diff(&before, &after).transactions();
        let mut found = None;
        cross(&before, &plans, &case.packets, |packet, at, crossing| {
            found.get_or_insert((packet.clone(), at, crossing.clone()));
        });
        prop_assert!(found.is_none(), "{:#?}\n{:#?}", found, plans);
    }
}

/// Always the same worlds.
fn seen_of(cases: usize, cut: impl Fn(Plan) -> Vec<Plan>) -> Seen {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut sum = Seen::default();
    for _ in 0..cases {
        let case = case().new_tree(&mut runner).expect("a case").current();
        let (before, after) = (lowered(&case.before, 1), lowered(&case.after, 2));
        let plans = cut(diff(&before, &after));
        let seen = cross(&before, &plans, &case.packets, |_, _, _| {});
        sum.crossings += seen.crossings;
        sum.matter += seen.matter;
        sum.mixed += seen.mixed;
        sum.leaked += seen.leaked;
    }
    sum
}

#[test]
fn one_transaction_for_all_would_leak() {
    let seen = seen_of(60, |plan| vec![plan]);
    assert!(seen.matter > 500 && seen.leaked > 10, "{seen:?}");
}

#[test]
fn the_same_worlds_in_steps_do_not() {
    let seen = seen_of(60, Plan::transactions);
    assert!(seen.matter > 500, "{seen:?}");
    assert_eq!(seen.mixed, 0, "{seen:?}");
}
