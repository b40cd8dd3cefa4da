//! Plugins of this repository, built from source, once for each process.

use palisade_policy::plugin::{Plugin, PluginDigest, PluginKind, Sink};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

#[path = "../../../plugins/host/tests/host/components.rs"]
mod components;
pub(crate) use components::bytes;

/// Bytes as a view names them.
pub(crate) fn plugin(kind: PluginKind, bytes: &[u8]) -> Plugin {
    Plugin {
        kind,
        digest: digest(bytes),
        size: bytes.len() as u64,
        fuel: match kind {
            PluginKind::Matcher => 2_000_000,
            PluginKind::Auditor => 50_000_000,
        },
        memory: 16 << 20,
        payload: 512,
        settings: String::new(),
        sinks: BTreeMap::new(),
    }
}

/// An auditor whose settings are the deed, and which writes to a file.
pub(crate) fn auditor(bytes: &[u8], deed: &str, path: &Path) -> Plugin {
    let sink = Sink::File {
        path: path.to_string_lossy().into_owned(),
        max_bytes: 1 << 20,
        keep: 1,
    };
    Plugin {
        settings: format!("\"{deed}\""),
        sinks: BTreeMap::from([("file".to_owned(), sink)]),
        ..plugin(PluginKind::Auditor, bytes)
    }
}

/// Puts bytes where a node keeps those that it fetched.
pub(crate) fn keep(state: &Path, bytes: &[u8]) {
    let dir = state.join("plugins");
    palisade_node::durable::make_private_dir(&dir).expect("made");
    std::fs::write(blob(state, bytes), bytes).expect("written");
}

/// Undoes [`keep`].
pub(crate) fn forget(state: &Path, bytes: &[u8]) {
    std::fs::remove_file(blob(state, bytes)).expect("kept");
}

fn blob(state: &Path, bytes: &[u8]) -> PathBuf {
    let hex = digest(bytes).to_string().replace("sha256:", "");
    state.join("plugins").join(format!("{hex}.wasm"))
}

fn digest(bytes: &[u8]) -> PluginDigest {
    PluginDigest(*palisade_plugin_host::Digest::of(bytes).as_bytes())
}
