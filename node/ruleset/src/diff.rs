//! The plan from what is to what should be.
//!
//! Referents first on the way in, last on the way out (law d), in one order for all plans: new sets, maps and chains;
//! rules of new chains; members; verdicts; rules of chains that stay; then what nothing names any more. What is shared
//! is skipped by pointer.

use crate::{
    ir::{Chain, ChainName, Element, Map, Ruleset, Set, SetName, Table, TableName, Verdict},
    plan::{Op, Plan},
    reference::{self, Referent},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What to do so that `actual` becomes `desired`.
pub fn diff(actual: &Ruleset, desired: &Ruleset) -> Plan {
    let mut ops = Vec::new();
    for name in TableName::ALL {
        match (actual.tables.get(&name), desired.tables.get(&name)) {
            (None, None) => {}
            (Some(actual), None) => {
                // At once they judge no more; all else is garbage then.
                let bases = actual.chains.iter().filter(|(_, c)| c.base.is_some());
                ops.extend(bases.map(|(chain, _)| Op::DeleteChain {
                    table: name,
                    chain: chain.clone(),
                }));
                ops.push(Op::DeleteTable(name));
            }
            (None, Some(desired)) => {
                ops.push(Op::AddTable(name));
                TableDiff::new(name, &Table::default(), desired, &mut ops).run();
            }
            (Some(actual), Some(desired)) if can_become(actual, desired) => {
                TableDiff::new(name, actual, desired, &mut ops).run();
            }
            (Some(_), Some(desired)) => {
                ops.push(Op::DeleteTable(name));
                ops.push(Op::AddTable(name));
                TableDiff::new(name, &Table::default(), desired, &mut ops).run();
            }
        }
    }
    Plan { ops }
}

/// Nothing of the same name has another type. Our names tell types, so this fails only where someone else was at work.
fn can_become(actual: &Table, desired: &Table) -> bool {
    let chains = desired.chains.iter().all(|(name, chain)| {
        let there = actual.chains.get(name);
        there.is_none_or(|there| there.base == chain.base)
    });
    let sets = desired.sets.iter().all(|(name, set)| {
        let kind = |set: &Arc<Set>| (set.shape, set.interval);
        let there = actual.sets.get(name);
        !actual.maps.contains_key(name) && there.is_none_or(|there| kind(there) == kind(set))
    });
    let maps = desired.maps.iter().all(|(name, map)| {
        let kind = |map: &Arc<Map>| (map.shape, map.interval);
        let there = actual.maps.get(name);
        !actual.sets.contains_key(name) && there.is_none_or(|there| kind(there) == kind(map))
    });
    chains && sets && maps
}

struct TableDiff<'a> {
    table: TableName,
    actual: &'a Table,
    desired: &'a Table,
    ops: &'a mut Vec<Op>,
}

impl<'a> TableDiff<'a> {
    const fn new(
        table: TableName,
        actual: &'a Table,
        desired: &'a Table,
        ops: &'a mut Vec<Op>,
    ) -> Self {
        Self {
            table,
            actual,
            desired,
            ops,
        }
    }

    fn run(mut self) {
        self.add_names();
        self.add_rules();
        self.change_sets();
        self.change_maps();
        self.change_chains();
        self.remove();
    }

    fn add_names(&mut self) {
        let table = self.table;
        for (name, set) in new(&self.actual.sets, &self.desired.sets) {
            self.ops.push(Op::AddSet {
                table,
                name: name.clone(),
                set: Arc::clone(set),
            });
        }
        for (name, map) in new(&self.actual.maps, &self.desired.maps) {
            self.ops.push(Op::AddMap {
                table,
                name: name.clone(),
                shape: map.shape,
                interval: map.interval,
            });
        }
        for (name, chain) in new(&self.actual.chains, &self.desired.chains) {
            self.ops.push(Op::AddChain {
                table,
                chain: name.clone(),
                base: chain.base,
            });
        }
    }

    /// Base chains last: nothing is entered before it is whole.
    fn add_rules(&mut self) {
        let added: Vec<_> = new(&self.actual.chains, &self.desired.chains).collect();
        for base in [false, true] {
            for (name, chain) in &added {
                if chain.base.is_some() == base {
                    self.fill(name, chain);
                }
            }
        }
    }

    fn fill(&mut self, name: &ChainName, chain: &Chain) {
        if !chain.rules.is_empty() {
            self.ops.push(Op::AddRules {
                table: self.table,
                chain: name.clone(),
                rules: Arc::clone(&chain.rules),
            });
        }
    }

    fn change_sets(&mut self) {
        for (name, actual, desired) in kept(&self.actual.sets, &self.desired.sets) {
            if Arc::ptr_eq(actual, desired) {
                continue;
            }
            let gone = actual.elements.difference(&desired.elements);
            let added = desired.elements.difference(&actual.elements);
            let (gone, added) = (gone.cloned().collect(), added.cloned().collect());
            self.delete_elements(name, (desired.shape, desired.interval), gone);
            self.add_elements(name, desired, added);
        }
    }

    fn change_maps(&mut self) {
        for (name, map) in &self.desired.maps {
            let nothing = BTreeMap::new();
            let actual = self.actual.maps.get(name);
            if actual.is_some_and(|actual| Arc::ptr_eq(actual, map)) {
                continue;
            }
            let actual = actual.map_or(&nothing, |actual| &actual.elements);
            let stays = |(key, to): &(&Element, &Verdict)| map.elements.get(*key) == Some(*to);
            let gone = actual.iter().filter(|pair| !stays(pair));
            let gone = gone.map(|(key, _)| key.clone()).collect();
            let was = |(key, to): &(&Element, &Verdict)| actual.get(*key) == Some(*to);
            let added: Vec<_> = map
                .elements
                .iter()
                .filter(|pair| !was(pair))
                .map(|(key, to)| (key.clone(), to.clone()))
                .collect();
            self.delete_elements(name, (map.shape, map.interval), gone);
            if !added.is_empty() {
                self.ops.push(Op::AddVerdicts {
                    table: self.table,
                    map: name.clone(),
                    shape: map.shape,
                    interval: map.interval,
                    elements: added,
                });
            }
        }
    }

    fn change_chains(&mut self) {
        for (name, actual, desired) in kept(&self.actual.chains, &self.desired.chains) {
            if Arc::ptr_eq(&actual.rules, &desired.rules) || actual.rules == desired.rules {
                continue;
            }
            if !actual.rules.is_empty() {
                self.ops.push(Op::FlushChain {
                    table: self.table,
                    chain: name.clone(),
                });
            }
            self.fill(name, desired);
        }
    }

    /// Who names others goes before them. Base chains first: they decide, all others are garbage by now.
    fn remove(&mut self) {
        let mut gone: BTreeMap<Referent, Vec<Referent>> = BTreeMap::new();
        for (name, chain) in new(&self.desired.chains, &self.actual.chains) {
            if chain.base.is_some() {
                self.delete_chain(name.clone());
            } else {
                let named = reference::of_chain(chain).collect();
                gone.insert(Referent::Chain(name.clone()), named);
            }
        }
        for (name, map) in new(&self.desired.maps, &self.actual.maps) {
            let named = reference::of_map(map).collect();
            gone.insert(Referent::Set(name.clone()), named);
        }
        for (name, _) in new(&self.desired.sets, &self.actual.sets) {
            gone.insert(Referent::Set(name.clone()), Vec::new());
        }
        let table = self.table;
        for referent in referrers_first(&gone) {
            match referent {
                Referent::Chain(chain) => self.delete_chain(chain),
                Referent::Set(name) => self.ops.push(if self.actual.maps.contains_key(&name) {
                    Op::DeleteMap { table, name }
                } else {
                    Op::DeleteSet { table, name }
                }),
            }
        }
    }

    fn delete_chain(&mut self, chain: ChainName) {
        let table = self.table;
        self.ops.push(Op::DeleteChain { table, chain });
    }

    fn delete_elements(
        &mut self,
        name: &SetName,
        (shape, interval): (crate::ir::Shape, bool),
        elements: Vec<Element>,
    ) {
        if !elements.is_empty() {
            self.ops.push(Op::DeleteElements {
                table: self.table,
                set: name.clone(),
                shape,
                interval,
                elements,
            });
        }
    }

    fn add_elements(&mut self, name: &SetName, set: &Set, elements: Vec<Element>) {
        if !elements.is_empty() {
            self.ops.push(Op::AddElements {
                table: self.table,
                set: name.clone(),
                shape: set.shape,
                interval: set.interval,
                elements,
            });
        }
    }
}

/// An order in which each comes before all that it names. Names make no circles: the kernel refuses them.
fn referrers_first(gone: &BTreeMap<Referent, Vec<Referent>>) -> Vec<Referent> {
    let mut referrers: BTreeMap<&Referent, usize> = gone.keys().map(|name| (name, 0)).collect();
    for referent in gone.values().flatten() {
        if let Some(count) = referrers.get_mut(referent) {
            *count += 1;
        }
    }
    let mut free: BTreeSet<&Referent> = referrers
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(name, _)| *name)
        .collect();
    let mut order = Vec::with_capacity(gone.len());
    while let Some(name) = free.pop_first() {
        order.push(name.clone());
        for referent in gone.get(name).into_iter().flatten() {
            let Some((referent, count)) = gone
                .get_key_value(referent)
                .and_then(|(key, _)| referrers.get_mut(key).map(|count| (key, count)))
            else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                free.insert(referent);
            }
        }
    }
    order
}

/// Entries of `to` whose names `from` lacks.
fn new<'a, K: Ord, V>(
    from: &'a BTreeMap<K, V>,
    to: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    to.iter().filter(|(name, _)| !from.contains_key(name))
}

/// Names of both, with both values.
fn kept<'a, K: Ord, V>(
    from: &'a BTreeMap<K, V>,
    to: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V, &'a V)> {
    to.iter()
        .filter_map(|(name, new)| from.get(name).map(|old| (name, old, new)))
}
