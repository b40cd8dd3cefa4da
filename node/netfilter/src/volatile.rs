//! Elements with a time-out, written beside all plans: the heartbeat of plugins, answers that they remember, and tags that
//! stand for marks while answers travel in them.
//!
//! Sets of a volatile shape ([`Shape::is_volatile`]) belong to the ruleset, their elements to the running daemon: nobody
//! compares them, reads them back or repairs them. They go through the [`Writer`] of the plans, so [`crate::Monitor`] does
//! not tell of them, and a reading of everything knows that they are none of others' changes.

use crate::{
    encode::{flag, key, table_name},
    error::Unfit,
    kernel::{self, kind},
    native::{Buffer, NativeElement, NativeSet},
    program::name,
    writer::Writer,
};
use palisade_policy::rule::{Family, Protocol};
use palisade_ruleset::ir::{SetName, Shape, TableName, Value, names};
use std::{io, net::IpAddr, time::Duration};

/// Writes elements with a time-out. Cheap to clone.
#[derive(Clone)]
pub struct Volatile {
    writer: Writer,
    names: Names,
}

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

/// A tag and the mark that it stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    /// Its upper bits, [`palisade_ruleset::plugins::TAG`]; never 0.
    pub tag: u32,
    /// All bits.
    pub mark: u32,
    /// Whether packets with this mark get the tag by themselves, so that remembered answers hold for them.
    pub kept: bool,
    /// For how long, at least a millisecond.
    pub lifetime: Duration,
}

/// How much longer a tag is known than given, so that a packet which just got it finds the way back to its mark.
const KNOWN_LONGER: Duration = Duration::from_secs(1);

/// Elements were not written, none of them.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// A set is not there: no rule asks.
    #[error("the set is not there")]
    Absent,
    /// A tag stands for another mark, or a mark has another tag.
    #[error("the tag or its mark has an element that says something else")]
    Taken,
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
    /// What it leads to, in a map to marks.
    mark: Option<u32>,
    lifetime: Duration,
}

/// Names of sets, made once.
#[derive(Clone)]
struct Names {
    alive: SetName,
    tags: SetName,
    tag_of: SetName,
    restore: SetName,
}

impl Names {
    fn new() -> Self {
        Self {
            alive: SetName::new(names::PLUGIN_ALIVE),
            tags: SetName::new(names::TAGS),
            tag_of: SetName::new(names::TAG_OF),
            restore: SetName::new(names::RESTORE),
        }
    }

    fn tag(&self, tag: Tag) -> impl Iterator<Item = Put<'_>> {
        let known = tag.lifetime.saturating_add(KNOWN_LONGER);
        let is = Put {
            set: &self.tags,
            shape: Shape::Mark,
            value: Value::Mark(tag.tag),
            mark: None,
            lifetime: known,
        };
        let restores = Put {
            set: &self.restore,
            shape: Shape::MarkToMark,
            value: Value::Mark(tag.tag),
            mark: Some(tag.mark),
            lifetime: known,
        };
        let given = Put {
            set: &self.tag_of,
            shape: Shape::MarkToMark,
            value: Value::Mark(tag.mark),
            mark: Some(tag.tag),
            lifetime: tag.lifetime,
        };
        [is, restores].into_iter().chain(tag.kept.then_some(given))
    }
}

impl Volatile {
    /// Through that socket.
    pub fn new(writer: Writer) -> Self {
        Self {
            writer,
            names: Names::new(),
        }
    }

    /// Says that plugins are answered for, from now on for so long, whatever was said before: rules queue. Tags live anew.
    ///
    /// # Errors
    /// [`PutError::Absent`] while no class has conditions; [`PutError::Taken`]; else what the kernel says.
    pub fn beat(&mut self, lifetime: Duration, tags: &[Tag]) -> Result<(), PutError> {
        let names = &self.names;
        let alive = |family| Put {
            set: &names.alive,
            shape: Shape::Family,
            value: Value::Family(family),
            mark: None,
            lifetime,
        };
        let tags = tags.iter().flat_map(|tag| names.tag(*tag));
        let puts: Vec<_> = [alive(Family::V4), alive(Family::V6)]
            .into_iter()
            .chain(tags)
            .collect();
        self.put(&puts)
    }

    /// Makes a tag stand for a mark.
    ///
    /// # Errors
    /// As [`Self::beat`].
    pub fn tag(&mut self, tag: Tag) -> Result<(), PutError> {
        let names = &self.names;
        let puts: Vec<_> = names.tag(tag).collect();
        self.put(&puts)
    }

    /// No packet gets a tag by itself any more, until one is given again: those of a daemon that is gone are nobody's. A
    /// packet that has one keeps it, and finds its mark.
    ///
    /// # Errors
    /// As [`Self::beat`].
    pub fn forget_tags(&mut self) -> Result<(), PutError> {
        let set = name(self.names.tag_of.as_str())?;
        self.batch(1, |buffer, next| {
            let native = NativeSet::new(table_name(TableName::Main), &set);
            // Without elements: all of them.
            let kind = kernel::SUBSYSTEM_SHIFTED | kind::DELETE_ELEMENT;
            native.write_elements(buffer, kind, 0, next());
            Ok(())
        })
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
                    mark: None,
                    lifetime: answer.lifetime,
                }
            })
            .collect();
        self.put(&puts)
    }

    /// Adds, deletes, and adds again: kernels before 6.12 do not give what is there a new time-out, and deleting needs
    /// something that is there. Within one transaction, so that no packet misses it.
    fn put(&self, puts: &[Put<'_>]) -> Result<(), PutError> {
        if puts.is_empty() {
            return Ok(());
        }
        self.batch(3 * puts.len(), |buffer, next| {
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
                    let mut element = NativeElement::new(key.bytes());
                    if kind == kind::NEW_ELEMENT {
                        element = element.timeout(millis.max(1));
                        if let Some(mark) = put.mark {
                            element = element.value(&mark.to_ne_bytes());
                        }
                    }
                    native.push(element);
                    let kind = kernel::SUBSYSTEM_SHIFTED | kind;
                    native.write_elements(buffer, kind, flags, next());
                }
            }
            Ok(())
        })
    }

    /// So many messages in one transaction.
    fn batch(
        &self,
        messages: usize,
        write: impl FnOnce(&mut Buffer, &mut dyn FnMut() -> u32) -> Result<(), PutError>,
    ) -> Result<(), PutError> {
        let mut pen = self.writer.lock();
        let pen = &mut *pen;
        let first = pen.socket.sequences(messages + 2);
        let mut number = first;
        let mut next = || {
            number = number.wrapping_add(1);
            number
        };
        pen.buffer.clear();
        pen.buffer.begin(first);
        write(&mut pen.buffer, &mut next)?;
        pen.buffer.end(next(), 0);
        let mut refused = None;
        // The first refusal tells.
        pen.send(|message, _| refused = refused.or(message.errno()))?;
        match refused {
            None => Ok(()),
            Some(libc::ENOENT) => Err(PutError::Absent),
            Some(libc::EEXIST) => Err(PutError::Taken),
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
