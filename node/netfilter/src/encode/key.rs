//! Values of the IR as keys of the kernel, and back. Each field of a key takes a multiple of four bytes.

use crate::{
    error::Unfit,
    kernel::load,
    program::{nfproto, octets, padded},
};
use palisade_policy::{
    ids::IfName,
    rule::{Family, Protocol},
};
use palisade_ruleset::ir::{Element, Shape, Value};
use std::{ffi::CStr, net::IpAddr};

/// The bytes of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    bytes: [u8; 64],
    length: usize,
}

impl Key {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// At most 64 bytes.
    pub(crate) fn new(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; 64];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self {
            bytes,
            length: from.len(),
        })
    }

    /// Appends a field.
    fn push(&mut self, field: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + field.len()) {
            room.copy_from_slice(field);
            self.length += crate::message::align(field.len());
        }
    }

    /// The next key, as a number in network order; absent behind the highest.
    pub(crate) fn next(mut self) -> Option<Self> {
        for byte in self.bytes.get_mut(..self.length)?.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Some(self);
            }
        }
        None
    }

    /// The key before it; absent before the lowest.
    pub(crate) fn previous(mut self) -> Option<Self> {
        for byte in self.bytes.get_mut(..self.length)?.iter_mut().rev() {
            *byte = byte.wrapping_sub(1);
            if *byte != u8::MAX {
                return Some(self);
            }
        }
        None
    }
}

/// The key of an element, and in an interval set the first key behind it, unless it reaches the highest.
pub(crate) fn keys(
    shape: Shape,
    interval: bool,
    element: &Element,
) -> Result<(Key, Option<Key>), Unfit> {
    let first = key(shape, &element.first)?;
    match (&element.last, interval) {
        (None, false) => Ok((first, None)),
        (None, true) => Ok((first, first.next())),
        (Some(last), true) => Ok((first, key(shape, last)?.next())),
        (Some(_), false) => Err(Unfit::Shape),
    }
}

/// The bytes of a value as the key of a shape.
pub(crate) fn key(shape: Shape, value: &Value) -> Result<Key, Unfit> {
    let mut key = Key {
        bytes: [0; 64],
        length: 0,
    };
    match (shape, value) {
        (Shape::Interface, Value::Interface(name)) => key.push(&padded(name)?),
        (Shape::Address4, Value::Address(address @ IpAddr::V4(_)))
        | (Shape::Address6, Value::Address(address @ IpAddr::V6(_))) => {
            key.push(&octets(*address));
        }
        // Alone, a field keeps its own length.
        (Shape::Family, Value::Family(family)) => {
            return Key::new(&[nfproto(*family)]).ok_or(Unfit::Shape);
        }
        (Shape::Protocol, Value::Protocol(protocol)) => {
            return Key::new(&[protocol.0]).ok_or(Unfit::Shape);
        }
        (Shape::Port, Value::Port(port)) => {
            return Key::new(&port.to_be_bytes()).ok_or(Unfit::Shape);
        }
        (Shape::ProtocolPort, Value::ProtocolPort(protocol, port)) => {
            key.push(&[protocol.0]);
            key.push(&port.to_be_bytes());
        }
        (
            Shape::Address4ProtocolPort,
            Value::AddressProtocolPort(address @ IpAddr::V4(_), protocol, port),
        )
        | (
            Shape::Address6ProtocolPort,
            Value::AddressProtocolPort(address @ IpAddr::V6(_), protocol, port),
        ) => {
            key.push(&octets(*address));
            key.push(&[protocol.0]);
            key.push(&port.to_be_bytes());
        }
        (Shape::InterfaceAddress4, Value::InterfaceAddress(name, address @ IpAddr::V4(_)))
        | (Shape::InterfaceAddress6, Value::InterfaceAddress(name, address @ IpAddr::V6(_))) => {
            key.push(&padded(name)?);
            key.push(&octets(*address));
        }
        (
            Shape::Flow4,
            Value::Flow(source @ IpAddr::V4(_), destination @ IpAddr::V4(_), protocol, port),
        )
        | (
            Shape::Flow6,
            Value::Flow(source @ IpAddr::V6(_), destination @ IpAddr::V6(_), protocol, port),
        ) => {
            key.push(&octets(*source));
            key.push(&octets(*destination));
            key.push(&[protocol.0]);
            key.push(&port.to_be_bytes());
        }
        (
            Shape::Socket4,
            Value::Socket(source @ IpAddr::V4(_), destination @ IpAddr::V4(_), protocol, from, to),
        )
        | (
            Shape::Socket6,
            Value::Socket(source @ IpAddr::V6(_), destination @ IpAddr::V6(_), protocol, from, to),
        ) => {
            key.push(&octets(*source));
            key.push(&octets(*destination));
            key.push(&[protocol.0]);
            key.push(&from.to_be_bytes());
            key.push(&to.to_be_bytes());
        }
        (Shape::Mark | Shape::MarkToMark, Value::Mark(mark)) => key.push(&mark.to_ne_bytes()),
        (Shape::Position, Value::Position(bytes)) => key.push(bytes.as_slice()),
        _ => return Err(Unfit::Shape),
    }
    Ok(key)
}

/// The value of a key; absent when it is not of the shape.
pub(crate) fn value_of(shape: Shape, key: &[u8]) -> Option<Value> {
    let v4 = |at: usize| Some(IpAddr::from(*key.get(at..)?.first_chunk::<4>()?));
    let v6 = |at: usize| Some(IpAddr::from(*key.get(at..)?.first_chunk::<16>()?));
    let protocol = |at: usize| key.get(at).copied().map(Protocol);
    let port = |at: usize| {
        let bytes = key.get(at..)?.first_chunk()?;
        Some(u16::from_be_bytes(*bytes))
    };
    let interface = || {
        let name = CStr::from_bytes_until_nul(key.get(..16)?).ok()?;
        Some(IfName::new(name.to_str().ok()?))
    };
    Some(match shape {
        Shape::Interface => Value::Interface(interface()?),
        Shape::Address4 => Value::Address(v4(0)?),
        Shape::Address6 => Value::Address(v6(0)?),
        Shape::Family => Value::Family(match *key.first()? {
            load::NFPROTO_IPV4 => Family::V4,
            load::NFPROTO_IPV6 => Family::V6,
            _ => return None,
        }),
        Shape::Protocol => Value::Protocol(protocol(0)?),
        Shape::Port => Value::Port(port(0)?),
        Shape::ProtocolPort => Value::ProtocolPort(protocol(0)?, port(4)?),
        Shape::Address4ProtocolPort => Value::AddressProtocolPort(v4(0)?, protocol(4)?, port(8)?),
        Shape::Address6ProtocolPort => Value::AddressProtocolPort(v6(0)?, protocol(16)?, port(20)?),
        Shape::InterfaceAddress4 => Value::InterfaceAddress(interface()?, v4(16)?),
        Shape::InterfaceAddress6 => Value::InterfaceAddress(interface()?, v6(16)?),
        Shape::Flow4 => Value::Flow(v4(0)?, v4(4)?, protocol(8)?, port(12)?),
        Shape::Flow6 => Value::Flow(v6(0)?, v6(16)?, protocol(32)?, port(36)?),
        Shape::Socket4 => Value::Socket(v4(0)?, v4(4)?, protocol(8)?, port(12)?, port(16)?),
        Shape::Socket6 => Value::Socket(v6(0)?, v6(16)?, protocol(32)?, port(36)?, port(40)?),
        Shape::Mark | Shape::MarkToMark => Value::Mark(u32::from_ne_bytes(*key.first_chunk()?)),
        Shape::Position => Value::Position(Box::new(key.try_into().ok()?)),
    })
}
