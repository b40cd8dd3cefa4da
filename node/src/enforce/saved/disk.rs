//! The few operations that saved views need of a disk, and the state directory that offers them.
//!
//! A door of its own, so that a test can put a disk behind it that fails, tears what was written and forgets names.

use crate::durable;
use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The file that names the process that uses the directory.
const LOCK: &str = "lock";

/// One directory. Names are durable only after [`Disk::sync`], and until then in no order.
pub trait Disk: Debug + Send {
    /// Makes the directory if it is missing, and reserves it for this process until the disk is dropped. May be called
    /// again after it failed.
    ///
    /// # Errors
    /// [`InUse`] inside if another process has it, else those of the file system.
    fn lock(&mut self) -> io::Result<()>;

    /// Whether the directory is still there under its name, and the file in it. If the directory is not, it is not
    /// reserved any more.
    ///
    /// # Errors
    /// [`Gone`] inside if it is not, else those of the file system.
    fn look(&mut self, file: Option<&str>) -> io::Result<()>;

    /// The names of the files.
    ///
    /// # Errors
    /// Those of the file system.
    fn list(&mut self) -> io::Result<Vec<String>>;

    /// Appends the file's content to `content`, as far as it can be read.
    ///
    /// # Errors
    /// Those of the file system.
    fn read(&mut self, name: &str, content: &mut Vec<u8>) -> io::Result<()>;

    /// Creates a file under a name that was not used before.
    ///
    /// # Errors
    /// Those of the file system.
    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for writing.
    ///
    /// # Errors
    /// Those of the file system.
    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name.
    ///
    /// # Errors
    /// Those of the file system.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. One that is not there counts as removed.
    ///
    /// # Errors
    /// Those of the file system.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Makes names durable.
    ///
    /// # Errors
    /// Those of the file system.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file open for writing. Its content is durable only after [`DiskFile::sync`].
pub trait DiskFile: Debug + Send {
    /// Writes at an offset, at most the file's end.
    ///
    /// # Errors
    /// Those of the file system; a part may be written then.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file.
    ///
    /// # Errors
    /// Those of the file system.
    fn set_len(&mut self, length: u64) -> io::Result<()>;

    /// Makes the content durable.
    ///
    /// # Errors
    /// Those of the file system; nothing is known then about what was written since the last sync.
    fn sync(&mut self) -> io::Result<()>;
}

/// Another process uses the state directory.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is in use by {}", .dir.display(), .pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
pub struct InUse {
    /// The directory.
    pub dir: PathBuf,
    /// The process, if it could write down its number.
    pub pid: Option<u32>,
}

impl InUse {
    /// Whether this is why an operation failed.
    pub fn caused(err: &io::Error) -> bool {
        err.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// Somebody removed the state directory, or a file of it, while this process used it.
#[derive(Debug, thiserror::Error)]
#[error("`{}` was removed or replaced while the daemon used it", .0.display())]
pub struct Gone(pub PathBuf);

impl Gone {
    /// Whether this is why an operation failed.
    pub fn caused(err: &io::Error) -> bool {
        err.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// A directory of the machine's file system.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The directory itself, locked. A file in it could not be made where nothing can be written, and a process that
    /// locks the one would not meet a process that locks the other.
    locked: Option<File>,
}

// === impl Directory ===

impl Directory {
    /// That directory; it need not be there.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            locked: None,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn in_use(&self) -> io::Error {
        // The holder of a directory that cannot be written left no number, but an earlier one may have.
        let pid = fs::read_to_string(self.file(LOCK))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|pid: &u32| Path::new(&format!("/proc/{pid}")).exists());
        let dir = self.path.clone();
        io::Error::new(io::ErrorKind::ResourceBusy, InUse { dir, pid })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing it is not enough: a child that was just forked has it open until it runs its program.
        if let Some(Err(err)) = self.locked.as_ref().map(File::unlock) {
            tracing::warn!(%err, "state directory not unlocked");
        }
    }
}

impl Disk for Directory {
    fn lock(&mut self) -> io::Result<()> {
        if self.locked.is_none() {
            durable::make_private_dir(&self.path)?;
            let directory = File::open(&self.path)?;
            match directory.try_lock() {
                Ok(()) => self.locked = Some(directory),
                Err(TryLockError::WouldBlock) => return Err(self.in_use()),
                Err(TryLockError::Error(err)) => return Err(err),
            }
        }
        let pid = format!("{}\n", std::process::id());
        // Not emptied first: a full disk takes what replaces something of the same length.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.file(LOCK))?;
        file.write_all_at(pid.as_bytes(), 0)?;
        file.set_len(u64::try_from(pid.len()).unwrap_or(u64::MAX))
    }

    fn look(&mut self, file: Option<&str>) -> io::Result<()> {
        let number = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        let gone = |path: &Path| io::Error::new(io::ErrorKind::NotFound, Gone(path.to_owned()));
        if let Some(locked) = &self.locked {
            let there = match fs::metadata(&self.path) {
                Ok(there) => number(&there) == number(&locked.metadata()?),
                // Not a directory: a part of the path was replaced.
                Err(err)
                    if matches!(
                        err.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    false
                }
                Err(err) => return Err(err),
            };
            if !there {
                self.locked = None;
                return Err(gone(&self.path));
            }
        }
        let Some(file) = file.map(|file| self.file(file)) else {
            return Ok(());
        };
        match fs::metadata(&file) {
            Ok(_) => Ok(()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Err(gone(&file)),
            Err(err) => Err(err),
        }
    }

    fn list(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is not text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn read(&mut self, name: &str, content: &mut Vec<u8>) -> io::Result<()> {
        File::open(self.file(name))?.read_to_end(content).map(drop)
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(durable::create_private(&self.file(name))?))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).open(self.file(name))?;
        Ok(Box::new(file))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.file(from), self.file(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        durable::remove(&self.file(name))
    }

    fn sync(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl DiskFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()?;
        // What has no name is gone with the process, however well it is synced.
        if self.metadata()?.nlink() == 0 {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the file was removed",
            ));
        }
        Ok(())
    }
}
