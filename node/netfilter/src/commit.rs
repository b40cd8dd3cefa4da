//! A plan to the kernel: one batch, one datagram, and the errors mapped back to the operations.

use crate::{
    encode::{Origin, element_at, encode},
    error::{CommitError, Failure, ReadError, Unfit},
    message::{Message, Messages},
    native::{Buffer, QueueForm},
    socket::{Socket, Wait},
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
    pub(crate) socket: Socket,
    pub(crate) buffer: Buffer,
    /// Absent: not asked yet, this kernel has none, or it refused a plan that queues since.
    pub(crate) queue: Option<QueueForm>,
}

/// A plan that the kernel took. Not yet a plan that was read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committed {
    /// nf_tables' generation after the transaction. It counts every process's transactions in the namespace.
    pub generation: u32,
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
    /// A socket of our own. Needs `CAP_NET_ADMIN` for everything that it will be asked.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: Socket::open()?,
            buffer: Buffer::default(),
            queue: None,
        })
    }

    /// Port of the socket; changes that carry it are our own.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// Commits a plan: all of it, or nothing. An empty plan is committed without the kernel.
    ///
    /// # Errors
    /// When the kernel refused, with every message it refused; when the plan has no encoding; when replies were lost.
    pub fn commit(&mut self, plan: &Plan) -> Result<Committed, CommitError> {
        let queue = self.queue_for(plan)?;
        let begun = Instant::now();
        let first = self.socket.sequences(0);
        let origins = if plan.is_empty() {
            Vec::new()
        } else {
            encode(plan, queue, &mut self.buffer, first).map_err(|(op, reason)| {
                CommitError::Unfit {
                    op,
                    table: plan.ops[op].table(),
                    reason,
                }
            })?
        };
        let encoding = begun.elapsed();
        // The end of the batch is one past its last message.
        self.socket.sequences(origins.len() + 2);
        self.socket.drain()?;
        let begun = Instant::now();
        if !plan.is_empty() {
            self.socket.send(self.buffer.bytes())?;
        }
        // nf_tables commits within the send, and its complaints are queued before that returns.
        let commit = begun.elapsed();
        self.complaints(plan, &origins, first)?;
        Ok(Committed {
            generation: self.generation()?,
            bytes: self.buffer.bytes().len(),
            encoding,
            commit,
        })
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

    fn complaints(
        &mut self,
        plan: &Plan,
        origins: &[Origin],
        first: u32,
    ) -> Result<(), CommitError> {
        let mut failures = Vec::new();
        loop {
            let datagram = match self.socket.receive(Wait::Never) {
                Ok(Some(datagram)) => datagram,
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Err(CommitError::Overrun);
                }
                Err(error) => return Err(error.into()),
            };
            for message in Messages(datagram) {
                if message.kind != control::ERROR || message.errno() == Some(0) {
                    continue;
                }
                failures.push(failure(&message, plan, origins, self.buffer.bytes(), first));
            }
        }
        if failures.is_empty() {
            Ok(())
        } else {
            failures.sort_by_key(|failure| (failure.op, failure.element));
            // It may have been for want of a module that was there.
            self.queue = None;
            Err(CommitError::Refused { failures })
        }
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
    sendable::<crate::Monitor>();
};
