//! Where records go: lines of JSON in a file that is rotated, on standard output, or in the journal.
//!
//! Files are below a directory that the node's operator names. A sink that fails loses records, which is counted and told
//! ([`Failing`]); it stops nobody else.

use palisade_policy::plugin::Sink;
use std::{
    collections::BTreeMap,
    io::{self, Write},
    os::unix::net::UnixDatagram,
};

mod directory;
mod failing;
mod file;

pub use directory::Directory;
pub use failing::Failing;
use file::Rotated;

/// Every sink in use, opened with its first record.
#[derive(Debug)]
pub struct Sinks {
    files: Directory,
    /// Those that fail, opened again with their next record.
    failing: Failing,
    open: BTreeMap<Sink, Writer>,
    lost: u64,
}

#[derive(Debug)]
enum Writer {
    File(Rotated),
    Stdout,
    Journal(UnixDatagram),
}

/// How far a record came.
#[derive(Clone, Copy, Debug)]
enum Written {
    /// To the next [`Sinks::flush`].
    Kept,
    /// Over to the system.
    Handed,
}

const JOURNAL: &str = "/run/systemd/journal/socket";

impl Sinks {
    /// None yet; files go below the directory only.
    pub fn new(files: Directory, failing: Failing) -> Self {
        failing.retain(|_| false);
        Self {
            files,
            failing,
            open: BTreeMap::new(),
            lost: 0,
        }
    }

    /// Writes a line, its end included.
    pub fn write(&mut self, sink: &Sink, line: &str) {
        match self.try_write(sink, line) {
            // Held back; the system may refuse it yet.
            Ok(Written::Kept) => {}
            Ok(Written::Handed) => self.failing.written(sink),
            // A journal that does not keep up is not broken, and takes the next.
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => self.lost += 1,
            Err(err) => {
                self.open.remove(sink);
                self.failing.failed(sink, &err);
                self.lost += 1;
            }
        }
    }

    fn try_write(&mut self, sink: &Sink, line: &str) -> io::Result<Written> {
        if let Some(writer) = self.open.get_mut(sink) {
            return writer.write(line);
        }
        let mut writer = Writer::open(sink, &self.files)?;
        let written = writer.write(line)?;
        self.open.insert(sink.clone(), writer);
        Ok(written)
    }

    /// Hands over to the system what is held back.
    pub fn flush(&mut self) {
        let Self {
            failing,
            open,
            lost,
            ..
        } = self;
        open.retain(|sink, writer| {
            let Writer::File(file) = writer else {
                return true;
            };
            match file.flush() {
                Ok(()) => failing.written(sink),
                Err(err) => {
                    failing.failed(sink, &err);
                    *lost += 1;
                    return false;
                }
            }
            true
        });
    }

    /// Closes those that nobody names any more.
    pub fn retain(&mut self, named: impl Fn(&Sink) -> bool) {
        self.flush();
        self.open.retain(|sink, _| named(sink));
        self.failing.retain(named);
    }

    /// Records that no sink took.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl Writer {
    fn open(sink: &Sink, files: &Directory) -> io::Result<Self> {
        Ok(match sink {
            Sink::File {
                path,
                max_bytes,
                keep,
            } => {
                let path = path.as_ref();
                files.admit(path)?;
                Self::File(Rotated::open(path, *max_bytes, *keep)?)
            }
            Sink::Stdout => Self::Stdout,
            Sink::Journald => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(JOURNAL)?;
                // A journal that does not keep up loses records; nobody waits for it.
                socket.set_nonblocking(true)?;
                Self::Journal(socket)
            }
        })
    }

    fn write(&mut self, line: &str) -> io::Result<Written> {
        match self {
            Self::File(file) => {
                file.write(line.as_bytes())?;
                return Ok(Written::Kept);
            }
            Self::Stdout => io::stdout().write_all(line.as_bytes())?,
            Self::Journal(socket) => {
                let line = line.trim_end_matches('\n');
                let message =
                    format!("PRIORITY=5\nSYSLOG_IDENTIFIER=palisade-node\nMESSAGE={line}\n");
                socket.send(message.as_bytes())?;
            }
        }
        Ok(Written::Handed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_cannot_be_opened_or_is_elsewhere_loses_its_records_and_no_others() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let dir = parent.path().join("made");
        let file = |name: &str| Sink::File {
            path: dir.join(name).to_string_lossy().into_owned(),
            max_bytes: 4096,
            keep: 1,
        };
        let mut sinks = Sinks::new(Directory::new(&dir), Failing::default());
        sinks.write(&file("../elsewhere"), "lost\n");
        sinks.write(&file("absent/a"), "lost\n");
        sinks.write(&file("b"), "kept\n");
        sinks.flush();
        assert_eq!(sinks.lost(), 2);
        let kept = std::fs::read_to_string(dir.join("b")).expect("there");
        assert_eq!(kept, "kept\n");
        assert!(!parent.path().join("elsewhere").exists());
    }
}
