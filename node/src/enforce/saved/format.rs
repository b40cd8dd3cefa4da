//! Bytes of the file of one generation. Whatever does not parse whole, or whose checksum is wrong, is not there.
//!
//! ```text
//! file:      magic 20 | record …
//! record:    kind 1 | length of operations 4 | position 56 | operations | BLAKE3 of (checksum before, all before) 32
//! position:  epoch 16 | revision 8 | digest 32;  numbers little-endian
//! ```
//!
//! The first change is the snapshot; it may have parts before it, so that nobody has to hold a large view twice. The
//! checksum of the first record covers that of the magic.

use super::disk::DiskFile;
use palisade_policy::view::{Digest, Epoch, Position};
use std::{io, ops::Range};

const MAGIC: &[u8; 20] = b"palisade view 2\n\0\0\0\0";
const CHECKSUM: usize = 32;
/// Operations of a snapshot are written in pieces of about this size.
const PART: usize = 256 << 10;

/// What a record says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Operations of the change that follows.
    Part,
    /// A change; good once a record of kind `Good` follows.
    Change,
    /// The change before is enforced.
    Good,
}

/// The view after a change.
pub(super) struct Point {
    pub(super) position: Position,
    /// It was enforced.
    pub(super) good: bool,
    /// Where in the content its operations are.
    pub(super) ops: Vec<Range<usize>>,
    /// Where it can be continued.
    pub(super) end: End,
}

/// Where a file can be continued.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) length: u64,
    /// Checksum of the last record, which the next one covers.
    pub(super) chain: blake3::Hash,
}

/// The points of a file, up to the first record that is damaged, and where the bytes begin that make no point.
pub(super) fn points(content: &[u8]) -> (Vec<Point>, usize) {
    let mut points = Vec::new();
    if !content.starts_with(MAGIC) {
        return (points, 0);
    }
    let read = read_points(content, MAGIC.len(), blake3::hash(MAGIC), &mut points);
    (points, read)
}

/// Appends the points that the records from `start` make; the first record covers `chain`. Returns where they end.
pub(super) fn read_points(
    content: &[u8],
    start: usize,
    mut chain: blake3::Hash,
    points: &mut Vec<Point>,
) -> usize {
    let mut reader = Reader { content, at: start };
    let mut parts = Vec::new();
    let mut read = start;
    while let Some(record) = reader.record(&chain) {
        chain = record.end.chain;
        match (record.kind, points.last_mut()) {
            (Kind::Part, None) => parts.push(record.ops),
            (Kind::Change, _) => {
                parts.push(record.ops);
                points.push(Point {
                    position: record.position,
                    good: false,
                    ops: std::mem::take(&mut parts),
                    end: record.end,
                });
            }
            (Kind::Good, Some(point)) if point.position == record.position => {
                point.good = true;
                point.end = record.end;
            }
            _ => break,
        }
        read = reader.at;
    }
    read
}

/// Whether records behind `damaged`, where no record can be read, show that the one there was acknowledged. `last` is the
/// view before it.
///
/// A power cut tears only what was not synced, in any order, and what was written over may come to light: notes of newer
/// revisions, then one change and the record that it is good. A change behind that was written after a sync, so no cut
/// has torn what stands before it. The last record to be acknowledged cannot be told from a torn one.
pub(super) fn acknowledged_behind(content: &[u8], damaged: usize, last: &Position) -> bool {
    let mut tail = Tail::Torn;
    let mut at = damaged + 1;
    let mut budget = SEARCH;
    while let Some(before) = at.checked_sub(CHECKSUM) {
        let Some(chain) = content.get(before..at) else {
            break;
        };
        let ops = Reader { content, at }.looks_like_record(&last.epoch);
        let (Some(ops), Ok(chain)) = (ops, blake3::Hash::from_slice(chain)) else {
            at += 1;
            continue;
        };
        // Bytes that only look like records are not read for ever.
        let Some(left) = budget.checked_sub(ops) else {
            break;
        };
        budget = left;
        let mut reader = Reader { content, at };
        match reader.record(&chain) {
            Some(record) => {
                match (tail, record.kind) {
                    (Tail::Kept, Kind::Change) => return true,
                    (Tail::Torn | Tail::Change, Kind::Change) if !record.ops.is_empty() => {
                        tail = Tail::Change;
                    }
                    // A note has the digest of the view before; so this one is of a change that cannot be read.
                    (Tail::Torn, Kind::Good) if record.position.digest != last.digest => {
                        tail = Tail::Kept;
                    }
                    (Tail::Change, Kind::Good) => tail = Tail::Kept,
                    (_, Kind::Change | Kind::Good | Kind::Part) => {}
                }
                at = reader.at;
            }
            None => at += 1,
        }
    }
    false
}

/// Bytes of operations that are read in search of records behind a damaged one.
const SEARCH: usize = 64 << 20;

/// What was read behind a damaged record.
#[derive(Clone, Copy)]
enum Tail {
    /// Nothing that says more.
    Torn,
    /// A change.
    Change,
    /// That a change is good: the sync that follows it may not have been done.
    Kept,
}

/// Writes a snapshot into a new file.
pub(super) fn write_snapshot<B: AsRef<[u8]>>(
    file: &mut dyn DiskFile,
    position: &Position,
    ops: impl IntoIterator<Item = B>,
) -> io::Result<End> {
    file.write_at(0, MAGIC)?;
    let mut end = End {
        length: length(MAGIC)?,
        chain: blake3::hash(MAGIC),
    };
    let mut part = Vec::new();
    for op in ops {
        let op = op.as_ref();
        if !part.is_empty() && part.len() + op.len() > PART {
            end = append(file, end, Kind::Part, position, &part)?;
            part.clear();
        }
        part.extend_from_slice(op);
    }
    append(file, end, Kind::Change, position, &part)
}

/// Writes a record behind `end`.
pub(super) fn append(
    file: &mut dyn DiskFile,
    end: End,
    kind: Kind,
    position: &Position,
    ops: &[u8],
) -> io::Result<End> {
    let ops_length = u32::try_from(ops.len()).map_err(io::Error::other)?;
    let mut record = Vec::with_capacity(ops.len() + 93);
    record.push(kind.byte());
    record.extend_from_slice(&ops_length.to_le_bytes());
    record.extend_from_slice(&position.epoch.0);
    record.extend_from_slice(&position.revision.to_le_bytes());
    record.extend_from_slice(&position.digest.0);
    record.extend_from_slice(ops);
    let chain = chained(&end.chain, &record);
    record.extend_from_slice(chain.as_bytes());
    file.write_at(end.length, &record)?;
    Ok(End {
        length: end.length.saturating_add(length(&record)?),
        chain,
    })
}

fn length(bytes: &[u8]) -> io::Result<u64> {
    u64::try_from(bytes.len()).map_err(io::Error::other)
}

fn chained(chain: &blake3::Hash, record: &[u8]) -> blake3::Hash {
    blake3::Hasher::new()
        .update(chain.as_bytes())
        .update(record)
        .finalize()
}

// === impl Kind ===

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Change => 1,
            Self::Good => 2,
            Self::Part => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Change, Self::Good, Self::Part]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

struct Record {
    kind: Kind,
    position: Position,
    ops: Range<usize>,
    end: End,
}

/// Reads from the front; nothing where too little is left.
pub(super) struct Reader<'a> {
    pub(super) content: &'a [u8],
    pub(super) at: usize,
}

// === impl Reader ===

impl Reader<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = *self.content.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(array)
    }

    pub(super) fn position(&mut self) -> Option<Position> {
        Some(Position {
            epoch: Epoch(self.array()?),
            revision: u64::from_le_bytes(self.array()?),
            digest: Digest(self.array()?),
        })
    }

    /// The length of operations of what may be a record of this epoch.
    fn looks_like_record(&mut self, epoch: &Epoch) -> Option<usize> {
        let [kind] = self.array()?;
        Kind::from_byte(kind)?;
        let ops = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
        let position = self.position()?;
        let fits = position.epoch == *epoch && ops <= self.content.len().saturating_sub(self.at);
        fits.then_some(ops)
    }

    fn record(&mut self, chain: &blake3::Hash) -> Option<Record> {
        let start = self.at;
        let [kind] = self.array()?;
        let ops = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
        let position = self.position()?;
        let ops = self.at..self.at.checked_add(ops)?;
        self.at = ops.end;
        let covered = self.content.get(start..ops.end)?;
        let checksum = blake3::Hash::from_bytes(self.array::<CHECKSUM>()?);
        let end = End {
            length: u64::try_from(self.at).ok()?,
            chain: checksum,
        };
        (checksum == chained(chain, covered)).then_some(Record {
            kind: Kind::from_byte(kind)?,
            position,
            ops,
            end,
        })
    }
}
