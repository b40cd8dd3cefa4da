//! Ids of rules: those of policies, and those of everything else that decides: failsafes, exemptions, defaults.
//!
//! An id is the first 64 bits of BLAKE3 over "palisade rule 1" and parts with their lengths, so ruleset, evaluator,
//! logs and counters agree on it without asking each other.

use crate::{
    class::Direction,
    config::Failsafe,
    ids::{IfName, PolicyId, RuleId, TierName},
    rule::{Action, Match, Rule},
    wire,
};

/// What is exempt from policy on host endpoints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Exemption {
    /// ICMPv6 130..=136 and 143.
    NeighbourDiscovery,
    /// UDP between ports 546 and 547 over IPv6.
    Dhcp6,
    /// Outbound to the control plane.
    ControlPlane,
}

impl Exemption {
    /// Its name in `PalisadeConfiguration`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NeighbourDiscovery => "neighbourDiscovery",
            Self::Dhcp6 => "dhcp6",
            Self::ControlPlane => "controlPlane",
        }
    }
}

/// The id of a rule of a policy. Equal rules of one list are told apart by `occurrence`, counted from 0.
pub fn of_rule(
    owner: &PolicyId,
    direction: Direction,
    action: &Action,
    matches: &Match,
    occurrence: u32,
) -> RuleId {
    let content = wire::encode_rule_content(&Rule {
        id: RuleId(0),
        action: action.clone(),
        matches: matches.clone(),
    });
    derive(&[
        b"rule",
        owner.as_str().as_bytes(),
        name(direction),
        &content,
        &occurrence.to_le_bytes(),
    ])
}

/// A failsafe.
pub fn failsafe(direction: Direction, failsafe: &Failsafe) -> RuleId {
    let net = failsafe.net.map_or_else(String::new, |net| net.to_string());
    derive(&[
        b"failsafe",
        name(direction),
        &[failsafe.protocol.0],
        &failsafe.port.to_le_bytes(),
        net.as_bytes(),
    ])
}

/// An exemption.
pub fn exemption(exemption: Exemption) -> RuleId {
    derive(&[b"exemption", exemption.name().as_bytes()])
}

/// The denial of what connection tracking calls invalid.
pub fn invalid() -> RuleId {
    derive(&[b"invalid"])
}

/// The default action of a tier, where it is deny.
pub fn tier_default(tier: &TierName) -> RuleId {
    derive(&[b"tier", tier.as_str().as_bytes()])
}

/// The denial by a profile that does not exist.
pub fn missing_profile(profile: &PolicyId) -> RuleId {
    derive(&[b"missing profile", profile.as_str().as_bytes()])
}

/// The denial of what no profile decides.
pub fn end_of_profiles() -> RuleId {
    derive(&[b"end of profiles"])
}

/// The denial of what comes from, or goes to, a workload interface without endpoint.
pub fn unknown_workload(interface: &IfName) -> RuleId {
    derive(&[b"unknown workload", interface.as_str().as_bytes()])
}

/// The denial of packets from workloads whose source address is not theirs.
pub fn source_check() -> RuleId {
    derive(&[b"source check"])
}

/// The denial of tunnels out of workloads.
pub fn tunnel() -> RuleId {
    derive(&[b"tunnel"])
}

/// What becomes of packets from workloads to their host.
pub fn endpoint_to_host() -> RuleId {
    derive(&[b"endpoint to host"])
}

const fn name(direction: Direction) -> &'static [u8] {
    match direction {
        Direction::Ingress => b"ingress",
        Direction::Egress => b"egress",
    }
}

fn derive(parts: &[&[u8]]) -> RuleId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"palisade rule 1");
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut head = [0; 8];
    hasher.finalize_xof().fill(&mut head);
    // 0 means "no id" on the wire.
    RuleId(u64::from_le_bytes(head).max(1))
}
