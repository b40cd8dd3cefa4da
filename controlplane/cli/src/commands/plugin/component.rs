//! Components as files: read, verified, and shown.

use crate::{args::Format, failure::Failure, output};
use anyhow::Context as _;
use palisade_plugin_host::{Digest, Kind, Limits, MAX_SIZE, Refusal, Verified, verify};
use serde_json::{Value, json};
use std::{fs::File, io::Read as _, path::Path};

/// Reads a component, and judges it as control plane and nodes do.
pub(super) fn read(file: &Path) -> Result<Verified, Failure> {
    let name = file.display().to_string();
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_SIZE).unwrap_or(u64::MAX);
    File::open(file)
        .and_then(|opened| opened.take(limit + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read `{name}`"))?;
    verify(bytes, None::<Digest>).map_err(|refusal| refused(&refusal).about(&name))
}

pub(super) fn refused(refusal: &Refusal) -> Failure {
    Failure::invalid(refusal.to_string()).hint(refusal.fix())
}

pub(super) fn inspect(file: &Path, format: Format) -> Result<u8, Failure> {
    let verified = read(file)?;
    let facts = facts(&verified);
    match format {
        Format::Json => print!("{}", output::json(&facts)?),
        Format::Name => println!("{}", verified.digest()),
        Format::Yaml | Format::Table | Format::Wide => print!("{}", output::yaml(&facts)?),
    }
    Ok(0)
}

/// What is known of a component without running it.
fn facts(verified: &Verified) -> Value {
    let manifest = verified.manifest();
    let limits = |kind: Kind| {
        let limits = Limits::granted(kind, manifest, palisade_plugin_host::Ceilings::default());
        (
            kind.to_string(),
            json!({"fuel": limits.call.fuel, "memoryMiB": limits.memory >> 20}),
        )
    };
    let kinds = verified.kinds();
    json!({
        "digest": verified.digest().to_string(),
        "size": verified.bytes().len(),
        "kinds": kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>(),
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "limits": kinds.iter().map(limits).collect::<serde_json::Map<_, _>>(),
        "payload": manifest.matcher.payload,
        "sinks": manifest.sinks,
        "metrics": manifest.metrics,
        "imports": verified.imports(),
    })
}
