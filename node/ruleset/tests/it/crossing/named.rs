//! Mixtures that were found, each as its smallest change.

use super::{Seen, cross, lowered};
use crate::views::{add_list, port, rule, small_view, view};
use palisade_policy::{
    class::{Direction, PolicyList},
    endpoint::InterfaceMatch,
    packet::{CtState, Packet, Way},
    rule::{Action, Match, Policy, PortMatch, PortRange, Protocol},
    view::View,
};
use palisade_ruleset::{diff, plan::Plan};
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
