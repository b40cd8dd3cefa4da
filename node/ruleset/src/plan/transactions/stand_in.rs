//! Ports that leave a range for an element of their own.
//!
//! Single ports are asked first. A packet that asked for its port before the commit and asks for ranges after it would find
//! it in neither, and come to what a miss comes to. So the port stays in the map of ranges too, with the verdict that it
//! comes to now, until the transaction behind.

use crate::{
    ir::{Element, SetName, Shape, TableName, Value, Verdict, names::ranges_beside},
    plan::Op,
};
use std::collections::{BTreeMap, BTreeSet};

type MapId = (TableName, SetName);

/// What the steps take out.
#[derive(Default)]
struct Gone<'a> {
    /// Of maps of ranges, by first port.
    ranges: BTreeMap<MapId, BTreeMap<&'a Value, &'a Element>>,
    /// Of maps of single ports.
    ports: BTreeSet<(MapId, &'a Element)>,
}

/// Adds the elements, and gives the steps that take them out again.
pub(super) fn add(ops: &mut Vec<Op>) -> Vec<Op> {
    let mut later = Vec::new();
    for ((table, map), elements) in stand_ins(ops) {
        let (shape, interval) = (Shape::Port, true);
        later.push(Op::DeleteElements {
            table,
            set: map.clone(),
            shape,
            interval,
            elements: elements.iter().map(|(port, _)| port.clone()).collect(),
        });
        ops.push(Op::AddVerdicts {
            table,
            map,
            shape,
            interval,
            elements,
        });
    }
    later
}

fn stand_ins(ops: &[Op]) -> BTreeMap<MapId, Vec<(Element, Verdict)>> {
    let gone = Gone::of(ops);
    let mut stand_ins: BTreeMap<MapId, Vec<(Element, Verdict)>> = BTreeMap::new();
    for op in ops {
        let Op::AddVerdicts {
            table,
            map,
            shape: Shape::ProtocolPort,
            elements,
            ..
        } = op
        else {
            continue;
        };
        for (element, verdict) in elements {
            if let Value::ProtocolPort(protocol, port) = element.first
                && let Some(ranges) = ranges_beside(map, protocol)
                && !gone.ports.contains(&((*table, map.clone()), element))
                && gone.covers(&(*table, ranges.clone()), &Value::Port(port))
            {
                let port = Element::single(Value::Port(port));
                let of_map = stand_ins.entry((*table, ranges)).or_default();
                of_map.push((port, verdict.clone()));
            }
        }
    }
    stand_ins
}

impl<'a> Gone<'a> {
    fn of(ops: &'a [Op]) -> Self {
        let mut gone = Self::default();
        for op in ops {
            let Op::DeleteElements {
                table,
                set,
                shape,
                interval,
                elements,
            } = op
            else {
                continue;
            };
            let map = (*table, set.clone());
            match (shape, interval) {
                (Shape::Port, true) => {
                    let ranges = elements.iter().map(|element| (&element.first, element));
                    gone.ranges.entry(map).or_default().extend(ranges);
                }
                (Shape::ProtocolPort, false) => {
                    let ports = elements.iter().map(|element| (map.clone(), element));
                    gone.ports.extend(ports);
                }
                _ => {}
            }
        }
        gone
    }

    /// Whether a range with the port leaves the map. Elements of a map do not overlap.
    fn covers(&self, map: &MapId, port: &Value) -> bool {
        let ranges = self.ranges.get(map);
        let below = ranges.and_then(|ranges| ranges.range::<Value, _>(..=port).next_back());
        below.is_some_and(|(first, range)| port <= range.last.as_ref().unwrap_or(first))
    }
}
