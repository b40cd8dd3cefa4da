//! The benchmarks: each prints one table, with a floor or a peer measured in the same run beside it.
//!
//! Nothing here asserts a time. Everything happens in network namespaces of its own; the ruleset of the machine is
//! never touched.
#![forbid(unsafe_code)]

mod burst;
mod change;
mod commit;
mod figures;
mod hosts;
mod packets;
mod plugins;
mod table;
mod world;

use std::process::ExitCode;

use anyhow::{Result, bail};
use palisade_integration::prerequisite::Prerequisite;

const USAGE: &str =
    "usage: palisade-bench [packets|commit|change|plugins|all]… [--quick] [--large]";

/// How much is measured.
#[derive(Clone, Copy, Debug, Default)]
struct Effort {
    /// Fewer rounds, rougher figures.
    quick: bool,
    /// The largest worlds too.
    large: bool,
}

type Bench = fn(Effort) -> Result<()>;

/// In the order in which they run.
const BENCHES: [(&str, Bench); 4] = [
    ("packets", packets::run),
    ("commit", commit::run),
    ("change", change::run),
    ("plugins", plugins::run),
];

fn main() -> ExitCode {
    let mut effort = Effort::default();
    let mut chosen = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => effort.quick = true,
            "--large" => effort.large = true,
            "all" => chosen.extend(BENCHES.map(|(name, _)| name.to_owned())),
            name if BENCHES.iter().any(|(known, _)| *known == name) => chosen.push(argument),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    match run(&chosen, effort) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chosen: &[String], effort: Effort) -> Result<()> {
    if let Some(reason) = Prerequisite::Netns.missing() {
        bail!("benchmarks cannot run here: {reason}");
    }
    if cfg!(debug_assertions) {
        println!("(not a release build: what Palisade itself computes is slower than it is)");
    }
    for (name, bench) in BENCHES {
        if chosen.is_empty() || chosen.iter().any(|wanted| wanted == name) {
            bench(effort)?;
        }
    }
    Ok(())
}
