//! The engine: how WebAssembly is compiled and stopped. One for each process.

mod ticker;

use std::sync::Arc;

use wasmtime::{Config, Engine};

use crate::cache::Cache;
use crate::health::BackOff;
use crate::plugin::Plugin;
use crate::verify::{Refusal, Verified};

pub(crate) use ticker::Ticker;

/// What a process sets once for all its plugins.
#[derive(Debug, Default)]
pub struct HostConfig {
    /// Where compiled code is kept between starts; `None`: nowhere.
    pub cache: Option<Cache>,
    /// When a plugin that keeps failing is set aside.
    pub back_off: BackOff,
    /// Beginning of the random numbers that instances are given; `None`: another one for each instance.
    pub seed: Option<u64>,
}

/// The engine could not be made: the machine does not fit.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// WebAssembly cannot be compiled for this machine, or run on it.
    #[error("WebAssembly does not run on this machine: {reason}")]
    Engine {
        /// Why.
        reason: String,
    },
    /// No thread for the clock of the deadlines.
    #[error("no thread for the deadlines of plugins: {0}")]
    Thread(#[source] std::io::Error),
}

/// Loads plugins. Cheap to clone; clones are one host.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) ticker: Ticker,
    pub(crate) config: HostConfig,
}

impl Host {
    /// Makes the engine. Needs no other thread until a plugin is called, and wakes for none while none is.
    ///
    /// # Errors
    ///
    /// Where the machine does not fit.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        let engine = Engine::new(&settings()).map_err(|error| HostError::Engine {
            reason: format!("{error:#}"),
        })?;
        let ticker = Ticker::start(engine.clone()).map_err(HostError::Thread)?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                ticker,
                config,
            }),
        })
    }

    /// Compiles a component, or takes its compiled code from the cache, and links it.
    ///
    /// Compiling takes some tens of milliseconds for a plugin in Rust or C, and seconds for one in a scripting language:
    /// not for a thread that packets wait for.
    ///
    /// # Errors
    ///
    /// [`Refusal::Compile`] and [`Refusal::Types`].
    pub fn load(&self, verified: &Verified) -> Result<Plugin, Refusal> {
        Plugin::load(&self.inner, verified)
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

/// The same on every node, so that a plugin that passes its author's tests runs here. DESIGN.md says why each.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(256 << 10)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_component_model(true)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false)
        .shared_memory(false)
        .concurrency_support(false);
    config
}
