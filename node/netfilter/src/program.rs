//! A rule as the kernel's machine runs it: loads, comparisons, lookups.
//!
//! An expression of the IR is one to six instructions. [`emit`] writes them, [`recognise`] reads them; neither knows
//! netlink, so that both are tested without a kernel, each against the other.

use std::ffi::CString;

mod emit;
mod recognise;
#[cfg(test)]
mod tests;

pub(crate) use emit::{code, emit, name, nfproto, octets, padded};
pub(crate) use recognise::recognise;

/// A register of four bytes, 0..=15. A load of more fills those that follow.
pub(crate) type Slot = u32;

/// The verdict of an immediate or a map element: code and, for jump and goto, a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Code {
    pub(crate) code: i32,
    pub(crate) chain: Option<CString>,
}

/// One `nft_expr` of the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Instruction {
    Meta {
        key: u32,
        to: Slot,
    },
    SetMeta {
        key: u32,
        from: Slot,
    },
    Ct {
        key: u32,
        to: Slot,
    },
    /// Of the flow as its first packet was sent.
    CtOriginal {
        key: u32,
        to: Slot,
    },
    Payload {
        base: u32,
        offset: u32,
        length: u32,
        to: Slot,
    },
    Compare {
        from: Slot,
        operator: u32,
        data: Vec<u8>,
    },
    Range {
        from: Slot,
        operator: u32,
        low: Vec<u8>,
        high: Vec<u8>,
    },
    /// `to = from & mask ^ xor`.
    Bitwise {
        from: Slot,
        to: Slot,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    Lookup {
        from: Slot,
        set: CString,
        gives: Gives,
        not: bool,
    },
    Immediate(Code),
    Counter,
    Limit {
        rate: u64,
        unit: u64,
        burst: u32,
    },
    Log {
        prefix: CString,
        to: Log,
    },
    Notrack,
    /// One queue, no flags.
    Queue(u16),
    Reject {
        kind: u32,
        code: u8,
    },
    /// Read back and not understood; has no encoding.
    Foreign(String),
}

/// What a lookup gives, beside whether the key is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gives {
    Nothing,
    Verdict,
    /// A value, in the register of the key.
    Value,
}

/// Where a log line goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Log {
    Kernel { level: u32 },
    Group { group: u16, snap: u32, queue: u16 },
}

/// Bytes of the packet that go to NFLOG, and how many packets wait together.
pub(crate) const SNAP: u32 = 96;
pub(crate) const QUEUE: u16 = 64;

/// `NFT_RETURN` and its like, below the hook verdicts.
pub(crate) mod verdict {
    pub(crate) const DROP: i32 = 0;
    pub(crate) const ACCEPT: i32 = 1;
    pub(crate) const JUMP: i32 = -3;
    pub(crate) const GOTO: i32 = -4;
    pub(crate) const RETURN: i32 = -5;
}

impl Code {
    /// The verdict, if it is one of ours.
    pub(crate) fn verdict(&self) -> Option<palisade_ruleset::ir::Verdict> {
        use palisade_ruleset::ir::{ChainName, Verdict};
        let chain = || self.chain.as_ref()?.to_str().ok().map(ChainName::new);
        Some(match self.code {
            verdict::ACCEPT => Verdict::Accept,
            verdict::DROP => Verdict::Drop,
            verdict::RETURN => Verdict::Return,
            verdict::JUMP => Verdict::Jump(chain()?),
            verdict::GOTO => Verdict::Goto(chain()?),
            _ => return None,
        })
    }
}
