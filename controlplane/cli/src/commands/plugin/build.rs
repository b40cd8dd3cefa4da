//! `palisadectl plugin build`: cargo for the target of components, then the checks that the control plane makes.

use super::component;
use crate::failure::Failure;
use anyhow::Context as _;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What components are built for.
const TARGET: &str = "wasm32-wasip2";

pub(super) fn run(dir: &Path) -> Result<u8, Failure> {
    let file = build(dir)?;
    let verified = component::read(&file)?;
    println!("{}", file.display());
    println!("{}", verified.digest());
    Ok(0)
}

/// Builds the project, and gives the component.
pub(super) fn build(dir: &Path) -> Result<PathBuf, Failure> {
    if !dir.join("Cargo.toml").is_file() {
        let message = format!("`{}` is no project: it has no Cargo.toml", dir.display());
        return Err(Failure::invalid(message)
            .hint("go to the project's folder, or make one with `palisadectl plugin new`"));
    }
    let output = Command::new("cargo")
        .args(["build", "--release", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")
        .map_err(|error| Failure::from(error).hint("install Rust: https://rustup.rs"))?;
    if !output.status.success() {
        return Err(Failure::error("the project does not build").hint(format!(
            "if the target is missing: rustup target add {TARGET}"
        )));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = messages.lines().filter_map(artifact).next_back();
    built.ok_or_else(|| {
        Failure::error("cargo built no component")
            .hint("the library needs `crate-type = [\"cdylib\"]`")
    })
}

/// The WebAssembly file of a message of cargo, if it is about one.
fn artifact(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message.get("reason")? != "compiler-artifact" {
        return None;
    }
    let files = message.get("filenames")?.as_array()?;
    let mut files = files.iter().filter_map(Value::as_str);
    files
        .find(|file| file.ends_with(".wasm"))
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_found_among_what_cargo_says() {
        let line = r#"{"reason":"compiler-artifact","filenames":["/t/liba.rlib","/t/a.wasm"]}"#;
        assert_eq!(artifact(line), Some(PathBuf::from("/t/a.wasm")));
        for other in [
            r#"{"reason":"compiler-artifact","filenames":["/t/liba.rlib"]}"#,
            r#"{"reason":"build-finished","success":true}"#,
            "no JSON",
        ] {
            assert_eq!(artifact(other), None, "{other}");
        }
    }
}
