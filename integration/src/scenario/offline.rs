//! The cases that need no network: resources to accept or refuse, and expressions against labels, each put to
//! `palisadectl` on its own.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::folder;
use crate::product::{Binaries, Output, Palisadectl};

/// How many cases of a group came out right, and what came out wrong.
#[derive(Debug, Default)]
pub struct Tally {
    /// Right.
    pub passed: usize,
    /// One line each.
    pub wrong: Vec<String>,
}

#[derive(Deserialize)]
struct File<C> {
    cases: Vec<C>,
}

#[derive(Deserialize)]
struct ResourceCase {
    resource: Option<serde_json::Value>,
    raw: Option<String>,
    reject: bool,
    why: String,
    unsure: Option<String>,
}

#[derive(Deserialize)]
struct SelectorCase {
    selector: String,
    labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "match")]
    matches: Option<bool>,
    error: Option<bool>,
}

/// Every case of `selectors.yaml`.
///
/// # Errors
///
/// Where the file cannot be read or `palisadectl` not be started.
pub fn selectors(binaries: &Binaries) -> Result<Tally> {
    let palisadectl = Palisadectl::offline(binaries);
    let file: File<SelectorCase> = read("selectors.yaml")?;
    let mut tally = Tally::default();
    for case in file.cases {
        let wanted = match (case.error, case.matches) {
            (Some(true), _) => 2,
            (_, Some(true)) => 0,
            (_, Some(false)) => 3,
            _ => bail!(
                "`{}` says neither what it matches nor that it is invalid",
                case.selector
            ),
        };
        let labels = serde_json::to_string(&case.labels.unwrap_or_default())?;
        let output =
            palisadectl.run(&["selector", "--labels", &labels, "--", &case.selector], "")?;
        tally.count(&output, wanted, || {
            format!("selector `{}` on {labels}", case.selector)
        });
    }
    Ok(tally)
}

/// Every case of one file of `invalid/`, named without its ending.
///
/// # Errors
///
/// As [`selectors`].
pub fn resources(binaries: &Binaries, name: &str) -> Result<Tally> {
    let palisadectl = Palisadectl::offline(binaries);
    let file: File<ResourceCase> = read(&format!("invalid/{name}.yaml"))?;
    let mut tally = Tally::default();
    for case in file.cases {
        let text = match (&case.resource, case.raw) {
            (_, Some(raw)) => raw,
            (Some(resource), None) => resource.to_string(),
            (None, None) => bail!("`{}` has no resource", case.why),
        };
        let output = palisadectl.run(&["validate", "-f", "-"], &text)?;
        let wanted = if case.reject { 2 } else { 0 };
        let doubt = case
            .unsure
            .map(|unsure| format!(" (unsure: {unsure})"))
            .unwrap_or_default();
        tally.count(&output, wanted, || {
            format!("{}{doubt}: {}", case.why, text.trim())
        });
    }
    Ok(tally)
}

/// The files of `invalid/`, without their ending.
///
/// # Errors
///
/// Where the folder cannot be listed.
pub fn resource_files() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder().join("invalid")).context("list the invalid resources")? {
        let path = file?.path();
        names.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

impl Tally {
    fn count(&mut self, output: &Output, wanted: i32, case: impl FnOnce() -> String) {
        if output.code == Some(wanted) {
            self.passed += 1;
        } else {
            let code = output
                .code
                .map_or_else(|| "a signal".to_owned(), |code| code.to_string());
            let said = output
                .stderr
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or_default();
            self.wrong.push(format!(
                "{}: exit {code} instead of {wanted} {said}",
                case()
            ));
        }
    }
}

fn read<C: for<'de> Deserialize<'de>>(name: &str) -> Result<File<C>> {
    let text =
        std::fs::read_to_string(folder().join(name)).with_context(|| format!("read {name}"))?;
    serde_saphyr::from_str(&text).with_context(|| format!("parse {name}"))
}
