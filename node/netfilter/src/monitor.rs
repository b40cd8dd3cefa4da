//! Notifications of nf_tables: who changed what, by transaction.

use crate::{
    kernel::{attribute as a, kind},
    message::{Messages, be32, text},
    read::{generation_of, table_of},
    socket::{Socket, Wait},
};
use libc::c_int;
use palisade_ruleset::ir::TableName;
use std::{
    collections::{BTreeSet, VecDeque},
    io,
    os::fd::{AsFd, BorrowedFd},
};

/// `NFNLGRP_NFTABLES`.
const GROUP: c_int = 7;
/// Asked of the kernel; the notifications of a foreign load of many elements come at once.
const BUFFER: c_int = 32 * 1024 * 1024;

/// A socket that hears of every transaction of other processes in the network namespace of the thread that opened it.
///
/// While anyone listens, transactions of many elements cost two to three times as much.
pub struct Monitor {
    socket: Socket,
    heard: Heard,
}

/// Something happened to nf_tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Another process committed a transaction.
    Changed {
        /// nf_tables' generation after it.
        generation: u32,
        /// The process.
        pid: Option<u32>,
        /// Its name, as the kernel has it: at most 15 bytes.
        command: Option<String>,
        /// Those of our tables that it touched; empty: it was about others' tables.
        tables: BTreeSet<TableName>,
    },
    /// Notifications were lost: everything must be read.
    Overrun,
}

/// What the datagrams said; pure.
#[derive(Default, Debug)]
struct Heard {
    ours: u32,
    /// Touched by the transaction that is being told.
    tables: BTreeSet<TableName>,
    events: VecDeque<Event>,
    /// The last generation that was told, of anybody.
    latest: Option<u32>,
    /// The last one in which somebody else touched our tables.
    touched: Option<u32>,
    /// How often notifications were lost.
    overruns: u64,
}

impl Monitor {
    /// Listens from now on. `ours` is the port of the [`crate::Netfilter`] whose transactions are not told.
    ///
    /// # Errors
    /// When the socket cannot be made, or may not listen.
    pub fn open(ours: u32) -> io::Result<Self> {
        let socket = Socket::open()?;
        socket.receive_buffer(BUFFER)?;
        socket.join(GROUP)?;
        let heard = Heard {
            ours,
            ..Heard::default()
        };
        Ok(Self { socket, heard })
    }

    /// The next event; absent: none so far, wait until the descriptor is readable. Never blocks.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = self.heard.events.pop_front() {
                return Ok(Some(event));
            }
            match self.socket.receive(Wait::Never) {
                Ok(Some(datagram)) => self.heard.listen(datagram),
                Ok(None) => return Ok(None),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.heard.overrun();
                    return Ok(Some(Event::Overrun));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How often notifications were lost so far.
    pub(crate) fn overruns(&self) -> u64 {
        self.heard.overruns
    }

    /// Whether nobody else touched our tables after generation `after`, up to and with `upto`, which the kernel has reached.
    /// `overruns` is what [`Self::overruns`] said before. What is heard meanwhile stays to be told. False where it is not known.
    pub(crate) fn left_alone(&mut self, after: u32, upto: u32, overruns: u64) -> bool {
        while !self.heard.has_reached(upto) {
            // A generation is counted a moment before it is told.
            match self.socket.receive(Wait::Until) {
                Ok(Some(datagram)) => self.heard.listen(datagram),
                Ok(None) => {}
                Err(error) => {
                    if error.raw_os_error() == Some(libc::ENOBUFS) {
                        self.heard.overrun();
                        self.heard.events.push_back(Event::Overrun);
                    }
                    return false;
                }
            }
        }
        let behind = |generation: u32| {
            generation.wrapping_sub(after).wrapping_sub(1) < upto.wrapping_sub(after)
        };
        self.heard.overruns == overruns && !self.heard.touched.is_some_and(behind)
    }
}

/// Readable when there may be an event.
impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Heard {
    /// A transaction is told in messages about objects, and ends with one about the generation.
    fn listen(&mut self, datagram: &[u8]) {
        for message in Messages(datagram) {
            let Some(told) = message.nf_tables() else {
                continue;
            };
            let own = message.port == self.ours;
            if told != kind::NEW_GENERATION {
                if !own {
                    self.tables.extend(table_of(&message));
                }
                continue;
            }
            let tables = std::mem::take(&mut self.tables);
            let Some(generation) = generation_of(&message) else {
                continue;
            };
            self.latest = Some(generation);
            if own {
                continue;
            }
            if !tables.is_empty() {
                self.touched = Some(generation);
            }
            let attributes = message.attributes();
            self.events.push_back(Event::Changed {
                generation,
                pid: attributes.get(a::GENERATION_PID).and_then(be32),
                command: attributes
                    .get(a::GENERATION_COMMAND)
                    .and_then(text)
                    .map(str::to_owned),
                tables,
            });
        }
    }

    fn overrun(&mut self) {
        self.tables.clear();
        self.overruns += 1;
    }

    /// Whether everything up to that generation was told. Generations wrap.
    fn has_reached(&self, generation: u32) -> bool {
        self.latest
            .is_some_and(|latest| latest.wrapping_sub(generation) < u32::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::Heard;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_notification_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            Heard::default().listen(&bytes);
        }
    }
}
