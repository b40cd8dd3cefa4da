//! The verdict maps of an index: single ports of all protocols in one, wider ranges in one per protocol, then protocols.
//!
//! They are named after their frame: all that decides about a packet beside the elements for ports. A packet under way
//! walks the rules of before but finds the elements of after, so rules that become others look up maps of their own.

use super::index::{Index, Ports};
use crate::{
    ir::{Element, End, Map, Rule, SetName, Shape, Table, Value, Verdict},
    lower::fragment::{index_name, port_element},
    text::render_rule,
};
use palisade_policy::rule::{PortRange, Protocol};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// How many elements the maps have: a map without is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sizes {
    destination: End,
    exact: usize,
    wide: BTreeMap<Protocol, usize>,
}

/// An element of an index map.
pub(super) struct Slot {
    pub(super) map: SetName,
    pub(super) shape: Shape,
    pub(super) interval: bool,
    pub(super) element: Element,
}

// === impl Sizes ===

impl Sizes {
    /// Of empty maps.
    pub(super) const fn of(destination: End) -> Self {
        Self {
            destination,
            exact: 0,
            wide: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, protocol: Protocol, range: PortRange) {
        *self.size(protocol, range) += 1;
    }

    pub(super) fn remove(&mut self, protocol: Protocol, range: PortRange) {
        *self.size(protocol, range) -= 1;
    }

    pub(super) fn has_exact(&self) -> bool {
        self.exact > 0
    }

    /// Protocols that have a map of ranges.
    pub(super) fn wide(&self) -> impl Iterator<Item = Protocol> + '_ {
        let there = self.wide.iter().filter(|(_, size)| **size > 0);
        there.map(|(protocol, _)| *protocol)
    }

    /// The same maps are there.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.has_exact() == other.has_exact() && self.wide().eq(other.wide())
    }

    fn size(&mut self, protocol: Protocol, range: PortRange) -> &mut usize {
        if is_exact(self.destination, range) {
            &mut self.exact
        } else {
            self.wide.entry(protocol).or_default()
        }
    }
}

// === impl Slot ===

impl Slot {
    pub(super) fn new(
        (frame, destination): (&str, End),
        protocol: Protocol,
        range: PortRange,
    ) -> Self {
        if is_exact(destination, range) {
            Self {
                map: exact(frame),
                shape: Shape::ProtocolPort,
                interval: false,
                element: Element::single(Value::ProtocolPort(protocol, range.first())),
            }
        } else {
            Self {
                map: wide(frame, protocol),
                shape: Shape::Port,
                interval: true,
                element: port_element(range),
            }
        }
    }
}

/// Whether an element stands in the map of single ports. nft cannot read a lookup of protocol and original port together,
/// so of these all are in the maps of one protocol.
fn is_exact(destination: End, range: PortRange) -> bool {
    destination != End::Original && range.first() == range.last()
}

/// Where the index stands and whether it may reject, what its chain does before and after looking up, what the rest of each protocol comes to, and
/// which maps there are. Only elements for ports come and go in place.
pub(super) fn frame(
    (place, rejects): (&str, bool),
    before: &[Rule],
    after: &[Rule],
    index: &Index,
    sizes: &Sizes,
) -> String {
    let mut hasher = blake3::Hasher::new();
    let wide: Vec<_> = sizes.wide().collect();
    hasher.update(format!("{place} {rejects}\n{} {wide:?}\n", sizes.has_exact()).as_bytes());
    for (protocol, ports) in &index.protocols {
        let rest = ports.rest.as_ref().map(|bucket| &bucket.verdict);
        hasher.update(format!("{protocol:?} {rest:?}\n").as_bytes());
    }
    for rules in [before, after] {
        for rule in rules {
            hasher.update(render_rule(rule).as_bytes());
            hasher.update(b"\n");
        }
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}

pub(super) fn exact(frame: &str) -> SetName {
    index_name("port", frame)
}

/// Its name is that of the map of single ports for another kind, as [`crate::plan::Plan::transactions`] knows.
pub(super) fn wide(frame: &str, protocol: Protocol) -> SetName {
    index_name(&format!("range{}", protocol.0), frame)
}

pub(super) fn rest(frame: &str) -> SetName {
    index_name("rest", frame)
}

/// Elements for ports in a window, without those that come to what a miss comes to.
pub(super) fn elements(
    ports: &Ports,
    window: Range<u32>,
) -> impl Iterator<Item = (PortRange, &Verdict)> {
    let missed = ports.rest.as_ref().map(|bucket| &bucket.verdict);
    ports.within(window).filter_map(move |(range, segment)| {
        let verdict = &segment.bucket.as_ref()?.verdict;
        (missed != Some(verdict)).then_some((range, verdict))
    })
}

/// Adds the maps of an index.
pub(super) fn add_maps((frame, destination): (&str, End), index: &Index, table: &mut Table) {
    let mut add = |name: SetName, shape: Shape, interval: bool, elements: BTreeMap<_, _>| {
        if !elements.is_empty() {
            let map = Map {
                shape,
                interval,
                elements,
            };
            table.maps.insert(name, Arc::new(map));
        }
    };
    let (mut singles, mut rests) = (BTreeMap::new(), BTreeMap::new());
    for (protocol, ports) in &index.protocols {
        let mut ranges = BTreeMap::new();
        for (range, verdict) in elements(ports, 0..super::index::END) {
            if is_exact(destination, range) {
                let key = Value::ProtocolPort(*protocol, range.first());
                singles.insert(Element::single(key), verdict.clone());
            } else {
                ranges.insert(port_element(range), verdict.clone());
            }
        }
        add(wide(frame, *protocol), Shape::Port, true, ranges);
        if let Some(bucket) = &ports.rest {
            let key = Element::single(Value::Protocol(*protocol));
            rests.insert(key, bucket.verdict.clone());
        }
    }
    add(exact(frame), Shape::ProtocolPort, false, singles);
    add(rest(frame), Shape::Protocol, false, rests);
}
