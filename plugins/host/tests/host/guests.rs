//! Builds the plugins of this repository from source, once for each process, and loads them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use palisade_plugin_host::{Host, HostConfig, Packet, Plugin, Verified, Way, verify};

#[path = "components.rs"]
mod components;
pub(crate) use components::bytes;

/// One host for all tests that need no other.
pub(crate) static HOST: LazyLock<Host> =
    LazyLock::new(|| Host::new(HostConfig::default()).expect("WebAssembly runs here"));

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
