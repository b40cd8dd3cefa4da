//! Reads within one redb snapshot, at any revision the log still reaches back to.
//!
//! `cur` holds what stands now. An older revision is `cur` with the log undone: for each key changed since, what its
//! first event after that revision replaced.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use redb::ReadTransaction;

use super::failure::Failure;
use super::layout::{
    CUR, LOG, LogRow, META, META_COMPACTED, META_REVISION, decode_current, decode_revision,
};
use crate::{Batch, Event, KeyValue, Page, Revision, StoreError};

/// How much log one look returns at most, in events and in bytes.
const LOOK_EVENTS: usize = 1024;
const LOOK_BYTES: usize = 4 << 20;

/// A snapshot, of which nothing after `revision` is shown.
pub(super) struct Reading {
    tx: ReadTransaction,
    newest: Revision,
    revision: Revision,
}

// === impl Reading ===

impl Reading {
    /// Opens the snapshot at `at`, which must lie between what was compacted and what was `published`.
    pub(super) fn at(
        tx: ReadTransaction,
        published: Revision,
        at: Option<Revision>,
    ) -> Result<Self, Failure> {
        let meta = tx.open_table(META)?;
        let read = |name| -> Result<Revision, Failure> {
            let row = meta.get(name)?;
            let row = row.ok_or_else(|| Failure::damaged("the store lacks its revision"))?;
            decode_revision(row.value())
        };
        let (newest, oldest) = (read(META_REVISION)?, read(META_COMPACTED)?);
        let current = newest.min(published);
        let revision = at.unwrap_or(current);
        if revision > current {
            let requested = revision;
            return Err(StoreError::Future { requested, current }.into());
        }
        if revision < oldest {
            return Err(StoreError::Compacted { oldest }.into());
        }
        Ok(Self {
            tx,
            newest,
            revision,
        })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<KeyValue>, Failure> {
        if let Some(undone) = self.undone(|changed| changed == key)?.remove(key) {
            return Ok(undone);
        }
        let row = self.tx.open_table(CUR)?.get(key)?;
        row.map(|row| decode_current(key, row.value())).transpose()
    }

    pub(super) fn range(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page, Failure> {
        let in_range =
            |key: &[u8]| key.starts_with(prefix) && after.is_none_or(|after| key > after);
        let undone = self.undone(in_range)?;
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let cur = self.tx.open_table(CUR)?;
        let mut standing = cur.range::<&[u8]>((start, Bound::Unbounded))?;
        let mut restored = undone
            .values()
            .filter_map(Option::as_ref)
            .cloned()
            .peekable();
        let mut next_standing = || -> Result<Option<KeyValue>, Failure> {
            for row in standing.by_ref() {
                let (key, row) = row?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                if !undone.contains_key(key.value()) {
                    return decode_current(key.value(), row.value()).map(Some);
                }
            }
            Ok(None)
        };
        let mut items = Vec::new();
        let mut waiting = next_standing()?;
        loop {
            let from_log = match (&waiting, restored.peek()) {
                (Some(standing), Some(restored)) => restored.key < standing.key,
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (None, None) => break,
            };
            if items.len() == limit {
                return Ok(self.page(items, true));
            }
            if from_log {
                items.extend(restored.next());
            } else {
                items.extend(waiting.take());
                waiting = next_standing()?;
            }
        }
        Ok(self.page(items, false))
    }

    /// The batches after this reading's revision and up to `until`, as many as one look holds.
    pub(super) fn batches(&self, until: Revision) -> Result<Vec<Batch>, Failure> {
        let mut batches: Vec<Batch> = Vec::new();
        let (mut events, mut size) = (0, 0);
        let log = self.tx.open_table(LOG)?;
        for row in log.range((self.revision.next().0, 0)..=(until.0, u32::MAX))? {
            let (at, row) = row?;
            let revision = Revision(at.value().0);
            let event: Event = LogRow::decode(row.value())?.into_event()?;
            match batches.last_mut() {
                Some(batch) if batch.revision == revision => batch.events.push(event),
                _ if events >= LOOK_EVENTS || size >= LOOK_BYTES => break,
                _ => batches.push(Batch {
                    revision,
                    events: vec![event],
                }),
            }
            events += 1;
            size += row.value().len();
        }
        Ok(batches)
    }

    /// For each key of interest changed after this reading's revision: what stood at it then.
    fn undone(
        &self,
        of_interest: impl Fn(&[u8]) -> bool,
    ) -> Result<BTreeMap<Bytes, Option<KeyValue>>, Failure> {
        let mut undone = BTreeMap::new();
        if self.revision == self.newest {
            return Ok(undone);
        }
        let log = self.tx.open_table(LOG)?;
        for row in log.range((self.revision.next().0, 0)..)? {
            let row = LogRow::decode(row?.1.value())?;
            if of_interest(&row.key) {
                undone.entry(row.key).or_insert(row.previous);
            }
        }
        Ok(undone)
    }

    fn page(&self, items: Vec<KeyValue>, more: bool) -> Page {
        Page {
            revision: self.revision,
            items,
            more,
        }
    }
}
