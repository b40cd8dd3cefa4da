//! The reference model of a transaction: what the kernel would do with a plan, and what it would refuse.
//!
//! INVARIANT: a ruleset without dangling references has none after any step that succeeds.

use crate::{
    ir::{Chain, ChainName, Element, Map, Ruleset, Set, SetName, Shape, Table, TableName, Verdict},
    plan::{Op, Plan},
    reference::{self, Referent},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

mod actual;
mod members;

pub use actual::Actual;

/// Why a step is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApplyError {
    /// The table is not there.
    #[error("table `{}` is absent", .0.as_str())]
    NoTable(TableName),
    /// The chain is not there.
    #[error("chain `{0}` is absent")]
    NoChain(ChainName),
    /// The set or map is not there, or is of the other kind.
    #[error("set or map `{0}` is absent")]
    NoSet(SetName),
    /// Something of the name is there already.
    #[error("`{0}` is there already")]
    Exists(String),
    /// An element is there already.
    #[error("`{0}` has the element already")]
    ElementExists(SetName),
    /// An element is not there.
    #[error("`{0}` lacks the element")]
    NoElement(SetName),
    /// Keys of another type, or ranges where there are none.
    #[error("`{0}` has other keys")]
    Shape(SetName),
    /// A rule or an element names what is not there.
    #[error("`{from}` names `{to}`, which is absent")]
    Dangling {
        /// The chain or map.
        from: String,
        /// The chain, set or map that is missing.
        to: String,
    },
    /// Something names what should go.
    #[error("`{0}` is still in use")]
    Busy(String),
}

/// Applies a plan; at the first step that is refused the ruleset is left as it was.
///
/// # Errors
/// What [`ApplyError`] says.
pub fn apply(ruleset: &mut Ruleset, plan: &Plan) -> Result<(), ApplyError> {
    if members::is_only(ruleset, plan) {
        return members::apply(ruleset, plan);
    }
    let mut next = Model::new(ruleset.clone());
    for op in &plan.ops {
        next.step(op)?;
    }
    *ruleset = next.ruleset;
    Ok(())
}

/// How often each name is named. No zeros.
pub(crate) type Uses = HashMap<(TableName, Referent), usize>;

/// A ruleset with counts of references.
#[derive(Debug, Default)]
struct Model {
    ruleset: Ruleset,
    uses: Uses,
}

impl Model {
    fn new(ruleset: Ruleset) -> Self {
        let uses = HashMap::new();
        let mut model = Self { ruleset, uses };
        model.count();
        model
    }

    fn count(&mut self) {
        for (name, table) in &self.ruleset.tables {
            let of_chains = table.chains.values().flat_map(reference::of_chain);
            let of_maps = table.maps.values().flat_map(|map| reference::of_map(map));
            for referent in of_chains.chain(of_maps) {
                *self.uses.entry((*name, referent)).or_default() += 1;
            }
        }
    }

    /// One step.
    fn step(&mut self, op: &Op) -> Result<(), ApplyError> {
        match op {
            Op::AddTable(name) => self.add_table(*name),
            Op::DeleteTable(name) => self.delete_table(*name),
            Op::AddChain { table, chain, base } => {
                let chains = &mut self.table(*table)?.chains;
                if chains.contains_key(chain) {
                    return Err(ApplyError::Exists(chain.to_string()));
                }
                let empty = Chain {
                    base: *base,
                    ..Chain::default()
                };
                chains.insert(chain.clone(), empty);
                Ok(())
            }
            Op::DeleteChain { table, chain } => {
                self.unused(*table, Referent::Chain(chain.clone()), chain.as_str())?;
                let gone = self.table(*table)?.chains.remove(chain);
                let gone = gone.ok_or_else(|| ApplyError::NoChain(chain.clone()))?;
                self.release(*table, reference::of_chain(&gone));
                Ok(())
            }
            Op::FlushChain { table, chain } => {
                let there = self.chain(*table, chain)?;
                let gone = std::mem::take(&mut there.rules);
                self.release(*table, gone.iter().flat_map(reference::of_rule));
                Ok(())
            }
            Op::AddRules {
                table,
                chain,
                rules,
            } => {
                self.chain(*table, chain)?;
                let named = rules.iter().flat_map(reference::of_rule);
                self.claim(*table, chain.as_str(), named)?;
                let there = self.chain(*table, chain)?;
                if there.rules.is_empty() {
                    there.rules = Arc::clone(rules);
                } else {
                    Arc::make_mut(&mut there.rules).extend(rules.iter().cloned());
                }
                Ok(())
            }
            Op::AddSet { table, name, set } => {
                self.name_free(*table, name)?;
                let sets = &mut self.table(*table)?.sets;
                sets.insert(name.clone(), Arc::clone(set));
                Ok(())
            }
            Op::AddMap {
                table,
                name,
                shape,
                interval,
            } => {
                self.name_free(*table, name)?;
                let map = Map {
                    shape: *shape,
                    interval: *interval,
                    elements: BTreeMap::new(),
                };
                let maps = &mut self.table(*table)?.maps;
                maps.insert(name.clone(), Arc::new(map));
                Ok(())
            }
            Op::DeleteSet { table, name } => {
                self.unused(*table, Referent::Set(name.clone()), name.as_str())?;
                let gone = self.table(*table)?.sets.remove(name);
                gone.map(drop)
                    .ok_or_else(|| ApplyError::NoSet(name.clone()))
            }
            Op::DeleteMap { table, name } => {
                self.unused(*table, Referent::Set(name.clone()), name.as_str())?;
                let gone = self.table(*table)?.maps.remove(name);
                let gone = gone.ok_or_else(|| ApplyError::NoSet(name.clone()))?;
                self.release(*table, reference::of_map(&gone));
                Ok(())
            }
            Op::AddElements {
                table,
                set,
                shape,
                interval,
                elements,
            } => {
                let there = self.table(*table)?.sets.get_mut(set);
                let there = there.ok_or_else(|| ApplyError::NoSet(set.clone()))?;
                fits(set, (there.shape, there.interval), (*shape, *interval))?;
                add_elements(set, Arc::make_mut(there), elements)
            }
            Op::DeleteElements {
                table,
                set,
                shape,
                interval,
                elements,
            } => self.delete_elements(*table, set, (*shape, *interval), elements),
            Op::AddVerdicts {
                table,
                map,
                shape,
                interval,
                elements,
            } => self.add_verdicts(*table, map, (*shape, *interval), elements),
        }
    }

    fn add_table(&mut self, name: TableName) -> Result<(), ApplyError> {
        if self.ruleset.tables.contains_key(&name) {
            return Err(ApplyError::Exists(name.as_str().to_owned()));
        }
        self.ruleset.tables.insert(name, Table::default());
        Ok(())
    }

    fn delete_table(&mut self, name: TableName) -> Result<(), ApplyError> {
        let gone = self.ruleset.tables.remove(&name);
        gone.ok_or(ApplyError::NoTable(name))?;
        self.uses.retain(|(table, _), _| *table != name);
        Ok(())
    }

    fn delete_elements(
        &mut self,
        table: TableName,
        name: &SetName,
        kind: (Shape, bool),
        elements: &[Element],
    ) -> Result<(), ApplyError> {
        let there = self.table(table)?;
        let lacks = || ApplyError::NoElement(name.clone());
        if let Some(set) = there.sets.get_mut(name) {
            fits(name, (set.shape, set.interval), kind)?;
            let set = Arc::make_mut(set);
            return elements
                .iter()
                .try_for_each(|e| set.elements.remove(e).then_some(()).ok_or_else(lacks));
        }
        let map = there.maps.get_mut(name);
        let map = map.ok_or_else(|| ApplyError::NoSet(name.clone()))?;
        fits(name, (map.shape, map.interval), kind)?;
        let map = Arc::make_mut(map);
        let gone: Option<Vec<Verdict>> = elements.iter().map(|e| map.elements.remove(e)).collect();
        let gone = gone.ok_or_else(lacks)?;
        self.release(table, gone.iter().filter_map(reference::of_verdict));
        Ok(())
    }

    fn add_verdicts(
        &mut self,
        table: TableName,
        name: &SetName,
        kind: (Shape, bool),
        elements: &[(Element, Verdict)],
    ) -> Result<(), ApplyError> {
        let named = elements
            .iter()
            .filter_map(|(_, v)| reference::of_verdict(v));
        self.claim(table, name.as_str(), named)?;
        let map = self.table(table)?.maps.get_mut(name);
        let map = map.ok_or_else(|| ApplyError::NoSet(name.clone()))?;
        fits(name, (map.shape, map.interval), kind)?;
        let map = Arc::make_mut(map);
        for (element, verdict) in elements {
            let before = map.elements.insert(element.clone(), verdict.clone());
            if before.is_some() {
                return Err(ApplyError::ElementExists(name.clone()));
            }
        }
        Ok(())
    }

    fn table(&mut self, name: TableName) -> Result<&mut Table, ApplyError> {
        let table = self.ruleset.tables.get_mut(&name);
        table.ok_or(ApplyError::NoTable(name))
    }

    fn chain(&mut self, table: TableName, name: &ChainName) -> Result<&mut Chain, ApplyError> {
        let chain = self.table(table)?.chains.get_mut(name);
        chain.ok_or_else(|| ApplyError::NoChain(name.clone()))
    }

    fn name_free(&mut self, table: TableName, name: &SetName) -> Result<(), ApplyError> {
        let table = self.table(table)?;
        if table.sets.contains_key(name) || table.maps.contains_key(name) {
            return Err(ApplyError::Exists(name.to_string()));
        }
        Ok(())
    }

    fn claim(
        &mut self,
        table: TableName,
        from: &str,
        referents: impl Iterator<Item = Referent>,
    ) -> Result<(), ApplyError> {
        for referent in referents {
            let there = self.table(table)?;
            let (found, to) = match &referent {
                Referent::Chain(name) => (there.chains.contains_key(name), name.to_string()),
                Referent::Set(name) => (
                    there.sets.contains_key(name) || there.maps.contains_key(name),
                    name.to_string(),
                ),
            };
            if !found {
                let from = from.to_owned();
                return Err(ApplyError::Dangling { from, to });
            }
            *self.uses.entry((table, referent)).or_default() += 1;
        }
        Ok(())
    }

    fn release(&mut self, table: TableName, referents: impl Iterator<Item = Referent>) {
        for referent in referents {
            let key = (table, referent);
            if let Some(count) = self.uses.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.uses.remove(&key);
                }
            }
        }
    }

    fn unused(&self, table: TableName, referent: Referent, name: &str) -> Result<(), ApplyError> {
        if self.uses.contains_key(&(table, referent)) {
            return Err(ApplyError::Busy(name.to_owned()));
        }
        Ok(())
    }
}

fn fits(name: &SetName, there: (Shape, bool), given: (Shape, bool)) -> Result<(), ApplyError> {
    if there == given {
        Ok(())
    } else {
        Err(ApplyError::Shape(name.clone()))
    }
}

fn add_elements(name: &SetName, set: &mut Set, elements: &[Element]) -> Result<(), ApplyError> {
    for element in elements {
        if !set.elements.insert(element.clone()) {
            return Err(ApplyError::ElementExists(name.clone()));
        }
    }
    Ok(())
}
