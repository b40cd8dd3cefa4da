//! What lookups and tests load.

use super::and;
use crate::{
    kernel::load,
    program::{Instruction, Slot},
};
use palisade_policy::rule::Family;
use palisade_ruleset::ir::{End, Key, Side};

/// Loads a key into the registers from 0, each field at a multiple of four bytes.
pub(super) fn load_key(key: Key, program: &mut Vec<Instruction>) {
    let meta = |key, to| Instruction::Meta { key, to };
    match key {
        Key::Interface(side) => program.push(meta(interface(side), 0)),
        Key::Address(family, end) => program.push(address(family, end, 0)),
        Key::Family => program.push(meta(load::META_NFPROTO, 0)),
        Key::Protocol => program.push(meta(load::META_L4PROTO, 0)),
        Key::Port(end) => program.push(port(end, 0)),
        Key::ProtocolPort(end) => {
            program.extend([meta(load::META_L4PROTO, 0), port(end, 1)]);
        }
        Key::AddressProtocolPort(family, end) => {
            let next = address_length(family) / 4;
            program.extend([
                address(family, end, 0),
                meta(load::META_L4PROTO, next),
                port(end, next + 1),
            ]);
        }
        Key::InterfaceAddress(side, family, end) => {
            program.extend([meta(interface(side), 0), address(family, end, 4)]);
        }
        Key::Flow(family) => {
            let next = address_length(family) / 4;
            program.extend([
                address(family, End::Source, 0),
                address(family, End::Destination, next),
                meta(load::META_L4PROTO, 2 * next),
                port(End::Destination, 2 * next + 1),
            ]);
        }
        Key::Socket(family) => {
            let next = address_length(family) / 4;
            program.extend([
                address(family, End::Source, 0),
                address(family, End::Destination, next),
                meta(load::META_L4PROTO, 2 * next),
                port(End::Source, 2 * next + 1),
                port(End::Destination, 2 * next + 2),
            ]);
        }
        Key::Mark { mask } => {
            program.push(meta(load::META_MARK, 0));
            if mask != u32::MAX {
                program.push(and(mask));
            }
        }
    }
}

pub(super) fn address(family: Family, end: End, to: Slot) -> Instruction {
    let key = match family {
        Family::V4 => load::CT_DST_IP,
        Family::V6 => load::CT_DST_IP6,
    };
    match address_offset(family, end) {
        Some(offset) => Instruction::Payload {
            base: load::NETWORK,
            offset,
            length: address_length(family),
            to,
        },
        None => Instruction::CtOriginal { key, to },
    }
}

pub(super) fn port(end: End, to: Slot) -> Instruction {
    let at = |offset| Instruction::Payload {
        base: load::TRANSPORT,
        offset,
        length: 2,
        to,
    };
    let key = load::CT_PROTO_DST;
    match end {
        End::Source => at(0),
        End::Destination => at(2),
        End::Original => Instruction::CtOriginal { key, to },
    }
}

/// In the packet; absent: it is not there.
const fn address_offset(family: Family, end: End) -> Option<u32> {
    match (family, end) {
        (Family::V4, End::Source) => Some(12),
        (Family::V4, End::Destination) => Some(16),
        (Family::V6, End::Source) => Some(8),
        (Family::V6, End::Destination) => Some(24),
        (_, End::Original) => None,
    }
}

const fn address_length(family: Family) -> u32 {
    match family {
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

pub(super) const fn interface(side: Side) -> u32 {
    match side {
        Side::In => load::META_IIFNAME,
        Side::Out => load::META_OIFNAME,
    }
}
