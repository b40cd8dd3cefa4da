//! The layout of versions before generations had numbers: read at start, and gone once two numbered generations stand.
//!
//! ```text
//! current, next, previous:     magic 20 | position 56 | operations … | BLAKE3 of all before 32
//! journal, journal.previous:   magic 20 | checksum of its snapshot 32 | record …
//! ```

use super::{
    disk::Disk,
    files::{Files, Log, read},
    format::{End, Point, Reader, read_points},
    name::{Earlier, Name},
};

const SNAPSHOT_MAGIC: &[u8; 20] = b"palisade snapshot 1\n";
const JOURNAL_MAGIC: &[u8; 20] = b"palisade journal 1\n\0";
const CHECKSUM: usize = 32;
const JOURNALS: [&str; 2] = ["journal", "journal.previous"];

/// Whether the file is one of that layout.
pub(super) fn is_file(name: &str) -> bool {
    JOURNALS.contains(&name) || Earlier::ALL.iter().any(|earlier| earlier.text() == name)
}

/// Adds what the old layout holds.
pub(super) fn read_into(files: &mut Files, disk: &mut dyn Disk, names: &[String]) {
    let mut journals_whole = true;
    let mut journals = Vec::new();
    for name in JOURNALS.into_iter().filter(|name| there(names, name)) {
        let (content, whole) = read(disk, name);
        files.unread |= !whole;
        journals_whole &= whole;
        match journal(&content) {
            Some((base, start)) => journals.push((base, content, start)),
            None => journals_whole = false,
        }
    }
    for earlier in Earlier::ALL {
        let name = Name::Earlier(earlier);
        if !there(names, earlier.text()) {
            continue;
        }
        let (mut content, mut whole) = read(disk, earlier.text());
        files.unread |= !whole;
        let Some((mut point, checksum)) = snapshot(&content) else {
            files.pass_over(name);
            continue;
        };
        point.good = name.is_acknowledged();
        let mut points = vec![point];
        match journals.iter().find(|(base, ..)| *base == checksum) {
            Some((_, journal, start)) => {
                let start = content.len() + start;
                content.extend_from_slice(journal);
                read_points(&content, start, checksum, &mut points);
            }
            // A journal that cannot be read may be this one's.
            None => whole &= journals_whole,
        }
        files.logs.push(Log {
            name,
            content,
            points,
            whole,
        });
    }
}

fn there(names: &[String], name: &str) -> bool {
    names.iter().any(|there| there == name)
}

fn snapshot(content: &[u8]) -> Option<(Point, blake3::Hash)> {
    let body = content.len().checked_sub(CHECKSUM)?;
    let (before, checksum) = content.split_at_checked(body)?;
    let checksum = blake3::Hash::from_slice(checksum).ok()?;
    let mut reader = Reader {
        content: before,
        at: 0,
    };
    if blake3::hash(before) != checksum || reader.array()? != *SNAPSHOT_MAGIC {
        return None;
    }
    let position = reader.position()?;
    let point = Point {
        position,
        good: false,
        ops: std::iter::once(reader.at..body).collect(),
        // Nothing is appended to it.
        end: End {
            length: 0,
            chain: checksum,
        },
    };
    Some((point, checksum))
}

/// The checksum of its snapshot, and where its records start.
fn journal(content: &[u8]) -> Option<(blake3::Hash, usize)> {
    let mut reader = Reader { content, at: 0 };
    if reader.array()? != *JOURNAL_MAGIC {
        return None;
    }
    let base = blake3::Hash::from_bytes(reader.array()?);
    Some((base, reader.at))
}
