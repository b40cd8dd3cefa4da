//! Faults that were made before, put into the ruleset on purpose: each has a packet that tells, and the ladder finds it.

use crate::{
    ladder::{differ, givens},
    worlds,
};
use palisade_policy::{
    class::{Class, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    endpoint::{Endpoint, InterfaceMatch},
    evaluate::{Evaluator, Verdict as Judged},
    ids::{ClassId, IfName, PolicyId, RuleId, TierName},
    packet::{CtState, Packet, Way},
    rule::{
        Action, EntityMatch, Match, Policy, PortMatch, PortRange, Protocol, Rule as PolicyRule,
    },
    view::View,
};
use palisade_ruleset::{
    interpret::{Given, judge_given},
    ir::Ruleset,
    lower::{LowerCache, lower},
};
use proptest::{
    collection::vec,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use std::{collections::BTreeMap, sync::Arc};

mod mutation;

pub(crate) use mutation::jumps_again;
use mutation::{FAULTS, Fault};

/// A world in which every fault shows.
fn world() -> View {
    let tcp = |port| Match {
        protocol: Some(Protocol::TCP),
        destination: EntityMatch {
            ports: PortMatch {
                ranges: vec![PortRange::single(port)],
                sets: Vec::new(),
            },
            ..EntityMatch::default()
        },
        ..Match::default()
    };
    let allow = |id, port| PolicyRule {
        id: RuleId(id),
        action: Action::Allow,
        matches: tcp(port),
    };
    let policy = |ingress, egress| {
        Arc::new(Policy {
            ingress,
            egress,
            staged: false,
        })
    };
    let mut view = View {
        plugins: BTreeMap::new(),
        config: Arc::new(crate::views::node_config()),
        endpoints: BTreeMap::new(),
        classes: BTreeMap::new(),
        policies: BTreeMap::from([
            ("gnp/normal".into(), policy(vec![allow(1, 80)], vec![])),
            (
                "gnp/untracked".into(),
                policy(vec![allow(2, 8055)], vec![allow(3, 8055)]),
            ),
            (
                "gnp/prednat".into(),
                policy(vec![allow(4, 22), allow(5, 443)], vec![]),
            ),
        ]),
        sets: BTreeMap::new(),
    };
    let mut endpoint = |id: &str, interface: &str, lists: &[(PolicyList, Direction, &str)]| {
        let kind = if id.starts_with("wep/") {
            EndpointKind::Workload
        } else {
            EndpointKind::Host
        };
        let mut classes = BTreeMap::new();
        for (list, direction, policy) in lists {
            let tier = ClassTier {
                name: TierName::from("default"),
                default: match list {
                    PolicyList::Untracked | PolicyList::PreDnat => TierDefault::Pass,
                    PolicyList::Normal | PolicyList::Forward => TierDefault::Deny,
                },
                policies: vec![PolicyId::from(*policy)],
                staged: Vec::new(),
            };
            let class = Class {
                list: *list,
                direction: *direction,
                endpoint: kind,
                tiers: vec![tier],
                profiles: Vec::new(),
            };
            let id = ClassId::of(&class);
            view.classes.insert(id.clone(), Arc::new(class));
            classes.insert((*list, *direction), id);
        }
        let endpoint = Endpoint {
            kind,
            interface: InterfaceMatch::Named(interface.into()),
            addresses: vec!["10.0.0.2".parse().expect("an address")],
            source_prefixes: Vec::new(),
            labels: BTreeMap::new(),
            classes,
        };
        view.endpoints.insert(id.into(), Arc::new(endpoint));
    };
    let (normal, untracked) = (PolicyList::Normal, PolicyList::Untracked);
    let (ingress, egress) = (Direction::Ingress, Direction::Egress);
    let both = [
        (normal, ingress, "gnp/normal"),
        (normal, egress, "gnp/normal"),
    ];
    let in_and_untracked = [both[0], both[1], (untracked, ingress, "gnp/untracked")];
    let out_and_untracked = [both[0], both[1], (untracked, egress, "gnp/untracked")];
    endpoint("hep/eth0", "eth0", &in_and_untracked);
    endpoint("hep/lo", "lo", &out_and_untracked);
    endpoint("wep/a", "cali1", &both);
    let pre_dnat_and_forward = [
        both[0],
        both[1],
        (PolicyList::PreDnat, ingress, "gnp/prednat"),
        (PolicyList::Forward, ingress, "gnp/normal"),
    ];
    endpoint("hep/eth2", "eth2", &pre_dnat_and_forward);
    assert_eq!(view.check(), vec![]);
    view
}

fn ruleset(view: &View) -> Ruleset {
    let lowered = lower(view, &worlds::environment(), None, &mut LowerCache::new());
    assert_eq!(lowered.faults, vec![]);
    lowered.ruleset
}

fn new_tcp(way: Way, port: u16) -> Packet {
    Packet {
        answers: BTreeMap::new(),
        way,
        source: "10.0.0.2".parse().expect("an address"),
        destination: "10.0.0.3".parse().expect("an address"),
        protocol: Protocol::TCP,
        source_port: Some(40_000),
        destination_port: Some(port),
        icmp: None,
        ct: CtState::New,
        original_destination: None,
    }
}

fn arriving(interface: &str, port: u16) -> Packet {
    let interface = interface.into();
    new_tcp(Way::In { interface }, port)
}

fn leaving(interface: &str, port: u16) -> Packet {
    let interface = interface.into();
    new_tcp(Way::Out { interface }, port)
}

fn verdict(ruleset: &Ruleset, packet: &Packet, given: &Given) -> Judged {
    judge_given(ruleset, packet, given)
        .expect("a ruleset of ours")
        .verdict
}

/// Policy and ruleset say `right` of the packet; with the fault the ruleset says something else.
fn tells(fault: Fault, packet: &Packet, given: &Given, right: Judged) {
    tells_in(&world(), fault, packet, given, right);
}

fn tells_in(view: &View, fault: Fault, packet: &Packet, given: &Given, right: Judged) {
    let environment = worlds::environment();
    let said = Evaluator::new(view, &environment).judge(packet);
    assert_eq!(said.verdict, right, "{said:#?}");
    let ruleset = ruleset(view);
    assert_eq!(verdict(&ruleset, packet, given), right);
    assert_ne!(verdict(&fault.put_into(&ruleset), packet, given), right);
}

#[test]
fn an_invalid_packet_passes_where_nobody_governs() {
    let mut packet = arriving("eth1", 80);
    packet.ct = CtState::Invalid;
    let fault = Fault::InvalidBeforeDispatch;
    tells(fault, &packet, &Given::default(), Judged::Accept);
}

#[test]
fn a_failsafe_does_not_open_the_host_to_workloads() {
    let packet = arriving("cali1", 22);
    let fault = Fault::FailsafeBeforeDispatch;
    tells(fault, &packet, &Given::default(), Judged::Drop);
}

#[test]
fn what_untracked_policy_allows_skips_normal_policy() {
    let packet = arriving("eth0", 8055);
    let fault = Fault::NotJudgedAgain;
    tells(fault, &packet, &Given::default(), Judged::Accept);
}

#[test]
fn what_is_translated_to_a_port_that_untracked_policy_allows_was_not_allowed() {
    let mut packet = arriving("eth0", 8055);
    packet.original_destination = Some(("10.0.0.3".parse().expect("an address"), Some(81)));
    let fault = Fault::AgainByTheHeader;
    tells(fault, &packet, &Given::default(), Judged::Drop);
}

#[test]
fn a_mark_that_someone_else_set_opens_nothing() {
    let given = |mark, written| Given {
        mark,
        written,
        ..Given::default()
    };
    let packet = arriving("eth0", 81);
    for given in [given(0x0001_0001, None), given(0, Some(u32::MAX))] {
        tells(Fault::MarkBelieved, &packet, &given, Judged::Drop);
    }
}

#[test]
fn an_untracked_allow_on_the_way_out_of_loopback_does_not_open_the_way_in() {
    let ruleset = ruleset(&world());
    let out = judge_given(&ruleset, &leaving("lo", 8055), &Given::default());
    let out = out.expect("a ruleset of ours");
    assert_eq!(out.verdict, Judged::Accept);
    for ct in [CtState::New, CtState::Untracked] {
        let given = Given {
            mark: out.mark,
            ..Given::default()
        };
        let mut packet = arriving("lo", 8055);
        packet.ct = ct;
        assert_eq!(verdict(&ruleset, &packet, &given), Judged::Drop);
    }
}

#[test]
fn pre_dnat_policy_judges_what_was_sent() {
    let (from, to) = ("eth2".into(), "eth9".into());
    let mut packet = new_tcp(Way::Forward { from, to }, 9000);
    let sent_to = |port| Some(("10.0.0.3".parse().expect("an address"), Some(port)));
    packet.original_destination = sent_to(443);
    let fault = Fault::AgainByTheHeader;
    tells(fault, &packet, &Given::default(), Judged::Accept);
    packet.destination_port = Some(443);
    packet.original_destination = sent_to(9000);
    tells(fault, &packet, &Given::default(), Judged::Drop);
}

#[test]
fn what_comes_through_loopback_was_translated_before_it_came() {
    let mut view = world();
    let mut endpoint = (*view.endpoints[&"hep/eth2".into()]).clone();
    endpoint.interface = InterfaceMatch::Named("lo".into());
    view.endpoints.insert("hep/lo".into(), Arc::new(endpoint));
    let mut packet = arriving("lo", 443);
    let sent_to = |port| Some(("10.0.0.3".parse().expect("an address"), Some(port)));
    packet.original_destination = sent_to(9000);
    let fault = Fault::AgainByTheEntryOnLoopback;
    tells_in(&view, fault, &packet, &Given::default(), Judged::Accept);
    packet.destination_port = Some(9000);
    packet.original_destination = sent_to(443);
    tells_in(&view, fault, &packet, &Given::default(), Judged::Drop);
}

#[test]
fn untracked_policy_untracks_on_loopback_what_has_no_connection() {
    let mut view = world();
    let mut endpoint = (*view.endpoints[&"hep/eth0".into()]).clone();
    endpoint.interface = InterfaceMatch::Named("lo".into());
    view.endpoints.insert("hep/lo".into(), Arc::new(endpoint));
    let (from, to) = ("lo".into(), "lo".into());
    let mut packet = new_tcp(Way::Forward { from, to }, 8055);
    packet.ct = CtState::Invalid;
    let said = Evaluator::new(&view, &worlds::environment()).judge(&packet);
    assert_eq!(said.verdict, Judged::Accept, "{said:#?}");
    let done = verdict(&ruleset(&view), &packet, &Given::default());
    assert_eq!(done, Judged::Accept);
}

#[test]
fn a_failsafe_that_pre_dnat_policy_allows_too_is_forwarded_by_forward_policy_only() {
    let (from, to) = ("eth2".into(), "eth9".into());
    let mut packet = new_tcp(Way::Forward { from, to }, 22);
    let fault = Fault::AgainWithoutFailsafes;
    tells(fault, &packet, &Given::default(), Judged::Drop);
    packet.destination_port = Some(2222);
    packet.original_destination = Some(("10.0.0.3".parse().expect("an address"), Some(22)));
    tells(fault, &packet, &Given::default(), Judged::Drop);
}

#[test]
fn replies_of_workload_interfaces_are_denied_where_no_workload_is() {
    let mut view = world();
    view.endpoints.remove(&"wep/a".into());
    for way in [
        Way::In {
            interface: "cali9".into(),
        },
        Way::Forward {
            from: "cali9".into(),
            to: "eth9".into(),
        },
    ] {
        let mut packet = new_tcp(way, 40_000);
        packet.ct = CtState::Established;
        let fault = Fault::RepliesOfUnknownWorkloads;
        tells_in(&view, fault, &packet, &Given::default(), Judged::Drop);
    }
    let mut packet = arriving("eth0", 40_000);
    packet.ct = CtState::Established;
    assert_eq!(
        verdict(&ruleset(&view), &packet, &Given::default()),
        Judged::Accept
    );
}

#[test]
fn packets_that_others_keep_untracked_are_judged() {
    let mut packet = arriving("eth0", 81);
    packet.ct = CtState::Untracked;
    let fault = Fault::UntrackedForTheList;
    tells(fault, &packet, &Given::default(), Judged::Drop);
}

#[test]
fn a_translated_flow_is_judged_where_it_leaves() {
    let mut packet = leaving("eth0", 444);
    packet.original_destination = Some(("10.101.0.10".parse().expect("an address"), Some(80)));
    let given = Given {
        routed: Some(IfName::from("eth1")),
        ..Given::default()
    };
    let fault = Fault::TranslatedJudgedInOutputOnly;
    tells(fault, &packet, &given, Judged::Drop);
}

#[test]
fn a_forwarded_translated_flow_is_not_the_hosts_own() {
    let (from, to) = ("eth1".into(), "eth0".into());
    let mut packet = new_tcp(Way::Forward { from, to }, 444);
    packet.original_destination = Some(("10.101.0.10".parse().expect("an address"), Some(80)));
    let fault = Fault::ForwardedJudgedInPostrouting;
    tells(fault, &packet, &Given::default(), Judged::Accept);
}

#[test]
fn neighbours_find_each_other_on_governed_interfaces_and_from_workloads() {
    for interface in ["eth0", "cali1"] {
        let mut packet = arriving(interface, 0);
        packet.source = "fe80::1".parse().expect("an address");
        packet.destination = "ff02::1:ff00:1".parse().expect("an address");
        packet.protocol = Protocol::ICMPV6;
        (packet.source_port, packet.destination_port) = (None, None);
        packet.icmp = Some((135, 0));
        packet.ct = CtState::Untracked;
        let fault = Fault::NoNeighbourDiscovery;
        tells(fault, &packet, &Given::default(), Judged::Accept);
    }
}

#[test]
fn the_ladder_finds_every_fault() {
    const WORLDS: usize = 400;
    let mut runner = TestRunner::deterministic();
    let environment = worlds::environment();
    let worlds = (
        worlds::view(),
        vec((worlds::packet(), worlds::mark(), worlds::interface()), 40),
    );
    let mut hidden = FAULTS.to_vec();
    for _ in 0..WORLDS {
        let (view, packets) = worlds.new_tree(&mut runner).expect("a world").current();
        let right = ruleset(&view);
        let evaluator = Evaluator::new(&view, &environment);
        hidden.retain(|fault| {
            let wrong = fault.put_into(&right);
            !packets.iter().any(|(packet, mark, routed)| {
                let said = evaluator.judge(packet);
                let mut givens = givens(&right, *mark, routed).into_iter();
                givens.any(|given| differ(&said, &wrong, packet, &given))
            })
        });
        if hidden.is_empty() {
            return;
        }
    }
    panic!("the ladder does not find {hidden:?} in {WORLDS} worlds");
}
