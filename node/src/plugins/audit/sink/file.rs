//! A file that is rotated: `path`, `path.1` the one before, up to the number kept.

use rustix::fs::{Mode, OFlags};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Bytes that are held back at most, but for one longer line.
const HELD: usize = 8 * 1024;

/// An open file. After an error it is of no more use: what it still holds back is lost.
#[derive(Debug)]
pub(super) struct Rotated {
    path: PathBuf,
    file: File,
    /// Whole lines that the system has not taken yet.
    held: Vec<u8>,
    /// Bytes of the file, those held back included.
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
            file,
            held: Vec::new(),
            size,
            max_bytes,
            keep,
        })
    }

    /// Takes a line, its end included. On an error the line is among those held back.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        let room = if self.size > 0 && self.size.saturating_add(length) > self.max_bytes {
            self.rotate()
        } else if self.held.len() + line.len() > HELD {
            self.hand_over()
        } else {
            Ok(())
        };
        self.held.extend_from_slice(line);
        self.size += length;
        room
    }

    /// Lines that the system has not taken.
    pub(super) fn held(&self) -> u64 {
        self.held.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    /// Afterwards the file is open under its name, whoever moved or removed it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.hand_over()?;
        let here = self.file.metadata()?;
        let moved = fs::symlink_metadata(&self.path).map_or(true, |named| {
            (named.dev(), named.ino()) != (here.dev(), here.ino())
        });
        if moved {
            self.reopen()?;
        }
        Ok(())
    }

    /// Gives the system what is held back. On an error the lines that it took whole are held back no more, and a line
    /// that it took in part is taken out of the file, so that the next one begins at the front.
    fn hand_over(&mut self) -> io::Result<()> {
        let mut taken = 0;
        let done = loop {
            let rest = self.held.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match self.file.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => taken += count,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => break Err(err),
            }
        };
        let written = self.held.get(..taken).unwrap_or_default();
        let whole = written
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        if taken > whole
            && let Ok(meta) = self.file.metadata()
        {
            // It is an append of ours, and nobody else writes here.
            let _ = self
                .file
                .set_len(meta.len().saturating_sub((taken - whole) as u64));
        }
        self.held.drain(..whole);
        done
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.hand_over()?;
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
        self.file = append(&self.path)?;
        self.size = self.file.metadata()?.len();
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
