//! The view a node gets instead of one it refused: items at fault, with what refers to them, as this node last
//! acknowledged them; endpoints that it never acknowledged deny everything.
//!
//! So a bad resource holds back the endpoints that it selects, and nobody else.

use palisade_policy::{
    check::referents,
    class::{Class, Direction, PolicyList},
    endpoint::Endpoint,
    ids::ClassId,
    item::{ItemId, ItemKind},
    table::{Content, Item, ItemTable},
    wire::Body,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Replaces what is at fault; `None` if an item cannot be replaced, or something does not decode.
pub(super) fn substitute(
    latest: &ItemTable,
    acknowledged: Option<&ItemTable>,
    at_fault: impl Fn(&ItemId) -> bool,
) -> Option<ItemTable> {
    let affected = affected(latest, at_fault)?;
    let old = |id: &ItemId| acknowledged.and_then(|table| table.get(id));
    let mut wanted: Vec<Arc<Item>> = Vec::new();
    let mut made = BTreeMap::new();
    for item in latest.iter() {
        let id = item.id();
        if !matches!(id.kind, ItemKind::Config | ItemKind::Endpoint) {
            continue;
        }
        if !affected.contains(id) {
            wanted.push(Arc::clone(item));
        } else if let Some(old) = old(id) {
            wanted.push(Arc::clone(old));
        } else if id.kind == ItemKind::Endpoint {
            wanted.push(deny(item, &mut made)?);
        } else {
            return None;
        }
    }
    // Down from the endpoints: the latest version of whatever is not affected, else the old one.
    let mut result = ItemTable::new();
    while let Some(item) = wanted.pop() {
        for id in referents_of(&item)? {
            if result.get(&id).is_some() {
                continue;
            }
            let fresh = latest.get(&id).filter(|_| !affected.contains(&id));
            let next = made.get(&id).or(fresh).or_else(|| old(&id))?;
            wanted.push(Arc::clone(next));
        }
        result.insert(item);
    }
    Some(result)
}

/// The items at fault, and all that refer to them, however indirectly.
fn affected(latest: &ItemTable, at_fault: impl Fn(&ItemId) -> bool) -> Option<BTreeSet<ItemId>> {
    let mut affected: BTreeSet<ItemId> = latest
        .iter()
        .map(|item| item.id().clone())
        .filter(at_fault)
        .collect();
    // Referrers come level by level: sets, policies, classes, endpoints.
    for kind in [ItemKind::Policy, ItemKind::Class, ItemKind::Endpoint] {
        for item in latest.iter().filter(|item| item.id().kind == kind) {
            if referents_of(item)?.iter().any(|id| affected.contains(id)) {
                affected.insert(item.id().clone());
            }
        }
    }
    Some(affected)
}

/// The endpoint, judged by classes without any policy or profile: these deny.
fn deny(item: &Item, made: &mut BTreeMap<ItemId, Arc<Item>>) -> Option<Arc<Item>> {
    let Body::Endpoint(endpoint) = body(item)? else {
        return None;
    };
    let mut classes = BTreeMap::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let class = Class {
            list: PolicyList::Normal,
            direction,
            endpoint: endpoint.kind,
            tiers: Vec::new(),
            profiles: Vec::new(),
        };
        let id = ClassId::of(&class);
        let of_class = ItemId::from(&id);
        let class = Item::new(of_class.clone(), &Body::Class(Arc::new(class)));
        made.insert(of_class, Arc::new(class));
        classes.insert((PolicyList::Normal, direction), id);
    }
    let closed = Endpoint {
        classes,
        ..(*endpoint).clone()
    };
    let body = Body::Endpoint(Arc::new(closed));
    Some(Arc::new(Item::new(item.id().clone(), &body)))
}

fn body(item: &Item) -> Option<Body> {
    match item.content() {
        Content::Body(bytes) => Body::decode(item.id(), bytes).ok(),
        Content::Set(_) => None,
    }
}

/// What an item refers to; `None` if its body does not decode.
fn referents_of(item: &Item) -> Option<Vec<ItemId>> {
    if matches!(item.content(), Content::Set(_)) {
        return Some(Vec::new());
    }
    Some(referents(&body(item)?))
}
