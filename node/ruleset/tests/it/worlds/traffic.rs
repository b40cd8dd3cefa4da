//! A machine, and random packets on it.

use super::pools::{PROTOCOLS, address, port};
use palisade_policy::{
    ids::IfName,
    packet::{CtState, Environment, Interface, Packet, Way},
    rule::{Family, Protocol},
};
use proptest::{prelude::*, sample::select};
use std::collections::BTreeMap;

pub(crate) fn environment() -> Environment {
    let interface = |name: &str, addresses: &[&str]| {
        let interface = Interface {
            up: true,
            addresses: addresses
                .iter()
                .map(|a| a.parse().expect("an address"))
                .collect(),
            master: None,
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

pub(crate) fn interface() -> impl Strategy<Value = IfName> {
    select(vec![
        "eth0",
        "eth0",
        "eth1",
        "eth2",
        "eth3",
        "lo",
        "lo",
        "kube-ipvs0",
        "cali1",
        "cali1",
        "cali2",
        "cali9",
    ])
    .prop_map(IfName::from)
}

/// What someone else may have written into a packet's mark, our bits among it.
pub(crate) fn mark() -> impl Strategy<Value = u32> {
    // And answers for what arrives, or leaves.
    let answers = [0x0019_0000, 0x001e_0000, 0x0000_3f90, 0x0000_3fe0];
    let bits = [0, 1, 0x0001_0000, 0x0000_0010, 0x8001_0011, u32::MAX];
    select([bits.as_slice(), answers.as_slice()].concat())
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
                answers: BTreeMap::new(),
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
