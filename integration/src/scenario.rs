//! Scenarios of `scenarios/*`: found, run through public interfaces, reported.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::format::{Requirement, Scenario};
use crate::prerequisite::Prerequisite;

pub mod offline;
pub mod run;

/// A scenario file that has not been read yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScenarioFile {
    /// The folder.
    pub area: String,
    /// The file name without its ending.
    pub slug: String,
    path: PathBuf,
}

impl ScenarioFile {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// Where it is not a scenario.
    pub fn load(&self) -> Result<Scenario> {
        let text = std::fs::read_to_string(&self.path)
            .with_context(|| format!("read {}", self.path.display()))?;
        serde_saphyr::from_str(&text).with_context(|| format!("parse {}", self.path.display()))
    }
}

impl std::fmt::Display for ScenarioFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.area, self.slug)
    }
}

/// The folder with the scenarios.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// Every scenario with a network, by area and slug; `invalid/` needs none and is not among them.
///
/// # Errors
///
/// Where the folder cannot be read.
pub fn files() -> Result<Vec<ScenarioFile>> {
    let mut files = Vec::new();
    for area in std::fs::read_dir(folder()).context("list the scenarios")? {
        let area = area?;
        let name = area.file_name().to_string_lossy().into_owned();
        if name == "invalid" || !area.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(area.path())? {
            let path = file?.path();
            if let Some(slug) = path
                .file_stem()
                .filter(|_| path.extension().is_some_and(|ending| ending == "yaml"))
            {
                let slug = slug.to_string_lossy().into_owned();
                files.push(ScenarioFile {
                    area: name.clone(),
                    slug,
                    path,
                });
            }
        }
    }
    files.sort();
    Ok(files)
}

/// What the scenario needs of the machine and does not find, or `None`.
pub fn missing(scenario: &Scenario) -> Option<(Prerequisite, String)> {
    let need = |requirement: &Requirement| match requirement {
        Requirement::Ipv6 => Some(Prerequisite::Ipv6),
        // Raw packets will do.
        Requirement::Sctp => None,
    };
    let mut needs = scenario.requires.iter().filter_map(need);
    needs.find_map(|need| Some((need, need.missing()?)))
}
