//! Where records go: lines of JSON in a file that is rotated, on standard output, or in the journal.
//!
//! Files are below a directory that the node's operator names. A sink that fails loses records, which is counted and told
//! ([`Failing`]); it stops nobody else.

use crate::{clock::time_ms, log};
use palisade_policy::plugin::Sink;
use palisade_proto::{
    line::line,
    v1::{self, flow_record},
};
use std::{collections::BTreeMap, io, os::unix::net::UnixDatagram};

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
    /// Records that a sink lost and has not told of yet.
    untold: BTreeMap<Sink, u64>,
    /// Records lost and not taken by [`Sinks::take_lost`].
    lost: u64,
}

#[derive(Debug)]
enum Writer {
    File(Rotated),
    /// With the lines of standard output that were lost when last looked.
    Stdout(u64),
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
            untold: BTreeMap::new(),
            lost: 0,
        }
    }

    /// Writes a line, its end included.
    pub fn write(&mut self, sink: &Sink, line: &str) {
        let mut writer = match self.open.remove(sink) {
            Some(writer) => writer,
            None => match Writer::open(sink, &self.files) {
                Ok(writer) => writer,
                Err(err) => return self.fail(sink, &err, 1),
            },
        };
        match writer.write(line) {
            // Held back; the system may refuse it yet.
            Ok(Written::Kept) => {}
            Ok(Written::Handed) => self.failing.written(sink),
            // A journal that does not keep up is not broken, and takes the next.
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => self.lose(sink, 1),
            Err(err) => return self.fail(sink, &err, writer.held()),
        }
        self.open.insert(sink.clone(), writer);
    }

    /// Hands over to the system what is held back; then sinks that lost records say how many.
    pub fn flush(&mut self) {
        for (sink, mut writer) in std::mem::take(&mut self.open) {
            match writer.flush() {
                Ok(lost) => {
                    self.lose(&sink, lost);
                    if !matches!(writer, Writer::Journal(_)) {
                        self.failing.written(&sink);
                    }
                    if self.tell(&sink, &mut writer) {
                        self.open.insert(sink, writer);
                    }
                }
                Err((err, lost)) => {
                    self.fail(&sink, &err, lost);
                    // Standard output stays, and so does the count of what it lost.
                    if matches!(writer, Writer::Stdout(_)) {
                        self.open.insert(sink, writer);
                    }
                }
            }
        }
    }

    /// Writes into a sink how many records it lost; whether the sink is of further use. The record is no record of an
    /// event: if it cannot be written either, nothing more was lost.
    fn tell(&mut self, sink: &Sink, writer: &mut Writer) -> bool {
        let Some(lost) = self.untold.get(sink) else {
            return true;
        };
        let record = v1::FlowRecord {
            sequence: 0,
            time_ms: time_ms(),
            body: Some(flow_record::Body::Lost(*lost)),
            fields: Vec::new(),
        };
        let told = writer.write(&line(None, &record));
        match told.and_then(|_| writer.flush().map_err(|(err, _)| err)) {
            Ok(_) => {
                self.untold.remove(sink);
                true
            }
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => true,
            Err(err) => {
                self.failing.failed(sink, &err);
                false
            }
        }
    }

    fn fail(&mut self, sink: &Sink, err: &io::Error, lost: u64) {
        self.failing.failed(sink, err);
        self.lose(sink, lost);
    }

    fn lose(&mut self, sink: &Sink, count: u64) {
        if count > 0 {
            self.lost += count;
            *self.untold.entry(sink.clone()).or_default() += count;
        }
    }

    /// Closes those that nobody names any more.
    pub fn retain(&mut self, named: impl Fn(&Sink) -> bool) {
        self.flush();
        self.open.retain(|sink, _| named(sink));
        self.untold.retain(|sink, _| named(sink));
        self.failing.retain(named);
    }

    /// Records that a sink did not take, since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
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
            Sink::Stdout => Self::Stdout(log::stdout().lost().get()),
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
            // Whether it is written is known later.
            Self::Stdout(_) => {
                log::stdout().put(line.as_bytes());
                return Ok(Written::Kept);
            }
            Self::Journal(socket) => {
                let line = line.trim_end_matches('\n');
                let message =
                    format!("PRIORITY=5\nSYSLOG_IDENTIFIER=palisade-node\nMESSAGE={line}\n");
                socket.send(message.as_bytes())?;
            }
        }
        Ok(Written::Handed)
    }

    /// Hands over what is held back; how many records are known by now to be lost.
    ///
    /// # Errors
    /// The failure, and how many records are lost with it.
    fn flush(&mut self) -> Result<u64, (io::Error, u64)> {
        match self {
            Self::File(file) => match file.flush() {
                Ok(()) => Ok(0),
                Err(err) => Err((err, file.held())),
            },
            Self::Stdout(known) => {
                let lines = log::stdout();
                let lost = lines.lost().get();
                let more = lost.saturating_sub(std::mem::replace(known, lost));
                lines.failure().map_or(Ok(more), |err| Err((err, more)))
            }
            Self::Journal(_) => Ok(0),
        }
    }

    /// Records that are lost if it is not used any more, after one was not written.
    fn held(&self) -> u64 {
        match self {
            Self::File(file) => file.held(),
            Self::Stdout(_) | Self::Journal(_) => 1,
        }
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
        assert_eq!(sinks.take_lost(), 2);
        let kept = std::fs::read_to_string(dir.join("b")).expect("there");
        assert_eq!(kept, "kept\n");
        assert!(!parent.path().join("elsewhere").exists());
    }

    /// Within a folder with a file system that is soon full.
    fn on_a_small_disk(test: impl FnOnce(&std::path::Path)) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().to_string_lossy().into_owned();
        let run = |program: &str, arguments: &[&str]| {
            let status = std::process::Command::new(program).args(arguments).status();
            status.is_ok_and(|status| status.success())
        };
        if !run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", &path]) {
            assert!(
                std::env::var_os("PALISADE_REQUIRE").is_none(),
                "a file system of a test's own is required"
            );
            eprintln!("SKIPPED: no file system can be mounted here (root is needed)");
            return;
        }
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(dir.path())));
        assert!(run("umount", &["-l", &path]));
        if let Err(panic) = tried {
            std::panic::resume_unwind(panic);
        }
    }

    #[test]
    fn a_full_disk_loses_lines_which_are_counted_one_by_one_and_said_in_the_file_once() {
        on_a_small_disk(|dir| {
            let path = dir.join("log");
            let sink = Sink::File {
                path: path.to_string_lossy().into_owned(),
                max_bytes: 1 << 30,
                keep: 0,
            };
            let mut sinks = Sinks::new(Directory::new(dir), Failing::default());
            let line = format!("{}\n", "x".repeat(99));
            let mut written = 0;
            let mut lost = 0;
            for _ in 0..40 {
                for _ in 0..50 {
                    sinks.write(&sink, &line);
                    written += 1;
                }
                sinks.flush();
                lost += sinks.take_lost();
            }
            let whole = |text: &str| text.lines().filter(|kept| kept.len() == 99).count() as u64;
            let kept = std::fs::read_to_string(&path).expect("there");
            assert!(lost > 50, "{lost}");
            assert_eq!(whole(&kept) + lost, written);
            assert!(kept.ends_with('\n'), "no line is cut");
            // There is room again.
            std::fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(0))
                .expect("emptied");
            sinks.write(&sink, "back\n");
            sinks.flush();
            assert_eq!(sinks.take_lost(), 0);
            let text = std::fs::read_to_string(&path).expect("there");
            let said: Vec<&str> = text.lines().collect();
            let [back, told] = said[..] else {
                panic!("{text}");
            };
            assert_eq!(back, "back");
            assert!(told.contains(&lost.to_string()), "{told}");
            sinks.flush();
            assert_eq!(std::fs::read_to_string(&path).expect("there"), text);
        });
    }
}
