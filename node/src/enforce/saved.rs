//! The last good view on disk: a snapshot file with a journal of changes beside it, in two generations.
//!
//! A view is kept as the bytes it came in: length-delimited `palisade.v1.ViewOp` messages. This module knows positions
//! and bytes, not items.
//!
//! ```text
//! current            snapshot of the last good view      next               the same, before the kernel took it
//! journal            changes since `current`             previous, journal.previous   the generation before
//! ```
//!
//! A change of the view is written first (`begin_*`, not synced), then the kernel commits, then [`Store::keep`] syncs
//! it and marks it as good: an acknowledged view is on disk, and a view that the kernel holds can be found again after
//! `kill -9` at any point, since [`Store::open`] prefers the one that the kernel names.

use crate::durable;
use palisade_policy::view::Position;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

mod candidate;
mod format;

use candidate::{Candidate, Files};

/// A journal beyond this size, and beyond its snapshot's, asks for a new snapshot.
const JOURNAL_LIMIT: u64 = 4 << 20;

const CURRENT: &str = "current";
const NEXT: &str = "next";
const PREVIOUS: &str = "previous";
const JOURNAL: &str = "journal";
const JOURNAL_PREVIOUS: &str = "journal.previous";

/// A view found on disk: its position, and the operations that build it, snapshot first.
#[derive(Debug)]
pub struct SavedView<'a> {
    /// Where it stands.
    pub position: Position,
    /// Where its snapshot stands.
    pub base: Position,
    /// Bytes of the snapshot: one put for each item.
    pub snapshot: &'a [u8],
    /// Bytes of each change since, in order.
    pub changes: Vec<(Position, &'a [u8])>,
}

/// The files of one state directory; held by the reconciler alone.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    /// The good snapshot that the journal belongs to, and its size.
    base: Option<(blake3::Hash, u64)>,
    journal: Option<OpenJournal>,
    begun: Option<Begun>,
}

#[derive(Debug)]
struct OpenJournal {
    file: File,
    /// End of the last good record.
    length: u64,
    /// Checksum of that record, which the next one covers.
    chain: blake3::Hash,
}

/// What `begin_*` wrote and `keep` or `discard` decides.
#[derive(Debug)]
enum Begun {
    Snapshot {
        file: File,
        checksum: blake3::Hash,
        size: u64,
    },
    Change {
        position: Position,
        length: u64,
        chain: blake3::Hash,
    },
}

impl Store {
    /// Opens the directory and finds the view to start with: the one that the kernel names (`kernel`), else the last
    /// good one, else that of the generation before. `build` makes something of it, or refuses it, and then the next
    /// candidate is tried. Damaged files are passed over, and damaged ends of journals cut off.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open<T, E: std::fmt::Display>(
        dir: &Path,
        kernel: Option<&Position>,
        mut build: impl FnMut(&SavedView<'_>) -> Result<T, E>,
    ) -> io::Result<(Self, Option<(Position, T)>)> {
        durable::make_private_dir(dir)?;
        let mut store = Self {
            dir: dir.to_owned(),
            base: None,
            journal: None,
            begun: None,
        };
        let files = Files::read(dir)?;
        for candidate in files.candidates(kernel) {
            let view = candidate.view();
            match build(&view) {
                Ok(built) => {
                    let position = view.position;
                    store.adopt(&candidate)?;
                    return Ok((store, Some((position, built))));
                }
                Err(err) => tracing::warn!(
                    file = candidate.base_name,
                    revision = view.position.revision,
                    %err,
                    "saved view refused"
                ),
            }
        }
        Ok((store, None))
    }

    /// Writes a whole view as `next`, not synced yet.
    ///
    /// # Errors
    /// Those of the file system; what was there before stays.
    pub fn begin_snapshot<B: AsRef<[u8]>>(
        &mut self,
        position: &Position,
        ops: impl IntoIterator<Item = B>,
    ) -> io::Result<()> {
        self.discard()?;
        let mut file = BufWriter::new(durable::create_private(&self.path(NEXT))?);
        let (checksum, size) = format::write_base(&mut file, position, ops)?;
        let file = file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        self.begun = Some(Begun::Snapshot {
            file,
            checksum,
            size,
        });
        Ok(())
    }

    /// Whether a change can be appended: there is a snapshot to append to, and the journal is not too long.
    pub fn takes_changes(&self) -> bool {
        let journal = self.journal.as_ref().map_or(0, |journal| journal.length);
        self.base
            .is_some_and(|(_, size)| journal <= JOURNAL_LIMIT.max(size))
    }

    /// Appends a change to the journal, not synced yet. Only where [`Self::takes_changes`].
    ///
    /// # Errors
    /// Those of the file system; what was there before stays.
    pub fn begin_change(&mut self, position: &Position, ops: &[u8]) -> io::Result<()> {
        self.discard()?;
        let journal = self.open_journal()?;
        let (record, chain) = format::change(&journal.chain, position, ops);
        journal.file.seek(SeekFrom::Start(journal.length))?;
        let length = journal.length + u64::try_from(record.len()).unwrap_or(u64::MAX);
        let written = journal.file.write_all(&record);
        self.begun = Some(Begun::Change {
            position: *position,
            length,
            chain,
        });
        written
    }

    /// The kernel has what was begun: makes it durable and the last good view.
    ///
    /// # Errors
    /// Those of the file system. Nothing may be acknowledged then.
    pub fn keep(&mut self) -> io::Result<()> {
        match self.begun.take() {
            None => Ok(()),
            Some(Begun::Change {
                position,
                length,
                chain,
            }) => {
                let journal = self.open_journal()?;
                let (record, chain) = format::good(&chain, &position);
                let file = &mut journal.file;
                let written = file
                    .seek(SeekFrom::Start(length))
                    .and_then(|_| file.write_all(&record))
                    .and_then(|()| file.sync_data());
                if let Err(err) = written {
                    // Not good after all: nobody may find it.
                    let _ = file.set_len(journal.length);
                    return Err(err);
                }
                journal.length = length + u64::try_from(record.len()).unwrap_or(u64::MAX);
                journal.chain = chain;
                Ok(())
            }
            Some(Begun::Snapshot {
                file,
                checksum,
                size,
            }) => {
                file.sync_all()?;
                self.promote()?;
                self.base = Some((checksum, size));
                Ok(())
            }
        }
    }

    /// Notes a newer revision of the same view. Not synced: after a power loss the older revision is as good.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn note(&mut self, position: &Position) -> io::Result<()> {
        if !self.takes_changes() {
            return Ok(());
        }
        let journal = self.open_journal()?;
        let (mut record, chain) = format::change(&journal.chain, position, &[]);
        let (good, chain) = format::good(&chain, position);
        record.extend_from_slice(&good);
        journal.file.seek(SeekFrom::Start(journal.length))?;
        journal.file.write_all(&record)?;
        journal.length += u64::try_from(record.len()).unwrap_or(u64::MAX);
        journal.chain = chain;
        Ok(())
    }

    /// The kernel refused what was begun: back to the last good view.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn discard(&mut self) -> io::Result<()> {
        match self.begun.take() {
            None => Ok(()),
            Some(Begun::Snapshot { .. }) => durable::remove(&self.path(NEXT)),
            Some(Begun::Change { .. }) => match &self.journal {
                Some(journal) => journal.file.set_len(journal.length),
                None => Ok(()),
            },
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn open_journal(&mut self) -> io::Result<&mut OpenJournal> {
        if self.journal.is_none() {
            let Some((base, _)) = self.base else {
                return Err(io::Error::other("no snapshot to append a change to"));
            };
            let path = self.path(JOURNAL);
            let mut file = durable::create_private(&path)?;
            let (header, chain) = format::journal_header(&base);
            file.write_all(&header)?;
            durable::sync_parent(&path)?;
            self.journal = Some(OpenJournal {
                file,
                length: u64::try_from(header.len()).unwrap_or(u64::MAX),
                chain,
            });
        }
        self.journal
            .as_mut()
            .ok_or_else(|| io::Error::other("journal closed"))
    }

    /// `next` becomes `current`, `current` becomes `previous`. There is a `current` at every moment.
    fn promote(&mut self) -> io::Result<()> {
        self.journal = None;
        let (current, previous) = (self.path(CURRENT), self.path(PREVIOUS));
        match fs::rename(self.path(JOURNAL), self.path(JOURNAL_PREVIOUS)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                durable::remove(&self.path(JOURNAL_PREVIOUS))?;
            }
            other => other?,
        }
        durable::remove(&previous)?;
        match fs::hard_link(&current, &previous) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        fs::rename(self.path(NEXT), &current)?;
        durable::sync_parent(&current)
    }

    /// Goes on from the candidate: makes it `current` if it is not, and cuts its journal after its last point.
    fn adopt(&mut self, candidate: &Candidate<'_>) -> io::Result<()> {
        match candidate.base_name {
            NEXT => {
                File::open(self.path(NEXT))?.sync_all()?;
                self.promote()?;
            }
            PREVIOUS => fs::rename(self.path(PREVIOUS), self.path(CURRENT))?,
            _ => durable::remove(&self.path(NEXT))?,
        }
        self.base = Some((candidate.base.checksum, candidate.base.size));
        if let Some((name, end)) = candidate.journal_end() {
            if name != JOURNAL {
                fs::rename(self.path(name), self.path(JOURNAL))?;
            }
            let file = OpenOptions::new()
                .write(true)
                .mode(0o600)
                .open(self.path(JOURNAL))?;
            file.set_len(end.length)?;
            self.journal = Some(OpenJournal {
                file,
                length: end.length,
                chain: end.chain,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
