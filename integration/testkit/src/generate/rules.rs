//! Rules with every field.

use super::dice::Dice;
use super::pools::{ACCOUNTS, NETS_4, NETS_6, PORT_NAMES, PORTS, QUESTIONS, RANGES, net};
use super::selectors;
use crate::document::{
    Action, Entity, Icmp, PluginCondition, Port, Protocol, Rule, ServiceAccounts,
};
use ipnet::IpNet;

/// The family that a rule keeps to in all its nets.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    V4,
    V6,
}

/// What of it an entity may have.
#[derive(Clone, Copy, PartialEq)]
enum Ports {
    None,
    Named,
    Any,
}

pub(super) fn rules(dice: &mut Dice, most: usize) -> Vec<Rule> {
    (0..dice.below(most + 1)).map(|_| rule(dice)).collect()
}

fn rule(dice: &mut Dice) -> Rule {
    use Action::{Allow, Deny, Log, Pass};
    let mut rule = Rule::new(dice.pick(&[Allow, Allow, Allow, Deny, Deny, Pass, Log]));
    let family = dice.pick(&[Family::V4, Family::V4, Family::V6]);
    // Most rules say one or two things, or none would ever match; some say everything at once.
    let rate = dice.pick(&[25, 25, 40, 100]);
    rule.protocol = dice.maybe(45 + rate / 4, |dice| protocol(dice, family));
    rule.not_protocol = dice.maybe(12 * rate / 60, |dice| protocol(dice, family));
    let number = rule.protocol.as_ref().and_then(Protocol::number);
    if matches!(number, Some(1 | 58)) {
        rule.icmp = dice.maybe(60, icmp);
    }
    rule.not_icmp = dice.maybe(
        if matches!(number, Some(1 | 58)) {
            40
        } else {
            0
        },
        icmp,
    );
    rule.ip_version = dice.maybe(12 * rate / 60, |_| match family {
        Family::V4 => 4,
        Family::V6 => 6,
    });
    let ports = match number {
        Some(6 | 17 | 132) => Ports::Any,
        None => Ports::Named,
        Some(_) => Ports::None,
    };
    rule.source = entity(dice, family, ports, (rate, 20));
    rule.destination = entity(dice, family, ports, (rate, 80));
    rule
}

/// Has some rules ask a plugin. One question has one failure policy, so that what a class asks stays within its mark.
pub(super) fn asking(dice: &mut Dice, rules: &mut [Rule]) {
    for rule in rules {
        rule.plugin = dice.maybe(50, |dice| {
            let (name, of, on_failure) = dice.pick(&QUESTIONS);
            PluginCondition {
                name: name.to_owned(),
                settings: of.into_iter().map(|of| ("of".to_owned(), of)).collect(),
                on_failure: on_failure.map(str::to_owned),
            }
        });
    }
}

/// One that agrees with the family of the rule.
fn protocol(dice: &mut Dice, family: Family) -> Protocol {
    let (number, name) = match family {
        Family::V4 => (1, "ICMP"),
        Family::V6 => (58, "ICMPv6"),
    };
    let named = |name: &str| Protocol::Name(name.to_owned());
    match dice.below(16) {
        0..=4 => named("TCP"),
        5..=8 => named("UDP"),
        9 => named("SCTP"),
        10 => named("UDPLite"),
        11 | 12 => named(name),
        13 => Protocol::Number(number),
        14 => Protocol::Number(dice.pick(&[6, 17, 132])),
        _ => Protocol::Number(dice.pick(&[4, 47, 50, 136])),
    }
}

fn icmp(dice: &mut Dice) -> Icmp {
    Icmp {
        kind: dice.pick(&[8, 0, 3, 128, 129, 135]),
        code: dice.maybe(40, |dice| dice.pick(&[0, 1])),
    }
}

fn entity(dice: &mut Dice, family: Family, ports: Ports, (rate, ported): (usize, usize)) -> Entity {
    let mut entity = Entity {
        selector: dice.maybe(25 * rate / 60, selectors::of_labels),
        not_selector: dice.maybe(12 * rate / 60, selectors::of_labels),
        namespace_selector: dice.maybe(12 * rate / 60, selectors::of_namespaces),
        service_accounts: dice.maybe(6 * rate / 60, accounts),
        ..Entity::default()
    };
    entity.nets = dice
        .maybe(15 * rate / 60, |dice| nets(dice, family, 3))
        .unwrap_or_default();
    let inside = |net: &IpNet| net.prefix_len() > 0;
    entity.not_nets = dice
        .maybe(12 * rate / 60, |dice| nets(dice, family, 2))
        .unwrap_or_default();
    // Everything, negated, is refused.
    entity.not_nets.retain(inside);
    entity.ports = dice
        .maybe(ported * (rate + 50) / 150, |dice| some_ports(dice, ports))
        .unwrap_or_default();
    entity.not_ports = dice
        .maybe(12 * rate / 60, |dice| some_ports(dice, ports))
        .unwrap_or_default();
    entity
}

fn accounts(dice: &mut Dice) -> ServiceAccounts {
    let names: Vec<String> = ACCOUNTS.iter().map(|name| (*name).to_owned()).collect();
    match dice.below(3) {
        0 => ServiceAccounts {
            names: dice.some(&names, 2),
            selector: None,
        },
        1 => ServiceAccounts {
            names: Vec::new(),
            selector: Some(selectors::of_team(dice)),
        },
        _ => ServiceAccounts {
            names: dice.some(&names, 2),
            selector: Some(selectors::of_team(dice)),
        },
    }
}

fn nets(dice: &mut Dice, family: Family, most: usize) -> Vec<IpNet> {
    let pool: &[&str] = match family {
        Family::V4 => &NETS_4,
        Family::V6 => &NETS_6,
    };
    dice.some(pool, most).into_iter().map(net).collect()
}

fn some_ports(dice: &mut Dice, kind: Ports) -> Vec<Port> {
    let name = |dice: &mut Dice| Port::Text(dice.pick(&PORT_NAMES).to_owned());
    let mut ports = Vec::new();
    if kind == Ports::None {
        return ports;
    }
    for _ in 0..=dice.below(3) {
        let port = match (kind, dice.below(6)) {
            (Ports::Named, _) | (_, 0) => name(dice),
            (_, 1 | 2) => Port::Text(dice.pick(&RANGES).to_owned()),
            _ => Port::Number(dice.pick(&PORTS)),
        };
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}
