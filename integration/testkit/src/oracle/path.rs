//! The path of a packet through the stages: §11.2, line by line.

use super::list::Said;
use super::settings::ToHost;
use super::{Endpoint, Judgement, List, Look, Oracle, Reason, Stage, Verdict};
use crate::document::Direction::{Egress, Ingress};
use crate::document::{Direction, Machine};
use crate::packet::{Packet, Tracking, Way};
use std::net::IpAddr;

/// A packet on its way.
struct Walk<'a> {
    oracle: &'a Oracle,
    /// As later stages see it.
    packet: Packet,
    /// Allowed by untracked or pre-DNAT policy.
    is_marked: bool,
    impossible: bool,
    stages: Vec<(Stage, Reason)>,
    looks: Vec<Look>,
}

/// A stage denied.
struct Denied;

type Step = Result<(), Denied>;

pub(super) fn judge(oracle: &Oracle, packet: &Packet) -> Judgement {
    let mut walk = Walk {
        oracle,
        packet: packet.clone(),
        is_marked: false,
        impossible: false,
        stages: Vec::new(),
        looks: Vec::new(),
    };
    let verdict = match walk.all() {
        Ok(()) => Verdict::Accept,
        Err(Denied) => walk.denial(),
    };
    Judgement {
        verdict,
        stages: walk.stages,
        looks: walk.looks,
        impossible: walk.impossible,
    }
}

impl Walk<'_> {
    fn all(&mut self) -> Step {
        let way = self.packet.way.clone();
        if self.packet.source.is_ipv6() && !self.oracle.settings.ipv6 {
            let stage = match way {
                Way::In(_) => Stage::Input,
                Way::Out(_) => Stage::Output,
                Way::Forward(..) => Stage::ForwardHostIn,
            };
            self.stages.push((stage, Reason::FamilyLeftAlone));
            return Ok(());
        }
        match &way {
            Way::In(interface) => {
                self.arrive(interface)?;
                self.input(interface)
            }
            Way::Forward(from, to) => {
                self.arrive(from)?;
                self.forward(from, to)
            }
            Way::Out(interface) => self.leave(interface),
        }
    }

    /// Raw and mangle prerouting.
    fn arrive(&mut self, interface: &str) -> Step {
        let oracle = self.oracle;
        if oracle.settings.is_workload(interface) {
            self.source_check(interface)?;
        } else if let Some(endpoint) = oracle.named(interface) {
            self.before(Stage::UntrackedIn, endpoint, Ingress, List::Untracked)?;
        }
        if self.is_marked || self.is_established() {
            return Ok(());
        }
        match oracle.host(interface) {
            Some(endpoint) => self.before(Stage::PreDnat, endpoint, Ingress, List::PreDnat),
            None => Ok(()),
        }
    }

    fn input(&mut self, interface: &str) -> Step {
        let oracle = self.oracle;
        if self.is_established() && !self.is_of_no_workload(interface) {
            return self.accept(Stage::Input, Reason::Established);
        }
        if oracle.settings.is_workload(interface) {
            return self.workload_to_host(interface);
        }
        if self.is_marked {
            return self.accept(Stage::Input, Reason::AllowedBefore);
        }
        match oracle.host(interface) {
            Some(endpoint) => self.judged(Stage::Input, endpoint, Ingress, List::Normal),
            None => self.accept(Stage::Input, Reason::NotGoverned),
        }
    }

    /// §5.6.
    fn workload_to_host(&mut self, interface: &str) -> Step {
        if self.is_workload_discovery() {
            return self.accept(Stage::Input, Reason::WorkloadDiscovery);
        }
        // What policy denies is denied all the same; how, the action says first.
        if self.oracle.settings.to_host == ToHost::Drop && self.oracle.workload(interface).is_some()
        {
            return self.deny(Stage::Input, Reason::EndpointToHost);
        }
        self.workload(Stage::Input, interface, Egress)
    }

    fn forward(&mut self, from: &str, to: &str) -> Step {
        let oracle = self.oracle;
        if self.is_established() {
            self.accept(Stage::ForwardHostIn, Reason::Established)?;
            if self.is_of_no_workload(from) {
                return self.deny(Stage::ForwardWorkloadFrom, Reason::UnknownWorkload);
            }
            return Ok(());
        }
        if self.is_marked {
            self.accept(Stage::ForwardHostIn, Reason::AllowedBefore)?;
        } else {
            self.forward_host(Stage::ForwardHostIn, from, Ingress)?;
        }
        if oracle.settings.is_workload(from) {
            self.workload(Stage::ForwardWorkloadFrom, from, Egress)?;
        }
        if oracle.settings.is_workload(to) {
            self.workload(Stage::ForwardWorkloadTo, to, Ingress)?;
        }
        self.forward_host(Stage::ForwardHostOut, to, Egress)
    }

    fn forward_host(&mut self, stage: Stage, interface: &str, direction: Direction) -> Step {
        match self.oracle.host(interface) {
            Some(endpoint) => self.judged(stage, endpoint, direction, List::Forward),
            None => self.accept(stage, Reason::NotGoverned),
        }
    }

    fn leave(&mut self, interface: &str) -> Step {
        let oracle = self.oracle;
        if let Some(endpoint) = oracle.named(interface) {
            self.before(Stage::UntrackedOut, endpoint, Egress, List::Untracked)?;
        }
        let stage = match self.packet.translated {
            None => Stage::Output,
            // The interface is only right after translation (§5.2, stage 6).
            Some(_) => Stage::OutputTranslated,
        };
        if self.is_established() {
            return self.accept(stage, Reason::Established);
        }
        if self.is_marked {
            return self.accept(stage, Reason::AllowedBefore);
        }
        if oracle.settings.is_workload(interface) {
            return self.accept(stage, Reason::HostToWorkload);
        }
        match oracle.host(interface) {
            Some(endpoint) => self.judged(stage, endpoint, Egress, List::Normal),
            None => self.accept(stage, Reason::NotGoverned),
        }
    }

    /// An untracked or pre-DNAT list: sees the packet as it was before translation; an allow marks it. What comes through
    /// `lo` was tracked and translated on its way out.
    fn before(&mut self, stage: Stage, endpoint: &Endpoint, way: Direction, list: List) -> Step {
        let oracle = self.oracle;
        if !oracle.has_policy(endpoint, way, list) {
            return Ok(());
        }
        let looped =
            matches!(&self.packet.way, Way::In(from) | Way::Forward(from, _) if from == "lo");
        let packet = if looped {
            self.packet.clone()
        } else {
            self.packet.untranslated()
        };
        match oracle.list(endpoint, way, list, &packet, &mut self.looks) {
            Said::Deny(reason) => self.deny(stage, reason),
            Said::Accept(reason) | Said::Nothing(reason) => self.accept(stage, reason),
            Said::Allow(reason) => {
                self.is_marked = true;
                let has_none = matches!(packet.tracking, Tracking::Invalid | Tracking::Untracked);
                if list == List::Untracked && (has_none || !looped) {
                    self.impossible = self.packet.translated.is_some();
                    self.packet = packet;
                    self.packet.tracking = Tracking::Untracked;
                }
                self.accept(stage, reason)
            }
        }
    }

    /// A normal or forward list.
    fn judged(&mut self, stage: Stage, endpoint: &Endpoint, way: Direction, list: List) -> Step {
        let said = self
            .oracle
            .list(endpoint, way, list, &self.packet, &mut self.looks);
        match said {
            Said::Deny(reason) => self.deny(stage, reason),
            Said::Accept(reason) | Said::Allow(reason) => self.accept(stage, reason),
            Said::Nothing(_) if !self.oracle.has_policy(endpoint, way, list) => {
                self.accept(stage, Reason::NoPolicy)
            }
            Said::Nothing(reason) => self.accept(stage, reason),
        }
    }

    /// The normal list of a workload; without one, denied.
    fn workload(&mut self, stage: Stage, interface: &str, way: Direction) -> Step {
        match self.oracle.workload(interface) {
            Some(endpoint) => self.judged(stage, endpoint, way, List::Normal),
            None => self.deny(stage, Reason::UnknownWorkload),
        }
    }

    /// A workload sends from its own addresses only (§5.9). What a strict reverse-path lookup lets through besides:
    /// link-local sources, whose route is the interface; those who have no address yet and ask for one.
    fn source_check(&mut self, interface: &str) -> Step {
        let packet = &self.packet;
        let is_link = match packet.source {
            IpAddr::V6(v6) => {
                v6.is_unicast_link_local() || (v6.is_unspecified() && packet.protocol == 58)
            }
            IpAddr::V4(v4) => {
                let everyone = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
                // As it arrived: nothing is translated yet.
                let destination = packet.untranslated().destination;
                v4.is_unspecified() && packet.protocol == 17 && destination == everyone
            }
        };
        if is_link {
            return Ok(());
        }
        match self.oracle.workload(interface) {
            // Only routes know whether the source belongs there; elsewhere it does not matter, since all is denied.
            None if self.is_established() || self.is_workload_discovery() => {
                self.impossible = true;
                Ok(())
            }
            None => self.deny(Stage::UntrackedIn, Reason::UnknownWorkload),
            Some(endpoint) if endpoint.addresses.contains(&packet.source) => Ok(()),
            Some(endpoint) if endpoint.spoofs.iter().any(|n| n.contains(&packet.source)) => Ok(()),
            Some(_) => self.deny(Stage::UntrackedIn, Reason::Spoofed),
        }
    }

    /// "WEP dispatch: verdict map ifname -> goto chain; then drop Unknown interface" (§6.2): of an unknown interface not even
    /// replies pass. Where there are workloads the check of sources sees to that.
    fn is_of_no_workload(&self, interface: &str) -> bool {
        let oracle = self.oracle;
        oracle.settings.is_workload(interface) && oracle.workloads().next().is_none()
    }

    fn is_workload_discovery(&self) -> bool {
        let kind = self.packet.icmp.map(|(kind, _)| kind);
        let is_v6 = self.packet.source.is_ipv6() && self.packet.protocol == 58;
        is_v6 && kind.is_some_and(|kind| matches!(kind, 130..=133 | 135 | 136))
    }

    fn is_established(&self) -> bool {
        let tracking = self.packet.tracking;
        matches!(tracking, Tracking::Established | Tracking::Related)
    }

    fn accept(&mut self, stage: Stage, reason: Reason) -> Step {
        self.stages.push((stage, reason));
        Ok(())
    }

    fn deny(&mut self, stage: Stage, reason: Reason) -> Step {
        self.stages.push((stage, reason));
        Err(Denied)
    }

    /// A reject is a drop where the kernel refuses it (§5.7, 10.26).
    fn denial(&self) -> Verdict {
        use Stage::{OutputTranslated, PreDnat, UntrackedIn, UntrackedOut};
        match self.stages.last() {
            // A word of its own, not the deny action (§5.6).
            Some((_, Reason::EndpointToHost)) => Verdict::Drop,
            Some((UntrackedIn | UntrackedOut | PreDnat | OutputTranslated, _)) => Verdict::Drop,
            _ if self.oracle.settings.reject => Verdict::Reject,
            _ => Verdict::Drop,
        }
    }
}

impl Oracle {
    /// Whether any enforced policy of the list and direction selects the endpoint.
    fn has_policy(&self, endpoint: &Endpoint, direction: Direction, list: List) -> bool {
        self.policies.iter().any(|policy| {
            !policy.is_staged
                && policy.is_in(list, endpoint)
                && policy.types.contains(&direction)
                && policy.selects(endpoint)
        })
    }

    /// The machine it was told about.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}
