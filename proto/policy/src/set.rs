//! Membership: the addresses a selector picks, and the (address, protocol, port) a named port picks.

use crate::{ids::SetId, rule::Protocol};
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

impl SetId {
    /// Whether the set is of ports (`p:`) or of nets (`s:`); `None` if the id is of neither form.
    pub fn holds_ports(&self) -> Option<bool> {
        let (kind, hex) = self.as_str().split_once(':')?;
        let is_hex = !hex.is_empty() && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match kind {
            "s" if is_hex => Some(false),
            "p" if is_hex => Some(true),
            _ => None,
        }
    }
}

impl IpSet {
    /// A set without members, of the kind that its id tells.
    pub fn empty(holds_ports: bool) -> Self {
        if holds_ports {
            Self::Ports(BTreeSet::new())
        } else {
            Self::Nets(BTreeSet::new())
        }
    }

    /// `None` if a member is of the other kind.
    pub fn from_members(
        holds_ports: bool,
        members: impl IntoIterator<Item = Member>,
    ) -> Option<Self> {
        let members = members.into_iter();
        if holds_ports {
            members
                .map(|m| match m {
                    Member::Port(port) => Some(port),
                    Member::Net(_) => None,
                })
                .collect::<Option<_>>()
                .map(Self::Ports)
        } else {
            members
                .map(|m| match m {
                    Member::Net(net) => Some(net),
                    Member::Port(_) => None,
                })
                .collect::<Option<_>>()
                .map(Self::Nets)
        }
    }

    /// Whether it is of ports.
    pub const fn holds_ports(&self) -> bool {
        matches!(self, Self::Ports(_))
    }

    /// Members in order.
    pub fn members(&self) -> Box<dyn Iterator<Item = Member> + '_> {
        match self {
            Self::Nets(nets) => Box::new(nets.iter().copied().map(Member::Net)),
            Self::Ports(ports) => Box::new(ports.iter().copied().map(Member::Port)),
        }
    }

    /// How many members.
    pub fn len(&self) -> usize {
        match self {
            Self::Nets(nets) => nets.len(),
            Self::Ports(ports) => ports.len(),
        }
    }

    /// No member at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// False if it was there, or is of the other kind.
    pub fn insert(&mut self, member: &Member) -> bool {
        match (self, member) {
            (Self::Nets(nets), Member::Net(net)) => nets.insert(*net),
            (Self::Ports(ports), Member::Port(port)) => ports.insert(*port),
            _ => false,
        }
    }

    /// False if it was not there.
    pub fn remove(&mut self, member: &Member) -> bool {
        match (self, member) {
            (Self::Nets(nets), Member::Net(net)) => nets.remove(net),
            (Self::Ports(ports), Member::Port(port)) => ports.remove(port),
            _ => false,
        }
    }

    /// Whether a net of the set covers the address; never for ports.
    pub fn covers(&self, address: IpAddr) -> bool {
        let Self::Nets(nets) = self else { return false };
        let longest = if address.is_ipv4() { 32 } else { 128 };
        !nets.is_empty()
            && (0..=longest).rev().any(|length| {
                IpNet::new(address, length).is_ok_and(|net| nets.contains(&net.trunc()))
            })
    }

    /// Whether the set has this end of a connection; never for nets.
    pub fn has_port(&self, address: IpAddr, protocol: Protocol, port: u16) -> bool {
        let Self::Ports(ports) = self else {
            return false;
        };
        ports.contains(&PortMember {
            address,
            protocol,
            port,
        })
    }
}

impl IpSet {
    /// Whether it is a member, as such and not by being covered.
    pub fn has(&self, member: &Member) -> bool {
        match (self, member) {
            (Self::Nets(nets), Member::Net(net)) => nets.contains(net),
            (Self::Ports(ports), Member::Port(port)) => ports.contains(port),
            _ => false,
        }
    }
}
