//! Elements with a time-out, written beside all plans: the heartbeat of plugins, and answers that they remember.
//!
//! Sets of a volatile shape ([`Shape::is_volatile`]) belong to the ruleset, their elements to the running daemon: nobody
//! compares them, reads them back or repairs them. They go through the [`Writer`] of the plans, so [`crate::Monitor`] does
//! not tell of them, and a reading of everything knows that they are none of others' changes.

use crate::{
    encode::{flag, key, table_name},
    error::Unfit,
    kernel::{self, kind},
    native::{NativeElement, NativeSet},
    program::name,
    writer::Writer,
};
use palisade_policy::rule::{Family, Protocol};
use palisade_ruleset::ir::{SetName, Shape, TableName, Value, names};
use std::{io, net::IpAddr, time::Duration};

/// Writes elements with a time-out. Cheap to clone.
#[derive(Clone)]
pub struct Volatile(Writer);

/// An answer to be remembered for a flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// The set of the condition, the answer and the family.
    pub set: SetName,
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// One with ports.
    pub protocol: Protocol,
    /// Source port, where the set tells flows apart by it.
    pub source_port: Option<u16>,
    /// Destination port.
    pub port: u16,
    /// For how long, at least a millisecond.
    pub lifetime: Duration,
}

/// Elements were not written, none of them.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// A set is not there: no rule asks.
    #[error("the set is not there")]
    Absent,
    /// The kernel refused.
    #[error("the kernel refused an element: {}", io::Error::from_raw_os_error(*.errno))]
    Refused {
        /// Positive.
        errno: i32,
    },
    /// An element that no set of its kind can have.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The socket failed.
    #[error("netlink socket: {0}")]
    Socket(#[from] io::Error),
}

struct Put<'a> {
    set: &'a SetName,
    shape: Shape,
    value: Value,
    lifetime: Duration,
}

impl Volatile {
    /// Through that socket.
    pub fn new(writer: Writer) -> Self {
        Self(writer)
    }

    /// Says that plugins are answered for, from now on for so long, whatever was said before: rules queue.
    ///
    /// # Errors
    /// [`PutError::Absent`] while no class has conditions; else what the kernel says.
    pub fn beat(&mut self, lifetime: Duration) -> Result<(), PutError> {
        let set = SetName::new(names::PLUGIN_ALIVE);
        let put = |family| Put {
            set: &set,
            shape: Shape::Family,
            value: Value::Family(family),
            lifetime,
        };
        self.put(&[put(Family::V4), put(Family::V6)])
    }

    /// Remembers answers, all or none. One that is there already lives anew.
    ///
    /// # Errors
    /// [`PutError::Absent`] when a condition is no longer asked; else what the kernel says.
    pub fn remember(&mut self, answers: &[Remembered]) -> Result<(), PutError> {
        let put = |answer: &'_ Remembered| {
            let Remembered {
                source,
                destination,
                protocol,
                source_port,
                port,
                ..
            } = *answer;
            let (flow, socket) = if source.is_ipv4() {
                (Shape::Flow4, Shape::Socket4)
            } else {
                (Shape::Flow6, Shape::Socket6)
            };
            match source_port {
                None => (flow, Value::Flow(source, destination, protocol, port)),
                Some(from) => {
                    let value = Value::Socket(source, destination, protocol, from, port);
                    (socket, value)
                }
            }
        };
        let puts: Vec<Put<'_>> = answers
            .iter()
            .map(|answer| {
                let (shape, value) = put(answer);
                Put {
                    set: &answer.set,
                    shape,
                    value,
                    lifetime: answer.lifetime,
                }
            })
            .collect();
        self.put(&puts)
    }

    /// Adds, deletes, and adds again: kernels before 6.12 do not give what is there a new time-out, and deleting needs
    /// something that is there. Within one transaction, so that no packet misses it.
    fn put(&mut self, puts: &[Put<'_>]) -> Result<(), PutError> {
        if puts.is_empty() {
            return Ok(());
        }
        let messages = 3 * puts.len();
        let mut pen = self.0.lock();
        let pen = &mut *pen;
        let first = pen.socket.sequences(messages + 2);
        let mut number = first;
        let mut next = || {
            number = number.wrapping_add(1);
            number
        };
        pen.buffer.clear();
        pen.buffer.begin(first);
        for put in puts {
            let set = name(put.set.as_str())?;
            let key = key(put.shape, &put.value)?;
            let millis = u64::try_from(put.lifetime.as_millis()).unwrap_or(u64::MAX);
            for (kind, flags) in [
                (kind::NEW_ELEMENT, flag::CREATE),
                (kind::DELETE_ELEMENT, 0),
                (kind::NEW_ELEMENT, flag::CREATE),
            ] {
                let mut native = NativeSet::new(table_name(TableName::Main), &set);
                let element = NativeElement::new(key.bytes());
                native.push(if kind == kind::NEW_ELEMENT {
                    element.timeout(millis.max(1))
                } else {
                    element
                });
                let kind = kernel::SUBSYSTEM_SHIFTED | kind;
                native.write_elements(&mut pen.buffer, kind, flags, next());
            }
        }
        pen.buffer.end(next(), 0);
        let mut refused = None;
        // The first refusal tells.
        pen.send(|message, _| refused = refused.or(message.errno()))?;
        match refused {
            None => Ok(()),
            Some(libc::ENOENT) => Err(PutError::Absent),
            Some(errno) => Err(PutError::Refused { errno }),
        }
    }
}

/// May be handed from thread to thread.
const _: () = {
    const fn sendable<T: Send>() {}
    sendable::<Volatile>();
    sendable::<crate::queue::Queue>();
    sendable::<crate::nflog::Log>();
};
