//! Parts of a table under construction, and names that say what is in them.

use crate::{
    ir::{
        Chain, ChainName, Element, End, Expression, Key, Map, Rule, Set, SetName, Shape, Table,
        Value,
    },
    text::render_rule,
};
use ipnet::IpNet;
use palisade_policy::rule::{Family, PortRange};
use std::{collections::BTreeSet, sync::Arc};

use super::member::reduce;

/// Adds what a part holds. Equal names hold equal things.
pub(super) fn merge(table: &mut Table, part: &Table) {
    let clone = |(name, chain): (&ChainName, &Chain)| (name.clone(), chain.clone());
    table.chains.extend(part.chains.iter().map(clone));
    let shared = |(name, map): (&SetName, &Arc<Map>)| (name.clone(), Arc::clone(map));
    table.maps.extend(part.maps.iter().map(shared));
    let shared = |(name, set): (&SetName, &Arc<Set>)| (name.clone(), Arc::clone(set));
    table.sets.extend(part.sets.iter().map(shared));
}

/// Adds a chain named by its content and by where it may be reached from.
pub(super) fn immutable(part: &mut Table, role: &str, place: &str, rules: Vec<Rule>) -> ChainName {
    let mut hasher = blake3::Hasher::new();
    hasher.update(place.as_bytes());
    for rule in &rules {
        hasher.update(b"\n");
        hasher.update(render_rule(rule).as_bytes());
    }
    let name = ChainName::new(format!("{role}_{}", hex(&hasher, 32)));
    part.chains.entry(name.clone()).or_insert_with(|| Chain {
        base: None,
        rules: Arc::new(rules),
    });
    name
}

/// The name of an index map, by where it stands.
pub(super) fn index_name(kind: &str, place: &str) -> SetName {
    let mut hasher = blake3::Hasher::new();
    hasher.update(place.as_bytes());
    SetName::new(format!("{kind}_{}", hex(&hasher, 20)))
}

/// Whether the address is in any of the nets, which are of one family. `None`: always so (or, negated, never).
pub(super) fn nets_test(
    part: &mut Table,
    family: Family,
    end: End,
    nets: &[IpNet],
    not: bool,
) -> Option<Expression> {
    if nets.iter().any(|net| net.prefix_len() == 0) {
        return None;
    }
    if let [net] = nets {
        let net = *net;
        return Some(Expression::Net { end, net, not });
    }
    let (elements, interval) = reduce(nets.iter().copied());
    let (kind, shape) = match family {
        Family::V4 => ("n4", Shape::Address4),
        Family::V6 => ("n6", Shape::Address6),
    };
    let set = content_set(part, kind, shape, interval, elements);
    let key = Key::Address(family, end);
    Some(Expression::Lookup { key, set, not })
}

/// Whether the port is in any of the ranges.
pub(super) fn ports_test(
    part: &mut Table,
    end: End,
    ranges: &[PortRange],
    not: bool,
) -> Expression {
    if let [range] = ranges {
        let range = *range;
        return Expression::Port { end, range, not };
    }
    let merged = merge_ranges(ranges);
    let interval = merged.iter().any(|range| range.first() < range.last());
    let elements = merged.into_iter().map(port_element).collect();
    let set = content_set(part, "ports", Shape::Port, interval, elements);
    let key = Key::Port(end);
    Expression::Lookup { key, set, not }
}

/// An element of a port set or map.
pub(super) fn port_element(range: PortRange) -> Element {
    Element {
        first: Value::Port(range.first()),
        last: (range.first() < range.last()).then_some(Value::Port(range.last())),
    }
}

/// The same ports, as ranges that neither overlap nor touch.
pub(super) fn merge_ranges(ranges: &[PortRange]) -> Vec<PortRange> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if u32::from(range.first()) <= u32::from(last.last()) + 1 => {
                let end = last.last().max(range.last());
                if let Some(wider) = PortRange::new(last.first(), end) {
                    *last = wider;
                }
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// Adds a set named by its content.
fn content_set(
    part: &mut Table,
    kind: &str,
    shape: Shape,
    interval: bool,
    elements: BTreeSet<Element>,
) -> SetName {
    let mut hasher = blake3::Hasher::new();
    for element in &elements {
        hasher.update(format!("{element:?}\n").as_bytes());
    }
    let kind = if interval {
        format!("{kind}i")
    } else {
        kind.to_owned()
    };
    let name = SetName::new(format!("{kind}_{}", hex(&hasher, 20)));
    part.sets.entry(name.clone()).or_insert_with(|| {
        Arc::new(Set {
            shape,
            interval,
            elements,
        })
    });
    name
}

fn hex(hasher: &blake3::Hasher, digits: usize) -> String {
    let mut hex = hasher.finalize().to_hex().to_string();
    hex.truncate(digits);
    hex
}
