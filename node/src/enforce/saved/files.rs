//! What the directory holds at start, and the rule that chooses the view to start with.
//!
//! *Good* is the newest acknowledged view. Only it, or a transaction begun after it, may be chosen: the latter where the
//! kernel names exactly its position, since the kernel then took it and the process died before it could say so.
//! Whatever else the kernel names, such as the position of an older ruleset that somebody restored, changes nothing.
//! Older views are a reserve, for damage only.

use super::{
    SavedView,
    disk::Disk,
    earlier,
    format::{self, Point},
    name::Name,
};
use palisade_policy::view::Position;
use std::io;

/// Everything readable in the directory.
#[derive(Default)]
pub(super) struct Files {
    /// Oldest first.
    pub(super) logs: Vec<Log>,
    /// Files that may hold an acknowledged view, but cannot be read.
    passed_over: Vec<Name>,
    /// Every file of a transaction that was begun.
    pub(super) begun: Vec<Name>,
    /// The disk did not give some file: it may the next time.
    pub(super) unread: bool,
}

/// A snapshot and the changes after it.
pub(super) struct Log {
    pub(super) name: Name,
    pub(super) content: Vec<u8>,
    /// Not empty; the first is the snapshot.
    pub(super) points: Vec<Point>,
    /// It was read to its end, and holds no acknowledged record that is damaged.
    pub(super) whole: bool,
}

/// A view that the files hold.
pub(super) struct Candidate<'a> {
    pub(super) log: &'a Log,
    /// The snapshot.
    base: &'a Point,
    changes: &'a [Point],
    /// The last of them.
    pub(super) point: &'a Point,
    /// No acknowledged view newer than this one can be on the disk.
    pub(super) newest: bool,
}

/// Appends the file to a buffer, as far as it can be read. False: not to its end.
pub(super) fn read(disk: &mut dyn Disk, name: &str) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    let done = disk.read(name, &mut content);
    if let Err(err) = &done {
        tracing::warn!(file = name, %err, "saved view cannot be read");
    }
    (content, done.is_ok())
}

// === impl Files ===

impl Files {
    /// Reads the directory. A file that cannot be read is passed over.
    pub(super) fn read(disk: &mut dyn Disk) -> io::Result<Self> {
        let names = disk.list()?;
        let mut files = Self::default();
        earlier::read_into(&mut files, disk, &names);
        for name in names.iter().filter_map(|name| Name::parse(name)) {
            let (content, mut whole) = read(disk, &name.to_string());
            files.unread |= !whole;
            let (mut points, read) = format::points(&content);
            let last = points.last().map(|point| point.position);
            if last.is_some_and(|last| format::acknowledged_behind(&content, read, &last)) {
                tracing::warn!(file = %name, at = read, "saved view is damaged: acknowledged changes follow");
                whole = false;
            }
            if !name.is_acknowledged() {
                files.begun.push(name);
            }
            match points.first_mut() {
                Some(snapshot) => {
                    snapshot.good |= name.is_acknowledged();
                    files.logs.push(Log {
                        name,
                        content,
                        points,
                        whole,
                    });
                }
                None => files.pass_over(name),
            }
        }
        files.logs.sort_by_key(|log| log.name);
        Ok(files)
    }

    /// The file holds nothing that can be read. One that was only begun holds nothing that is missed.
    pub(super) fn pass_over(&mut self, name: Name) {
        if name.is_acknowledged() {
            tracing::warn!(file = %name, "saved view is damaged");
            self.passed_over.push(name);
        }
    }

    /// Whether a file may hold an acknowledged view that cannot be read.
    pub(super) fn has_unusable(&self) -> bool {
        !self.passed_over.is_empty()
    }

    /// The views that may be started with, best first.
    pub(super) fn candidates(&self, kernel: Option<&Position>) -> Vec<Candidate<'_>> {
        let good = self.logs.iter().rposition(|log| log.good() > 0);
        let begun = kernel.and_then(|kernel| self.begun_after(good, kernel));
        let mut candidates: Vec<_> = begun.into_iter().collect();
        let acknowledged = self.logs.get(..good.map_or(0, |good| good + 1));
        for log in acknowledged.unwrap_or_default().iter().rev() {
            let newest = Some(log.name) == good.and_then(|good| Some(self.logs.get(good)?.name));
            candidates.extend(self.candidate(log, log.good(), newest));
            // Should this version refuse a change, it may not refuse the snapshot below it.
            if log.good() > 1 {
                candidates.extend(self.candidate(log, 1, false));
            }
        }
        candidates
    }

    /// The transaction after the last good view, if it is at the position.
    fn begun_after(&self, good: Option<usize>, position: &Position) -> Option<Candidate<'_>> {
        let first = good.unwrap_or(0);
        let logs = self.logs.iter().enumerate().skip(first).rev();
        logs.filter_map(|(at, log)| {
            let behind = if Some(at) == good { log.good() } else { 0 };
            let points = log.points.get(behind..)?;
            let last = points.iter().rposition(|at| at.position == *position)?;
            self.candidate(log, behind + last + 1, true)
        })
        .next()
    }

    /// The view at the point with this number, counted from one.
    fn candidate<'a>(&self, log: &'a Log, number: usize, newest: bool) -> Option<Candidate<'a>> {
        let points = log.points.get(..number)?;
        let (base, changes) = points.split_first()?;
        Some(Candidate {
            log,
            base,
            changes,
            point: points.last()?,
            newest: newest && log.whole && self.passed_over.iter().all(|above| *above < log.name),
        })
    }
}

// === impl Log ===

impl Log {
    fn ops(&self, point: &Point) -> Vec<&[u8]> {
        let pieces = point.ops.iter();
        pieces
            .filter_map(|piece| self.content.get(piece.clone()))
            .collect()
    }

    /// How many points the last good one and those before it are.
    fn good(&self) -> usize {
        let last = self.points.iter().rposition(|point| point.good);
        last.map_or(0, |last| last + 1)
    }
}

// === impl Candidate ===

impl<'a> Candidate<'a> {
    pub(super) fn view(&self) -> SavedView<'a> {
        let changes = self.changes.iter();
        SavedView {
            position: self.point.position,
            base: self.base.position,
            snapshot: self.log.ops(self.base),
            // Only a snapshot is in pieces.
            changes: changes
                .filter_map(|point| Some((point.position, self.log.ops(point).pop()?)))
                .collect(),
        }
    }

    /// Length of the snapshot in the file.
    pub(super) fn snapshot_length(&self) -> u64 {
        self.base.end.length
    }
}
