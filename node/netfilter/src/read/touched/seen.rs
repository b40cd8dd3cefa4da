//! What the kernel showed, by name; a part of a ruleset, or all of it.

use crate::decode::{Definition, ReadChain};
use palisade_ruleset::ir::{
    Base, ChainName, Element, Rule, Ruleset, SetName, Shape, TableName, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Seen {
    pub(super) tables: BTreeSet<TableName>,
    pub(super) chains: BTreeMap<(TableName, ChainName), SeenChain>,
    pub(super) sets: BTreeMap<(TableName, SetName), SeenSet>,
}

pub(super) struct SeenChain {
    pub(super) base: Option<Base>,
    pub(super) rules: Vec<Rule>,
}

#[derive(Default)]
pub(super) struct SeenSet {
    /// Absent: not asked for.
    pub(super) definition: Option<Definition>,
    /// Absent: some of them make no sense.
    pub(super) elements: Option<BTreeMap<Element, Option<Verdict>>>,
}

impl Seen {
    /// Everything of a ruleset.
    pub(super) fn of(ruleset: Ruleset) -> Self {
        let mut seen = Self::default();
        for (table, content) in ruleset.tables {
            seen.tables.insert(table);
            for (name, chain) in content.chains {
                let chain = SeenChain {
                    base: chain.base,
                    rules: chain.rules.to_vec(),
                };
                seen.chains.insert((table, name), chain);
            }
            for (name, set) in content.sets {
                let elements = set.elements.iter().map(|e| (e.clone(), None)).collect();
                seen.whole(table, name, (set.shape, set.interval, false), elements);
            }
            for (name, map) in content.maps {
                let with_verdict = |(e, v): (&Element, &Verdict)| (e.clone(), Some(v.clone()));
                let elements = map.elements.iter().map(with_verdict).collect();
                seen.whole(table, name, (map.shape, map.interval, true), elements);
            }
        }
        seen
    }

    fn whole(
        &mut self,
        table: TableName,
        name: SetName,
        (shape, interval, map): (Shape, bool, bool),
        elements: BTreeMap<Element, Option<Verdict>>,
    ) {
        let set = SeenSet {
            definition: Some(Definition {
                name: name.clone(),
                shape: Some(shape),
                interval,
                map,
            }),
            elements: Some(elements),
        };
        self.sets.insert((table, name), set);
    }

    /// A chain was shown, without its rules.
    pub(super) fn chain(&mut self, table: TableName, chain: ReadChain) {
        let seen = SeenChain {
            base: chain.base,
            rules: Vec::new(),
        };
        self.chains.insert((table, chain.name), seen);
    }

    /// A set was shown, without its elements.
    pub(super) fn set(&mut self, table: TableName, definition: Definition) {
        let name = definition.name.clone();
        let seen = SeenSet {
            definition: Some(definition),
            elements: None,
        };
        self.sets.insert((table, name), seen);
    }
}
