//! Sets and verdict maps, and the shapes of their keys.

use super::{BTreeMap, BTreeSet, Family, IfName, IpAddr, Position, Protocol};
use crate::ir::Verdict;

/// The type of a set's keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Shape {
    /// `ifname`.
    Interface,
    /// `ipv4_addr`.
    Address4,
    /// `ipv6_addr`.
    Address6,
    /// `nf_proto`; volatile.
    Family,
    /// `inet_proto`.
    Protocol,
    /// `inet_service`.
    Port,
    /// `inet_proto . inet_service`.
    ProtocolPort,
    /// `ipv4_addr . inet_proto . inet_service`.
    Address4ProtocolPort,
    /// `ipv6_addr . inet_proto . inet_service`.
    Address6ProtocolPort,
    /// `ifname . ipv4_addr`.
    InterfaceAddress4,
    /// `ifname . ipv6_addr`.
    InterfaceAddress6,
    /// `ipv4_addr . ipv4_addr . inet_proto . inet_service`: source, destination, protocol, destination port; volatile.
    Flow4,
    /// `ipv6_addr . ipv6_addr . inet_proto . inet_service`; volatile.
    Flow6,
    /// `ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service`: source, destination, protocol, source port,
    /// destination port; volatile.
    Socket4,
    /// `ipv6_addr . ipv6_addr . inet_proto . inet_service . inet_service`; volatile.
    Socket6,
    /// `mark`: tags that stand for marks; volatile.
    Mark,
    /// `mark : mark`: not a set but a map, from mark to mark; volatile.
    MarkToMark,
    /// `ipv6_addr . ipv6_addr . ipv6_addr . ipv6_addr`: epoch, both halves of the digest, revision (big-endian, in the
    /// last 8 of 16 bytes). Carries the position that the kernel enforces; never looked up.
    Position,
}

impl Shape {
    /// Whether elements have a time-out, and are written by a running daemon beside all plans. As far as plans,
    /// comparisons and read-backs go such a set has no elements.
    pub const fn is_volatile(self) -> bool {
        matches!(
            self,
            Self::Family
                | Self::Flow4
                | Self::Flow6
                | Self::Socket4
                | Self::Socket6
                | Self::Mark
                | Self::MarkToMark
        )
    }

    /// Whether an element leads to a mark.
    pub const fn leads_to_mark(self) -> bool {
        matches!(self, Self::MarkToMark)
    }
}

/// A key of a set. Its variant and the families in it are those of the set's shape.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Value {
    /// An interface's whole name.
    Interface(IfName),
    /// An address.
    Address(IpAddr),
    /// A family.
    Family(Family),
    /// A protocol.
    Protocol(Protocol),
    /// A port.
    Port(u16),
    /// Protocol and port.
    ProtocolPort(Protocol, u16),
    /// Address, protocol and port.
    AddressProtocolPort(IpAddr, Protocol, u16),
    /// Interface and address.
    InterfaceAddress(IfName, IpAddr),
    /// Source, destination, protocol and destination port; the addresses are of one family.
    Flow(IpAddr, IpAddr, Protocol, u16),
    /// Source, destination, protocol, source port and destination port; the addresses are of one family.
    Socket(IpAddr, IpAddr, Protocol, u16, u16),
    /// A mark.
    Mark(u32),
    /// A position, as 64 bytes in the order of [`Shape::Position`].
    Position(Box<[u8; 64]>),
}

impl Value {
    /// The element that carries a position.
    pub fn position(position: &Position) -> Self {
        let mut bytes = Box::new([0; 64]);
        let (epoch, rest) = bytes.split_at_mut(16);
        let (digest, revision) = rest.split_at_mut(32);
        epoch.copy_from_slice(&position.epoch.0);
        digest.copy_from_slice(&position.digest.0);
        if let Some(tail) = revision.get_mut(8..) {
            tail.copy_from_slice(&position.revision.to_be_bytes());
        }
        Self::Position(bytes)
    }
}

/// An element: one value, or in an interval set an inclusive range.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Element {
    /// The value, or the lowest of the range.
    pub first: Value,
    /// The highest of a range; absent: `first` alone. Never equal to `first`.
    pub last: Option<Value>,
}

impl Element {
    /// One value.
    pub const fn single(value: Value) -> Self {
        Self {
            first: value,
            last: None,
        }
    }
}

/// A set.
///
/// INVARIANT: without `interval` no element has a `last`; with it elements do not overlap and do not touch. A set of a
/// volatile shape has no elements here, whatever the kernel's has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Set {
    /// Type of the keys.
    pub shape: Shape,
    /// Ranges allowed; only for `Address4`, `Address6`, `Port`.
    pub interval: bool,
    /// Members.
    pub elements: BTreeSet<Element>,
}

/// A verdict map. Same invariant as [`Set`], except that ranges may touch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Map {
    /// Type of the keys.
    pub shape: Shape,
    /// Ranges allowed.
    pub interval: bool,
    /// Verdicts by key.
    pub elements: BTreeMap<Element, Verdict>,
}
