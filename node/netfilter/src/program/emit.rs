//! Expressions of the IR to instructions.

use super::{Code, Instruction, Log, QUEUE, SNAP, Slot, verdict};
use crate::{error::Unfit, kernel::load};
use ipnet::IpNet;
use palisade_policy::{
    ids::IfName,
    rule::{Family, PortRange},
};
use palisade_ruleset::ir::{
    ChainName, End, Expression, IcmpTest, Key, LogTo, Side, State, Verdict,
};
use std::{ffi::CString, net::IpAddr};

/// The instructions of one expression, at the end of a program.
pub(crate) fn emit(expression: &Expression, program: &mut Vec<Instruction>) -> Result<(), Unfit> {
    use Instruction::{Compare, Ct, Meta, SetMeta};
    let compare = |not: bool, data: &[u8]| Compare {
        from: 0,
        operator: operator(not),
        data: data.to_vec(),
    };
    let meta = |key| Meta { key, to: 0 };
    match expression {
        Expression::Family(family) => {
            program.extend([
                meta(load::META_NFPROTO),
                compare(false, &[nfproto(*family)]),
            ]);
        }
        Expression::Protocol { protocol, not } => {
            program.extend([meta(load::META_L4PROTO), compare(*not, &[protocol.0])]);
        }
        Expression::Interface { side, name, not } => {
            program.extend([meta(interface(*side)), compare(*not, &padded(name)?)]);
        }
        Expression::InterfacePrefix { side, prefix } => {
            if prefix.is_empty() || prefix.len() > 15 {
                return Err(Unfit::Interface);
            }
            program.extend([meta(interface(*side)), compare(false, prefix.as_bytes())]);
        }
        Expression::NotLocal => {
            program.extend([meta(load::META_IIF), compare(true, &[0; 4])]);
        }
        Expression::Net { end, net, not } => net_test(*end, net, *not, program),
        Expression::Port { end, range, not } => port_test(*end, *range, *not, program),
        Expression::Icmp(test) => icmp_test(test, program),
        Expression::Lookup { key, set, not } => {
            load_key(*key, program);
            program.push(Instruction::Lookup {
                from: 0,
                set: name(set.as_str())?,
                verdict: false,
                not: *not,
            });
        }
        Expression::VerdictMap { key, map } => {
            load_key(*key, program);
            program.push(Instruction::Lookup {
                from: 0,
                set: name(map.as_str())?,
                verdict: true,
                not: false,
            });
        }
        Expression::CtState(states) => {
            let mask = states.iter().fold(0, |mask, state| mask | bit(*state));
            if mask == 0 {
                return Err(Unfit::NoState);
            }
            let key = load::CT_STATE;
            program.extend([Ct { key, to: 0 }, and(mask), compare(true, &[0; 4])]);
        }
        Expression::CtDnat => {
            let key = load::CT_STATUS;
            let mask = load::STATUS_DNAT;
            program.extend([Ct { key, to: 0 }, and(mask), compare(true, &[0; 4])]);
        }
        Expression::CtUnconfirmed => {
            let key = load::CT_STATUS;
            let mask = load::STATUS_CONFIRMED;
            program.extend([Ct { key, to: 0 }, and(mask), compare(false, &[0; 4])]);
        }
        Expression::Mark { mask, value } => {
            let mark = meta(load::META_MARK);
            program.extend([mark, and(*mask), compare(false, &value.to_ne_bytes())]);
        }
        Expression::SetMark { mask, value } => {
            let key = load::META_MARK;
            let write = bitwise(&(!mask).to_ne_bytes(), &(value & mask).to_ne_bytes());
            program.extend([meta(key), write, SetMeta { key, from: 0 }]);
        }
        Expression::Notrack => program.push(Instruction::Notrack),
        Expression::Counter => program.push(Instruction::Counter),
        Expression::Limit {
            rate,
            seconds,
            burst,
        } => program.push(Instruction::Limit {
            rate: u64::from(*rate),
            unit: u64::from(*seconds),
            burst: *burst,
        }),
        Expression::Log { prefix, to } => program.push(log(prefix, *to)?),
        Expression::Queue(number) => program.push(Instruction::Queue(*number)),
        Expression::Verdict(verdict) => program.push(Instruction::Immediate(code(verdict)?)),
        Expression::Reject => program.push(Instruction::Reject {
            kind: load::REJECT_ICMPX,
            code: load::ICMPX_PORT_UNREACHABLE,
        }),
        Expression::Foreign(_) => return Err(Unfit::Foreign),
    }
    Ok(())
}

/// The kernel's form of a verdict.
pub(crate) fn code(verdict: &Verdict) -> Result<Code, Unfit> {
    let bare = |code| Code { code, chain: None };
    let to = |code, chain: &ChainName| {
        Ok(Code {
            code,
            chain: Some(name(chain.as_str())?),
        })
    };
    match verdict {
        Verdict::Accept => Ok(bare(verdict::ACCEPT)),
        Verdict::Drop => Ok(bare(verdict::DROP)),
        Verdict::Return => Ok(bare(verdict::RETURN)),
        Verdict::Jump(chain) => to(verdict::JUMP, chain),
        Verdict::Goto(chain) => to(verdict::GOTO, chain),
    }
}

/// A name as C wants it.
pub(crate) fn name(name: &str) -> Result<CString, Unfit> {
    if name.is_empty() || name.len() > 127 {
        return Err(Unfit::Name);
    }
    CString::new(name).map_err(|_| Unfit::Name)
}

/// An interface name as the kernel compares it: 16 bytes, zeros behind.
pub(crate) fn padded(name: &IfName) -> Result<[u8; 16], Unfit> {
    let name = name.as_str().as_bytes();
    let mut bytes = [0; 16];
    match bytes.get_mut(..name.len()) {
        Some(front) if (1..=15).contains(&name.len()) && !name.contains(&0) => {
            front.copy_from_slice(name);
            Ok(bytes)
        }
        _ => Err(Unfit::Interface),
    }
}

fn net_test(end: End, net: &IpNet, not: bool, program: &mut Vec<Instruction>) {
    let whole = octets(net.network());
    let bytes = usize::from(net.prefix_len() / 8);
    // As nft does: whole bytes are a shorter load, anything else is masked.
    let masked = bytes == 0 || !net.prefix_len().is_multiple_of(8);
    let data = if masked {
        whole.as_slice()
    } else {
        whole.get(..bytes).unwrap_or(&whole)
    };
    program.push(Instruction::Payload {
        base: load::NETWORK,
        offset: address_offset(family(net), end),
        length: u32::try_from(data.len()).unwrap_or(u32::MAX),
        to: 0,
    });
    if masked {
        let mask = octets(net.netmask());
        program.push(bitwise(&mask, &vec![0; mask.len()]));
    }
    program.push(Instruction::Compare {
        from: 0,
        operator: operator(not),
        data: data.to_vec(),
    });
}

fn port_test(end: End, range: PortRange, not: bool, program: &mut Vec<Instruction>) {
    program.push(port(end, 0));
    let low = range.first().to_be_bytes().to_vec();
    program.push(if range.first() == range.last() {
        Instruction::Compare {
            from: 0,
            operator: operator(not),
            data: low,
        }
    } else {
        Instruction::Range {
            from: 0,
            operator: operator(not),
            low,
            high: range.last().to_be_bytes().to_vec(),
        }
    });
}

fn icmp_test(test: &IcmpTest, program: &mut Vec<Instruction>) {
    let byte = |offset, to| Instruction::Payload {
        base: load::TRANSPORT,
        offset,
        length: 1,
        to,
    };
    let compare = |data: Vec<u8>| Instruction::Compare {
        from: 0,
        operator: operator(test.not),
        data,
    };
    match test.code {
        None => program.extend([byte(0, 0), compare(vec![test.icmp_type])]),
        // Two tests of one byte each, so that they are never taken for a port.
        Some(code) if !test.not => program.extend([
            byte(0, 0),
            compare(vec![test.icmp_type]),
            byte(1, 0),
            compare(vec![code]),
        ]),
        // One comparison over two registers, each of them one byte and zeros.
        Some(code) => program.extend([
            byte(0, 0),
            byte(1, 1),
            compare(vec![test.icmp_type, 0, 0, 0, code, 0, 0, 0]),
        ]),
    }
}

/// Loads a key into the registers from 0, each field at a multiple of four bytes.
fn load_key(key: Key, program: &mut Vec<Instruction>) {
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
    }
}

fn address(family: Family, end: End, to: Slot) -> Instruction {
    Instruction::Payload {
        base: load::NETWORK,
        offset: address_offset(family, end),
        length: address_length(family),
        to,
    }
}

fn port(end: End, to: Slot) -> Instruction {
    Instruction::Payload {
        base: load::TRANSPORT,
        offset: match end {
            End::Source => 0,
            End::Destination => 2,
        },
        length: 2,
        to,
    }
}

const fn address_offset(family: Family, end: End) -> u32 {
    match (family, end) {
        (Family::V4, End::Source) => 12,
        (Family::V4, End::Destination) => 16,
        (Family::V6, End::Source) => 8,
        (Family::V6, End::Destination) => 24,
    }
}

const fn address_length(family: Family) -> u32 {
    match family {
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

const fn family(net: &IpNet) -> Family {
    match net {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}

/// An address in network order.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The kernel's number of a family.
pub(crate) const fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => load::NFPROTO_IPV4,
        Family::V6 => load::NFPROTO_IPV6,
    }
}

const fn interface(side: Side) -> u32 {
    match side {
        Side::In => load::META_IIFNAME,
        Side::Out => load::META_OIFNAME,
    }
}

const fn operator(not: bool) -> u32 {
    if not { load::NOT_EQUAL } else { load::EQUAL }
}

/// The kernel's bit of a state.
pub(super) const fn bit(state: State) -> u32 {
    match state {
        State::Invalid => 1,
        State::Established => 2,
        State::Related => 4,
        State::New => 8,
        State::Untracked => 64,
    }
}

fn and(mask: u32) -> Instruction {
    bitwise(&mask.to_ne_bytes(), &[0; 4])
}

fn bitwise(mask: &[u8], xor: &[u8]) -> Instruction {
    Instruction::Bitwise {
        from: 0,
        to: 0,
        mask: mask.to_vec(),
        xor: xor.to_vec(),
    }
}

fn log(prefix: &str, to: LogTo) -> Result<Instruction, Unfit> {
    if prefix.is_empty() || prefix.len() > 127 {
        return Err(Unfit::Prefix);
    }
    Ok(Instruction::Log {
        prefix: CString::new(prefix).map_err(|_| Unfit::Prefix)?,
        to: match to {
            LogTo::Kernel => Log::Kernel {
                level: load::LEVEL_INFO,
            },
            LogTo::Group(group) => Log::Group {
                group,
                snap: SNAP,
                queue: QUEUE,
            },
        },
    })
}
