//! Watches: a cursor over the log, woken by the head. Nothing is queued per watcher, so a slow one costs no memory.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::watch::Receiver;

use super::shared::{Head, Shared};
use crate::{Batch, Event, Revision, StoreError, WatchStream};

/// One watcher's place.
struct Watcher {
    /// Weak, so that a watch does not keep a dropped store open.
    shared: Weak<Shared>,
    head: Receiver<Head>,
    prefix: Bytes,
    /// Everything up to here was looked at.
    cursor: Revision,
    /// What was found and not delivered yet: one look at most.
    pending: VecDeque<Batch>,
}

pub(super) fn watch(shared: &Arc<Shared>, prefix: Bytes, after: Revision) -> WatchStream {
    let watcher = Watcher {
        shared: Arc::downgrade(shared),
        head: shared.follow(),
        prefix,
        cursor: after,
        pending: VecDeque::new(),
    };
    Box::pin(stream::unfold(Some(watcher), |watcher| async {
        let mut watcher = watcher?;
        match watcher.next().await {
            Ok(batch) => Some((Ok(batch), Some(watcher))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

// === impl Watcher ===

impl Watcher {
    async fn next(&mut self) -> Result<Batch, StoreError> {
        loop {
            if let Some(batch) = self.pending.pop_front() {
                return Ok(batch);
            }
            let head = *self.head.borrow_and_update();
            if head.closed {
                return Err(StoreError::Closed);
            }
            if self.cursor < head.revision {
                self.look(head.revision).await?;
            } else if self.head.changed().await.is_err() {
                return Err(StoreError::Closed);
            }
        }
    }

    /// Moves the cursor towards `until`, by what memory or one look into the log holds.
    async fn look(&mut self, until: Revision) -> Result<(), StoreError> {
        let shared = self.shared.upgrade().ok_or(StoreError::Closed)?;
        match shared.recent(self.cursor) {
            Some(recent) => {
                for batch in recent {
                    self.deliver(batch.revision, batch.events.iter());
                }
            }
            None => {
                let cursor = self.cursor;
                let found = tokio::task::spawn_blocking(move || {
                    shared.read(Some(cursor), |reading| reading.batches(until))
                });
                let found = found.await.map_err(|_| StoreError::Closed)??;
                if found.is_empty() {
                    // Every revision has events, so the log is not what it was: list again.
                    let oldest = until;
                    return Err(StoreError::Compacted { oldest });
                }
                for batch in &found {
                    self.deliver(batch.revision, batch.events.iter());
                }
            }
        }
        let told = self.pending.back().map(|batch| batch.revision);
        if self.cursor >= until && told != Some(self.cursor) {
            self.pending.push_back(Batch {
                revision: self.cursor,
                events: Vec::new(),
            });
        }
        Ok(())
    }

    fn deliver<'a>(&mut self, revision: Revision, events: impl Iterator<Item = &'a Event>) {
        self.cursor = revision;
        let events: Vec<_> = events
            .filter(|event| event.key.starts_with(&self.prefix))
            .cloned()
            .collect();
        if !events.is_empty() {
            self.pending.push_back(Batch { revision, events });
        }
    }
}
