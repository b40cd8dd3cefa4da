//! The door to the simulated disk, as one process has it.

use super::{Done, Inode, Pending, Platters, error};
use palisade_node::enforce::saved::{Disk, DiskFile, Gone, InUse};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

#[derive(Debug)]
pub(super) struct Process {
    pub(super) platters: Arc<Mutex<Platters>>,
    pub(super) id: u64,
}

// === impl Process ===

impl Process {
    fn platters(&self) -> MutexGuard<'_, Platters> {
        self.platters.lock().expect("no panic")
    }

    fn file(&self, inode: usize) -> Box<dyn DiskFile> {
        Box::new(OpenFile {
            platters: Arc::clone(&self.platters),
            inode,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let id = self.id;
        let mut platters = self.platters();
        platters.owner = platters.owner.filter(|owner| *owner != id);
    }
}

impl Disk for Process {
    fn lock(&mut self) -> io::Result<()> {
        let id = self.id;
        let mut platters = self.platters();
        if platters.owner.is_some_and(|owner| owner != id) {
            let dir = "simulated".into();
            return Err(io::Error::other(InUse { dir, pid: None }));
        }
        platters.owner = Some(id);
        platters.call(true).1
    }

    fn look(&mut self, file: Option<&str>) -> io::Result<()> {
        let mut platters = self.platters();
        platters.call(false).1?;
        let there = file.is_none_or(|file| platters.there(file).is_ok());
        let gone = || io::Error::other(Gone(file.unwrap_or_default().into()));
        there.then_some(()).ok_or_else(gone)
    }

    fn list(&mut self) -> io::Result<Vec<String>> {
        let mut platters = self.platters();
        platters.call(false).1?;
        Ok(platters.names.keys().cloned().collect())
    }

    fn read(&mut self, name: &str, content: &mut Vec<u8>) -> io::Result<()> {
        let mut platters = self.platters();
        let (done, result) = platters.call(false);
        let cached = platters.inodes[platters.there(name)?].cached();
        if platters.unreadable.as_deref() == Some(name) {
            return Err(error(5));
        }
        content.extend_from_slice(match done {
            Done::Nothing => &[],
            Done::Half => &cached[..cached.len() / 2],
            Done::All => &cached,
        });
        result
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut platters = self.platters();
        assert!(platters.there(name).is_err(), "`{name}` is used again");
        let (done, result) = platters.call(true);
        let inode = platters.inodes.len();
        if done == Done::All {
            platters.inodes.push(Inode::default());
            platters.change_name(name, Some(inode));
        }
        drop(platters);
        result.map(|()| self.file(inode))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut platters = self.platters();
        platters.call(true).1?;
        let inode = platters.there(name)?;
        drop(platters);
        Ok(self.file(inode))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut platters = self.platters();
        let inode = platters.there(from)?;
        let (done, result) = platters.call(true);
        if done == Done::All {
            // Two changes, of which a power cut may keep one: not every file system renames as one.
            platters.change_name(to, Some(inode));
            platters.change_name(from, None);
        }
        result
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut platters = self.platters();
        let (done, result) = platters.call(true);
        if done == Done::All && platters.there(name).is_ok() {
            platters.change_name(name, None);
        }
        result
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut platters = self.platters();
        let (done, result) = platters.call(true);
        if done == Done::All {
            platters.durable_names = platters.names.clone();
            platters.changed_names.clear();
        }
        result
    }
}

#[derive(Debug)]
struct OpenFile {
    platters: Arc<Mutex<Platters>>,
    inode: usize,
}

// === impl OpenFile ===

impl OpenFile {
    fn write(&self, pending: &Pending, half: Option<&Pending>) -> io::Result<()> {
        let mut platters = self.platters.lock().expect("no panic");
        let (done, result) = platters.call(true);
        let written = match done {
            Done::Nothing => None,
            Done::Half => half,
            Done::All => Some(pending),
        };
        platters.inodes[self.inode].pending.extend(written.cloned());
        result
    }
}

impl DiskFile for OpenFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).expect("small");
        let half = Pending::Bytes(offset, bytes[..bytes.len() / 2].to_vec());
        self.write(&Pending::Bytes(offset, bytes.to_vec()), Some(&half))
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).expect("small");
        self.write(&Pending::Length(length), None)
    }

    fn sync(&mut self) -> io::Result<()> {
        let platters = &mut *self.platters.lock().expect("no panic");
        let (done, result) = platters.call(true);
        let inode = &mut platters.inodes[self.inode];
        match done {
            Done::Nothing => {}
            Done::All => {
                inode.durable = inode.cached();
                inode.pending.clear();
            }
            // What did not get through is lost, and the next sync does not say so.
            Done::Half => {
                inode.persist(&mut platters.random, 0.5);
                inode.pending.clear();
            }
        }
        result
    }
}
