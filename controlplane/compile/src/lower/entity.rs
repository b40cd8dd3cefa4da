//! One end of a rule.

use crate::{selectors, set::SetDefinition};
use ipnet::IpNet;
use palisade_model::{EntityRule, Name, PortSpec};
use palisade_policy::{
    ids::SetId,
    rule::{EntityMatch, PortMatch, PortRange},
};
use palisade_selector::Selector;
use std::collections::BTreeMap;

type Sets = BTreeMap<SetId, SetDefinition>;

/// Folds selectors into sets (specification §3.3.5, §3.3.6).
pub(super) fn lower(entity: &EntityRule, namespace: Option<&Name>, sets: &mut Sets) -> EntityMatch {
    let positive = selectors::positive(entity, namespace);
    let ports = lower_ports(&entity.ports, positive.as_ref(), sets);
    let not_ports = lower_ports(&entity.not_ports, positive.as_ref(), sets);
    // Named ports alone imply the address: they are those of selected objects.
    let implied = ports.ranges.is_empty() && !ports.sets.is_empty();
    let (positive, negative) = match positive {
        Some(_) if implied => (None, None),
        Some(selector) => (Some(selector), None),
        None => (None, entity.not_selector.clone()),
    };
    let mut name = |selector: Option<Selector>| -> Vec<SetId> {
        let set = selector.map(|selector| named(SetDefinition::Nets(selector), sets));
        set.into_iter().collect()
    };
    EntityMatch {
        nets: sorted(&entity.nets),
        not_nets: sorted(&entity.not_nets),
        sets: name(positive),
        not_sets: name(negative),
        ports,
        not_ports,
    }
}

fn lower_ports(specs: &[PortSpec], positive: Option<&Selector>, sets: &mut Sets) -> PortMatch {
    let mut ports = PortMatch::default();
    for spec in specs {
        match spec {
            PortSpec::Range(range) => {
                ports
                    .ranges
                    .extend(PortRange::new(range.first(), range.last()));
            }
            PortSpec::Named(name) => {
                let selector = positive.cloned().unwrap_or_else(Selector::all);
                ports
                    .sets
                    .push(named(SetDefinition::Ports(selector, name.clone()), sets));
            }
        }
    }
    ports.ranges.sort_unstable();
    ports.ranges.dedup();
    ports.sets.sort_unstable();
    ports.sets.dedup();
    ports
}

fn named(definition: SetDefinition, sets: &mut Sets) -> SetId {
    let id = definition.id();
    sets.entry(id.clone()).or_insert(definition);
    id
}

fn sorted(nets: &[IpNet]) -> Vec<IpNet> {
    let mut nets = nets.to_vec();
    nets.sort_unstable();
    nets.dedup();
    nets
}
