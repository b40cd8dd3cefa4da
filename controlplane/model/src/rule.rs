//! One line of policy: what it matches and what it asks. Raw shape in `raw`, the way from one to the other in `validate`.

mod entity;
mod plugin;
mod raw;
mod validate;

use std::collections::BTreeMap;
use std::num::NonZeroU8;

use ipnet::IpNet;
use palisade_selector::Selector;

use crate::name::{Name, PortName};

pub(crate) use entity::{is_empty, parse_port};
pub use plugin::PluginMatch;
pub(crate) use raw::RawRule;
pub(crate) use validate::{Direction, PluginPlace, RuleContext, parse_rules};

/// A validated rule. All given conditions must hold; an empty rule matches everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What happens to a packet that matches.
    pub action: Action,
    /// The family it is limited to.
    pub ip_version: Option<IpVersion>,
    /// The transport protocol it is limited to.
    pub protocol: Option<Protocol>,
    /// The transport protocol it leaves out.
    pub not_protocol: Option<Protocol>,
    /// ICMP type and code.
    pub icmp: Option<Icmp>,
    /// Not this ICMP type and code: the negation of the whole.
    pub not_icmp: Option<Icmp>,
    /// Where the packet comes from.
    pub source: EntityRule,
    /// Where it goes.
    pub destination: EntityRule,
    /// Whether the rule has an `http` match, which nothing here can enforce yet.
    pub has_http: bool,
    /// A condition that a plugin decides.
    pub plugin: Option<PluginMatch>,
    /// `metadata.annotations`: no effect on matching.
    pub annotations: BTreeMap<String, String>,
}

/// What a rule asks. Case-sensitive in v3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Accept for this endpoint and direction.
    Allow,
    /// Drop at once.
    Deny,
    /// Write a log line and go on with the next rule.
    Log,
    /// Leave the tier, or the profile.
    Pass,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A transport protocol. A name and its number match alike, but only the names ICMP and ICMPv6 imply a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Given by name.
    Named(ProtocolName),
    /// Given by number, 1 to 255.
    Number(NonZeroU8),
}

/// Protocols that have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolName {
    /// 6
    Tcp,
    /// 17
    Udp,
    /// 1, implies IPv4
    Icmp,
    /// 58, implies IPv6
    IcmpV6,
    /// 132
    Sctp,
    /// 136
    UdpLite,
}

/// ICMP type, perhaps with a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Icmp {
    /// Type, 0 to 254.
    pub icmp_type: u8,
    /// Code; any where absent.
    pub code: Option<u8>,
}

/// One end of a packet. Empty lists and absent selectors do not constrain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityRule {
    /// Networks, masked, one family per rule.
    pub nets: Vec<IpNet>,
    /// Networks left out.
    pub not_nets: Vec<IpNet>,
    /// Labels of the other end. An empty string in the resource counts as absent.
    pub selector: Option<Selector>,
    /// Labels the other end must not have.
    pub not_selector: Option<Selector>,
    /// Labels of the other end's namespace; `global()` alone means things without namespace.
    pub namespace_selector: Option<Selector>,
    /// Ports.
    pub ports: Vec<PortSpec>,
    /// Ports left out.
    pub not_ports: Vec<PortSpec>,
    /// Service accounts of the other end.
    pub service_accounts: Option<ServiceAccounts>,
    /// A service of an orchestrator, which nothing here registers yet.
    pub services: Option<Service>,
}

/// An entry of a port list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortSpec {
    /// One port or a range of them.
    Range(PortRange),
    /// A port that endpoints declare by name.
    Named(PortName),
}

/// Ports from `first` to `last`, both included.
///
/// INVARIANT: `1 <= first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Service accounts, by name, by label, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccounts {
    /// Any of these.
    pub names: Vec<Name>,
    /// Labels of the account.
    pub selector: Option<Selector>,
}

/// A service by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What it is called.
    pub name: String,
    /// Where it lives.
    pub namespace: Option<String>,
}

// === impl Rule ===

impl Rule {
    /// A rule without conditions.
    pub fn of(action: Action) -> Self {
        Self {
            action,
            ip_version: None,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: EntityRule::default(),
            destination: EntityRule::default(),
            has_http: false,
            plugin: None,
            annotations: BTreeMap::new(),
        }
    }
}

// === impl Protocol ===

impl Protocol {
    /// The number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::Number(number) => number.get(),
            Self::Named(name) => name.number(),
        }
    }

    /// The family implied by the names ICMP and ICMPv6.
    pub fn implied_version(self) -> Option<IpVersion> {
        match self {
            Self::Named(ProtocolName::Icmp) => Some(IpVersion::V4),
            Self::Named(ProtocolName::IcmpV6) => Some(IpVersion::V6),
            _ => None,
        }
    }

    /// Whether it is TCP, UDP or SCTP, in either spelling.
    pub fn has_ports(self) -> bool {
        matches!(self.number(), 6 | 17 | 132)
    }

    /// Whether it is ICMP or ICMPv6, in either spelling.
    pub fn is_icmp(self) -> bool {
        matches!(self.number(), 1 | 58)
    }
}

// === impl ProtocolName ===

impl ProtocolName {
    /// Every name as resources write it.
    pub(crate) const SPELLINGS: [(&'static str, Self); 6] = [
        ("TCP", Self::Tcp),
        ("UDP", Self::Udp),
        ("ICMP", Self::Icmp),
        ("ICMPv6", Self::IcmpV6),
        ("SCTP", Self::Sctp),
        ("UDPLite", Self::UdpLite),
    ];

    /// The number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmp => 1,
            Self::IcmpV6 => 58,
            Self::Sctp => 132,
            Self::UdpLite => 136,
        }
    }
}

// === impl PortRange ===

impl PortRange {
    /// A range, or `None` where it is reversed or begins with 0.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first >= 1 && first <= last).then_some(Self { first, last })
    }

    /// Lowest port, at least 1.
    pub fn first(self) -> u16 {
        self.first
    }

    /// Highest port, included.
    pub fn last(self) -> u16 {
        self.last
    }
}
