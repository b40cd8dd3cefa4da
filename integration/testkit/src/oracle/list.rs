//! The verdict of one list of an endpoint: §11.1, line by line.

use super::policy::Ordered;
use super::settings::Port;
use super::{Endpoint, List, Look, Oracle, Reason};
use crate::document::{Action, Direction, Rule};
use crate::packet::{Packet, Tracking};

/// What a list says.
pub(super) enum Said {
    /// Accepted by policy: from an untracked or pre-DNAT list, later stages honour it.
    Allow(Reason),
    /// Accepted here, and nowhere else.
    Accept(Reason),
    /// Denied.
    Deny(Reason),
    /// Nothing: goes on.
    Nothing(Reason),
}

use Said::{Accept, Allow, Deny, Nothing};

impl Oracle {
    pub(super) fn list(
        &self,
        endpoint: &Endpoint,
        direction: Direction,
        list: List,
        packet: &Packet,
        looks: &mut Vec<Look>,
    ) -> Said {
        if list != List::Untracked {
            match packet.tracking {
                Tracking::Established | Tracking::Related => return Accept(Reason::Established),
                Tracking::Invalid if !self.settings.accept_invalid => {
                    return Deny(Reason::Invalid);
                }
                _ => {}
            }
        }
        if endpoint.is_host
            && list != List::Forward
            && let Some(reason) = self.open(list, direction, packet)
        {
            return Accept(reason);
        }
        if !endpoint.is_host && direction == Direction::Egress && self.is_tunnel(packet) {
            return Deny(Reason::Tunnel);
        }
        if let Some(said) = self.tiers_say(endpoint, direction, list, packet, looks) {
            return said;
        }
        match list {
            List::Forward | List::Untracked | List::PreDnat => Nothing(Reason::EndOfList),
            List::Normal => self.profiles_say(endpoint, direction, packet, looks),
        }
    }

    fn tiers_say(
        &self,
        endpoint: &Endpoint,
        direction: Direction,
        list: List,
        packet: &Packet,
        looks: &mut Vec<Look>,
    ) -> Option<Said> {
        for (tier, passes) in self.tier_order() {
            let takes_part = |p: &&Ordered| {
                p.tier == tier
                    && !p.is_staged
                    && p.is_in(list, endpoint)
                    && p.types.contains(&direction)
                    && p.selects(endpoint)
            };
            let policies: Vec<&Ordered> = self.policies.iter().filter(takes_part).collect();
            if policies.is_empty() {
                continue;
            }
            let mut passed = false;
            'tier: for policy in &policies {
                let rules = policy.rules(direction);
                for (index, rule) in rules.iter().enumerate() {
                    let action = self.action(rule, &policy.namespace, packet, looks);
                    let Some(action) = action else {
                        continue;
                    };
                    match action {
                        Action::Log => {}
                        Action::Allow => return Some(Allow(policy.reason(direction, index))),
                        Action::Deny => return Some(Deny(policy.reason(direction, index))),
                        Action::Pass => {
                            passed = true;
                            break 'tier;
                        }
                    }
                }
            }
            let judges = matches!(list, List::Normal | List::Forward);
            if !passed && judges && !passes {
                return Some(Deny(Reason::TierEnd(tier.to_owned())));
            }
        }
        None
    }

    /// Known tiers in order, then those that only policies name, which deny at their end (§4.1).
    fn tier_order(&self) -> Vec<(&str, bool)> {
        let known = self
            .tiers
            .iter()
            .map(|tier| (tier.name.as_str(), tier.passes));
        let mut all: Vec<(&str, bool)> = known.collect();
        let mut unknown: Vec<&str> = self
            .policies
            .iter()
            .map(|policy| policy.tier.as_str())
            .filter(|name| !self.tiers.iter().any(|tier| tier.name == *name))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        all.extend(unknown.into_iter().map(|name| (name, false)));
        all
    }

    fn profiles_say(
        &self,
        endpoint: &Endpoint,
        direction: Direction,
        packet: &Packet,
        looks: &mut Vec<Look>,
    ) -> Said {
        for name in &endpoint.profiles {
            let Some(profile) = self.profiles.get(name) else {
                return Deny(Reason::MissingProfile(name.clone()));
            };
            let rules: &[Rule] = match direction {
                Direction::Ingress => &profile.ingress,
                Direction::Egress => &profile.egress,
            };
            for (index, rule) in rules.iter().enumerate() {
                let Some(action) = self.action(rule, "", packet, looks) else {
                    continue;
                };
                let reason = || Reason::Rule {
                    kind: "Profile",
                    name: name.clone(),
                    direction,
                    index,
                };
                match action {
                    Action::Log => {}
                    Action::Allow => return Allow(reason()),
                    Action::Deny => return Deny(reason()),
                    Action::Pass => break,
                }
            }
        }
        Deny(Reason::EndOfProfiles)
    }

    /// Exemptions and failsafes of host endpoints (§5.5, and what this product exempts by default).
    fn open(&self, list: List, direction: Direction, packet: &Packet) -> Option<Reason> {
        let exempt = &self.settings.exempt;
        let is_v6 = packet.source.is_ipv6();
        let kind = packet.icmp.map(|(kind, _)| kind);
        let is_discovery = kind.is_some_and(|kind| matches!(kind, 130..=136 | 143));
        if exempt.neighbour_discovery && is_v6 && packet.protocol == 58 && is_discovery {
            return Some(Reason::Exempt("neighbourDiscovery"));
        }
        let is_dhcp6 = matches!(packet.ports, Some((546, 547) | (547, 546)));
        if exempt.dhcp6 && is_v6 && packet.protocol == 17 && is_dhcp6 {
            return Some(Reason::Exempt("dhcp6"));
        }
        let (from, to) = packet.ports?;
        let is_server = |address, port| {
            let servers = &self.machine.control_plane;
            packet.protocol == 6
                && servers
                    .iter()
                    .any(|s| s.ip() == address && s.port() == port)
        };
        let is_control_plane = match direction {
            Direction::Egress => is_server(packet.destination, to),
            // Without connection tracking, the connection is two directions.
            Direction::Ingress => list == List::Untracked && is_server(packet.source, from),
        };
        if exempt.control_plane && is_control_plane {
            return Some(Reason::Exempt("controlPlane"));
        }
        let (own, other, far) = match direction {
            Direction::Ingress => (
                &self.settings.inbound,
                &self.settings.outbound,
                packet.source,
            ),
            Direction::Egress => {
                let far = packet.destination;
                (&self.settings.outbound, &self.settings.inbound, far)
            }
        };
        let has = |ports: &[Port], port| {
            ports.iter().any(|p| {
                p.protocol == packet.protocol
                    && p.port == port
                    && p.net.is_none_or(|net| net.contains(&far))
            })
        };
        if has(own, to) {
            return Some(Reason::Failsafe);
        }
        (list == List::Untracked && has(other, from)).then_some(Reason::FailsafeReply)
    }

    /// §5.9.
    fn is_tunnel(&self, packet: &Packet) -> bool {
        let to = packet.ports.map(|(_, to)| to);
        let is_vxlan = packet.protocol == 17 && to == Some(self.settings.vxlan_port);
        (is_vxlan && !self.settings.vxlan_from_workloads)
            || (packet.protocol == 4 && !self.settings.ipip_from_workloads)
    }
}

impl Ordered {
    fn reason(&self, direction: Direction, index: usize) -> Reason {
        let name = match self.namespace.as_str() {
            "" => self.name.clone(),
            namespace => format!("{namespace}/{}", self.name),
        };
        Reason::Rule {
            kind: self.kind,
            name,
            direction,
            index,
        }
    }
}
