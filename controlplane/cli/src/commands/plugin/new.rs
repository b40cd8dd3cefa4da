//! `palisadectl plugin new`: a project that builds by itself.

use crate::failure::Failure;
use anyhow::Context as _;
use palisade_plugin_host::template;
use std::{fs, path::Path};

pub(super) fn run(name: &str) -> Result<u8, Failure> {
    let files = template::rust(name).map_err(|error| Failure::invalid(error.to_string()))?;
    let project = Path::new(name);
    if project.exists() {
        return Err(Failure::error(format!("`{name}` exists already"))
            .hint("choose another name, or go elsewhere"));
    }
    for file in files {
        let path = project.join(file.path);
        let folder = path.parent().unwrap_or(project);
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        fs::write(&path, file.text)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    println!("made `{name}`; next:");
    println!("  cd {name}");
    println!("  palisadectl plugin test");
    println!("  palisadectl plugin push --name {name}");
    Ok(0)
}
