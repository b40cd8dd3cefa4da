//! Which view the files hold to start with: those that the kernel names, then the good ones, newest generation first.

use super::{
    CURRENT, JOURNAL, JOURNAL_PREVIOUS, NEXT, PREVIOUS, SavedView,
    format::{self, Base, Journal, Point},
};
use crate::durable;
use palisade_policy::view::Position;
use std::{io, path::Path};

/// Everything readable in the directory.
pub(super) struct Files {
    bases: Vec<(&'static str, Base)>,
    journals: Vec<(&'static str, Journal)>,
}

/// A view that the files hold.
pub(super) struct Candidate<'a> {
    pub(super) base_name: &'static str,
    pub(super) base: &'a Base,
    journal: Option<(&'static str, &'a Journal)>,
    /// How many of the journal's points belong to it.
    points: usize,
}

impl Files {
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let mut files = Self {
            bases: Vec::new(),
            journals: Vec::new(),
        };
        for name in [CURRENT, NEXT, PREVIOUS] {
            if let Some(content) = durable::read(&dir.join(name))? {
                match Base::parse(content) {
                    Some(base) => files.bases.push((name, base)),
                    None => tracing::warn!(file = name, "saved snapshot is damaged"),
                }
            }
        }
        for name in [JOURNAL, JOURNAL_PREVIOUS] {
            if let Some(content) = durable::read(&dir.join(name))? {
                match Journal::parse(content) {
                    Some(journal) => files.journals.push((name, journal)),
                    None => tracing::warn!(file = name, "journal is damaged"),
                }
            }
        }
        Ok(files)
    }

    /// The views that may be started with, best first.
    pub(super) fn candidates(&self, kernel: Option<&Position>) -> Vec<Candidate<'_>> {
        let mut named = Vec::new();
        let mut good = Vec::new();
        for (base_name, base) in &self.bases {
            let journal = self
                .journals
                .iter()
                .find(|(_, journal)| journal.base == base.checksum)
                .map(|(name, journal)| (*name, journal));
            let points: &[Point] = journal.map_or(&[], |(_, journal)| &journal.points);
            let candidate = |points| Candidate {
                base_name,
                base,
                journal,
                points,
            };
            if let Some(kernel) = kernel {
                // Equal digests are equal views; the last point also carries revisions noted since.
                let names = |position: &Position| {
                    position.epoch == kernel.epoch && position.digest == kernel.digest
                };
                match points.iter().rposition(|point| names(&point.position)) {
                    Some(last) => named.push(candidate(last + 1)),
                    None if names(&base.position) => named.push(candidate(0)),
                    None => {}
                }
            }
            if *base_name != NEXT {
                let last = points
                    .iter()
                    .rposition(|point| point.good)
                    .map_or(0, |at| at + 1);
                good.push(candidate(last));
                if last > 0 {
                    // Should a change be refused by this version, the snapshot below it may not be.
                    good.push(candidate(0));
                }
            }
        }
        named.extend(good);
        named
    }
}

impl<'a> Candidate<'a> {
    pub(super) fn view(&self) -> SavedView<'a> {
        let changes: Vec<_> = self
            .journal
            .into_iter()
            .flat_map(|(_, journal)| {
                let points = journal.points.get(..self.points).unwrap_or_default();
                points
                    .iter()
                    .map(|point| (point.position, journal.ops(point)))
            })
            .collect();
        SavedView {
            position: changes
                .last()
                .map_or(self.base.position, |(position, _)| *position),
            base: self.base.position,
            snapshot: self.base.ops(),
            changes,
        }
    }

    pub(super) fn journal_end(&self) -> Option<(&'static str, format::End)> {
        let (name, journal) = self.journal?;
        Some((name, journal.end_after(self.points)))
    }
}
