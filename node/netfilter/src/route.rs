//! Links and addresses of a network namespace, read whole, and notifications that they may have changed.
//!
//! A read is the whole truth or an error: a dump that the kernel calls interrupted, that holds a message that does not
//! parse, or that does not end, shows nothing. Who asked goes on with what was read before.

use crate::{
    ReadError,
    socket::{Socket, Wait},
};
use libc::c_int;
use mnl::Bus;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

mod dump;
mod parse;

use dump::{Dump, Ended};
use parse::Found;
pub use parse::{Link, LinkMaster};

/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR`, `RTNLGRP_IPV6_IFADDR`.
const GROUPS: [c_int; 3] = [1, 5, 9];
/// `RTM_NEWLINK`, `RTM_GETLINK`, `RTM_NEWADDR`, `RTM_GETADDR`.
mod kind {
    pub(super) const NEW_LINK: u16 = 16;
    pub(super) const GET_LINK: u16 = 18;
    pub(super) const NEW_ADDRESS: u16 = 20;
    pub(super) const GET_ADDRESS: u16 = 22;
}
/// Dumps in a row that the kernel may interrupt: links come and go in bursts.
const ATTEMPTS: usize = 5;
/// Notifications that wait to be read; what does not fit is told as an overrun, which says as much.
const WAITING: c_int = 1024 * 1024;

/// Two sockets: one hears, the other asks, so that answers and notifications do not mix.
pub struct Links {
    heard: Socket,
    asked: Socket,
}

impl Links {
    /// Hears from now on, in the network namespace of this thread.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub fn open() -> io::Result<Self> {
        let heard = Socket::open_on(Bus::Route)?;
        heard.receive_buffer(WAITING)?;
        for group in GROUPS {
            heard.join(group)?;
        }
        let asked = Socket::open_on(Bus::Route)?;
        Ok(Self { heard, asked })
    }

    /// Takes all notifications that wait. Whether there was one. Never blocks.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn changed(&mut self) -> io::Result<bool> {
        let mut any = false;
        loop {
            match self.heard.receive(Wait::Never) {
                Ok(None) => return Ok(any),
                Ok(Some(_)) => any = true,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => any = true,
                Err(error) => return Err(error),
            }
        }
    }

    /// All links with their addresses, by index.
    ///
    /// # Errors
    /// When the kernel cannot be asked, or did not show all: nothing is known then.
    pub fn read(&mut self) -> Result<Vec<Link>, ReadError> {
        for _ in 0..ATTEMPTS {
            // What an earlier attempt left unread: the kernel begins no dump before the last one is at its end.
            self.asked.drain()?;
            match self.attempt() {
                Ok(links) => return Ok(links),
                Err(Ended::Interrupted) => {}
                Err(Ended::Failed(error)) => return Err(error),
            }
        }
        Err(ReadError::Changing)
    }

    fn attempt(&mut self) -> Result<Vec<Link>, Ended> {
        let mut found = Found::default();
        self.dump("links", kind::GET_LINK, kind::NEW_LINK, |payload| {
            found.link(payload)
        })?;
        self.dump(
            "addresses",
            kind::GET_ADDRESS,
            kind::NEW_ADDRESS,
            |payload| found.address(payload),
        )?;
        Ok(found.links())
    }

    fn dump(
        &mut self,
        what: &'static str,
        ask: u16,
        answer: u16,
        mut each: impl FnMut(&[u8]) -> Option<()>,
    ) -> Result<(), Ended> {
        let sequence = self.asked.sequences(1);
        self.asked.send(&request(ask, sequence))?;
        let dump = Dump {
            what,
            answer,
            sequence,
        };
        loop {
            if let Some(datagram) = self.asked.receive(Wait::Until)?
                && let Some(end) = dump.take(datagram, &mut each)
            {
                return end;
            }
        }
    }
}

/// Readable when there may be a notification.
impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}

/// A request for all of a kind and of every family. Counters of links are left out: they are most of the bytes.
fn request(kind: u16, sequence: u32) -> Vec<u8> {
    /// `NLM_F_REQUEST | NLM_F_DUMP`.
    const FLAGS: u16 = 0x301;
    const EXT_MASK: u16 = 29;
    const SKIP_STATS: u32 = 8;
    // `ifinfomsg`; a request for addresses has the shorter `ifaddrmsg`, and the kernel takes this one as well.
    const BODY: usize = 16;
    let mut bytes = Vec::with_capacity(40);
    let length: u32 = if kind == self::kind::GET_LINK { 40 } else { 32 };
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(FLAGS.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.resize(bytes.len() + BODY, 0);
    if kind == self::kind::GET_LINK {
        bytes.extend(8_u16.to_ne_bytes());
        bytes.extend(EXT_MASK.to_ne_bytes());
        bytes.extend(SKIP_STATS.to_ne_bytes());
    }
    bytes
}
