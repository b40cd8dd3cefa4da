//! What is enforced while the policy is not known to be: everything governed is closed but for established flows, failsafes
//! and exemptions. A view like any other, so that it is lowered, written and read back like any other.

use palisade_policy::{
    class::{Class, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    config::NodeConfig,
    endpoint::{Endpoint, InterfaceMatch},
    ids::ClassId,
    packet::Environment,
    view::View,
};
use palisade_ruleset::{
    ir::{Ruleset, TableName},
    lower,
    lower::LowerCache,
};
use std::{collections::BTreeMap, sync::Arc};

/// The same endpoints, failsafes and exemptions, with policy that denies.
pub(super) fn closed(view: &View) -> View {
    let mut closed = View {
        policies: BTreeMap::new(),
        sets: BTreeMap::new(),
        plugins: BTreeMap::new(),
        classes: BTreeMap::new(),
        ..view.clone()
    };
    for endpoint in closed.endpoints.values_mut() {
        let endpoint = Arc::make_mut(endpoint);
        let lists = std::mem::take(&mut endpoint.classes);
        for ((list, direction), _) in lists {
            if matches!(list, PolicyList::Normal | PolicyList::Forward) {
                let class = denying(list, direction, endpoint.kind);
                let id = ClassId::of(&class);
                closed.classes.insert(id.clone(), Arc::new(class));
                endpoint.classes.insert((list, direction), id);
            }
        }
    }
    closed
}

fn denying(list: PolicyList, direction: Direction, endpoint: EndpointKind) -> Class {
    Class {
        list,
        direction,
        endpoint,
        tiers: vec![ClassTier {
            name: "quarantine".into(),
            default: TierDefault::Deny,
            policies: Vec::new(),
            staged: Vec::new(),
        }],
        profiles: Vec::new(),
    }
}

/// The guard table that closes what a view governs, beside whatever else is in the kernel.
pub(super) fn guard(view: &View, environment: &Environment) -> Ruleset {
    let lowered = lower(&closed(view), environment, None, &mut LowerCache::new());
    let mut tables = lowered.ruleset.tables;
    let guard = tables.remove(&TableName::Main);
    Ruleset {
        tables: guard
            .map(|table| (TableName::Guard, table))
            .into_iter()
            .collect(),
    }
}

/// What is enforced where nothing was ever saved, if the operator chose so: every interface is closed but for the default
/// failsafes and exemptions.
pub(super) fn nothing_saved() -> View {
    let lists = [PolicyList::Normal, PolicyList::Forward];
    let classes = lists.into_iter().flat_map(|list| {
        [Direction::Ingress, Direction::Egress].map(|direction| {
            let class = denying(list, direction, EndpointKind::Host);
            ((list, direction), ClassId::of(&class), Arc::new(class))
        })
    });
    let classes: Vec<_> = classes.collect();
    let everything = Endpoint {
        kind: EndpointKind::Host,
        interface: InterfaceMatch::Any,
        addresses: Vec::new(),
        source_prefixes: Vec::new(),
        labels: BTreeMap::new(),
        classes: classes
            .iter()
            .map(|(at, id, _)| (*at, id.clone()))
            .collect(),
    };
    View {
        config: Arc::new(NodeConfig::default()),
        endpoints: BTreeMap::from([("hep/guard".into(), Arc::new(everything))]),
        classes: classes
            .into_iter()
            .map(|(_, id, class)| (id, class))
            .collect(),
        policies: BTreeMap::new(),
        sets: BTreeMap::new(),
        plugins: BTreeMap::new(),
    }
}
