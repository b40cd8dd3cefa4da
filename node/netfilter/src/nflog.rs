//! Packets that rules log to a group (`nfnetlink_log`): what auditors are told.
//!
//! Wait for a [`Log`] with its descriptor ([`AsFd`]), then [`Log::receive`] until it gives 0. The kernel keeps up to 64
//! packets back to send them together, for a tenth of a second at most. Every packet that a rule logs has a number, whether
//! it gets here or not, so that delivered and lost are together what the rules logged; the last loss shows with the next
//! packet that comes.

use crate::{
    holder::holder,
    message::{Message, Messages, be32, be64, text},
    nfnetlink::{ACK, Outgoing, be16, configure},
    socket::{Socket, Wait},
};
use palisade_policy::{ids::RuleId, rule::Family};
use palisade_ruleset::plugins::LogAction;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

/// `NFNL_SUBSYS_ULOG`, in front of a kind.
const SUBSYSTEM: u16 = 4 << 8;
const PACKET: u16 = SUBSYSTEM;
const CONFIG: u16 = SUBSYSTEM | 1;

/// `NFULA_*`.
mod attribute {
    pub(super) const HEADER: usize = 1;
    pub(super) const MARK: usize = 2;
    pub(super) const TIME: usize = 3;
    pub(super) const INPUT: usize = 4;
    pub(super) const OUTPUT: usize = 5;
    pub(super) const PAYLOAD: usize = 9;
    pub(super) const PREFIX: usize = 10;
    pub(super) const SEQUENCE: usize = 12;
}

/// `NFULA_CFG_*`.
mod config {
    pub(super) const COMMAND: u16 = 1;
    pub(super) const MODE: u16 = 2;
    pub(super) const BUFFER: u16 = 3;
    pub(super) const TIMEOUT: u16 = 4;
    pub(super) const THRESHOLD: u16 = 5;
    pub(super) const FLAGS: u16 = 6;
    pub(super) const BIND: u8 = 1;
    pub(super) const COPY_PACKET: u8 = 2;
    pub(super) const NUMBERED: u16 = 1;
}

/// Bytes of a packet that are copied at most; rules ask for less.
const COPY: u32 = 96;
/// Packets that are sent together, bytes of such a datagram, hundredths of a second until it goes whatever it has.
const TOGETHER: u32 = 64;
const DATAGRAM: u32 = 60 * 1024;
const PATIENCE: u32 = 10;
/// Bytes of the socket's receive buffer: room for a hundred thousand packets.
const BUFFER: i32 = 16 * 1024 * 1024;

/// A group of the network namespace of the thread that opened it.
pub struct Log {
    socket: Socket,
    early: Vec<Vec<u8>>,
    count: Count,
}

/// What came and what did not; pure.
#[derive(Default, Debug)]
struct Count {
    next: u32,
    delivered: u64,
    lost: u64,
    malformed: u64,
}

/// Packets that rules logged, since the group was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    /// Handed over.
    pub delivered: u64,
    /// Numbered by the kernel, and not here: the socket had no room.
    pub lost: u64,
    /// Messages without a number, a family, or of no sense: neither delivered nor known to be lost.
    pub malformed: u64,
}

/// A packet that a rule logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Logged<'a> {
    /// The rule that did, and what it did with the packet, from the prefix; absent: not a rule of ours.
    pub told: Option<(LogAction, RuleId)>,
    /// Of the network header.
    pub family: Family,
    /// Number of the hook: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.
    pub hook: u8,
    /// Index of the interface it came in by.
    pub input: Option<u32>,
    /// Index of the interface it leaves by.
    pub output: Option<u32>,
    /// Its mark.
    pub mark: u32,
    /// When it came in, where the kernel noted it: seconds and microseconds since 1970.
    pub time: Option<(u64, u64)>,
    /// From the network header on, at most 96 bytes.
    pub payload: &'a [u8],
    /// The kernel's number.
    pub sequence: u32,
}

// === impl Log ===

impl Log {
    /// Binds a group.
    ///
    /// # Errors
    /// When the socket cannot be made, or the kernel refuses: `EPERM`, which it says where somebody else has the group,
    /// too ([`Self::holder`]).
    pub fn open(group: u16) -> io::Result<Self> {
        Self::with_buffer(group, BUFFER)
    }

    /// The netlink port of whoever has a group, in the namespace of the calling thread; absent: nobody.
    ///
    /// # Errors
    /// When the kernel's table cannot be read.
    pub fn holder(group: u16) -> io::Result<Option<u32>> {
        holder("nfnetlink_log", group)
    }

    /// The same, with a receive buffer of so many bytes: what finds no room there is lost.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_buffer(group: u16, bytes: i32) -> io::Result<Self> {
        let mut socket = Socket::open()?;
        socket.receive_buffer(bytes)?;
        let mut outgoing = Outgoing::default();
        let first = socket.sequences(2);
        outgoing.begin(CONFIG, ACK, first, group);
        outgoing.attribute(config::COMMAND, &[config::BIND]);
        outgoing.begin(CONFIG, ACK, first.wrapping_add(1), group);
        let [a, b, c, d] = COPY.to_be_bytes();
        outgoing.attribute(config::MODE, &[a, b, c, d, config::COPY_PACKET, 0]);
        outgoing.attribute(config::BUFFER, &DATAGRAM.to_be_bytes());
        outgoing.attribute(config::TIMEOUT, &PATIENCE.to_be_bytes());
        outgoing.attribute(config::THRESHOLD, &TOGETHER.to_be_bytes());
        outgoing.attribute(config::FLAGS, &config::NUMBERED.to_be_bytes());
        let early = configure(&mut socket, &outgoing, first, 2)?;
        Ok(Self {
            socket,
            early,
            count: Count::default(),
        })
    }

    /// Hands over what one datagram has; how many packets there were. 0: nothing so far, wait until the descriptor is
    /// readable. Never blocks.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn receive(&mut self, mut each: impl FnMut(Logged<'_>)) -> io::Result<usize> {
        if !self.early.is_empty() {
            let datagram = self.early.remove(0);
            return Ok(self.count.take(&datagram, &mut each));
        }
        loop {
            match self.socket.receive(Wait::Never) {
                Ok(None) => return Ok(0),
                Ok(Some(datagram)) => match self.count.take(datagram, &mut each) {
                    0 => {}
                    count => return Ok(count),
                },
                // What was lost shows in the numbers.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What came and what did not.
    pub const fn counted(&self) -> Counted {
        Counted {
            delivered: self.count.delivered,
            lost: self.count.lost,
            malformed: self.count.malformed,
        }
    }
}

/// Readable when there may be a packet.
impl AsFd for Log {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

// === impl Count ===

impl Count {
    /// How many packets there were.
    fn take(&mut self, datagram: &[u8], each: &mut impl FnMut(Logged<'_>)) -> usize {
        let mut count = 0;
        for message in Messages(datagram).filter(|message| message.kind == PACKET) {
            let Some(logged) = logged(&message) else {
                self.malformed += 1;
                continue;
            };
            let gap = logged.sequence.wrapping_sub(self.next);
            if gap < u32::MAX / 2 {
                self.lost += u64::from(gap);
                self.next = logged.sequence.wrapping_add(1);
            }
            self.delivered += 1;
            count += 1;
            each(logged);
        }
        count
    }
}

/// A packet; absent when the message makes no sense.
fn logged<'a>(message: &Message<'a>) -> Option<Logged<'a>> {
    use attribute as a;
    let attributes = message.attributes().table::<13>();
    let number = |at: usize| attributes.get(at).copied().flatten().and_then(be32);
    let header: &[u8; 3] = attributes[a::HEADER]?.first_chunk()?;
    Some(Logged {
        told: attributes[a::PREFIX]
            .and_then(text)
            .and_then(LogAction::read),
        family: match be16(header.get(..2)?)? {
            // EtherTypes.
            0x0800 => Family::V4,
            0x86dd => Family::V6,
            _ => return None,
        },
        hook: *header.get(2)?,
        input: number(a::INPUT),
        output: number(a::OUTPUT),
        mark: number(a::MARK).unwrap_or(0),
        time: attributes[a::TIME].and_then(|time| {
            let (seconds, micros) = time.split_at_checked(8)?;
            Some((be64(seconds)?, be64(micros)?))
        }),
        payload: attributes[a::PAYLOAD].unwrap_or_default(),
        sequence: number(a::SEQUENCE)?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Count, PACKET, logged};
    use crate::message::{HEADER, Messages};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut message = vec![0; HEADER];
            let length = u32::try_from(HEADER + bytes.len()).expect("small");
            message[..4].copy_from_slice(&length.to_ne_bytes());
            message[4..6].copy_from_slice(&PACKET.to_ne_bytes());
            message.extend(&bytes);
            for message in Messages(&message) {
                let _ = logged(&message);
            }
            Count::default().take(&message, &mut |_| {});
        }
    }
}
