//! Expressions of the IR to instructions.

use super::{Code, Gives, Instruction, Log, QUEUE, SNAP, verdict};
use crate::{error::Unfit, kernel::load};
use ipnet::IpNet;
use palisade_policy::{
    ids::IfName,
    rule::{Family, PortRange},
};
use palisade_ruleset::ir::{ChainName, End, Expression, IcmpTest, Key, LogTo, State, Verdict};
use std::{ffi::CString, net::IpAddr};

mod key;

use key::{address, interface, load_key, port};

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
                gives: Gives::Nothing,
                not: *not,
            });
        }
        Expression::VerdictMap { key, map } => {
            load_key(*key, program);
            program.push(Instruction::Lookup {
                from: 0,
                set: name(map.as_str())?,
                gives: Gives::Verdict,
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
        Expression::MapMark { mask, map } => {
            load_key(Key::Mark { mask: *mask }, program);
            let lookup = Instruction::Lookup {
                from: 0,
                set: name(map.as_str())?,
                gives: Gives::Value,
                not: false,
            };
            let key = load::META_MARK;
            program.extend([lookup, SetMeta { key, from: 0 }]);
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
    // As nft does: whole bytes of a header are a shorter load, anything else is masked.
    let cut = bytes == 0 || !net.prefix_len().is_multiple_of(8);
    let masked = cut || (end == End::Original && bytes < whole.len());
    let data = if masked {
        whole.as_slice()
    } else {
        whole.get(..bytes).unwrap_or(&whole)
    };
    let mut load = address(family(net), end, 0);
    if let Instruction::Payload { length, .. } = &mut load {
        *length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    }
    program.push(load);
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

pub(super) fn and(mask: u32) -> Instruction {
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
