//! The last good view on disk, in numbered generations: a file each, with a snapshot and the changes after it.
//!
//! A view is kept as the bytes it came in: length-delimited `palisade.v1.ViewOp` messages. This module knows positions
//! and bytes, not items.
//!
//! ```text
//! view.<n>     a snapshot that was acknowledged, and changes; the highest number counts, the one before is a reserve
//! next.<n>     a snapshot that is under way; renamed to view.<n> once the kernel has it and it is synced
//! lock         the process that uses the directory
//! ```
//!
//! A change of the view is written first (`begin_*`, not synced), then the kernel commits, then [`Store::keep`] says that
//! it is good, and syncs: an acknowledged view is on disk, and a view that the kernel holds can be found again after
//! `kill -9` at any point, since [`Store::open`] takes the transaction after the last good view if the kernel names it.
//!
//! INVARIANT: what memory believes of the disk is what the disk says. Where a failed step cannot be taken back, the
//! generation is left alone, and the next one makes good what is in doubt.

use palisade_policy::view::Position;
use std::{io, path::Path};

mod disk;
mod earlier;
mod files;
mod format;
mod name;
mod namespace;
mod steps;

pub use disk::{Directory, Disk, DiskFile, Gone, InUse};
pub use namespace::{NamespaceInUse, NamespaceLock, lock_namespace, namespace_holder};

use files::{Candidate, Files};
use format::{End, Kind, append, write_snapshot};
use name::{Name, Stage};

/// Changes beyond this size, and beyond their snapshot's, ask for a new snapshot.
const CHANGES_LIMIT: u64 = 4 << 20;

/// A view found on disk: its position, and the operations that build it, snapshot first.
#[derive(Debug)]
pub struct SavedView<'a> {
    /// Where it stands.
    pub position: Position,
    /// Where its snapshot stands.
    pub base: Position,
    /// Bytes of the snapshot, one put for each item, in pieces of whole operations.
    pub snapshot: Vec<&'a [u8]>,
    /// Bytes of each change since, in order.
    pub changes: Vec<(Position, &'a [u8])>,
}

/// The files of one state directory; held by the reconciler alone.
#[derive(Debug)]
pub struct Store {
    disk: Box<dyn Disk>,
    locked: bool,
    /// The generation that changes are appended to. None: the next transaction needs a snapshot.
    current: Option<Generation>,
    begun: Option<Begun>,
    /// Snapshots that nobody may find once something else is good: begun before this process came, or not removed.
    leftovers: Vec<Name>,
    /// The view found, where a newer one could not be read: the disk may be able to read that again, so only a newer
    /// transaction may replace it.
    below: Option<(Name, Position)>,
    /// What was saved is not on the disk any more: trouble until a view is kept.
    lost: bool,
    /// The disk did not give what may be a newer view than the one found: it is read again until something is kept.
    unread: bool,
    trouble: Option<io::Error>,
}

#[derive(Debug)]
struct Generation {
    name: Name,
    /// Opened when something is to be written.
    file: Option<Box<dyn DiskFile>>,
    /// The view held, as the file says it.
    position: Position,
    end: End,
    /// Where the changes begin.
    snapshot: u64,
    /// The last record says that the view is good.
    good: bool,
    /// What was found at start is synced: it may have been in memory only.
    synced: bool,
    /// Name and content are durable.
    durable: bool,
}

/// What `begin_*` wrote and `keep` or `discard` decides.
#[derive(Debug)]
enum Begun {
    Snapshot(Generation),
    Change { position: Position, end: End },
}

// === impl Store ===

impl Store {
    /// Opens the directory and finds the view to start with: the last good one, or the transaction after it if the
    /// kernel is at exactly that position (`kernel`). `build` makes something of it, or refuses it, and then the next
    /// candidate is tried. Nothing is written but the lock.
    ///
    /// A file that cannot be read is passed over. If the directory cannot be written, or not even listed, that is
    /// [`Self::trouble`].
    ///
    /// # Errors
    /// [`InUse`]: another process uses the directory.
    pub fn open<T, E: std::fmt::Display>(
        dir: &Path,
        kernel: Option<&Position>,
        build: impl FnMut(&SavedView<'_>) -> Result<T, E>,
    ) -> io::Result<(Self, Option<(Position, T)>)> {
        Self::open_on(Box::new(Directory::new(dir)), kernel, build)
    }

    /// The same, on another disk.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on<T, E: std::fmt::Display>(
        disk: Box<dyn Disk>,
        kernel: Option<&Position>,
        mut build: impl FnMut(&SavedView<'_>) -> Result<T, E>,
    ) -> io::Result<(Self, Option<(Position, T)>)> {
        let mut store = Self {
            disk,
            locked: false,
            current: None,
            begun: None,
            leftovers: Vec::new(),
            below: None,
            lost: false,
            unread: false,
            trouble: None,
        };
        if let Err(err) = store.lock() {
            if InUse::caused(&err) {
                return Err(err);
            }
            store.trouble = Some(err);
        }
        let found = store.find(kernel, &mut build);
        Ok((store, found))
    }

    /// Reads the directory again, if the disk did not give all of it at start and nothing was kept since. What is found
    /// then is the view to go on with, in the place of the one found at start.
    pub fn read_again<T, E: std::fmt::Display>(
        &mut self,
        kernel: Option<&Position>,
        mut build: impl FnMut(&SavedView<'_>) -> Result<T, E>,
    ) -> Option<(Position, T)> {
        if !self.is_unread() || self.begun.is_some() {
            return None;
        }
        let below = self.below.take();
        let found = self.find(kernel, &mut build);
        if found.is_none() {
            self.below = below;
        }
        found.filter(|_| self.below.is_none() || self.below != below)
    }

    /// Whether the disk did not give what may be a newer view than the one found: try [`Self::read_again`] now and then.
    pub fn is_unread(&self) -> bool {
        self.unread
    }

    /// The best view on the disk that `build` takes, to go on from.
    fn find<T, E: std::fmt::Display>(
        &mut self,
        kernel: Option<&Position>,
        build: &mut impl FnMut(&SavedView<'_>) -> Result<T, E>,
    ) -> Option<(Position, T)> {
        let files = match Files::read(&mut *self.disk) {
            Ok(files) => files,
            Err(err) => {
                self.unread = true;
                self.trouble = Some(err);
                return None;
            }
        };
        self.unread = files.unread;
        let mut refused = false;
        for candidate in files.candidates(kernel) {
            let view = candidate.view();
            match build(&view) {
                Ok(built) => {
                    let position = view.position;
                    self.adopt(&candidate, &files.begun);
                    return Some((position, built));
                }
                Err(err) => {
                    refused = true;
                    tracing::warn!(
                        file = %candidate.log.name,
                        revision = view.position.revision,
                        %err,
                        "saved view refused"
                    );
                }
            }
        }
        if refused || files.has_unusable() {
            self.trouble.get_or_insert_with(steps::unusable);
        }
        None
    }

    /// Looks whether the directory, and the file that changes are appended to, are still there. If not, that is
    /// [`Self::trouble`] until a view is kept, in the directory that is made anew. Cheap; to be called now and then.
    pub fn look(&mut self) {
        let file = self.current.as_ref().map(|current| current.name);
        let file = file.map(|name| name.to_string());
        // Without the lock nothing was written, and every attempt to write asks for it.
        if !self.locked {
            return;
        }
        // Other errors say nothing of what is on the disk: the next write tells.
        let gone = self.disk.look(file.as_deref()).err().filter(Gone::caused);
        let Some(gone) = gone else { return };
        tracing::error!(err = %gone, "what was saved is gone; the view is written again");
        let saved = self.current.take().is_some() || self.below.take().is_some();
        self.lost |= saved || self.begun.take().is_some();
        self.leftovers.clear();
        self.trouble = Some(gone);
        self.locked = false;
        let made = self.lock();
        let _ = self.watch(made);
    }

    /// Why what was begun or kept last is not on disk, or the directory cannot be written; until something is kept.
    pub fn trouble(&self) -> Option<&io::Error> {
        self.trouble.as_ref()
    }

    /// Whether a change can be appended: there is a generation to append to, and its changes are not too long.
    pub fn takes_changes(&self) -> bool {
        self.current.as_ref().is_some_and(|current| {
            let changes = current.end.length.saturating_sub(current.snapshot);
            changes <= CHANGES_LIMIT.max(current.snapshot)
        })
    }

    /// Writes a whole view as a new generation, not synced yet.
    ///
    /// # Errors
    /// Those of the file system; what was there before stays.
    pub fn begin_snapshot<B: AsRef<[u8]>>(
        &mut self,
        position: &Position,
        ops: impl IntoIterator<Item = B>,
    ) -> io::Result<()> {
        self.discard()?;
        if self.below.is_some_and(|(_, below)| below == *position) {
            return Ok(());
        }
        let begun = self.write_snapshot(position, ops);
        self.begun = Some(Begun::Snapshot(self.watch(begun)?));
        Ok(())
    }

    /// Appends a change, not synced yet. Only where [`Self::takes_changes`].
    ///
    /// # Errors
    /// Those of the file system; what was there before stays.
    pub fn begin_change(&mut self, position: &Position, ops: &[u8]) -> io::Result<()> {
        self.discard()?;
        let end = self.append(Kind::Change, position, ops);
        self.begun = Some(Begun::Change {
            position: *position,
            end: self.watch(end)?,
        });
        Ok(())
    }

    /// The kernel has what was begun: makes it durable and the last good view.
    ///
    /// # Errors
    /// Those of the file system. Nothing may be acknowledged then, and what was begun is discarded. If that fails, too,
    /// it may be found at the next start, until something else is kept.
    pub fn keep(&mut self) -> io::Result<()> {
        let Some(begun) = self.begun.take() else {
            return Ok(());
        };
        let kept = match begun {
            Begun::Change { position, end } => self.keep_change(&position, end),
            Begun::Snapshot(generation) => self.keep_snapshot(generation),
        };
        self.watch(kept)
    }

    /// The kernel has the view found at start: makes it durable as the last good one. Does nothing if that is known.
    /// While something is begun, `keep` does it. Call it only where [`Self::takes_changes`]; elsewhere a snapshot says
    /// the same.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn confirm(&mut self) -> io::Result<()> {
        if self.begun.is_some() {
            return Ok(());
        }
        let confirmed = self.confirm_found();
        self.watch(confirmed)
    }

    /// Notes a newer revision of the same view. Not synced: after a power loss the older revision is as good.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn note(&mut self, position: &Position) -> io::Result<()> {
        let good = self.current.as_ref().is_some_and(|current| current.good);
        if !good || self.begun.is_some() || !self.takes_changes() {
            return Ok(());
        }
        let noted = self.append(Kind::Change, position, &[]);
        let noted = noted.and_then(|end| self.append_at(end, Kind::Good, position, &[]));
        let end = self.watch(noted)?;
        if let Some(current) = &mut self.current {
            current.position = *position;
            current.end = end;
        }
        Ok(())
    }

    /// The kernel refused what was begun: back to the last good view.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn discard(&mut self) -> io::Result<()> {
        let Some(begun) = self.begun.take() else {
            return Ok(());
        };
        let discarded = self.take_back(&begun);
        self.watch(discarded)
    }
}
