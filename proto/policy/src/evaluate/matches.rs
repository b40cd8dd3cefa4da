//! Whether a match holds for a packet (specification §3.3).

use crate::{
    packet::Packet,
    plugin::{Answer, OnFailure},
    rule::{Action, EntityMatch, Family, IcmpMatch, Match, PortMatch, Rule, family_of},
    set::IpSet,
    view::View,
};
use std::net::IpAddr;

impl Match {
    /// Whether the packet meets all of it but the plugin condition. A set that the view lacks is met by nothing, not even its absence.
    pub fn holds(&self, packet: &Packet, view: &View) -> bool {
        let family = if packet.source.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        self.protocol.is_none_or(|p| p == packet.protocol)
            && self.not_protocol.is_none_or(|p| p != packet.protocol)
            && self.icmp.is_none_or(|icmp| icmp.holds(packet))
            && self.not_icmp.is_none_or(|icmp| !icmp.holds(packet))
            && self.covers(family)
            // Ports are cheap, and most often decide.
            && End::of_source(packet).meets_ports(&self.source, view)
            && End::of_destination(packet).meets_ports(&self.destination, view)
            && End::of_source(packet).meets_addresses(&self.source, view)
            && End::of_destination(packet).meets_addresses(&self.destination, view)
    }
}

impl Rule {
    /// What it does with a packet for which all but its plugin condition holds; `None`: it does not match.
    pub fn action_for(&self, packet: &Packet) -> Option<&Action> {
        let Some(condition) = &self.matches.plugin else {
            return Some(&self.action);
        };
        match (packet.answers.get(condition), condition.on_failure) {
            (Some(Answer::Match), _) => Some(&self.action),
            (Some(Answer::NoMatch), _) => None,
            (Some(Answer::Failed) | None, on_failure) => match on_failure {
                OnFailure::Match => Some(&self.action),
                OnFailure::NoMatch => None,
                OnFailure::Deny => Some(&Action::Deny),
                OnFailure::Allow => Some(&Action::Allow),
            },
        }
    }
}

impl IcmpMatch {
    fn holds(self, packet: &Packet) -> bool {
        packet.icmp.is_some_and(|(icmp_type, code)| {
            icmp_type == self.icmp_type && self.code.is_none_or(|c| c == code)
        })
    }
}

/// One end of a packet.
struct End<'a> {
    packet: &'a Packet,
    address: IpAddr,
    port: Option<u16>,
}

impl<'a> End<'a> {
    fn of_source(packet: &'a Packet) -> Self {
        Self {
            packet,
            address: packet.source,
            port: packet.source_port,
        }
    }

    fn of_destination(packet: &'a Packet) -> Self {
        Self {
            packet,
            address: packet.destination,
            port: packet.destination_port,
        }
    }

    fn meets_ports(&self, entity: &EntityMatch, view: &View) -> bool {
        (entity.ports.is_empty() || self.in_ports(&entity.ports, view))
            && (entity.not_ports.is_empty() || !self.in_ports(&entity.not_ports, view))
    }

    fn meets_addresses(&self, entity: &EntityMatch, view: &View) -> bool {
        let in_nets = |nets: &[ipnet::IpNet]| {
            nets.iter()
                .any(|net| family_of(net) == self.family() && net.contains(&self.address))
        };
        let in_set = |set: &IpSet| set.covers(self.address);
        (entity.nets.is_empty() || in_nets(&entity.nets))
            && !in_nets(&entity.not_nets)
            && entity
                .sets
                .iter()
                .all(|id| view.sets.get(id).is_some_and(|set| in_set(set)))
            && entity
                .not_sets
                .iter()
                .all(|id| view.sets.get(id).is_some_and(|set| !in_set(set)))
    }

    /// Ports mean something for TCP, UDP and SCTP only.
    fn in_ports(&self, ports: &PortMatch, view: &View) -> bool {
        let protocol = self.packet.protocol;
        self.port.is_some_and(|port| {
            protocol.has_ports()
                && (ports.ranges.iter().any(|range| range.contains(port))
                    || ports.sets.iter().any(|id| {
                        view.sets
                            .get(id)
                            .is_some_and(|set| set.has_port(self.address, protocol, port))
                    }))
        })
    }

    fn family(&self) -> Family {
        if self.address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }
}
