//! Packets that rules queue to us, and what becomes of them (`nfnetlink_queue`).
//!
//! ```text
//! rule: queue num N ─▶ Queue::receive ─▶ facts, plugins ─▶ Queue::verdicts(Repeat { mark }) ─▶ the base chain anew
//! ```
//!
//! One [`Queue`] per number; wait for it with its descriptor ([`AsFd`]), then [`Queue::receive`] until it gives 0. A packet
//! waits in the kernel until it has a verdict; the verdict runs the rest of the ruleset within [`Queue::verdicts`], so that
//! a lock held around questions and verdict orders them against a commit. [`Verdict::Repeat`] carries the whole mark: take
//! [`Queued::mark`], change only bits that are ours.
//!
//! A queue without reader, and a queue that is full, drop: rules must ask whether there is a reader before they queue
//! (the heartbeat, [`crate::Volatile::beat`]). Both kinds of loss are counted: [`Queue::losses`].
//!
//! Refuses to own: what is in a payload, which bits mean what, threads.

use crate::{
    commit::control,
    holder::holder,
    message::{Message, Messages, be32},
    nfnetlink::{ACK, Outgoing, be16, configure},
    socket::{Socket, Wait},
};
use palisade_policy::rule::Family;
use std::{
    collections::{BTreeSet, VecDeque},
    io,
    os::fd::{AsFd, BorrowedFd},
};

mod verdict;

pub use verdict::Verdict;

/// `NFNL_SUBSYS_QUEUE`, in front of a kind.
const SUBSYSTEM: u16 = 3 << 8;
/// `NFQNL_MSG_*`.
const PACKET: u16 = SUBSYSTEM;
const CONFIG: u16 = SUBSYSTEM | 2;

/// `NFQA_*`.
mod attribute {
    pub(super) const HEADER: usize = 1;
    pub(super) const MARK: usize = 3;
    pub(super) const INPUT: usize = 5;
    pub(super) const OUTPUT: usize = 6;
    pub(super) const PAYLOAD: usize = 10;
    pub(super) const WHOLE_LENGTH: usize = 13;
}

/// `NFQA_CFG_*`.
mod config {
    pub(super) const COMMAND: u16 = 1;
    pub(super) const PARAMETERS: u16 = 2;
    pub(super) const LENGTH: u16 = 3;
    pub(super) const MASK: u16 = 4;
    pub(super) const FLAGS: u16 = 5;
    pub(super) const BIND: u8 = 1;
    pub(super) const COPY_PACKET: u8 = 2;
    /// Large packets come whole, not cut and summed for our sake.
    pub(super) const GSO: u32 = 4;
}

/// How a queue is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueConfig {
    /// Bytes of a packet that are copied, from the network header on.
    pub copy: u16,
    /// Packets that may wait for a verdict; what comes beyond is dropped, and counted.
    pub length: u32,
    /// Bytes of the socket's receive buffer.
    pub buffer: i32,
}

impl Default for QueueConfig {
    /// 256 bytes, 1024 packets, 4 MiB.
    fn default() -> Self {
        Self {
            copy: 256,
            length: 1024,
            buffer: 4 * 1024 * 1024,
        }
    }
}

/// A queue of the network namespace of the thread that opened it. Dropped: the kernel drops what waits, and what comes.
pub struct Queue {
    socket: Socket,
    number: u16,
    outgoing: Outgoing,
    book: Book,
}

/// What came and went; pure.
#[derive(Default, Debug)]
struct Book {
    /// Datagrams that came while the queue was set up, oldest first.
    early: VecDeque<Vec<u8>>,
    /// Without a verdict.
    waiting: BTreeSet<u32>,
    /// The last packet's number.
    last: Option<u32>,
    losses: Losses,
}

/// Packets that had no say, since the queue was opened. No packet is in two of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Losses {
    /// The queue was full: dropped by the kernel, as of the last [`Queue::look`].
    pub full: u64,
    /// They waited when the queue was closed.
    pub closed: u64,
    /// The socket had no room: dropped by the kernel. Known by gaps in the packets' numbers, so the last gap shows only
    /// with the next packet.
    pub socket: u64,
    /// Verdicts that the kernel refused: the packet was gone.
    pub refused: u64,
    /// Messages that made no sense. Their packets wait until the queue is closed.
    pub malformed: u64,
}

impl Losses {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.full + self.closed + self.socket + self.refused + self.malformed
    }
}

/// A packet that waits for a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queued<'a> {
    /// Names it within the queue.
    pub id: u32,
    /// Of the network header.
    pub family: Family,
    /// Number of the hook: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.
    pub hook: u8,
    /// Index of the interface it came in by.
    pub input: Option<u32>,
    /// Index of the interface it leaves by.
    pub output: Option<u32>,
    /// Its mark, all bits of it.
    pub mark: u32,
    /// From the network header on, as much as was asked for.
    pub payload: &'a [u8],
    /// Length of the whole packet in bytes.
    pub length: usize,
}

// === impl Queue ===

impl Queue {
    /// Binds a queue.
    ///
    /// # Errors
    /// When the socket cannot be made, or the kernel refuses: `EPERM`, which it says where somebody else has the number,
    /// too ([`Self::holder`]).
    pub fn open(number: u16, config: &QueueConfig) -> io::Result<Self> {
        let mut socket = Socket::open()?;
        socket.receive_buffer(config.buffer)?;
        let mut outgoing = Outgoing::default();
        let first = socket.sequences(4);
        let [a, b, c, d] = u32::from(config.copy).to_be_bytes();
        let flags = config::GSO.to_be_bytes();
        let settings: [&[(u16, &[u8])]; 4] = [
            &[(config::COMMAND, &[config::BIND, 0, 0, 0])],
            &[(config::PARAMETERS, &[a, b, c, d, config::COPY_PACKET])],
            &[(config::LENGTH, &config.length.to_be_bytes())],
            &[(config::FLAGS, &flags), (config::MASK, &flags)],
        ];
        for (sequence, attributes) in (first..).zip(settings) {
            outgoing.begin(CONFIG, ACK, sequence, number);
            for (kind, value) in attributes {
                outgoing.attribute(*kind, value);
            }
        }
        let early = configure(&mut socket, &outgoing, first, 4)?;
        Ok(Self {
            socket,
            number,
            outgoing,
            book: Book {
                early: early.into(),
                ..Book::default()
            },
        })
    }

    /// The netlink port of whoever has a number, in the namespace of the calling thread; absent: nobody.
    ///
    /// # Errors
    /// When the kernel's table cannot be read.
    pub fn holder(number: u16) -> io::Result<Option<u32>> {
        holder("nfnetlink_queue", number)
    }

    /// Its number.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Hands over what one datagram has, most often one packet; how many there were. 0: nothing so far, wait until the
    /// descriptor is readable. Never blocks.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn receive(&mut self, mut each: impl FnMut(Queued<'_>)) -> io::Result<usize> {
        if let Some(count) = self.book.take_early(&mut each) {
            return Ok(count);
        }
        loop {
            match self.socket.receive(Wait::Never) {
                Ok(None) => return Ok(0),
                Ok(Some(datagram)) => match self.book.take(datagram, &mut each) {
                    0 => {}
                    count => return Ok(count),
                },
                // What was lost shows in the numbers.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Decides packets, all in one datagram. Numbers that do not wait are passed over.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn verdicts(&mut self, verdicts: &[(u32, Verdict)]) -> io::Result<()> {
        self.outgoing.clear();
        let waiting = &mut self.book.waiting;
        verdict::write(&mut self.outgoing, self.number, waiting, verdicts);
        if self.outgoing.bytes().is_empty() {
            return Ok(());
        }
        self.socket.send(self.outgoing.bytes())
    }

    /// Decides one packet.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn verdict(&mut self, id: u32, verdict: Verdict) -> io::Result<()> {
        self.verdicts(&[(id, verdict)])
    }

    /// Packets received and not decided.
    pub fn waiting(&self) -> usize {
        self.book.waiting.len()
    }

    /// What was lost on the way to us.
    pub const fn losses(&self) -> Losses {
        self.book.losses
    }

    /// Looks at what found the queue full, which the kernel alone counts. To be called now and then, in the namespace of
    /// the thread that opened the queue.
    ///
    /// # Errors
    /// When the kernel's table cannot be read, or lacks the queue.
    pub fn look(&mut self) -> io::Result<()> {
        self.book.losses.full = self.listed()?.full;
        Ok(())
    }

    /// Closes the queue: the kernel drops what waits. All that was lost in it.
    pub fn close(mut self) -> Losses {
        // What cannot be looked at is not known to be lost.
        if let Ok(listed) = self.listed() {
            self.book.losses.full = listed.full;
            self.book.losses.closed = listed.waiting;
        }
        self.book.losses
    }

    fn listed(&self) -> io::Result<Listed> {
        let table = std::fs::read_to_string("/proc/thread-self/net/netfilter/nfnetlink_queue")?;
        listed(&table, self.number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Readable when there may be a packet.
impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What the kernel's table says of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Listed {
    /// Packets without a verdict, received or not.
    waiting: u64,
    /// Packets that found it full.
    full: u64,
}

/// Number, port, waiting, copy mode, copy range, dropped by a full queue, dropped by a full socket, last packet, 1.
fn listed(table: &str, number: u16) -> Option<Listed> {
    table.lines().find_map(|line| {
        let fields: Vec<u64> = line
            .split_whitespace()
            .map_while(|field| field.parse().ok())
            .collect();
        (*fields.first()? == u64::from(number)).then_some(())?;
        Some(Listed {
            waiting: *fields.get(2)?,
            full: *fields.get(5)?,
        })
    })
}

// === impl Book ===

impl Book {
    /// The oldest datagram that came while the queue was set up; absent: there is none left.
    fn take_early(&mut self, each: &mut impl FnMut(Queued<'_>)) -> Option<usize> {
        let datagram = self.early.pop_front()?;
        Some(self.take(&datagram, each))
    }

    /// How many packets there were.
    fn take(&mut self, datagram: &[u8], each: &mut impl FnMut(Queued<'_>)) -> usize {
        let mut count = 0;
        for message in Messages(datagram) {
            match message.kind {
                PACKET => match packet(&message) {
                    Some(packet) => {
                        self.note(packet.id);
                        each(packet);
                        count += 1;
                    }
                    None => self.losses.malformed += 1,
                },
                control::ERROR if message.errno() != Some(0) => self.losses.refused += 1,
                _ => {}
            }
        }
        count
    }

    /// Numbers grow by one; those that are left out were lost.
    fn note(&mut self, id: u32) {
        let gap = id.wrapping_sub(self.last.unwrap_or(0)).wrapping_sub(1);
        // A number from before is no gap: datagrams that were kept aside.
        if gap < u32::MAX / 2 {
            self.losses.socket += u64::from(gap);
            self.last = Some(id);
        }
        self.waiting.insert(id);
    }
}

/// A packet; absent when the message makes no sense.
fn packet<'a>(message: &Message<'a>) -> Option<Queued<'a>> {
    use attribute as a;
    let attributes = message.attributes().table::<14>();
    let header: &[u8; 7] = attributes[a::HEADER]?.first_chunk()?;
    let number = |at: usize| attributes.get(at).copied().flatten().and_then(be32);
    let payload = attributes[a::PAYLOAD].unwrap_or_default();
    Some(Queued {
        id: be32(header.get(..4)?)?,
        family: match be16(header.get(4..6)?)? {
            // EtherTypes.
            0x0800 => Family::V4,
            0x86dd => Family::V6,
            _ => return None,
        },
        hook: *header.get(6)?,
        input: number(a::INPUT),
        output: number(a::OUTPUT),
        mark: number(a::MARK).unwrap_or(0),
        payload,
        length: number(a::WHOLE_LENGTH)
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(payload.len()),
    })
}

#[cfg(test)]
mod tests;
