//! The hosts of most benchmarks: one that is protected, and a client.

use std::net::Ipv4Addr;

/// As scenarios write it.
pub(crate) const TOPOLOGY: &str = "
hosts:
  - name: host0
    protected: true
    interfaces: [{name: eth0, address: 10.77.0.2/24}]
  - name: client
    interfaces: [{name: eth0, address: 10.77.0.1/24}]
";
/// The protected one, `host0`.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// Who sends to it; the same wherever there are more hosts.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
