//! What the kernel holds of ours, as a ruleset.

use crate::{
    Monitor, Netfilter, ReadError,
    commit::control,
    decode::{self, RawElement},
    kernel::{DORMANT, INET, attribute as a, kind},
    message::{Attributes, Message, Messages, be32, text},
    request::Requests,
    socket::Wait,
};
use palisade_ruleset::ir::{
    Chain, Map, Ruleset, Set, SetName, Shape, Table, TableName, Verdict, names,
};
use std::{collections::BTreeMap, sync::Arc};

mod touched;

/// Attempts at reading while others write.
const ATTEMPTS: usize = 20;

/// Why an attempt at reading failed.
pub(crate) enum Attempt {
    /// Someone changed nf_tables meanwhile: again.
    Interrupted,
    /// For good.
    Failed(ReadError),
}

impl<E: Into<ReadError>> From<E> for Attempt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A moment of nf_tables.
struct Moment {
    generation: u32,
    /// Our own transactions until then.
    ours: u32,
    overruns: u64,
}

/// What a dump came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dump {
    /// Of one generation.
    Whole,
    /// Somebody changed nf_tables meanwhile. What the kernel lists by table or set is complete all the same as long as it was
    /// not that table or set that changed.
    Disturbed,
}

/// A table of ours, as the kernel tells of it.
pub(crate) struct Told {
    pub(crate) flags: u32,
    /// Chains and sets in it.
    uses: Option<u32>,
    /// The port of the socket that owns it.
    pub(crate) owner: Option<u32>,
}

impl Netfilter {
    /// All of our tables as they are, at one moment. What we would not have written reads as
    /// [`palisade_ruleset::ir::Expression::Foreign`], as a set of a shape that its name never has, or as a base that
    /// no chain has, so that it equals nothing desired. A dormant table has only such bases.
    ///
    /// # Errors
    /// When the kernel cannot be read, or when others may have changed our tables during every attempt. Changes of other tables
    /// are told apart where this kernel is [listened to](Self::listen); our own volatile elements always.
    pub fn read(&mut self) -> Result<Ruleset, ReadError> {
        self.attempts(Self::attempt).map(|(ruleset, _)| ruleset)
    }

    /// Hears of every transaction from now on, in place of whatever was heard before: see [`Self::monitor`].
    ///
    /// # Errors
    /// When the socket cannot be made, or may not listen.
    pub fn listen(&mut self) -> std::io::Result<()> {
        self.monitor = None;
        self.monitor = Some(Monitor::open(self.port())?);
        Ok(())
    }

    /// What is heard of others' transactions, once it listens.
    pub fn monitor(&mut self) -> Option<&mut Monitor> {
        self.monitor.as_mut()
    }

    /// nf_tables' generation: grows with every transaction of any process in this network namespace.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn generation(&mut self) -> std::io::Result<u32> {
        let sequence = self.socket.sequences(1);
        let mut requests = Requests::default();
        requests.get(kind::GET_GENERATION, sequence, &[]);
        self.socket.send(requests.bytes())?;
        loop {
            let Some(datagram) = self.socket.receive(Wait::Until)? else {
                continue;
            };
            for message in Messages(datagram).filter(|m| m.sequence == sequence) {
                if let Some(generation) = generation_of(&message) {
                    return Ok(generation);
                }
                if message.kind == control::ERROR {
                    let errno = message.errno().unwrap_or(libc::EPROTO);
                    return Err(std::io::Error::from_raw_os_error(errno));
                }
            }
        }
    }

    /// The 64 bytes of the position that the main table carries, in the order of [`Shape::Position`]. Absent: there
    /// is no such table, set or element.
    ///
    /// # Errors
    /// When the kernel cannot be read.
    pub fn position(&mut self) -> Result<Option<Box<[u8; 64]>>, ReadError> {
        let elements = self.attempts(|this| {
            match this.elements(TableName::Main, &SetName::new(names::POSITION)) {
                Err(Attempt::Failed(ReadError::Refused {
                    errno: libc::ENOENT,
                    ..
                })) => Ok(Some(Vec::new())),
                other => other,
            }
        })?;
        let position = elements
            .as_deref()
            .and_then(<[RawElement]>::first)
            .and_then(|raw| raw.key.bytes().try_into().ok());
        Ok(position.map(Box::new))
    }

    /// Repeats until nobody interferes.
    pub(crate) fn attempts<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<T, Attempt>,
    ) -> Result<T, ReadError> {
        for _ in 0..ATTEMPTS {
            // What an earlier attempt left unread would keep the kernel from a new dump.
            self.socket.drain()?;
            match attempt(self) {
                Ok(done) => return Ok(done),
                Err(Attempt::Interrupted) => {}
                Err(Attempt::Failed(error)) => return Err(error),
            }
        }
        Err(ReadError::Changing)
    }

    fn attempt(&mut self) -> Result<(Ruleset, u32), Attempt> {
        let before = self.moment()?;
        let mut ruleset = Ruleset::default();
        for name in TableName::ALL {
            let Some(told) = self.told(name)? else {
                continue;
            };
            let mut read = self.table(name, &told)?;
            let foreign = self.owned && !self.owns_as_told(&told);
            if told.flags & DORMANT != 0 || foreign {
                // Dormant, it enforces nothing, whatever it holds. One that others may change cannot become ours: the kernel
                // gives flags to new tables only. Either must be made anew.
                let bases = read.chains.values_mut().filter_map(|c| c.base.as_mut());
                bases.for_each(|base| *base = decode::FOREIGN);
            }
            ruleset.tables.insert(name, read);
        }
        let generation = self.undisturbed_since(&before)?;
        Ok((ruleset, generation))
    }

    fn moment(&mut self) -> std::io::Result<Moment> {
        let writer = self.writer();
        // Nobody writes while it is held, so both figures are of one moment.
        let pen = writer.lock();
        Ok(Moment {
            generation: self.generation()?,
            ours: pen.committed(),
            overruns: self.monitor.as_ref().map_or(0, Monitor::overruns),
        })
    }

    /// The generation now, if nobody else has touched our tables since.
    fn undisturbed_since(&mut self, before: &Moment) -> Result<u32, Attempt> {
        let now = self.moment()?;
        let all = now.generation.wrapping_sub(before.generation);
        let ours = now.ours.wrapping_sub(before.ours);
        let left_alone = all == ours
            || self.monitor.as_mut().is_some_and(|monitor| {
                monitor.left_alone(before.generation, now.generation, before.overruns)
            });
        if left_alone {
            Ok(now.generation)
        } else {
            Err(Attempt::Interrupted)
        }
    }

    /// One of our tables; absent: there is none of that name.
    pub(crate) fn told(&mut self, table: TableName) -> Result<Option<Told>, Attempt> {
        let sequence = self.socket.sequences(1);
        let mut requests = Requests::default();
        requests.get(kind::GET_TABLE, sequence, &[(a::TABLE, table.as_str())]);
        self.socket.send(requests.bytes())?;
        loop {
            let Some(datagram) = self.socket.receive(Wait::Until)? else {
                continue;
            };
            let answer = Messages(datagram).find(|message| message.sequence == sequence);
            if let Some(message) = answer {
                return told_by(&message);
            }
        }
    }

    fn table(&mut self, name: TableName, told: &Told) -> Result<Table, Attempt> {
        let mut chains = BTreeMap::new();
        let dumped = self.dump("chains", kind::GET_CHAIN, &[], |message| {
            if table_of(message) == Some(name) {
                let chain = decode::chain(message.attributes())?;
                chains.insert(chain.name, (chain.base, Vec::new()));
            }
            Some(())
        })?;
        let filter = [(a::TABLE, name.as_str())];
        self.dump("rules", kind::GET_RULE, &filter, |message| {
            if table_of(message) == Some(name) {
                let (chain, rule) = decode::rule(message.attributes())?;
                chains.entry(chain).or_default().1.push(rule);
            }
            Some(())
        })?;
        let mut table = Table::default();
        for (name, (base, rules)) in chains {
            let rules = Arc::new(rules);
            table.chains.insert(name, Chain { base, rules });
        }
        self.sets(name, &mut table)?;
        // Chains are listed without regard to their table, so changes of other tables can hide some of ours.
        let found = table.chains.len() + table.sets.len() + table.maps.len();
        let complete = told.uses.and_then(|uses| usize::try_from(uses).ok()) == Some(found);
        if dumped == Dump::Disturbed && !complete {
            return Err(Attempt::Interrupted);
        }
        Ok(table)
    }

    fn sets(&mut self, name: TableName, table: &mut Table) -> Result<(), Attempt> {
        let mut definitions = Vec::new();
        let filter = [(a::TABLE, name.as_str())];
        self.dump("sets", kind::GET_SET, &filter, |message| {
            if table_of(message) == Some(name) {
                definitions.push(decode::definition(message.attributes())?);
            }
            Some(())
        })?;
        for definition in definitions {
            let elements = match definition.shape {
                // What comes and goes by itself is nobody's difference.
                Some(shape) if shape.is_volatile() => Some((shape, Vec::new())),
                Some(shape) => self
                    .elements(name, &definition.name)?
                    .and_then(|raw| decode::assemble(shape, definition.interval, raw))
                    .map(|elements| (shape, elements)),
                None => None,
            };
            // A set that is not ours in kind must go, whatever is desired by its name.
            let (shape, elements) =
                elements.unwrap_or_else(|| (foreign_shape(&definition.name), Vec::new()));
            insert(table, definition, shape, elements);
        }
        Ok(())
    }

    /// The elements of a set; absent when one of them is nothing that we write.
    fn elements(
        &mut self,
        table: TableName,
        set: &SetName,
    ) -> Result<Option<Vec<RawElement>>, Attempt> {
        let mut elements = Some(Vec::new());
        let filter = [(a::TABLE, table.as_str()), (a::LIST_SET, set.as_str())];
        self.dump("elements", kind::GET_ELEMENT, &filter, |message| {
            match (decode::elements(message.attributes()), &mut elements) {
                (Some(more), Some(elements)) => elements.extend(more),
                _ => elements = None,
            }
            Some(())
        })?;
        Ok(elements)
    }

    /// Everything of a kind, in family inet.
    pub(super) fn dump(
        &mut self,
        what: &'static str,
        kind: u16,
        filter: &[(usize, &str)],
        mut each: impl FnMut(&Message<'_>) -> Option<()>,
    ) -> Result<Dump, Attempt> {
        const INTERRUPTED: u16 = 0x10;
        let sequence = self.socket.sequences(1);
        let requests = Requests::dump(kind, sequence, filter);
        self.socket.send(requests.bytes())?;
        // A dump is read to its end, whatever is found, so that nothing of it is left for the next request.
        let (mut interrupted, mut malformed) = (false, false);
        loop {
            let Some(datagram) = self.socket.receive(Wait::Until)? else {
                continue;
            };
            for message in Messages(datagram).filter(|m| m.sequence == sequence) {
                interrupted |= message.flags & INTERRUPTED != 0;
                match message.kind {
                    control::DONE | control::ERROR => {
                        let errno = message.errno().unwrap_or(libc::EPROTO);
                        return match errno {
                            0 if malformed && interrupted => Err(Attempt::Interrupted),
                            0 if malformed => Err(ReadError::Malformed(what).into()),
                            0 if interrupted => Ok(Dump::Disturbed),
                            0 => Ok(Dump::Whole),
                            libc::EINTR => Err(Attempt::Interrupted),
                            errno => Err(ReadError::Refused { what, errno }.into()),
                        };
                    }
                    _ if message.family() == Some(INET) => malformed |= each(&message).is_none(),
                    _ => {}
                }
            }
        }
    }
}

fn told_by(message: &Message<'_>) -> Result<Option<Told>, Attempt> {
    const WHAT: &str = "a table";
    if message.kind == control::ERROR {
        return match message.errno().unwrap_or(libc::EPROTO) {
            libc::ENOENT => Ok(None),
            libc::EINTR | libc::EAGAIN => Err(Attempt::Interrupted),
            errno => Err(ReadError::Refused { what: WHAT, errno }.into()),
        };
    }
    let number = |attribute| message.attributes().get(attribute).and_then(be32);
    let flags = number(a::TABLE_FLAGS).ok_or(ReadError::Malformed(WHAT))?;
    Ok(Some(Told {
        flags,
        uses: number(a::TABLE_USE),
        owner: number(a::TABLE_OWNER),
    }))
}

/// The generation, if the message is one.
pub(crate) fn generation_of(message: &Message<'_>) -> Option<u32> {
    if message.nf_tables() != Some(kind::NEW_GENERATION) {
        return None;
    }
    message.attributes().get(a::GENERATION_ID).and_then(be32)
}

/// The table that a message is about, if it is ours.
pub(crate) fn table_of(message: &Message<'_>) -> Option<TableName> {
    if message.family() != Some(INET) {
        return None;
    }
    let name = named(message.attributes())?;
    TableName::ALL
        .into_iter()
        .find(|table| table.as_str() == name)
}

fn named(attributes: Attributes<'_>) -> Option<&str> {
    attributes.get(a::TABLE).and_then(text)
}

/// A shape that no desired set of this name has.
fn foreign_shape(name: &SetName) -> Shape {
    if name.as_str() == names::POSITION {
        Shape::Interface
    } else {
        Shape::Position
    }
}

fn insert(
    table: &mut Table,
    definition: decode::Definition,
    shape: Shape,
    elements: Vec<(palisade_ruleset::ir::Element, Option<Verdict>)>,
) {
    let interval = definition.interval;
    if definition.map {
        let elements = elements
            .into_iter()
            .filter_map(|(element, verdict)| Some((element, verdict?)))
            .collect();
        let map = Map {
            shape,
            interval,
            elements,
        };
        table.maps.insert(definition.name, Arc::new(map));
    } else {
        let elements = elements.into_iter().map(|(element, _)| element).collect();
        let set = Set {
            shape,
            interval,
            elements,
        };
        table.sets.insert(definition.name, Arc::new(set));
    }
}
