//! What comes from workloads and goes to them (specification §5.6, §5.9).

use super::{Go, Journey};
use crate::{
    class::Direction,
    config::EndpointToHostAction,
    evaluate::{Outcome, Stage, Subject},
    ids::IfName,
    packet::Packet,
    rule::Protocol,
    rule_id::Exemption,
};
use std::net::{IpAddr, Ipv4Addr};

impl Journey<'_> {
    /// A workload sends from its own addresses and from prefixes it was given, and besides only what has no address yet or stays on the link.
    ///
    /// With no workload at all there is nothing to compare with: later stages deny what unknown interfaces send.
    pub(super) fn check_source(&mut self, interface: &IfName) -> Go {
        let resolution = &self.evaluator.resolution;
        let own = resolution.workloads.get(interface).is_some_and(|id| {
            let endpoint = self.evaluator.view.endpoints.get(id);
            endpoint.is_some_and(|endpoint| endpoint.may_send_from(self.packet.source))
        });
        if own || resolution.workloads.is_empty() || self.original.is_link_bound() {
            return Go::Continue(());
        }
        self.note(Stage::UntrackedIn, Subject::SourceCheck, Outcome::Deny);
        Go::Break(())
    }

    /// Whether a packet comes from a workload interface of a node that has no workload: not even replies are let in.
    /// Where there are workloads the check of sources has denied it.
    pub(super) fn is_of_no_workload(&self, interface: &IfName) -> bool {
        let resolution = &self.evaluator.resolution;
        resolution.workloads.is_empty() && resolution.is_workload(interface)
    }

    /// The action comes first where it is to drop; what it leaves to policy is judged by the workload's egress list.
    pub(super) fn workload_to_host(&mut self, interface: &IfName) -> Go {
        let stage = Stage::Input;
        if self.packet.is_workload_discovery() {
            let subject = Subject::Exempt(Exemption::NeighbourDiscovery);
            self.note(stage, subject, Outcome::Accept);
            return Go::Continue(());
        }
        let action = self.evaluator.view.config.endpoint_to_host_action;
        if action == EndpointToHostAction::Drop {
            self.note(stage, Subject::EndpointToHost, Outcome::Deny);
            return Go::Break(());
        }
        self.workload(stage, interface, Direction::Egress)?;
        self.note(stage, Subject::EndpointToHost, Outcome::Accept);
        Go::Continue(())
    }

    pub(super) fn workload(
        &mut self,
        stage: Stage,
        interface: &IfName,
        direction: Direction,
    ) -> Go {
        let Some(endpoint) = self.evaluator.resolution.workloads.get(interface) else {
            self.note(
                stage,
                Subject::UnknownWorkload(interface.clone()),
                Outcome::Deny,
            );
            return Go::Break(());
        };
        self.normal(stage, endpoint, direction)
    }
}

impl Packet {
    /// What a workload's neighbour discovery needs of its host: multicast listeners, router solicitations, neighbours.
    /// Router advertisements and redirects of workloads are not among it.
    pub fn is_workload_discovery(&self) -> bool {
        self.protocol == Protocol::ICMPV6
            && self
                .icmp
                .is_some_and(|(icmp_type, _)| matches!(icmp_type, 130..=133 | 135 | 136))
    }

    /// From a link-local address, or from none: duplicate address detection, DHCP.
    pub fn is_link_bound(&self) -> bool {
        match self.source {
            IpAddr::V6(source) => {
                source.is_unicast_link_local()
                    || (source.is_unspecified() && self.protocol == Protocol::ICMPV6)
            }
            IpAddr::V4(source) => {
                source.is_unspecified()
                    && self.protocol == Protocol::UDP
                    && self.destination == IpAddr::V4(Ipv4Addr::BROADCAST)
            }
        }
    }
}
