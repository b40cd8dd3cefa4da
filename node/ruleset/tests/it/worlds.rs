//! Random views, machines and packets, from pools so small that things meet.

use ipnet::IpNet;
use palisade_policy::{
    class::{Class, ClassProfile, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    config::{DenyAction, EndpointToHostAction, Exemptions, Failsafe, LogLimit, NodeConfig},
    endpoint::{Endpoint, InterfaceMatch},
    ids::{ClassId, IfName, PolicyId, RuleId, SetId, TierName},
    packet::{CtState, Environment, Interface, Packet, Way},
    rule::{
        Action, EntityMatch, Family, IcmpMatch, Match, Policy, PortMatch, PortRange, Protocol, Rule,
    },
    set::{IpSet, PortMember},
    view::{Digest, Epoch, Position, View},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

pub(crate) const POLICIES: [&str; 6] = ["gnp/a", "gnp/b", "gnp/c", "gnp/d", "gnp/e", "gnp/f"];
const NETS: [&str; 12] = [
    "10.0.0.0/24",
    "10.0.0.0/30",
    "10.0.0.2/32",
    "10.0.0.3/32",
    "10.0.1.0/24",
    "192.0.2.1/32",
    "0.0.0.0/0",
    "fd00::/64",
    "fd00::2/128",
    "fd00::3/128",
    "fd00:0:0:1::/64",
    "::/0",
];
const ADDRESSES_4: [&str; 8] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.9",
    "10.0.1.1",
    "192.0.2.1",
    "0.0.0.0",
    "255.255.255.255",
];
const ADDRESSES_6: [&str; 6] = [
    "fd00::1",
    "fd00::2",
    "fd00::3",
    "fd00:0:0:1::1",
    "fe80::1",
    "::",
];
const PORTS: [u16; 12] = [1, 22, 53, 79, 80, 81, 90, 91, 443, 546, 547, u16::MAX];
const PROTOCOLS: [Protocol; 7] = [
    Protocol::TCP,
    Protocol::UDP,
    Protocol::SCTP,
    Protocol::ICMP,
    Protocol::ICMPV6,
    Protocol::UDPLITE,
    Protocol(4),
];
pub(crate) const SETS: [&str; 4] = ["s:00", "s:01", "s:02", "s:03"];
pub(crate) const PORT_SETS: [&str; 2] = ["p:00", "p:01"];

fn port() -> impl Strategy<Value = u16> {
    select(PORTS.as_slice())
}

fn range() -> impl Strategy<Value = PortRange> {
    prop_oneof![
        3 => port().prop_map(PortRange::single),
        2 => (port(), port())
            .prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).expect("in order")),
    ]
}

fn net() -> impl Strategy<Value = IpNet> {
    select(NETS.as_slice()).prop_map(|net| net.parse().expect("a net"))
}

fn address(family: Family) -> impl Strategy<Value = IpAddr> {
    let pool: &[&str] = match family {
        Family::V4 => &ADDRESSES_4,
        Family::V6 => &ADDRESSES_6,
    };
    select(pool.to_vec()).prop_map(|address| address.parse().expect("an address"))
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![address(Family::V4), address(Family::V6)]
}

fn few<T: std::fmt::Debug + Ord>(
    one: impl Strategy<Value = T> + 'static,
    most: usize,
) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![
        4 => Just(0_usize),
        1 => 1..=most,
    ]
    .prop_flat_map({
        let one = one.boxed();
        move |n| vec(one.clone(), n)
    })
    .prop_map(|mut all| {
        all.sort_unstable();
        all.dedup();
        all
    })
}

fn ports() -> impl Strategy<Value = PortMatch> {
    let sets = select(PORT_SETS.as_slice()).prop_map(SetId::from);
    (few(range(), 3), few(sets, 2)).prop_map(|(ranges, sets)| PortMatch { ranges, sets })
}

fn destination_ports() -> impl Strategy<Value = PortMatch> {
    let sets = select(PORT_SETS.as_slice()).prop_map(SetId::from);
    (vec(range(), 0..3), few(sets, 1)).prop_map(|(mut ranges, sets)| {
        ranges.sort_unstable();
        ranges.dedup();
        PortMatch { ranges, sets }
    })
}

fn entity(ports: impl Strategy<Value = PortMatch>) -> impl Strategy<Value = EntityMatch> {
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

fn icmp() -> impl Strategy<Value = IcmpMatch> {
    (select(vec![0, 8, 128, 135]), option::of(0_u8..2))
        .prop_map(|(icmp_type, code)| IcmpMatch { icmp_type, code })
}

/// As the wire lets in.
fn matches() -> impl Strategy<Value = Match> {
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

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => Just(Action::Allow),
        3 => Just(Action::Deny),
        2 => Just(Action::Pass),
        1 => Just(Action::Log { prefix: "x".to_owned() }),
    ]
}

fn rules() -> impl Strategy<Value = Vec<(Action, Match)>> {
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

fn ip_set() -> impl Strategy<Value = IpSet> {
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

fn sets() -> impl Strategy<Value = BTreeMap<SetId, Arc<IpSet>>> {
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

fn failsafes() -> impl Strategy<Value = Vec<Failsafe>> {
    let failsafe = (
        select(vec![Protocol::TCP, Protocol::UDP, Protocol::SCTP]),
        port(),
        option::weighted(0.3, net()),
    )
        .prop_map(|(protocol, port, net)| Failsafe {
            protocol,
            port,
            net,
        });
    vec(failsafe, 0..3).prop_map(|mut all| {
        all.sort();
        all.dedup();
        all
    })
}

pub(crate) fn config() -> impl Strategy<Value = NodeConfig> {
    (
        (failsafes(), failsafes()),
        any::<[bool; 4]>(),
        (
            any::<bool>(),
            prop::bool::weighted(0.2),
            prop::bool::weighted(0.9),
        ),
        select(vec![
            EndpointToHostAction::Drop,
            EndpointToHostAction::Return,
            EndpointToHostAction::Accept,
        ]),
        prop::bool::weighted(0.5),
        (any::<bool>(), any::<bool>()),
    )
        .prop_map(
            |((failsafe_inbound, failsafe_outbound), exempt, flags, to_host, limited, tunnels)| {
                let (reject, accept_invalid, ipv6) = flags;
                NodeConfig {
                    failsafe_inbound,
                    failsafe_outbound,
                    exemptions: Exemptions {
                        loopback: exempt[0],
                        neighbour_discovery: exempt[1],
                        dhcp6: exempt[2],
                        control_plane: exempt[3],
                    },
                    deny_action: if reject {
                        DenyAction::Reject
                    } else {
                        DenyAction::Drop
                    },
                    endpoint_to_host_action: to_host,
                    interface_prefixes: vec!["cali".to_owned()],
                    interface_exclude: vec!["kube-ipvs0".to_owned()],
                    accept_invalid,
                    ipv6,
                    mark_mask: 0xffff_0000,
                    log_limit: limited.then_some(LogLimit {
                        rate: 10,
                        seconds: 60,
                        burst: 5,
                    }),
                    allow_vxlan_from_workloads: tunnels.0,
                    allow_ipip_from_workloads: tunnels.1,
                    vxlan_port: 443,
                }
            },
        )
}

/// Tiers and profiles of a class, by place in the pool of policies.
#[derive(Clone, Debug)]
struct Shape {
    tiers: Vec<(bool, Vec<usize>)>,
    profiles: Vec<Option<usize>>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let tier = (any::<bool>(), vec(0..POLICIES.len(), 0..4));
    (
        vec(tier, 0..3),
        vec(option::weighted(0.8, 0..POLICIES.len()), 0..3),
    )
        .prop_map(|(tiers, profiles)| Shape { tiers, profiles })
}

fn class(kind: EndpointKind, list: PolicyList, direction: Direction, shape: &Shape) -> Class {
    let policy = |at: &usize| PolicyId::from(POLICIES[*at]);
    let early = matches!(list, PolicyList::Untracked | PolicyList::PreDnat);
    let tier = |(n, (pass, policies)): (usize, &(bool, Vec<usize>))| ClassTier {
        name: TierName::from(format!("tier{n}").as_str()),
        default: if *pass || early {
            TierDefault::Pass
        } else {
            TierDefault::Deny
        },
        policies: policies.iter().map(policy).collect(),
        staged: Vec::new(),
    };
    let profile = |at: &Option<usize>| match at {
        Some(at) => ClassProfile::Present(policy(at)),
        None => ClassProfile::Missing(PolicyId::from("profile/gone")),
    };
    Class {
        list,
        direction,
        endpoint: kind,
        tiers: shape.tiers.iter().enumerate().map(tier).collect(),
        profiles: if list == PolicyList::Normal {
            shape.profiles.iter().map(profile).collect()
        } else {
            Vec::new()
        },
    }
}

const ENDPOINTS: [(&str, Option<&str>); 6] = [
    ("hep/a", Some("eth0")),
    ("hep/b", Some("eth1")),
    ("hep/c", None),
    ("hep/d", Some("*")),
    ("wep/a", Some("cali1")),
    ("wep/b", Some("cali2")),
];
const PLACES: [(PolicyList, Direction); 7] = [
    (PolicyList::Normal, Direction::Ingress),
    (PolicyList::Normal, Direction::Egress),
    (PolicyList::Forward, Direction::Ingress),
    (PolicyList::Forward, Direction::Egress),
    (PolicyList::Untracked, Direction::Ingress),
    (PolicyList::Untracked, Direction::Egress),
    (PolicyList::PreDnat, Direction::Ingress),
];

/// The shapes of an endpoint's classes, by place; which of them are there depends on what the world uses.
type Shapes = [Option<Shape>; PLACES.len()];
/// Which endpoints are there.
type Governed = Vec<Option<Shapes>>;

fn governed() -> impl Strategy<Value = Governed> {
    let maybe = |list| (option::weighted(0.5, shape()), Just(list));
    let classes = (
        shape(),
        shape(),
        PLACES[2..]
            .iter()
            .map(|place| maybe(*place))
            .collect::<Vec<_>>(),
    );
    // Most worlds use only some of the lists.
    let lists = (any::<[bool; 3]>(), any::<bool>());
    (vec(option::weighted(0.6, classes), ENDPOINTS.len()), lists).prop_map(
        |(endpoints, ([forward, untracked, pre_dnat], workloads))| {
            let used = |list| match list {
                PolicyList::Normal => true,
                PolicyList::Forward => forward,
                PolicyList::Untracked => untracked,
                PolicyList::PreDnat => pre_dnat,
            };
            let shapes = |(ingress, egress, others): (Shape, Shape, Vec<_>)| {
                let mut shapes: Shapes = Default::default();
                shapes[0] = Some(ingress);
                shapes[1] = Some(egress);
                for (at, (shape, (list, _))) in shapes[2..].iter_mut().zip(others) {
                    *at = if used(list) { shape } else { None };
                }
                shapes
            };
            endpoints
                .into_iter()
                .zip(ENDPOINTS)
                .map(|(classes, (id, _))| {
                    let there = workloads || id.starts_with("hep/");
                    classes.filter(|_| there).map(shapes)
                })
                .collect()
        },
    )
}

pub(crate) fn view() -> impl Strategy<Value = View> {
    let policies: Vec<_> = POLICIES.iter().map(|name| policy(name).boxed()).collect();
    (config(), policies, sets(), governed()).prop_map(|(config, policies, sets, governed)| {
        let mut view = View {
            config: Arc::new(config),
            endpoints: BTreeMap::new(),
            classes: BTreeMap::new(),
            policies: POLICIES
                .iter()
                .zip(policies)
                .map(|(name, policy)| (PolicyId::from(*name), Arc::new(policy)))
                .collect(),
            sets,
        };
        for ((id, interface), shapes) in ENDPOINTS.iter().zip(governed) {
            if let Some(shapes) = shapes {
                add_endpoint(&mut view, id, *interface, &shapes);
            }
        }
        view
    })
}

fn add_endpoint(view: &mut View, id: &str, interface: Option<&str>, shapes: &Shapes) {
    let kind = if id.starts_with("wep/") {
        EndpointKind::Workload
    } else {
        EndpointKind::Host
    };
    let mut classes = BTreeMap::new();
    for ((list, direction), shape) in PLACES.into_iter().zip(shapes) {
        if kind == EndpointKind::Workload && list != PolicyList::Normal {
            continue;
        }
        if let Some(shape) = shape {
            let class = class(kind, list, direction, shape);
            let id = ClassId::of(&class);
            view.classes.insert(id.clone(), Arc::new(class));
            classes.insert((list, direction), id);
        }
    }
    let addresses: &[&str] = match id {
        "wep/a" => &["10.0.0.1", "10.0.0.2", "192.0.2.1", "fd00::1", "fd00::2"],
        "wep/b" => &["10.0.0.3", "10.0.1.1", "fd00::3"],
        _ => &["10.0.0.9"],
    };
    let endpoint = Endpoint {
        kind,
        interface: match interface {
            Some("*") => InterfaceMatch::Any,
            Some(name) => InterfaceMatch::Named(IfName::from(name)),
            None => InterfaceMatch::ByAddress,
        },
        addresses: addresses
            .iter()
            .map(|address| address.parse().expect("an address"))
            .collect(),
        classes,
    };
    view.endpoints.insert(id.into(), Arc::new(endpoint));
}

pub(crate) fn environment() -> Environment {
    let interface = |name: &str, addresses: &[&str]| {
        let interface = Interface {
            up: true,
            addresses: addresses
                .iter()
                .map(|a| a.parse().expect("an address"))
                .collect(),
        };
        (IfName::from(name), interface)
    };
    Environment {
        interfaces: BTreeMap::from([
            interface("eth0", &["10.0.0.1"]),
            interface("eth1", &["10.0.1.1"]),
            interface("eth2", &["10.0.0.9"]),
            interface("eth3", &[]),
            interface("lo", &["127.0.0.1"]),
            interface("kube-ipvs0", &[]),
        ]),
        control_plane: vec![
            "10.0.0.3:443".parse().expect("an address"),
            "[fd00::3]:443".parse().expect("an address"),
        ],
    }
}

fn interface() -> impl Strategy<Value = IfName> {
    select(vec![
        "eth0",
        "eth0",
        "eth1",
        "eth2",
        "eth3",
        "lo",
        "kube-ipvs0",
        "cali1",
        "cali1",
        "cali2",
        "cali9",
    ])
    .prop_map(IfName::from)
}

/// What someone else may have written into a packet's mark, our bit among it.
pub(crate) fn mark() -> impl Strategy<Value = u32> {
    select(vec![0, 1, 0x0001_0000, 0x8001_0001, u32::MAX])
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        2 => interface().prop_map(|interface| Way::In { interface }),
        2 => interface().prop_map(|interface| Way::Out { interface }),
        1 => (interface(), interface()).prop_map(|(from, to)| Way::Forward { from, to }),
    ]
}

fn ct() -> impl Strategy<Value = CtState> {
    prop_oneof![
        12 => Just(CtState::New),
        1 => Just(CtState::Established),
        1 => Just(CtState::Related),
        2 => Just(CtState::Invalid),
        2 => Just(CtState::Untracked),
    ]
}

pub(crate) fn packet() -> impl Strategy<Value = Packet> {
    let ends = prop_oneof![
        2 => (address(Family::V4), address(Family::V4), address(Family::V4)),
        1 => (address(Family::V6), address(Family::V6), address(Family::V6)),
    ];
    let protocol = prop_oneof![
        4 => Just(Protocol::TCP),
        3 => select(PROTOCOLS.as_slice()),
    ];
    (
        way(),
        ends,
        protocol,
        (port(), port(), port()),
        (select(vec![0, 8, 128, 134, 135, 143]), 0_u8..2),
        ct(),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(way, ends, protocol, ports, icmp, ct, translated)| {
            let (source, destination, original) = ends;
            let has_ports = protocol.has_ports() || protocol == Protocol::UDPLITE;
            let protocol = match (protocol, source.is_ipv4()) {
                (Protocol::ICMP | Protocol::ICMPV6, true) => Protocol::ICMP,
                (Protocol::ICMP | Protocol::ICMPV6, false) => Protocol::ICMPV6,
                (protocol, _) => protocol,
            };
            let is_icmp = matches!(protocol, Protocol::ICMP | Protocol::ICMPV6);
            let tracked = !matches!(ct, CtState::Invalid | CtState::Untracked);
            Packet {
                way,
                source,
                destination,
                protocol,
                source_port: has_ports.then_some(ports.0),
                destination_port: has_ports.then_some(ports.1),
                icmp: is_icmp.then_some(icmp),
                ct,
                original_destination: (translated && tracked)
                    .then_some((original, has_ports.then_some(ports.2))),
            }
        })
}

pub(crate) fn position(revision: u64) -> Position {
    Position {
        epoch: Epoch([7; 16]),
        revision,
        digest: Digest([9; 32]),
    }
}
