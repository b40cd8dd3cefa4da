//! The embedded engine: one redb file, one process.
//!
//! Owns the file, its lock, the writer thread and the watches. The file is made readable for its owner only, because
//! what is stored may be secret.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::{
    KeyValue, Lease, OpenError, Page, Revision, Store, StoreError, StoreIdentity, Txn, TxnOutcome,
    WatchStream,
};
use failure::Failure;
use read::Reading;
use shared::Shared;
use trim::Trimmer;
use writer::{Answer, Ask, Request, Writer};

mod disk;
mod failure;
mod feed;
mod layout;
mod open;
mod read;
mod shared;
mod trim;
mod writer;

pub use trim::Retention;

/// How many requests may wait for the writer; further callers wait to send.
const QUEUE: usize = 256;

/// A store in one redb file, for one control plane process.
///
/// Dropping it waits for the commit under way, if any, and closes the file; its watches end with
/// [`StoreError::Closed`].
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

// === impl EmbeddedStore ===

impl EmbeddedStore {
    /// Opens the store at `path`, making it if there is no file.
    ///
    /// # Errors
    /// [`OpenError`]; in particular another process may hold it, or the file may be something else (it is left alone).
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, Retention::default())
    }

    /// [`EmbeddedStore::open`], keeping another amount of history.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    pub fn open_with(path: &Path, retention: Retention) -> Result<Self, OpenError> {
        Self::start(path, open::store(path)?, retention)
    }

    /// Opens a store on a disk of the caller's making: how tests cut the power. `name` stands in error texts.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    #[cfg(feature = "conformance")]
    pub fn open_on(
        name: &Path,
        disk: Arc<dyn redb::StorageBackend>,
        retention: Retention,
    ) -> Result<Self, OpenError> {
        Self::start(name, open::shared(name, disk)?, retention)
    }

    fn start(path: &Path, shared: Shared, retention: Retention) -> Result<Self, OpenError> {
        let shared = Arc::new(shared);
        let (requests, receiver) = mpsc::channel(QUEUE);
        let writer = Writer {
            shared: Arc::clone(&shared),
            requests: receiver,
            trimmer: Trimmer::new(retention),
        };
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| OpenError::Io {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            shared,
            requests: Some(requests),
            writer: Some(writer),
        })
    }

    async fn ask(&self, ask: Ask) -> Answer {
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or(StoreError::Closed)?;
        let request = Request { ask, reply };
        let sent = requests.send(request).await;
        sent.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn read<T: Send + 'static>(
        &self,
        at: Option<Revision>,
        read: impl Fn(&Reading) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || shared.read(at, read));
        task.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has answered nobody: its callers saw `Closed`.
            let _ = writer.join();
        }
        self.shared.close();
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn get(&self, key: &[u8], at: Option<Revision>) -> Result<Option<KeyValue>, StoreError> {
        let key = Bytes::copy_from_slice(key);
        self.read(at, move |reading| reading.get(&key)).await
    }

    async fn range(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, StoreError> {
        let prefix = Bytes::copy_from_slice(prefix);
        let after = after.map(Bytes::copy_from_slice);
        self.read(at, move |reading| {
            reading.range(&prefix, after.as_deref(), limit)
        })
        .await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        txn.check()?;
        self.ask(Ask::Txn(txn)).await
    }

    async fn watch(&self, prefix: &[u8], after: Revision) -> Result<WatchStream, StoreError> {
        self.read(Some(after), |_| Ok(())).await?;
        let prefix = Bytes::copy_from_slice(prefix);
        Ok(feed::watch(&self.shared, prefix, after))
    }

    async fn compact(&self, oldest: Revision) -> Result<(), StoreError> {
        self.ask(Ask::Compact(oldest)).await.map(drop)
    }

    async fn lease(&self, name: &str, _ttl: Duration) -> Result<Option<Lease>, StoreError> {
        // The file's lock is the lease: no other process can hold the store.
        Ok(Some(Lease {
            name: name.to_owned(),
            fence: Vec::new(),
        }))
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        let head = self.shared.head();
        Ok(StoreIdentity {
            epoch: self.shared.epoch,
            engine: "redb",
            revision: head.revision,
            compacted: head.compacted,
            read_only: head.read_only,
        })
    }
}
