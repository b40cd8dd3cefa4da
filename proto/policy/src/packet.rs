//! Facts about a packet, and about the machine it travels through: all that a verdict may depend on beside the view.

use crate::{
    ids::IfName,
    plugin::{Answer, PluginCondition},
    rule::Protocol,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// Live facts of a node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Environment {
    /// Interfaces present, by name.
    pub interfaces: BTreeMap<IfName, Interface>,
    /// Resolved addresses and ports of the control plane, sorted.
    pub control_plane: Vec<SocketAddr>,
}

/// An interface as the kernel shows it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interface {
    /// Administratively and operationally up.
    pub up: bool,
    /// Its addresses, sorted.
    pub addresses: Vec<IpAddr>,
}

/// What connection tracking says of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CtState {
    /// Opens a flow.
    New,
    /// Belongs to a flow both of whose sides were seen.
    Established,
    /// An error of a flow, or a flow that a helper expects.
    Related,
    /// Belongs to nothing.
    Invalid,
    /// Not tracked: `notrack`, neighbour discovery.
    Untracked,
}

/// The way a packet takes through the host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Way {
    /// To a local process.
    In {
        /// Where it arrived.
        interface: IfName,
    },
    /// From a local process.
    Out {
        /// Where it leaves.
        interface: IfName,
    },
    /// Through the host.
    Forward {
        /// Where it arrived.
        from: IfName,
        /// Where it leaves.
        to: IfName,
    },
}

/// One packet. Source and destination are of one family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Its way.
    pub way: Way,
    /// Source address as the stage sees it.
    pub source: IpAddr,
    /// Destination address after translation.
    pub destination: IpAddr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Of TCP, UDP, SCTP, UDP-Lite.
    pub source_port: Option<u16>,
    /// Of TCP, UDP, SCTP, UDP-Lite.
    pub destination_port: Option<u16>,
    /// Type and code, of ICMP and ICMPv6.
    pub icmp: Option<(u8, u8)>,
    /// What connection tracking says of it.
    pub ct: CtState,
    /// Address and port before destination translation, where it was translated.
    pub original_destination: Option<(IpAddr, Option<u16>)>,
    /// What plugins say of it; a condition that is not here fails.
    pub answers: BTreeMap<PluginCondition, Answer>,
}
