//! From an interface to the class that judges it.

use super::{Lowering, accept, rule};
use crate::{
    ir::{Element, Expression, Key, Map, Rule, SetName, Shape, Value, Verdict},
    stage::Dispatch,
};
use palisade_policy::{
    class::{Class, EndpointKind, PolicyList},
    fault::{ItemFault, Reason},
    ids::{ClassId, EndpointId, IfName},
    view::View,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

impl Lowering<'_> {
    /// By interface to a class, then whatever governs other interfaces, then accept: without endpoint a host's interface
    /// is untouched. Where a list is judged again, return instead: others judge.
    pub(super) fn dispatch(&mut self, dispatch: Dispatch) -> Vec<Rule> {
        let mut rules = Vec::new();
        match dispatch.kind {
            EndpointKind::Workload => {
                rules.push(self.workload_map(dispatch));
                rules.extend(self.unknown_workloads(dispatch));
                rules.push(accept());
            }
            EndpointKind::Host => {
                if dispatch == Dispatch::OUT || dispatch == Dispatch::OUT_TRANSLATED {
                    rules.extend(self.to_workloads(dispatch));
                }
                rules.extend(self.host_map(dispatch));
            }
        }
        rules
    }

    /// The classes of workloads.
    pub(super) fn workload_map(&mut self, dispatch: Dispatch) -> Rule {
        let mut elements = BTreeMap::new();
        for (interface, endpoint) in &self.resolution.workloads {
            elements.insert(key(interface), self.enter(dispatch, endpoint));
        }
        self.interface_map(dispatch, elements)
    }

    fn host_map(&mut self, dispatch: Dispatch) -> Vec<Rule> {
        // Lists that come before others are silent where they have no policy; and untracked ones are not for `*`.
        let (early, for_default) = match dispatch.list {
            PolicyList::Normal | PolicyList::Forward => (false, true),
            PolicyList::PreDnat => (true, true),
            PolicyList::Untracked => (true, false),
        };
        let judges = |endpoint: &&EndpointId| !early || self.class_of(dispatch, endpoint).is_some();
        let default = self.resolution.default.as_ref();
        let default = default.filter(|_| for_default).filter(judges);
        let (judged, left): (Vec<_>, Vec<_>) = self
            .resolution
            .hosts
            .iter()
            .partition(|(_, endpoint)| judges(endpoint));
        let mut elements = BTreeMap::new();
        if default.is_some() {
            let exempt = self.resolution.exempt.iter();
            for interface in left.into_iter().map(|(name, _)| name).chain(exempt) {
                elements.insert(key(interface), dispatch.otherwise());
            }
        }
        for (interface, endpoint) in judged {
            elements.insert(key(interface), self.enter(dispatch, endpoint));
        }
        let end = default.map(|endpoint| self.enter(dispatch, endpoint));
        let end = rule([Expression::Verdict(end.unwrap_or(dispatch.otherwise()))]);
        vec![self.interface_map(dispatch, elements), end]
    }

    fn interface_map(&mut self, dispatch: Dispatch, elements: BTreeMap<Element, Verdict>) -> Rule {
        let map = SetName::new(format!("{}_if", dispatch.name));
        self.table.maps.insert(
            map.clone(),
            Arc::new(Map {
                shape: Shape::Interface,
                interval: false,
                elements,
            }),
        );
        let key = Key::Interface(dispatch.side);
        rule([Expression::VerdictMap { key, map }])
    }

    /// How the endpoint's class is entered.
    fn enter(&mut self, dispatch: Dispatch, endpoint: &EndpointId) -> Verdict {
        let id = self.class_of(dispatch, endpoint).cloned();
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

    fn class_of(&self, dispatch: Dispatch, endpoint: &EndpointId) -> Option<&ClassId> {
        let place = (dispatch.list, dispatch.direction);
        self.view.endpoints.get(endpoint)?.classes.get(&place)
    }
}

/// The first endpoint of the view that has each class: indexes are named after it.
pub(super) fn first_endpoints(view: &View) -> HashMap<ClassId, EndpointId> {
    let mut first = HashMap::new();
    for (id, endpoint) in &view.endpoints {
        for class in endpoint.classes.values() {
            if !first.contains_key(class) {
                first.insert(class.clone(), id.clone());
            }
        }
    }
    first
}

/// The class of an endpoint without policy of the list: nothing is asked, and what connection tracking calls invalid is
/// denied nevertheless.
fn no_policy(dispatch: Dispatch) -> Class {
    Class {
        list: dispatch.list,
        direction: dispatch.direction,
        endpoint: dispatch.kind,
        tiers: Vec::new(),
        profiles: Vec::new(),
    }
}

fn key(interface: &IfName) -> Element {
    Element::single(Value::Interface(interface.clone()))
}
