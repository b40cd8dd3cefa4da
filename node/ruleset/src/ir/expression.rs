//! Rules: a conjunction of tests, side effects, and a verdict.

use super::{ChainName, Family, IfName, PortRange, Protocol, RuleId, SetName, fmt};
use ipnet::IpNet;

/// Which interface of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    /// `iifname`.
    In,
    /// `oifname`.
    Out,
}

/// Which end of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum End {
    /// Source.
    Source,
    /// Destination.
    Destination,
    /// Destination before translation, as the packet's entry in connection tracking remembers it: `ct original`. What has
    /// no entry has none.
    Original,
}

/// Connection tracking states; tests are positive and a packet has exactly one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// Bit 1 in the kernel.
    Invalid,
    /// Bit 2.
    Established,
    /// Bit 4.
    Related,
    /// Bit 8.
    New,
    /// Bit 64.
    Untracked,
}

/// A test of ICMP type, perhaps code. The family's protocol is tested by an expression before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IcmpTest {
    /// First byte of the transport header.
    pub icmp_type: u8,
    /// Second byte; absent: any.
    pub code: Option<u8>,
    /// Turned round: not (type and code).
    pub not: bool,
}

/// Where a log line goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LogTo {
    /// The kernel log, level info.
    Kernel,
    /// NFLOG, with 96 bytes of the packet and a queue threshold of 64.
    Group(u16),
}

/// What a lookup loads, and so the shape of the set's keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    /// `iifname` or `oifname`: [`super::Shape::Interface`].
    Interface(Side),
    /// `ip saddr`, `ip6 daddr`, …: `Address4` or `Address6`. A family test stands before it in the rule.
    Address(Family, End),
    /// `meta nfproto`: `Family`.
    Family,
    /// `meta l4proto`: `Protocol`.
    Protocol,
    /// `th sport`, `th dport`: `Port`. A test of the protocol stands before it.
    Port(End),
    /// `meta l4proto . th dport`: `ProtocolPort`. Safe on any protocol.
    /// Of the original destination nft does not read what it lists.
    ProtocolPort(End),
    /// `ip daddr . meta l4proto . th dport`: `Address4ProtocolPort`, or 6. Of the original destination nft does not read
    /// what it lists.
    AddressProtocolPort(Family, End),
    /// `iifname . ip saddr`: `InterfaceAddress4`, or 6.
    InterfaceAddress(Side, Family, End),
    /// `ip saddr . ip daddr . meta l4proto . th dport`: `Flow4`, or 6.
    Flow(Family),
    /// `ip saddr . ip daddr . meta l4proto . th sport . th dport`: `Socket4`, or 6.
    Socket(Family),
    /// `meta mark & mask`: `Mark`.
    Mark {
        /// Bits looked at, not all of them.
        mask: u32,
    },
}

/// One expression of a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Expression {
    /// `meta nfproto`.
    Family(Family),
    /// `meta l4proto`, or `!=`.
    Protocol {
        /// Compared with.
        protocol: Protocol,
        /// Differs.
        not: bool,
    },
    /// `iifname` or `oifname`, one whole name.
    Interface {
        /// Which.
        side: Side,
        /// Compared with.
        name: IfName,
        /// Differs.
        not: bool,
    },
    /// `iifname "cali*"`: the name begins so.
    InterfacePrefix {
        /// Which.
        side: Side,
        /// 1..=15 bytes.
        prefix: String,
    },
    /// `meta iif != 0`: in postrouting, the packet was not generated here.
    NotLocal,
    /// `ip saddr 10.0.0.0/8`, and so on. A family test stands before it.
    Net {
        /// Which end.
        end: End,
        /// Host bits zero.
        net: IpNet,
        /// Outside.
        not: bool,
    },
    /// `th dport 80-90`. A test of the protocol stands before it.
    Port {
        /// Which end.
        end: End,
        /// One port is an equality.
        range: PortRange,
        /// Outside.
        not: bool,
    },
    /// Type, and code, of ICMP.
    Icmp(IcmpTest),
    /// Membership of a set.
    Lookup {
        /// What is looked up.
        key: Key,
        /// Where.
        set: SetName,
        /// Not a member.
        not: bool,
    },
    /// The verdict of a map; on a miss the next rule.
    VerdictMap {
        /// What is looked up.
        key: Key,
        /// Where.
        map: SetName,
    },
    /// `ct state { … }`: any of them; sorted, not empty.
    CtState(Vec<State>),
    /// `ct status dnat`: the destination was translated.
    CtDnat,
    /// `ct status & confirmed == 0`: the first packet of a flow, until it leaves the last hook. Of what is not tracked none
    /// is.
    CtUnconfirmed,
    /// `meta mark & mask == value`.
    Mark {
        /// Bits looked at.
        mask: u32,
        /// What they are.
        value: u32,
    },
    /// `meta mark set mark & ~mask | value`.
    SetMark {
        /// Bits written.
        mask: u32,
        /// What they become.
        value: u32,
    },
    /// `meta mark set meta mark & mask map @map`: the mark becomes what the map has for it; on a miss the next rule.
    MapMark {
        /// Bits looked up; all of them: `meta mark set meta mark map @map`.
        mask: u32,
        /// Of shape [`super::Shape::MarkToMark`].
        map: SetName,
    },
    /// Out of connection tracking.
    Notrack,
    /// Anonymous packet and byte counter. Its value is not part of the rule.
    Counter,
    /// `limit rate`: true while under it.
    Limit {
        /// Packets per period.
        rate: u32,
        /// Period in seconds: 1, 60, 3600, 86400.
        seconds: u32,
        /// Burst in packets.
        burst: u32,
    },
    /// Logs and goes on.
    Log {
        /// 1..=127 bytes.
        prefix: String,
        /// Where to.
        to: LogTo,
    },
    /// To a program that reads this queue, never with bypass: without a reader the packet is dropped. What comes back
    /// with a repeat enters the base chain anew. As the kernel's own expression, or as the target of iptables.
    Queue(u16),
    /// Ends the rule.
    Verdict(Verdict),
    /// Ends the packet with an ICMP port unreachable of its family. Only input, forward, output.
    Reject,
    /// Read back, and nothing that Palisade writes: what it looked like. Never desired, never equal to what is.
    Foreign(String),
}

/// What happens to a packet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verdict {
    /// Ends the stage.
    Accept,
    /// Ends the packet.
    Drop,
    /// Back to the chain that jumped here.
    Return,
    /// To a chain, and back when it ends.
    Jump(ChainName),
    /// To a chain, for good.
    Goto(ChainName),
}

/// A rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Rule {
    /// All tests must hold; effects happen in order.
    pub expressions: Vec<Expression>,
    /// What it was made from: kept in the kernel as the rule's comment, 16 hex digits.
    pub id: Option<RuleId>,
}

impl Rule {
    /// A rule of these expressions, of no policy rule.
    pub const fn new(expressions: Vec<Expression>) -> Self {
        Self {
            expressions,
            id: None,
        }
    }

    /// The same rule, made from a policy rule.
    #[must_use]
    pub const fn of(mut self, id: RuleId) -> Self {
        self.id = Some(id);
        self
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "iifname",
            Self::Out => "oifname",
        })
    }
}
