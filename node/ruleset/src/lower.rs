//! A view becomes a ruleset: law e's "desired".
//!
//! Everything that depends on the view alone is a function of it; the cache only remembers answers. What cannot be
//! lowered is denied, and named as a fault, so that the daemon refuses the transaction instead of enforcing half of it.

use crate::{
    ir::{
        Chain, ChainName, Element, Expression, Key, Map, Rule, Ruleset, Set, SetName, Shape, State,
        Table, TableName, Value, Verdict, names,
    },
    stage::{Dispatch, STAGES, Stage, StageKind},
};
use palisade_policy::{
    class::{Class, Direction, EndpointKind, PolicyList},
    config::DenyAction,
    fault::{ItemFault, Reason},
    ids::{ClassId, EndpointId, TierName},
    packet::Environment,
    resolve::{Resolution, resolve},
    rule::Family,
    view::{Position, View},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

mod cache;
mod class;
mod exempt;
mod member;
mod part;
mod rule;
mod selector;
mod sequence;
mod tier;

pub use cache::LowerCache;
pub(crate) use member::is_host;
pub(crate) use selector::{lower_set, set_name};

/// What lowering gives.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// What the kernel should hold.
    pub ruleset: Ruleset,
    /// Who governs which interface.
    pub resolution: Resolution,
    /// Tiers that would have cost too many copies of rules as an index; they are one chain, judged rule by rule.
    pub plain: BTreeSet<PlainTier>,
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

/// Lowers a whole view. Without a position the position set is empty.
pub fn lower(
    view: &View,
    environment: &Environment,
    position: Option<&Position>,
    cache: &mut LowerCache,
) -> Lowered {
    cache.begin();
    let resolution = resolve(view, environment);
    let mut lowering = Lowering {
        view,
        environment,
        resolution: &resolution,
        cache,
        table: Table::default(),
        used: BTreeMap::new(),
        classes: BTreeMap::new(),
        plain: BTreeSet::new(),
        faults: Vec::new(),
    };
    lowering.stages();
    lowering.selector_sets();
    let Lowering {
        mut table,
        plain,
        mut faults,
        ..
    } = lowering;
    faults.sort_by(|a, b| a.item.cmp(&b.item));
    faults.dedup();
    table.sets.insert(
        SetName::new(names::POSITION),
        Arc::new(position_set(position)),
    );
    cache.end();
    Lowered {
        ruleset: Ruleset {
            tables: BTreeMap::from([(TableName::Main, table)]),
        },
        resolution,
        plain,
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
    cache: &'a mut LowerCache,
    table: Table,
    /// Selector sets that rules name.
    used: BTreeMap<SetName, selector::Use>,
    /// How a class is entered from a dispatch; absent class: forward without policy.
    classes: BTreeMap<(&'static str, Option<ClassId>), Verdict>,
    plain: BTreeSet<PlainTier>,
    faults: Vec<ItemFault>,
}

impl Lowering<'_> {
    fn stages(&mut self) {
        for stage in &STAGES {
            let rules = self.stage(stage);
            let chain = Chain {
                base: Some(stage.base),
                rules: Arc::new(rules),
            };
            self.table.chains.insert(ChainName::new(stage.chain), chain);
        }
    }

    /// Established flows, then what the stage is for, then an explicit verdict.
    fn stage(&mut self, stage: &Stage) -> Vec<Rule> {
        let mut rules = Vec::new();
        if !self.view.config.ipv6 {
            rules.push(rule([
                Expression::Family(Family::V6),
                Expression::Verdict(Verdict::Accept),
            ]));
        }
        rules.push(rule([
            Expression::CtState(vec![State::Established, State::Related]),
            Expression::Verdict(Verdict::Accept),
        ]));
        match stage.kind {
            StageKind::Plain => rules.extend(self.dispatch(stage.dispatch)),
            StageKind::Untranslated => {
                rules.push(rule([
                    Expression::CtDnat,
                    Expression::Verdict(Verdict::Accept),
                ]));
                rules.push(self.goto_dispatch(stage.dispatch));
            }
            StageKind::Translated => {
                rules.push(rule([
                    Expression::NotLocal,
                    Expression::Verdict(Verdict::Accept),
                ]));
                // With a silent deny both ways out are judged by the same chains.
                let dispatch = match self.view.config.deny_action {
                    DenyAction::Drop => Dispatch::OUT,
                    DenyAction::Reject => stage.dispatch,
                };
                let mut translated = self.goto_dispatch(dispatch);
                translated.expressions.insert(0, Expression::CtDnat);
                rules.push(translated);
                rules.push(accept());
            }
        }
        rules
    }

    fn goto_dispatch(&mut self, dispatch: Dispatch) -> Rule {
        let name = ChainName::new(dispatch.name);
        if !self.table.chains.contains_key(&name) {
            let rules = self.dispatch(dispatch);
            let chain = Chain {
                base: None,
                rules: Arc::new(rules),
            };
            self.table.chains.insert(name.clone(), chain);
        }
        rule([Expression::Verdict(Verdict::Goto(name))])
    }

    /// By interface to a class, then the default endpoint, then accept: an interface without endpoint is untouched.
    fn dispatch(&mut self, dispatch: Dispatch) -> Vec<Rule> {
        let mut elements = BTreeMap::new();
        for (interface, endpoint) in &self.resolution.hosts {
            let verdict = self.enter(dispatch, endpoint);
            let key = Element::single(Value::Interface(interface.clone()));
            elements.insert(key, verdict);
        }
        let default = self.resolution.default.as_ref();
        if default.is_some() {
            for interface in &self.resolution.exempt {
                elements
                    .entry(Element::single(Value::Interface(interface.clone())))
                    .or_insert(Verdict::Accept);
            }
        }
        let map = SetName::new(format!("{}_if", dispatch.name));
        self.table.maps.insert(
            map.clone(),
            Arc::new(Map {
                shape: Shape::Interface,
                interval: false,
                elements,
            }),
        );
        let mut rules = self.workload_interfaces(dispatch);
        rules.push(rule([Expression::VerdictMap {
            key: Key::Interface(dispatch.side),
            map,
        }]));
        match default.map(|endpoint| self.enter(dispatch, endpoint)) {
            None | Some(Verdict::Accept) => rules.push(accept()),
            Some(verdict) => rules.push(rule([Expression::Verdict(verdict)])),
        }
        rules
    }

    /// What goes between the host and its workloads is not the host endpoint's business.
    fn workload_interfaces(&self, dispatch: Dispatch) -> Vec<Rule> {
        if dispatch.list != PolicyList::Normal {
            return Vec::new();
        }
        let accept = |prefix: &String| {
            rule([
                Expression::InterfacePrefix {
                    side: dispatch.side,
                    prefix: prefix.clone(),
                },
                Expression::Verdict(Verdict::Accept),
            ])
        };
        self.resolution
            .workload_prefixes
            .iter()
            .map(accept)
            .collect()
    }

    /// How the endpoint's class is entered.
    fn enter(&mut self, dispatch: Dispatch, endpoint: &EndpointId) -> Verdict {
        let id = self
            .view
            .endpoints
            .get(endpoint)
            .and_then(|e| e.classes.get(&(dispatch.list, dispatch.direction)))
            .cloned();
        let key = (dispatch.name, id.clone());
        if let Some(verdict) = self.classes.get(&key) {
            return verdict.clone();
        }
        let class = match &id {
            Some(id) => self.view.classes.get(id).map(|class| (**class).clone()),
            None => Some(no_policy(dispatch)),
        };
        let lowered = match class {
            Some(class) => self.class(dispatch, id.as_ref(), &class),
            None => Err(ItemFault {
                item: endpoint.into(),
                reason: Reason::Dangling(
                    id.as_ref()
                        .map_or_else(palisade_policy::item::ItemId::config, Into::into),
                ),
            }),
        };
        let verdict = lowered.unwrap_or_else(|fault| {
            self.faults.push(fault);
            Verdict::Drop
        });
        self.classes.insert(key, verdict.clone());
        verdict
    }

    /// The first endpoint of the view that has the class: indexes are named after it.
    fn first_endpoint(&self, dispatch: Dispatch, class: Option<&ClassId>) -> Option<EndpointId> {
        let place = (dispatch.list, dispatch.direction);
        self.view
            .endpoints
            .iter()
            .find(|(_, endpoint)| endpoint.classes.get(&place) == class)
            .map(|(id, _)| id.clone())
    }

    fn selector_sets(&mut self) {
        for (name, used) in &self.used {
            let set = self.cache.selectors.set(self.view, used);
            self.table.sets.insert(name.clone(), set);
        }
    }
}

/// The class of an endpoint without policy of the list: nothing is asked, and what connection tracking calls invalid is
/// denied nevertheless.
fn no_policy(dispatch: Dispatch) -> Class {
    Class {
        list: dispatch.list,
        direction: dispatch.direction,
        endpoint: EndpointKind::Host,
        tiers: Vec::new(),
        profiles: Vec::new(),
    }
}

fn rule<const N: usize>(expressions: [Expression; N]) -> Rule {
    Rule::new(expressions.into())
}

fn accept() -> Rule {
    rule([Expression::Verdict(Verdict::Accept)])
}
