//! Membership: the addresses a selector picks, and the (address, protocol, port) a named port picks.

use crate::rule::Protocol;
use ipnet::IpNet;
use std::{collections::BTreeSet, net::IpAddr};

/// The members of an `s:` or a `p:` set. Members may overlap here; the ruleset reduces them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IpSet {
    /// Prefixes, host bits zero.
    Nets(BTreeSet<IpNet>),
    /// One end of a connection.
    Ports(BTreeSet<PortMember>),
}

/// A member of a `p:` set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortMember {
    /// Of the endpoint that declares the port.
    pub address: IpAddr,
    /// Declared protocol.
    pub protocol: Protocol,
    /// Declared number.
    pub port: u16,
}

/// A member of either kind, as it travels in patches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Member {
    /// Of an `s:` set.
    Net(IpNet),
    /// Of a `p:` set.
    Port(PortMember),
}
