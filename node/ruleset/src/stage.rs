//! The table of stages: where a packet is judged, in what order, by which list, and which classes of endpoints stand
//! there.

use crate::ir::{Base, Hook, TableName};

mod dispatch;

pub(crate) use dispatch::{ACCEPTED, ASKING, Dispatch};

/// What a view asks for beside normal and forward lists; what nothing asks for costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct InUse {
    /// Untracked policy on arrival.
    pub(crate) untracked_in: bool,
    /// Untracked policy on the way out.
    pub(crate) untracked_out: bool,
    /// Pre-DNAT policy.
    pub(crate) pre_dnat: bool,
    /// Workload endpoints.
    pub(crate) workloads: bool,
}

/// When a stage, or a step of it, is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// In every ruleset.
    Always,
    /// With untracked policy on arrival.
    UntrackedIn,
    /// With untracked policy on the way out.
    UntrackedOut,
    /// With pre-DNAT policy.
    PreDnat,
    /// With untracked policy on arrival, or pre-DNAT policy.
    EarlyIn,
    /// With untracked policy on arrival, or workload endpoints.
    RawIn,
    /// With workload endpoints.
    Workloads,
    /// Without any.
    NoWorkloads,
}

impl InUse {
    /// Whether it is so.
    pub(crate) const fn is(self, when: When) -> bool {
        match when {
            When::Always => true,
            When::UntrackedIn => self.untracked_in,
            When::UntrackedOut => self.untracked_out,
            When::PreDnat => self.pre_dnat,
            When::EarlyIn => self.untracked_in || self.pre_dnat,
            When::RawIn => self.untracked_in || self.workloads,
            When::Workloads => self.workloads,
            When::NoWorkloads => !self.workloads,
        }
    }
}

/// A base chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    /// Its name.
    pub(crate) chain: &'static str,
    /// In which table.
    pub(crate) table: TableName,
    /// Where it hangs.
    pub(crate) base: Base,
    /// Whether it is there.
    pub(crate) stands: When,
    /// Its rules, up to the explicit verdict at its end, each with the condition under which it is there.
    pub(crate) steps: &'static [(When, Step)],
}

/// What a stage does, one rule or a few.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Workloads send from their own addresses.
    SourceCheck,
    /// Flows that were judged before are accepted.
    Established,
    /// What comes from workloads is judged by a chain of its own.
    WorkloadToHost,
    /// What comes from workload interfaces without endpoint is denied, replies too.
    UnknownWorkloads(Dispatch),
    /// What early lists allowed as the packet arrived is accepted: they are judged again.
    Again,
    /// What this one list allowed is accepted.
    AgainBy(Dispatch),
    /// Only packets of local processes are judged: others are accepted.
    Local,
    /// Translated flows are left to postrouting: their interface may still change.
    Untranslated,
    /// Only translated flows are judged.
    Translated(Dispatch),
    /// By interface, in this chain.
    Classes(Dispatch),
    /// By interface, in a chain that stages share.
    Shared(Dispatch),
}

/// In the order of the packet's way.
pub(crate) const STAGES: [Stage; 10] = [
    Stage {
        chain: "untracked_in",
        table: TableName::Raw,
        base: at(Hook::Prerouting, -300),
        stands: When::RawIn,
        steps: &[
            (When::Workloads, Step::SourceCheck),
            (When::UntrackedIn, Step::Classes(Dispatch::UNTRACKED_IN)),
        ],
    },
    Stage {
        chain: "prednat",
        table: TableName::Raw,
        base: at(Hook::Prerouting, -150),
        stands: When::PreDnat,
        steps: &[
            (When::Always, Step::Established),
            (
                When::UntrackedIn,
                Step::AgainBy(Dispatch::UNTRACKED_AT_PRE_DNAT),
            ),
            (When::Always, Step::Classes(Dispatch::PRE_DNAT)),
        ],
    },
    Stage {
        chain: "input",
        table: TableName::Main,
        base: at(Hook::Input, -5),
        stands: When::Always,
        steps: &[
            // Where workloads are, what an unknown one sends never comes here.
            (When::NoWorkloads, Step::WorkloadToHost),
            (When::Always, Step::Established),
            (When::Workloads, Step::WorkloadToHost),
            (When::EarlyIn, Step::Again),
            (When::Always, Step::Classes(Dispatch::INPUT)),
        ],
    },
    Stage {
        chain: "forward_host_in",
        table: TableName::Main,
        base: at(Hook::Forward, -8),
        stands: When::Always,
        steps: &[
            (When::Always, Step::Established),
            (When::EarlyIn, Step::Again),
            (When::Always, Step::Classes(Dispatch::FORWARD_IN)),
        ],
    },
    Stage {
        // Without workloads too: a packet that meets the change would find the denial of unknown ones in neither stage.
        chain: "forward_workload_from",
        table: TableName::Main,
        base: at(Hook::Forward, -7),
        stands: When::Always,
        steps: &[
            (
                When::NoWorkloads,
                Step::UnknownWorkloads(Dispatch::WORKLOAD_FROM),
            ),
            (When::Always, Step::Established),
            (When::Always, Step::Classes(Dispatch::WORKLOAD_FROM)),
        ],
    },
    Stage {
        chain: "forward_workload_to",
        table: TableName::Main,
        base: at(Hook::Forward, -6),
        stands: When::Always,
        steps: &[
            (When::Always, Step::Established),
            (When::Always, Step::Classes(Dispatch::WORKLOAD_TO)),
        ],
    },
    Stage {
        chain: "forward_host_out",
        table: TableName::Main,
        base: at(Hook::Forward, -5),
        stands: When::Always,
        steps: &[
            (When::Always, Step::Established),
            (When::Always, Step::Classes(Dispatch::FORWARD_OUT)),
        ],
    },
    Stage {
        chain: "untracked_out",
        table: TableName::Raw,
        base: at(Hook::Output, -300),
        stands: When::UntrackedOut,
        steps: &[(When::Always, Step::Classes(Dispatch::UNTRACKED_OUT))],
    },
    Stage {
        chain: "output",
        table: TableName::Main,
        base: at(Hook::Output, -5),
        stands: When::Always,
        steps: &[
            (When::Always, Step::Established),
            (When::Always, Step::Untranslated),
            (
                When::UntrackedOut,
                Step::AgainBy(Dispatch::UNTRACKED_OUT_AGAIN),
            ),
            (When::Always, Step::Shared(Dispatch::OUT)),
        ],
    },
    Stage {
        chain: "output_translated",
        table: TableName::Main,
        base: at(Hook::Postrouting, -5),
        stands: When::Always,
        steps: &[
            (When::Always, Step::Established),
            (When::Always, Step::Local),
            (When::Always, Step::Translated(Dispatch::OUT_TRANSLATED)),
        ],
    },
];

const fn at(hook: Hook, priority: i32) -> Base {
    Base { hook, priority }
}
