//! Where the product's binaries are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The three binaries under test.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `palisade-controlplane`.
    pub controlplane: PathBuf,
    /// `palisade-node`.
    pub node: PathBuf,
    /// `palisadectl`.
    pub palisadectl: PathBuf,
}

impl Binaries {
    /// Finds them in `PALISADE_BIN_DIR`, else where cargo puts them beside the running program.
    ///
    /// # Errors
    ///
    /// Where one is missing, with how to build it.
    pub fn find() -> Result<Self> {
        let folder = match std::env::var_os("PALISADE_BIN_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => {
                let program = std::env::current_exe().context("find the running program")?;
                let folder = program.parent().context("a program is in a folder")?;
                // Tests are one folder deeper than binaries.
                let deeper = folder.file_name().is_some_and(|name| name == "deps");
                if deeper {
                    folder.parent().unwrap_or(folder)
                } else {
                    folder
                }
                .to_owned()
            }
        };
        Ok(Self {
            controlplane: existing(&folder, "palisade-controlplane")?,
            node: existing(&folder, "palisade-node")?,
            palisadectl: existing(&folder, "palisadectl")?,
        })
    }
}

fn existing(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    if !path.is_file() {
        bail!(
            "{} is not built; run `cargo build --workspace --bins` or set PALISADE_BIN_DIR",
            path.display()
        );
    }
    Ok(path)
}
