//! Where packets go from their interface to a class: by which list, in which table, and whether for the first time.

use crate::ir::{ChainName, End, Side, TableName, Verdict};
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
    /// Where packets are queued to, as a number from 1 to 7; 0: nobody is asked here.
    pub(crate) asks: u8,
    /// The table that its map and chains are in.
    pub(crate) table: TableName,
    /// Present: an early list is judged again here, with this end of the packet as its destination. Only its allows
    /// count.
    pub(crate) again: Option<End>,
    /// What arrives may carry the tag of a daemon instead of its mark: whoever accepts it gives the mark back.
    pub(crate) restores: bool,
}

/// The chain that gives a packet its mark back and accepts it.
pub(crate) const ACCEPTED: &str = "accepted";

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
        table: TableName::Raw,
        list: PolicyList::Untracked,
        rejects: false,
        ..Self::INPUT
    };
    /// Whether untracked policy allowed it, asked before the destination is translated.
    pub(crate) const UNTRACKED_AT_PRE_DNAT: Self = Self {
        name: "prednat_again_untracked",
        again: Some(End::Destination),
        ..Self::UNTRACKED_IN
    };
    /// Whether untracked policy allowed it, asked of an untranslated packet.
    pub(crate) const UNTRACKED_AGAIN: Self = Self {
        name: "again_untracked",
        table: TableName::Main,
        ..Self::UNTRACKED_AT_PRE_DNAT
    };
    /// What arrives, before its destination is translated.
    pub(crate) const PRE_DNAT: Self = Self {
        name: "prednat",
        asks: 0,
        table: TableName::Raw,
        list: PolicyList::PreDnat,
        rejects: false,
        ..Self::INPUT
    };
    /// Whether pre-DNAT policy allowed it, asked of an untranslated packet.
    pub(crate) const PRE_DNAT_AGAIN: Self = Self {
        name: "again_prednat",
        table: TableName::Main,
        again: Some(End::Destination),
        ..Self::PRE_DNAT
    };
    /// The same, asked of a translated packet.
    pub(crate) const PRE_DNAT_ORIGINAL: Self = Self {
        name: "again_original",
        again: Some(End::Original),
        ..Self::PRE_DNAT_AGAIN
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
        table: TableName::Main,
        again: None,
        restores: false,
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
        table: TableName::Raw,
        list: PolicyList::Untracked,
        rejects: false,
        ..Self::OUT
    };
    /// Whether untracked policy allowed it.
    pub(crate) const UNTRACKED_OUT_AGAIN: Self = Self {
        name: "again_untracked_out",
        table: TableName::Main,
        again: Some(End::Destination),
        ..Self::UNTRACKED_OUT
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
        table: TableName::Main,
        again: None,
        restores: false,
    };
    /// From local processes, once translated. The kernel refuses a reject in postrouting.
    pub(crate) const OUT_TRANSLATED: Self = Self {
        name: "host_out_translated",
        asks: 7,
        rejects: false,
        ..Self::OUT
    };

    /// The same, where what arrives may carry a tag.
    pub(crate) const fn restoring(self, restores: bool) -> Self {
        Self { restores, ..self }
    }

    /// How a packet is accepted.
    pub(crate) fn accept(self) -> Verdict {
        if self.restores {
            Verdict::Goto(ChainName::new(ACCEPTED))
        } else {
            Verdict::Accept
        }
    }

    /// What becomes of a packet that the list has nothing to say about. Back from a list that is judged again others
    /// judge.
    pub(crate) fn otherwise(self) -> Verdict {
        match self.again {
            None => self.accept(),
            Some(_) => Verdict::Return,
        }
    }
}
