//! The table of stages: where a packet is judged, by which list, and which classes of endpoints stand there.

use crate::ir::{Base, Hook, Side, TableName};
use palisade_policy::class::{Direction, PolicyList};

/// Where classes are entered by interface. Two stages may share one, if the kernel lets them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Dispatch {
    /// Part of the names of its map and chains.
    pub(crate) name: &'static str,
    /// Which list of the endpoint judges.
    pub(crate) list: PolicyList,
    /// Which direction of it.
    pub(crate) direction: Direction,
    /// Which interface of the packet is the endpoint's.
    pub(crate) side: Side,
    /// Whether the kernel lets a rule reject here.
    pub(crate) rejects: bool,
}

impl Dispatch {
    /// To local processes.
    pub(crate) const INPUT: Self = Self {
        name: "input",
        list: PolicyList::Normal,
        direction: Direction::Ingress,
        side: Side::In,
        rejects: true,
    };
    /// Through the host, where a packet comes in.
    pub(crate) const FORWARD_IN: Self = Self {
        name: "forward_host_in",
        list: PolicyList::Forward,
        direction: Direction::Ingress,
        side: Side::In,
        rejects: true,
    };
    /// Through the host, where it goes out.
    pub(crate) const FORWARD_OUT: Self = Self {
        name: "forward_host_out",
        list: PolicyList::Forward,
        direction: Direction::Egress,
        side: Side::Out,
        rejects: true,
    };
    /// From local processes.
    pub(crate) const OUT: Self = Self {
        name: "host_out",
        list: PolicyList::Normal,
        direction: Direction::Egress,
        side: Side::Out,
        rejects: true,
    };
    /// From local processes, once translated. The kernel refuses a reject in postrouting.
    pub(crate) const OUT_TRANSLATED: Self = Self {
        name: "host_out_translated",
        rejects: false,
        ..Self::OUT
    };
}

/// A base chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stage {
    /// Its name.
    pub(crate) chain: &'static str,
    /// In which table.
    pub(crate) table: TableName,
    /// Where it hangs.
    pub(crate) base: Base,
    /// What stands between the established flows and the classes.
    pub(crate) kind: StageKind,
    /// The classes.
    pub(crate) dispatch: Dispatch,
}

/// What a stage does beside dispatch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StageKind {
    /// Nothing.
    Plain,
    /// Leaves translated flows to [`StageKind::Translated`]: their interface may still change.
    Untranslated,
    /// Judges translated flows of local processes, and no others.
    Translated,
}

/// In the order of the packet's way.
pub(crate) const STAGES: [Stage; 5] = [
    stage("input", Hook::Input, -5, StageKind::Plain, Dispatch::INPUT),
    stage(
        "forward_host_in",
        Hook::Forward,
        -8,
        StageKind::Plain,
        Dispatch::FORWARD_IN,
    ),
    stage(
        "forward_host_out",
        Hook::Forward,
        -5,
        StageKind::Plain,
        Dispatch::FORWARD_OUT,
    ),
    stage(
        "output",
        Hook::Output,
        -5,
        StageKind::Untranslated,
        Dispatch::OUT,
    ),
    stage(
        "output_translated",
        Hook::Postrouting,
        -5,
        StageKind::Translated,
        Dispatch::OUT_TRANSLATED,
    ),
];

const fn stage(
    chain: &'static str,
    hook: Hook,
    priority: i32,
    kind: StageKind,
    dispatch: Dispatch,
) -> Stage {
    Stage {
        chain,
        table: TableName::Main,
        base: Base { hook, priority },
        kind,
        dispatch,
    }
}
