//! Bytes of snapshot files and journals. Whatever does not parse whole, or whose checksum is wrong, is not there.
//!
//! ```text
//! snapshot:  magic 20 | position 56 | operations … | BLAKE3 of all before 32
//! journal:   magic 20 | checksum of its snapshot 32 | record …
//! record:    kind 1 | length of operations 4 | position 56 | operations | BLAKE3 of (checksum before, all before) 32
//! position:  epoch 16 | revision 8 | digest 32;  numbers little-endian
//! ```

use palisade_policy::view::{Digest, Epoch, Position};
use std::{
    io::{self, Write},
    ops::Range,
};

const SNAPSHOT_MAGIC: &[u8; 20] = b"palisade snapshot 1\n";
const JOURNAL_MAGIC: &[u8; 20] = b"palisade journal 1\n\0";
const CHECKSUM: usize = 32;
/// A change; good once a record of kind `GOOD` follows.
const CHANGE: u8 = 1;
/// The change before is enforced.
const GOOD: u8 = 2;

/// A snapshot file, whole and undamaged.
pub(super) struct Base {
    pub(super) position: Position,
    pub(super) checksum: blake3::Hash,
    pub(super) size: u64,
    content: Vec<u8>,
    ops: Range<usize>,
}

/// The readable part of a journal.
pub(super) struct Journal {
    /// Checksum of the snapshot that it continues.
    pub(super) base: blake3::Hash,
    pub(super) points: Vec<Point>,
    content: Vec<u8>,
    start: End,
}

/// A change in a journal.
pub(super) struct Point {
    pub(super) position: Position,
    pub(super) good: bool,
    ops: Range<usize>,
    end: End,
}

/// Where a journal can be continued.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) length: u64,
    pub(super) chain: blake3::Hash,
}

impl Base {
    pub(super) fn parse(content: Vec<u8>) -> Option<Self> {
        let body = content.len().checked_sub(CHECKSUM)?;
        let (before, checksum) = content.split_at_checked(body)?;
        let checksum = blake3::Hash::from_slice(checksum).ok()?;
        if blake3::hash(before) != checksum {
            return None;
        }
        let mut reader = Reader { rest: before };
        reader.magic(SNAPSHOT_MAGIC)?;
        let position = reader.position()?;
        let ops = before.len() - reader.rest.len()..before.len();
        Some(Self {
            position,
            checksum,
            size: u64::try_from(content.len()).ok()?,
            ops,
            content,
        })
    }

    pub(super) fn ops(&self) -> &[u8] {
        self.content.get(self.ops.clone()).unwrap_or_default()
    }
}

impl Journal {
    pub(super) fn parse(content: Vec<u8>) -> Option<Self> {
        let mut reader = Reader { rest: &content };
        reader.magic(JOURNAL_MAGIC)?;
        let base = blake3::Hash::from_bytes(reader.array()?);
        let start = End {
            length: u64::try_from(content.len() - reader.rest.len()).ok()?,
            chain: base,
        };
        let mut points: Vec<Point> = Vec::new();
        let mut chain = base;
        while let Some(record) = reader.record(&chain) {
            let end = End {
                length: u64::try_from(content.len() - reader.rest.len()).ok()?,
                chain: record.chain,
            };
            chain = record.chain;
            match (record.kind, points.last_mut()) {
                (CHANGE, _) => {
                    let last = content.len() - reader.rest.len() - CHECKSUM;
                    points.push(Point {
                        position: record.position,
                        good: false,
                        ops: last - record.ops..last,
                        end,
                    });
                }
                (GOOD, Some(point)) if point.position == record.position => {
                    point.good = true;
                    point.end = end;
                }
                _ => break,
            }
        }
        Some(Self {
            base,
            points,
            start,
            content,
        })
    }

    pub(super) fn ops(&self, point: &Point) -> &[u8] {
        self.content.get(point.ops.clone()).unwrap_or_default()
    }

    pub(super) fn end_after(&self, points: usize) -> End {
        points
            .checked_sub(1)
            .and_then(|last| self.points.get(last))
            .map_or(self.start, |point| point.end)
    }
}

struct Record {
    kind: u8,
    position: Position,
    /// Length of the operations.
    ops: usize,
    chain: blake3::Hash,
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    fn magic(&mut self, magic: &[u8; 20]) -> Option<()> {
        (self.array::<20>()? == *magic).then_some(())
    }

    fn position(&mut self) -> Option<Position> {
        Some(Position {
            epoch: Epoch(self.array()?),
            revision: u64::from_le_bytes(self.array()?),
            digest: Digest(self.array()?),
        })
    }

    fn record(&mut self, chain: &blake3::Hash) -> Option<Record> {
        let whole = self.rest;
        let [kind] = self.array()?;
        let ops = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
        let position = self.position()?;
        let (_, rest) = self.rest.split_at_checked(ops)?;
        self.rest = rest;
        let covered = whole.get(..whole.len() - self.rest.len())?;
        let checksum = blake3::Hash::from_bytes(self.array()?);
        (checksum == chained(chain, covered)).then_some(Record {
            kind,
            position,
            ops,
            chain: checksum,
        })
    }
}

fn chained(chain: &blake3::Hash, record: &[u8]) -> blake3::Hash {
    blake3::Hasher::new()
        .update(chain.as_bytes())
        .update(record)
        .finalize()
}

fn position_bytes(position: &Position) -> [u8; 56] {
    let mut bytes = [0; 56];
    let (epoch, rest) = bytes.split_at_mut(16);
    let (revision, digest) = rest.split_at_mut(8);
    epoch.copy_from_slice(&position.epoch.0);
    revision.copy_from_slice(&position.revision.to_le_bytes());
    digest.copy_from_slice(&position.digest.0);
    bytes
}

/// Writes a snapshot file; its checksum and its size.
pub(super) fn write_base<B: AsRef<[u8]>>(
    file: &mut impl Write,
    position: &Position,
    ops: impl IntoIterator<Item = B>,
) -> io::Result<(blake3::Hash, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut put = |part: &[u8]| {
        hasher.update(part);
        file.write_all(part)
    };
    put(SNAPSHOT_MAGIC)?;
    put(&position_bytes(position))?;
    for op in ops {
        put(op.as_ref())?;
    }
    let (checksum, size) = (hasher.finalize(), hasher.count());
    file.write_all(checksum.as_bytes())?;
    Ok((checksum, size + 32))
}

/// The head of a journal, and the checksum that its first record covers.
pub(super) fn journal_header(base: &blake3::Hash) -> (Vec<u8>, blake3::Hash) {
    let mut header = JOURNAL_MAGIC.to_vec();
    header.extend_from_slice(base.as_bytes());
    (header, *base)
}

/// A record with a change, and its checksum.
pub(super) fn change(
    chain: &blake3::Hash,
    position: &Position,
    ops: &[u8],
) -> (Vec<u8>, blake3::Hash) {
    record(chain, CHANGE, position, ops)
}

/// A record that says the change before is enforced, and its checksum.
pub(super) fn good(chain: &blake3::Hash, position: &Position) -> (Vec<u8>, blake3::Hash) {
    record(chain, GOOD, position, &[])
}

fn record(
    chain: &blake3::Hash,
    kind: u8,
    position: &Position,
    ops: &[u8],
) -> (Vec<u8>, blake3::Hash) {
    let length = u32::try_from(ops.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(ops.len() + 93);
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&position_bytes(position));
    bytes.extend_from_slice(ops);
    let checksum = chained(chain, &bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    (bytes, checksum)
}
