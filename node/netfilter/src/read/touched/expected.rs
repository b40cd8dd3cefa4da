//! What a plan leaves behind, by name.

use super::seen::Seen;
use palisade_ruleset::{
    ir::{Base, ChainName, Element, Rule, SetName, Shape, TableName, Verdict},
    plan::{Op, Plan},
};
use std::collections::BTreeMap;

/// The outcome of a plan; `None` and `false`: gone.
#[derive(Default)]
pub(super) struct Expected<'p> {
    pub(super) tables: BTreeMap<TableName, bool>,
    pub(super) chains: BTreeMap<(TableName, &'p ChainName), Option<ExpectedChain<'p>>>,
    pub(super) sets: BTreeMap<(TableName, &'p SetName), Option<ExpectedSet<'p>>>,
}

pub(super) struct ExpectedChain<'p> {
    /// Known only of a chain that the plan adds.
    base: Option<Option<Base>>,
    pub(super) rules: Rules<'p>,
}

/// The rules of a chain.
pub(super) enum Rules<'p> {
    Untouched,
    /// These, and perhaps others before them.
    Last(Vec<&'p Rule>),
    All(Vec<&'p Rule>),
}

pub(super) struct ExpectedSet<'p> {
    pub(super) shape: Shape,
    pub(super) interval: bool,
    /// The plan adds the set, so that it holds nothing else.
    pub(super) whole: bool,
    map: bool,
    /// There, with a verdict or without; or gone.
    pub(super) elements: BTreeMap<&'p Element, Option<Option<&'p Verdict>>>,
}

impl<'p> Expected<'p> {
    pub(super) fn of(plan: &'p Plan) -> Self {
        let mut expected = Self::default();
        for op in &plan.ops {
            expected.step(op);
        }
        expected
    }

    /// How many things to ask the kernel for.
    pub(super) fn questions(&self) -> usize {
        let elements = |set: &ExpectedSet<'_>| if set.whole { 2 } else { set.elements.len() };
        let sets = self.sets.values().flatten().map(elements).sum::<usize>();
        self.chains.len() + self.sets.len() + sets
    }

    fn step(&mut self, op: &'p Op) {
        match op {
            Op::AddTable(table) => {
                self.tables.insert(*table, true);
            }
            Op::DeleteTable(gone) => {
                self.tables.insert(*gone, false);
                self.chains.retain(|(table, _), _| table != gone);
                self.sets.retain(|(table, _), _| table != gone);
            }
            Op::AddChain { table, chain, base } => {
                let added = ExpectedChain {
                    base: Some(*base),
                    rules: Rules::All(Vec::new()),
                };
                self.chains.insert((*table, chain), Some(added));
            }
            Op::DeleteChain { table, chain } => {
                self.chains.insert((*table, chain), None);
            }
            Op::FlushChain { table, chain } => {
                self.chain(*table, chain).rules = Rules::All(Vec::new());
            }
            Op::AddRules {
                table,
                chain,
                rules,
            } => self.chain(*table, chain).rules.add(rules),
            Op::AddSet { table, name, set } => {
                let added = ExpectedSet {
                    shape: set.shape,
                    interval: set.interval,
                    whole: true,
                    map: false,
                    elements: set.elements.iter().map(|e| (e, Some(None))).collect(),
                };
                self.sets.insert((*table, name), Some(added));
            }
            Op::AddMap {
                table,
                name,
                shape,
                interval,
            } => {
                let added = ExpectedSet {
                    whole: true,
                    map: true,
                    ..ExpectedSet::existing(*shape, *interval)
                };
                self.sets.insert((*table, name), Some(added));
            }
            Op::DeleteSet { table, name } | Op::DeleteMap { table, name } => {
                self.sets.insert((*table, name), None);
            }
            Op::AddElements {
                table,
                set,
                shape,
                interval,
                elements,
            } => {
                let there = elements.iter().map(|element| (element, Some(None)));
                self.set(*table, set, *shape, *interval).extend(there);
            }
            Op::DeleteElements {
                table,
                set,
                shape,
                interval,
                elements,
            } => {
                let gone = elements.iter().map(|element| (element, None));
                self.set(*table, set, *shape, *interval).extend(gone);
            }
            Op::AddVerdicts {
                table,
                map,
                shape,
                interval,
                elements,
            } => {
                let there = elements.iter().map(|(e, verdict)| (e, Some(Some(verdict))));
                self.set(*table, map, *shape, *interval).extend(there);
            }
        }
    }

    fn chain(&mut self, table: TableName, chain: &'p ChainName) -> &mut ExpectedChain<'p> {
        let untouched = || ExpectedChain {
            base: None,
            rules: Rules::Untouched,
        };
        let slot = self.chains.entry((table, chain)).or_default();
        slot.get_or_insert_with(untouched)
    }

    fn set(
        &mut self,
        table: TableName,
        set: &'p SetName,
        shape: Shape,
        interval: bool,
    ) -> &mut BTreeMap<&'p Element, Option<Option<&'p Verdict>>> {
        let slot = self.sets.entry((table, set)).or_default();
        &mut slot
            .get_or_insert_with(|| ExpectedSet::existing(shape, interval))
            .elements
    }

    /// The first thing that is not as expected.
    pub(super) fn difference(&self, seen: &Seen) -> Option<(TableName, String)> {
        let tables = self.tables.iter().find_map(|(table, there)| {
            (seen.tables.contains(table) != *there).then(|| (*table, "the table itself".to_owned()))
        });
        let chains = || {
            self.chains.iter().find_map(|((table, name), expected)| {
                let seen = seen.chains.get(&(*table, (*name).clone()));
                let same = match (expected, seen) {
                    (Some(expected), Some(seen)) => {
                        expected.base.is_none_or(|base| base == seen.base)
                            && expected.rules.same(&seen.rules)
                    }
                    (None, None) => true,
                    _ => false,
                };
                (!same).then(|| (*table, format!("chain `{name}`")))
            })
        };
        let sets = || {
            self.sets.iter().find_map(|((table, name), expected)| {
                let seen = seen.sets.get(&(*table, (*name).clone()));
                let wrong = match (expected, seen) {
                    (Some(expected), Some(seen)) => expected.difference(seen)?,
                    (None, None) => return None,
                    _ => String::new(),
                };
                Some((*table, format!("set `{name}`{wrong}")))
            })
        };
        tables.or_else(chains).or_else(sets)
    }
}

impl<'p> Rules<'p> {
    fn add(&mut self, more: &'p [Rule]) {
        match self {
            Self::Untouched => *self = Self::Last(more.iter().collect()),
            Self::Last(rules) | Self::All(rules) => rules.extend(more),
        }
    }

    fn same(&self, seen: &[Rule]) -> bool {
        match self {
            Self::Untouched => true,
            Self::All(rules) => rules.iter().copied().eq(seen),
            Self::Last(rules) => seen
                .len()
                .checked_sub(rules.len())
                .and_then(|before| seen.get(before..))
                .is_some_and(|last| rules.iter().copied().eq(last)),
        }
    }
}

impl ExpectedSet<'_> {
    const fn existing(shape: Shape, interval: bool) -> Self {
        Self {
            shape,
            interval,
            whole: false,
            map: false,
            elements: BTreeMap::new(),
        }
    }

    /// What is wrong with a set: nothing, or the text behind its name.
    fn difference(&self, seen: &super::SeenSet) -> Option<String> {
        let Some(elements) = &seen.elements else {
            return Some(" holds foreign elements".to_owned());
        };
        if let Some(definition) = &seen.definition {
            let shape = definition.shape == Some(self.shape);
            let map = !self.whole || definition.map == self.map;
            if !shape || !map || definition.interval != self.interval {
                return Some(" is of another kind".to_owned());
            }
        }
        let there = self.elements.values().flatten().count();
        if self.whole && elements.len() != there {
            return Some(format!(" has {} elements, not {there}", elements.len()));
        }
        self.elements.iter().find_map(|(element, expected)| {
            let seen = elements.get(element).map(Option::as_ref);
            (seen != *expected).then(|| format!(", element {element:?}"))
        })
    }
}
