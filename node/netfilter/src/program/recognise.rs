//! Instructions back to expressions of the IR; what [`super::emit`] would not have written is foreign.

use super::{Gives, Instruction, Log, QUEUE, SNAP, emit, emit::bit};
use crate::kernel::load;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use palisade_policy::{
    ids::IfName,
    rule::{Family, PortRange, Protocol},
};
use palisade_ruleset::ir::{Expression, IcmpTest, Key, LogTo, SetName, State};
use std::ffi::CStr;

mod key;

use key::{address_end, key, port_end, side};

/// The expressions of a program. Each is what emits exactly the instructions it was recognised from.
pub(crate) fn recognise(program: &[Instruction]) -> Vec<Expression> {
    let mut rest = program;
    let mut expressions = Vec::new();
    while let Some(front) = rest.first() {
        let (expression, length) = first(rest)
            .filter(|(expression, length)| exact(expression, rest.get(..*length)))
            .unwrap_or_else(|| (Expression::Foreign(format!("{front:?}")), 1));
        expressions.push(expression);
        rest = rest.get(length..).unwrap_or_default();
    }
    expressions
}

/// Recognising looks at what tells expressions apart; this looks at everything else.
fn exact(expression: &Expression, program: Option<&[Instruction]>) -> bool {
    let mut again = Vec::new();
    emit(expression, &mut again).is_ok() && program == Some(again.as_slice())
}

/// The first expression, and how many instructions it is.
fn first(program: &[Instruction]) -> Option<(Expression, usize)> {
    use Instruction::{Compare, Ct, Meta, Payload};
    if let Some(found) = lookup(program) {
        return Some(found);
    }
    match program {
        [Meta { key, .. }, Compare { operator, data, .. }, ..] => {
            Some((loaded(*key, *operator == load::NOT_EQUAL, data)?, 2))
        }
        [
            Meta { .. },
            Instruction::Bitwise { mask, xor, .. },
            then,
            ..,
        ] => Some((mark(mask, xor, then)?, 3)),
        [Ct { key, .. }, Instruction::Bitwise { mask, .. }, _, ..] => {
            Some((tracked(*key, mask)?, 3))
        }
        [
            Payload {
                base: load::TRANSPORT,
                ..
            },
            ..,
        ] => transport(program),
        [
            Instruction::CtOriginal {
                key: load::CT_PROTO_DST,
                ..
            },
            ..,
        ] => transport(program),
        [Payload { .. } | Instruction::CtOriginal { .. }, ..] => net(program),
        [instruction, ..] => Some((alone(instruction)?, 1)),
        [] => None,
    }
}

fn loaded(key: u32, not: bool, data: &[u8]) -> Option<Expression> {
    Some(match key {
        load::META_NFPROTO => Expression::Family(match data {
            [load::NFPROTO_IPV4] => Family::V4,
            [load::NFPROTO_IPV6] => Family::V6,
            _ => return None,
        }),
        load::META_L4PROTO => Expression::Protocol {
            protocol: Protocol(*data.first()?),
            not,
        },
        load::META_IIF => Expression::NotLocal,
        load::META_IIFNAME | load::META_OIFNAME => {
            let side = side(key)?;
            if data.len() == 16 {
                let name = CStr::from_bytes_until_nul(data).ok()?.to_str().ok()?;
                let name = IfName::new(name);
                Expression::Interface { side, name, not }
            } else {
                let prefix = std::str::from_utf8(data).ok()?.to_owned();
                Expression::InterfacePrefix { side, prefix }
            }
        }
        _ => return None,
    })
}

fn mark(mask: &[u8], xor: &[u8], then: &Instruction) -> Option<Expression> {
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_ne_bytes);
    let mask = number(mask)?;
    match then {
        Instruction::Compare { data, .. } => {
            let value = number(data)?;
            Some(Expression::Mark { mask, value })
        }
        Instruction::SetMeta { .. } => {
            let value = number(xor)?;
            Some(Expression::SetMark { mask: !mask, value })
        }
        _ => None,
    }
}

fn tracked(key: u32, mask: &[u8]) -> Option<Expression> {
    const STATES: [State; 5] = [
        State::Invalid,
        State::Established,
        State::Related,
        State::New,
        State::Untracked,
    ];
    let mask = u32::from_ne_bytes(mask.try_into().ok()?);
    match key {
        load::CT_STATUS if mask == load::STATUS_DNAT => Some(Expression::CtDnat),
        load::CT_STATUS if mask == load::STATUS_CONFIRMED => Some(Expression::CtUnconfirmed),
        load::CT_STATE => Some(Expression::CtState(
            STATES
                .into_iter()
                .filter(|state| mask & bit(*state) != 0)
                .collect(),
        )),
        _ => None,
    }
}

fn transport(program: &[Instruction]) -> Option<(Expression, usize)> {
    use Instruction::{Compare, Payload, Range};
    let icmp = |icmp_type, code, not| {
        Expression::Icmp(IcmpTest {
            icmp_type,
            code,
            not,
        })
    };
    let not = |operator: &u32| *operator == load::NOT_EQUAL;
    let port = |load: &Instruction, low: &[u8], high: &[u8], not| {
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u16::from_be_bytes);
        Some(Expression::Port {
            end: port_end(load)?,
            range: PortRange::new(number(low)?, number(high)?)?,
            not,
        })
    };
    match program {
        [
            Payload { .. },
            Payload { .. },
            Compare { operator, data, .. },
            ..,
        ] => {
            let (icmp_type, code) = (*data.first()?, *data.get(4)?);
            Some((icmp(icmp_type, Some(code), not(operator)), 3))
        }
        [
            Payload { length: 1, .. },
            Compare { operator, data, .. },
            rest @ ..,
        ] => {
            let icmp_type = *data.first()?;
            match rest {
                [
                    Payload {
                        base: load::TRANSPORT,
                        offset: 1,
                        ..
                    },
                    Compare { data: code, .. },
                    ..,
                ] if !not(operator) => Some((icmp(icmp_type, Some(*code.first()?), false), 4)),
                _ => Some((icmp(icmp_type, None, not(operator)), 2)),
            }
        }
        [load, Compare { operator, data, .. }, ..] => {
            Some((port(load, data, data, not(operator))?, 2))
        }
        [
            load,
            Range {
                operator,
                low,
                high,
                ..
            },
            ..,
        ] => Some((port(load, low, high, not(operator))?, 2)),
        _ => None,
    }
}

fn net(program: &[Instruction]) -> Option<(Expression, usize)> {
    use Instruction::{Bitwise, Compare};
    let (prefix, operator, data, length) = match program {
        [_, Compare { operator, data, .. }, ..] => (data.len().checked_mul(8)?, operator, data, 2),
        [_, Bitwise { mask, .. }, Compare { operator, data, .. }, ..] => {
            let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
            (usize::try_from(ones).ok()?, operator, data, 3)
        }
        _ => return None,
    };
    let prefix = u8::try_from(prefix).ok()?;
    let (family, end) = address_end(program.first()?)?;
    let net = match family {
        Family::V4 => IpNet::V4(Ipv4Net::new(<[u8; 4]>::into(filled(data)?), prefix).ok()?),
        Family::V6 => IpNet::V6(Ipv6Net::new(<[u8; 16]>::into(filled(data)?), prefix).ok()?),
    };
    let not = *operator == load::NOT_EQUAL;
    Some((Expression::Net { end, net, not }, length))
}

/// The bytes, and zeros behind.
fn filled<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut whole = [0; N];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(whole)
}

/// Loads, then a lookup.
fn lookup(program: &[Instruction]) -> Option<(Expression, usize)> {
    let loads = program
        .iter()
        .position(|i| matches!(i, Instruction::Lookup { .. }))?;
    let key = key(program.get(..loads)?)?;
    let Instruction::Lookup {
        set, gives, not, ..
    } = program.get(loads)?
    else {
        return None;
    };
    let set = SetName::new(set.to_str().ok()?);
    Some(match (gives, key) {
        (Gives::Nothing, _) => {
            let not = *not;
            (Expression::Lookup { key, set, not }, loads + 1)
        }
        (Gives::Verdict, _) => (Expression::VerdictMap { key, map: set }, loads + 1),
        // What becomes of the value is in the instruction behind.
        (Gives::Value, Key::Mark { mask }) => (Expression::MapMark { mask, map: set }, loads + 2),
        (Gives::Value, _) => return None,
    })
}

fn alone(instruction: &Instruction) -> Option<Expression> {
    Some(match instruction {
        Instruction::Immediate(code) => Expression::Verdict(code.verdict()?),
        Instruction::Counter => Expression::Counter,
        Instruction::Notrack => Expression::Notrack,
        Instruction::Queue(number) => Expression::Queue(*number),
        Instruction::Reject { .. } => Expression::Reject,
        Instruction::Limit { rate, unit, burst } => Expression::Limit {
            rate: u32::try_from(*rate).ok()?,
            seconds: u32::try_from(*unit).ok()?,
            burst: *burst,
        },
        Instruction::Log { prefix, to } => Expression::Log {
            prefix: prefix.to_str().ok()?.to_owned(),
            to: match to {
                Log::Kernel {
                    level: load::LEVEL_INFO,
                } => LogTo::Kernel,
                Log::Group {
                    group,
                    snap: SNAP,
                    queue: QUEUE,
                } => LogTo::Group(*group),
                _ => return None,
            },
        },
        _ => return None,
    })
}
