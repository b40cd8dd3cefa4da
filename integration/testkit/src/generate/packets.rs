//! Packets towards a world: addresses, ports and edges that it names, and some that it does not.

use super::dice::Dice;
use super::pools::{ADDRESSES_4, ADDRESSES_6, PORTS, address};
use crate::document::{Body, Entity, Icmp, PluginCondition, Port, Protocol, Rule, World};
use crate::packet::{Packet, Tracking, Way};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// So many packets for a world.
pub fn packets(world: &World, dice: &mut Dice, count: usize) -> Vec<Packet> {
    let target = Target::of(world);
    (0..count).map(|_| packet(&target, dice)).collect()
}

/// What can be aimed at.
struct Target<'a> {
    interfaces: Vec<&'a str>,
    local: Vec<IpAddr>,
    nets: Vec<IpNet>,
    declared: Vec<(&'a str, u8, u16)>,
    rules: Vec<&'a Rule>,
    servers: &'a [std::net::SocketAddr],
    workloads: Vec<(&'a str, Vec<IpAddr>)>,
    questions: BTreeSet<String>,
}

impl<'a> Target<'a> {
    fn of(world: &'a World) -> Self {
        let machine = &world.machine;
        let mut target = Self {
            interfaces: machine.interfaces.keys().map(String::as_str).collect(),
            local: machine.interfaces.values().flatten().copied().collect(),
            nets: Vec::new(),
            declared: Vec::new(),
            rules: Vec::new(),
            servers: &machine.control_plane,
            workloads: Vec::new(),
            questions: BTreeSet::new(),
        };
        for document in &world.documents {
            target.add(&document.body);
        }
        let asked = target.rules.iter().filter_map(|r| r.plugin.as_ref());
        target.questions = asked.map(PluginCondition::question).collect();
        target
    }

    fn add(&mut self, body: &'a Body) {
        let net = |text: &String| -> Option<IpNet> {
            let net: Option<IpNet> = text.parse().ok();
            net.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        };
        match body {
            Body::GlobalNetworkPolicy(p)
            | Body::NetworkPolicy(p)
            | Body::StagedGlobalNetworkPolicy(p)
            | Body::StagedNetworkPolicy(p) => self.rules.extend(p.ingress.iter().chain(&p.egress)),
            Body::Profile(p) => self.rules.extend(p.ingress.iter().chain(&p.egress)),
            Body::HostEndpoint(spec) => {
                self.nets
                    .extend(spec.expected_ips.iter().map(|ip| IpNet::from(*ip)));
                for port in &spec.ports {
                    let number = port.protocol.number().unwrap_or(6);
                    self.declared.push((&port.name, number, port.port));
                }
            }
            Body::WorkloadEndpoint(spec) => {
                let nets: Vec<IpNet> = spec.ip_networks.iter().filter_map(net).collect();
                let spoofs = spec.allow_spoofed_source_prefixes.iter().filter_map(net);
                let spoofs = spoofs.filter(|net| net.prefix_len() > 0);
                let addresses = nets.iter().copied().chain(spoofs);
                let addresses = addresses.map(|net| net.addr()).collect();
                self.workloads.push((&spec.interface_name, addresses));
                self.nets.extend(nets);
                for port in &spec.ports {
                    let number = port.protocol.number().unwrap_or(6);
                    self.declared.push((&port.name, number, port.port));
                }
            }
            Body::GlobalNetworkSet(spec) | Body::NetworkSet(spec) => {
                self.nets.extend(spec.nets.iter().filter_map(net));
            }
            _ => {}
        }
    }
}

fn packet(target: &Target<'_>, dice: &mut Dice) -> Packet {
    let mut is_v6 = dice.chance(35);
    let rule = match target.rules.is_empty() {
        true => None,
        false => dice.maybe(75, |dice| dice.pick(&target.rules)),
    };
    if let Some(family) = rule.and_then(family) {
        is_v6 = family != dice.chance(5);
    }
    let aimed = rule.and_then(|rule| rule.protocol.as_ref().and_then(Protocol::number));
    let aimed = aimed.filter(|_| dice.chance(90));
    let protocol =
        match aimed.unwrap_or_else(|| dice.pick(&[6, 6, 6, 17, 17, 132, 136, 1, 58, 4, 47])) {
            // Each family has its own.
            1 | 58 if is_v6 => 58,
            1 | 58 => 1,
            other => other,
        };
    let has_ports = matches!(protocol, 6 | 17 | 132 | 136);
    let any = Entity::default();
    let (from, to) = rule.map_or((&any, &any), |rule| (&rule.source, &rule.destination));
    let way = way(target, dice);
    let mut packet = Packet {
        source: end(target, from, is_v6, dice),
        destination: end(target, to, is_v6, dice),
        protocol,
        ports: has_ports.then(|| (port(target, from, dice), port(target, to, dice))),
        icmp: matches!(protocol, 1 | 58).then(|| icmp(rule, dice)),
        tracking: tracking(dice),
        translated: None,
        answers: answers(target, dice),
        way,
    };
    at_home(target, &mut packet, dice);
    special(target, &mut packet, dice);
    // Only what is tracked is translated.
    let is_tracked = !matches!(packet.tracking, Tracking::Invalid | Tracking::Untracked);
    if is_tracked && dice.chance(15) {
        let address = end(target, &any, is_v6, dice);
        let port = has_ports.then(|| port(target, to, dice));
        packet.translated = Some((address, port));
    }
    packet
}

/// What plugins say, where anyone answers.
fn answers(target: &Target<'_>, dice: &mut Dice) -> BTreeMap<String, bool> {
    let mut answers = BTreeMap::new();
    if target.questions.is_empty() || dice.chance(15) {
        return answers;
    }
    for question in &target.questions {
        if dice.chance(85) {
            answers.insert(question.clone(), dice.chance(50));
        }
    }
    answers
}

/// Workloads mostly speak from their own addresses, and are mostly spoken to by them.
fn at_home(target: &Target<'_>, packet: &mut Packet, dice: &mut Dice) {
    let is_v6 = packet.source.is_ipv6();
    let of = |interface: &str| {
        let behind = target
            .workloads
            .iter()
            .filter(|(name, _)| *name == interface);
        let addresses = behind.flat_map(|(_, addresses)| addresses).copied();
        addresses
            .filter(|ip| ip.is_ipv6() == is_v6)
            .collect::<Vec<_>>()
    };
    let (from, to) = match &packet.way {
        Way::In(from) => (of(from), Vec::new()),
        Way::Out(to) => (Vec::new(), of(to)),
        Way::Forward(from, to) => (of(from), of(to)),
    };
    if !from.is_empty() && dice.chance(85) {
        packet.source = dice.pick(&from);
    }
    if !to.is_empty() && dice.chance(70) {
        packet.destination = dice.pick(&to);
    }
}

/// What exemptions and tunnels are about.
fn special(target: &Target<'_>, packet: &mut Packet, dice: &mut Dice) {
    let is_v6 = packet.source.is_ipv6();
    match dice.below(40) {
        0 if is_v6 => {
            packet.protocol = 17;
            packet.icmp = None;
            packet.ports = Some(dice.pick(&[(547, 546), (546, 547), (546, 546), (1, 547)]));
        }
        1 | 2 if is_v6 => {
            packet.protocol = 58;
            packet.ports = None;
            packet.icmp = Some((dice.pick(&[129, 130, 133, 135, 136, 137, 143]), 0));
            if dice.chance(50) {
                packet.source = address(dice.pick(&["fe80::1", "::"]));
            }
            packet.tracking = Tracking::Untracked;
        }
        3 => {
            if let Some(server) = target.servers.iter().find(|s| s.is_ipv6() == is_v6) {
                packet.protocol = 6;
                packet.icmp = None;
                let other = dice.pick(&PORTS);
                if dice.chance(70) {
                    packet.destination = server.ip();
                    packet.ports = Some((other, server.port()));
                } else {
                    packet.source = server.ip();
                    packet.ports = Some((server.port(), other));
                }
            }
        }
        4 => {
            packet.protocol = 17;
            packet.icmp = None;
            packet.ports = Some((dice.pick(&PORTS), 4789));
        }
        _ => {}
    }
}

fn family(rule: &Rule) -> Option<bool> {
    let nets = [
        &rule.source.nets,
        &rule.source.not_nets,
        &rule.destination.nets,
        &rule.destination.not_nets,
    ];
    let by_net = nets
        .into_iter()
        .flatten()
        .next()
        .map(|net| net.addr().is_ipv6());
    let by_version = rule.ip_version.map(|version| version == 6);
    let by_protocol = match rule.protocol.as_ref().and_then(Protocol::number) {
        Some(1) => Some(false),
        Some(58) => Some(true),
        _ => None,
    };
    by_net.or(by_version).or(by_protocol)
}

fn way(target: &Target<'_>, dice: &mut Dice) -> Way {
    let one = |dice: &mut Dice| match dice.below(10) {
        0..=3 => "eth0".to_owned(),
        4 => "eth1".to_owned(),
        _ => dice.pick(&target.interfaces).to_owned(),
    };
    match dice.below(8) {
        0..=2 => Way::In(one(dice)),
        3..=5 => Way::Out(one(dice)),
        _ => Way::Forward(one(dice), one(dice)),
    }
}

fn tracking(dice: &mut Dice) -> Tracking {
    match dice.below(40) {
        0 | 1 => Tracking::Established,
        2 => Tracking::Related,
        3..=5 => Tracking::Invalid,
        6..=8 => Tracking::Untracked,
        _ => Tracking::New,
    }
}

/// An address of a family: in or beside what the entity names, of an object, local, or any.
fn end(target: &Target<'_>, entity: &Entity, is_v6: bool, dice: &mut Dice) -> IpAddr {
    let named: Vec<&IpNet> = entity.nets.iter().chain(&entity.not_nets).collect();
    let from = match dice.below(10) {
        0..=3 if !named.is_empty() => named,
        0..=6 => target.nets.iter().collect(),
        _ => Vec::new(),
    };
    let from: Vec<&IpNet> = from
        .into_iter()
        .filter(|net| net.addr().is_ipv6() == is_v6)
        .collect();
    if !from.is_empty() {
        return edge(dice.pick(&from), dice);
    }
    let local = target.local.iter().filter(|ip| ip.is_ipv6() == is_v6);
    let local: Vec<IpAddr> = local.copied().collect();
    if dice.chance(30) && !local.is_empty() {
        return dice.pick(&local);
    }
    match is_v6 {
        true => address(dice.pick(&ADDRESSES_6)),
        false => address(dice.pick(&ADDRESSES_4)),
    }
}

/// The first or last address of a net, or the one before or after it.
fn edge(net: &IpNet, dice: &mut Dice) -> IpAddr {
    let first = net.network();
    let last = net.broadcast();
    let step = |ip: IpAddr, up: bool| -> IpAddr {
        match ip {
            IpAddr::V4(v4) => {
                let bits = u32::from(v4);
                let moved = if up {
                    bits.wrapping_add(1)
                } else {
                    bits.wrapping_sub(1)
                };
                IpAddr::V4(moved.into())
            }
            IpAddr::V6(v6) => {
                let bits = u128::from(v6);
                let moved = if up {
                    bits.wrapping_add(1)
                } else {
                    bits.wrapping_sub(1)
                };
                IpAddr::V6(moved.into())
            }
        }
    };
    match dice.below(8) {
        0 => step(first, false),
        1 => step(last, true),
        2 => last,
        _ => first,
    }
}

fn port(target: &Target<'_>, entity: &Entity, dice: &mut Dice) -> u16 {
    let ports: Vec<&Port> = entity.ports.iter().chain(&entity.not_ports).collect();
    if ports.is_empty() || dice.chance(15) {
        return dice.pick(&PORTS);
    }
    match dice.pick(&ports) {
        Port::Number(number) => *number,
        Port::Text(text) => match text.split_once(':') {
            Some((low, high)) => {
                let low: u16 = low.parse().unwrap_or(1);
                let high: u16 = high.parse().unwrap_or(low);
                dice.pick(&[low, high, low.saturating_sub(1), high.saturating_add(1)])
            }
            None => {
                let of_name: Vec<u16> = target
                    .declared
                    .iter()
                    .filter(|(name, ..)| name == text)
                    .map(|(.., port)| *port)
                    .collect();
                match of_name.is_empty() {
                    true => dice.pick(&PORTS),
                    false => dice.pick(&of_name),
                }
            }
        },
    }
}

fn icmp(rule: Option<&Rule>, dice: &mut Dice) -> (u8, u8) {
    let named = rule.and_then(|rule| rule.icmp.or(rule.not_icmp));
    let any = (dice.pick(&[8, 0, 3, 128, 129, 135]), dice.pick(&[0, 0, 1]));
    match named {
        Some(Icmp { kind, code }) if dice.chance(80) => {
            let other = dice.pick(&[0, 0, 1]);
            (kind, code.filter(|_| dice.chance(70)).unwrap_or(other))
        }
        _ => any,
    }
}
