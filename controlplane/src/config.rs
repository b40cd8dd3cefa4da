//! What the command line says.

use crate::plugins::room::Room;
use clap::{Parser, ValueEnum};
use std::{net::SocketAddr, path::PathBuf};

/// The control plane of Palisade.
#[derive(Parser, Clone, Debug)]
#[command(name = "palisade-controlplane", version, about)]
pub struct Config {
    /// Folder of the store, the certificate authority and `admin.yaml`; made at the first start.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Where the API and the nodes' streams are served (mutual TLS).
    #[arg(long, value_name = "A:P", default_value = "0.0.0.0:7600")]
    pub listen: SocketAddr,
    /// Where machines enrol (TLS); port 7601 of the address of --listen unless given.
    #[arg(long, value_name = "A:P")]
    pub enroll_listen: Option<SocketAddr>,
    /// Where metrics and health are served (HTTP, without authentication).
    #[arg(long, value_name = "A:P", default_value = "127.0.0.1:7602")]
    pub http_listen: SocketAddr,
    /// Names and addresses that clients reach this server by; they go into its certificate, the first into `admin.yaml`.
    #[arg(long, value_name = "HOST,…", value_delimiter = ',')]
    pub advertise: Vec<String>,
    /// Engine of the store.
    #[arg(long, value_enum, default_value_t = Engine::Redb)]
    pub store: Engine,
    /// How long a component that no Plugin names is kept, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_unused_plugins: u64,
    /// The most components of plugins that are stored.
    #[arg(long, value_name = "COUNT", default_value_t = 256)]
    pub max_plugins: usize,
    /// The most room that they take together, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub max_plugin_mib: u64,
    /// What to log: `error`, `warn`, `info`, `debug`, `trace`, or directives per module.
    #[arg(
        long,
        value_name = "FILTER",
        env = "PALISADE_LOG",
        default_value = "info"
    )]
    pub log: String,
}

/// An engine of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Engine {
    /// Embedded, one process.
    Redb,
}

// === impl Config ===

impl Config {
    /// Room for components of plugins.
    pub fn plugin_room(&self) -> Room {
        Room {
            count: self.max_plugins,
            bytes: self.max_plugin_mib.saturating_mul(1 << 20),
        }
    }

    /// Where machines enrol.
    pub fn enroll_listen(&self) -> SocketAddr {
        self.enroll_listen
            .unwrap_or_else(|| SocketAddr::new(self.listen.ip(), 7601))
    }
}
