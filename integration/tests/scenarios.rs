//! Runs `scenarios/*` on real packets and the real binaries, side by side, each in namespaces of its own.
//!
//! `cargo test -p palisade-integration --test scenarios -- [--list] [--jobs N] [area | area/slug]…`

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use palisade_integration::prerequisite::Prerequisite;
use palisade_integration::product::Binaries;
use palisade_integration::scenario::{ScenarioFile, files, missing, offline, run};

/// One thing to run.
#[derive(Debug, Clone)]
enum Job {
    Network(ScenarioFile),
    Resources(String),
    Selectors,
}

impl Job {
    fn area(&self) -> &str {
        match self {
            Self::Network(file) => &file.area,
            Self::Resources(_) => "invalid",
            Self::Selectors => "selectors.yaml",
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Network(file) => file.to_string(),
            Self::Resources(name) => format!("invalid/{name}"),
            Self::Selectors => "selectors.yaml".to_owned(),
        }
    }

    fn is_wanted(&self, filters: &[String]) -> bool {
        let name = self.name();
        filters.is_empty()
            || filters.iter().any(|filter| {
                self.area() == filter || name == *filter || name.ends_with(&format!("/{filter}"))
            })
    }
}

/// How a job ended.
enum Outcome {
    Passed(usize),
    Skipped(String),
    Failed(Vec<String>, String),
}

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

fn main() -> ExitCode {
    match try_main() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_main() -> Result<ExitCode> {
    let arguments = Arguments::parse(std::env::args().skip(1));
    let mut jobs: Vec<Job> = files()?.into_iter().map(Job::Network).collect();
    jobs.extend(offline::resource_files()?.into_iter().map(Job::Resources));
    jobs.push(Job::Selectors);
    jobs.retain(|job| job.is_wanted(&arguments.filters));
    if arguments.list {
        jobs.iter().for_each(|job| println!("{}", job.name()));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(code) = cannot_run(jobs.len()) {
        return Ok(code);
    }
    let binaries = Binaries::find()?;
    let began = Instant::now();
    let queue = Mutex::new(VecDeque::from(jobs));
    let counts = Mutex::new(BTreeMap::<String, Count>::new());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                while let Some(job) = locked(&queue).pop_front() {
                    let began = Instant::now();
                    let outcome = execute(&job, &binaries);
                    // Printed under the lock, so that lines of two jobs never mix.
                    let mut counts = locked(&counts);
                    report(
                        &job,
                        &outcome,
                        began,
                        counts.entry(job.area().to_owned()).or_default(),
                    );
                }
            });
        }
    });
    Ok(summary(&locked(&counts), began))
}

/// Printed and decided once, where nothing can run here at all.
fn cannot_run(jobs: usize) -> Option<ExitCode> {
    for need in [Prerequisite::Netns, Prerequisite::Binaries] {
        if let Some(reason) = need.missing() {
            eprintln!("SKIPPED all {jobs} scenarios: {reason}");
            println!("0 passed, 0 failed, {jobs} skipped");
            // Binaries are ours to build: without them there is no green run anywhere that requires namespaces.
            let required = need.is_required() || Prerequisite::Netns.is_required();
            return Some(if required {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            });
        }
    }
    None
}

fn execute(job: &Job, binaries: &Binaries) -> Outcome {
    let tally = |tally: Result<offline::Tally>| match tally {
        Ok(tally) if tally.wrong.is_empty() => Outcome::Passed(tally.passed),
        Ok(tally) => Outcome::Failed(tally.wrong, String::new()),
        Err(error) => Outcome::Failed(vec![format!("{error:#}")], String::new()),
    };
    match job {
        Job::Network(file) => network(file, binaries),
        Job::Resources(name) => tally(offline::resources(binaries, name)),
        Job::Selectors => tally(offline::selectors(binaries)),
    }
}

fn network(file: &ScenarioFile, binaries: &Binaries) -> Outcome {
    let scenario = match file.load() {
        Ok(scenario) => scenario,
        Err(error) => return Outcome::Failed(vec![format!("{error:#}")], String::new()),
    };
    if let Some((need, reason)) = missing(&scenario) {
        return if need.is_required() {
            Outcome::Failed(vec![reason], String::new())
        } else {
            Outcome::Skipped(reason)
        };
    }
    match run::run(&scenario, binaries) {
        Ok(()) => Outcome::Passed(1),
        Err(failure) => {
            let mut reasons = failure.reasons;
            reasons.extend(
                scenario
                    .unsure
                    .map(|unsure| format!("the scenario is unsure: {unsure}")),
            );
            Outcome::Failed(reasons, failure.logs)
        }
    }
}

fn report(job: &Job, outcome: &Outcome, began: Instant, count: &mut Count) {
    let seconds = began.elapsed().as_secs_f32();
    let name = job.name();
    match outcome {
        Outcome::Passed(cases) => {
            count.passed += 1;
            let cases = if *cases > 1 {
                format!("{cases} cases, ")
            } else {
                String::new()
            };
            println!("ok     {name} ({cases}{seconds:.1} s)");
        }
        Outcome::Skipped(reason) => {
            count.skipped += 1;
            println!("SKIP   {name}: {reason}");
        }
        Outcome::Failed(reasons, logs) => {
            count.failed += 1;
            println!("FAILED {name} ({seconds:.1} s)");
            reasons
                .iter()
                .for_each(|reason| println!("       {}", reason.replace('\n', "\n       ")));
            print!("{logs}");
        }
    }
}

fn summary(counts: &BTreeMap<String, Count>, began: Instant) -> ExitCode {
    let sum = |of: fn(&Count) -> usize| counts.values().map(of).sum::<usize>();
    println!(
        "\n{:<24}{:>8}{:>8}{:>8}",
        "area", "passed", "failed", "skipped"
    );
    for (area, count) in counts {
        println!(
            "{area:<24}{:>8}{:>8}{:>8}",
            count.passed, count.failed, count.skipped
        );
    }
    let (passed, failed, skipped) = (
        sum(|count| count.passed),
        sum(|count| count.failed),
        sum(|count| count.skipped),
    );
    println!("in {:.0} s", began.elapsed().as_secs_f32());
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Arguments {
    list: bool,
    jobs: usize,
    filters: Vec<String>,
}

impl Arguments {
    /// Options of the standard test harness that mean nothing here are passed over, so that `cargo test -- --nocapture`
    /// works for the whole package.
    fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let mut parsed = Self {
            list: false,
            jobs: 3,
            filters: Vec::new(),
        };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => parsed.list = true,
                "--jobs" | "--test-threads" => {
                    parsed.jobs = arguments
                        .next()
                        .and_then(|jobs| jobs.parse().ok())
                        .unwrap_or(parsed.jobs)
                        .max(1);
                }
                option if option.starts_with('-') => {}
                _ => parsed.filters.push(argument),
            }
        }
        parsed
    }
}
