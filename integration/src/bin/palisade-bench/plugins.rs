//! What plugins cost, with the real daemons: new connections a second where rules ask, and events a second where an
//! auditor reads.

mod connections;
mod cores;
mod events;
mod flows;
mod metrics;
mod noop;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use palisade_integration::guests;
use palisade_integration::prerequisite::Prerequisite;
use palisade_integration::product::{Deployment, Palisadectl};

use crate::Effort;

/// Until nodes have a plugin that was just pushed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs and prints.
pub(crate) fn run(effort: Effort) -> Result<()> {
    if let Some(reason) = Prerequisite::Binaries.missing() {
        println!("\nSKIPPED plugins: {reason}");
        return Ok(());
    }
    connections::run(effort)?;
    events::run(effort)
}

/// Builds a plugin of this repository and uploads it; its digest.
fn push(deployment: &Deployment, package: &str) -> Result<String> {
    let file = guests::build(package)?;
    let file = file.to_str().context("a path that is text")?;
    let pushed = deployment
        .palisadectl()
        .run(&["plugin", "push", file], "")?;
    Ok(pushed.success()?.trim().to_owned())
}

/// Until every node has every plugin.
fn wait_until_active(palisadectl: &Palisadectl) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let printed = palisadectl
            .run(&["plugin", "status", "-o", "json"], "")?
            .success()?;
        let status: serde_json::Value =
            serde_json::from_str(&printed).context("read the status of plugins")?;
        let status = status.as_array().context("a list of plugins")?;
        if !status.is_empty() && status.iter().all(|one| one["state"] == "active") {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("plugins are not active after {PATIENCE:?}:\n{printed}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
