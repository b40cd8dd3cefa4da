//! What becomes of a packet, and why: the second rung of the verdict ladder (law f), and what `explain` prints.
//!
//! Written from specification §11 with the stages of the node; it reads the view as it is, in order, and knows nothing
//! of how the ruleset is compiled. Policies that say nothing and ask no plugin leave no step in the trace; staged ones
//! say what they would do.

mod list;
mod matches;
mod path;

use crate::{
    config::Failsafe,
    ids::{EndpointId, IfName, PolicyId, RuleId, TierName},
    packet::{Environment, Master, Packet},
    plugin::{Answer, PluginCondition},
    resolve::{Resolution, resolve},
    rule_id::{self, Exemption},
    view::View,
};
use std::fmt;

/// What happens to a packet in the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It is gone.
    Drop,
    /// It is gone, and the sender is told.
    Reject,
}

/// A station of the packet's way, in the order of the ruleset's base chains.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// Before connection tracking, on arrival.
    UntrackedIn,
    /// Before destination translation.
    PreDnat,
    /// To a local process.
    Input,
    /// Forwarded, judged by the host endpoint it arrives at.
    ForwardHostIn,
    /// Forwarded, judged by the workload it comes from.
    ForwardWorkloadFrom,
    /// Forwarded, judged by the workload it goes to.
    ForwardWorkloadTo,
    /// Forwarded, judged by the host endpoint it leaves from.
    ForwardHostOut,
    /// From a local process, before connection tracking.
    UntrackedOut,
    /// From a local process.
    Output,
    /// From a local process to a translated destination.
    OutputTranslated,
}

/// Who decides, or notes, something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// IPv6 is left alone.
    FamilyLeftAlone,
    /// No endpoint governs the interface.
    Ungoverned(IfName),
    /// The interface is a port; what follows is judged by the name of its device.
    Port(IfName, Master),
    /// An endpoint has nothing to say at this stage.
    NoPolicy(EndpointId),
    /// Part of a flow that was judged before.
    Established,
    /// Accepted by untracked or pre-DNAT policy before.
    AcceptedBefore,
    /// Connection tracking calls the packet invalid.
    Invalid,
    /// Exempt from policy.
    Exempt(Exemption),
    /// A failsafe port.
    Failsafe(Failsafe),
    /// A rule.
    Rule {
        /// Absent for profiles.
        tier: Option<TierName>,
        /// Policy or profile.
        policy: PolicyId,
        /// Place in its list, from 0.
        index: usize,
        /// The rule's id.
        id: RuleId,
    },
    /// The end of a tier.
    TierDefault(TierName),
    /// A profile that does not exist.
    MissingProfile(PolicyId),
    /// No profile decided.
    EndOfProfiles,
    /// The end of a list after which the packet goes on.
    EndOfList,
    /// A workload interface without endpoint.
    UnknownWorkload(IfName),
    /// A workload's packet from an address that is not its own.
    SourceCheck,
    /// Tunnels out of workloads.
    Tunnel,
    /// The action for packets from workloads to their host.
    EndpointToHost,
    /// Hosts may always reach their workloads.
    HostToWorkload,
}

/// What the subject does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Accepts, at this stage.
    Accept,
    /// Denies, finally.
    Deny,
    /// Leaves the tier or profile.
    Pass,
    /// Writes a log line.
    Log {
        /// With this prefix.
        prefix: String,
    },
    /// Asks a plugin, as all else of the rule matches; what it does then, if anything, is the next step.
    Asked {
        /// What it asks.
        condition: PluginCondition,
        /// The packet's answer; [`Answer::Failed`] if it has none.
        answer: Answer,
    },
    /// Nothing: it is of a staged policy, which would do this.
    Would(Box<Outcome>),
}

/// A line of the trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Where.
    pub stage: Stage,
    /// Whose list it is; absent before dispatch.
    pub endpoint: Option<EndpointId>,
    /// Who.
    pub subject: Subject,
    /// What.
    pub outcome: Outcome,
}

/// A verdict with its reasons.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// What happens.
    pub verdict: Verdict,
    /// Every step that decided or noted something, in order.
    pub trace: Vec<Step>,
    /// The id of what decided last, if it has one.
    pub rule: Option<RuleId>,
    /// What decided last.
    pub reason: Subject,
}

/// Judges packets on one node.
pub struct Evaluator<'a> {
    view: &'a View,
    environment: &'a Environment,
    resolution: Resolution,
}

impl<'a> Evaluator<'a> {
    /// For a view on a machine.
    pub fn new(view: &'a View, environment: &'a Environment) -> Self {
        Self {
            view,
            environment,
            resolution: resolve(view, environment),
        }
    }

    /// Who governs what.
    pub fn resolution(&self) -> &Resolution {
        &self.resolution
    }

    /// What becomes of a packet.
    pub fn judge(&self, packet: &Packet) -> Judgement {
        path::judge(self, packet)
    }
}

/// What becomes of one packet.
pub fn evaluate(view: &View, environment: &Environment, packet: &Packet) -> Judgement {
    Evaluator::new(view, environment).judge(packet)
}

impl Subject {
    /// The id under which ruleset, logs and counters know it.
    pub fn rule_id(&self, direction: crate::class::Direction) -> Option<RuleId> {
        Some(match self {
            Self::Rule { id, .. } => *id,
            Self::Invalid => rule_id::invalid(),
            Self::Exempt(exemption) => rule_id::exemption(*exemption),
            Self::Failsafe(failsafe) => rule_id::failsafe(direction, failsafe),
            Self::TierDefault(tier) => rule_id::tier_default(tier),
            Self::MissingProfile(profile) => rule_id::missing_profile(profile),
            Self::EndOfProfiles => rule_id::end_of_profiles(),
            Self::UnknownWorkload(interface) => rule_id::unknown_workload(interface),
            Self::SourceCheck => rule_id::source_check(),
            Self::Tunnel => rule_id::tunnel(),
            Self::EndpointToHost => rule_id::endpoint_to_host(),
            Self::FamilyLeftAlone
            | Self::Ungoverned(_)
            | Self::Port(..)
            | Self::NoPolicy(_)
            | Self::Established
            | Self::AcceptedBefore
            | Self::EndOfList
            | Self::HostToWorkload => return None,
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FamilyLeftAlone => f.write_str("IPv6 is left alone"),
            Self::Ungoverned(interface) => write!(f, "no endpoint governs `{interface}`"),
            Self::Port(interface, master) => write!(f, "`{interface}` is a port of {master}"),
            Self::NoPolicy(endpoint) => write!(f, "no policy of this stage for `{endpoint}`"),
            Self::Established => f.write_str("established or related flow"),
            Self::AcceptedBefore => f.write_str("accepted before tracking or translation"),
            Self::Invalid => f.write_str("invalid for connection tracking"),
            Self::Exempt(exemption) => write!(f, "exemption `{}`", exemption.name()),
            Self::Failsafe(failsafe) => {
                write!(f, "failsafe {} {}", failsafe.protocol, failsafe.port)?;
                failsafe.net.map_or(Ok(()), |net| write!(f, " of {net}"))
            }
            Self::Rule {
                tier,
                policy,
                index,
                ..
            } => {
                if let Some(tier) = tier {
                    write!(f, "tier `{tier}`, ")?;
                }
                write!(f, "`{policy}`, rule {index}")
            }
            Self::TierDefault(tier) => write!(f, "end of tier `{tier}`"),
            Self::MissingProfile(profile) => write!(f, "`{profile}` does not exist"),
            Self::EndOfProfiles => f.write_str("no policy or profile allows it"),
            Self::EndOfList => f.write_str("nothing denies it"),
            Self::UnknownWorkload(interface) => {
                write!(f, "workload interface `{interface}` has no endpoint")
            }
            Self::SourceCheck => f.write_str("the source address is not the workload's"),
            Self::Tunnel => f.write_str("tunnels out of workloads"),
            Self::EndpointToHost => f.write_str("defaultEndpointToHostAction"),
            Self::HostToWorkload => f.write_str("hosts may reach their workloads"),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UntrackedIn => "untracked-in",
            Self::PreDnat => "pre-dnat",
            Self::Input => "input",
            Self::ForwardHostIn => "forward-host-in",
            Self::ForwardWorkloadFrom => "forward-workload-from",
            Self::ForwardWorkloadTo => "forward-workload-to",
            Self::ForwardHostOut => "forward-host-out",
            Self::UntrackedOut => "untracked-out",
            Self::Output => "output",
            Self::OutputTranslated => "output-translated",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Deny => f.write_str("deny"),
            Self::Pass => f.write_str("pass"),
            Self::Log { prefix } => write!(f, "log `{prefix}`"),
            Self::Asked { condition, answer } => {
                let PluginCondition {
                    plugin, settings, ..
                } = condition;
                write!(f, "asks `{plugin}` {settings}: {answer}")
            }
            Self::Would(outcome) => write!(f, "would {outcome}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Reject => "reject",
        })
    }
}
