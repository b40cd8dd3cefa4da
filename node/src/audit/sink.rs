//! Where records go: lines of JSON in a file that is rotated, on standard output, or in the journal.
//!
//! A sink that fails loses records, which is counted and said once; it stops nobody else.

use palisade_policy::plugin::Sink;
use std::{
    collections::BTreeMap,
    io::{self, Write},
    os::unix::net::UnixDatagram,
};

mod file;

use file::Rotated;

/// Every sink in use, opened with its first record.
#[derive(Debug, Default)]
pub struct Sinks {
    open: BTreeMap<Sink, Open>,
    lost: u64,
}

#[derive(Debug)]
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
    /// Writes a line, its end included.
    pub fn write(&mut self, sink: &Sink, line: &str) {
        let open = self.open.entry(sink.clone()).or_insert(Open {
            writer: None,
            failing: false,
        });
        let written = open.write(sink, line);
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
    fn write(&mut self, sink: &Sink, line: &str) -> io::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(Writer::open(sink)?),
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
    fn open(sink: &Sink) -> io::Result<Self> {
        Ok(match sink {
            Sink::File {
                path,
                max_bytes,
                keep,
            } => Self::File(Rotated::open(path.as_ref(), *max_bytes, *keep)?),
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
    fn a_sink_that_cannot_be_opened_loses_its_records_and_no_others() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = |name: &str| Sink::File {
            path: dir.path().join(name).to_string_lossy().into_owned(),
            max_bytes: 4096,
            keep: 1,
        };
        let mut sinks = Sinks::default();
        sinks.write(&file("absent/a"), "lost\n");
        sinks.write(&file("b"), "kept\n");
        sinks.flush();
        assert_eq!(sinks.lost(), 1);
        let kept = std::fs::read_to_string(dir.path().join("b")).expect("there");
        assert_eq!(kept, "kept\n");
    }
}
