//! What a plugin writes: log messages, standard output, standard error. Bounded in length and in number.

use crate::surroundings::Level;

/// Longest message kept, in bytes.
const LONGEST: usize = 1024;

/// Messages that one instance may log in one second of its time.
const PER_SECOND: u32 = 100;

/// One instance's writing.
#[derive(Debug, Default)]
pub(crate) struct Console {
    output: Line,
    error: Line,
    /// The lines of standard error of the call under way: a panic's message, once it trapped.
    last_error: String,
    second: u64,
    logged: u32,
}

#[derive(Debug, Default)]
struct Line(Vec<u8>);

/// Standard output or standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    Error,
}

impl Console {
    /// Takes what was written, and gives `line` the lines that are complete.
    pub(crate) fn write(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        mut line: impl FnMut(&mut Self, Level, String),
    ) {
        for &byte in bytes {
            let pending = match stream {
                Stream::Output => &mut self.output,
                Stream::Error => &mut self.error,
            };
            if byte != b'\n' {
                if pending.0.len() < LONGEST {
                    pending.0.push(byte);
                }
                continue;
            }
            let text = String::from_utf8_lossy(&std::mem::take(&mut pending.0)).into_owned();
            if text.is_empty() {
                continue;
            }
            let level = match stream {
                Stream::Output => Level::Info,
                Stream::Error => Level::Warn,
            };
            // Said after every panic, to people who can set variables.
            let hint = text.starts_with("note: run with `RUST_BACKTRACE");
            if stream == Stream::Error && !hint && self.last_error.len() < LONGEST {
                if !self.last_error.is_empty() {
                    self.last_error.push(' ');
                }
                self.last_error.push_str(&text);
            }
            line(self, level, text);
        }
    }

    /// What was written to standard error since this was last asked, without what may be left of an unfinished line.
    pub(crate) fn take_last_error(&mut self) -> Option<String> {
        let lines = std::mem::take(&mut self.last_error);
        (!lines.is_empty()).then_some(lines)
    }

    /// A call begins: what earlier ones wrote says nothing about it.
    pub(crate) fn begin(&mut self) {
        self.last_error.clear();
    }

    /// Whether one more message may be logged at this time.
    pub(crate) fn may_log(&mut self, time_ms: u64) -> bool {
        let second = time_ms / 1000;
        if second != self.second {
            self.second = second;
            self.logged = 0;
        }
        self.logged = self.logged.saturating_add(1);
        self.logged <= PER_SECOND
    }
}

/// Cuts a message to what is kept, and takes control characters out of it: it ends in logs and on terminals.
pub(crate) fn tame(message: &str) -> String {
    let mut end = message.len().min(LONGEST);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end]
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole() {
        let mut console = Console::default();
        let mut lines = Vec::new();
        for part in ["one\ntw", "o\n\nthree"] {
            console.write(Stream::Output, part.as_bytes(), |_, _, line| {
                lines.push(line)
            });
        }
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn what_a_call_wrote_to_standard_error_is_kept_for_its_fault() {
        let mut console = Console::default();
        console.write(Stream::Error, b"earlier\n", |_, _, _| ());
        console.begin();
        let panic = b"\npanicked at x:1\nbecause\nnote: run with `RUST_BACKTRACE=1`\n";
        console.write(Stream::Error, panic, |_, _, _| ());
        assert_eq!(
            console.take_last_error().as_deref(),
            Some("panicked at x:1 because")
        );
        assert_eq!(console.take_last_error(), None);
    }

    #[test]
    fn a_second_has_room_for_a_hundred_messages() {
        let mut console = Console::default();
        let kept =
            |console: &mut Console, time| (0..1000).filter(|_| console.may_log(time)).count();
        assert_eq!(kept(&mut console, 5_000), 100);
        assert_eq!(kept(&mut console, 6_000), 100);
    }

    #[test]
    fn messages_are_cut_at_a_character_and_hold_no_escapes() {
        assert_eq!(tame("a\u{1b}[31mb\nc"), "a [31mb c");
        assert!(tame(&"é".repeat(1000)).len() <= LONGEST);
    }
}
