//! The example plugins of this repository, built from source as for release.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

const PACKAGES: [&str; 2] = ["dns-suffix", "redact"];
const TARGET: &str = "wasm32-wasip2";

/// Where they are.
pub(super) struct Components(PathBuf);

impl Components {
    /// Builds them, with the cargo that runs us; what an earlier run built is used again.
    pub(super) fn build() -> Result<Self> {
        let us = std::env::current_exe().context("find the running program")?;
        let target_folder = us.with_file_name("components");
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("we are in integration")?;
        for package in PACKAGES {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut command = Command::new(cargo);
            command
                .current_dir(workspace)
                .args(["rustc", "--quiet", "--locked", "--profile", "plugin"])
                .args(["--package", package, "--lib", "--crate-type", "cdylib"])
                .args(["--target", TARGET, "--target-dir"])
                .arg(&target_folder);
            let status = command.status().context("start cargo")?;
            ensure!(
                status.success(),
                "{package} does not build; if the target is missing: rustup target add {TARGET}"
            );
        }
        Ok(Self(target_folder.join(TARGET).join("plugin")))
    }

    /// The component of a package.
    pub(super) fn file(&self, package: &str) -> PathBuf {
        self.0.join(format!("{}.wasm", package.replace('-', "_")))
    }
}
