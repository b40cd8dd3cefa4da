//! Mixtures that were found, each as its smallest change.

use super::{Seen, cross, lowered, states};
use crate::views::{add_list, node_config, port, rule, small_view, view};
use palisade_policy::{
    class::{Class, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    endpoint::InterfaceMatch,
    evaluate::Verdict,
    ids::{ClassId, PolicyId, TierName},
    packet::{CtState, Packet, Way},
    rule::{Action, Match, Policy, PortMatch, PortRange, Protocol},
    view::View,
};
use palisade_ruleset::{
    diff,
    interpret::{Crossing, Given, judge_crossing, judge_given},
    ir::{ChainName, Ruleset},
    plan::Plan,
};
use std::{collections::BTreeMap, sync::Arc};

/// A new connection to a port, through `eth0`.
fn to(destination_port: u16) -> Packet {
    Packet {
        answers: BTreeMap::new(),
        way: Way::In {
            interface: "eth0".into(),
        },
        source: "10.0.0.5".parse().expect("an address"),
        destination: "10.0.0.1".parse().expect("an address"),
        protocol: Protocol::TCP,
        source_port: Some(40_000),
        destination_port: Some(destination_port),
        icmp: None,
        ct: CtState::New,
        original_destination: None,
    }
}

fn one(action: Action, matches: Match) -> Policy {
    Policy {
        ingress: vec![rule(1, action, matches)],
        ..Policy::default()
    }
}

fn range(first: u16, last: u16) -> Match {
    let mut matches = port(Protocol::TCP, first);
    matches.destination.ports = PortMatch {
        ranges: PortRange::new(first, last).into_iter().collect(),
        sets: Vec::new(),
    };
    matches
}

fn of(policies: Vec<Policy>) -> View {
    let named = policies.into_iter().zip(["gnp/a", "gnp/b", "gnp/c"]);
    view(
        named
            .map(|(policy, name)| (name.to_owned(), policy))
            .collect(),
        Vec::new(),
    )
}

/// In one transaction, and as the daemon commits it.
fn both(before: &View, after: &View, packet: &Packet) -> (Seen, Seen) {
    let (before, after) = (lowered(before, 1), lowered(after, 2));
    let plan = diff(&before, &after);
    let seen = |plans: &[Plan]| cross(&before, plans, std::slice::from_ref(packet), |_, _, _| {});
    let steps = plan.clone().transactions();
    (seen(&[plan]), seen(&steps))
}

#[test]
fn a_denied_port_that_leaves_a_range_is_never_in_neither() {
    let allowed = one(Action::Allow, range(8000, 8100));
    let all = one(Action::Allow, port(Protocol::TCP, 80));
    let mut all = all;
    all.ingress[0].matches.destination.ports = PortMatch::default();
    let world = |denied| {
        of(vec![
            one(Action::Deny, denied),
            allowed.clone(),
            all.clone(),
        ])
    };
    let (at_once, steps) = both(
        &world(range(70, 90)),
        &world(port(Protocol::TCP, 80)),
        &to(80),
    );
    assert!(at_once.leaked > 0, "{at_once:?}");
    assert_eq!(steps.mixed, 0, "{steps:?}");
}

#[test]
fn a_denied_interface_that_falls_to_the_default_endpoint_is_never_between() {
    let named = of(vec![one(Action::Deny, Match::default())]);
    let mut any = named.clone();
    for endpoint in any.endpoints.values_mut() {
        Arc::make_mut(endpoint).interface = InterfaceMatch::Any;
    }
    let (_, steps) = both(&named, &any, &to(80));
    assert!(steps.crossings > 0);
    assert_eq!(steps.mixed, 0, "{steps:?}");
    let (_, steps) = both(&any, &named, &to(80));
    assert_eq!(steps.mixed, 0, "{steps:?}");
}

#[test]
fn a_table_that_goes_is_no_reason_to_find_new_chains_empty() {
    let mut before = small_view();
    add_list(&mut before, PolicyList::Untracked, Direction::Ingress);
    let mut after = small_view();
    after.policies.insert(
        "gnp/web".into(),
        Arc::new(one(Action::Deny, Match::default())),
    );
    before.policies.insert(
        "gnp/web".into(),
        Arc::new(one(Action::Deny, port(Protocol::TCP, 82))),
    );
    let (at_once, steps) = both(&before, &after, &to(81));
    assert!(at_once.leaked > 0, "{at_once:?}");
    assert_eq!(steps.mixed, 0, "{steps:?}");
}

/// `eth0` with a pre-DNAT policy and a normal one. Nothing else is let in.
fn early_and_normal(early: Policy, normal: Policy) -> View {
    let mut view = of(vec![normal]);
    let mut config = node_config();
    config.failsafe_inbound.clear();
    view.config = Arc::new(config);
    view.policies.insert("gnp/early".into(), Arc::new(early));
    let class = Class {
        list: PolicyList::PreDnat,
        direction: Direction::Ingress,
        endpoint: EndpointKind::Host,
        tiers: vec![ClassTier {
            name: TierName::from("default"),
            default: TierDefault::Pass,
            policies: vec![PolicyId::from("gnp/early")],
            staged: Vec::new(),
        }],
        profiles: Vec::new(),
    };
    let id = ClassId::of(&class);
    view.classes.insert(id.clone(), Arc::new(class));
    let endpoint = view.endpoints.get_mut(&"hep/h0".into()).expect("eth0");
    let classes = &mut Arc::make_mut(endpoint).classes;
    classes.insert((PolicyList::PreDnat, Direction::Ingress), id);
    view
}

/// Sent to one port, and arrives at another.
fn translated(sent_to: u16, destination_port: u16) -> Packet {
    let address = "10.0.0.1".parse().expect("an address");
    Packet {
        original_destination: Some((address, Some(sent_to))),
        ..to(destination_port)
    }
}

#[test]
fn an_early_rule_and_its_copies_change_in_one_transaction() {
    let tcp = |n| port(Protocol::TCP, n);
    let early = |allowed, denied| Policy {
        ingress: vec![
            rule(1, Action::Allow, tcp(allowed)),
            rule(2, Action::Deny, tcp(denied)),
        ],
        ..Policy::default()
    };
    let normal = || one(Action::Allow, tcp(90));
    let before = early_and_normal(early(80, 90), normal());
    let after = early_and_normal(early(81, 91), normal());
    let packets = [
        to(80),
        to(81),
        to(90),
        translated(80, 9000),
        translated(81, 9000),
        translated(9000, 80),
        translated(90, 9000),
        translated(9000, 90),
    ];
    let (before, after) = (lowered(&before, 1), lowered(&after, 2));
    let verdicts = |state: &Ruleset| {
        packets
            .each_ref()
            .map(|packet| judge_given(state, packet, &Given::default()).expect("ours"))
            .map(|judged| judged.verdict)
    };
    let ends = [verdicts(&before), verdicts(&after)];
    assert_ne!(ends[0], ends[1]);
    for state in states(&before, &diff(&before, &after).transactions()) {
        assert!(ends.contains(&verdicts(&state)));
    }
}

/// Before, the early list says nothing; after, normal policy allows what it denies. While a packet is on its way between the
/// two stages nobody would deny it, were the early list not judged again.
#[test]
fn what_early_policy_comes_to_deny_is_not_let_in_between_the_stages() {
    let tcp = port(Protocol::TCP, 80);
    let other = one(Action::Deny, port(Protocol::TCP, 81));
    let denied = early_and_normal(other, one(Action::Deny, tcp.clone()));
    let allowed = early_and_normal(
        one(Action::Deny, tcp.clone()),
        one(Action::Allow, tcp.clone()),
    );
    let (before, after) = (lowered(&denied, 1), lowered(&allowed, 2));
    let mut crossings = 0;
    for pair in states(&before, &diff(&before, &after).transactions()).windows(2) {
        let [before, after] = pair else { continue };
        for at in 0.. {
            let crossing = judge_crossing(before, after, at, &to(80), &Given::default());
            let early = |crossing: &Crossing| crossing.chain == ChainName::new("prednat");
            let Some(crossing) = crossing.expect("our own").filter(early) else {
                break;
            };
            assert_eq!(crossing.verdict, Verdict::Drop, "{crossing:#?}");
            crossings += 1;
        }
    }
    assert!(crossings > 0);
}

#[test]
fn one_rule_takes_two_transactions_and_a_rule_for_all_ports_three() {
    let rule_of = |set: &str| crate::views::from(port(Protocol::TCP, 80), set);
    let steps = |before: &View, after: &View| {
        diff(&lowered(before, 1), &lowered(after, 2))
            .transactions()
            .len()
    };
    let one = |matches| of(vec![one(Action::Allow, matches)]);
    assert_eq!(steps(&one(rule_of("s:01")), &one(rule_of("s:02"))), 2);
    let (portless, of_tcp) = (Match::default(), rule_of("s:01"));
    assert_eq!(steps(&one(of_tcp), &one(portless)), 3);
}
