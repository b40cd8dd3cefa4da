//! Which part of a packet, or of its flow, instructions load.

use crate::{kernel::load, program::Instruction};
use palisade_policy::rule::Family;
use palisade_ruleset::ir::{End, Key, Side};

/// The key that instructions load.
pub(super) fn key(loads: &[Instruction]) -> Option<Key> {
    use Instruction::Meta;
    let of_meta = |load: &Instruction| match load {
        Meta { key, .. } => Some(*key),
        _ => None,
    };
    Some(match loads {
        [
            Meta {
                key: load::META_MARK,
                ..
            },
        ] => Key::Mark { mask: u32::MAX },
        [
            Meta {
                key: load::META_MARK,
                ..
            },
            Instruction::Bitwise { mask, .. },
        ] => Key::Mark {
            mask: u32::from_ne_bytes(mask.as_slice().try_into().ok()?),
        },
        [load] => match (of_meta(load), address_end(load)) {
            (Some(load::META_NFPROTO), _) => Key::Family,
            (Some(load::META_L4PROTO), _) => Key::Protocol,
            (Some(key), _) => Key::Interface(side(key)?),
            (None, Some((family, end))) => Key::Address(family, end),
            (None, None) => Key::Port(port_end(load)?),
        },
        [
            Meta {
                key: load::META_L4PROTO,
                ..
            },
            port,
        ] => Key::ProtocolPort(port_end(port)?),
        [Meta { key, .. }, address] => {
            let (family, end) = address_end(address)?;
            Key::InterfaceAddress(side(*key)?, family, end)
        }
        [address, Meta { .. }, _] => {
            let (family, end) = address_end(address)?;
            Key::AddressProtocolPort(family, end)
        }
        [source, _, Meta { .. }, _] => Key::Flow(address_end(source)?.0),
        [source, _, Meta { .. }, _, _] => Key::Socket(address_end(source)?.0),
        _ => return None,
    })
}

pub(super) const fn side(key: u32) -> Option<Side> {
    match key {
        load::META_IIFNAME => Some(Side::In),
        load::META_OIFNAME => Some(Side::Out),
        _ => None,
    }
}

pub(super) const fn port_end(load: &Instruction) -> Option<End> {
    match load {
        Instruction::Payload {
            base: load::TRANSPORT,
            offset: 0,
            ..
        } => Some(End::Source),
        Instruction::Payload {
            base: load::TRANSPORT,
            offset: 2,
            ..
        } => Some(End::Destination),
        Instruction::CtOriginal {
            key: load::CT_PROTO_DST,
            ..
        } => Some(End::Original),
        _ => None,
    }
}

pub(super) const fn address_end(load: &Instruction) -> Option<(Family, End)> {
    match load {
        Instruction::Payload {
            base: load::NETWORK,
            offset,
            ..
        } => match *offset {
            8 => Some((Family::V6, End::Source)),
            12 => Some((Family::V4, End::Source)),
            16 => Some((Family::V4, End::Destination)),
            24 => Some((Family::V6, End::Destination)),
            _ => None,
        },
        Instruction::CtOriginal {
            key: load::CT_DST_IP,
            ..
        } => Some((Family::V4, End::Original)),
        Instruction::CtOriginal {
            key: load::CT_DST_IP6,
            ..
        } => Some((Family::V6, End::Original)),
        _ => None,
    }
}
