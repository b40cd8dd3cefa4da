//! Instructions as `nftnl_expr`.

use super::{allocated, pointer};
use crate::{
    kernel::load,
    program::{Code, Gives, Instruction, Log, Slot},
};
use nftnl_sys as sys;
use std::{
    ffi::{CStr, c_void},
    ptr::NonNull,
};

/// An instruction that a rule of nftnl can take.
pub(crate) struct Native<'a> {
    pub(crate) instruction: &'a Instruction,
    pub(crate) queue: QueueForm,
}

/// How this kernel lets a rule queue packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum QueueForm {
    /// By an expression of nf_tables.
    Native,
    /// By the target of iptables, through nf_tables' door for those.
    Target,
}

/// One `nftnl_expr` under construction. Given away by `done`; until then nothing can fail.
pub(crate) struct Builder(NonNull<sys::nftnl_expr>);

impl Builder {
    pub(crate) fn new(kind: &CStr) -> Self {
        // SAFETY: `kind` is a C string; the value is owned by us until a rule takes it.
        Self(allocated(unsafe { sys::nftnl_expr_alloc(pointer(kind)) }))
    }

    pub(crate) fn u8(self, attribute: u32, value: u8) -> Self {
        // SAFETY: the expression is alive; the attribute is of this type for its kind.
        unsafe { sys::nftnl_expr_set_u8(self.0.as_ptr(), short(attribute), value) };
        self
    }

    pub(crate) fn u16(self, attribute: u32, value: u16) -> Self {
        // SAFETY: as in `u8`.
        unsafe { sys::nftnl_expr_set_u16(self.0.as_ptr(), short(attribute), value) };
        self
    }

    pub(crate) fn u32(self, attribute: u32, value: u32) -> Self {
        // SAFETY: as in `u8`.
        unsafe { sys::nftnl_expr_set_u32(self.0.as_ptr(), short(attribute), value) };
        self
    }

    pub(crate) fn u64(self, attribute: u32, value: u64) -> Self {
        // SAFETY: as in `u8`.
        unsafe { sys::nftnl_expr_set_u64(self.0.as_ptr(), short(attribute), value) };
        self
    }

    pub(crate) fn text(self, attribute: u32, value: &CStr) -> Self {
        // SAFETY: as in `u8`; libnftnl copies the string.
        unsafe { sys::nftnl_expr_set_str(self.0.as_ptr(), short(attribute), pointer(value)) };
        self
    }

    /// At most 64 bytes, which libnftnl copies into a register of its own.
    pub(crate) fn bytes(self, attribute: u32, value: &[u8]) -> Self {
        let value = value.get(..64).unwrap_or(value);
        let length = u32::try_from(value.len()).unwrap_or(0);
        // SAFETY: `value` is valid for `length`, which fits libnftnl's register of 64 bytes.
        unsafe {
            sys::nftnl_expr_set(
                self.0.as_ptr(),
                short(attribute),
                value.as_ptr().cast::<c_void>(),
                length,
            );
        }
        self
    }

    /// A block that libnftnl keeps, and frees with `free` when the expression goes.
    pub(crate) fn owned(self, attribute: u32, value: &[u8]) -> Self {
        let length = u32::try_from(value.len()).unwrap_or(0);
        // SAFETY: a fresh block of `value.len()` bytes is filled and given to libnftnl, which frees it.
        unsafe {
            let block = libc::malloc(value.len());
            let block = allocated(block).as_ptr();
            block.copy_from_nonoverlapping(value.as_ptr().cast(), value.len());
            sys::nftnl_expr_set(self.0.as_ptr(), short(attribute), block, length);
        }
        self
    }

    pub(crate) fn done(self) -> NonNull<sys::nftnl_expr> {
        self.0
    }
}

/// Attributes are declared as 32 bits and taken as 16.
fn short(attribute: u32) -> u16 {
    u16::try_from(attribute).unwrap_or(u16::MAX)
}

/// The kernel's number of a register; one at a multiple of 16 bytes goes by its old name, as nft writes it.
const fn register(slot: Slot) -> u32 {
    if slot.is_multiple_of(4) {
        1 + slot / 4
    } else {
        8 + slot
    }
}

impl nftnl::expr::Expression for Native<'_> {
    fn to_expr(&self, _: &nftnl::Rule) -> NonNull<sys::nftnl_expr> {
        build(self.instruction, self.queue).done()
    }
}

fn build(instruction: &Instruction, form: QueueForm) -> Builder {
    match instruction {
        Instruction::Meta { key, to } => Builder::new(c"meta")
            .u32(sys::NFTNL_EXPR_META_KEY, *key)
            .u32(sys::NFTNL_EXPR_META_DREG, register(*to)),
        Instruction::SetMeta { key, from } => Builder::new(c"meta")
            .u32(sys::NFTNL_EXPR_META_KEY, *key)
            .u32(sys::NFTNL_EXPR_META_SREG, register(*from)),
        Instruction::Ct { key, to } => Builder::new(c"ct")
            .u32(sys::NFTNL_EXPR_CT_KEY, *key)
            .u32(sys::NFTNL_EXPR_CT_DREG, register(*to)),
        Instruction::CtOriginal { key, to } => Builder::new(c"ct")
            .u32(sys::NFTNL_EXPR_CT_KEY, *key)
            .u32(sys::NFTNL_EXPR_CT_DREG, register(*to))
            .u8(sys::NFTNL_EXPR_CT_DIR, load::CT_ORIGINAL),
        Instruction::Payload {
            base,
            offset,
            length,
            to,
        } => Builder::new(c"payload")
            .u32(sys::NFTNL_EXPR_PAYLOAD_BASE, *base)
            .u32(sys::NFTNL_EXPR_PAYLOAD_OFFSET, *offset)
            .u32(sys::NFTNL_EXPR_PAYLOAD_LEN, *length)
            .u32(sys::NFTNL_EXPR_PAYLOAD_DREG, register(*to)),
        Instruction::Compare {
            from,
            operator,
            data,
        } => Builder::new(c"cmp")
            .u32(sys::NFTNL_EXPR_CMP_SREG, register(*from))
            .u32(sys::NFTNL_EXPR_CMP_OP, *operator)
            .bytes(sys::NFTNL_EXPR_CMP_DATA, data),
        Instruction::Range {
            from,
            operator,
            low,
            high,
        } => Builder::new(c"range")
            .u32(sys::NFTNL_EXPR_RANGE_SREG, register(*from))
            .u32(sys::NFTNL_EXPR_RANGE_OP, *operator)
            .bytes(sys::NFTNL_EXPR_RANGE_FROM_DATA, low)
            .bytes(sys::NFTNL_EXPR_RANGE_TO_DATA, high),
        Instruction::Bitwise {
            from,
            to,
            mask,
            xor,
        } => Builder::new(c"bitwise")
            .u32(sys::NFTNL_EXPR_BITWISE_SREG, register(*from))
            .u32(sys::NFTNL_EXPR_BITWISE_DREG, register(*to))
            .u32(
                sys::NFTNL_EXPR_BITWISE_LEN,
                u32::try_from(mask.len()).unwrap_or(0),
            )
            .bytes(sys::NFTNL_EXPR_BITWISE_MASK, mask)
            .bytes(sys::NFTNL_EXPR_BITWISE_XOR, xor),
        Instruction::Lookup {
            from,
            set,
            gives,
            not,
        } => {
            let mut lookup = Builder::new(c"lookup")
                .u32(sys::NFTNL_EXPR_LOOKUP_SREG, register(*from))
                .text(sys::NFTNL_EXPR_LOOKUP_SET, set);
            match gives {
                Gives::Nothing => {}
                Gives::Verdict => lookup = lookup.u32(sys::NFTNL_EXPR_LOOKUP_DREG, 0),
                Gives::Value => {
                    lookup = lookup.u32(sys::NFTNL_EXPR_LOOKUP_DREG, register(*from));
                }
            }
            if *not {
                lookup = lookup.u32(sys::NFTNL_EXPR_LOOKUP_FLAGS, load::LOOKUP_INVERT);
            }
            lookup
        }
        Instruction::Immediate(code) => immediate(code),
        Instruction::Counter => Builder::new(c"counter"),
        Instruction::Limit { rate, unit, burst } => Builder::new(c"limit")
            .u64(sys::NFTNL_EXPR_LIMIT_RATE, *rate)
            .u64(sys::NFTNL_EXPR_LIMIT_UNIT, *unit)
            .u32(sys::NFTNL_EXPR_LIMIT_BURST, *burst)
            .u32(sys::NFTNL_EXPR_LIMIT_TYPE, 0)
            .u32(sys::NFTNL_EXPR_LIMIT_FLAGS, 0),
        Instruction::Log { prefix, to } => {
            let log = Builder::new(c"log").text(sys::NFTNL_EXPR_LOG_PREFIX, prefix);
            match to {
                Log::Kernel { level } => log.u32(sys::NFTNL_EXPR_LOG_LEVEL, *level),
                Log::Group { group, snap, queue } => log
                    .u16(sys::NFTNL_EXPR_LOG_GROUP, *group)
                    .u32(sys::NFTNL_EXPR_LOG_SNAPLEN, *snap)
                    .u16(sys::NFTNL_EXPR_LOG_QTHRESHOLD, *queue),
            }
        }
        Instruction::Notrack => Builder::new(c"notrack"),
        Instruction::Queue(number) => queue(*number, form),
        Instruction::Reject { kind, code } => Builder::new(c"reject")
            .u32(sys::NFTNL_EXPR_REJECT_TYPE, *kind)
            .u8(sys::NFTNL_EXPR_REJECT_CODE, *code),
        // `emit` refuses a foreign expression, so that none comes here.
        Instruction::Foreign(_) => Builder::new(c"counter"),
    }
}

/// One queue, without flags: neither bypass nor fan-out.
pub(crate) fn queue(number: u16, form: QueueForm) -> Builder {
    match form {
        QueueForm::Native => Builder::new(c"queue")
            .u16(sys::NFTNL_EXPR_QUEUE_NUM, number)
            .u16(sys::NFTNL_EXPR_QUEUE_TOTAL, 1)
            .u16(sys::NFTNL_EXPR_QUEUE_FLAGS, 0),
        QueueForm::Target => {
            // `xt_NFQ_info_v3`: number, how many queues, flags, and padding to a multiple of eight bytes.
            let ([a, b], [c, d]) = (number.to_ne_bytes(), 1_u16.to_ne_bytes());
            Builder::new(c"target")
                .text(sys::NFTNL_EXPR_TG_NAME, c"NFQUEUE")
                .u32(sys::NFTNL_EXPR_TG_REV, 3)
                .owned(sys::NFTNL_EXPR_TG_INFO, &[a, b, c, d, 0, 0, 0, 0])
        }
    }
}

fn immediate(code: &Code) -> Builder {
    let immediate = Builder::new(c"immediate")
        .u32(sys::NFTNL_EXPR_IMM_DREG, 0)
        .u32(
            sys::NFTNL_EXPR_IMM_VERDICT,
            u32::from_ne_bytes(code.code.to_ne_bytes()),
        );
    match &code.chain {
        Some(chain) => immediate.text(sys::NFTNL_EXPR_IMM_CHAIN, chain),
        None => immediate,
    }
}
