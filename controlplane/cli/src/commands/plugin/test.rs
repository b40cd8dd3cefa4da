//! `palisadectl plugin test`: fixtures against the component, with the engine and limits of a node.

use super::{build, component};
use crate::failure::Failure;
use anyhow::Context as _;
use palisade_plugin_host::{
    Host, HostConfig, Kind, Limits, Options, Plugin,
    fixture::{Fixture, Outcome},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Random numbers that plugins are given begin here, so that a test gives the same twice.
const SEED: u64 = 1;

pub(super) fn run(dir: &Path, file: Option<&Path>, fixtures: &[PathBuf]) -> Result<u8, Failure> {
    let built;
    let file = match file {
        Some(file) => file,
        None => {
            built = build::build(dir)?;
            &built
        }
    };
    let verified = component::read(file)?;
    let host = Host::new(HostConfig {
        seed: Some(SEED),
        ..HostConfig::default()
    });
    let host = host.map_err(|error| Failure::error(error.to_string()))?;
    let plugin = host
        .load(&verified)
        .map_err(|refusal| component::refused(&refusal))?;
    let budget = Limits::granted(
        Kind::Matcher,
        plugin.manifest(),
        Options::default().ceilings,
    )
    .call
    .fuel;
    let mut totals = Totals::default();
    for path in found(dir, fixtures)? {
        let name = path.display().to_string();
        println!("{name}");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{name}`"))?;
        let fixture = Fixture::parse(&text)
            .map_err(|error| Failure::invalid(error.to_string()).about(&name))?;
        run_fixture(&fixture, &plugin, budget, &mut totals)
            .map_err(|failure| failure.about(&name))?;
    }
    let Totals { passed, failed } = totals;
    println!("{passed} passed, {failed} failed");
    Ok(u8::from(failed > 0))
}

/// How many cases went which way.
#[derive(Default)]
struct Totals {
    passed: usize,
    failed: usize,
}

fn run_fixture(
    fixture: &Fixture,
    plugin: &Plugin,
    budget: u64,
    totals: &mut Totals,
) -> Result<(), Failure> {
    if let Err(error) = fixture.validate(plugin) {
        println!("  FAILED  settings: {error}");
        totals.failed += 1;
        return Ok(());
    }
    let outcomes = fixture
        .run(plugin, &Options::default())
        .map_err(|error| Failure::invalid(error.to_string()))?;
    for Outcome {
        name,
        failure,
        fuel,
    } in outcomes
    {
        match failure {
            None => {
                totals.passed += 1;
                println!("  ok      {name}  (fuel {fuel} of {budget})");
            }
            Some(failure) => {
                totals.failed += 1;
                println!("  FAILED  {name}: {failure}");
            }
        }
    }
    Ok(())
}

/// The fixtures that are named, or those of the project; sorted, and at least one.
fn found(dir: &Path, named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let standard = [dir.join("fixtures")];
    let places = if named.is_empty() { &standard } else { named };
    let mut files = Vec::new();
    for place in places {
        if !place.is_dir() {
            files.push(place.clone());
            continue;
        }
        let entries =
            fs::read_dir(place).with_context(|| format!("cannot read `{}`", place.display()))?;
        for entry in entries {
            let path = entry.context("cannot read a folder of fixtures")?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if matches!(extension, Some("yaml" | "yml")) {
                files.push(path);
            }
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(Failure::not_found("there are no fixtures").hint(
            "a plugin without a fixture is not tested: see plugins/README.md for an example",
        )),
        false => Ok(files),
    }
}
