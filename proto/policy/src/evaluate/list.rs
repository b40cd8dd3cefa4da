//! The verdict of one list of one endpoint (specification §11.1, with the exemptions in front of the failsafes).

use super::{Evaluator, Outcome, Stage, Step, Subject};
use crate::{
    class::{Class, ClassProfile, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    config::Failsafe,
    ids::{EndpointId, PolicyId, TierName},
    packet::{CtState, Packet},
    plugin::Answer,
    rule::{Action, Protocol},
    rule_id::Exemption,
};
use std::net::{IpAddr, SocketAddr};

/// How a list ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// Denied, for good.
    Deny,
    /// Allowed by policy.
    Allow,
    /// Accepted at this stage without policy: exemptions, failsafes, the end of lists that others follow.
    Continue,
}

/// The evaluation of one list.
pub(super) struct List<'a> {
    pub(super) evaluator: &'a Evaluator<'a>,
    pub(super) packet: &'a Packet,
    pub(super) stage: Stage,
    pub(super) endpoint: &'a EndpointId,
    pub(super) class: &'a Class,
    pub(super) trace: &'a mut Vec<Step>,
}

/// What a list of rules says.
enum Said {
    Allow,
    Deny,
    Pass,
    Nothing,
}

impl List<'_> {
    pub(super) fn judge(mut self) -> Ending {
        if let Some((subject, ending)) = self.head() {
            let outcome = match ending {
                Ending::Deny => Outcome::Deny,
                Ending::Allow | Ending::Continue => Outcome::Accept,
            };
            self.note(subject, outcome);
            return ending;
        }
        let class = self.class;
        for tier in &class.tiers {
            match self.tier(tier) {
                Said::Allow => return Ending::Allow,
                Said::Deny => return Ending::Deny,
                Said::Pass | Said::Nothing => {}
            }
        }
        if class.list == PolicyList::Normal {
            self.profiles()
        } else {
            self.note(Subject::EndOfList, Outcome::Accept);
            Ending::Continue
        }
    }

    /// What stands before all policy.
    fn head(&self) -> Option<(Subject, Ending)> {
        let config = &self.evaluator.view.config;
        let tracked = self.class.list != PolicyList::Untracked;
        if tracked && self.packet.ct == CtState::Invalid && !config.accept_invalid {
            return Some((Subject::Invalid, Ending::Deny));
        }
        match self.class.endpoint {
            EndpointKind::Host if self.class.list != PolicyList::Forward => self
                .exemption()
                .map(Subject::Exempt)
                .or_else(|| self.failsafe().map(Subject::Failsafe))
                .map(|subject| (subject, Ending::Continue)),
            EndpointKind::Workload
                if self.class.direction == Direction::Egress && self.is_tunnel() =>
            {
                Some((Subject::Tunnel, Ending::Deny))
            }
            EndpointKind::Host | EndpointKind::Workload => None,
        }
    }

    fn exemption(&self) -> Option<Exemption> {
        let exemptions = self.evaluator.view.config.exemptions;
        if exemptions.neighbour_discovery && self.packet.is_neighbour_discovery() {
            return Some(Exemption::NeighbourDiscovery);
        }
        if exemptions.dhcp6 && self.packet.is_dhcp6() {
            return Some(Exemption::Dhcp6);
        }
        (exemptions.control_plane && self.is_control_plane()).then_some(Exemption::ControlPlane)
    }

    fn is_control_plane(&self) -> bool {
        let packet = self.packet;
        let known = |address: IpAddr, port: Option<u16>| {
            port.is_some_and(|port| {
                self.evaluator
                    .environment
                    .control_plane
                    .contains(&SocketAddr::new(address, port))
            })
        };
        packet.protocol == Protocol::TCP
            && match (self.class.direction, self.class.list) {
                (Direction::Egress, _) => known(packet.destination, packet.destination_port),
                // Before connection tracking replies are packets like any other.
                (Direction::Ingress, PolicyList::Untracked) => {
                    known(packet.source, packet.source_port)
                }
                (Direction::Ingress, _) => false,
            }
    }

    fn failsafe(&self) -> Option<Failsafe> {
        let config = &self.evaluator.view.config;
        let packet = self.packet;
        let (ours, others, peer) = match self.class.direction {
            Direction::Ingress => (
                &config.failsafe_inbound,
                &config.failsafe_outbound,
                packet.source,
            ),
            Direction::Egress => (
                &config.failsafe_outbound,
                &config.failsafe_inbound,
                packet.destination,
            ),
        };
        let find = |failsafes: &[Failsafe], port: Option<u16>| {
            failsafes
                .iter()
                .find(|failsafe| {
                    failsafe.protocol == packet.protocol
                        && Some(failsafe.port) == port
                        && failsafe.net.is_none_or(|net| net.contains(&peer))
                })
                .cloned()
        };
        find(ours, packet.destination_port).or_else(|| {
            (self.class.list == PolicyList::Untracked)
                .then(|| find(others, packet.source_port))
                .flatten()
        })
    }

    fn is_tunnel(&self) -> bool {
        let config = &self.evaluator.view.config;
        let vxlan = self.packet.protocol == Protocol::UDP
            && self.packet.destination_port == Some(config.vxlan_port);
        let ipip = self.packet.protocol == Protocol(4);
        (vxlan && !config.allow_vxlan_from_workloads) || (ipip && !config.allow_ipip_from_workloads)
    }

    fn tier(&mut self, tier: &ClassTier) -> Said {
        let mut staged = tier.staged.iter().peekable();
        for (place, policy) in tier.policies.iter().enumerate() {
            while let Some((watched, _)) = staged.next_if(|(_, before)| *before <= place) {
                self.watch(&tier.name, watched);
            }
            match self.rules(Some(&tier.name), policy) {
                Said::Nothing => {}
                said => return said,
            }
        }
        for (watched, _) in staged {
            self.watch(&tier.name, watched);
        }
        if tier.policies.is_empty() || tier.default == TierDefault::Pass {
            return Said::Nothing;
        }
        self.note(Subject::TierDefault(tier.name.clone()), Outcome::Deny);
        Said::Deny
    }

    /// Notes what a staged policy would do, up to the first rule that would decide. Nothing comes of it.
    fn watch(&mut self, tier: &TierName, policy: &PolicyId) {
        let before = self.trace.len();
        self.rules(Some(tier), policy);
        for step in self.trace.iter_mut().skip(before) {
            let outcome = std::mem::replace(&mut step.outcome, Outcome::Accept);
            step.outcome = Outcome::Would(Box::new(outcome));
        }
    }

    fn profiles(&mut self) -> Ending {
        for profile in &self.class.profiles {
            match profile {
                ClassProfile::Present(id) => match self.rules(None, id) {
                    Said::Allow => return Ending::Allow,
                    Said::Deny => return Ending::Deny,
                    Said::Pass | Said::Nothing => {}
                },
                ClassProfile::Missing(id) => {
                    self.note(Subject::MissingProfile(id.clone()), Outcome::Deny);
                    return Ending::Deny;
                }
            }
        }
        self.note(Subject::EndOfProfiles, Outcome::Deny);
        Ending::Deny
    }

    fn rules(&mut self, tier: Option<&TierName>, policy: &PolicyId) -> Said {
        let view = self.evaluator.view;
        let Some(compiled) = view.policies.get(policy) else {
            // Views are checked; a policy that is missing all the same must not open anything.
            self.note(Subject::MissingProfile(policy.clone()), Outcome::Deny);
            return Said::Deny;
        };
        for (index, rule) in compiled.rules(self.class.direction).iter().enumerate() {
            if !rule.matches.holds(self.packet, view) {
                continue;
            }
            let subject = Subject::Rule {
                tier: tier.cloned(),
                policy: policy.clone(),
                index,
                id: rule.id,
            };
            if let Some(condition) = &rule.matches.plugin {
                let answer = self.packet.answers.get(condition).copied();
                let outcome = Outcome::Asked {
                    condition: condition.clone(),
                    answer: answer.unwrap_or(Answer::Failed),
                };
                self.note(subject.clone(), outcome);
            }
            let Some(action) = rule.action_for(self.packet) else {
                continue;
            };
            let (outcome, said) = match action {
                Action::Allow => (Outcome::Accept, Said::Allow),
                Action::Deny => (Outcome::Deny, Said::Deny),
                Action::Pass => (Outcome::Pass, Said::Pass),
                Action::Log { prefix } => (
                    Outcome::Log {
                        prefix: prefix.clone(),
                    },
                    Said::Nothing,
                ),
            };
            self.note(subject, outcome);
            if !matches!(said, Said::Nothing) {
                return said;
            }
        }
        Said::Nothing
    }

    fn note(&mut self, subject: Subject, outcome: Outcome) {
        self.trace.push(Step {
            stage: self.stage,
            endpoint: Some(self.endpoint.clone()),
            subject,
            outcome,
        });
    }
}

impl Packet {
    /// ICMPv6 130..=136 and 143: neighbour and router discovery, multicast listeners.
    pub fn is_neighbour_discovery(&self) -> bool {
        self.protocol == Protocol::ICMPV6
            && self
                .icmp
                .is_some_and(|(icmp_type, _)| matches!(icmp_type, 130..=136 | 143))
    }

    /// UDP between ports 546 and 547 over IPv6, either way.
    pub fn is_dhcp6(&self) -> bool {
        self.protocol == Protocol::UDP
            && self.source.is_ipv6()
            && matches!(
                (self.source_port, self.destination_port),
                (Some(546), Some(547)) | (Some(547), Some(546))
            )
    }
}
