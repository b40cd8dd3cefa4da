//! The doors to libnftnl: owned objects, and a buffer that messages are written into.
//!
//! Every object here owns its C value; attributes are copied by libnftnl, so nothing borrowed is kept.

use nftnl::{MsgType, NlMsg, nft_nlmsg_maxsize};
use nftnl_sys as sys;
use std::{
    ffi::{CStr, c_char, c_void},
    ptr::NonNull,
};

mod expression;
mod set;
mod table;

pub(crate) use expression::{Builder, Native, QueueForm, queue};
pub(crate) use set::{NativeElement, NativeSet};
pub(crate) use table::NativeTable;

/// Netlink messages one after the other, aligned as the kernel wants them.
#[derive(Default, Debug)]
pub(crate) struct Buffer {
    words: Vec<u32>,
    /// In bytes, a multiple of four.
    used: usize,
}

/// `NLM_F_REQUEST`: nfnetlink passes over what does not ask.
const REQUEST: u16 = 1;
/// Kept between transactions, in words; what a big one needed beyond this is given back.
const KEPT: usize = 64 * 1024;

impl Buffer {
    /// Forgets all messages.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.words.truncate(KEPT);
        self.words.shrink_to(KEPT);
    }

    /// Everything written.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: any u32 is four initialised bytes; `used` never exceeds the words' length (see `finish`).
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.used) }
    }

    /// Writes an object of nftnl, with these flags instead of nftnl's own.
    pub(crate) fn object(&mut self, message: &impl NlMsg, how: MsgType, sequence: u32, flags: u16) {
        let at = self.free();
        // SAFETY: `free` leaves room for the longest netlink message, aligned for its header.
        unsafe { message.write(at.as_ptr(), sequence, how) };
        self.set_flags(flags);
        self.finish();
    }

    /// Begins a batch.
    pub(crate) fn begin(&mut self, sequence: u32) {
        let at = self.free();
        // SAFETY: as in `object`.
        unsafe { sys::nftnl_batch_begin(at.as_ptr().cast::<c_char>(), sequence) };
        self.finish();
    }

    /// Ends a batch, with these flags beside `NLM_F_REQUEST`.
    pub(crate) fn end(&mut self, sequence: u32, flags: u16) {
        let at = self.free();
        // SAFETY: as in `object`.
        unsafe { sys::nftnl_batch_end(at.as_ptr().cast::<c_char>(), sequence) };
        self.set_flags(flags);
        self.finish();
    }

    /// Writes a header and what `payload` puts behind it.
    fn message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        payload: impl FnOnce(NonNull<nftnl_sys::libc::nlmsghdr>),
    ) {
        let at = self.free();
        // SAFETY: as in `object`; the header lies at the front of that room.
        let header = unsafe {
            sys::nftnl_nlmsg_build_hdr(
                at.as_ptr().cast::<c_char>(),
                kind,
                u16::from(crate::kernel::INET),
                flags,
                sequence,
            )
        };
        if let Some(header) = NonNull::new(header) {
            payload(header);
        }
        self.finish();
    }

    /// Room for one more message, behind what is written.
    fn free(&mut self) -> NonNull<c_void> {
        let room = usize::try_from(nft_nlmsg_maxsize()).unwrap_or(usize::MAX) + 4096;
        let words = (self.used + room).div_ceil(4);
        if self.words.len() < words {
            self.words.resize(words.next_power_of_two(), 0);
        }
        self.words
            .get_mut(self.used / 4..)
            .and_then(|free| NonNull::new(free.as_mut_ptr().cast()))
            .unwrap_or(NonNull::dangling())
    }

    /// The length that the message after `used` says it has.
    fn pending(&self) -> usize {
        let length = self.words.get(self.used / 4).copied().unwrap_or(0);
        let length = usize::try_from(length).unwrap_or(0);
        crate::message::align(length)
    }

    /// Takes the message just written in.
    fn finish(&mut self) {
        let used = self.used + self.pending();
        assert!(
            used <= self.words.len() * 4,
            "libnftnl stays within the longest message"
        );
        self.used = used;
    }

    /// Flags of the message just written; `NLM_F_REQUEST` is added.
    fn set_flags(&mut self, flags: u16) {
        // The second word of a header: kind, then flags.
        if let Some(word) = self.words.get_mut(self.used / 4 + 1) {
            let [a, b, ..] = word.to_ne_bytes();
            let [c, d] = (flags | REQUEST).to_ne_bytes();
            *word = u32::from_ne_bytes([a, b, c, d]);
        }
    }
}

/// What libnftnl allocated; it fails only without memory, which Rust's own allocations do not survive either.
fn allocated<T>(value: *mut T) -> NonNull<T> {
    NonNull::new(value).expect("libnftnl allocates or memory is gone")
}

/// A string attribute of libnftnl, copied by it.
fn pointer(text: &CStr) -> *const c_char {
    text.as_ptr()
}
