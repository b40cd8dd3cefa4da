//! Random valid views.

use palisade_policy::{
    class::{Class, ClassProfile, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    config::{DenyAction, EndpointToHostAction, Exemptions, Failsafe, LogLimit, NodeConfig},
    endpoint::{Endpoint, InterfaceMatch},
    ids::{ClassId, EndpointId, IfName, PolicyId, RuleId, SetId, TierName},
    rule::{
        Action, EntityMatch, Family, IcmpMatch, Match, Policy, PortMatch, PortRange, Protocol, Rule,
    },
    set::{IpSet, PortMember},
    view::View,
};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::subsequence,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

pub(crate) fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u32..64).prop_map(|n| IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n))),
        (0u128..64).prop_map(|n| IpAddr::from(Ipv6Addr::from((0xfd00 << 112) + n))),
    ]
}

pub(crate) fn net() -> impl Strategy<Value = ipnet::IpNet> {
    (address(), 0u8..=32).prop_map(|(address, shorter)| {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        ipnet::IpNet::new(address, bits - shorter)
            .expect("length fits")
            .trunc()
    })
}

fn sets() -> impl Strategy<Value = BTreeMap<SetId, Arc<IpSet>>> {
    let port = (address(), prop_oneof![Just(6u8), Just(17)], 0u16..4).prop_map(
        |(address, protocol, port)| PortMember {
            address,
            protocol: Protocol(protocol),
            port,
        },
    );
    let nets = vec(vec(net(), 0..40), 3).prop_map(|sets| {
        sets.into_iter()
            .map(|s| IpSet::Nets(s.into_iter().collect()))
    });
    let ports = vec(vec(port, 0..10), 2).prop_map(|sets| {
        sets.into_iter()
            .map(|s| IpSet::Ports(s.into_iter().collect()))
    });
    (nets, ports).prop_map(|(nets, ports)| {
        let nets = nets
            .enumerate()
            .map(|(i, set)| (SetId::new(format!("s:{i}")), Arc::new(set)));
        let ports = ports
            .enumerate()
            .map(|(i, set)| (SetId::new(format!("p:{i}")), Arc::new(set)));
        nets.chain(ports).collect()
    })
}

fn entity() -> impl Strategy<Value = EntityMatch> {
    let ids = |kind: &str, n: usize| {
        let all: Vec<SetId> = (0..n).map(|i| SetId::new(format!("{kind}:{i}"))).collect();
        subsequence(all, 0..=n.min(1))
    };
    let range = (0u16..100, 0u16..100)
        .prop_map(|(first, more)| PortRange::new(first, first + more).expect("ordered"));
    let ports = move || {
        (vec(range.clone(), 0..3), ids("p", 2)).prop_map(|(mut ranges, sets)| {
            ranges.sort_unstable();
            PortMatch { ranges, sets }
        })
    };
    (
        vec(net(), 0..2),
        vec(net(), 0..2),
        ids("s", 3),
        ids("s", 3),
        ports(),
        ports(),
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

fn matches() -> impl Strategy<Value = Match> {
    let icmp = (0u8..=254, option::of(any::<u8>()))
        .prop_map(|(icmp_type, code)| IcmpMatch { icmp_type, code });
    let with_ports = (
        option::of(prop_oneof![Just(Family::V4), Just(Family::V6)]),
        option::of(prop_oneof![Just(6u8), Just(17), Just(132)]),
        option::of(1u8..=255),
        entity(),
        entity(),
    )
        .prop_map(
            |(family, protocol, not_protocol, source, destination)| Match {
                family,
                protocol: protocol.map(Protocol),
                not_protocol: not_protocol.map(Protocol),
                source,
                destination,
                ..Match::default()
            },
        );
    let of_icmp = (option::of(icmp.clone()), option::of(icmp)).prop_map(|(icmp, not_icmp)| Match {
        family: Some(Family::V4),
        protocol: Some(Protocol::ICMP),
        icmp,
        not_icmp,
        ..Match::default()
    });
    prop_oneof![4 => with_ports, 1 => of_icmp]
}

fn rule() -> impl Strategy<Value = Rule> {
    let action = prop_oneof![
        3 => Just(Action::Allow),
        2 => Just(Action::Deny),
        1 => Just(Action::Pass),
        1 => Just(Action::Log { prefix: "calico-packet: ".to_owned() }),
    ];
    (1u64.., action, matches()).prop_map(|(id, action, matches)| Rule {
        id: RuleId(id),
        action,
        matches,
    })
}

fn policy(staged: bool) -> impl Strategy<Value = Policy> {
    (vec(rule(), 0..3), vec(rule(), 0..3)).prop_map(move |(ingress, egress)| Policy {
        ingress,
        egress,
        staged,
    })
}

/// Two policies, one staged policy, one profile: each may have any content.
fn policies() -> impl Strategy<Value = BTreeMap<PolicyId, Arc<Policy>>> {
    (policy(false), policy(false), policy(true), policy(false)).prop_map(
        |(a, b, staged, profile)| {
            [
                ("gnp/a", a),
                ("gnp/b", b),
                ("sgnp/s", staged),
                ("profile/p", profile),
            ]
            .into_iter()
            .map(|(id, policy)| (PolicyId::new(id), Arc::new(policy)))
            .collect()
        },
    )
}

fn class(direction: Direction) -> impl Strategy<Value = Class> {
    let tier = (
        "[a-c]",
        prop_oneof![Just(TierDefault::Deny), Just(TierDefault::Pass)],
        subsequence(vec!["gnp/a", "gnp/b"], 1..=2),
        any::<bool>(),
    )
        .prop_map(|(name, default, policies, staged)| ClassTier {
            name: TierName::new(name),
            default,
            policies: policies.into_iter().map(PolicyId::new).collect(),
            staged: staged
                .then(|| (PolicyId::new("sgnp/s"), 1))
                .into_iter()
                .collect(),
        });
    let profile = prop_oneof![
        Just(ClassProfile::Present(PolicyId::new("profile/p"))),
        Just(ClassProfile::Missing(PolicyId::new("profile/gone"))),
    ];
    (vec(tier, 0..3), vec(profile, 0..2)).prop_map(move |(tiers, profiles)| Class {
        list: PolicyList::Normal,
        direction,
        endpoint: EndpointKind::Host,
        tiers,
        profiles,
    })
}

fn endpoint() -> impl Strategy<Value = (Endpoint, Vec<Class>)> {
    let interface = prop_oneof![
        (0u8..4).prop_map(|n| InterfaceMatch::Named(IfName::new(format!("eth{n}")))),
        Just(InterfaceMatch::Any),
        Just(InterfaceMatch::ByAddress),
    ];
    (
        interface,
        vec(address(), 0..3),
        (
            vec(net(), 0..3),
            btree_map("[a-z]{1,3}", "[a-z]{0,3}", 0..3),
        ),
        class(Direction::Ingress),
        class(Direction::Egress),
    )
        .prop_map(
            |(interface, mut addresses, (mut source_prefixes, labels), ingress, egress)| {
                addresses.sort_unstable();
                source_prefixes.sort_unstable();
                let classes = [&ingress, &egress]
                    .into_iter()
                    .map(|class| ((class.list, class.direction), ClassId::of(class)))
                    .collect();
                let endpoint = Endpoint {
                    kind: EndpointKind::Host,
                    interface,
                    addresses,
                    source_prefixes,
                    labels,
                    classes,
                };
                (endpoint, vec![ingress, egress])
            },
        )
}

pub(crate) fn config() -> impl Strategy<Value = NodeConfig> {
    let failsafe = (option::of(net()), 1u16..9).prop_map(|(net, port)| Failsafe {
        protocol: Protocol::TCP,
        port,
        net,
    });
    (vec(failsafe, 0..4), any::<[bool; 4]>(), any::<bool>()).prop_map(
        |(mut failsafes, [loopback, neighbour_discovery, dhcp6, control_plane], some)| {
            failsafes.sort_unstable();
            NodeConfig {
                failsafe_inbound: failsafes.clone(),
                failsafe_outbound: failsafes,
                exemptions: Exemptions {
                    loopback,
                    neighbour_discovery,
                    dhcp6,
                    control_plane,
                },
                deny_action: if some {
                    DenyAction::Drop
                } else {
                    DenyAction::Reject
                },
                endpoint_to_host_action: EndpointToHostAction::Drop,
                interface_prefixes: vec!["cali".to_owned()],
                interface_exclude: vec!["kube-ipvs0".to_owned(), "/^veth/".to_owned()],
                accept_invalid: some,
                ipv6: true,
                log_limit: some.then_some(LogLimit {
                    rate: 10,
                    seconds: 60,
                    burst: 5,
                }),
                allow_vxlan_from_workloads: false,
                allow_ipip_from_workloads: false,
                vxlan_port: 4789,
                allow_source_prefixes: some,
            }
        },
    )
}

/// A valid view: what classes name exists, and so on.
pub(crate) fn view() -> impl Strategy<Value = View> {
    (config(), sets(), policies(), vec(option::of(endpoint()), 3)).prop_map(
        |(config, sets, policies, endpoints)| {
            let mut view = View {
                plugins: BTreeMap::new(),
                config: Arc::new(config),
                endpoints: BTreeMap::new(),
                classes: BTreeMap::new(),
                policies,
                sets,
            };
            for (n, made) in endpoints.into_iter().enumerate() {
                let Some((endpoint, classes)) = made else {
                    continue;
                };
                view.endpoints
                    .insert(EndpointId::new(format!("hep/h{n}")), Arc::new(endpoint));
                for class in classes {
                    view.classes.insert(ClassId::of(&class), Arc::new(class));
                }
            }
            view
        },
    )
}
