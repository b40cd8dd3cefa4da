//! Selector sets: one per selector, family and kind, shared by all rules of a table.

use super::member::{is_host, reduce};
use crate::ir::{Element, Set, SetName, Shape, Value};
use palisade_policy::{
    ids::SetId,
    rule::{Family, family_of},
    set::IpSet,
    view::View,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Weak},
};

/// What a rule looks up.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Use {
    pub(super) id: SetId,
    pub(super) family: Family,
}

/// What is known of selector sets. Weak: a set that nobody else holds may change in place.
#[derive(Debug, Default)]
pub(super) struct Selectors {
    known: BTreeMap<SetId, Known>,
}

#[derive(Debug)]
struct Known {
    source: Weak<IpSet>,
    interval: [Option<bool>; 2],
    lowered: [Weak<Set>; 2],
}

impl Selectors {
    /// The set's name in the kernel; `None` if the view lacks it.
    pub(super) fn name(&mut self, view: &View, used: &Use) -> Option<SetName> {
        let source = view.sets.get(&used.id)?;
        let interval = &mut self.known(view, &used.id)?.interval[slot(used.family)];
        let interval = *interval.get_or_insert_with(|| needs_interval(source, used.family));
        Some(set_name(&used.id, used.family, interval))
    }

    /// The set itself; without members if the view lacks it.
    pub(super) fn set(&mut self, view: &View, used: &Use) -> Arc<Set> {
        let lowered = self
            .known(view, &used.id)
            .and_then(|known| known.lowered[slot(used.family)].upgrade());
        if let Some(set) = lowered {
            return set;
        }
        let empty = IpSet::empty(used.id.holds_ports().unwrap_or(false));
        let source = view.sets.get(&used.id).map_or(&empty, |set| set);
        let set = Arc::new(lower_set(source, used.family));
        if let Some(known) = self.known.get_mut(&used.id) {
            known.lowered[slot(used.family)] = Arc::downgrade(&set);
        }
        set
    }

    /// Pairs a set of the view with what the kernel holds for it, after members changed in place in both.
    pub(super) fn remember(&mut self, view: &View, id: &SetId, family: Family, set: &Arc<Set>) {
        if let Some(known) = self.known(view, id) {
            known.lowered[slot(family)] = Arc::downgrade(set);
            known.interval[slot(family)] = Some(set.interval);
        }
    }

    /// Forgets sets that the view no longer has.
    pub(super) fn retain(&mut self) {
        self.known
            .retain(|_, known| known.source.strong_count() > 0);
    }

    fn known(&mut self, view: &View, id: &SetId) -> Option<&mut Known> {
        let source = view.sets.get(id)?;
        let fresh = || Known {
            source: Arc::downgrade(source),
            interval: [None, None],
            lowered: [Weak::new(), Weak::new()],
        };
        let known = self.known.entry(id.clone()).or_insert_with(fresh);
        // INVARIANT: the weak reference keeps the place of the old value, so equal addresses are equal values.
        if !std::ptr::eq(known.source.as_ptr(), Arc::as_ptr(source)) {
            *known = fresh();
        }
        Some(known)
    }
}

const fn slot(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

/// The name of a selector set: of its id, family and kind.
pub(crate) fn set_name(id: &SetId, family: Family, interval: bool) -> SetName {
    let (kind, digest) = id.as_str().split_once(':').unwrap_or(("s", id.as_str()));
    let family = match family {
        Family::V4 => 4,
        Family::V6 => 6,
    };
    let interval = if interval { "i" } else { "" };
    SetName::new(format!("{kind}{family}{interval}_{digest}"))
}

fn needs_interval(set: &IpSet, family: Family) -> bool {
    match set {
        IpSet::Ports(_) => false,
        IpSet::Nets(nets) => nets
            .iter()
            .any(|net| family_of(net) == family && !is_host(net)),
    }
}

/// The members of one family.
pub(crate) fn lower_set(set: &IpSet, family: Family) -> Set {
    match set {
        IpSet::Nets(nets) => {
            let of_family = nets.iter().filter(|net| family_of(net) == family);
            let (elements, interval) = reduce(of_family.copied());
            Set {
                shape: match family {
                    Family::V4 => Shape::Address4,
                    Family::V6 => Shape::Address6,
                },
                interval,
                elements,
            }
        }
        IpSet::Ports(_) => Set {
            shape: match family {
                Family::V4 => Shape::Address4ProtocolPort,
                Family::V6 => Shape::Address6ProtocolPort,
            },
            interval: false,
            elements: port_elements(set, family),
        },
    }
}

/// The family of an address.
pub(crate) const fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

fn port_elements(set: &IpSet, of: Family) -> BTreeSet<Element> {
    let IpSet::Ports(ports) = set else {
        return BTreeSet::new();
    };
    ports
        .iter()
        .filter(|port| family(port.address) == of)
        .map(|p| Element::single(Value::AddressProtocolPort(p.address, p.protocol, p.port)))
        .collect()
}
