//! Sets, maps and their elements as libnftnl objects.

use super::{Buffer, allocated, pointer};
use crate::{kernel, program::Code};
use nftnl_sys as sys;
use std::{
    ffi::{CStr, c_void},
    ptr::NonNull,
};

/// A `nftnl_set`, with the elements it was given.
pub(crate) struct NativeSet(NonNull<sys::nftnl_set>);

/// A `nftnl_set_elem` that no set owns yet.
pub(crate) struct NativeElement(NonNull<sys::nftnl_set_elem>);

impl NativeSet {
    pub(crate) fn new(table: &CStr, name: &CStr) -> Self {
        // SAFETY: the set is fresh; libnftnl copies both strings.
        unsafe {
            let set = allocated(sys::nftnl_set_alloc());
            sys::nftnl_set_set_str(set.as_ptr(), short(sys::NFTNL_SET_TABLE), pointer(table));
            sys::nftnl_set_set_str(set.as_ptr(), short(sys::NFTNL_SET_NAME), pointer(name));
            Self(set).number(sys::NFTNL_SET_FAMILY, u32::from(kernel::INET))
        }
    }

    /// An attribute of 32 bits.
    pub(crate) fn number(self, attribute: sys::nftnl_set_attr, value: u32) -> Self {
        // SAFETY: the set is alive; callers name attributes of 32 bits.
        unsafe { sys::nftnl_set_set_u32(self.0.as_ptr(), short(attribute), value) };
        self
    }

    /// What nft wants to remember about the set.
    pub(crate) fn userdata(self, value: &[u8]) -> Self {
        let length = u32::try_from(value.len()).unwrap_or(0);
        // SAFETY: `value` is valid for `length`; libnftnl copies it.
        unsafe {
            sys::nftnl_set_set_data(
                self.0.as_ptr(),
                short(sys::NFTNL_SET_USERDATA),
                value.as_ptr().cast::<c_void>(),
                length,
            );
        }
        self
    }

    /// Takes an element.
    pub(crate) fn push(&mut self, element: NativeElement) {
        // SAFETY: both are alive; the set owns the element from here, so its own drop must not run.
        unsafe { sys::nftnl_set_elem_add(self.0.as_ptr(), element.0.as_ptr()) };
        std::mem::forget(element);
    }

    /// Writes the set itself.
    pub(crate) fn write(&self, buffer: &mut Buffer, kind: u16, flags: u16, sequence: u32) {
        buffer.message(kind, flags, sequence, |header| {
            // SAFETY: the header lies in a buffer with room for the longest message.
            unsafe { sys::nftnl_set_nlmsg_build_payload(header.as_ptr(), self.0.as_ptr()) };
        });
    }

    /// Writes the set's elements; together they must stay below 64 KiB.
    pub(crate) fn write_elements(&self, buffer: &mut Buffer, kind: u16, flags: u16, sequence: u32) {
        buffer.message(kind, flags, sequence, |header| {
            // SAFETY: as in `write`; the caller keeps the elements below the longest message.
            unsafe { sys::nftnl_set_elems_nlmsg_build_payload(header.as_ptr(), self.0.as_ptr()) };
        });
    }
}

impl Drop for NativeSet {
    fn drop(&mut self) {
        // SAFETY: owned by us; frees the elements too.
        unsafe { sys::nftnl_set_free(self.0.as_ptr()) };
    }
}

impl NativeElement {
    /// An element with this key, at most 64 bytes.
    pub(crate) fn new(key: &[u8]) -> Self {
        let key = key.get(..64).unwrap_or(key);
        let length = u32::try_from(key.len()).unwrap_or(0);
        // SAFETY: the element is fresh; `key` is valid for `length`, within libnftnl's 64 bytes, and copied.
        unsafe {
            let element = allocated(sys::nftnl_set_elem_alloc());
            sys::nftnl_set_elem_set(
                element.as_ptr(),
                short(sys::NFTNL_SET_ELEM_KEY),
                key.as_ptr().cast::<c_void>(),
                length,
            );
            Self(element)
        }
    }

    /// Marks the key as the first one behind a range.
    pub(crate) fn end(self) -> Self {
        self.number(sys::NFTNL_SET_ELEM_FLAGS, kernel::set::ELEMENT_INTERVAL_END)
    }

    /// Gives it a time-out, in milliseconds.
    pub(crate) fn timeout(self, millis: u64) -> Self {
        let attribute = short(sys::NFTNL_SET_ELEM_TIMEOUT);
        // SAFETY: the element is alive; the attribute is of 64 bits.
        unsafe { sys::nftnl_set_elem_set_u64(self.0.as_ptr(), attribute, millis) };
        self
    }

    /// Makes it an element of a map to values, at most 64 bytes.
    pub(crate) fn value(self, value: &[u8]) -> Self {
        let value = value.get(..64).unwrap_or(value);
        let length = u32::try_from(value.len()).unwrap_or(0);
        let attribute = short(sys::NFTNL_SET_ELEM_DATA);
        // SAFETY: the element is alive; `value` is valid for `length`, within libnftnl's 64 bytes, and copied.
        unsafe {
            let value = value.as_ptr().cast::<c_void>();
            sys::nftnl_set_elem_set(self.0.as_ptr(), attribute, value, length);
        }
        self
    }

    /// Makes it an element of a verdict map.
    pub(crate) fn verdict(self, code: &Code) -> Self {
        let number = u32::from_ne_bytes(code.code.to_ne_bytes());
        let this = self.number(sys::NFTNL_SET_ELEM_VERDICT, number);
        if let Some(chain) = &code.chain {
            let attribute = short(sys::NFTNL_SET_ELEM_CHAIN);
            // SAFETY: the element is alive; libnftnl copies the string.
            unsafe { sys::nftnl_set_elem_set_str(this.0.as_ptr(), attribute, pointer(chain)) };
        }
        this
    }

    fn number(self, attribute: u32, value: u32) -> Self {
        // SAFETY: the element is alive; both attributes used here are of 32 bits.
        unsafe { sys::nftnl_set_elem_set_u32(self.0.as_ptr(), short(attribute), value) };
        self
    }
}

impl Drop for NativeElement {
    fn drop(&mut self) {
        // SAFETY: owned by us, since no set took it.
        unsafe { sys::nftnl_set_elem_free(self.0.as_ptr()) };
    }
}

/// Attributes are declared as 32 bits and taken as 16.
fn short(attribute: u32) -> u16 {
    u16::try_from(attribute).unwrap_or(u16::MAX)
}
