//! What a store holds: keys with values, stamped with revisions.

use std::fmt;

use bytes::Bytes;

/// A point in the life of one store: 0 when it is empty and new, one more for every transaction that changed something.
///
/// Two revisions compare only within one epoch (see [`StoreIdentity`](crate::StoreIdentity)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// A key with its value, as it stood at some revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The revision that made the key; a key deleted and put again has a new one.
    pub created: Revision,
    /// The revision that wrote this value; what [`Compare::ModifiedAt`](crate::Compare) compares.
    pub modified: Revision,
}

/// One page of a range, all of it as it stood at `revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The revision of the whole page; ask for the next page at this one.
    pub revision: Revision,
    /// In the order of their keys.
    pub items: Vec<KeyValue>,
    /// Whether keys with the prefix remain after the last item.
    pub more: bool,
}

// === impl Revision ===

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
