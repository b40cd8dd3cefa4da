//! From what the kernel refused to the items of the view that it came from, so that a Nack can name them.

use palisade_netfilter::Failure;
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
pub(super) fn blame(
    view: &View,
    change: &Change,
    plan: &Plan,
    failures: &[Failure],
) -> Vec<(ItemId, String)> {
    let changed = changed(change);
    let mut blamed = BTreeMap::new();
    for failure in failures {
        let op = failure.op.and_then(|at| plan.ops.get(at));
        if let Some(item) = op.and_then(|op| owner(view, op, failure.element)) {
            blamed.entry(item).or_insert_with(|| failure.to_string());
        }
    }
    if blamed.keys().any(|item| changed.contains(item)) {
        blamed.retain(|item, _| changed.contains(item));
    } else {
        let reason = failures
            .first()
            .map_or_else(String::new, Failure::to_string);
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
