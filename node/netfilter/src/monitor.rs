//! Notifications of nf_tables: who changed what, by transaction.

use crate::{
    kernel::{attribute as a, kind},
    message::{Message, Messages, be32, text},
    read::{generation_of, table_of},
    socket::{Socket, Wait},
};
use libc::c_int;
use palisade_ruleset::ir::{TableName, names};
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

/// Something happened to nf_tables. Elements that came or went in volatile sets of ours are not told.
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
    /// That transaction has elements of volatile sets of ours.
    volatile: bool,
    /// And other things.
    others: bool,
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
                    self.heard.tables.clear();
                    return Ok(Some(Event::Overrun));
                }
                Err(error) => return Err(error),
            }
        }
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
            if message.port == self.ours {
                continue;
            }
            if told != kind::NEW_GENERATION {
                if is_volatile(&message, told) {
                    self.volatile = true;
                } else {
                    self.tables.extend(table_of(&message));
                    self.others = true;
                }
                continue;
            }
            let (volatile, others) = (
                std::mem::take(&mut self.volatile),
                std::mem::take(&mut self.others),
            );
            if volatile && !others {
                continue;
            }
            let Some(generation) = generation_of(&message) else {
                continue;
            };
            let attributes = message.attributes();
            self.events.push_back(Event::Changed {
                generation,
                pid: attributes.get(a::GENERATION_PID).and_then(be32),
                command: attributes
                    .get(a::GENERATION_COMMAND)
                    .and_then(text)
                    .map(str::to_owned),
                tables: std::mem::take(&mut self.tables),
            });
        }
    }
}

/// Heartbeats and remembered answers come and go beside all plans.
fn is_volatile(message: &Message<'_>, told: u16) -> bool {
    matches!(told, kind::NEW_ELEMENT | kind::DELETE_ELEMENT)
        && table_of(message) == Some(TableName::Main)
        && message
            .attributes()
            .get(a::LIST_SET)
            .and_then(text)
            .is_some_and(names::is_volatile)
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
