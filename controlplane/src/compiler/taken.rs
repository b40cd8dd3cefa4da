//! What a round takes in: resources as they are now, and rows that cannot be read.

use crate::unreadable::{self, Found, Rows};
use bytes::Bytes;
use palisade_model::{Resource, ResourceId, stored::Unreadable};
use palisade_store::{Batch, Change, Revision};
use std::{collections::BTreeMap, sync::Arc};
use tracing::{error, info};

/// Resources as they are now, or `None` where they are gone.
pub(super) type Changes = BTreeMap<ResourceId, Option<Arc<Resource>>>;

/// What a round takes in.
pub(super) struct Taken {
    /// What is compiled.
    pub(super) changes: Changes,
    /// All rows that cannot be read, those from before too. Shared with the hub until one changes.
    pub(super) rows: Arc<Rows>,
}

// === impl Taken ===

impl Taken {
    /// Nothing yet, on top of rows that are known.
    pub(super) fn new(rows: Arc<Rows>) -> Self {
        Self {
            changes: Changes::new(),
            rows,
        }
    }

    pub(super) fn batch(&mut self, batch: &Batch) {
        for event in &batch.events {
            match &event.change {
                Change::Put { value, .. } => self.put(&event.key, value, batch.revision),
                Change::Delete { .. } => self.delete(&event.key),
            }
        }
    }

    /// What stands at a key now. What cannot be read changes no view.
    pub(super) fn put(&mut self, key: &Bytes, value: &[u8], revision: Revision) {
        match unreadable::read(key, value) {
            Ok(read) => {
                self.forget(key);
                if let Some(read) = read {
                    self.changes.insert(read.id, Some(Arc::new(read.resource)));
                }
            }
            Err(row) => self.keep(key, Found::new(key, row, revision)),
        }
    }

    fn delete(&mut self, key: &Bytes) {
        self.forget(key);
        let id = std::str::from_utf8(key)
            .ok()
            .and_then(ResourceId::from_store_key);
        if let Some(id) = id {
            self.changes.insert(id, None);
        }
    }

    /// One line for each row, when it cannot be read any more, or for another reason.
    fn keep(&mut self, key: &Bytes, found: Found) {
        let known = self.rows.get(key);
        if known == Some(&found) {
            return;
        }
        if known.is_none_or(|known| known.row != found.row) {
            let (Unreadable { key, reason }, freezes) = (&found.row, found.freezes());
            error!(key, reason, freezes, "a stored row cannot be read");
        }
        Arc::make_mut(&mut self.rows).insert(key.clone(), found);
    }

    /// And one when it can again, or is gone.
    pub(super) fn forget(&mut self, key: &[u8]) {
        if self.rows.get(key).is_some()
            && let Some(found) = Arc::make_mut(&mut self.rows).remove(key)
        {
            let key = found.row.key;
            info!(key, "a row that could not be read stands no more");
        }
    }
}
