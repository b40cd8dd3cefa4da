//! Protocols as the format names them: by name, or by IP protocol number.

use serde::Deserialize;

/// A protocol as probes and listeners name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(untagged)]
pub enum Protocol {
    /// By name.
    Named(Name),
    /// By IP protocol number: raw packets.
    Number(u8),
}

/// The protocols that have names here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP: echo or timestamp request.
    Icmp,
    /// ICMPv6 echo request.
    Icmp6,
}

impl Protocol {
    /// TCP.
    pub const TCP: Self = Self::Named(Name::Tcp);
    /// UDP.
    pub const UDP: Self = Self::Named(Name::Udp);
    /// ICMP.
    pub const ICMP: Self = Self::Named(Name::Icmp);

    /// True where connections of one pair of addresses cannot be told apart by ports or ids.
    pub fn is_portless(self) -> bool {
        matches!(self, Self::Number(_))
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(Name::Tcp) => f.write_str("tcp"),
            Self::Named(Name::Udp) => f.write_str("udp"),
            Self::Named(Name::Sctp) => f.write_str("sctp"),
            Self::Named(Name::Icmp) => f.write_str("icmp"),
            Self::Named(Name::Icmp6) => f.write_str("icmp6"),
            Self::Number(number) => write!(f, "protocol {number}"),
        }
    }
}
