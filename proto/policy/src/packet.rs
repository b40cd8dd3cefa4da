//! Facts about a packet, and about the machine it travels through: all that a verdict may depend on beside the view.

use crate::{
    ids::IfName,
    plugin::{Answer, PluginCondition},
    rule::Protocol,
};
use std::{
    collections::BTreeMap,
    fmt,
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

impl Environment {
    /// The device that an interface is a port of.
    pub fn master(&self, interface: &IfName) -> Option<&Master> {
        self.interfaces.get(interface)?.master.as_ref()
    }
}

/// An interface as the kernel shows it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interface {
    /// Administratively and operationally up.
    pub up: bool,
    /// Its addresses, sorted.
    pub addresses: Vec<IpAddr>,
    /// The device that it is a port of.
    pub master: Option<Master>,
}

/// A device that has other interfaces as its ports: a bridge, bond, team or VRF.
///
/// The kernel gives what arrives at a port to the device before any rule of family `inet` sees it, and rules see the
/// device's name. A VRF does so after prerouting (`l3mdev_ip_rcv` in `ip_rcv_finish`): prerouting runs for the port and
/// again for the VRF, input and forward for the VRF alone, output for both (`drivers/net/vrf.c`; read, not tried).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Master {
    /// Its name; `#` and its index where it lies in another network namespace.
    pub name: IfName,
    /// As the kernel names it in `IFLA_INFO_SLAVE_KIND`: `bridge`, `bond`, `team`, `vrf`, …; empty if it names none.
    pub kind: String,
}

impl Master {
    /// Whether packets still show the port's name in prerouting, and when they leave.
    pub fn is_vrf(&self) -> bool {
        self.kind == "vrf"
    }
}

impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.as_str() {
            "" => write!(f, "`{}`", self.name),
            "vrf" => write!(f, "VRF `{}`", self.name),
            kind => write!(f, "{kind} `{}`", self.name),
        }
    }
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

impl Way {
    /// Whether it came in through `lo`: a process of this host sent it, and what tracks and translates has seen it before.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::In { interface }
            | Self::Forward {
                from: interface, ..
            } => interface.as_str() == "lo",
            Self::Out { .. } => false,
        }
    }
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
