//! The ordered steps of one kernel transaction, and what of them has to be in place one transaction before.
//!
//! INVARIANT (law d): every prefix of a plan, applied to the state it was made for, leaves no dangling reference:
//! referents first on the way in, last on the way out.

use crate::ir::{Base, ChainName, Element, Rule, Set, SetName, Shape, TableName, Verdict};
use std::{collections::BTreeSet, sync::Arc};

/// One step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// A new table.
    AddTable(TableName),
    /// With everything in it.
    DeleteTable(TableName),
    /// A new, empty chain.
    AddChain {
        /// Where.
        table: TableName,
        /// Its name.
        chain: ChainName,
        /// Present: a base chain.
        base: Option<Base>,
    },
    /// With its rules; nothing names it any more.
    DeleteChain {
        /// Where.
        table: TableName,
        /// Its name.
        chain: ChainName,
    },
    /// All rules out of a chain that stays.
    FlushChain {
        /// Where.
        table: TableName,
        /// Its name.
        chain: ChainName,
    },
    /// Rules at the end of a chain.
    AddRules {
        /// Where.
        table: TableName,
        /// In which chain.
        chain: ChainName,
        /// In order.
        rules: Arc<Vec<Rule>>,
    },
    /// A new set with its elements.
    AddSet {
        /// Where.
        table: TableName,
        /// Its name.
        name: SetName,
        /// Type and elements.
        set: Arc<Set>,
    },
    /// A new verdict map without elements: they come by `AddVerdicts`, once the chains they name are there.
    AddMap {
        /// Where.
        table: TableName,
        /// Its name.
        name: SetName,
        /// Type of the keys.
        shape: Shape,
        /// Ranges allowed.
        interval: bool,
    },
    /// A set or map that nothing names any more, with its elements.
    DeleteSet {
        /// Where.
        table: TableName,
        /// Its name.
        name: SetName,
    },
    /// Members of an existing set.
    AddElements {
        /// Where.
        table: TableName,
        /// Which set.
        set: SetName,
        /// Its shape and kind, for the encoder.
        shape: Shape,
        /// Interval set.
        interval: bool,
        /// Not there yet.
        elements: Vec<Element>,
    },
    /// Elements out of a set or map.
    DeleteElements {
        /// Where.
        table: TableName,
        /// Which set or map.
        set: SetName,
        /// Its shape, for the encoder.
        shape: Shape,
        /// Interval set or map.
        interval: bool,
        /// They are there.
        elements: Vec<Element>,
    },
    /// Elements of a verdict map.
    AddVerdicts {
        /// Where.
        table: TableName,
        /// Which map.
        map: SetName,
        /// Its shape, for the encoder.
        shape: Shape,
        /// Interval map.
        interval: bool,
        /// Not there yet.
        elements: Vec<(Element, Verdict)>,
    },
}

/// What one transaction does. Empty: nothing to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// In order.
    pub ops: Vec<Op>,
}

impl Plan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The transactions that do it, to be committed in this order: one, or one ahead of it with the new chains, their
    /// rules, and the new sets and maps that those name, where a verdict of a map that is there already will lead into
    /// them. Nothing names what goes ahead until the last is committed, so alone it changes no verdict.
    ///
    /// Why: nf_tables looks an element up in the generation of the moment, but enters a chain with the rules of the
    /// generation that the packet began with. A packet under way while one transaction adds a chain and points an
    /// element at it finds that chain empty, and leaves it for the policy of the base chain: denied traffic leaks.
    pub fn transactions(mut self) -> Vec<Self> {
        let ahead = self.take_ahead();
        ahead.into_iter().chain([self]).collect()
    }

    fn take_ahead(&mut self) -> Option<Self> {
        // A table that is replaced is gone and there again at once, or not at all.
        if self.ops.iter().any(|op| matches!(op, Op::DeleteTable(_))) {
            return None;
        }
        let (mut chains, mut sets) = (BTreeSet::new(), BTreeSet::new());
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
            Op::AddTable(_) | Op::AddSet { .. } | Op::AddMap { .. } => true,
            Op::AddChain { base, .. } => base.is_none(),
            Op::AddRules { table, chain, .. } => chains.contains(&(*table, chain.clone())),
            Op::AddVerdicts { table, map, .. } => sets.contains(&(*table, map.clone())),
            Op::DeleteTable(_)
            | Op::DeleteChain { .. }
            | Op::FlushChain { .. }
            | Op::DeleteSet { .. }
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

/// Every name in a plan is in one of our tables.
impl Op {
    /// The table that the step is about.
    pub const fn table(&self) -> TableName {
        match self {
            Self::AddTable(table) | Self::DeleteTable(table) => *table,
            Self::AddChain { table, .. }
            | Self::DeleteChain { table, .. }
            | Self::FlushChain { table, .. }
            | Self::AddRules { table, .. }
            | Self::AddSet { table, .. }
            | Self::AddMap { table, .. }
            | Self::DeleteSet { table, .. }
            | Self::AddElements { table, .. }
            | Self::DeleteElements { table, .. }
            | Self::AddVerdicts { table, .. } => *table,
        }
    }
}
