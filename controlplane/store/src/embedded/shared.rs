//! What readers, watches and the writer of one embedded store share.
//!
//! The law: what `head` says is durable, and nothing after it is shown.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Builder, Database, ReadableDatabase, StorageBackend};
use tokio::sync::watch;

use super::disk::{Guarded, Overlay};
use super::failure::Failure;
use super::read::Reading;
use crate::{Batch, Revision, StoreError};

/// redb's cache, in bytes; its own default is 1 GiB.
const CACHE: usize = 64 << 20;
/// How many recent events, and bytes of them, stay in memory for watches that keep up.
const RING_EVENTS: usize = 4096;
const RING_BYTES: usize = 8 << 20;

pub(super) struct Shared {
    pub(super) epoch: [u8; 16],
    head: watch::Sender<Head>,
    ring: Mutex<Ring>,
    engine: Mutex<Engine>,
    disk: Arc<dyn StorageBackend>,
    frozen: Arc<AtomicBool>,
}

/// Where the store is, as published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    pub(super) read_only: bool,
    pub(super) closed: bool,
}

struct Engine {
    /// None: it could not even be opened for reading.
    database: Option<Arc<Database>>,
    failed: Option<Arc<redb::Error>>,
}

#[derive(Default)]
struct Ring {
    batches: VecDeque<Arc<Batch>>,
    events: usize,
    bytes: usize,
}

/// Opens redb over a disk that stops at its first failure.
pub(super) fn open_database(
    disk: Arc<dyn StorageBackend>,
    frozen: Arc<AtomicBool>,
) -> Result<Database, redb::DatabaseError> {
    builder().create_with_backend(Guarded::new(disk, frozen))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(
        disk: Arc<dyn StorageBackend>,
        frozen: Arc<AtomicBool>,
        database: Database,
        epoch: [u8; 16],
        revision: Revision,
        compacted: Revision,
    ) -> Self {
        let head = Head {
            revision,
            compacted,
            read_only: false,
            closed: false,
        };
        Self {
            epoch,
            head: watch::Sender::new(head),
            ring: Mutex::default(),
            engine: Mutex::new(Engine {
                database: Some(Arc::new(database)),
                failed: None,
            }),
            disk,
            frozen,
        }
    }

    pub(super) fn head(&self) -> Head {
        *self.head.borrow()
    }

    pub(super) fn follow(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// The database to write to.
    pub(super) fn writable(&self) -> Result<Arc<Database>, Failure> {
        let engine = self.engine();
        match (&engine.failed, &engine.database) {
            (Some(failed), _) => Err(Failure::Engine(Arc::clone(failed))),
            (None, Some(database)) => Ok(Arc::clone(database)),
            (None, None) => Err(StoreError::Closed.into()),
        }
    }

    /// Runs a read at revision `at`. A failing disk makes the store read-only and the read is tried once more.
    pub(super) fn read<T>(
        &self,
        at: Option<Revision>,
        read: impl Fn(&Reading) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let attempt = || {
            let database = {
                let engine = self.engine();
                match (&engine.database, &engine.failed) {
                    (Some(database), _) => Arc::clone(database),
                    (None, Some(failed)) => return Err(Failure::Engine(Arc::clone(failed))),
                    (None, None) => return Err(StoreError::Closed.into()),
                }
            };
            // The snapshot first: the head published after it was taken is never behind what it had compacted.
            let snapshot = database.begin_read()?;
            let reading = Reading::at(snapshot, self.head().revision, at)?;
            read(&reading)
        };
        let result = match attempt() {
            Err(Failure::Engine(error)) => {
                self.fail(error);
                attempt()
            }
            other => other,
        };
        result.map_err(Failure::into_store_error)
    }

    /// Shows what was committed. Refused when the store failed meanwhile: then it is unknown what the disk holds.
    pub(super) fn publish(
        &self,
        batches: Vec<Batch>,
        revision: Revision,
        compacted: Revision,
    ) -> Result<(), Failure> {
        let engine = self.engine();
        if let Some(failed) = &engine.failed {
            return Err(Failure::Engine(Arc::clone(failed)));
        }
        self.ring().push(batches);
        self.head.send_modify(|head| {
            head.revision = revision;
            head.compacted = compacted;
        });
        Ok(())
    }

    /// Ends writing for good, and opens what the disk holds for reading. Only the first failure counts.
    pub(super) fn fail(&self, error: Arc<redb::Error>) {
        let mut engine = self.engine();
        if engine.failed.is_some() {
            return;
        }
        tracing::error!(error = %error, "store failed, now read-only");
        self.frozen.store(true, Ordering::SeqCst);
        engine.failed = Some(error);
        engine.database = None;
        let reopened = Overlay::new(Arc::clone(&self.disk))
            .map_err(|error| redb::DatabaseError::Storage(error.into()))
            .and_then(|overlay| builder().create_with_backend(overlay));
        match reopened {
            Ok(database) => engine.database = Some(Arc::new(database)),
            Err(error) => tracing::error!(%error, "store cannot be read either"),
        }
        self.head.send_modify(|head| head.read_only = true);
    }

    pub(super) fn close(&self) {
        self.head.send_modify(|head| head.closed = true);
        self.engine().database = None;
    }

    /// The recent batches after `after`, if memory reaches back that far.
    pub(super) fn recent(&self, after: Revision) -> Option<Vec<Arc<Batch>>> {
        let ring = self.ring();
        let oldest = ring.batches.front()?.revision;
        if oldest > after.next() {
            return None;
        }
        let first = ring
            .batches
            .partition_point(|batch| batch.revision <= after);
        Some(ring.batches.iter().skip(first).cloned().collect())
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Ring ===

impl Ring {
    fn push(&mut self, batches: Vec<Batch>) {
        for batch in batches {
            self.events += batch.events.len();
            self.bytes += size(&batch);
            self.batches.push_back(Arc::new(batch));
        }
        while self.events > RING_EVENTS || self.bytes > RING_BYTES {
            let Some(oldest) = self.batches.pop_front() else {
                break;
            };
            self.events -= oldest.events.len();
            self.bytes -= size(&oldest);
        }
    }
}

fn size(batch: &Batch) -> usize {
    batch.events.iter().map(|event| event.size()).sum()
}
