//! From bytes on disk to compiled code: verified again on this node, whatever the control plane verified.

use super::blobs::Blobs;
use palisade_plugin_host::{Cache, Digest, Host, HostConfig, Kind, Plugin, Refusal, verify};
use palisade_policy::plugin::{self, PluginDigest, PluginKind};
use std::{collections::BTreeSet, fs, io, path::Path};

/// What came of it.
#[derive(Debug)]
pub enum Loaded {
    /// It can be called.
    Ready(Plugin),
    /// Its bytes are not here, or were not what their name says.
    Absent,
    /// It cannot run here, until it is changed.
    Refused(String),
}

/// The engine, with the compiled code that this node wrote. Without a usable directory everything is compiled anew.
///
/// # Errors
/// What keeps WebAssembly from running on this machine.
pub fn host(code: &Path) -> Result<Host, palisade_plugin_host::HostError> {
    let cache = Cache::open(code)
        .inspect_err(|err| tracing::warn!(%err, "compiled plugins are not kept"))
        .ok();
    Host::new(HostConfig {
        cache,
        ..HostConfig::default()
    })
}

/// Removes the compiled code of plugins that the view does not name: it is made anew when one does, and would stay for
/// ever otherwise.
///
/// # Errors
/// Those of the file system.
pub fn retain_code(code: &Path, wanted: &BTreeSet<PluginDigest>) -> io::Result<()> {
    if !fs::exists(code)? {
        return Ok(());
    }
    let wanted: Vec<_> = wanted
        .iter()
        .map(|digest| Digest::from_bytes(digest.0))
        .collect();
    let cache = Cache::open(code).map_err(io::Error::other)?;
    cache.retain(&wanted)
}

/// Loads a plugin. Compiling takes from milliseconds to seconds.
///
/// # Errors
/// Those of the file system.
pub fn load(host: &Host, blobs: &Blobs, wanted: &plugin::Plugin) -> io::Result<Loaded> {
    let Some(bytes) = blobs.read(&wanted.digest, wanted.size)? else {
        return Ok(Loaded::Absent);
    };
    let expected = Digest::from_bytes(wanted.digest.0);
    let verified = match verify(bytes, Some(expected)) {
        Ok(verified) => verified,
        Err(refusal @ Refusal::Altered { .. }) => {
            tracing::warn!(%refusal, "the bytes of a plugin are discarded");
            blobs.discard(&wanted.digest)?;
            return Ok(Loaded::Absent);
        }
        Err(refusal) => return Ok(Loaded::Refused(refusal.to_string())),
    };
    let kind = match wanted.kind {
        PluginKind::Matcher => Kind::Matcher,
        PluginKind::Auditor => Kind::Auditor,
    };
    if !verified.kinds().has(kind) {
        return Ok(Loaded::Refused(format!("it is no {kind}")));
    }
    Ok(match host.load(&verified) {
        Ok(plugin) => Loaded::Ready(plugin),
        Err(refusal) => Loaded::Refused(refusal.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_plugins_that_the_view_names_stays() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let code = dir.path().join("code");
        let (named, gone) = (PluginDigest([1; 32]), PluginDigest([2; 32]));
        retain_code(&code, &BTreeSet::from([named])).expect("nothing to do");
        assert!(!code.exists());
        Cache::open(&code).expect("made");
        let file = |digest: PluginDigest| {
            let hex = Digest::from_bytes(digest.0).hex();
            code.join(format!("{hex}-engine"))
        };
        for digest in [named, gone] {
            fs::write(file(digest), b"code").expect("written");
        }
        retain_code(&code, &BTreeSet::from([named])).expect("retained");
        assert!(file(named).exists());
        assert!(!file(gone).exists());
        Cache::open(&code).expect("the key stays");
    }
}
