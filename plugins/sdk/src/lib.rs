//! Write a Palisade plugin in Rust.
//!
//! A *matcher* is a condition of a rule: it sees a packet and says whether it meets the condition. An *auditor* sees
//! what happened, in batches, and keeps, discards, amends or reports. Both are WebAssembly components that the node runs
//! with limits on time and memory and with no access to files, network or environment.
//!
//! A matcher, whole:
//!
//! ```
//! use palisade_plugin::matcher::{Answer, Matcher, Packet};
//! use palisade_plugin::{Problem, settings};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     longer_than: u32,
//! }
//!
//! /// Matches packets with more payload than the settings say.
//! struct Long(Settings);
//!
//! impl Matcher for Long {
//!     fn configure(text: &str) -> Result<Self, Vec<Problem>> {
//!         settings::parse(text).map(Self)
//!     }
//!
//!     fn evaluate(&mut self, packet: &Packet) -> Answer {
//!         if packet.payload_length > self.0.longer_than {
//!             Answer::Match(0)
//!         } else {
//!             Answer::NoMatch(0)
//!         }
//!     }
//! }
//!
//! # macro_rules! only_in_a_component { ($($body:tt)*) => {} }
//! # only_in_a_component! {
//! palisade_plugin::matcher!(Long);
//! # }
//! # fn main() {}
//! ```
//!
//! The macro exports the type and embeds `plugin.yaml`, which stands beside `Cargo.toml`:
//!
//! ```yaml
//! name: long
//! version: 0.1.0
//! description: matches packets with much payload
//! ```
//!
//! The crate is a `cdylib` and is built by `cargo build --release --target wasm32-wasip2`.
//!
//! A panic ends the instance, not the node: the rule's failure policy decides that packet, the message is logged, and a
//! fresh instance takes over. A plugin that keeps failing is set aside for a while.
//!
//! Types and the calls of [`node`], [`state`](mod@state) and [`sinks`] are those of the contract, `wit/palisade.wit`; their documentation is
//! there, and here.

#[doc(hidden)]
#[path = "bindings.rs"]
pub mod __bindings;
#[doc(hidden)]
pub use wit_bindgen::rt as __runtime;

pub mod auditor;
pub mod matcher;
pub mod node;
pub mod settings;
pub mod sinks;
pub mod state;

pub use __bindings::settings::palisade::plugin::types::{
    EndpointId, Field, Icmp, InterfaceId, IpAddress, Problem, RuleId, Way,
};

// The code that wit-bindgen generates names the crate from outside.
extern crate self as palisade_plugin;

mod address;

/// Embeds `plugin.yaml` of the crate that calls it as the custom section in which the host looks for it.
#[doc(hidden)]
#[macro_export]
macro_rules! __manifest {
    () => {
        const _: () = {
            const TEXT: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.yaml"));
            #[cfg(target_family = "wasm")]
            #[used]
            #[unsafe(link_section = "palisade:manifest")]
            static MANIFEST: [u8; TEXT.len()] = {
                let mut bytes = [0; TEXT.len()];
                bytes.copy_from_slice(TEXT);
                bytes
            };
        };
    };
}
