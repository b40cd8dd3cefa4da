//! Classes: distinct ways to be judged, shared by all endpoints with the same policies.

use crate::{
    ids::{PolicyId, TierName},
    rule::{Policy, Rule},
};

/// Seen from the endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// To the endpoint.
    Ingress,
    /// From the endpoint.
    Egress,
}

impl Policy {
    /// The rules of one direction.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// Which list of an endpoint a class serves (specification §4.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PolicyList {
    /// Local traffic of a host, all traffic of a workload. Ends in profiles, then deny.
    Normal,
    /// Forwarded traffic of a host endpoint.
    Forward,
    /// Before connection tracking.
    Untracked,
    /// Before destination translation; ingress only.
    PreDnat,
}

/// What sits behind an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EndpointKind {
    /// An interface of the host itself.
    Host,
    /// A VM or container behind an interface of the host.
    Workload,
}

/// What becomes of a packet at the end of a tier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TierDefault {
    /// Denied.
    Deny,
    /// On to the next tier.
    Pass,
}

/// A tier as one class sees it: only policies of this list and direction that select the endpoint.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClassTier {
    /// The tier's name.
    pub name: TierName,
    /// In the untracked and pre-DNAT lists always `Pass`.
    pub default: TierDefault,
    /// Enforced policies in order of evaluation; a tier without any is in no class, unless it has staged ones.
    pub policies: Vec<PolicyId>,
    /// Staged policies, each with the index in `policies` before which it stands.
    pub staged: Vec<(PolicyId, usize)>,
}

/// A profile as a class names it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ClassProfile {
    /// Its rules are an item of the view.
    Present(PolicyId),
    /// It does not exist: what gets here is denied.
    Missing(PolicyId),
}

/// A distinct way to be judged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Class {
    /// Which list.
    pub list: PolicyList,
    /// Which direction.
    pub direction: Direction,
    /// Failsafes and exemptions are of hosts only.
    pub endpoint: EndpointKind,
    /// In order of evaluation.
    pub tiers: Vec<ClassTier>,
    /// In order; empty outside the normal list.
    pub profiles: Vec<ClassProfile>,
}
