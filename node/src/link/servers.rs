//! Where the control plane is: resolved addresses, remembered across restarts.
//!
//! The exemption of the control plane's connection is part of the ruleset that a node enforces before it has a network,
//! so the addresses resolved last are kept beside the view.

use crate::{arguments::Server, durable};
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

const FILE: &str = "servers";

/// Remembers addresses in the state directory.
#[derive(Clone, Debug)]
pub struct Remembered {
    path: PathBuf,
    server: Server,
}

impl Remembered {
    /// In this directory, of this server.
    pub fn new(dir: &Path, server: &Server) -> Self {
        Self {
            path: dir.join(FILE),
            server: server.clone(),
        }
    }

    /// The addresses to begin with, without asking anybody. Sorted; empty if none were ever resolved.
    pub fn load(&self) -> Vec<SocketAddr> {
        if let Ok(address) = self.server.host.parse::<IpAddr>() {
            return vec![SocketAddr::new(address, self.server.port)];
        }
        let content = durable::read(&self.path).ok().flatten().unwrap_or_default();
        let text = String::from_utf8_lossy(&content);
        let mut lines = text.lines();
        if lines.next() != Some(self.server.to_string().as_str()) {
            return Vec::new();
        }
        let mut addresses: Vec<_> = lines.filter_map(|line| line.parse().ok()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Keeps the addresses, where they are not those of the server's own text.
    pub fn save(&self, addresses: &[SocketAddr]) {
        if self.server.host.parse::<IpAddr>().is_ok() {
            return;
        }
        let mut text = format!("{}\n", self.server);
        for address in addresses {
            text.push_str(&address.to_string());
            text.push('\n');
        }
        if let Err(err) = durable::replace(&self.path, text.as_bytes()) {
            tracing::warn!(%err, "addresses of the control plane not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str) -> Server {
        Server {
            host: host.into(),
            port: 7600,
        }
    }

    #[test]
    fn an_address_needs_no_memory_and_a_name_has_one_of_its_own() {
        let dir = tempfile::tempdir().expect("tempdir");
        let literal: SocketAddr = "10.0.0.1:7600".parse().expect("address");
        assert_eq!(
            Remembered::new(dir.path(), &server("10.0.0.1")).load(),
            [literal]
        );
        let named = Remembered::new(dir.path(), &server("control.example"));
        assert_eq!(named.load(), []);
        named.save(&[literal]);
        assert_eq!(named.load(), [literal]);
        assert_eq!(
            Remembered::new(dir.path(), &server("other.example")).load(),
            []
        );
    }
}
