//! What a watch delivers: batches of events, one batch per revision, in order.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;

use crate::{Revision, StoreError};

/// The changes one transaction made under the watched prefix; without events it is a bookmark.
///
/// Having received it, nothing under the prefix up to `revision` is missing: resume with `watch(prefix, revision)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The revision of the changes.
    pub revision: Revision,
    /// In the order of the transaction's operations.
    pub events: Vec<Event>,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The key.
    pub key: Bytes,
    /// What happened; its revision (and so the key's new `modified`) is the batch's.
    pub change: Change,
}

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key was written.
    Put {
        /// The new value.
        value: Bytes,
        /// The revision that made the key; the batch's if it is new.
        created: Revision,
        /// The value it replaced; none if the key is new.
        previous: Option<Bytes>,
    },
    /// The key was removed.
    Delete {
        /// The value it had.
        previous: Bytes,
    },
}

/// An endless stream of batches; an error ends it.
///
/// It ends with [`StoreError::Compacted`] when the watcher fell so far behind that its place in the log is gone, and
/// with [`StoreError::Closed`] when the store is dropped. No queue stands behind it: a slow watcher costs no memory.
pub type WatchStream = Pin<Box<dyn Stream<Item = Result<Batch, StoreError>> + Send>>;

// === impl Event ===

impl Event {
    /// About how many bytes the event holds.
    pub(crate) fn size(&self) -> usize {
        let values = match &self.change {
            Change::Put {
                value, previous, ..
            } => value.len() + previous.as_ref().map_or(0, Bytes::len),
            Change::Delete { previous } => previous.len(),
        };
        self.key.len() + values
    }
}
