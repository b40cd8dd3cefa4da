//! `cargo verify`, `cargo demo` and `cargo bench-all`: what CI runs, what a visitor runs, what a benchmark run prints.
//!
//! Has no dependencies, so that it starts in a moment on a fresh machine. Installs what is missing and says so; never
//! touches the ruleset of the machine.

mod packages;
mod stages;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use stages::Stages;

const USAGE: &str = "usage: cargo verify [--long] | cargo demo [--once] | cargo bench-all [BENCH…]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    // `cargo demo -- --once` hands us the dashes too.
    let rest: Vec<String> = arguments.filter(|argument| argument != "--").collect();
    let result = match task.as_str() {
        "verify" => verify(&rest),
        "demo" => demo(&rest),
        "bench-all" => bench_all(&rest),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Sequences of changes and faults at the node that `--long` runs; `cargo verify` runs some hundreds.
const SEQUENCES: &str = "10000";
/// Seeds of the simulated disk that `--long` runs.
const DISKS: &str = "30000";
/// Kills of a daemon in the middle of its changes that `--long` makes; `cargo verify` makes some thirty.
const KILLS: &str = "150";

/// Everything CI runs, and with `--long` what takes longer. Style stages are all run before the verdict; a build that fails
/// ends it at once.
fn verify(arguments: &[String]) -> Result<(), String> {
    let long = match arguments {
        [] => false,
        [only] if only == "--long" => true,
        _ => return Err(USAGE.to_owned()),
    };
    let mut stages = Stages::new("verify");
    stages.must("packages", || packages::install(&packages::VERIFY))?;
    stages.may_fail("format", cargo(&["fmt", "--all", "--check"]));
    stages.may_fail(
        "clippy",
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    );
    stages.must("build", || run(cargo(&["build", "--workspace", "--bins"])))?;
    stages.must("build tests", || {
        run(cargo(&["test", "--workspace", "--no-run"]))
    })?;
    // The scenarios are one of the tests; they find the binaries of the stage before.
    stages.may_fail(
        "tests and scenarios",
        cargo(&["test", "--workspace", "--no-fail-fast"]),
    );
    if long {
        for (name, file, test, variable, count) in [
            (
                "sequences of faults",
                "it",
                "sequences::",
                "PALISADE_SEEDS",
                SEQUENCES,
            ),
            (
                "simulated disks",
                "it",
                "saved::faults::",
                "PALISADE_SEEDS",
                DISKS,
            ),
            ("kills", "kills", "killed", "PALISADE_KILLS", KILLS),
        ] {
            // The whole workspace, so that nothing is built again; other tests are filtered out by name.
            let mut command = cargo(&["test", "--workspace", "--test", file, "--", test]);
            command.env(variable, count);
            stages.may_fail(name, command);
        }
    }
    stages.finish()
}

/// The sandbox with two protected hosts and a client.
fn demo(arguments: &[String]) -> Result<(), String> {
    packages::install(&packages::BUILD)?;
    println!("building (the first time takes some minutes)");
    run(cargo(&["build", "--workspace", "--bins"]))?;
    run(beside_us("palisade-demo")?.args(arguments))
}

/// Every benchmark, or those named, against release binaries; with those of plugins, what a call costs.
fn bench_all(arguments: &[String]) -> Result<(), String> {
    packages::install(&packages::BUILD)?;
    run(cargo(&["build", "--release", "--workspace", "--bins"]))?;
    let release = folder_beside_us("release")?;
    let mut bench = Command::new(release.join("palisade-bench"));
    run(bench.args(arguments).env("PALISADE_BIN_DIR", release))?;
    let mut named = arguments.iter().filter(|name| !name.starts_with("--"));
    let plugins = |name: &String| name == "plugins" || name == "all";
    if named.clone().next().is_some() && !named.any(plugins) {
        return Ok(());
    }
    println!("\nplugins: cost of a call, ns");
    run(cargo(&[
        "bench",
        "--quiet",
        "--package",
        "palisade-plugin-host",
        "--bench",
        "call_cost",
    ]))
}

/// The cargo that runs us; it keeps `CARGO_TARGET_DIR` as it is.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// A program that cargo built into the folder we are in.
fn beside_us(name: &str) -> Result<Command, String> {
    let us =
        std::env::current_exe().map_err(|error| format!("find the running program: {error}"))?;
    let folder = us.parent().ok_or("a program is in a folder")?;
    Ok(Command::new(folder.join(name)))
}

/// The folder of another profile than ours.
fn folder_beside_us(profile: &str) -> Result<PathBuf, String> {
    let us =
        std::env::current_exe().map_err(|error| format!("find the running program: {error}"))?;
    let target = us
        .parent()
        .and_then(Path::parent)
        .ok_or("a profile is a folder in the target folder")?;
    Ok(target.join(profile))
}

/// Runs a command to its end.
fn run(command: impl std::borrow::BorrowMut<Command>) -> Result<(), String> {
    let mut command = command;
    let command = command.borrow_mut();
    let program = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} ended with {status}")),
        Err(error) => Err(format!("cannot start {program}: {error}")),
    }
}
