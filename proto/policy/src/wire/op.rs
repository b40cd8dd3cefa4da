//! Operations of a transaction.

use super::{Body, decode_member, member_message};
use crate::{
    digest::ItemHash,
    fault::{FieldFault, FieldReason, ItemFault, Reason, Refusal},
    ids::SetId,
    item::{ItemId, ItemKind},
    set::{IpSet, Member},
};
use palisade_proto::v1::{self, view_op};
use std::{collections::BTreeSet, sync::Arc};

/// A decoded operation on a view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// An item that is not a set, new or replaced.
    Put {
        /// Which.
        id: ItemId,
        /// Of the body as sent.
        hash: ItemHash,
        /// Its content.
        body: Body,
    },
    /// A whole set, new or replaced.
    PutSet {
        /// Which.
        id: SetId,
        /// Its members.
        set: Arc<IpSet>,
    },
    /// Some members of a set.
    PatchSet {
        /// Which.
        id: SetId,
        /// The set's hash before.
        base: ItemHash,
        /// New members, sorted, none of which the set has.
        add: Vec<Member>,
        /// Members to take away, sorted, all of which the set has.
        remove: Vec<Member>,
    },
    /// An item that goes.
    Remove {
        /// Which.
        id: ItemId,
    },
}

impl Op {
    /// The item it is about.
    pub fn item(&self) -> ItemId {
        match self {
            Self::Put { id, .. } | Self::Remove { id } => id.clone(),
            Self::PutSet { id, .. } | Self::PatchSet { id, .. } => id.into(),
        }
    }

    /// As a message.
    pub fn encode(&self) -> v1::ViewOp {
        let op = match self {
            Self::Put { id, body, .. } => view_op::Op::Put(v1::Put {
                kind: v1::ItemKind::from(id.kind).into(),
                id: id.id.to_string(),
                body: body.encode().into(),
                members: Vec::new(),
            }),
            Self::PutSet { id, set } => view_op::Op::Put(v1::Put {
                kind: v1::ItemKind::Set.into(),
                id: id.to_string(),
                body: bytes::Bytes::new(),
                members: set.members().map(|m| member_message(&m)).collect(),
            }),
            Self::PatchSet {
                id,
                base,
                add,
                remove,
            } => view_op::Op::SetPatch(v1::SetPatch {
                id: id.to_string(),
                base: base.0.to_vec(),
                add: add.iter().map(member_message).collect(),
                remove: remove.iter().map(member_message).collect(),
            }),
            Self::Remove { id } => view_op::Op::Remove(v1::Remove {
                kind: v1::ItemKind::from(id.kind).into(),
                id: id.id.to_string(),
            }),
        };
        v1::ViewOp { op: Some(op) }
    }
}

/// Reads all operations of a transaction.
///
/// # Errors
/// All items at fault, or the index of an operation that names no item.
pub fn decode_ops(messages: Vec<v1::ViewOp>) -> Result<Vec<Op>, Refusal> {
    let mut ops = Vec::with_capacity(messages.len());
    let mut faults = Vec::new();
    for (index, message) in messages.into_iter().enumerate() {
        let (id, content) = named(message).ok_or(Refusal::Operation(index))?;
        match decode(id.clone(), content) {
            Ok(op) => ops.push(op),
            Err(reason) => faults.push(ItemFault { item: id, reason }),
        }
    }
    if faults.is_empty() {
        Ok(ops)
    } else {
        Err(Refusal::Items(faults))
    }
}

fn named(message: v1::ViewOp) -> Option<(ItemId, view_op::Op)> {
    let op = message.op?;
    let (kind, id) = match &op {
        view_op::Op::Put(put) => (ItemKind::from_number(put.kind)?, put.id.as_str()),
        view_op::Op::Remove(remove) => (ItemKind::from_number(remove.kind)?, remove.id.as_str()),
        view_op::Op::SetPatch(patch) => (ItemKind::Set, patch.id.as_str()),
    };
    Some((ItemId::new(kind, id), op))
}

fn decode(id: ItemId, op: view_op::Op) -> Result<Op, Reason> {
    match op {
        view_op::Op::Remove(_) => Ok(Op::Remove { id }),
        view_op::Op::Put(put) if id.kind == ItemKind::Set => {
            if !put.body.is_empty() {
                return Err(Reason::Shape);
            }
            let (id, holds_ports) = set_id(&id)?;
            let members = members("members", put.members, holds_ports)?;
            let set = IpSet::from_members(holds_ports, members).ok_or(Reason::Shape)?;
            Ok(Op::PutSet {
                id,
                set: Arc::new(set),
            })
        }
        view_op::Op::Put(put) => {
            if !put.members.is_empty() {
                return Err(Reason::Shape);
            }
            Ok(Op::Put {
                hash: ItemHash::of_body(&put.body),
                body: Body::decode(&id, &put.body)?,
                id,
            })
        }
        view_op::Op::SetPatch(patch) => {
            let (id, holds_ports) = set_id(&id)?;
            let base = <[u8; 32]>::try_from(patch.base.as_slice())
                .map_err(|_| FieldFault::new("base", FieldReason::Missing))?;
            Ok(Op::PatchSet {
                id,
                base: ItemHash(base),
                add: members("add", patch.add, holds_ports)?
                    .into_iter()
                    .collect(),
                remove: members("remove", patch.remove, holds_ports)?
                    .into_iter()
                    .collect(),
            })
        }
    }
}

fn set_id(id: &ItemId) -> Result<(SetId, bool), Reason> {
    let set = SetId::new(Arc::clone(&id.id));
    let holds_ports = set.holds_ports().ok_or(Reason::Id)?;
    Ok((set, holds_ports))
}

fn members(
    field: &str,
    messages: Vec<v1::SetMember>,
    holds_ports: bool,
) -> Result<BTreeSet<Member>, Reason> {
    let mut members = BTreeSet::new();
    for (index, message) in messages.into_iter().enumerate() {
        let member = decode_member(message).map_err(|f| f.within(format!("{field}[{index}]")))?;
        if matches!(member, Member::Port(_)) != holds_ports {
            return Err(Reason::MemberKind(index));
        }
        if !members.insert(member) {
            return Err(Reason::MemberTwice(index));
        }
    }
    Ok(members)
}
