//! The scenario format of `scenarios/FORMAT.md` as types. Strict: an unknown key is an error.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

mod probe;
mod protocol;

pub use probe::Probe;
pub use protocol::{Name, Protocol};

/// One scenario file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One sentence.
    pub name: String,
    /// The folder.
    pub area: String,
    /// Where the expectation comes from.
    pub source: String,
    /// What the machine must be able to do.
    #[serde(default)]
    pub requires: Vec<Requirement>,
    /// Why the expectation could be argued with.
    pub unsure: Option<String>,
    /// Built-in exemptions to switch off, as `PalisadeConfiguration` spells them.
    pub exemptions: Option<BTreeMap<String, bool>>,
    /// The network.
    pub topology: Topology,
    /// The spec of `FelixConfiguration` `default` at the start.
    pub config: Option<serde_json::Value>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// A capability a scenario names in `requires`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// The kernel speaks IPv6.
    Ipv6,
    /// The kernel speaks SCTP.
    Sctp,
}

/// The network of a scenario.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// One namespace each.
    pub hosts: Vec<Host>,
}

/// A host: one namespace.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Also the node name in resources.
    pub name: String,
    /// Node labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Links to segments.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Runs the node daemon.
    #[serde(default)]
    pub protected: bool,
    /// Namespaces behind a veth of this host.
    #[serde(default)]
    pub workloads: Vec<Workload>,
    /// Servers that answer.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// IP forwarding, both families.
    #[serde(default)]
    pub forwards: bool,
    /// Static routes.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Destination translation outside the product.
    #[serde(default)]
    pub nat: Vec<Nat>,
    /// The host's own firewall, later than the product's.
    pub firewall: Option<Firewall>,
}

/// One end of a link to a segment.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Its name in the host.
    pub name: String,
    /// IPv4 address with prefix length.
    pub address: Option<IpNet>,
    /// IPv6 address with prefix length.
    pub address6: Option<IpNet>,
    /// Interfaces of one segment share a bridge.
    #[serde(default = "lan")]
    pub segment: String,
    /// More addresses of either family.
    #[serde(default)]
    pub extra_addresses: Vec<IpNet>,
}

impl Interface {
    /// Every address of the interface, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.address
            .into_iter()
            .chain(self.address6)
            .chain(self.extra_addresses.iter().copied())
    }
}

/// A namespace behind a veth of its host.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Names it in probes.
    pub name: String,
    /// The host's side of the veth.
    pub interface: String,
    /// IPv4 address.
    pub address: Option<IpNet>,
    /// IPv6 address.
    pub address6: Option<IpNet>,
    /// Servers that answer.
    #[serde(default)]
    pub listeners: Vec<Listener>,
}

/// A server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// What it speaks.
    pub proto: Protocol,
    /// Its port, where the protocol has ports.
    #[serde(default)]
    pub port: u16,
}

/// A static route.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Destination, or `default`.
    pub to: String,
    /// Next hop.
    pub via: IpAddr,
}

/// A destination translation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nat {
    /// TCP or UDP.
    pub proto: Protocol,
    /// The address that is translated.
    pub address: IpAddr,
    /// The port that is translated.
    pub port: u16,
    /// `addr:port` it becomes.
    pub to: std::net::SocketAddr,
    /// Where it happens.
    #[serde(default)]
    pub hook: NatHook,
}

/// Where a destination translation happens.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NatHook {
    /// Packets that come in.
    #[default]
    Prerouting,
    /// Packets the host itself sends.
    Output,
}

/// The host's own firewall.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// What happens to new input that reaches it.
    pub input: FirewallInput,
}

/// What the host's own firewall does.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirewallInput {
    /// Drops new input.
    Drop,
}

/// One step of a scenario.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// For people.
    pub note: Option<String>,
    /// Changes outside the product.
    pub network: Vec<NetworkChange>,
    /// YAML to apply.
    pub apply: Option<String>,
    /// `Kind/name` or `Kind/namespace/name`.
    pub delete: Vec<String>,
    /// Probes.
    pub expect: Vec<Probe>,
    /// Connections opened now and kept.
    pub open: Vec<Open>,
    /// Whether open connections still carry data.
    pub established: Vec<Established>,
    /// Kernel log lines; optional for a harness, and not checked by this one.
    pub expect_log: Vec<serde_json::Value>,
}

/// A change of the network outside the product. Exactly one of the optional actions is set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkChange {
    /// Host or workload.
    pub host: String,
    /// Where `add` and `remove` happen.
    pub interface: Option<String>,
    /// An address to add.
    pub add: Option<IpNet>,
    /// An address to remove.
    pub remove: Option<IpNet>,
    /// An interface to make.
    pub create_interface: Option<String>,
    /// The segment of the new interface.
    pub segment: Option<String>,
    /// The address of the new interface.
    pub address: Option<IpNet>,
    /// Forget what addresses neighbours have.
    #[serde(default)]
    pub flush_neighbours: bool,
}

/// A connection opened and kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Names it in `established`.
    pub id: String,
    /// Who opens it.
    pub from: String,
    /// Who answers.
    pub to: String,
    /// TCP or UDP.
    pub proto: Protocol,
    /// Destination port.
    pub port: u16,
}

/// Whether an open connection still carries data both ways.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Established {
    /// Which.
    pub id: String,
    /// The expectation.
    pub flows: bool,
}

fn lan() -> String {
    "lan".to_owned()
}
