//! Rules as compiled: selectors are sets, names are numbers.

use crate::{
    ids::{RuleId, SetId},
    plugin::PluginCondition,
};
use ipnet::IpNet;
use std::fmt;

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// An IP protocol number, 1..=255.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);
    /// UDP-Lite.
    pub const UDPLITE: Self = Self(136);

    /// TCP, UDP and SCTP: the protocols whose rules may name ports.
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }
}

/// The name in policy, else the number.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ICMP => f.write_str("ICMP"),
            Self::TCP => f.write_str("TCP"),
            Self::UDP => f.write_str("UDP"),
            Self::ICMPV6 => f.write_str("ICMPv6"),
            Self::SCTP => f.write_str("SCTP"),
            Self::UDPLITE => f.write_str("UDPLite"),
            Self(number) => write!(f, "{number}"),
        }
    }
}

/// An inclusive range of ports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// `None` when reversed.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first <= last {
            Some(Self { first, last })
        } else {
            None
        }
    }

    /// One port.
    pub const fn single(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }

    /// Lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// Highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether the port is in the range.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// Ports of one end: any range, or membership of (address, protocol, port) in any set, suffices.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PortMatch {
    /// Sorted.
    pub ranges: Vec<PortRange>,
    /// `p:` sets, sorted.
    pub sets: Vec<SetId>,
}

impl PortMatch {
    /// No alternative at all: as `ports`, the field is absent; as `not_ports`, likewise.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.sets.is_empty()
    }
}

/// An ICMP type, and perhaps a code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IcmpMatch {
    /// 0..=254.
    pub icmp_type: u8,
    /// Any code when absent.
    pub code: Option<u8>,
}

/// What a rule asks of one end of the packet. All that is present must hold.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EntityMatch {
    /// The address is in one of them. Not empty but without a net of the packet's family: the rule does not match.
    pub nets: Vec<IpNet>,
    /// The address is in none of them. Not empty but without a net of the packet's family: the rule does not match.
    pub not_nets: Vec<IpNet>,
    /// The address is in every one of these `s:` sets.
    pub sets: Vec<SetId>,
    /// The address is in none of these `s:` sets.
    pub not_sets: Vec<SetId>,
    /// Empty: any port.
    pub ports: PortMatch,
    /// Every range and set must miss.
    pub not_ports: PortMatch,
}

impl EntityMatch {
    /// Nothing is asked.
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }
}

/// The condition half of a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Match {
    /// Already inferred from ICMP protocols and from `ipVersion`; nets narrow it further, see [`Match::covers`].
    pub family: Option<Family>,
    /// The packet's protocol.
    pub protocol: Option<Protocol>,
    /// Not the packet's protocol.
    pub not_protocol: Option<Protocol>,
    /// Only beside an ICMP protocol.
    pub icmp: Option<IcmpMatch>,
    /// Not (type and code). Holds for a packet that is not ICMP only if the protocol allows such a packet at all.
    pub not_icmp: Option<IcmpMatch>,
    /// The end the packet comes from.
    pub source: EntityMatch,
    /// The end it goes to.
    pub destination: EntityMatch,
    /// Asked only where all else holds. Never in the untracked and pre-DNAT lists.
    pub plugin: Option<PluginCondition>,
}

impl Match {
    /// Whether the rule can match a packet of the family at all (specification §3.3.1): a list of nets that is not
    /// empty but has none of the family takes the whole rule away from it.
    pub fn covers(&self, family: Family) -> bool {
        let listed =
            |nets: &[IpNet]| nets.is_empty() || nets.iter().any(|n| family_of(n) == family);
        self.family.is_none_or(|f| f == family)
            && [&self.source, &self.destination]
                .iter()
                .all(|e| listed(&e.nets) && listed(&e.not_nets))
    }
}

/// The family of a prefix.
pub const fn family_of(net: &IpNet) -> Family {
    match net {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}

/// What a rule asks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Action {
    /// Accept for this endpoint, direction and list.
    Allow,
    /// Drop or reject at once.
    Deny,
    /// Leave the tier; in a profile, leave the profile.
    Pass,
    /// Log with this prefix (1..=100 printable bytes, already substituted), then go on with the next rule.
    Log {
        /// Text in front of the log line.
        prefix: String,
    },
}

/// One line of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Stable name.
    pub id: RuleId,
    /// What to do.
    pub action: Action,
    /// When.
    pub matches: Match,
}

/// A policy or profile: rules of both directions, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// Rules for packets to the endpoint.
    pub ingress: Vec<Rule>,
    /// Rules for packets from the endpoint.
    pub egress: Vec<Rule>,
    /// Evaluated, never enforced.
    pub staged: bool,
}
