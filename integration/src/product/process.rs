//! One daemon: started in a namespace, its log in a file, killed on drop.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::logging_to;
use crate::netns::Door;

/// A running daemon.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where its own part of the log begins: a restarted daemon goes on in the same file.
    log_start: usize,
}

impl Process {
    pub(super) fn start(
        name: &str,
        door: &Door,
        command: &mut Command,
        log: &Path,
    ) -> Result<Self> {
        // Colours would stand between the words of a log.
        logging_to(command.env("NO_COLOR", "1"), log)?;
        let log_start = std::fs::read(log)
            .map(|bytes| bytes.len())
            .unwrap_or_default();
        let child = door
            .run(|| command.spawn())
            .with_context(|| format!("start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            log_start,
        })
    }

    /// Waits for the log line `ready`.
    pub(super) fn wait_until_ready(&self, patience: Duration) -> Result<()> {
        let pid = self.pid()?;
        self.wait_for_log("ready", patience, || {
            rustix::process::test_kill_process(pid).is_ok() && !is_zombie(pid)
        })
    }

    /// Waits until a line of the log has this word.
    ///
    /// # Errors
    ///
    /// Where it does not come in time, or the daemon is no longer `alive`.
    fn wait_for_log(&self, word: &str, patience: Duration, alive: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let lives = alive();
            if self.own_log().lines().any(|line| has_word(line, word)) {
                return Ok(());
            }
            if !lives {
                bail!("{} ended before it was {word}", self.name);
            }
            if Instant::now() > deadline {
                bail!("{} was not {word} within {patience:?}", self.name);
            }
            crate::pause();
        }
    }

    /// Process id.
    ///
    /// # Errors
    ///
    /// Never in practice: Linux has no process id zero.
    pub fn pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.child.id())?).context("a process id")
    }

    /// `kill -9`, and waits for the end.
    ///
    /// # Errors
    ///
    /// Where it cannot be waited for.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.end(Signal::KILL)
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    ///
    /// Where it cannot be waited for.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.end(Signal::TERM)
    }

    /// Waits for an end that it comes to by itself.
    ///
    /// # Errors
    ///
    /// Where it cannot be waited for.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.child
            .wait()
            .with_context(|| format!("wait for {}", self.name))
    }

    fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        // It may have ended on its own; waiting tells how.
        let _ = kill_process(self.pid()?, signal);
        self.wait()
    }

    /// What it logged since it was started.
    pub fn own_log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.log_start..).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// True where `word` stands alone in the line, in text or as a JSON value; "not ready" and "already" do not count.
fn has_word(line: &str, word: &str) -> bool {
    let words: Vec<&str> = line
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words
        .iter()
        .zip([""].iter().chain(&words))
        .any(|(this, before)| *this == word && *before != "not")
}

fn is_zombie(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).is_ok_and(|stat| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'))
    })
}

#[cfg(test)]
mod tests {
    use super::has_word;

    #[test]
    fn ready_is_a_word_of_its_own() {
        assert!(has_word(
            "2026-01-01T00:00:00Z  INFO palisade_node: ready",
            "ready"
        ));
        assert!(has_word(r#"{"level":"INFO","message":"ready"}"#, "ready"));
        assert!(!has_word("rules already there", "ready"));
        assert!(!has_word("not ready", "ready"));
    }
}
