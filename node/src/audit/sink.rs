//! Where records go: lines of JSON in a file that is rotated, on standard output, or in the journal.
//!
//! Files are below a directory that the node's operator names. A sink that fails loses records, which is counted and said once; it stops nobody else.

use palisade_policy::plugin::Sink;
use std::{
    collections::BTreeMap,
    io::{self, Write},
    os::unix::net::UnixDatagram,
};

mod directory;
mod file;

pub use directory::Directory;
use file::Rotated;

/// Every sink in use, opened with its first record.
#[derive(Debug)]
pub struct Sinks {
    files: Directory,
    open: BTreeMap<Sink, Open>,
    lost: u64,
}

#[derive(Debug, Default)]
struct Open {
    writer: Option<Writer>,
    /// Said already that it fails.
    failing: bool,
}

#[derive(Debug)]
enum Writer {
    File(Rotated),
    Stdout,
    Journal(UnixDatagram),
}

const JOURNAL: &str = "/run/systemd/journal/socket";

impl Sinks {
    /// None yet; files go below the directory only.
    pub fn new(files: Directory) -> Self {
        Self {
            files,
            open: BTreeMap::new(),
            lost: 0,
        }
    }

    /// Writes a line, its end included.
    pub fn write(&mut self, sink: &Sink, line: &str) {
        if !self.open.contains_key(sink) {
            self.open.insert(sink.clone(), Open::default());
        }
        let Some(open) = self.open.get_mut(sink) else {
            return;
        };
        let written = open.write(sink, &self.files, line);
        if open.tell(sink, written).is_err() {
            self.lost += 1;
        }
    }

    /// Hands over to the system what is held back.
    pub fn flush(&mut self) {
        for (sink, open) in &mut self.open {
            if let Some(Writer::File(file)) = &mut open.writer {
                let flushed = file.flush();
                if open.tell(sink, flushed).is_err() {
                    self.lost += 1;
                }
            }
        }
    }

    /// Closes those that nobody names any more.
    pub fn retain(&mut self, named: impl Fn(&Sink) -> bool) {
        self.flush();
        self.open.retain(|sink, _| named(sink));
    }

    /// Records that no sink took.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl Open {
    fn write(&mut self, sink: &Sink, files: &Directory, line: &str) -> io::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(Writer::open(sink, files)?),
        };
        match writer {
            Writer::File(file) => file.write(line.as_bytes()),
            Writer::Stdout => io::stdout().write_all(line.as_bytes()),
            Writer::Journal(socket) => {
                let line = line.trim_end_matches('\n');
                let message =
                    format!("PRIORITY=5\nSYSLOG_IDENTIFIER=palisade-node\nMESSAGE={line}\n");
                socket.send(message.as_bytes()).map(|_| ())
            }
        }
    }

    /// Says a failure once, and its end.
    fn tell(&mut self, sink: &Sink, result: io::Result<()>) -> io::Result<()> {
        match &result {
            Err(err) => {
                if !self.failing {
                    tracing::warn!(?sink, %err, "records are lost: a sink fails");
                }
                self.failing = true;
                self.writer = None;
            }
            Ok(()) => self.failing = false,
        }
        result
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
        let mut sinks = Sinks::new(Directory::new(&dir));
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
