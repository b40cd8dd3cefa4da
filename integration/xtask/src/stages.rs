//! Stages of a task: each announced, timed, and named in the summary line at the end.

use std::process::Command;
use std::time::{Duration, Instant};

/// What ran so far.
pub(crate) struct Stages {
    task: &'static str,
    began: Instant,
    done: Vec<Done>,
}

struct Done {
    name: &'static str,
    took: Duration,
    failed: bool,
}

impl Stages {
    pub(crate) fn new(task: &'static str) -> Self {
        Self {
            task,
            began: Instant::now(),
            done: Vec::new(),
        }
    }

    /// A stage without which the next ones make no sense.
    pub(crate) fn must(
        &mut self,
        name: &'static str,
        stage: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        self.time(name, stage)
            .map_err(|error| format!("{error}\n{}", self.summary()))
    }

    /// A stage whose failure is told at the end.
    pub(crate) fn may_fail(&mut self, name: &'static str, command: Command) {
        if let Err(error) = self.time(name, || crate::run(command)) {
            eprintln!("{error}");
        }
    }

    /// Prints the summary.
    pub(crate) fn finish(self) -> Result<(), String> {
        if self.done.iter().any(|stage| stage.failed) {
            return Err(self.summary());
        }
        println!("{}", self.summary());
        Ok(())
    }

    fn time(
        &mut self,
        name: &'static str,
        stage: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        println!("== {}: {name}", self.task);
        let began = Instant::now();
        let result = stage();
        self.done.push(Done {
            name,
            took: began.elapsed(),
            failed: result.is_err(),
        });
        result
    }

    fn summary(&self) -> String {
        let stages: Vec<String> = self
            .done
            .iter()
            .map(|stage| {
                format!(
                    "{}{} {:.0} s",
                    stage.name,
                    if stage.failed { " FAILED" } else { "" },
                    stage.took.as_secs_f32()
                )
            })
            .collect();
        let verdict = if self.done.iter().any(|stage| stage.failed) {
            "FAILED"
        } else {
            "ok"
        };
        format!(
            "{} {verdict} in {:.0} s: {}",
            self.task,
            self.began.elapsed().as_secs_f32(),
            stages.join(", ")
        )
    }
}
