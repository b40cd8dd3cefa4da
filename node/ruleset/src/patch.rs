//! The short way for changes of members of sets and of rules of policies: no view is lowered, no ruleset compared.
//!
//! INVARIANT: the plan leads to what a full lowering of the new view would give.

use crate::{
    apply::Actual,
    ir::{Element, Ruleset, Set, SetName, Table, TableName, Value, names::POSITION},
    lower::{LowerCache, is_host, lower_set, position_set, set_name},
    plan::{Op, Plan},
};
use palisade_policy::{
    delta::{Change, SetChange},
    ids::SetId,
    rule::{Family, family_of},
    set::Member,
    view::{Position, View},
};
use std::sync::Arc;

mod policies;

/// What to do about a change. `actual` is what `cache` lowered the view before the change to, `view` is the one after it.
/// `None`: the change is beyond members of sets and rules whose ports an index decides; lower the whole view.
pub fn lower_change(
    actual: &mut Actual,
    view: &View,
    change: &Change,
    position: Option<&Position>,
    cache: &mut LowerCache,
) -> Option<Plan> {
    if change.is_members_only() {
        return lower_members(actual.ruleset(), view, change, position);
    }
    policies::lower_policies(actual, view, change, position, cache)
}

/// What to do about a change of members. `actual` stands for the view before the change, `view` is the one after it.
/// `None`: more than members changed, or a set must become one of another kind; lower the whole view.
///
/// A set of hosts costs what came and went; a set with networks is reduced anew.
pub fn lower_members(
    actual: &Ruleset,
    view: &View,
    change: &Change,
    position: Option<&Position>,
) -> Option<Plan> {
    if !change.is_members_only() {
        return None;
    }
    let mut ops = patch_sets(actual, view, change)?;
    let main = TableName::Main;
    let name = SetName::new(POSITION);
    let there = actual.tables.get(&main)?.sets.get(&name)?;
    ops.extend(replace(main, &name, there, &position_set(position)));
    Some(Plan { ops })
}

/// Sets that came or went are named by rules that did. `None`: one has other members, or becomes another kind.
fn patch_sets(actual: &Ruleset, view: &View, change: &Change) -> Option<Vec<Op>> {
    let mut ops = Vec::new();
    for (name, table) in &actual.tables {
        for (id, change) in &change.sets {
            match change {
                SetChange::Added | SetChange::Removed => {}
                SetChange::Replaced => return None,
                SetChange::Patched { add, remove } => {
                    for family in [Family::V4, Family::V6] {
                        ops.extend(patch_set((*name, table), view, id, family, add, remove)?);
                    }
                }
            }
        }
    }
    Some(ops)
}

fn patch_set(
    (in_table, table): (TableName, &Table),
    view: &View,
    id: &SetId,
    family: Family,
    add: &[Member],
    remove: &[Member],
) -> Option<Vec<Op>> {
    let of_family = |member: &&Member| family_of_member(member) == family;
    let hosts = set_name(id, family, false);
    if let Some(there) = table.sets.get(&hosts) {
        let elements = |members: &[Member]| -> Option<Vec<Element>> {
            members.iter().filter(of_family).map(host_element).collect()
        };
        return Some(ops(
            in_table,
            &hosts,
            there,
            elements(remove)?,
            elements(add)?,
        ));
    }
    let networks = set_name(id, family, true);
    let Some(there) = table.sets.get(&networks) else {
        return Some(Vec::new());
    };
    if !add.iter().chain(remove).any(|member| of_family(&member)) {
        return Some(Vec::new());
    }
    let desired = lower_set(view.sets.get(id)?, family);
    desired
        .interval
        .then(|| replace(in_table, &networks, there, &desired))
}

/// `None`: not one address.
fn host_element(member: &Member) -> Option<Element> {
    Some(Element::single(match member {
        Member::Net(net) if is_host(net) => Value::Address(net.addr()),
        Member::Net(_) => return None,
        Member::Port(p) => Value::AddressProtocolPort(p.address, p.protocol, p.port),
    }))
}

fn family_of_member(member: &Member) -> Family {
    match member {
        Member::Net(net) => family_of(net),
        Member::Port(port) if port.address.is_ipv4() => Family::V4,
        Member::Port(_) => Family::V6,
    }
}

fn replace(table: TableName, name: &SetName, there: &Arc<Set>, desired: &Set) -> Vec<Op> {
    let gone = there.elements.difference(&desired.elements).cloned();
    let added = desired.elements.difference(&there.elements).cloned();
    ops(table, name, there, gone.collect(), added.collect())
}

fn ops(
    table: TableName,
    name: &SetName,
    there: &Set,
    gone: Vec<Element>,
    added: Vec<Element>,
) -> Vec<Op> {
    let set = name.clone();
    let (shape, interval) = (there.shape, there.interval);
    let mut ops = Vec::new();
    if !gone.is_empty() {
        ops.push(Op::DeleteElements {
            table,
            set: set.clone(),
            shape,
            interval,
            elements: gone,
        });
    }
    if !added.is_empty() {
        ops.push(Op::AddElements {
            table,
            set,
            shape,
            interval,
            elements: added,
        });
    }
    ops
}
