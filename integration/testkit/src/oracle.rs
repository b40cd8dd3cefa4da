//! What the specification says of a packet: short, slow, and as near to the pseudo-code of §11 as a program can be.
//!
//! Reads resources as they are written. Nothing is compiled, indexed or shared with the product; where this and the
//! product differ, the specification says who is right, and whoever changes this file quotes it.

mod endpoint;
mod list;
mod path;
mod plugin;
mod policy;
mod rule;
mod settings;

pub use endpoint::Endpoint;
pub use policy::List;

use crate::document::{Direction, World};
use crate::packet::Packet;
use endpoint::Known;
use policy::Ordered;
use settings::Settings;
use std::collections::BTreeMap;

/// What happens to a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It is gone.
    Drop,
    /// It is gone, and the sender is told.
    Reject,
}

/// A station of the packet's way (§5.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the rows of the table of stages")]
pub enum Stage {
    UntrackedIn,
    PreDnat,
    Input,
    ForwardHostIn,
    ForwardWorkloadFrom,
    ForwardWorkloadTo,
    ForwardHostOut,
    UntrackedOut,
    Output,
    OutputTranslated,
}

/// Why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// `ipv6Support` is off.
    FamilyLeftAlone,
    /// No endpoint governs the interface.
    NotGoverned,
    /// The list of the endpoint has nothing to say in this direction.
    NoPolicy,
    /// Established or related.
    Established,
    /// Invalid for connection tracking.
    Invalid,
    /// An exemption, by name.
    Exempt(&'static str),
    /// A failsafe port.
    Failsafe,
    /// The answer to a failsafe of the other direction, where nothing is tracked.
    FailsafeReply,
    /// A rule of a policy or profile, by kind, name, and place.
    Rule {
        /// CamelCase.
        kind: &'static str,
        /// `name`, or `namespace/name`.
        name: String,
        /// The list of rules.
        direction: Direction,
        /// Place in it.
        index: usize,
    },
    /// The end of a tier.
    TierEnd(String),
    /// A profile that an endpoint names and nobody wrote.
    MissingProfile(String),
    /// After the last profile.
    EndOfProfiles,
    /// After the last tier of a list that falls through.
    EndOfList,
    /// Untracked or pre-DNAT policy allowed it before.
    AllowedBefore,
    /// A workload interface without an endpoint.
    UnknownWorkload,
    /// A workload's source address is not its own.
    Spoofed,
    /// A workload may not tunnel.
    Tunnel,
    /// Neighbour discovery of a workload.
    WorkloadDiscovery,
    /// `defaultEndpointToHostAction`.
    EndpointToHost,
    /// Host to workload.
    HostToWorkload,
}

/// A condition of a rule that was looked at: on which end, which field, and whether it held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Look {
    /// `rule`, `source` or `destination`.
    pub end: &'static str,
    /// The field.
    pub field: &'static str,
    /// Whether it held; a rule that matches says so for all its fields, another for the first that failed.
    pub held: bool,
}

/// A verdict with its reasons.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// What happens.
    pub verdict: Verdict,
    /// What each stage said, in order; the last one that denies decides.
    pub stages: Vec<(Stage, Reason)>,
    /// The conditions that were looked at.
    pub looks: Vec<Look>,
    /// There is no such packet, or resources alone do not say what becomes of it: untracked policy allowed it although
    /// it is said to be translated, which what is not tracked never is; or it comes from a workload interface without
    /// endpoint, whose source check is a matter of routes, in a flow or as neighbour discovery.
    pub impossible: bool,
}

impl Judgement {
    /// The stage that decided, with its reason.
    pub fn decided(&self) -> Option<&(Stage, Reason)> {
        self.stages.last()
    }
}

/// The specification, told about a world.
pub struct Oracle {
    settings: Settings,
    known: Known,
    policies: Vec<Ordered>,
    tiers: Vec<policy::KnownTier>,
    profiles: BTreeMap<String, crate::document::Profile>,
    machine: crate::document::Machine,
    matchers: BTreeMap<String, Option<String>>,
}

impl Oracle {
    /// Learns a world.
    pub fn new(world: &World) -> Self {
        Self {
            settings: settings::of_node(world),
            known: endpoint::known(world),
            policies: policy::policies(world),
            tiers: policy::tiers(world),
            profiles: endpoint::profiles(world),
            machine: world.machine.clone(),
            matchers: plugin::matchers(world),
        }
    }

    /// What becomes of a packet.
    pub fn judge(&self, packet: &Packet) -> Judgement {
        path::judge(self, packet)
    }
}
