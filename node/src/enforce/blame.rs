//! From what the kernel refused to the items of the view that it came from, so that a Nack can name them.

use palisade_policy::{
    delta::{Change, SetChange},
    ids::{RuleId, SetId},
    item::{ItemId, ItemKind},
    view::View,
};
use palisade_ruleset::{
    ir::{Rule, SetName},
    plan::{Op, Plan},
};
use std::collections::BTreeMap;

/// The items at fault, each with the kernel's words. Where no failure leads to an item that changed, all items that
/// changed are named: the control plane then puts the last good version of each in their place, which is safe.
///
/// A spot is the operation of the plan and the rule or element of it, as far as the kernel said so, and its words.
pub(super) fn blame(
    view: &View,
    change: &Change,
    plan: &Plan,
    spots: impl IntoIterator<Item = (Option<usize>, Option<usize>, String)>,
) -> Vec<(ItemId, String)> {
    let changed = changed(change);
    let mut blamed = BTreeMap::new();
    let mut first = None;
    for (op, element, reason) in spots {
        let op = op.and_then(|at| plan.ops.get(at));
        let item = op.and_then(|op| owner(view, op, element));
        first.get_or_insert_with(|| reason.clone());
        if let Some(item) = item {
            blamed.entry(item).or_insert(reason);
        }
    }
    if blamed.keys().any(|item| changed.contains(item)) {
        blamed.retain(|item, _| changed.contains(item));
    } else {
        let reason = first.unwrap_or_default();
        blamed = changed
            .into_iter()
            .map(|item| (item, reason.clone()))
            .collect();
    }
    blamed.into_iter().collect()
}

/// Items that were put or patched. What was removed cannot be at fault.
fn changed(change: &Change) -> Vec<ItemId> {
    let mut items: Vec<ItemId> = Vec::new();
    items.extend(change.config.then(ItemId::config));
    items.extend(change.endpoints.iter().map(ItemId::from));
    items.extend(change.classes.iter().map(ItemId::from));
    items.extend(change.policies.iter().map(ItemId::from));
    let kept = change
        .sets
        .iter()
        .filter(|(_, what)| **what != SetChange::Removed);
    items.extend(kept.map(|(id, _)| ItemId::from(id)));
    items
}

/// Whom an operation of a plan comes from, where that is one item.
fn owner(view: &View, op: &Op, element: Option<usize>) -> Option<ItemId> {
    match op {
        Op::AddRules { rules, .. } => {
            let culprits = match element {
                Some(at) => rules.get(at..=at)?,
                None => rules.as_slice(),
            };
            culprits.iter().find_map(|rule| policy_of(view, rule))
        }
        Op::AddSet { name, .. } | Op::AddMap { name, .. } | Op::DeleteSet { name, .. } => {
            set_of(view, name)
        }
        Op::AddElements { set, .. } | Op::DeleteElements { set, .. } => set_of(view, set),
        Op::AddTable(_)
        | Op::DeleteTable(_)
        | Op::AddChain { .. }
        | Op::DeleteChain { .. }
        | Op::FlushChain { .. }
        | Op::DeleteMap { .. }
        | Op::AddVerdicts { .. } => None,
    }
}

fn policy_of(view: &View, rule: &Rule) -> Option<ItemId> {
    let id: RuleId = rule.id?;
    view.policies
        .iter()
        .find(|(_, policy)| {
            policy
                .ingress
                .iter()
                .chain(&policy.egress)
                .any(|rule| rule.id == id)
        })
        .map(|(policy, _)| ItemId::from(policy))
}

/// Selector sets are named `<kind><family>[i]_<digest>`, after ids `<kind>:<digest>`.
fn set_of(view: &View, name: &SetName) -> Option<ItemId> {
    let (head, digest) = name.as_str().split_once('_')?;
    let kind = head.get(..1)?;
    let id = SetId::new(format!("{kind}:{digest}"));
    view.sets
        .contains_key(&id)
        .then(|| ItemId::new(ItemKind::Set, id.shared()))
}
