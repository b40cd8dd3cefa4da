//! The way of a packet through the stages (specification §11.2): an accept ends a stage, a denial is final.

use super::{
    Evaluator, Judgement, Outcome, Stage, Step, Subject, Verdict,
    list::{Ending, List},
};
use crate::{
    class::{Direction, PolicyList},
    config::DenyAction,
    ids::{EndpointId, IfName},
    packet::{CtState, Packet, Way},
};
use std::ops::ControlFlow;

mod workload;

/// A packet on its way. Breaking off means: denied.
struct Journey<'a> {
    evaluator: &'a Evaluator<'a>,
    packet: Packet,
    /// The packet as seen before destination translation.
    original: Packet,
    trace: Vec<Step>,
    /// Set by an untracked or pre-DNAT allow.
    accepted: bool,
}

type Go = ControlFlow<()>;

/// Devices within devices, at most (`MAX_NEST_DEV`); what a node reports may run in a circle.
const MASTERS: usize = 8;

pub(super) fn judge(evaluator: &Evaluator<'_>, packet: &Packet) -> Judgement {
    let mut journey = Journey {
        evaluator,
        packet: packet.clone(),
        original: before_translation(packet),
        trace: Vec::new(),
        accepted: false,
    };
    let go = journey.run();
    journey.end(go)
}

/// What comes in through `lo` was translated before it came.
fn before_translation(packet: &Packet) -> Packet {
    let mut original = packet.clone();
    if packet.way.is_loopback() {
        return original;
    }
    if let Some((address, port)) = packet.original_destination {
        original.destination = address;
        original.destination_port = port.or(packet.destination_port);
        original.original_destination = None;
    }
    original
}

impl<'a> Journey<'a> {
    fn run(&mut self) -> Go {
        let way = self.packet.way.clone();
        if self.packet.source.is_ipv6() && !self.evaluator.view.config.ipv6 {
            let stage = match way {
                Way::In { .. } => Stage::Input,
                Way::Out { .. } => Stage::Output,
                Way::Forward { .. } => Stage::ForwardHostIn,
            };
            self.note(stage, Subject::FamilyLeftAlone, Outcome::Accept);
            return Go::Continue(());
        }
        match way {
            Way::In { interface } => {
                let interface = self.arrive_at_master(interface, Stage::Input)?;
                self.input(&interface)
            }
            Way::Out { interface } => self.leave(interface),
            Way::Forward { from, to } => {
                let from = self.arrive_at_master(from, Stage::ForwardHostIn)?;
                let to = self.behind_ports(to, Stage::ForwardHostOut);
                self.forward(&from, &to)
            }
        }
    }

    /// Arrives, at the device that the interface is a port of, if it is one: its name is what later stages see.
    fn arrive_at_master(&mut self, interface: IfName, stage: Stage) -> ControlFlow<(), IfName> {
        let mut interface = self.behind_ports(interface, stage);
        self.arrive(&interface)?;
        if let Some(vrf) = self.master(&interface, stage) {
            interface = vrf;
            self.arrive(&interface)?;
        }
        ControlFlow::Continue(interface)
    }

    /// Where the rules see a packet of this interface first: ports of bridges and bonds are never seen.
    fn behind_ports(&mut self, mut interface: IfName, stage: Stage) -> IfName {
        for _ in 0..MASTERS {
            match self.evaluator.environment.master(&interface) {
                Some(master) if !master.is_vrf() => {}
                _ => break,
            }
            if let Some(master) = self.master(&interface, stage) {
                interface = master;
            }
        }
        interface
    }

    /// The device of a port, noted.
    fn master(&mut self, port: &IfName, stage: Stage) -> Option<IfName> {
        let master = self.evaluator.environment.master(port)?.clone();
        let name = master.name.clone();
        self.note(stage, Subject::Port(port.clone(), master), Outcome::Pass);
        Some(name)
    }

    /// A local packet leaves through the VRF first, then through its port.
    fn leave(&mut self, interface: IfName) -> Go {
        let interface = self.behind_ports(interface, Stage::Output);
        if let Some(vrf) = self.master(&interface, Stage::Output) {
            self.untracked(Stage::UntrackedOut, &vrf, Direction::Egress)?;
            self.output(&vrf)?;
        }
        self.untracked(Stage::UntrackedOut, &interface, Direction::Egress)?;
        self.output(&interface)
    }

    /// What every packet from outside goes through first.
    fn arrive(&mut self, interface: &IfName) -> Go {
        if self.evaluator.resolution.is_workload(interface) {
            self.check_source(interface)?;
        }
        self.untracked(Stage::UntrackedIn, interface, Direction::Ingress)?;
        if self.is_established() || self.accepted {
            return Go::Continue(());
        }
        let endpoint = self.evaluator.resolution.forward_endpoint(interface);
        self.early(
            Stage::PreDnat,
            endpoint,
            PolicyList::PreDnat,
            Direction::Ingress,
        )
    }

    /// Only endpoints that name the interface or carry its address have untracked policy. What it allows has no
    /// connection, and so no translation. Where a local packet would have left untranslated is not known: it is taken
    /// to be where it leaves.
    fn untracked(&mut self, stage: Stage, interface: &IfName, direction: Direction) -> Go {
        let endpoint = self.evaluator.resolution.hosts.get(interface);
        self.early(stage, endpoint, PolicyList::Untracked, direction)?;
        // What has a connection already, as on `lo`, keeps it.
        let has_none = matches!(self.packet.ct, CtState::Invalid | CtState::Untracked);
        if self.accepted && (has_none || !self.packet.way.is_loopback()) {
            self.original.ct = CtState::Untracked;
            self.packet = self.original.clone();
        }
        Go::Continue(())
    }

    /// Lists before the normal one: silent where there is no policy, and an allow skips later stages.
    fn early(
        &mut self,
        stage: Stage,
        endpoint: Option<&'a EndpointId>,
        list: PolicyList,
        direction: Direction,
    ) -> Go {
        let Some(endpoint) = endpoint else {
            return Go::Continue(());
        };
        match self.list(stage, endpoint, list, direction) {
            Some(Ending::Deny) => Go::Break(()),
            Some(Ending::Allow) => {
                self.accepted = true;
                Go::Continue(())
            }
            Some(Ending::Continue) | None => Go::Continue(()),
        }
    }

    fn input(&mut self, interface: &IfName) -> Go {
        let stage = Stage::Input;
        let unknown = self.is_of_no_workload(interface);
        if !unknown && self.established(stage) {
            return Go::Continue(());
        }
        if self.evaluator.resolution.is_workload(interface) {
            return self.workload_to_host(interface);
        }
        if self.accepted_before(stage) {
            return Go::Continue(());
        }
        self.host(stage, interface, Direction::Ingress)
    }

    fn output(&mut self, interface: &IfName) -> Go {
        let stage = if self.packet.original_destination.is_some() {
            Stage::OutputTranslated
        } else {
            Stage::Output
        };
        if self.established(stage) || self.accepted_before(stage) {
            return Go::Continue(());
        }
        if self.evaluator.resolution.is_workload(interface) {
            self.note(stage, Subject::HostToWorkload, Outcome::Accept);
            return Go::Continue(());
        }
        self.host(stage, interface, Direction::Egress)
    }

    fn forward(&mut self, from: &IfName, to: &IfName) -> Go {
        if self.established(Stage::ForwardHostIn) {
            if self.is_of_no_workload(from) {
                return self.workload(Stage::ForwardWorkloadFrom, from, Direction::Egress);
            }
            return Go::Continue(());
        }
        if !self.accepted_before(Stage::ForwardHostIn) {
            self.forwarded(Stage::ForwardHostIn, from, Direction::Ingress)?;
        }
        if self.evaluator.resolution.is_workload(from) {
            self.workload(Stage::ForwardWorkloadFrom, from, Direction::Egress)?;
        }
        if self.evaluator.resolution.is_workload(to) {
            self.workload(Stage::ForwardWorkloadTo, to, Direction::Ingress)?;
        }
        self.forwarded(Stage::ForwardHostOut, to, Direction::Egress)
    }

    /// A host endpoint's forward list. Without one only invalid packets are denied.
    fn forwarded(&mut self, stage: Stage, interface: &IfName, direction: Direction) -> Go {
        let resolution = &self.evaluator.resolution;
        let Some(endpoint) = resolution.forward_endpoint(interface) else {
            self.note(
                stage,
                Subject::Ungoverned(interface.clone()),
                Outcome::Accept,
            );
            return Go::Continue(());
        };
        match self.list(stage, endpoint, PolicyList::Forward, direction) {
            Some(Ending::Deny) => Go::Break(()),
            Some(Ending::Allow | Ending::Continue) => Go::Continue(()),
            None if self.packet.ct == CtState::Invalid
                && !self.evaluator.view.config.accept_invalid =>
            {
                self.note_of(stage, endpoint, Subject::Invalid, Outcome::Deny);
                Go::Break(())
            }
            None => {
                let subject = Subject::NoPolicy(endpoint.clone());
                self.note_of(stage, endpoint, subject, Outcome::Accept);
                Go::Continue(())
            }
        }
    }

    fn host(&mut self, stage: Stage, interface: &IfName, direction: Direction) -> Go {
        let Some(endpoint) = self.evaluator.resolution.host_endpoint(interface) else {
            self.note(
                stage,
                Subject::Ungoverned(interface.clone()),
                Outcome::Accept,
            );
            return Go::Continue(());
        };
        self.normal(stage, endpoint, direction)
    }

    fn normal(&mut self, stage: Stage, endpoint: &'a EndpointId, direction: Direction) -> Go {
        match self.list(stage, endpoint, PolicyList::Normal, direction) {
            Some(Ending::Allow | Ending::Continue) => Go::Continue(()),
            Some(Ending::Deny) => Go::Break(()),
            None => {
                // Views are checked; an endpoint without normal class must not open anything.
                self.note_of(stage, endpoint, Subject::EndOfProfiles, Outcome::Deny);
                Go::Break(())
            }
        }
    }

    /// `None`: the endpoint has no class for this.
    fn list(
        &mut self,
        stage: Stage,
        endpoint: &'a EndpointId,
        list: PolicyList,
        direction: Direction,
    ) -> Option<Ending> {
        let view = self.evaluator.view;
        let class = view
            .endpoints
            .get(endpoint)?
            .classes
            .get(&(list, direction))?;
        let early = matches!(
            stage,
            Stage::UntrackedIn | Stage::UntrackedOut | Stage::PreDnat
        );
        let list = List {
            evaluator: self.evaluator,
            packet: if early { &self.original } else { &self.packet },
            stage,
            endpoint,
            class: view.classes.get(class)?,
            trace: &mut self.trace,
        };
        Some(list.judge())
    }

    fn is_established(&self) -> bool {
        matches!(self.packet.ct, CtState::Established | CtState::Related)
    }

    fn established(&mut self, stage: Stage) -> bool {
        let established = self.is_established();
        if established {
            self.note(stage, Subject::Established, Outcome::Accept);
        }
        established
    }

    fn accepted_before(&mut self, stage: Stage) -> bool {
        if self.accepted {
            self.note(stage, Subject::AcceptedBefore, Outcome::Accept);
        }
        self.accepted
    }

    fn note(&mut self, stage: Stage, subject: Subject, outcome: Outcome) {
        self.trace.push(Step {
            stage,
            endpoint: None,
            subject,
            outcome,
        });
    }

    fn note_of(&mut self, stage: Stage, endpoint: &EndpointId, subject: Subject, outcome: Outcome) {
        self.trace.push(Step {
            stage,
            endpoint: Some(endpoint.clone()),
            subject,
            outcome,
        });
    }

    fn end(self, go: Go) -> Judgement {
        let mut decided = self.trace.iter().rev();
        let last = decided.find(|step| !matches!(step.outcome, Outcome::Asked { .. }));
        let stage = last.map_or(Stage::Input, |step| step.stage);
        // An action of `Drop` says how.
        let silent = last.is_some_and(|step| step.subject == Subject::EndpointToHost);
        let verdict = match (go, self.evaluator.view.config.deny_action) {
            (Go::Continue(()), _) => Verdict::Accept,
            (Go::Break(()), DenyAction::Reject) if may_reject(stage) && !silent => Verdict::Reject,
            (Go::Break(()), _) => Verdict::Drop,
        };
        let direction = match stage {
            Stage::UntrackedIn
            | Stage::PreDnat
            | Stage::Input
            | Stage::ForwardHostIn
            | Stage::ForwardWorkloadTo => Direction::Ingress,
            Stage::ForwardWorkloadFrom
            | Stage::ForwardHostOut
            | Stage::UntrackedOut
            | Stage::Output
            | Stage::OutputTranslated => Direction::Egress,
        };
        let reason = last.map_or(Subject::EndOfList, |step| step.subject.clone());
        Judgement {
            verdict,
            rule: reason.rule_id(direction),
            reason,
            trace: self.trace,
        }
    }
}

/// The kernel refuses to reject before routing and after it.
const fn may_reject(stage: Stage) -> bool {
    !matches!(
        stage,
        Stage::UntrackedIn | Stage::UntrackedOut | Stage::PreDnat | Stage::OutputTranslated
    )
}
