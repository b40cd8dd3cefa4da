//! The ordered steps of a change, and how they are cut into kernel transactions.
//!
//! INVARIANT (law d): every prefix of a plan, applied to the state it was made for, leaves no dangling reference:
//! referents first on the way in, last on the way out.

use crate::ir::{Base, ChainName, Element, Rule, Set, SetName, Shape, TableName, Verdict};
use std::sync::Arc;

mod transactions;

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
    /// A set that nothing names any more, with its elements.
    DeleteSet {
        /// Where.
        table: TableName,
        /// Its name.
        name: SetName,
    },
    /// A verdict map that nothing names any more, with its elements.
    DeleteMap {
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

/// What a change or one of its transactions does. Empty: nothing to do.
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
            | Self::DeleteMap { table, .. }
            | Self::AddElements { table, .. }
            | Self::DeleteElements { table, .. }
            | Self::AddVerdicts { table, .. } => *table,
        }
    }
}
