//! How a plan is cut into transactions, so that a packet under way is judged as before or as after.
//!
//! nf_tables looks an element up in the generation of the moment, but walks the rules of the generation in which the packet
//! came to the base chain. So for a packet under way
//!
//! * a chain that comes is empty: denied traffic would leak where an element leads into it at once;
//! * a map that goes has no elements, while rules that go still look it up;
//! * a port that moves from the map of ranges to that of single ports, which is asked first, may be in neither.

use super::{Op, Plan};
use crate::ir::{ChainName, TableName};
use std::collections::BTreeSet;

mod stand_in;

impl Plan {
    /// The transactions to commit one after the other: at most three, of which one changes verdicts. Ahead of it come
    /// new chains, with the sets and maps that they name, where a verdict of a map that is there will lead into them;
    /// behind it goes what nothing leads to any more, where a map is among it.
    pub fn transactions(mut self) -> Vec<Self> {
        let ahead = self.take_ahead();
        let mut behind = self.take_behind();
        behind.ops.splice(0..0, stand_in::add(&mut self.ops));
        let all = ahead.into_iter().chain([self]).chain([behind]);
        all.filter(|plan| !plan.is_empty()).collect()
    }

    /// Tables that are gone and there again at once, or not at all.
    fn replaced(&self) -> BTreeSet<TableName> {
        let deleted = |op: &Op| match op {
            Op::DeleteTable(table) => Some(*table),
            _ => None,
        };
        let mut replaced: BTreeSet<TableName> = self.ops.iter().filter_map(deleted).collect();
        replaced.retain(|table| self.ops.contains(&Op::AddTable(*table)));
        replaced
    }

    /// What stands from the first map that goes in a table, or where the table goes; nothing but removals stands behind.
    fn take_behind(&mut self) -> Self {
        let replaced = self.replaced();
        let mut tables = BTreeSet::new();
        let is_behind = |op: &Op| {
            let table = op.table();
            if matches!(op, Op::DeleteMap { .. } | Op::DeleteTable(_)) && !replaced.contains(&table)
            {
                tables.insert(table);
            }
            tables.contains(&table)
        };
        let (behind, ops) = std::mem::take(&mut self.ops)
            .into_iter()
            .partition(is_behind);
        self.ops = ops;
        Self { ops: behind }
    }

    /// New chains with their rules and the new sets and maps that those name, where a verdict of a map that is there
    /// already will lead into them. Nothing names them until the rest is committed.
    fn take_ahead(&mut self) -> Option<Self> {
        let replaced = self.replaced();
        let (mut chains, mut sets) = (BTreeSet::<(TableName, ChainName)>::new(), BTreeSet::new());
        for op in &self.ops {
            match op {
                Op::AddChain {
                    table,
                    chain,
                    base: None,
                } => {
                    chains.insert((*table, chain.clone()));
                }
                Op::AddSet { table, name, .. } | Op::AddMap { table, name, .. } => {
                    sets.insert((*table, name.clone()));
                }
                _ => {}
            }
        }
        let is_ahead = |op: &Op| match op {
            op if replaced.contains(&op.table()) => false,
            Op::AddTable(_) | Op::AddSet { .. } | Op::AddMap { .. } => true,
            Op::AddChain { base, .. } => base.is_none(),
            Op::AddRules { table, chain, .. } => chains.contains(&(*table, chain.clone())),
            Op::AddVerdicts { table, map, .. } => sets.contains(&(*table, map.clone())),
            Op::DeleteTable(_)
            | Op::DeleteChain { .. }
            | Op::FlushChain { .. }
            | Op::DeleteSet { .. }
            | Op::DeleteMap { .. }
            | Op::AddElements { .. }
            | Op::DeleteElements { .. } => false,
        };
        let leads_in = |op: &Op| matches!(op, Op::AddVerdicts { .. }) && !is_ahead(op);
        if chains.is_empty() || !self.ops.iter().any(leads_in) {
            return None;
        }
        let (ahead, rest) = std::mem::take(&mut self.ops)
            .into_iter()
            .partition(is_ahead);
        self.ops = rest;
        Some(Self { ops: ahead })
    }
}
