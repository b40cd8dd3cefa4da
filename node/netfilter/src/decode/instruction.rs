//! One expression of a rule, from its attributes.

use crate::{
    kernel::{attribute as a, load},
    message::{Attributes, be32, be64, text},
    program::{Code, Gives, Instruction, Log, Slot},
};
use std::ffi::{CStr, CString};

/// The instruction, foreign when it holds anything that we do not write.
pub(crate) fn instruction(attributes: Attributes<'_>) -> Instruction {
    let name = attributes
        .get(a::EXPRESSION_NAME)
        .and_then(text)
        .unwrap_or("?");
    let data = Attributes(attributes.get(a::EXPRESSION_DATA).unwrap_or_default());
    known(name, data).unwrap_or_else(|| Instruction::Foreign(name.to_owned()))
}

fn known(name: &str, data: Attributes<'_>) -> Option<Instruction> {
    match name {
        "meta" => meta(data),
        "ct" => ct(data),
        "payload" => payload(data),
        "cmp" => compare(data),
        "range" => range(data),
        "bitwise" => bitwise(data),
        "lookup" => lookup(data),
        "immediate" => {
            let [_, register, value] = data.table::<3>();
            (be32(register?)? == 0).then_some(())?;
            let value = Attributes(value?).get(a::DATA_VERDICT)?;
            Some(Instruction::Immediate(verdict(Attributes(value))?))
        }
        "counter" => Some(Instruction::Counter),
        "limit" => limit(data),
        "log" => log(data),
        "notrack" => Some(Instruction::Notrack),
        "queue" => queue(data),
        "target" => target(data),
        "reject" => {
            let [_, kind, code] = data.table::<3>();
            Some(Instruction::Reject {
                kind: be32(kind?)?,
                code: *code?.first()?,
            })
        }
        _ => None,
    }
}

/// A verdict, of an immediate or of an element's data.
pub(crate) fn verdict(attributes: Attributes<'_>) -> Option<Code> {
    let [_, code, chain] = attributes.table::<3>();
    Some(Code {
        code: i32::from_be_bytes(code?.try_into().ok()?),
        chain: match chain {
            Some(chain) => Some(string(chain)?),
            None => None,
        },
    })
}

fn meta(data: Attributes<'_>) -> Option<Instruction> {
    let [_, to, key, from] = data.table::<4>();
    let key = be32(key?)?;
    match (to, from) {
        (Some(to), None) => Some(Instruction::Meta { key, to: slot(to)? }),
        (None, Some(from)) => Some(Instruction::SetMeta {
            key,
            from: slot(from)?,
        }),
        _ => None,
    }
}

fn ct(data: Attributes<'_>) -> Option<Instruction> {
    let [_, to, key, direction, from] = data.table::<5>();
    let (key, to) = (be32(key?)?, slot(to?)?);
    match (direction, from) {
        (None, None) => Some(Instruction::Ct { key, to }),
        (Some([load::CT_ORIGINAL]), None) => Some(Instruction::CtOriginal { key, to }),
        _ => None,
    }
}

fn payload(data: Attributes<'_>) -> Option<Instruction> {
    let [_, to, base, offset, length, from] = data.table::<6>();
    if from.is_some() {
        return None;
    }
    Some(Instruction::Payload {
        base: be32(base?)?,
        offset: be32(offset?)?,
        length: be32(length?)?,
        to: slot(to?)?,
    })
}

fn compare(data: Attributes<'_>) -> Option<Instruction> {
    let [_, from, operator, value] = data.table::<4>();
    Some(Instruction::Compare {
        from: slot(from?)?,
        operator: be32(operator?)?,
        data: bytes(value?)?,
    })
}

fn range(data: Attributes<'_>) -> Option<Instruction> {
    let [_, from, operator, low, high] = data.table::<5>();
    Some(Instruction::Range {
        from: slot(from?)?,
        operator: be32(operator?)?,
        low: bytes(low?)?,
        high: bytes(high?)?,
    })
}

fn bitwise(data: Attributes<'_>) -> Option<Instruction> {
    let [_, from, to, length, mask, xor, operator] = data.table::<7>();
    if operator.map_or(Some(0), be32)? != 0 {
        return None;
    }
    let (mask, xor) = (bytes(mask?)?, bytes(xor?)?);
    let length = usize::try_from(be32(length?)?).ok()?;
    (mask.len() == length && xor.len() == length).then_some(Instruction::Bitwise {
        from: slot(from?)?,
        to: slot(to?)?,
        mask,
        xor,
    })
}

fn lookup(data: Attributes<'_>) -> Option<Instruction> {
    let [_, set, from, to, _, flags] = data.table::<6>();
    let from = slot(from?)?;
    let gives = match to {
        Some(to) if be32(to)? == 0 => Gives::Verdict,
        Some(to) => (slot(to)? == from).then_some(Gives::Value)?,
        None => Gives::Nothing,
    };
    Some(Instruction::Lookup {
        from,
        set: string(set?)?,
        gives,
        not: match flags.map_or(Some(0), be32)? {
            0 => false,
            load::LOOKUP_INVERT => true,
            _ => return None,
        },
    })
}

/// One queue, no flags.
fn queue(data: Attributes<'_>) -> Option<Instruction> {
    let [_, number, total, flags, register] = data.table::<5>();
    let half = |value: &[u8]| value.try_into().ok().map(u16::from_be_bytes);
    let plain = register.is_none()
        && total.map_or(Some(1), half)? == 1
        && flags.map_or(Some(0), half)? == 0;
    plain.then_some(Instruction::Queue(half(number?)?))
}

/// The target of iptables that does the same.
fn target(data: Attributes<'_>) -> Option<Instruction> {
    let [_, name, revision, info] = data.table::<4>();
    (text(name?)? == "NFQUEUE" && be32(revision?)? == 3).then_some(())?;
    // `xt_NFQ_info_v3`: number, how many queues, flags, and padding.
    let [a, b, c, d, e, f, ..] = *info?.first_chunk::<8>()?;
    let plain = u16::from_ne_bytes([c, d]) == 1 && u16::from_ne_bytes([e, f]) == 0;
    plain.then_some(Instruction::Queue(u16::from_ne_bytes([a, b])))
}

fn limit(data: Attributes<'_>) -> Option<Instruction> {
    let [_, rate, unit, burst, kind, flags] = data.table::<6>();
    let zero = |value: Option<&[u8]>| value.map_or(Some(0), be32) == Some(0);
    (zero(kind) && zero(flags)).then_some(Instruction::Limit {
        rate: be64(rate?)?,
        unit: be64(unit?)?,
        burst: be32(burst?)?,
    })
}

fn log(data: Attributes<'_>) -> Option<Instruction> {
    let [_, group, prefix, snap, queue, level, flags] = data.table::<7>();
    if flags.map_or(Some(0), be32)? != 0 {
        return None;
    }
    let half = |value: &[u8]| value.try_into().ok().map(u16::from_be_bytes);
    let to = match (group, snap, queue, level) {
        (Some(group), Some(snap), Some(queue), None) => Log::Group {
            group: half(group)?,
            snap: be32(snap)?,
            queue: half(queue)?,
        },
        (None, None, None, Some(level)) => Log::Kernel {
            level: be32(level)?,
        },
        _ => return None,
    };
    Some(Instruction::Log {
        prefix: string(prefix?)?,
        to,
    })
}

/// A register: the kernel says 1..=4 for those of 16 bytes, 8..=23 for those of four.
fn slot(value: &[u8]) -> Option<Slot> {
    match be32(value)? {
        old @ 1..=4 => Some((old - 1) * 4),
        new @ 8..=23 => Some(new - 8),
        _ => None,
    }
}

fn bytes(data: &[u8]) -> Option<Vec<u8>> {
    Attributes(data).get(a::DATA_VALUE).map(<[u8]>::to_vec)
}

fn string(bytes: &[u8]) -> Option<CString> {
    CStr::from_bytes_until_nul(bytes).ok().map(CStr::to_owned)
}
