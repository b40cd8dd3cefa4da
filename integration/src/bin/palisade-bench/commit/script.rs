//! A plan as a script for `nft -f`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use palisade_ruleset::{
    ir::{Element, Map, Ruleset, Set, SetName, Shape, Table, TableName, Verdict},
    plan::{Op, Plan},
    text::{render as render_ruleset, render_rule},
};

/// The script.
pub(super) fn render(plan: &Plan) -> String {
    let mut script = String::new();
    for op in &plan.ops {
        write_op(&mut script, op).expect("a string takes everything");
    }
    script
}

fn write_op(out: &mut String, op: &Op) -> std::fmt::Result {
    let table = op.table().as_str();
    match op {
        Op::AddTable(_) => writeln!(out, "add table inet {table}"),
        Op::DeleteTable(_) => writeln!(out, "delete table inet {table}"),
        Op::AddChain { chain, base, .. } => match base {
            None => writeln!(out, "add chain inet {table} {chain}"),
            Some(base) => writeln!(
                out,
                "add chain inet {table} {chain} {{ type filter hook {} priority {}; }}",
                base.hook, base.priority
            ),
        },
        Op::DeleteChain { chain, .. } => writeln!(out, "delete chain inet {table} {chain}"),
        Op::FlushChain { chain, .. } => writeln!(out, "flush chain inet {table} {chain}"),
        Op::AddRules { chain, rules, .. } => rules.iter().try_for_each(|rule| {
            writeln!(out, "add rule inet {table} {chain} {}", render_rule(rule))
        }),
        Op::AddSet { name, set, .. } => out.write_str(&with_set(op.table(), name, set.clone())),
        Op::AddMap {
            name,
            shape,
            interval,
            ..
        } => out.write_str(&with_map(op.table(), name, (*shape, *interval), &[])),
        Op::DeleteSet { name, .. } => writeln!(out, "delete set inet {table} {name}"),
        Op::DeleteMap { name, .. } => writeln!(out, "delete map inet {table} {name}"),
        Op::AddElements {
            set,
            shape,
            interval,
            elements,
            ..
        } => {
            let elements = between(op.table(), set, (*shape, *interval), elements);
            writeln!(out, "add element inet {table} {set} {{ {elements} }}")
        }
        Op::DeleteElements {
            set,
            shape,
            interval,
            elements,
            ..
        } => {
            let elements = between(op.table(), set, (*shape, *interval), elements);
            writeln!(out, "delete element inet {table} {set} {{ {elements} }}")
        }
        Op::AddVerdicts {
            map,
            shape,
            interval,
            elements,
            ..
        } => {
            let text = with_map(op.table(), map, (*shape, *interval), elements);
            writeln!(out, "add element inet {table} {map} {{ {} }}", inner(&text))
        }
    }
}

fn between(
    table: TableName,
    name: &SetName,
    (shape, interval): (Shape, bool),
    elements: &[Element],
) -> String {
    let elements = elements.iter().cloned().collect();
    let set = Set {
        shape,
        interval,
        elements,
    };
    inner(&with_set(table, name, Arc::new(set))).to_owned()
}

/// What stands between the braces of `elements`.
fn inner(text: &str) -> &str {
    let from = text.split_once("elements = {").map_or("", |(_, rest)| rest);
    from.split_once('}').map_or("", |(elements, _)| elements)
}

fn with_set(table: TableName, name: &SetName, set: Arc<Set>) -> String {
    let content = Table {
        sets: BTreeMap::from([(name.clone(), set)]),
        ..Table::default()
    };
    whole(table, content)
}

fn with_map(
    table: TableName,
    name: &SetName,
    (shape, interval): (Shape, bool),
    elements: &[(Element, Verdict)],
) -> String {
    let map = Map {
        shape,
        interval,
        elements: elements.iter().cloned().collect(),
    };
    let content = Table {
        maps: BTreeMap::from([(name.clone(), Arc::new(map))]),
        ..Table::default()
    };
    whole(table, content)
}

fn whole(table: TableName, content: Table) -> String {
    render_ruleset(&Ruleset {
        tables: BTreeMap::from([(table, content)]),
    })
}
