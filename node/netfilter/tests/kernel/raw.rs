//! Another program that changes nf_tables, as fast as the kernel takes it: messages written by hand.

use std::{ffi::CStr, os::fd::AsRawFd};

const NEWTABLE: u16 = 0;
const NEWCHAIN: u16 = 3;
const DELCHAIN: u16 = 5;
const CREATE: u16 = 0x400;

/// Kind, flags, attributes.
type Written<'a> = (u16, u16, &'a [(u16, &'a [u8])]);

/// Its socket.
pub(crate) struct Neighbour {
    socket: std::os::fd::OwnedFd,
}

impl Neighbour {
    pub(crate) fn open() -> Self {
        use std::os::fd::FromRawFd;
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: takes no pointers; the descriptor is fresh, and ours.
        let socket = unsafe {
            let socket = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_NETFILTER);
            assert!(socket >= 0, "a socket");
            std::os::fd::OwnedFd::from_raw_fd(socket)
        };
        Self { socket }
    }

    pub(crate) fn add_chain(&mut self, table: &CStr, chain: &CStr) {
        let names: [(u16, &[u8]); 2] = [
            (1, table.to_bytes_with_nul()),
            (3, chain.to_bytes_with_nul()),
        ];
        assert_eq!(self.transact(&[(NEWCHAIN, CREATE, &names)]), Ok(()));
    }

    pub(crate) fn delete_chain(&mut self, table: &CStr, chain: &CStr) {
        let names: [(u16, &[u8]); 2] = [
            (1, table.to_bytes_with_nul()),
            (3, chain.to_bytes_with_nul()),
        ];
        assert_eq!(self.transact(&[(DELCHAIN, 0, &names)]), Ok(()));
    }

    /// Makes or takes a table, with these flags.
    pub(crate) fn table(&mut self, table: &CStr, flags: u32) -> Result<(), i32> {
        let flags = flags.to_be_bytes();
        let attributes: [(u16, &[u8]); 2] = [(1, table.to_bytes_with_nul()), (2, &flags)];
        self.transact(&[(NEWTABLE, CREATE, &attributes)])
    }

    /// One batch of messages; the first error.
    fn transact(&mut self, messages: &[Written<'_>]) -> Result<(), i32> {
        let mut bytes = Vec::new();
        // NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END name the subsystem in the resource id.
        message(&mut bytes, 0x10, 1, 0, [0, 0, 0, 10], &[]);
        for (kind, flags, attributes) in messages {
            message(
                &mut bytes,
                10 << 8 | kind,
                1 | flags,
                1,
                [1, 0, 0, 0],
                attributes,
            );
        }
        // It is acknowledged: whatever else comes before that is a refusal.
        message(&mut bytes, 0x11, 1 | 4, 2, [0, 0, 0, 10], &[]);
        let socket = self.socket.as_raw_fd();
        // SAFETY: the buffer is valid for its length.
        let sent = unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), 0) };
        assert_eq!(usize::try_from(sent), Ok(bytes.len()), "sent");
        let mut answer = [0_u8; 4096];
        loop {
            // SAFETY: the buffer is valid for its length.
            let length = unsafe { libc::recv(socket, answer.as_mut_ptr().cast(), answer.len(), 0) };
            assert!(length >= 20, "an answer");
            let kind = u16::from_ne_bytes([answer[4], answer[5]]);
            let errno = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
            match (kind, errno) {
                (2, 0) => return Ok(()),
                (2, errno) => return Err(-errno),
                _ => {}
            }
        }
    }
}

fn message(
    bytes: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    generic: [u8; 4],
    attributes: &[(u16, &[u8])],
) {
    let start = bytes.len();
    bytes.extend([0; 4]);
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(generic);
    for (kind, value) in attributes {
        let length = u16::try_from(value.len() + 4).expect("short");
        bytes.extend(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(bytes.len() - start).expect("short");
    bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}
