//! A packet as the expressions of a base chain see it.

use crate::{
    ir::{Base, End, Hook, Key, SetName, Shape, Side, State, Value, names},
    plugins::{Asking, TAG},
};
use palisade_policy::{
    ids::IfName,
    packet::{CtState, Packet, Way},
    plugin::{Answer, PluginCondition},
    rule::{Family, Protocol},
};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// Connection tracking stands here, destination translation there.
const CONNTRACK: i32 = -200;
const DESTINATION_NAT: i32 = -100;

/// What stands where TCP, UDP and SCTP have their ports, in packets of other protocols.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opaque {
    /// Nothing: the packet is too short.
    Absent,
    /// These bytes.
    Bytes(u16, u16),
}

/// What a verdict must not depend on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// What stands where ports would.
    pub opaque: Opaque,
    /// The packet's mark when it comes.
    pub mark: u32,
    /// What someone else makes of the mark in front of each base chain, one after the other. Absent: nobody writes it.
    pub written: Option<u32>,
    /// Where a packet of a local process would have left, had its destination not been translated: until after the hook
    /// `output` the kernel knows no better. Absent: where it leaves.
    pub routed: Option<IfName>,
    /// The daemon that answers for plugins, and beats; it says what the packet's facts say. Absent: neither.
    pub daemon: Option<Daemon>,
}

/// A daemon that answers for plugins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Daemon {
    /// What it knows to be asked.
    pub asking: Arc<Asking>,
    /// Tags by the marks that they stand for.
    pub tags: BTreeMap<u32, u32>,
}

impl Daemon {
    /// One that has met no packet yet.
    pub const fn new(asking: Arc<Asking>) -> Self {
        Self {
            asking,
            tags: BTreeMap::new(),
        }
    }

    /// The tag that stands for the mark of a packet; a tag stands for itself. Where there is none it makes one that no mark
    /// looks like which it met.
    pub fn tag(&mut self, mark: u32) -> u32 {
        if self.restore(mark & TAG).is_some() {
            return mark & TAG;
        }
        if let Some(tag) = self.tags.get(&mark) {
            return *tag;
        }
        let looks_like = |tag: u32| {
            let met = self.tags.iter().flat_map(|(mark, tag)| [mark, tag]);
            met.chain([&mark]).any(|other| other & TAG == tag)
        };
        let mut tags = (1..).map(|number: u32| number.wrapping_mul(0x9e37_79b1) & TAG);
        let tag = tags.find(|tag| *tag != 0 && !looks_like(*tag));
        let tag = tag.unwrap_or(TAG);
        self.tags.insert(mark, tag);
        tag
    }

    /// The mark that a tag stands for.
    fn restore(&self, tag: u32) -> Option<u32> {
        let mut tags = self.tags.iter();
        tags.find_map(|(mark, stands)| (*stands == tag).then_some(*mark))
    }
}

impl Default for Given {
    fn default() -> Self {
        Self {
            opaque: Opaque::Absent,
            mark: 0,
            written: None,
            routed: None,
            daemon: None,
        }
    }
}

/// Facts at one base chain.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) input: Option<IfName>,
    pub(super) output: Option<IfName>,
    /// Generated here.
    pub(super) local: bool,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: Protocol,
    pub(super) icmp: Option<(u8, u8)>,
    pub(super) state: State,
    /// Absent: no entry.
    pub(super) dnat: Option<bool>,
    /// The destination of the entry; absent: no entry.
    original: Option<(IpAddr, Option<u16>)>,
    pub(super) mark: u32,
    /// Someone else writes the mark in front of each base chain: what next.
    written: Option<u32>,
    /// What it last was.
    pub(super) left: u32,
    /// Kept out of connection tracking, and so of translation.
    pub(super) notrack: bool,
    daemon: Option<Daemon>,
    answers: BTreeMap<PluginCondition, Answer>,
    /// While the destination may still be translated.
    routed: Option<IfName>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
}

impl Facts {
    pub(super) fn new(packet: &Packet, given: &Given) -> Self {
        let (input, output, local) = match &packet.way {
            Way::In { interface } => (Some(interface.clone()), None, false),
            Way::Out { interface } => (None, Some(interface.clone()), true),
            Way::Forward { from, to } => (Some(from.clone()), Some(to.clone()), false),
        };
        let has_ports = packet.protocol.has_ports() || packet.protocol == Protocol::UDPLITE;
        let (source_port, destination_port) = match (given.opaque, packet.icmp) {
            _ if has_ports => (packet.source_port, packet.destination_port),
            (Opaque::Absent, _) => (None, None),
            (Opaque::Bytes(_, second), Some((icmp_type, code))) => {
                (Some(u16::from_be_bytes([icmp_type, code])), Some(second))
            }
            (Opaque::Bytes(first, second), None) => (Some(first), Some(second)),
        };
        Self {
            input,
            output,
            local,
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            icmp: packet.icmp,
            state: State::Invalid,
            dnat: None,
            original: None,
            mark: given.mark,
            written: given.written,
            left: given.mark,
            notrack: false,
            daemon: given.daemon.clone(),
            answers: packet.answers.clone(),
            routed: given.routed.clone(),
            source_port,
            destination_port,
        }
    }

    /// What changes from base chain to base chain. The mark stays, unless someone else writes it.
    pub(super) fn enter(&mut self, packet: &Packet, base: Base) {
        if let Some(written) = self.written {
            (self.mark, self.left) = (written, written);
            // All bits of it differ from time to time, in an order of their own.
            self.written = Some(!written.rotate_left(7));
        }
        let early = matches!(base.hook, Hook::Prerouting | Hook::Output);
        // What comes in through `lo` was tracked and translated on its way out.
        let looped = packet.way.is_loopback();
        let early = early && !looped;
        let tracked = !(early && base.priority < CONNTRACK);
        let original = self.notrack || early && base.priority < DESTINATION_NAT;
        self.state = match packet.ct {
            _ if !tracked => State::Invalid,
            _ if self.notrack => State::Untracked,
            CtState::New => State::New,
            CtState::Established => State::Established,
            CtState::Related => State::Related,
            CtState::Invalid => State::Invalid,
            CtState::Untracked => State::Untracked,
        };
        let has_entry =
            tracked && !self.notrack && !matches!(packet.ct, CtState::Invalid | CtState::Untracked);
        self.dnat = has_entry.then_some(packet.original_destination.is_some());
        let sent_to = packet.original_destination;
        let sent_to = sent_to.map(|(address, port)| (address, port.or(packet.destination_port)));
        let sent_to = sent_to.unwrap_or((packet.destination, packet.destination_port));
        self.original = has_entry.then_some(sent_to);
        if let Way::Out { interface } = &packet.way {
            let routed = self.routed.as_ref().filter(|_| base.hook == Hook::Output);
            let routed = routed.filter(|_| packet.original_destination.is_some());
            self.output = Some(routed.unwrap_or(interface).clone());
        }
        self.destination = packet.destination;
        let has_ports = packet.protocol.has_ports() || packet.protocol == Protocol::UDPLITE;
        if has_ports {
            self.destination_port = packet.destination_port;
        }
        if let (true, Some((address, port))) = (original, packet.original_destination) {
            self.destination = address;
            if has_ports {
                self.destination_port = port.or(packet.destination_port);
            }
        }
    }

    /// Queues the packet; whether it comes back, with its answers. It does not where nobody answers here.
    pub(super) fn queue(&mut self, queue: u16) -> bool {
        let (input, output) = (self.input.as_ref(), self.output.as_ref());
        let Some(daemon) = &mut self.daemon else {
            return false;
        };
        let asking = Arc::clone(&daemon.asking);
        let Some((_, questions)) = asking.questions(queue, input, output) else {
            return false;
        };
        let said = |condition| self.answers.get(condition).copied();
        let answers = questions.iter().map(|q| said(&q.condition));
        let answers = answers.map(|answer| answer.unwrap_or(Answer::Failed));
        self.mark = questions.answered(daemon.tag(self.mark), answers);
        true
    }

    /// What is volatile is not in the ruleset: whether the daemon's elements of a set have the value. Absent: a set of
    /// remembered answers, or none of a daemon.
    pub(super) fn daemon_has(&self, shape: Shape, value: &Value) -> Option<bool> {
        let daemon = self.daemon.as_ref();
        match (shape, value) {
            (Shape::Family, _) => Some(daemon.is_some()),
            (Shape::Mark, Value::Mark(tag)) => {
                Some(daemon.is_some_and(|daemon| daemon.restore(*tag).is_some()))
            }
            _ => None,
        }
    }

    /// Makes the mark what a map of the daemon has for it; false: a miss.
    pub(super) fn map_mark(&mut self, mask: u32, map: &SetName) -> bool {
        let found = self.daemon.as_ref().and_then(|daemon| match map.as_str() {
            names::TAG_OF => daemon.tags.get(&(self.mark & mask)).copied(),
            names::RESTORE => daemon.restore(self.mark & mask),
            _ => None,
        });
        self.mark = found.unwrap_or(self.mark);
        found.is_some()
    }

    pub(super) const fn family(&self) -> Family {
        match self.source {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    pub(super) const fn interface(&self, side: Side) -> Option<&IfName> {
        match side {
            Side::In => self.input.as_ref(),
            Side::Out => self.output.as_ref(),
        }
    }

    /// `None`: not there to load.
    pub(super) fn address(&self, family: Family, end: End) -> Option<IpAddr> {
        let address = match end {
            End::Source => self.source,
            End::Destination => self.destination,
            End::Original => self.original?.0,
        };
        (family == self.family()).then_some(address)
    }

    /// `None`: not there to load.
    pub(super) fn port(&self, end: End) -> Option<u16> {
        match end {
            End::Source => self.source_port,
            End::Destination => self.destination_port,
            End::Original => self.original?.1,
        }
    }

    /// Takes the packet out of connection tracking, unless it has an entry.
    pub(super) fn untrack(&mut self) {
        self.notrack |= self.dnat.is_none();
    }

    /// What a lookup loads; `None`: it cannot, which ends the rule.
    pub(super) fn load(&self, key: Key) -> Option<Value> {
        Some(match key {
            Key::Interface(side) => Value::Interface(self.interface(side)?.clone()),
            Key::Address(family, end) => Value::Address(self.address(family, end)?),
            Key::Family => Value::Family(self.family()),
            Key::Protocol => Value::Protocol(self.protocol),
            Key::Port(end) => Value::Port(self.port(end)?),
            Key::ProtocolPort(end) => Value::ProtocolPort(self.protocol, self.port(end)?),
            Key::AddressProtocolPort(family, end) => Value::AddressProtocolPort(
                self.address(family, end)?,
                self.protocol,
                self.port(end)?,
            ),
            Key::InterfaceAddress(side, family, end) => {
                Value::InterfaceAddress(self.interface(side)?.clone(), self.address(family, end)?)
            }
            Key::Flow(family) => Value::Flow(
                self.address(family, End::Source)?,
                self.address(family, End::Destination)?,
                self.protocol,
                self.port(End::Destination)?,
            ),
            Key::Socket(family) => Value::Socket(
                self.address(family, End::Source)?,
                self.address(family, End::Destination)?,
                self.protocol,
                self.port(End::Source)?,
                self.port(End::Destination)?,
            ),
            Key::Mark { mask } => Value::Mark(self.mark & mask),
        })
    }
}
