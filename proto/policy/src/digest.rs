//! Digests of items and of views: the reference of `palisade.v1.Position.digest`.
//!
//! All digests are 256-bit little-endian numbers, and those of collections are sums modulo 2²⁵⁶: they do not depend on
//! order, and one member's change costs one addition and one subtraction.

use crate::{item::ItemId, set::Member, view::Digest, wire};

const BODY: &[u8] = b"palisade body 1";
const MEMBER: &[u8] = b"palisade member 1";
const ITEM: &[u8] = b"palisade item 1";

/// The hash of an item's content: of its body, or the sum of its members' for a set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ItemHash(pub [u8; 32]);

impl std::fmt::Debug for ItemHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&Digest(self.0), f)
    }
}

impl ItemHash {
    /// Of a set without members.
    pub const EMPTY_SET: Self = Self([0; 32]);

    /// Of an item that is not a set.
    pub fn of_body(body: &[u8]) -> Self {
        Self(hash(&[BODY, body]))
    }

    /// Of a whole set.
    pub fn of_members<'a>(members: impl IntoIterator<Item = &'a Member>) -> Self {
        let mut sum = Self::EMPTY_SET;
        for member in members {
            sum.add_member(member);
        }
        sum
    }

    /// The set's hash with one more member.
    pub fn add_member(&mut self, member: &Member) {
        self.0 = add(&self.0, &member_hash(member));
    }

    /// The set's hash with one member less.
    pub fn remove_member(&mut self, member: &Member) {
        self.0 = sub(&self.0, &member_hash(member));
    }
}

impl Digest {
    /// The digest of a view with one more item.
    pub fn add_item(&mut self, id: &ItemId, hash: &ItemHash) {
        self.0 = add(&self.0, &item_hash(id, hash));
    }

    /// The digest of a view with one item less.
    pub fn remove_item(&mut self, id: &ItemId, hash: &ItemHash) {
        self.0 = sub(&self.0, &item_hash(id, hash));
    }
}

fn member_hash(member: &Member) -> [u8; 32] {
    hash(&[MEMBER, &wire::encode_member(member)])
}

fn item_hash(id: &ItemId, hash_of_content: &ItemHash) -> [u8; 32] {
    let length = u32::try_from(id.id.len()).expect("ids are shorter than 4 GiB");
    hash(&[
        ITEM,
        &[id.kind.number()],
        &length.to_le_bytes(),
        id.id.as_bytes(),
        &hash_of_content.0,
    ])
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

fn add(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let mut carry = false;
    combine(a, b, |x, y| {
        let (sum, over) = x.overflowing_add(y);
        let (sum, again) = sum.overflowing_add(u64::from(carry));
        carry = over || again;
        sum
    })
}

fn sub(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let mut borrow = false;
    combine(a, b, |x, y| {
        let (rest, under) = x.overflowing_sub(y);
        let (rest, again) = rest.overflowing_sub(u64::from(borrow));
        borrow = under || again;
        rest
    })
}

/// Limb by limb, lowest first.
fn combine(a: &[u8; 32], b: &[u8; 32], mut limb: impl FnMut(u64, u64) -> u64) -> [u8; 32] {
    let mut out = [0; 32];
    for ((x, y), z) in a
        .as_chunks::<8>()
        .0
        .iter()
        .zip(b.as_chunks::<8>().0)
        .zip(out.as_chunks_mut::<8>().0)
    {
        *z = limb(u64::from_le_bytes(*x), u64::from_le_bytes(*y)).to_le_bytes();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::ItemKind;
    use proptest::prelude::*;

    #[test]
    fn carry_runs_through_all_limbs_and_wraps() {
        let one = {
            let mut one = [0; 32];
            one[0] = 1;
            one
        };
        assert_eq!(add(&[0xff; 32], &one), [0; 32]);
        assert_eq!(sub(&[0; 32], &one), [0xff; 32]);
    }

    #[test]
    fn kind_and_id_enter_the_digest() {
        let hash = ItemHash::of_body(b"x");
        let digest = |kind, id: &str| {
            let mut digest = Digest::default();
            digest.add_item(&ItemId::new(kind, id), &hash);
            digest
        };
        assert_ne!(digest(ItemKind::Class, "a"), digest(ItemKind::Policy, "a"));
        assert_ne!(digest(ItemKind::Class, "a"), digest(ItemKind::Class, "b"));
    }

    proptest! {
        #[test]
        fn what_is_added_can_be_taken_away(a: [u8; 32], b: [u8; 32]) {
            prop_assert_eq!(sub(&add(&a, &b), &b), a);
            prop_assert_eq!(add(&a, &b), add(&b, &a));
        }
    }
}
