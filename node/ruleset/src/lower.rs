//! A view becomes a ruleset: law e's "desired".
//!
//! Everything that depends on the view alone is a function of it; the cache only remembers answers. What cannot be
//! lowered is denied, and named as a fault, so that the daemon refuses the transaction instead of enforcing half of it.

use crate::{
    ir::{
        ChainName, Element, Expression, Rule, Ruleset, Set, SetName, Shape, Table, TableName,
        Value, Verdict, names,
    },
    plugins::{Asking, has_auditors},
    stage::InUse,
};
use palisade_policy::{
    class::{Direction, PolicyList},
    fault::ItemFault,
    ids::{ClassId, EndpointId, TierName},
    packet::Environment,
    resolve::{Resolution, resolve},
    view::{Position, View},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

mod cache;
mod class;
mod dispatch;
mod exempt;
mod failure;
mod fragment;
mod frame;
mod head;
mod member;
mod rule;
mod selector;
mod sequence;
mod stages;
mod tier;
mod workload;

pub use cache::LowerCache;
pub(crate) use member::is_host;
pub(crate) use selector::{lower_set, set_name};
pub(crate) use tier::Touched;

/// What lowering gives.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// What the kernel should hold.
    pub ruleset: Ruleset,
    /// Who governs which interface.
    pub resolution: Resolution,
    /// Tiers that would have cost too many copies of rules as an index; they are one chain, judged rule by rule.
    pub plain: BTreeSet<PlainTier>,
    /// What plugins are asked, and by whom.
    pub asking: Asking,
    /// What could not be lowered and is denied. Not empty: refuse the transaction.
    pub faults: Vec<ItemFault>,
}

/// A tier that is one plain chain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PlainTier {
    /// The list.
    pub list: PolicyList,
    /// The direction.
    pub direction: Direction,
    /// The first endpoint whose class has it.
    pub endpoint: EndpointId,
    /// Its name; absent: a profile.
    pub tier: Option<TierName>,
    /// How many rules.
    pub rules: usize,
}

/// Whether the kernel can hand packets to a daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Queueing {
    Possible,
    Impossible,
}

/// Lowers a whole view. Without a position the position set is empty.
pub fn lower(
    view: &View,
    environment: &Environment,
    position: Option<&Position>,
    cache: &mut LowerCache,
) -> Lowered {
    lower_for(Queueing::Possible, view, environment, position, cache)
}

/// Lowers a whole view for a kernel that cannot queue packets: nobody is asked, and every condition comes to what its
/// failure comes to. For such a kernel the cache must be another one than for one that can.
pub fn lower_without_queue(
    view: &View,
    environment: &Environment,
    position: Option<&Position>,
    cache: &mut LowerCache,
) -> Lowered {
    let mut lowered = lower_for(Queueing::Impossible, view, environment, position, cache);
    lowered.asking = Asking::default();
    lowered
}

fn lower_for(
    queueing: Queueing,
    view: &View,
    environment: &Environment,
    position: Option<&Position>,
    cache: &mut LowerCache,
) -> Lowered {
    cache.begin();
    let resolution = resolve(view, environment);
    let asking = Asking::of(view, &resolution);
    let mut lowering = Lowering {
        view,
        asking: &asking,
        queueing,
        audits: has_auditors(view),
        environment,
        resolution: &resolution,
        cache,
        in_use: InUse::default(),
        first: dispatch::first_endpoints(view),
        table: Table::default(),
        standing: Vec::new(),
        used: BTreeMap::new(),
        classes: BTreeMap::new(),
        plain: BTreeSet::new(),
        faults: Vec::new(),
    };
    lowering.in_use = lowering.in_use();
    let mut tables: BTreeMap<TableName, Table> = [TableName::Main, TableName::Raw]
        .into_iter()
        .filter_map(|name| Some((name, lowering.table(name)?)))
        .collect();
    let Lowering {
        plain, mut faults, ..
    } = lowering;
    faults.sort_by(|a, b| a.item.cmp(&b.item));
    faults.dedup();
    if let Some(main) = tables.get_mut(&TableName::Main) {
        let set = Arc::new(position_set(position));
        main.sets.insert(SetName::new(names::POSITION), set);
    }
    cache.end(&faults);
    Lowered {
        ruleset: Ruleset { tables },
        resolution,
        plain,
        asking,
        faults,
    }
}

/// The set that carries the position.
pub(crate) fn position_set(position: Option<&Position>) -> Set {
    Set {
        shape: Shape::Position,
        interval: false,
        elements: position
            .map(|position| Element::single(Value::position(position)))
            .into_iter()
            .collect(),
    }
}

/// One lowering under way.
struct Lowering<'a> {
    view: &'a View,
    environment: &'a Environment,
    resolution: &'a Resolution,
    asking: &'a Asking,
    queueing: Queueing,
    /// Denials and log rules are told to auditors.
    audits: bool,
    cache: &'a mut LowerCache,
    in_use: InUse,
    /// Who has a class first.
    first: HashMap<ClassId, EndpointId>,
    /// The table under construction.
    table: Table,
    /// Chains of it that keep their names when their rules change.
    standing: Vec<ChainName>,
    /// Selector sets that its rules name.
    used: BTreeMap<SetName, selector::Use>,
    /// How a class is entered from a dispatch; absent class: forward without policy.
    classes: BTreeMap<(&'static str, Option<ClassId>), Verdict>,
    plain: BTreeSet<PlainTier>,
    faults: Vec<ItemFault>,
}

impl Lowering<'_> {
    /// A table with all stages that stand in it; absent if none does.
    fn table(&mut self, name: TableName) -> Option<Table> {
        let stands = self.stages(name);
        self.name_maps();
        self.selector_sets();
        self.used.clear();
        let table = std::mem::take(&mut self.table);
        stands.then_some(table)
    }

    fn selector_sets(&mut self) {
        for (name, used) in &self.used {
            let set = self.cache.selectors.set(self.view, used);
            self.table.sets.insert(name.clone(), set);
        }
    }
}

fn rule<const N: usize>(expressions: [Expression; N]) -> Rule {
    Rule::new(expressions.into())
}

fn accept() -> Rule {
    rule([Expression::Verdict(Verdict::Accept)])
}
