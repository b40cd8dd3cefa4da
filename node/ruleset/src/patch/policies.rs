//! Policies that became others: the plan is that between the part of the ruleset that changes, before and after.
//!
//! INVARIANT: what nothing names any more goes, and nothing that stays names what went; so the plan leads to what a full
//! lowering would give.

use super::patch_sets;
use crate::{
    apply::{Actual, Uses},
    diff::diff,
    ir::{ChainName, Map, Ruleset, SetName, Table, TableName, names::POSITION},
    lower::{LowerCache, Touched, position_set},
    plan::Plan,
    reference::{self, Referent},
};
use palisade_policy::{
    delta::Change,
    view::{Position, View},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

pub(super) fn lower_policies(
    actual: &mut Actual,
    view: &View,
    change: &Change,
    position: Option<&Position>,
    cache: &mut LowerCache,
) -> Option<Plan> {
    let beyond = change.config
        || !change.endpoints.is_empty()
        || !change.classes.is_empty()
        || !change.plugins.is_empty();
    if beyond {
        return None;
    }
    let (actual, uses) = actual.counted();
    let mut plan = Plan {
        ops: patch_sets(actual, view, change)?,
    };
    let touched = cache.patch(view, change.policies.iter())?;
    let (mut before, mut after) = (Ruleset::default(), Ruleset::default());
    for (name, table) in &actual.tables {
        let mut cut = Subgraph {
            of: *name,
            table,
            uses,
            touched: &touched,
            view,
            cache: &mut *cache,
            balance: HashMap::new(),
            before: Table::default(),
            after: Table::default(),
        };
        cut.elements()?;
        before.tables.insert(*name, cut.before);
        after.tables.insert(*name, cut.after);
    }
    let name = SetName::new(POSITION);
    let there = actual.tables.get(&TableName::Main)?.sets.get(&name)?;
    let sides = [
        (&mut before, Arc::clone(there)),
        (&mut after, Arc::new(position_set(position))),
    ];
    for (side, set) in sides {
        let main = side.tables.get_mut(&TableName::Main)?;
        main.sets.insert(name.clone(), set);
    }
    plan.ops.extend(diff(&before, &after).ops);
    Some(plan)
}

/// What a table is cut down to: what a change touches, before and after it.
struct Subgraph<'a> {
    of: TableName,
    table: &'a Table,
    /// How often a name is named before the change.
    uses: &'a Uses,
    touched: &'a Touched,
    view: &'a View,
    cache: &'a mut LowerCache,
    /// How much oftener a name is named after the change.
    balance: HashMap<Referent, isize>,
    before: Table,
    after: Table,
}

impl Subgraph<'_> {
    /// Comes first, goes last: what is named again stays.
    fn elements(&mut self) -> Option<()> {
        let (of, touched) = (self.of, self.touched);
        let changed = || {
            let all = touched.elements.iter();
            all.filter(move |((table, ..), change)| *table == of && change.before != change.after)
        };
        for ((_, name, element), change) in changed() {
            let map = || {
                Arc::new(Map {
                    shape: change.shape,
                    interval: change.interval,
                    elements: BTreeMap::new(),
                })
            };
            let sides = [
                (&mut self.before, &change.before),
                (&mut self.after, &change.after),
            ];
            for (side, verdict) in sides {
                let map = side.maps.entry(name.clone()).or_insert_with(map);
                if let Some(verdict) = verdict {
                    let map = Arc::make_mut(map);
                    map.elements.insert(element.clone(), verdict.clone());
                }
            }
        }
        for (_, change) in changed() {
            for referent in change.after.iter().filter_map(reference::of_verdict) {
                self.claim(referent)?;
            }
        }
        for (_, change) in changed() {
            for referent in change.before.iter().filter_map(reference::of_verdict) {
                self.release(referent);
            }
        }
        Some(())
    }

    /// Named once more. `None`: it is nowhere.
    fn claim(&mut self, referent: Referent) -> Option<()> {
        *self.balance.entry(referent.clone()).or_default() += 1;
        match referent {
            Referent::Chain(name) => {
                if self.table.chains.contains_key(&name) || self.after.chains.contains_key(&name) {
                    return Some(());
                }
                let chain = self.touched.chain(&name)?.clone();
                let named: Vec<Referent> = reference::of_chain(&chain).collect();
                self.after.chains.insert(name, chain);
                named.into_iter().try_for_each(|name| self.claim(name))
            }
            Referent::Set(name) => {
                let there = self.table.sets.contains_key(&name)
                    || self.table.maps.contains_key(&name)
                    || self.after.sets.contains_key(&name);
                if !there {
                    let set = self.touched.set(&name, self.view, self.cache)?;
                    self.after.sets.insert(name, set);
                }
                Some(())
            }
        }
    }

    /// Named once less; what is named no more goes.
    fn release(&mut self, referent: Referent) {
        let balance = self.balance.entry(referent.clone()).or_default();
        *balance -= 1;
        let before = self.uses.get(&(self.of, referent.clone()));
        let after = before.map_or(Some(0), |n| n.checked_add_signed(*balance));
        if after != Some(0) {
            return;
        }
        match referent {
            Referent::Chain(name) => self.drop_chain(name),
            Referent::Set(name) => {
                if let Some(set) = self.table.sets.get(&name) {
                    self.before.sets.insert(name, Arc::clone(set));
                }
            }
        }
    }

    fn drop_chain(&mut self, name: ChainName) {
        if let Some(chain) = self.table.chains.get(&name) {
            let named: Vec<Referent> = reference::of_chain(chain).collect();
            self.before.chains.insert(name, chain.clone());
            for referent in named {
                self.release(referent);
            }
        }
    }
}
