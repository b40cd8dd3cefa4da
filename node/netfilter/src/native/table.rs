//! Tables as libnftnl objects, with flags that the `nftnl` crate does not set.

use super::{Buffer, allocated, pointer};
use crate::kernel::{self, kind};
use nftnl_sys as sys;
use std::{ffi::CStr, ptr::NonNull};

/// A `nftnl_table` of family inet.
pub(crate) struct NativeTable(NonNull<sys::nftnl_table>);

impl NativeTable {
    pub(crate) fn new(name: &CStr, flags: u32) -> Self {
        let attribute = |value: sys::nftnl_table_attr| u16::try_from(value).unwrap_or(u16::MAX);
        let (family, inet) = (sys::NFTNL_TABLE_FAMILY, u32::from(kernel::INET));
        // SAFETY: the table is fresh; libnftnl copies the string, and the two others are attributes of 32 bits.
        unsafe {
            let table = allocated(sys::nftnl_table_alloc());
            let at = table.as_ptr();
            sys::nftnl_table_set_str(at, attribute(sys::NFTNL_TABLE_NAME), pointer(name));
            sys::nftnl_table_set_u32(at, attribute(family), inet);
            sys::nftnl_table_set_u32(at, attribute(sys::NFTNL_TABLE_FLAGS), flags);
            Self(table)
        }
    }

    /// Writes a message that makes it, or changes its flags.
    pub(crate) fn write(&self, buffer: &mut Buffer, flags: u16, sequence: u32) {
        let kind = kernel::SUBSYSTEM_SHIFTED | kind::NEW_TABLE;
        buffer.message(kind, flags, sequence, |header| {
            // SAFETY: the header lies in a buffer with room for the longest message.
            unsafe { sys::nftnl_table_nlmsg_build_payload(header.as_ptr(), self.0.as_ptr()) };
        });
    }
}

impl Drop for NativeTable {
    fn drop(&mut self) {
        // SAFETY: owned by us.
        unsafe { sys::nftnl_table_free(self.0.as_ptr()) };
    }
}
