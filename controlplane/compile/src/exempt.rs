//! Rules that no packet of a host endpoint comes to, because failsafes accept all that they match before any policy
//! (specification §5.5).
//!
//! Refuses to own which endpoints a policy selects: what it says holds for the host endpoints of every node.

use crate::config::possible_failsafes;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use palisade_model::{
    FelixConfigurationSpec, IpVersion, PolicyStage, PortSpec, Resource, Rule, Spec,
};
use palisade_policy::{class::Direction, config::Failsafe};

/// Rules of a policy that never judge a packet of a host endpoint, by their place in the list of their direction,
/// whichever of these settings a node follows. None for policies that do not reach host endpoints, none for those of
/// forwarded packets, which no failsafe exempts, and none for rules that `types` leaves out.
pub fn behind_failsafes(
    policy: &Resource,
    settings: &[&FelixConfigurationSpec],
) -> Vec<(Direction, usize)> {
    let Spec::GlobalNetworkPolicy(spec) = &policy.spec else {
        return Vec::new();
    };
    // A namespace selector selects what has a namespace.
    if spec.stage == PolicyStage::NormalAndForward || spec.namespace_selector.is_some() {
        return Vec::new();
    }
    let lists = [
        (Direction::Ingress, spec.types.ingress(), &spec.ingress),
        (Direction::Egress, spec.types.egress(), &spec.egress),
    ];
    let mut found = Vec::new();
    for (direction, _, rules) in lists.into_iter().filter(|(_, governed, _)| *governed) {
        let possible = possible_failsafes(direction, settings);
        let never = |rule: &Rule| {
            possible
                .iter()
                .all(|failsafes| cover(failsafes, direction, rule))
        };
        let rules = rules.iter().enumerate().filter(|(_, rule)| never(rule));
        found.extend(rules.map(|(index, _)| (direction, index)));
    }
    found
}

/// Whether failsafes accept all that a rule can match. What a port's name stands for is not known here.
fn cover(failsafes: &[Failsafe], direction: Direction, rule: &Rule) -> bool {
    let Some(protocol) = rule.protocol else {
        return false;
    };
    let peer = match direction {
        Direction::Ingress => &rule.source,
        Direction::Egress => &rule.destination,
    };
    let nets = match peer.nets.is_empty() {
        true => everywhere(rule.ip_version),
        false => peer.nets.clone(),
    };
    let open_to = |port: u16, net: &IpNet| {
        failsafes.iter().any(|failsafe| {
            failsafe.protocol.0 == protocol.number()
                && failsafe.port == port
                && failsafe.net.is_none_or(|open| open.contains(net))
        })
    };
    let open = |port| nets.iter().all(|net| open_to(port, net));
    let ports = &rule.destination.ports;
    !ports.is_empty()
        && ports.iter().all(|ports| match ports {
            PortSpec::Range(range) => (range.first()..=range.last()).all(open),
            PortSpec::Named(_) => false,
        })
}

fn everywhere(version: Option<IpVersion>) -> Vec<IpNet> {
    let (v4, v6) = (Ipv4Net::default().into(), Ipv6Net::default().into());
    match version {
        Some(IpVersion::V4) => vec![v4],
        Some(IpVersion::V6) => vec![v6],
        None => vec![v4, v6],
    }
}
