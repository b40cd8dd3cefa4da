//! A view as the control plane holds it: items encoded once, shared by all nodes and versions, and diffs between views.
//!
//! Law c: applying `diff(a, b)` to `a` gives `b`.

use crate::{
    delta::Held,
    digest::ItemHash,
    fault::{ItemFault, Reason, Refusal},
    frame::delimited,
    ids::SetId,
    item::{ItemId, ItemKind},
    members::Members,
    set::{IpSet, Member},
    view::{Digest, View},
    wire::{self, Body, Op},
};
use bytes::Bytes;
use palisade_proto::v1::{self, view_op};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

/// Content of an item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// The encoded message of the item's kind.
    Body(Bytes),
    /// A set's members, so that patches can be computed.
    Set(Members),
}

/// An item of compiled policy. Its `Put` operation is encoded at first use and shared from then on.
#[derive(Debug)]
pub struct Item {
    id: ItemId,
    hash: ItemHash,
    content: Content,
    put: OnceLock<Bytes>,
}

impl Item {
    /// An item that is not a set. The id must be the body's.
    pub fn new(id: ItemId, body: &Body) -> Self {
        debug_assert_eq!(id.kind, body.kind());
        let bytes = body.encode();
        Self {
            hash: ItemHash::of_body(&bytes),
            content: Content::Body(bytes.into()),
            id,
            put: OnceLock::new(),
        }
    }

    /// A set whose hash was kept up to date member by member.
    pub fn set(id: &SetId, members: Members, hash: ItemHash) -> Self {
        Self {
            id: id.into(),
            hash,
            content: Content::Set(members),
            put: OnceLock::new(),
        }
    }

    /// Its address in a view.
    pub fn id(&self) -> &ItemId {
        &self.id
    }

    /// The hash of its content.
    pub fn hash(&self) -> ItemHash {
        self.hash
    }

    /// Its content.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The operation that makes it, with its length in front.
    pub fn put(&self) -> Bytes {
        let encode = || {
            let (body, members) = match &self.content {
                Content::Body(body) => (body.clone(), Vec::new()),
                Content::Set(members) => (
                    Bytes::new(),
                    members.iter().map(wire::member_message).collect(),
                ),
            };
            operation(view_op::Op::Put(v1::Put {
                kind: v1::ItemKind::from(self.id.kind).into(),
                id: self.id.id.to_string(),
                body,
                members,
            }))
        };
        self.put.get_or_init(encode).clone()
    }

    /// The decoded operation that makes it.
    fn op(&self) -> Result<Op, Reason> {
        match &self.content {
            Content::Body(body) => Ok(Op::Put {
                id: self.id.clone(),
                hash: self.hash,
                body: Body::decode(&self.id, body)?,
            }),
            Content::Set(members) => {
                let id = SetId::new(Arc::clone(&self.id.id));
                let holds_ports = id.holds_ports().ok_or(Reason::Id)?;
                let set = IpSet::from_members(holds_ports, members.iter().copied());
                Ok(Op::PutSet {
                    id,
                    set: Arc::new(set.ok_or(Reason::Shape)?),
                })
            }
        }
    }

    /// The operation that makes it from an older version of the same item.
    fn change(&self, old: &Self) -> Bytes {
        let (Content::Set(before), Content::Set(after)) = (&old.content, &self.content) else {
            return self.put();
        };
        let diff = before.diff(after);
        if diff.add.len() + diff.remove.len() >= after.len() {
            return self.put();
        }
        let messages = |members: &[Member]| members.iter().map(wire::member_message).collect();
        operation(view_op::Op::SetPatch(v1::SetPatch {
            id: self.id.id.to_string(),
            base: old.hash.0.to_vec(),
            add: messages(&diff.add),
            remove: messages(&diff.remove),
        }))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.content == other.content
    }
}

impl Eq for Item {}

/// All items of a view, with its digest. Cheap to clone; a change copies the index of one kind.
#[derive(Clone, Debug, Default)]
pub struct ItemTable {
    kinds: [Arc<BTreeMap<ItemId, Arc<Item>>>; 6],
    digest: Digest,
}

impl ItemTable {
    /// Without items.
    pub fn new() -> Self {
        Self::default()
    }

    /// The items of a view.
    pub fn from_view(view: &View) -> Self {
        let mut table = Self::new();
        for (id, body) in view.bodies() {
            table.insert(Arc::new(Item::new(id, &body)));
        }
        for (id, set) in &view.sets {
            let members: Members = set.members().collect();
            let hash = ItemHash::of_members(members.iter());
            table.insert(Arc::new(Item::set(id, members, hash)));
        }
        table
    }

    /// Back to the typed view, for those who judge packets by it.
    ///
    /// # Errors
    /// The items are not those of a valid view.
    pub fn to_view(&self) -> Result<View, Refusal> {
        let mut faults = Vec::new();
        let mut ops = Vec::with_capacity(self.len());
        for item in self.iter() {
            match item.op() {
                Ok(op) => ops.push(op),
                Err(reason) => faults.push(ItemFault {
                    item: item.id.clone(),
                    reason,
                }),
            }
        }
        if !faults.is_empty() {
            return Err(Refusal::Items(faults));
        }
        Held::from_snapshot(ops, &self.digest).map(Held::into_view)
    }

    /// Equal digests are equal views.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Finds an item.
    pub fn get(&self, id: &ItemId) -> Option<&Arc<Item>> {
        self.kind(id.kind).get(id)
    }

    /// All items, ordered by kind, then id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.kinds.iter().flat_map(|items| items.values())
    }

    /// How many items.
    pub fn len(&self) -> usize {
        self.kinds.iter().map(|items| items.len()).sum()
    }

    /// No items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds or replaces an item; false if an equal one was there.
    pub fn insert(&mut self, item: Arc<Item>) -> bool {
        let old = self.get(&item.id).map(|old| old.hash);
        if old == Some(item.hash) {
            return false;
        }
        if let Some(old) = old {
            self.digest.remove_item(&item.id, &old);
        }
        self.digest.add_item(&item.id, &item.hash);
        Arc::make_mut(self.kind_mut(item.id.kind)).insert(item.id.clone(), item);
        true
    }

    /// Removes an item; false if it was not there.
    pub fn remove(&mut self, id: &ItemId) -> bool {
        let Some(hash) = self.get(id).map(|old| old.hash) else {
            return false;
        };
        self.digest.remove_item(id, &hash);
        Arc::make_mut(self.kind_mut(id.kind)).remove(id);
        true
    }

    /// The hash of each item.
    pub fn inventory(&self) -> BTreeMap<ItemId, ItemHash> {
        self.iter()
            .map(|item| (item.id.clone(), item.hash))
            .collect()
    }

    fn kind(&self, kind: ItemKind) -> &BTreeMap<ItemId, Arc<Item>> {
        &self.kinds[usize::from(kind.number() - 1)]
    }

    fn kind_mut(&mut self, kind: ItemKind) -> &mut Arc<BTreeMap<ItemId, Arc<Item>>> {
        &mut self.kinds[usize::from(kind.number() - 1)]
    }
}

impl PartialEq for ItemTable {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.kinds == other.kinds
    }
}

impl Eq for ItemTable {}

/// The delimited operations that make the whole view.
pub fn snapshot(to: &ItemTable) -> Vec<Bytes> {
    to.iter().map(|item| item.put()).collect()
}

/// The delimited operations that make `to` from `from`, ordered by kind and id.
pub fn diff(from: &ItemTable, to: &ItemTable) -> Vec<Bytes> {
    let mut ops = Vec::new();
    for (old, new) in from.kinds.iter().zip(&to.kinds) {
        if Arc::ptr_eq(old, new) {
            continue;
        }
        for step in merge(old.iter(), new.iter()) {
            match step {
                (id, Some(_), None) => ops.push(removal(id)),
                (_, None, Some(item)) => ops.push(item.put()),
                (_, Some(old), Some(new)) if old.hash != new.hash => ops.push(new.change(old)),
                _ => {}
            }
        }
    }
    ops
}

/// The delimited operations that make `to` from a view of which only hashes are known.
pub fn diff_inventory(from: &BTreeMap<ItemId, ItemHash>, to: &ItemTable) -> Vec<Bytes> {
    let new = to.kinds.iter().flat_map(|items| items.iter());
    merge(from.iter(), new)
        .filter_map(|step| match step {
            (id, Some(_), None) => Some(removal(id)),
            (_, old, Some(item)) => (old != Some(&item.hash)).then(|| item.put()),
            (_, None, None) => None,
        })
        .collect()
}

/// Two sorted lists side by side.
fn merge<'a, A: 'a, B: 'a>(
    old: impl Iterator<Item = (&'a ItemId, &'a A)>,
    new: impl Iterator<Item = (&'a ItemId, &'a B)>,
) -> impl Iterator<Item = (&'a ItemId, Option<&'a A>, Option<&'a B>)> {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return None,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let a = if order.is_le() { old.next() } else { None };
        let b = if order.is_ge() { new.next() } else { None };
        let id = a.map(|(id, _)| id).or(b.map(|(id, _)| id))?;
        Some((id, a.map(|(_, a)| a), b.map(|(_, b)| b)))
    })
}

fn removal(id: &ItemId) -> Bytes {
    operation(view_op::Op::Remove(v1::Remove {
        kind: v1::ItemKind::from(id.kind).into(),
        id: id.id.to_string(),
    }))
}

fn operation(op: view_op::Op) -> Bytes {
    delimited(&v1::ViewOp { op: Some(op) })
}
