//! A plan as one batch of netlink messages, and the way from a message back to the operation it came from.

use crate::{
    error::Unfit,
    kernel::{self, attribute as a, kind},
    message::{Attributes, GENERIC, HEADER, be32},
    native::{Buffer, Native, NativeSet, NativeTable, QueueForm},
    program::{emit, name},
};
use nftnl::{Chain, ChainType, Hook as NativeHook, MsgType, Policy, ProtoFamily, Rule, Table};
use palisade_ruleset::{
    ir::{Base, ChainName, Element, Hook, Rule as IrRule, Shape, TableName, Verdict},
    plan::{Op, Plan},
};
use std::ffi::CString;

mod key;
mod set;

pub(crate) use key::{Key, key, keys, value_of};
pub(crate) use set::{definition, element_request, set_elements, shape_of};

/// Flags of messages; acknowledgements are asked for once, at the end of the batch.
pub(crate) mod flag {
    pub(crate) const ACK: u16 = 4;
    pub(crate) const EXCLUSIVE: u16 = 0x200;
    pub(crate) const CREATE: u16 = 0x400;
    pub(crate) const APPEND: u16 = 0x800;
}

/// Which part of a plan a message is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// Where the message begins in the buffer.
    pub(crate) start: usize,
    pub(crate) op: usize,
    /// Index of the rule, or of the first element, in the operation.
    pub(crate) first: Option<usize>,
}

/// A batch under construction.
pub(crate) struct Encoder<'a> {
    buffer: &'a mut Buffer,
    sequence: u32,
    origins: Vec<Origin>,
    tables: [Table; 3],
    forms: Forms,
    op: usize,
}

/// What of a plan this kernel, or this daemon, takes in one form or another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forms {
    /// How rules queue.
    pub(crate) queue: QueueForm,
    /// Of new tables.
    pub(crate) flags: u32,
}

/// Writes the whole plan: a begin, its messages, an end. Message `i` has sequence number `first + i`; the begin is 0.
pub(crate) fn encode(
    plan: &Plan,
    forms: Forms,
    buffer: &mut Buffer,
    first: u32,
) -> Result<Vec<Origin>, (usize, Unfit)> {
    buffer.clear();
    buffer.begin(first);
    let mut encoder = Encoder {
        buffer,
        sequence: first,
        origins: Vec::with_capacity(plan.ops.len()),
        tables: TableName::ALL.map(|table| Table::new(table_name(table), ProtoFamily::Inet)),
        forms,
        op: 0,
    };
    for (op, step) in plan.ops.iter().enumerate() {
        encoder.op = op;
        encoder.step(step).map_err(|reason| (op, reason))?;
    }
    let Encoder {
        sequence, origins, ..
    } = encoder;
    buffer.end(sequence.wrapping_add(1), flag::ACK);
    Ok(origins)
}

/// The name of a table as C wants it.
pub(crate) const fn table_name(table: TableName) -> &'static std::ffi::CStr {
    match table {
        TableName::Main => c"palisade",
        TableName::Raw => c"palisade-raw",
        TableName::Guard => c"palisade-guard",
    }
}

impl Encoder<'_> {
    fn step(&mut self, op: &Op) -> Result<(), Unfit> {
        let create = flag::CREATE;
        match op {
            Op::AddTable(table) => {
                let at = self.next(None);
                let table = NativeTable::new(table_name(*table), self.forms.flags);
                table.write(self.buffer, create, at);
            }
            Op::DeleteTable(table) => {
                let at = self.next(None);
                let table = &self.tables[index(*table)];
                self.buffer.object(table, MsgType::Del, at, 0);
            }
            Op::AddChain { table, chain, base } => self.chain(*table, chain, *base)?,
            Op::DeleteChain { table, chain } => {
                let at = self.next(None);
                let chain = Chain::new(name(chain.as_str())?, &self.tables[index(*table)]);
                self.buffer.object(&chain, MsgType::Del, at, 0);
            }
            Op::FlushChain { table, chain } => {
                let at = self.next(None);
                let chain = Chain::new(name(chain.as_str())?, &self.tables[index(*table)]);
                // A deletion without handle: all rules of the chain.
                self.buffer.object(&Rule::new(&chain), MsgType::Del, at, 0);
            }
            Op::AddRules {
                table,
                chain,
                rules,
            } => self.rules(*table, chain, rules)?,
            Op::AddSet { table, name, set } => {
                self.define(*table, name.as_str(), set.shape, set.interval, false)?;
                let elements = set.elements.iter().map(|element| (element, None));
                let target = (*table, name.as_str(), set.shape, set.interval);
                self.elements(kind::NEW_ELEMENT, target, elements)?;
            }
            Op::AddMap {
                table,
                name,
                shape,
                interval,
            } => self.define(*table, name.as_str(), *shape, *interval, true)?,
            Op::DeleteSet { table, name } | Op::DeleteMap { table, name } => {
                let at = self.next(None);
                NativeSet::new(table_name(*table), &self::name(name.as_str())?).write(
                    self.buffer,
                    kernel::SUBSYSTEM_SHIFTED | kind::DELETE_SET,
                    0,
                    at,
                );
            }
            Op::AddElements {
                table,
                set,
                shape,
                interval,
                elements,
            } => {
                let elements = elements.iter().map(|element| (element, None));
                let target = (*table, set.as_str(), *shape, *interval);
                self.elements(kind::NEW_ELEMENT, target, elements)?;
            }
            Op::DeleteElements {
                table,
                set,
                shape,
                interval,
                elements,
            } => {
                let elements = elements.iter().map(|element| (element, None));
                let target = (*table, set.as_str(), *shape, *interval);
                self.elements(kind::DELETE_ELEMENT, target, elements)?;
            }
            Op::AddVerdicts {
                table,
                map,
                shape,
                interval,
                elements,
            } => {
                let elements = elements.iter().map(|(element, v)| (element, Some(v)));
                let target = (*table, map.as_str(), *shape, *interval);
                self.elements(kind::NEW_ELEMENT, target, elements)?;
            }
        }
        Ok(())
    }

    /// Notes where the next message comes from, and numbers it.
    fn next(&mut self, first: Option<usize>) -> u32 {
        self.origins.push(Origin {
            start: self.buffer.bytes().len(),
            op: self.op,
            first,
        });
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn chain(
        &mut self,
        table: TableName,
        chain: &ChainName,
        base: Option<Base>,
    ) -> Result<(), Unfit> {
        let at = self.next(None);
        let mut chain = Chain::new(name(chain.as_str())?, &self.tables[index(table)]);
        if let Some(base) = base {
            chain.set_hook(hook(base.hook), base.priority);
            chain.set_type(ChainType::Filter);
            chain.set_policy(Policy::Accept);
        }
        let flags = flag::CREATE | flag::EXCLUSIVE;
        self.buffer.object(&chain, MsgType::Add, at, flags);
        Ok(())
    }

    fn rules(
        &mut self,
        table: TableName,
        chain: &ChainName,
        rules: &[IrRule],
    ) -> Result<(), Unfit> {
        let chain = name(chain.as_str())?;
        let mut program = Vec::new();
        for (index_in_op, rule) in rules.iter().enumerate() {
            program.clear();
            for expression in &rule.expressions {
                emit(expression, &mut program)?;
            }
            let at = self.next(Some(index_in_op));
            let chain = Chain::new(&chain, &self.tables[index(table)]);
            let mut native = Rule::new(&chain);
            for instruction in &program {
                let queue = self.forms.queue;
                native.add_expr(&Native { instruction, queue });
            }
            if let Some(id) = rule.id {
                let comment = CString::new(id.to_string()).map_err(|_| Unfit::Name)?;
                native.set_comment(comment).map_err(|_| Unfit::Name)?;
            }
            let flags = flag::CREATE | flag::APPEND;
            self.buffer.object(&native, MsgType::Add, at, flags);
        }
        Ok(())
    }

    fn define(
        &mut self,
        table: TableName,
        set: &str,
        shape: Shape,
        interval: bool,
        map: bool,
    ) -> Result<(), Unfit> {
        let at = self.next(None);
        // The number is how one batch tells its new sets apart; the sequence number is unique.
        definition(table, &name(set)?, shape, interval, map, at).write(
            self.buffer,
            kernel::SUBSYSTEM_SHIFTED | kind::NEW_SET,
            flag::CREATE | flag::EXCLUSIVE,
            at,
        );
        Ok(())
    }

    /// Elements in as few messages as their lengths allow.
    fn elements<'e>(
        &mut self,
        kind: u16,
        (table, set, shape, interval): (TableName, &str, Shape, bool),
        elements: impl Iterator<Item = (&'e Element, Option<&'e Verdict>)>,
    ) -> Result<(), Unfit> {
        let set = name(set)?;
        let flags = match kind {
            kind::NEW_ELEMENT => flag::CREATE | flag::EXCLUSIVE,
            _ => 0,
        };
        let mut elements = elements.peekable();
        let mut done = 0;
        while elements.peek().is_some() {
            let at = self.next(Some(done));
            let (native, taken) = set_elements(table, &set, shape, interval, &mut elements)?;
            native.write_elements(self.buffer, kernel::SUBSYSTEM_SHIFTED | kind, flags, at);
            done += taken;
        }
        Ok(())
    }
}

/// Which element of a message of elements holds the byte that the kernel found at fault.
pub(crate) fn element_at(message: &[u8], fault: usize) -> Option<usize> {
    let attributes = message.get(HEADER + GENERIC..)?;
    let list = Attributes(attributes).get(a::LIST_ELEMENTS)?;
    let list_at = offset(message, list)?;
    let mut starts = None;
    for (_, element) in Attributes(list) {
        // An attribute's own header lies before its value.
        if offset(message, element)?.checked_sub(4)? > fault.max(list_at) {
            break;
        }
        let end = Attributes(element)
            .get(a::ELEMENT_FLAGS)
            .and_then(be32)
            .is_some_and(|flags| flags & kernel::set::ELEMENT_INTERVAL_END != 0);
        if !end {
            starts = Some(starts.map_or(0, |n: usize| n + 1));
        }
    }
    starts
}

/// Where a part lies in the whole.
fn offset(whole: &[u8], part: &[u8]) -> Option<usize> {
    (part.as_ptr().addr()).checked_sub(whole.as_ptr().addr())
}

const fn index(table: TableName) -> usize {
    match table {
        TableName::Main => 0,
        TableName::Raw => 1,
        TableName::Guard => 2,
    }
}

const fn hook(hook: Hook) -> NativeHook {
    match hook {
        Hook::Prerouting => NativeHook::PreRouting,
        Hook::Input => NativeHook::In,
        Hook::Forward => NativeHook::Forward,
        Hook::Output => NativeHook::Out,
        Hook::Postrouting => NativeHook::PostRouting,
    }
}
