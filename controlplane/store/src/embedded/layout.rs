//! Tables of the file, and how rows are written: `cur` (what stands), `log` (what happened), `meta` (who and where).
//!
//! Every row carries lengths, and a row that does not decode is damage, never a default.

use bytes::Bytes;
use redb::TableDefinition;

use super::failure::Failure;
use crate::{Change, Event, KeyValue, Revision};

/// key → created, modified, value.
pub(super) const CUR: TableDefinition<&[u8], &[u8]> = TableDefinition::new("cur");
/// (revision, index within the transaction) → [`LogRow`].
pub(super) const LOG: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("log");
/// name → bytes; the names are below.
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

pub(super) const META_LAYOUT: &str = "layout";
pub(super) const META_EPOCH: &str = "epoch";
pub(super) const META_REVISION: &str = "revision";
pub(super) const META_COMPACTED: &str = "compacted";

/// The layout this code reads and writes.
pub(super) const LAYOUT: &str = "palisade-store/2";
/// The one before, which has the same tables. What it calls itself is changed when it is opened, for good: builds that know
/// only this one would drop rows that they cannot read, so they must not open a store that a later build has written to.
pub(super) const FORMER: &str = "palisade-store/1";
/// The first bytes of a redb file.
pub(super) const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// One event, with what stood before, whole: so that a watch can show it and an old revision can be read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogRow {
    pub(super) key: Bytes,
    pub(super) put: Option<Put>,
    pub(super) previous: Option<KeyValue>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Put {
    pub(super) created: Revision,
    pub(super) value: Bytes,
}

// === impl LogRow ===

impl LogRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::new();
        write_bytes(&mut row, &self.key);
        row.push(u8::from(self.put.is_some()));
        if let Some(put) = &self.put {
            write_revision(&mut row, put.created);
            write_bytes(&mut row, &put.value);
        }
        row.push(u8::from(self.previous.is_some()));
        if let Some(previous) = &self.previous {
            write_revision(&mut row, previous.created);
            write_revision(&mut row, previous.modified);
            write_bytes(&mut row, &previous.value);
        }
        row
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, Failure> {
        let mut row = Row(row);
        let key = row.bytes()?;
        let put = if row.flag()? {
            Some(Put {
                created: row.revision()?,
                value: row.bytes()?,
            })
        } else {
            None
        };
        let previous = if row.flag()? {
            Some(KeyValue {
                key: key.clone(),
                created: row.revision()?,
                modified: row.revision()?,
                value: row.bytes()?,
            })
        } else {
            None
        };
        row.end()?;
        Ok(Self { key, put, previous })
    }

    pub(super) fn into_event(self) -> Result<Event, Failure> {
        let previous = self.previous.map(|previous| previous.value);
        let change = match (self.put, previous) {
            (Some(put), previous) => Change::Put {
                value: put.value,
                created: put.created,
                previous,
            },
            (None, Some(previous)) => Change::Delete { previous },
            (None, None) => return Err(damaged()),
        };
        Ok(Event {
            key: self.key,
            change,
        })
    }
}

pub(super) fn encode_current(current: &KeyValue) -> Vec<u8> {
    let mut row = Vec::with_capacity(16 + current.value.len());
    write_revision(&mut row, current.created);
    write_revision(&mut row, current.modified);
    row.extend_from_slice(&current.value);
    row
}

pub(super) fn decode_current(key: &[u8], row: &[u8]) -> Result<KeyValue, Failure> {
    let mut row = Row(row);
    Ok(KeyValue {
        key: Bytes::copy_from_slice(key),
        created: row.revision()?,
        modified: row.revision()?,
        value: Bytes::copy_from_slice(row.0),
    })
}

pub(super) fn decode_revision(row: &[u8]) -> Result<Revision, Failure> {
    let mut row = Row(row);
    let revision = row.revision()?;
    row.end()?;
    Ok(revision)
}

/// What of a row is still to be read.
struct Row<'a>(&'a [u8]);

// === impl Row ===

impl Row<'_> {
    fn take(&mut self, len: usize) -> Result<&[u8], Failure> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn revision(&mut self) -> Result<Revision, Failure> {
        let bytes = self.take(8)?.try_into().map_err(|_| damaged())?;
        Ok(Revision(u64::from_be_bytes(bytes)))
    }

    fn bytes(&mut self) -> Result<Bytes, Failure> {
        let len = self.take(4)?.try_into().map_err(|_| damaged())?;
        let len = usize::try_from(u32::from_be_bytes(len)).map_err(|_| damaged())?;
        Ok(Bytes::copy_from_slice(self.take(len)?))
    }

    fn flag(&mut self) -> Result<bool, Failure> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(damaged()),
        }
    }

    fn end(&self) -> Result<(), Failure> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(damaged())
        }
    }
}

fn write_revision(row: &mut Vec<u8>, revision: Revision) {
    row.extend_from_slice(&revision.0.to_be_bytes());
}

fn write_bytes(row: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("keys and values have limits far below");
    row.extend_from_slice(&len.to_be_bytes());
    row.extend_from_slice(bytes);
}

fn damaged() -> Failure {
    Failure::damaged("a row of the store does not decode")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> LogRow {
        LogRow {
            key: Bytes::from_static(b"/r/a"),
            put: Some(Put {
                created: Revision(3),
                value: Bytes::from_static(b"new"),
            }),
            previous: Some(KeyValue {
                key: Bytes::from_static(b"/r/a"),
                value: Bytes::from_static(b"old"),
                created: Revision(3),
                modified: Revision(4),
            }),
        }
    }

    #[test]
    fn a_log_row_reads_back_as_written() {
        assert_eq!(LogRow::decode(&row().encode()).expect("whole"), row());
    }

    #[test]
    fn a_torn_or_padded_log_row_is_damage() {
        let whole = row().encode();
        for len in 0..whole.len() {
            assert!(LogRow::decode(&whole[..len]).is_err(), "{len} bytes");
        }
        let padded = [whole.as_slice(), &[0]].concat();
        assert!(LogRow::decode(&padded).is_err());
    }
}
