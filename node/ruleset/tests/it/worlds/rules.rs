//! Random rules, as the wire lets them in, and the sets that they name.

use super::pools::{PORT_SETS, PROTOCOLS, SETS, any_address, few, net, port, range};
use ipnet::IpNet;
use palisade_policy::{
    ids::{RuleId, SetId},
    rule::{Action, EntityMatch, Family, IcmpMatch, Match, Policy, PortMatch, Protocol, Rule},
    set::{IpSet, PortMember},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::{collections::BTreeMap, sync::Arc};

pub(super) fn ports() -> impl Strategy<Value = PortMatch> {
    let sets = select(PORT_SETS.as_slice()).prop_map(SetId::from);
    (few(range(), 3), few(sets, 2)).prop_map(|(ranges, sets)| PortMatch { ranges, sets })
}

pub(super) fn destination_ports() -> impl Strategy<Value = PortMatch> {
    let sets = select(PORT_SETS.as_slice()).prop_map(SetId::from);
    (vec(range(), 0..3), few(sets, 1)).prop_map(|(mut ranges, sets)| {
        ranges.sort_unstable();
        ranges.dedup();
        PortMatch { ranges, sets }
    })
}

pub(super) fn entity(
    ports: impl Strategy<Value = PortMatch>,
) -> impl Strategy<Value = EntityMatch> {
    let set = || select(SETS.as_slice()).prop_map(SetId::from);
    (
        few(net(), 2),
        few(net(), 2),
        few(set(), 2),
        few(set(), 1),
        ports,
        prop_oneof![5 => Just(PortMatch::default()), 1 => self::ports()],
    )
        .prop_map(
            |(nets, not_nets, sets, not_sets, ports, not_ports)| EntityMatch {
                nets,
                not_nets,
                sets,
                not_sets,
                ports,
                not_ports,
            },
        )
}

pub(super) fn icmp() -> impl Strategy<Value = IcmpMatch> {
    (select(vec![0, 8, 128, 135]), option::of(0_u8..2))
        .prop_map(|(icmp_type, code)| IcmpMatch { icmp_type, code })
}

/// As the wire lets in.
pub(super) fn matches() -> impl Strategy<Value = Match> {
    (
        option::weighted(0.15, select(vec![Family::V4, Family::V6])),
        option::weighted(0.7, select(PROTOCOLS.as_slice())),
        option::weighted(0.1, select(PROTOCOLS.as_slice())),
        option::weighted(0.5, icmp()),
        option::weighted(0.1, icmp()),
        entity(ports()),
        entity(destination_ports()),
        prop::bool::weighted(0.4),
    )
        .prop_map(
            |(family, protocol, not_protocol, icmp, not_icmp, source, destination, plain)| {
                let mut matches = Match {
                    plugin: None,
                    family,
                    protocol,
                    not_protocol,
                    icmp,
                    not_icmp,
                    source,
                    destination,
                };
                if plain {
                    matches.source = EntityMatch::default();
                    matches.destination = EntityMatch {
                        ports: matches.destination.ports,
                        ..EntityMatch::default()
                    };
                }
                match protocol {
                    Some(Protocol::ICMP) => matches.family = Some(Family::V4),
                    Some(Protocol::ICMPV6) => matches.family = Some(Family::V6),
                    _ => matches.icmp = None,
                }
                if protocol.is_some_and(|p| !p.has_ports()) {
                    for end in [&mut matches.source, &mut matches.destination] {
                        end.ports = PortMatch::default();
                        end.not_ports = PortMatch::default();
                    }
                }
                matches
            },
        )
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => Just(Action::Allow),
        3 => Just(Action::Deny),
        2 => Just(Action::Pass),
        1 => Just(Action::Log { prefix: "x".to_owned() }),
    ]
}

pub(super) fn rules() -> impl Strategy<Value = Vec<(Action, Match)>> {
    vec((action(), matches()), 0..5)
}

/// A policy, every rule with an id of its own.
pub(crate) fn policy(name: &'static str) -> impl Strategy<Value = Policy> {
    (rules(), rules()).prop_map(move |(ingress, egress)| {
        let numbered = |direction: u64, rules: Vec<(Action, Match)>| {
            rules
                .into_iter()
                .zip(1..)
                .map(|((action, matches), n)| {
                    let id = name
                        .bytes()
                        .fold(direction << 8 | n, |id, b| id << 8 | u64::from(b));
                    let action = match action {
                        Action::Log { .. } => Action::Log {
                            prefix: format!("{name} {n}"),
                        },
                        action => action,
                    };
                    Rule {
                        id: RuleId(id),
                        action,
                        matches,
                    }
                })
                .collect()
        };
        Policy {
            ingress: numbered(1, ingress),
            egress: numbered(2, egress),
            staged: false,
        }
    })
}

pub(super) fn ip_set() -> impl Strategy<Value = IpSet> {
    let host = any_address().prop_map(IpNet::from).boxed();
    prop_oneof![
        vec(host.clone(), 0..4).prop_map(|nets| IpSet::Nets(nets.into_iter().collect())),
        vec(prop_oneof![host, net()], 0..6)
            .prop_map(|nets| IpSet::Nets(nets.into_iter().collect())),
    ]
}

pub(crate) fn port_member() -> impl Strategy<Value = PortMember> {
    let protocol = select(vec![Protocol::TCP, Protocol::UDP, Protocol::SCTP]);
    (any_address(), protocol, port()).prop_map(|(address, protocol, port)| PortMember {
        address,
        protocol,
        port,
    })
}

pub(crate) fn member_net() -> impl Strategy<Value = IpNet> {
    prop_oneof![3 => any_address().prop_map(IpNet::from), 1 => net()]
}

pub(super) fn sets() -> impl Strategy<Value = BTreeMap<SetId, Arc<IpSet>>> {
    let port_set =
        vec(port_member(), 0..12).prop_map(|ports| IpSet::Ports(ports.into_iter().collect()));
    (vec(ip_set(), SETS.len()), vec(port_set, PORT_SETS.len())).prop_map(|(nets, ports)| {
        SETS.iter()
            .zip(nets)
            .chain(PORT_SETS.iter().zip(ports))
            .map(|(id, set)| (SetId::from(*id), Arc::new(set)))
            .collect()
    })
}
