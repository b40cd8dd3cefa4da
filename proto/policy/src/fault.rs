//! Why a view, or a change of one, is refused. Every fault names the item, so that a Nack can.

use crate::{item::ItemId, view::Digest};
use std::fmt;

/// An item at fault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{item}: {reason}")]
pub struct ItemFault {
    /// Which item.
    pub item: ItemId,
    /// What about it.
    pub reason: Reason,
}

/// What is wrong with an item.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// A field's value is refused.
    #[error("{0}")]
    Field(#[from] FieldFault),
    /// Not a message of the item's kind.
    #[error("the body is not a message of this kind: {0}")]
    Undecodable(String),
    /// The body has fields that this version does not know, or is not in canonical form.
    #[error("the body has unknown fields or is not in canonical form")]
    NotCanonical,
    /// The id does not fit the kind, or the content.
    #[error("the id does not fit the item")]
    Id,
    /// A set came with a body, or another kind with members.
    #[error("only sets have members, and sets have no body")]
    Shape,
    /// A member is not of the set's kind.
    #[error("member {0} is not of the set's kind")]
    MemberKind(usize),
    /// A member is there twice.
    #[error("member {0} is there twice")]
    MemberTwice(usize),
    /// More than one operation of a transaction names the item.
    #[error("named by more than one operation")]
    NamedTwice,
    /// It refers to an item that the view lacks.
    #[error("refers to {0}, which the view lacks")]
    Dangling(ItemId),
    /// It is removed although something refers to it.
    #[error("removed, but {0} refers to it")]
    StillUsed(ItemId),
    /// It refers to an item that serves something else: another list, direction or kind of endpoint, or staged policy
    /// where enforced policy is wanted.
    #[error("refers to {0}, which serves another purpose")]
    Mismatch(ItemId),
    /// A class has more conditions of plugins than the packet mark has bits for; this policy's is the first too many.
    #[error("more conditions of plugins meet at an endpoint than the packet mark has bits for")]
    TooManyConditions,
    /// An untracked or pre-DNAT policy asks a plugin.
    #[error("untracked and pre-DNAT policies cannot ask plugins")]
    EarlyPlugin,
    /// An endpoint lacks the normal class of a direction.
    #[error("lacks a normal class for both directions")]
    NoNormalClass,
    /// The view lacks its config, or is asked to remove it.
    #[error("every view has a config")]
    NoConfig,
}

/// A field at fault: where, and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FieldFault {
    /// Names of fields, joined by dots, with indexes in brackets: `ingress[2].match.source.nets[0]`.
    pub path: String,
    /// Why.
    pub reason: FieldReason,
}

/// Why a field is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FieldReason {
    /// It must be there.
    #[error("missing")]
    Missing,
    /// An enum without value, or with one of a newer version.
    #[error("unknown value {0}")]
    Unknown(i32),
    /// Neither 4 nor 16 bytes.
    #[error("an address has 4 or 16 bytes, not {0}")]
    AddressLength(usize),
    /// Longer than the address.
    #[error("prefix length {0} is longer than the address")]
    PrefixLength(u32),
    /// Bits after the prefix are set.
    #[error("host bits are set")]
    HostBits,
    /// Not a number of the range.
    #[error("{value} is not in {first}..={last}")]
    Number {
        /// What was given.
        value: u64,
        /// Lowest.
        first: u64,
        /// Highest.
        last: u64,
    },
    /// First port after the last.
    #[error("range {first}-{last} is reversed")]
    ReversedRange {
        /// Given first.
        first: u32,
        /// Given last.
        last: u32,
    },
    /// Text that is empty, too long, or has characters that are not allowed.
    #[error("`{0}` is not allowed here")]
    Text(String),
    /// A protocol that the field cannot have.
    #[error("protocol {0} is not allowed here")]
    Protocol(u8),
    /// Family, protocol and nets contradict each other.
    #[error("contradicts the family")]
    Family,
    /// Must be absent beside the others.
    #[error("not allowed beside the other fields")]
    Unexpected,
}

impl FieldFault {
    /// Of a field itself.
    pub fn new(field: impl Into<String>, reason: FieldReason) -> Self {
        Self {
            path: field.into(),
            reason,
        }
    }

    /// The same fault seen from the message around.
    #[must_use]
    pub fn within(mut self, outer: impl fmt::Display) -> Self {
        self.path = if self.path.is_empty() {
            outer.to_string()
        } else {
            format!("{outer}.{}", self.path)
        };
        self
    }
}

/// Why a whole transaction is refused. Nothing of it is applied.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Items are at fault.
    #[error("{} items are refused, the first: {}", .0.len(), .0.first().map_or_else(String::new, ToString::to_string))]
    Items(Vec<ItemFault>),
    /// An operation names no item at all.
    #[error("operation {0} is empty or of an unknown kind")]
    Operation(usize),
    /// It does not build on what is held: a snapshot is needed.
    #[error("out of step: {0}")]
    OutOfStep(OutOfStep),
}

/// How a change fails to build on what is held.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OutOfStep {
    /// It changes or removes an item that is not held.
    #[error("{0} is not held")]
    NotHeld(ItemId),
    /// A patch is for another version of the set.
    #[error("the patch of {0} is for another version of it")]
    Base(ItemId),
    /// A patch adds what is there, or removes what is not.
    #[error("the patch of {0} does not fit its members")]
    Members(ItemId),
    /// The result is not what was announced.
    #[error("the digest is {built}, announced was {announced}")]
    Digest {
        /// Announced by the sender.
        announced: Digest,
        /// What came out.
        built: Digest,
    },
}

impl Refusal {
    /// Whether a snapshot may help.
    pub fn wants_snapshot(&self) -> bool {
        matches!(self, Self::OutOfStep(_))
    }
}
