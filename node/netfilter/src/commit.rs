//! A plan to the kernel: one batch, one datagram, and the errors mapped back to the operations.

use crate::{
    encode::{Forms, Origin, element_at, encode},
    error::{CommitError, Failure, ReadError, Unfit},
    kernel::OWNED_AND_PERSISTENT,
    message::Message,
    monitor::Monitor,
    native::{Buffer, QueueForm},
    socket::Socket,
    writer::Writer,
};
use palisade_ruleset::{
    ir::Expression,
    plan::{Op, Plan},
};
use std::{
    io,
    time::{Duration, Instant},
};

/// Our tables in the nf_tables of one network namespace: that of the thread that opened it.
pub struct Netfilter {
    pub(crate) writer: Writer,
    /// For everything that changes nothing.
    pub(crate) socket: Socket,
    pub(crate) buffer: Buffer,
    pub(crate) monitor: Option<Monitor>,
    /// Tables are made with an owner, and those that are there are owned: see [`Self::own`].
    pub(crate) owned: bool,
    /// Tables are never owned.
    pub(crate) sharing: bool,
    /// Absent: not asked yet, this kernel has none, or it refused a plan that queues since.
    pub(crate) queue: Option<QueueForm>,
}

/// A plan that the kernel took. Not yet a plan that was read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Committed {
    /// Bytes of the batch.
    pub bytes: usize,
    /// Writing the messages.
    pub encoding: Duration,
    /// The kernel's part, which is over when the batch is sent.
    pub commit: Duration,
}

/// Netlink's own kinds of messages.
pub(crate) mod control {
    pub(crate) const ERROR: u16 = 2;
    pub(crate) const DONE: u16 = 3;
}

impl Netfilter {
    /// Sockets of our own: one that writes, one that reads. Needs `CAP_NET_ADMIN` for everything that it will be asked.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub fn open() -> io::Result<Self> {
        Self::open_with(Writer::open()?)
    }

    /// The same with a socket that writes, of this network namespace.
    ///
    /// # Errors
    /// When the socket that reads cannot be made.
    pub fn open_with(writer: Writer) -> io::Result<Self> {
        Ok(Self {
            writer,
            socket: Socket::open()?,
            buffer: Buffer::default(),
            monitor: None,
            owned: false,
            sharing: false,
            queue: None,
        })
    }

    /// Port of the socket that writes; changes that carry it are our own.
    pub fn port(&self) -> u32 {
        self.writer.port()
    }

    /// The socket that writes, for whoever writes beside plans.
    pub fn writer(&self) -> Writer {
        self.writer.clone()
    }

    /// Commits a plan: all of it, or nothing. An empty plan is committed without the kernel.
    ///
    /// # Errors
    /// When the kernel refused, with every message it refused; when the plan has no encoding; when replies were lost.
    pub fn commit(&mut self, plan: &Plan) -> Result<Committed, CommitError> {
        if plan.is_empty() {
            return Ok(Committed::default());
        }
        let queue = self.queue_for(plan)?;
        let begun = Instant::now();
        let mut pen = self.writer.lock();
        let first = pen.socket.sequences(0);
        let flags = if self.owned { OWNED_AND_PERSISTENT } else { 0 };
        let forms = Forms { queue, flags };
        let origins = encode(plan, forms, &mut pen.buffer, first).map_err(|(op, reason)| {
            CommitError::Unfit {
                op,
                table: plan.ops[op].table(),
                reason,
            }
        })?;
        // The end of the batch is one past its last message.
        pen.socket.sequences(origins.len() + 2);
        let bytes = pen.buffer.bytes().len();
        let encoding = begun.elapsed();
        let begun = Instant::now();
        let mut failures = Vec::new();
        let sent = pen.send(|message, batch| {
            failures.push(failure(message, plan, &origins, batch, first));
        });
        let commit = begun.elapsed();
        drop(pen);
        match sent {
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                return Err(CommitError::Overrun);
            }
            sent => sent?,
        }
        if failures.is_empty() {
            return Ok(Committed {
                bytes,
                encoding,
                commit,
            });
        }
        failures.sort_by_key(|failure| (failure.op, failure.element));
        // It may have been for want of a module that was there.
        self.queue = None;
        Err(CommitError::Refused { failures })
    }

    /// How its rules queue packets; any, where none does.
    fn queue_for(&mut self, plan: &Plan) -> Result<QueueForm, CommitError> {
        let queues = |op: &Op| match op {
            Op::AddRules { rules, .. } => rules.iter().any(|rule| {
                let mut expressions = rule.expressions.iter();
                expressions.any(|e| matches!(e, Expression::Queue(_)))
            }),
            _ => false,
        };
        let Some(op) = plan.ops.iter().position(queues) else {
            return Ok(QueueForm::Native);
        };
        let form = self.queue_form().map_err(|error| match error {
            ReadError::Socket(error) => CommitError::Socket(error),
            error => CommitError::Socket(io::Error::other(error)),
        })?;
        form.ok_or_else(|| CommitError::Unfit {
            op,
            table: plan.ops[op].table(),
            reason: Unfit::NoQueue,
        })
    }
}

/// Message `first + 1 + i` is `origins[i]`.
fn failure(
    message: &Message<'_>,
    plan: &Plan,
    origins: &[Origin],
    batch: &[u8],
    first: u32,
) -> Failure {
    let errno = message.errno().unwrap_or(libc::EPROTO);
    let at = message.sequence.wrapping_sub(first).wrapping_sub(1);
    let origin = usize::try_from(at).ok().and_then(|at| origins.get(at));
    let Some((origin, op)) = origin.and_then(|o| Some((o, plan.ops.get(o.op)?))) else {
        return Failure {
            op: None,
            element: None,
            errno,
            message: "the transaction".to_owned(),
        };
    };
    let element = match op {
        Op::AddRules { .. } => origin.first,
        _ => origin.first.and_then(|first| {
            let message_bytes = batch.get(origin.start..)?;
            let length = usize::try_from(crate::message::word(message_bytes)?).ok()?;
            let at = element_at(message_bytes.get(..length)?, message.fault()?)?;
            Some(first + at)
        }),
    };
    Failure {
        op: Some(origin.op),
        element,
        errno,
        message: describe(op, element),
    }
}

/// What an operation is about, by name.
fn describe(op: &Op, element: Option<usize>) -> String {
    let table = op.table().as_str();
    let place = element.map_or_else(String::new, |at| format!(" #{at}"));
    match op {
        Op::AddTable(_) => format!("adding table `{table}`"),
        Op::DeleteTable(_) => format!("deleting table `{table}`"),
        Op::AddChain { chain, .. } => format!("adding chain `{chain}` of table `{table}`"),
        Op::DeleteChain { chain, .. } => format!("deleting chain `{chain}` of table `{table}`"),
        Op::FlushChain { chain, .. } => format!("emptying chain `{chain}` of table `{table}`"),
        Op::AddRules { chain, .. } => {
            format!("rule{place} of chain `{chain}` of table `{table}`")
        }
        Op::AddSet { name, .. } => match element {
            Some(_) => format!("element{place} of new set `{name}` of table `{table}`"),
            None => format!("adding set `{name}` of table `{table}`"),
        },
        Op::AddMap { name, .. } => format!("adding map `{name}` of table `{table}`"),
        Op::DeleteSet { name, .. } => format!("deleting set `{name}` of table `{table}`"),
        Op::DeleteMap { name, .. } => format!("deleting map `{name}` of table `{table}`"),
        Op::AddElements { set, .. } => format!("element{place} of set `{set}` of table `{table}`"),
        Op::DeleteElements { set, .. } => {
            format!("deleting element{place} of set `{set}` of table `{table}`")
        }
        Op::AddVerdicts { map, .. } => {
            format!("element{place} of map `{map}` of table `{table}`")
        }
    }
}

/// A kernel and its monitor may be handed from thread to thread.
const _: () = {
    const fn sendable<T: Send + Sync>() {}
    sendable::<Netfilter>();
    sendable::<Monitor>();
};
