//! What a match asks, and what is left to test of it after the index decided something.

use super::Decided;
use crate::ir::{Expression, IcmpTest, Key};
use palisade_policy::rule::{EntityMatch, IcmpMatch, Match, Protocol};

/// The rule's condition depends on the protocol although it names none: on these.
pub(in crate::lower) fn depends_on(matches: &Match) -> Vec<Protocol> {
    if matches.protocol.is_some() {
        return Vec::new();
    }
    let numbers = |e: &EntityMatch| !e.ports.ranges.is_empty() || !e.not_ports.is_empty();
    let mut protocols = Vec::new();
    if matches.icmp.is_some() || matches.not_icmp.is_some() {
        protocols.push(Protocol::ICMP);
    }
    if numbers(&matches.source) || numbers(&matches.destination) {
        protocols.extend([Protocol::TCP, Protocol::UDP]);
    }
    if matches.icmp.is_some() || matches.not_icmp.is_some() {
        protocols.push(Protocol::ICMPV6);
    }
    if numbers(&matches.source) || numbers(&matches.destination) {
        protocols.push(Protocol::SCTP);
    }
    protocols
}

/// Whether the rule can match a packet of the protocol.
pub(in crate::lower) fn may_match(matches: &Match, protocol: Protocol) -> bool {
    matches.protocol.is_none_or(|p| p == protocol) && matches.not_protocol != Some(protocol)
}

/// Some port must be right, so that only TCP, UDP and SCTP can match.
pub(in crate::lower) fn wants_ports(matches: &Match) -> bool {
    !matches.source.ports.is_empty() || !matches.destination.ports.is_empty()
}

/// Nothing but protocol and destination ports is asked, and no plugin.
pub(in crate::lower) fn is_bare(matches: &Match) -> bool {
    let only_ports = EntityMatch {
        ports: matches.destination.ports.clone(),
        ..EntityMatch::default()
    };
    matches.family.is_none()
        && matches.plugin.is_none()
        && matches.icmp.is_none()
        && matches.not_icmp.is_none()
        && matches.source.is_any()
        && matches.destination == only_ports
}

/// The protocol, where rule or index say it.
pub(super) fn known(matches: &Match, decided: Decided<'_>) -> Option<Protocol> {
    match decided {
        Decided::Is(protocol) => Some(protocol),
        Decided::Nothing | Decided::Other(_) => matches.protocol,
    }
}

/// What is left to test of the protocol; `None`: it can not match.
pub(super) fn protocol_tests(matches: &Match, decided: Decided<'_>) -> Option<Vec<Expression>> {
    let is = |protocol| Expression::Protocol {
        protocol,
        not: false,
    };
    let is_not = |protocol| Expression::Protocol {
        protocol,
        not: true,
    };
    if matches.protocol.is_some() && matches.protocol == matches.not_protocol {
        return None;
    }
    match (decided, matches.protocol) {
        (Decided::Is(protocol), _) => may_match(matches, protocol).then(Vec::new),
        (Decided::Other(decided), Some(protocol)) if decided.contains(&protocol) => None,
        (_, Some(protocol)) => Some(vec![is(protocol)]),
        (Decided::Other(decided), None) => Some(
            matches
                .not_protocol
                .filter(|protocol| !decided.contains(protocol))
                .map(is_not)
                .into_iter()
                .collect(),
        ),
        (Decided::Nothing, None) => Some(matches.not_protocol.map(is_not).into_iter().collect()),
    }
}

/// Type and code; `None`: it can not match. What is not ICMP has none, so a negated test holds for it.
pub(super) fn icmp_tests(matches: &Match, protocol: Option<Protocol>) -> Option<Vec<Expression>> {
    let is_icmp = matches!(protocol, Some(Protocol::ICMP | Protocol::ICMPV6));
    let test = |icmp: IcmpMatch, not| {
        Expression::Icmp(IcmpTest {
            icmp_type: icmp.icmp_type,
            code: icmp.code,
            not,
        })
    };
    match (matches.icmp, matches.not_icmp) {
        (Some(_), _) if !is_icmp => None,
        (_, _) if !is_icmp => Some(Vec::new()),
        (icmp, not_icmp) => {
            let mut tests: Vec<_> = icmp.map(|icmp| test(icmp, false)).into_iter().collect();
            tests.extend(not_icmp.map(|icmp| test(icmp, true)));
            Some(tests)
        }
    }
}

/// Whether it needs the protocol to be known.
pub(super) const fn reads_transport(expression: &Expression) -> bool {
    matches!(
        expression,
        Expression::Port { .. }
            | Expression::Icmp(_)
            | Expression::Lookup {
                key: Key::Port(_),
                ..
            }
    )
}

/// Cheapest first.
pub(super) const fn cost(expression: &Expression) -> u8 {
    match expression {
        Expression::Protocol { .. } => 0,
        Expression::Icmp(_) | Expression::Port { .. } => 1,
        Expression::Net { .. } => 2,
        Expression::Lookup {
            key: Key::Port(_), ..
        } => 3,
        _ => 4,
    }
}
