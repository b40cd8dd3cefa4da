//! Plugins of this repository as components, built from source: what a test or the demonstration uploads.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What components are built for.
const TARGET: &str = "wasm32-wasip2";

/// Builds a package and gives its component. What was built before is kept.
///
/// # Errors
///
/// Where it does not build, with what to install.
pub fn build(package: &str) -> Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("integration is a folder of the workspace")?;
    let folder = folder()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["rustc", "--quiet", "--locked", "--profile", "plugin"])
        .args(["--package", package, "--lib", "--crate-type", "cdylib"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&folder);
    // What the outer cargo sets for its build is not for this one.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    let status = command.status().context("start cargo")?;
    if !status.success() {
        bail!("{package} does not build; if the target is missing: rustup target add {TARGET}");
    }
    let file = format!("{}.wasm", package.replace('-', "_"));
    Ok(folder.join(TARGET).join("plugin").join(file))
}

/// Where the tests of other crates build plugins too: below cargo's folder that the running program is in.
fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find the running program")?;
    let profile = program
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"))
        .context("a program is in a folder")?;
    let target = profile.parent().context("a profile is in a folder")?;
    Ok(target.join("tmp").join("plugins"))
}
