//! Compare-and-swap transactions: all compares hold and all operations happen, or nothing does.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{KeyValue, Revision, StoreError};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;
/// The longest value, in bytes.
pub const MAX_VALUE: usize = 1 << 20;
/// The most compares, and the most operations, of one transaction.
pub const MAX_OPS: usize = 10_000;

/// A transaction: if every compare holds, every operation happens, at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Txn {
    /// What must hold; empty: unconditional.
    pub compare: Vec<Compare>,
    /// What happens then; no key twice. Empty: only the compares are judged.
    pub then: Vec<Op>,
}

/// A condition on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(Bytes),
    /// The key exists, with whatever value.
    Present(Bytes),
    /// The key exists and was last written at this revision.
    ModifiedAt(Bytes, Revision),
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes the value, whether or not the key exists. Counts as a change even if the value is the same.
    Put(Bytes, Bytes),
    /// Removes the key. Of an absent key: nothing, and no event.
    Delete(Bytes),
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnOutcome {
    /// Every compare held; what it changed is durable.
    Committed {
        /// The revision of the change; the store's current one if nothing changed (no operations, or only deletes of
        /// absent keys).
        revision: Revision,
    },
    /// A compare did not hold; nothing happened.
    Failed {
        /// The store's revision when the compares were judged.
        revision: Revision,
        /// What stood there then: one entry per compare, in their order.
        current: Vec<Option<KeyValue>>,
    },
}

// === impl Txn ===

impl Txn {
    /// A transaction without conditions.
    #[must_use]
    pub fn unconditional(then: Vec<Op>) -> Self {
        Self {
            compare: Vec::new(),
            then,
        }
    }

    /// Refuses what no engine may accept: a key or value too long, an empty key, a key written twice, too many parts.
    ///
    /// # Errors
    /// [`StoreError::Invalid`].
    pub fn check(&self) -> Result<(), StoreError> {
        let invalid = |reason| Err(StoreError::Invalid { reason });
        if self.compare.len() > MAX_OPS || self.then.len() > MAX_OPS {
            return invalid("too many compares or operations in one transaction");
        }
        let mut written = BTreeSet::new();
        for op in &self.then {
            if !written.insert(op.key()) {
                return invalid("a transaction writes the same key twice");
            }
            if matches!(op, Op::Put(_, value) if value.len() > MAX_VALUE) {
                return invalid("a value is too long");
            }
        }
        let compared = self.compare.iter().map(Compare::key);
        for key in compared.chain(self.then.iter().map(Op::key)) {
            if key.is_empty() || key.len() > MAX_KEY {
                return invalid("a key is empty or too long");
            }
        }
        Ok(())
    }
}

// === impl Compare ===

impl Compare {
    /// The key the condition is about.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Absent(key) | Self::Present(key) | Self::ModifiedAt(key, _) => key,
        }
    }

    /// Whether the condition holds of what stands at its key.
    #[must_use]
    pub fn holds(&self, current: Option<&KeyValue>) -> bool {
        match (self, current) {
            (Self::Absent(_), None) | (Self::Present(_), Some(_)) => true,
            (Self::ModifiedAt(_, revision), Some(current)) => current.modified == *revision,
            (Self::Absent(_), Some(_)) | (Self::Present(_) | Self::ModifiedAt(..), None) => false,
        }
    }
}

// === impl Op ===

impl Op {
    /// The key the operation changes.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}
