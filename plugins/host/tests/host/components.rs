//! The plugins of this repository as components, built from source once for each process: for the tests of every crate
//! that runs them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// Every plugin that is built here.
const PACKAGES: [&str; 4] = ["dns-suffix", "redact", "misbehave", "misbehave-auditor"];

const TARGET: &str = "wasm32-wasip2";

static FOLDER: LazyLock<PathBuf> = LazyLock::new(build);

/// The bytes of a plugin.
pub(crate) fn bytes(package: &str) -> Vec<u8> {
    let file = FOLDER.join(format!("{}.wasm", package.replace('-', "_")));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn build() -> PathBuf {
    let target_folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins");
    for package in PACKAGES {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            // Any folder of the workspace will do.
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["rustc", "--quiet", "--locked", "--profile", "plugin"])
            .args(["--package", package, "--lib", "--crate-type", "cdylib"])
            .args(["--target", TARGET, "--target-dir"])
            .arg(&target_folder);
        // What the outer cargo sets for this build is not for that one.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            cargo.env_remove(name);
        }
        let status = cargo.status().expect("cargo runs");
        assert!(
            status.success(),
            "{package} does not build; if the target is missing: rustup target add {TARGET}"
        );
    }
    target_folder.join(TARGET).join("plugin")
}
