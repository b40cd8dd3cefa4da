//! Lines for standard error and standard output, written by a thread of their own: nobody who logs, and nobody who
//! writes a record, waits for a terminal, a pipe that nobody reads, or a full disk.
//!
//! What finds no room is dropped and counted, and the next line that is written is preceded by one that says how many
//! were lost. A write that fails loses its line.

use prometheus_client::metrics::counter::Counter;
use std::{
    io::{self, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

/// Lines that may wait.
const LINES: usize = 4096;
/// Bytes of them.
const BYTES: usize = 4 * 1024 * 1024;

/// A way to a descriptor that never blocks.
#[derive(Clone, Debug)]
pub struct Lines {
    sender: SyncSender<Message>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Answered once all that came before is written.
    Settle(SyncSender<()>),
}

#[derive(Default, Debug)]
struct Shared {
    /// Bytes that wait.
    waiting: AtomicUsize,
    /// Lines lost since the next line last said so.
    unsaid: AtomicU64,
    lost: Counter,
    /// Why the last write failed; 0: it did not.
    errno: AtomicI32,
}

/// The lines of standard error: where the log goes.
pub fn stderr() -> &'static Lines {
    static STDERR: OnceLock<Lines> = OnceLock::new();
    STDERR.get_or_init(|| Lines::start("stderr", io::stderr(), said_as_text))
}

/// The lines of standard output: where records go that a plugin sends there.
pub fn stdout() -> &'static Lines {
    static STDOUT: OnceLock<Lines> = OnceLock::new();
    STDOUT.get_or_init(|| Lines::start("stdout", io::stdout(), |_| Vec::new()))
}

fn said_as_text(lost: u64) -> Vec<u8> {
    format!("{lost} lines lost: they were logged faster than they could be written\n").into_bytes()
}

impl Lines {
    /// To any writer; `say` makes the line that says how many were lost.
    fn start(
        name: &str,
        out: impl Write + Send + 'static,
        say: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let (sender, receiver) = sync_channel(LINES);
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        // Without a thread nobody takes the lines: all are lost, and counted.
        let _ = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_all(&receiver, out, say, &of_thread));
        Self { sender, shared }
    }

    /// Hands over a line, its end included; or drops and counts it.
    pub fn put(&self, line: &[u8]) {
        let room = self.shared.waiting.load(Relaxed).saturating_add(line.len()) <= BYTES;
        self.shared.waiting.fetch_add(line.len(), Relaxed);
        if !room || self.sender.try_send(Message::Line(line.to_vec())).is_err() {
            self.shared.waiting.fetch_sub(line.len(), Relaxed);
            self.shared.lose();
        }
    }

    /// Lines that were lost so far.
    pub fn lost(&self) -> &Counter {
        &self.shared.lost
    }

    /// Why the last write failed.
    pub fn failure(&self) -> Option<io::Error> {
        match self.shared.errno.load(Relaxed) {
            0 => None,
            errno => Some(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Waits until all that was handed over is written, at most so long: for the end of a process. Whether it is.
    pub fn settle(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let (settled, wait) = sync_channel(1);
        while self
            .sender
            .try_send(Message::Settle(settled.clone()))
            .is_err()
        {
            if until <= Instant::now() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        wait.recv_timeout(until.saturating_duration_since(Instant::now()))
            .is_ok()
    }
}

/// For `tracing`, which hands over whole lines.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lose(&self) {
        self.unsaid.fetch_add(1, Relaxed);
        self.lost.inc();
    }
}

fn write_all(
    receiver: &Receiver<Message>,
    mut out: impl Write,
    say: impl Fn(u64) -> Vec<u8>,
    shared: &Shared,
) {
    for message in receiver {
        let line = match message {
            Message::Line(line) => line,
            Message::Settle(settled) => {
                let _ = settled.try_send(());
                continue;
            }
        };
        let unsaid = shared.unsaid.swap(0, Relaxed);
        if unsaid > 0 && out.write_all(&say(unsaid)).is_err() {
            shared.unsaid.fetch_add(unsaid, Relaxed);
        }
        let written = out.write_all(&line).and_then(|()| out.flush());
        shared.waiting.fetch_sub(line.len(), Relaxed);
        let errno = match written {
            Ok(()) => 0,
            Err(err) => {
                shared.lose();
                err.raw_os_error()
                    .unwrap_or(rustix::io::Errno::IO.raw_os_error())
            }
        };
        shared.errno.store(errno, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Read,
        os::unix::net::UnixStream,
        sync::mpsc::{Sender, channel},
    };

    const DEADLINE: Duration = Duration::from_secs(60);

    /// Takes a line whenever it is allowed to.
    struct Slow {
        allowed: Receiver<io::Result<()>>,
        written: Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.allowed.recv().unwrap_or(Ok(()))?;
            let _ = self
                .written
                .send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Lines, Sender<io::Result<()>>, Receiver<String>) {
        let (allow, allowed) = channel();
        let (written, read) = channel();
        let lines = Lines::start("test", Slow { allowed, written }, said_as_text);
        (lines, allow, read)
    }

    #[test]
    fn lines_come_in_order_and_settling_waits_for_them() {
        let (lines, allow, read) = slow();
        drop(allow);
        for number in 0..100 {
            lines.put(format!("{number}\n").as_bytes());
        }
        assert!(lines.settle(DEADLINE));
        let all: Vec<String> = read.try_iter().collect();
        let expected: Vec<String> = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(all, expected);
        assert_eq!(lines.lost().get(), 0);
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_up_and_what_is_lost_is_counted_and_said_once() {
        let (mut reader, writer) = UnixStream::pair().expect("a pair");
        let lines = Lines::start("test", writer, said_as_text);
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let put = u64::try_from(LINES).expect("small") * 3;
        for _ in 0..put {
            lines.put(&line);
        }
        let lost = lines.lost().get();
        assert!(lost > 0, "all of it found room");
        assert!(!lines.settle(Duration::from_millis(1)), "it is stuck");
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        assert!(lines.settle(DEADLINE));
        drop(lines);
        let text = reading.join().expect("read").expect("text");
        let said = text.lines().filter(|line| !line.starts_with('x'));
        let said: u64 = said
            .map(|line| {
                line.split(' ')
                    .next()
                    .and_then(|n| n.parse::<u64>().ok())
                    .expect("a number")
            })
            .sum();
        assert_eq!(said, lost);
        let written = text.lines().filter(|line| line.starts_with('x')).count();
        assert_eq!(u64::try_from(written).expect("small") + lost, put);
    }

    #[test]
    fn a_write_that_fails_loses_its_line_and_no_other() {
        let (lines, allow, read) = slow();
        lines.put(b"lost\n");
        lines.put(b"kept\n");
        allow
            .send(Err(io::Error::from_raw_os_error(28)))
            .expect("taken");
        // That lines were lost, and the other line.
        allow.send(Ok(())).expect("taken");
        allow.send(Ok(())).expect("taken");
        assert!(lines.settle(DEADLINE));
        assert_eq!(lines.lost().get(), 1);
        assert!(lines.failure().is_none());
        let all: Vec<String> = read.try_iter().collect();
        assert_eq!(
            all,
            [said_as_text(1), b"kept\n".to_vec()]
                .map(|line| String::from_utf8(line).expect("text"))
        );
        lines.put(b"lost\n");
        allow
            .send(Err(io::Error::from_raw_os_error(28)))
            .expect("taken");
        assert!(lines.settle(DEADLINE));
        assert_eq!(lines.failure().and_then(|err| err.raw_os_error()), Some(28));
    }
}
