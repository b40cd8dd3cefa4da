//! Policies: what they govern and what they say, for every kind of them. Raw shapes in `raw`, the way between in `parse`.
//! Source: Calico v3, `globalnetworkpolicy.go`, `networkpolicy.go`, `staged*.go`; specification §1.3–§1.5.

mod parse;
mod raw;

use palisade_selector::Selector;

use crate::name::Name;
use crate::rule::Rule;

pub(crate) use raw::{
    RawGlobalNetworkPolicy, RawNetworkPolicy, RawStagedGlobalNetworkPolicy, RawStagedNetworkPolicy,
    plain_number,
};

/// A validated policy. One of a namespace has no `namespace_selector` and acts in [`PolicyStage::Normal`]; that it governs
/// its own namespace only is said by the namespace in its metadata, not by `selector`.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicySpec {
    /// The tier it belongs to; `default` unless given. May not exist.
    pub tier: Name,
    /// Place in the tier, finite; `None` is after everything. Ties go by name.
    pub order: Option<f64>,
    /// Endpoints it governs. Empty in the resource means `all()`.
    pub selector: Selector,
    /// Labels of the endpoint's namespace; `None` does not constrain.
    pub namespace_selector: Option<Selector>,
    /// Labels of the endpoint's service account; `None` does not constrain.
    pub service_account_selector: Option<Selector>,
    /// Directions it governs.
    pub types: PolicyTypes,
    /// Rules for packets to the endpoint; inert unless `types` has ingress.
    pub ingress: Vec<Rule>,
    /// Rules for packets from the endpoint; inert unless `types` has egress.
    pub egress: Vec<Rule>,
    /// Which list of the endpoint it goes to.
    pub stage: PolicyStage,
    /// `AssumeNeededOnEveryNode`: never changes a verdict.
    pub needed_on_every_node: bool,
}

/// Directions a policy governs; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyTypes {
    /// Packets to the endpoint.
    Ingress,
    /// Packets from the endpoint.
    Egress,
    /// Both.
    Both,
}

/// Where in a packet's way a policy acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyStage {
    /// On local traffic of the endpoint.
    Normal,
    /// `applyOnForward`: on forwarded traffic too.
    NormalAndForward,
    /// `doNotTrack`: before connection tracking.
    Untracked,
    /// `preDNAT`: before destination translation.
    PreDnat,
}

/// A validated staged policy: never enforced, always evaluated.
#[derive(Debug, Clone, PartialEq)]
pub enum StagedPolicySpec {
    /// What would be enforced.
    Policy {
        /// What its writer has in mind; evaluated alike.
        action: StagedAction,
        /// The policy as it would be enforced.
        policy: Box<PolicySpec>,
    },
    /// The enforced policy of this name would go away.
    Delete {
        /// The tier of that policy.
        tier: Name,
    },
}

/// What the writer of a staged policy has in mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StagedAction {
    /// To put it in force.
    Set,
    /// It was proposed from traffic that was seen.
    Learn,
    /// To leave it aside.
    Ignore,
}

impl PolicyTypes {
    /// Whether packets to the endpoint are governed.
    pub fn ingress(self) -> bool {
        self != Self::Egress
    }

    /// Whether packets from the endpoint are governed.
    pub fn egress(self) -> bool {
        self != Self::Ingress
    }
}

impl StagedPolicySpec {
    /// The tier it belongs to; may not exist.
    pub fn tier(&self) -> &Name {
        match self {
            Self::Policy { policy, .. } => &policy.tier,
            Self::Delete { tier } => tier,
        }
    }

    /// The policy that is evaluated; none for a deletion.
    pub fn policy(&self) -> Option<&PolicySpec> {
        match self {
            Self::Policy { policy, .. } => Some(policy),
            Self::Delete { .. } => None,
        }
    }
}
