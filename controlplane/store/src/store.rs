//! The [`Store`] trait: what every engine can do.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Compare, KeyValue, Page, Revision, StoreError, Txn, TxnOutcome, WatchStream};

/// A revisioned key-value store. Shared as `Arc<dyn Store>`.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What stood at `key` at revision `at`; now, if none is given.
    ///
    /// # Errors
    /// [`StoreError::Compacted`], [`StoreError::Future`], [`StoreError::Unavailable`].
    async fn get(&self, key: &[u8], at: Option<Revision>) -> Result<Option<KeyValue>, StoreError>;

    /// Up to `limit` keys with `prefix` that come after the key `after`, as they stood at `at` (now, if none is given).
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn range(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, StoreError>;

    /// Judges the compares and makes the change, atomically; durable when it returns.
    ///
    /// A caller that stops waiting does not undo it.
    ///
    /// # Errors
    /// [`StoreError::Invalid`], [`StoreError::Unavailable`] when the store is read-only, [`StoreError::Closed`].
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError>;

    /// Every change under `prefix` after revision `after`, in order, without end; and bookmarks, at least when the
    /// watch has caught up with changes elsewhere.
    ///
    /// # Errors
    /// [`StoreError::Compacted`], [`StoreError::Future`], [`StoreError::Unavailable`].
    async fn watch(&self, prefix: &[u8], after: Revision) -> Result<WatchStream, StoreError>;

    /// Forgets history, so that `oldest` is the oldest revision still readable. Of one already forgotten: nothing.
    ///
    /// # Errors
    /// [`StoreError::Future`], [`StoreError::Unavailable`], [`StoreError::Closed`].
    async fn compact(&self, oldest: Revision) -> Result<(), StoreError>;

    /// Takes the lease `name`, for work that only one replica may do; `None` while another replica holds it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn lease(&self, name: &str, ttl: Duration) -> Result<Option<Lease>, StoreError>;

    /// Which store this is and how far it is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn identity(&self) -> Result<StoreIdentity, StoreError>;
}

/// Which store this is and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Random, made when the store is created or restored: one life of a store.
    pub epoch: [u8; 16],
    /// The engine's name: `redb`.
    pub engine: &'static str,
    /// The current revision.
    pub revision: Revision,
    /// The oldest revision still readable.
    pub compacted: Revision,
    /// Whether writes are refused, after an I/O error.
    pub read_only: bool,
}

/// A held lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub name: String,
    /// Compares that hold only while the lease does: they go into every transaction of the leased work. Empty for an
    /// engine that only one process can open.
    pub fence: Vec<Compare>,
}
