//! The table of stages: where a packet is judged, in what order, by which list, and which classes of endpoints stand
//! there.

use crate::ir::{Base, Hook, Side, TableName};
use palisade_policy::class::{Direction, EndpointKind, PolicyList};

/// Where classes are entered by interface. Two stages may share one, if the kernel lets them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Dispatch {
    /// Fragment of the names of its map and chains.
    pub(crate) name: &'static str,
    /// Whose classes they are.
    pub(crate) kind: EndpointKind,
    /// Which list of the endpoint judges.
    pub(crate) list: PolicyList,
    /// Which direction of it.
    pub(crate) direction: Direction,
    /// Which interface of the packet is the endpoint's.
    pub(crate) side: Side,
    /// Whether the kernel lets a rule reject here.
    pub(crate) rejects: bool,
    /// The number by which answers of plugins are known, 1..=7; 0: none are asked here.
    pub(crate) asks: u8,
}

/// Where plugins are asked.
pub(crate) const ASKING: [Dispatch; 7] = [
    Dispatch::INPUT,
    Dispatch::FORWARD_IN,
    Dispatch::WORKLOAD_FROM,
    Dispatch::WORKLOAD_TO,
    Dispatch::FORWARD_OUT,
    Dispatch::OUT,
    Dispatch::OUT_TRANSLATED,
];

impl Dispatch {
    /// What arrives, before connection tracking.
    pub(crate) const UNTRACKED_IN: Self = Self {
        name: "untracked_in",
        asks: 0,
        list: PolicyList::Untracked,
        rejects: false,
        ..Self::INPUT
    };
    /// What arrives, before its destination is translated.
    pub(crate) const PRE_DNAT: Self = Self {
        name: "prednat",
        asks: 0,
        list: PolicyList::PreDnat,
        rejects: false,
        ..Self::INPUT
    };
    /// To local processes.
    pub(crate) const INPUT: Self = Self {
        name: "input",
        asks: 1,
        kind: EndpointKind::Host,
        list: PolicyList::Normal,
        direction: Direction::Ingress,
        side: Side::In,
        rejects: true,
    };
    /// Through the host, where a packet comes in.
    pub(crate) const FORWARD_IN: Self = Self {
        name: "forward_host_in",
        asks: 2,
        list: PolicyList::Forward,
        ..Self::INPUT
    };
    /// Out of a workload: through the host, or to it.
    pub(crate) const WORKLOAD_FROM: Self = Self {
        name: "workload_from",
        asks: 3,
        kind: EndpointKind::Workload,
        direction: Direction::Egress,
        ..Self::INPUT
    };
    /// Through the host, to a workload.
    pub(crate) const WORKLOAD_TO: Self = Self {
        name: "workload_to",
        asks: 4,
        kind: EndpointKind::Workload,
        side: Side::Out,
        ..Self::INPUT
    };
    /// Through the host, where it goes out.
    pub(crate) const FORWARD_OUT: Self = Self {
        name: "forward_host_out",
        asks: 5,
        list: PolicyList::Forward,
        ..Self::OUT
    };
    /// From local processes, before connection tracking.
    pub(crate) const UNTRACKED_OUT: Self = Self {
        name: "untracked_out",
        asks: 0,
        list: PolicyList::Untracked,
        rejects: false,
        ..Self::OUT
    };
    /// From local processes.
    pub(crate) const OUT: Self = Self {
        name: "host_out",
        asks: 6,
        kind: EndpointKind::Host,
        list: PolicyList::Normal,
        direction: Direction::Egress,
        side: Side::Out,
        rejects: true,
    };
    /// From local processes, once translated. The kernel refuses a reject in postrouting.
    pub(crate) const OUT_TRANSLATED: Self = Self {
        name: "host_out_translated",
        asks: 7,
        rejects: false,
        ..Self::OUT
    };
}

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
    /// Conditions of plugins for packets that arrive, or go through.
    pub(crate) asks_in: bool,
    /// Conditions of plugins for packets of local processes.
    pub(crate) asks_out: bool,
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
    /// Where packets that arrive may be marked.
    MarksIn,
    /// Where a mark that a packet brings might be believed.
    CleansIn,
    /// The same of packets of local processes.
    CleansOut,
    /// Where anything is to do before connection tracking.
    RawIn,
    /// With workload endpoints.
    Workloads,
    /// Without any.
    NoWorkloads,
}

impl InUse {
    /// Whether it is so.
    pub(crate) const fn is(self, when: When) -> bool {
        let marks_in = self.untracked_in || self.pre_dnat;
        match when {
            When::Always => true,
            When::UntrackedIn => self.untracked_in,
            When::UntrackedOut => self.untracked_out,
            When::PreDnat => self.pre_dnat,
            When::MarksIn => marks_in,
            When::CleansIn => marks_in || self.asks_in,
            When::CleansOut => self.untracked_out || self.asks_out,
            When::RawIn => marks_in || self.asks_in || self.workloads,
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
    /// Clears bits that are believed later: someone else, or the way out through `lo`, may have set them.
    ClearMark,
    /// Workloads send from their own addresses.
    SourceCheck,
    /// Flows that were judged before are accepted.
    Established,
    /// What comes from workloads is judged by a chain of its own.
    WorkloadToHost,
    /// What comes from workload interfaces without endpoint is denied, replies too.
    UnknownWorkloads(Dispatch),
    /// What untracked or pre-DNAT policy allowed is accepted.
    Marked,
    /// The same where nobody asks later: the bit is cleared, so that routing does not see it again.
    MarkedLast,
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
            (When::CleansIn, Step::ClearMark),
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
            (When::UntrackedIn, Step::Marked),
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
            (When::MarksIn, Step::MarkedLast),
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
            (When::MarksIn, Step::MarkedLast),
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
        stands: When::CleansOut,
        steps: &[
            (When::Always, Step::ClearMark),
            (When::UntrackedOut, Step::Classes(Dispatch::UNTRACKED_OUT)),
        ],
    },
    Stage {
        chain: "output",
        table: TableName::Main,
        base: at(Hook::Output, -5),
        stands: When::Always,
        steps: &[
            (When::Always, Step::Established),
            (When::UntrackedOut, Step::Marked),
            (When::Always, Step::Untranslated),
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
            (When::UntrackedOut, Step::MarkedLast),
            (When::Always, Step::Translated(Dispatch::OUT_TRANSLATED)),
        ],
    },
];

const fn at(hook: Hook, priority: i32) -> Base {
    Base { hook, priority }
}
