//! Pre-DNAT rules of every kind that look at the destination: they judge what was sent, also when they judge it again behind
//! the translation.

use super::{
    HOST, HOST6, OUTSIDE, OUTSIDE6,
    network::Datagram,
    on_a_host,
    view::{Open, endpoint, enforce, nothing},
};
use crate::namespace::nft;
use palisade_policy::{
    class::{Direction::Ingress, PolicyList::PreDnat},
    ids::{PolicyId, RuleId, SetId},
    rule::{Action, EntityMatch, Match, Policy, PortMatch, PortRange, Protocol, Rule},
    set::{IpSet, PortMember},
    view::View,
};
use std::sync::Arc;

/// All that is translated is translated to this port, which nothing lets through.
const ARRIVES: u16 = 7000;
const NAMED: u16 = 8200;

fn ports(first: u16, last: u16) -> PortMatch {
    PortMatch {
        ranges: PortRange::new(first, last).into_iter().collect(),
        sets: Vec::new(),
    }
}

fn nets(nets: &[&str]) -> Vec<ipnet::IpNet> {
    let net = |net: &&str| net.parse().expect("a net");
    nets.iter().map(net).collect()
}

/// By net and range of ports, by a named port, by a set of addresses, by ports that it must not be, and by ICMP.
fn policy() -> Policy {
    let to = |destination| Match {
        protocol: Some(Protocol::UDP),
        destination,
        ..Match::default()
    };
    let entity = EntityMatch::default;
    let matches = [
        to(EntityMatch {
            nets: nets(&["10.65.0.0/24", "fd00:65::1/128"]),
            ports: ports(8100, 8110),
            ..entity()
        }),
        to(EntityMatch {
            ports: PortMatch {
                ranges: Vec::new(),
                sets: vec![SetId::from("p:aa")],
            },
            ..entity()
        }),
        to(EntityMatch {
            sets: vec![SetId::from("s:aa")],
            ports: ports(8300, 8300),
            ..entity()
        }),
        Match {
            source: EntityMatch {
                nets: nets(&["10.65.0.2/32", "fd00:65::2/128"]),
                ..entity()
            },
            ..to(EntityMatch {
                not_nets: nets(&["10.99.0.0/16", "fd00:99::/32"]),
                not_ports: ports(1, 8499),
                ..entity()
            })
        },
    ];
    let rule = |(id, matches)| Rule {
        id: RuleId(id),
        action: Action::Allow,
        matches,
    };
    Policy {
        ingress: (1..).zip(matches).map(rule).collect(),
        ..Policy::default()
    }
}

fn view() -> View {
    let mut view = nothing();
    let lists = [(PreDnat, Ingress, Open::Nothing)];
    endpoint(&mut view, "eth0", &[], &lists);
    let id = PolicyId::from("gnp/eth0-PreDnat-Ingress");
    let there = view.policies.insert(id, Arc::new(policy()));
    assert!(there.is_some());
    let named = [HOST, HOST6].map(|address| PortMember {
        address: address.parse().expect("an address"),
        protocol: Protocol::UDP,
        port: NAMED,
    });
    let hosts = nets(&["10.65.0.1/32", "fd00:65::1/128"]);
    let sets = [
        ("p:aa", IpSet::Ports(named.into())),
        ("s:aa", IpSet::Nets(hosts.into_iter().collect())),
    ];
    let sets = sets.map(|(id, set)| (SetId::from(id), Arc::new(set)));
    view.sets.extend(sets);
    view
}

#[test]
fn every_kind_of_destination_is_that_before_translation() {
    on_a_host(|kernel, network| {
        for family in ["ip", "ip6"] {
            nft(&["add", "table", family, "translate"]);
            nft(&[&format!(
                "add chain {family} translate in {{ type nat hook prerouting priority dstnat; }}"
            )]);
            nft(&[&format!(
                "add rule {family} translate in udp dport 8000-8999 redirect to :{ARRIVES}"
            )]);
        }
        enforce(kernel, &view());
        for (port, expected) in [
            (8100, true),
            (8105, true),
            (8111, false),
            (NAMED, true),
            (NAMED + 1, false),
            (8300, true),
            (8301, false),
            (8499, false),
            (8500, true),
        ] {
            for (from, to) in [(OUTSIDE, HOST), (OUTSIDE6, HOST6)] {
                let sent = Datagram::new(from, to, port).arrives_at(ARRIVES);
                network.inbound(sent, expected);
            }
        }
        network.inbound(Datagram::new(OUTSIDE, HOST, ARRIVES), false);
        // Without translation the same rules hold.
        network.inbound(Datagram::new(OUTSIDE, HOST, 9500), true);
        nft(&["flush", "ruleset"]);
        network.inbound(Datagram::new(OUTSIDE, HOST, ARRIVES), true);
    });
}
