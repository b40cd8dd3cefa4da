//! Builds the plugins of this repository from source, once for each process, and loads them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use palisade_plugin_host::{Host, HostConfig, Packet, Plugin, Verified, Way, verify};

/// Every plugin that is built here.
const PACKAGES: [&str; 4] = ["dns-suffix", "redact", "misbehave", "misbehave-auditor"];

const TARGET: &str = "wasm32-wasip2";

/// One host for all tests that need no other.
pub(crate) static HOST: LazyLock<Host> =
    LazyLock::new(|| Host::new(HostConfig::default()).expect("WebAssembly runs here"));

static FOLDER: LazyLock<PathBuf> = LazyLock::new(build);

/// The bytes of a plugin.
pub(crate) fn bytes(package: &str) -> Vec<u8> {
    let file = FOLDER.join(format!("{}.wasm", package.replace('-', "_")));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A plugin, verified.
pub(crate) fn verified(package: &str) -> Verified {
    verify(bytes(package), None).unwrap_or_else(|refusal| panic!("{package}: {refusal}"))
}

/// A plugin in [`HOST`], compiled once for each process.
pub(crate) fn plugin(package: &'static str) -> Plugin {
    static LOADED: Mutex<BTreeMap<&str, Plugin>> = Mutex::new(BTreeMap::new());
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    loaded
        .entry(package)
        .or_insert_with(|| HOST.load(&verified(package)).expect("it fits the contract"))
        .clone()
}

/// A packet with a payload; other tests change the rest.
pub(crate) fn packet(payload: &[u8]) -> Packet<'_> {
    Packet {
        way: Way::Output,
        protocol: 17,
        source: IpAddr::from([192, 0, 2, 1]),
        destination: IpAddr::from([192, 0, 2, 53]),
        source_port: 40_000,
        destination_port: 53,
        icmp: None,
        in_interface: None,
        out_interface: None,
        source_endpoint: None,
        destination_endpoint: None,
        time_ms: 1_700_000_000_123,
        payload,
        payload_length: u32::try_from(payload.len()).expect("short"),
    }
}

fn build() -> PathBuf {
    let target_folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("we are in plugins/host");
    for package in PACKAGES {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(workspace)
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

/// What a plugin told the node around it.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<String>>);

impl Told {
    /// All of it so far, in order.
    pub(crate) fn so_far(self: &Arc<Self>) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn add(&self, text: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text);
    }
}
