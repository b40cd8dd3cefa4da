//! A file that is rotated: `path`, `path.1` the one before, up to the number kept.

use rustix::fs::{Mode, OFlags};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

#[derive(Debug)]
pub(super) struct Rotated {
    path: PathBuf,
    file: BufWriter<File>,
    size: u64,
    max_bytes: u64,
    keep: u16,
}

impl Rotated {
    pub(super) fn open(path: &Path, max_bytes: u64, keep: u16) -> io::Result<Self> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            size,
            max_bytes,
            keep,
        })
    }

    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.size > 0 && self.size.saturating_add(length) > self.max_bytes {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.size += length;
        Ok(())
    }

    /// Afterwards the file is open under its name, whoever moved or removed it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let here = self.file.get_ref().metadata()?;
        let moved = fs::symlink_metadata(&self.path).map_or(true, |named| {
            (named.dev(), named.ino()) != (here.dev(), here.ino())
        });
        if moved {
            self.reopen()?;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        if self.keep == 0 {
            fs::remove_file(&self.path)?;
            return self.reopen();
        }
        let mut to = self.numbered(self.keep);
        for number in (0..self.keep).rev() {
            let from = match number {
                0 => self.path.clone(),
                number => self.numbered(number),
            };
            match fs::rename(&from, &to) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
                _ => to = from,
            }
        }
        self.reopen()
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = append(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = BufWriter::new(file);
        Ok(())
    }

    fn numbered(&self, number: u16) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// Only its owner reads it. A symbolic link in its place is refused: the directory may be another's.
fn append(path: &Path) -> io::Result<File> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(rustix::fs::open(path, flags, mode)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    #[test]
    fn the_newest_lines_are_kept_in_so_many_files() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("log");
        let mut file = Rotated::open(&path, 8, 2).expect("made");
        for number in 0..9 {
            file.write(format!("{number}..\n").as_bytes())
                .expect("written");
        }
        file.flush().expect("flushed");
        assert_eq!(content(&path).as_deref(), Some("8..\n"));
        assert_eq!(content(&file.numbered(1)).as_deref(), Some("6..\n7..\n"));
        assert_eq!(content(&file.numbered(2)).as_deref(), Some("4..\n5..\n"));
        assert_eq!(content(&file.numbered(3)), None);
    }

    #[test]
    fn none_kept_is_one_file() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("log");
        let mut file = Rotated::open(&path, 4, 0).expect("made");
        file.write(b"one\n").expect("written");
        file.write(b"two\n").expect("written");
        file.flush().expect("flushed");
        assert_eq!(content(&path).as_deref(), Some("two\n"));
        assert_eq!(fs::read_dir(dir.path()).expect("read").count(), 1);
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("log");
        let mut file = Rotated::open(&path, 4096, 0).expect("made");
        file.write(b"one\n").expect("written");
        fs::rename(&path, dir.path().join("elsewhere")).expect("moved");
        file.flush().expect("flushed");
        file.write(b"two\n").expect("written");
        file.flush().expect("flushed");
        assert_eq!(content(&path).as_deref(), Some("two\n"));
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("log");
        std::os::unix::fs::symlink(dir.path().join("target"), &path).expect("made");
        assert!(Rotated::open(&path, 4096, 0).is_err());
        assert!(!dir.path().join("target").exists());
    }
}
