//! A probe of the format: who sends what to whom, and what should come of it.

use std::net::IpAddr;

use serde::Deserialize;

use super::{Name, Protocol};

/// One probe and what it must show.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Who sends.
    pub from: String,
    /// Who must get it.
    pub to: String,
    /// What is sent.
    pub proto: Protocol,
    /// Destination port.
    #[serde(default)]
    pub port: u16,
    /// Whether it must get there and the answer back.
    pub allow: bool,
    /// For people.
    pub note: Option<String>,
    /// 4 or 6; default 4, or 6 for `icmp6`.
    pub family: Option<u8>,
    /// Replaces the destination address.
    pub to_address: Option<IpAddr>,
    /// Replaces the source address; crafted where the sender does not own it.
    pub from_address: Option<IpAddr>,
    /// Fixes the source port.
    pub sport: Option<u16>,
    /// Echo request unless 13, a timestamp request.
    pub icmp_type: Option<u8>,
    /// Only arrival counts.
    #[serde(default)]
    pub one_way: bool,
}

impl Probe {
    /// A plain probe over IPv4.
    pub fn new(from: &str, to: &str, proto: Protocol, port: u16, allow: bool) -> Self {
        let (from, to) = (from.to_owned(), to.to_owned());
        Self {
            from,
            to,
            proto,
            port,
            allow,
            note: None,
            family: None,
            to_address: None,
            from_address: None,
            sport: None,
            icmp_type: None,
            one_way: false,
        }
    }

    /// True where it goes over IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.family == Some(6)
            || self.proto == Protocol::Named(Name::Icmp6)
            || self.to_address.is_some_and(|address| address.is_ipv6())
    }

    /// True where connection tracking could decide the outcome, so that its memory must go first.
    pub fn reuses_a_tuple(&self) -> bool {
        self.sport.is_some() || self.proto.is_portless()
    }
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {} {}", self.from, self.to, self.proto)?;
        if self.port != 0 {
            write!(f, "/{}", self.port)?;
        }
        if let Some(kind) = self.icmp_type {
            write!(f, " type {kind}")?;
        }
        if let Some(address) = self.to_address {
            write!(f, " at {address}")?;
        }
        if let Some(address) = self.from_address {
            write!(f, " as {address}")?;
        }
        if let Some(port) = self.sport {
            write!(f, " from port {port}")?;
        }
        if self.is_ipv6() {
            f.write_str(" over ipv6")?;
        }
        if self.one_way {
            f.write_str(" one way")?;
        }
        Ok(())
    }
}
