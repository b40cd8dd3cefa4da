//! The steps that the operations of a store are made of, and what undoes each of them.

use super::{
    Begun, Candidate, Disk, DiskFile, End, Generation, Kind, Name, Stage, Store, append, earlier,
    write_snapshot,
};
use palisade_policy::view::Position;
use std::io;

impl Store {
    /// Reserves the directory, if that did not succeed before.
    pub(super) fn lock(&mut self) -> io::Result<()> {
        if !self.locked {
            self.disk.lock()?;
            self.locked = true;
            if !self.lost {
                // It was about the lock: without it nothing else is tried.
                self.trouble = None;
            }
        }
        Ok(())
    }

    /// Remembers a failure as trouble.
    pub(super) fn watch<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        if let Err(err) = &done {
            self.trouble = Some(same(err));
        }
        done
    }

    /// Goes on from the candidate, if changes can be appended to it. `begun` are all files that were begun.
    pub(super) fn adopt(&mut self, candidate: &Candidate<'_>, begun: &[Name]) {
        let (name, position) = (candidate.log.name, candidate.point.position);
        if !candidate.newest {
            self.below = Some((name, position));
            self.trouble.get_or_insert_with(unusable);
            return;
        }
        self.unread = false;
        if self.locked && !self.lost {
            // It was about what could not be read.
            self.trouble = None;
        }
        if let Name::Numbered(..) = name {
            let others = begun.iter().filter(|begun| **begun != name);
            self.leftovers = others.copied().collect();
            self.current = Some(Generation {
                name,
                file: None,
                position,
                end: candidate.point.end,
                snapshot: candidate.snapshot_length(),
                good: candidate.point.good,
                synced: false,
                durable: false,
            });
        }
    }

    pub(super) fn write_snapshot<B: AsRef<[u8]>>(
        &mut self,
        position: &Position,
        ops: impl IntoIterator<Item = B>,
    ) -> io::Result<Generation> {
        self.lock()?;
        let name = Name::Numbered(self.unused_number()?, Stage::Next);
        let created = self.disk.create(&name.to_string());
        let written = created.and_then(|mut file| {
            let end = write_snapshot(&mut *file, position, ops)?;
            Ok((file, end))
        });
        match written {
            Ok((file, end)) => Ok(Generation {
                name,
                file: Some(file),
                position: *position,
                end,
                snapshot: end.length,
                good: false,
                synced: true,
                durable: false,
            }),
            Err(err) => {
                let _ = self.forget(name);
                Err(err)
            }
        }
    }

    /// A number above that of every file.
    fn unused_number(&mut self) -> io::Result<u64> {
        let names = self.disk.list()?;
        let numbers = names.iter().filter_map(|name| Name::parse(name)?.number());
        let highest = numbers.max().unwrap_or(0);
        highest
            .checked_add(1)
            .ok_or_else(|| io::Error::other("no number is left for a saved view"))
    }

    /// Opens the current generation. Snapshots that must not be found go before anything else is good.
    fn prepare(&mut self) -> io::Result<()> {
        self.lock()?;
        let Some(current) = &mut self.current else {
            return Err(io::Error::other("no snapshot to append a change to"));
        };
        let synced = current.synced;
        let file = current.file(&mut *self.disk)?;
        // Nothing is written behind what a power cut may still tear: that would look like damage.
        let synced = if synced { Ok(()) } else { file.sync() };
        if let Err(err) = synced {
            // The next sync would not say what is lost.
            self.current = None;
            return Err(err);
        }
        current.synced = true;
        if !current.durable {
            for name in &self.leftovers {
                self.disk.remove(&name.to_string())?;
            }
        }
        Ok(())
    }

    /// Writes a record behind the view held.
    pub(super) fn append(
        &mut self,
        kind: Kind,
        position: &Position,
        ops: &[u8],
    ) -> io::Result<End> {
        self.prepare()?;
        let end = self.current.as_ref().map(|current| current.end);
        let end = end.ok_or(io::ErrorKind::NotFound)?;
        self.append_at(end, kind, position, ops)
    }

    pub(super) fn append_at(
        &mut self,
        end: End,
        kind: Kind,
        position: &Position,
        ops: &[u8],
    ) -> io::Result<End> {
        let current = self.current.as_mut().ok_or(io::ErrorKind::NotFound)?;
        append(current.file(&mut *self.disk)?, end, kind, position, ops)
    }

    /// The change up to `end` is good; or it is cut off again.
    pub(super) fn keep_change(&mut self, position: &Position, end: End) -> io::Result<()> {
        let end = match self.append_at(end, Kind::Good, position, &[]) {
            Ok(end) => end,
            Err(err) => {
                let _ = self.take_back_change();
                return Err(err);
            }
        };
        let sealed = self.seal(position, end);
        if sealed.is_err() {
            let _ = self.cut();
            // After a sync that failed, what was written before may be lost, and the next sync would not say so.
            self.current = None;
        }
        sealed
    }

    /// Makes the view up to `end` durable, under its name.
    fn seal(&mut self, position: &Position, end: End) -> io::Result<()> {
        let current = self.current.as_mut().ok_or(io::ErrorKind::NotFound)?;
        current.file(&mut *self.disk)?.sync()?;
        if !current.durable {
            let name = current.name.acknowledged();
            if current.name != name {
                self.disk
                    .rename(&current.name.to_string(), &name.to_string())?;
                current.name = name;
            }
            self.disk.sync()?;
        }
        current.position = *position;
        current.end = end;
        current.good = true;
        current.durable = true;
        self.leftovers.clear();
        self.lost = false;
        self.trouble = None;
        Ok(())
    }

    pub(super) fn confirm_found(&mut self) -> io::Result<()> {
        self.lock()?;
        match &self.current {
            None if self.below.is_some() => Err(unusable()),
            None => Ok(()),
            Some(current) if current.durable && self.trouble.is_none() => Ok(()),
            // Said again even if it was said before: that shows that the disk can be written.
            Some(current) => {
                let (position, end) = (current.position, current.end);
                self.prepare()?;
                self.keep_change(&position, end)
            }
        }
    }

    /// The snapshot is good; or it is removed again.
    pub(super) fn keep_snapshot(&mut self, mut generation: Generation) -> io::Result<()> {
        let (begun, name) = (generation.name, generation.name.acknowledged());
        let kept = generation
            .file(&mut *self.disk)
            .and_then(DiskFile::sync)
            .and_then(|()| self.disk.rename(&begun.to_string(), &name.to_string()))
            .and_then(|()| self.disk.sync());
        if let Err(err) = kept {
            // Both are tried: a rename that failed may have happened.
            let _ = self.forget(begun);
            let _ = self.forget(name);
            return Err(err);
        }
        self.clear(name);
        self.current = Some(Generation {
            name,
            good: true,
            durable: true,
            ..generation
        });
        self.below = None;
        self.leftovers.clear();
        self.lost = false;
        self.unread = false;
        self.trouble = None;
        Ok(())
    }

    /// Removes all generations but this one and its reserve. What cannot be removed now is, with the next one.
    fn clear(&mut self, newest: Name) {
        let names = match self.disk.list() {
            Ok(names) => names,
            Err(err) => {
                tracing::warn!(%err, "old saved views not removed");
                return;
            }
        };
        let views = || names.iter().filter_map(|name| Name::parse(name));
        let held = self.current.as_ref().map(|current| current.name);
        let held = held.or(self.below.map(|(name, _)| name));
        let reserve = match held {
            Some(held @ Name::Numbered(_, Stage::View)) => Some(held),
            _ => views()
                .filter(|name| name.is_acknowledged() && *name < newest)
                .filter(|name| !self.leftovers.contains(name))
                .max(),
        };
        let mut old: Vec<_> = views()
            .filter(|name| *name != newest && Some(*name) != reserve)
            .map(|name| name.to_string())
            .collect();
        // The layout before is the reserve of the first generation.
        if reserve.is_some() {
            let earlier = names.iter().filter(|name| earlier::is_file(name));
            old.extend(earlier.cloned());
        }
        for name in old {
            if let Err(err) = self.disk.remove(&name) {
                tracing::warn!(file = name, %err, "old saved view not removed");
            }
        }
    }

    /// Removes a snapshot that must not be found.
    pub(super) fn forget(&mut self, name: Name) -> io::Result<()> {
        let removed = self.disk.remove(&name.to_string());
        let removed = removed.and_then(|()| self.disk.sync());
        if removed.is_err() {
            // Before anything else is good.
            self.leftovers.push(name);
            if let Some(current) = &mut self.current {
                current.durable = false;
            }
        }
        removed
    }

    /// Cuts off what is behind the view held.
    fn cut(&mut self) -> io::Result<()> {
        match &mut self.current {
            Some(Generation {
                file: Some(file),
                end,
                ..
            }) => file.set_len(end.length).and_then(|()| file.sync()),
            // Nothing was written.
            _ => Ok(()),
        }
    }

    /// Takes back what was begun.
    pub(super) fn take_back(&mut self, begun: &Begun) -> io::Result<()> {
        match begun {
            Begun::Snapshot(generation) => self.forget(generation.name),
            Begun::Change { .. } => self.take_back_change(),
        }
    }

    /// A file that cannot be cut is left alone from then on.
    fn take_back_change(&mut self) -> io::Result<()> {
        let cut = self.cut();
        if cut.is_err() {
            self.current = None;
        }
        cut
    }
}

// === impl Generation ===

impl Generation {
    fn file(&mut self, disk: &mut dyn Disk) -> io::Result<&mut (dyn DiskFile + 'static)> {
        let file = match self.file.take() {
            Some(file) => file,
            None => disk.open(&self.name.to_string())?,
        };
        Ok(&mut **self.file.insert(file))
    }
}

pub(super) fn unusable() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the newest saved view is damaged or cannot be read",
    )
}

/// The error once more, to be kept.
fn same(err: &io::Error) -> io::Error {
    match err.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(err.kind(), err.to_string()),
    }
}
