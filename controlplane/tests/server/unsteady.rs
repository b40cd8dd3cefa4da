//! A store whose watches end and whose reads fail when a test says so; what is in it stays.

use bytes::Bytes;
use palisade_store::{
    Batch, EmbeddedStore, KeyValue, Lease, Op, Page, Revision, Store, StoreError, StoreIdentity,
    Txn, TxnOutcome, WatchStream,
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;
use tokio_stream::StreamExt as _;

pub(crate) struct Unsteady {
    inner: EmbeddedStore,
    /// The latest error that ends watches.
    cut: watch::Sender<Option<StoreError>>,
    /// Reads of pages that will fail.
    failing: AtomicUsize,
    /// Watches that were begun.
    watches: watch::Sender<usize>,
}

/// An error of a disk.
pub(crate) fn unavailable() -> StoreError {
    StoreError::Unavailable {
        source: Arc::new(std::io::Error::other("the disk is gone")),
    }
}

impl Unsteady {
    pub(crate) fn open(dir: &Path) -> Arc<Self> {
        let inner = EmbeddedStore::open(&dir.join("store.redb")).expect("a store");
        Arc::new(Self {
            inner,
            cut: watch::Sender::new(None),
            failing: AtomicUsize::new(0),
            watches: watch::Sender::new(0),
        })
    }

    /// Ends all watches, and lets so many reads fail after it.
    pub(crate) fn cut(&self, error: StoreError, failing: usize) {
        self.failing.store(failing, Ordering::SeqCst);
        self.cut.send_replace(Some(error));
    }

    /// Resolves when somebody has begun a watch since `before` were begun.
    pub(crate) async fn watched_since(&self, before: usize) {
        let mut watches = self.watches.subscribe();
        let begun = watches.wait_for(|begun| *begun > before);
        drop(begun.await.expect("the store lives"));
    }

    pub(crate) fn watches(&self) -> usize {
        *self.watches.borrow()
    }

    /// Writes, or with `None` removes, a row as another build would.
    pub(crate) async fn set(&self, key: &str, value: Option<String>) -> Revision {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let op = match value {
            Some(value) => Op::Put(key, value.into()),
            None => Op::Delete(key),
        };
        match self.inner.txn(Txn::unconditional(vec![op])).await {
            Ok(TxnOutcome::Committed { revision }) => revision,
            other => panic!("{other:?}"),
        }
    }

    /// What stands at a key.
    pub(crate) async fn text(&self, key: &str) -> Option<String> {
        let row = self.inner.get(key.as_bytes(), None).await.expect("reads");
        row.map(|row| String::from_utf8(row.value.to_vec()).expect("text"))
    }

    /// Everything under a prefix.
    pub(crate) async fn rows(&self, prefix: &str) -> Vec<KeyValue> {
        let page = self.inner.range(prefix.as_bytes(), None, 1000, None).await;
        page.expect("reads").items
    }
}

#[tonic::async_trait]
impl Store for Unsteady {
    async fn get(&self, key: &[u8], at: Option<Revision>) -> Result<Option<KeyValue>, StoreError> {
        self.inner.get(key, at).await
    }

    async fn range(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, StoreError> {
        let fails = self
            .failing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        match fails {
            Ok(_) => Err(unavailable()),
            Err(_) => self.inner.range(prefix, after, limit, at).await,
        }
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        self.inner.txn(txn).await
    }

    async fn watch(&self, prefix: &[u8], after: Revision) -> Result<WatchStream, StoreError> {
        let inner = self.inner.watch(prefix, after).await?;
        let mut cut = self.cut.subscribe();
        cut.mark_unchanged();
        self.watches.send_modify(|begun| *begun += 1);
        let cut = tokio_stream::once(()).then(move |()| {
            let mut cut = cut.clone();
            async move {
                // The sender lives as long as the store.
                let _ = cut.changed().await;
                cut.borrow().clone()
            }
        });
        let ends = cut.filter_map(|error| error.map(Err::<Batch, _>));
        Ok(Box::pin(ends.merge(inner)))
    }

    async fn compact(&self, oldest: Revision) -> Result<(), StoreError> {
        self.inner.compact(oldest).await
    }

    async fn lease(&self, name: &str, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        self.inner.lease(name, ttl).await
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.inner.identity().await
    }
}
