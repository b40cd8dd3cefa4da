//! The scenario format of `scenarios/FORMAT.md` as types. Strict: an unknown key is an error.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

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

/// A protocol as probes and listeners name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(untagged)]
pub enum Protocol {
    /// By name.
    Named(Name),
    /// By IP protocol number: raw packets.
    Number(u8),
}

/// The protocols that have names here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP: echo or timestamp request.
    Icmp,
    /// ICMPv6 echo request.
    Icmp6,
}

impl Protocol {
    /// TCP.
    pub const TCP: Self = Self::Named(Name::Tcp);
    /// UDP.
    pub const UDP: Self = Self::Named(Name::Udp);
    /// ICMP.
    pub const ICMP: Self = Self::Named(Name::Icmp);

    /// True where connections of one pair of addresses cannot be told apart by ports or ids.
    pub fn is_portless(self) -> bool {
        matches!(self, Self::Number(_))
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(Name::Tcp) => f.write_str("tcp"),
            Self::Named(Name::Udp) => f.write_str("udp"),
            Self::Named(Name::Sctp) => f.write_str("sctp"),
            Self::Named(Name::Icmp) => f.write_str("icmp"),
            Self::Named(Name::Icmp6) => f.write_str("icmp6"),
            Self::Number(number) => write!(f, "protocol {number}"),
        }
    }
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

/// One probe and what it must show.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Who sends.
    pub from: String,
    /// Who must get it.
    pub to: String,
    /// What is sent.
    pub proto: Protocol,
    /// Destination port.
    #[serde(default)]
    pub port: u16,
    /// Whether it must get there and the answer back.
    pub allow: bool,
    /// For people.
    pub note: Option<String>,
    /// 4 or 6; default 4, or 6 for `icmp6`.
    pub family: Option<u8>,
    /// Replaces the destination address.
    pub to_address: Option<IpAddr>,
    /// Replaces the source address; crafted where the sender does not own it.
    pub from_address: Option<IpAddr>,
    /// Fixes the source port.
    pub sport: Option<u16>,
    /// Echo request unless 13, a timestamp request.
    pub icmp_type: Option<u8>,
    /// Only arrival counts.
    #[serde(default)]
    pub one_way: bool,
}

impl Probe {
    /// A plain probe over IPv4.
    pub fn new(from: &str, to: &str, proto: Protocol, port: u16, allow: bool) -> Self {
        let (from, to) = (from.to_owned(), to.to_owned());
        Self {
            from,
            to,
            proto,
            port,
            allow,
            note: None,
            family: None,
            to_address: None,
            from_address: None,
            sport: None,
            icmp_type: None,
            one_way: false,
        }
    }

    /// True where it goes over IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.family == Some(6)
            || self.proto == Protocol::Named(Name::Icmp6)
            || self.to_address.is_some_and(|address| address.is_ipv6())
    }

    /// True where connection tracking could decide the outcome, so that its memory must go first.
    pub fn reuses_a_tuple(&self) -> bool {
        self.sport.is_some() || self.proto.is_portless()
    }
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {} {}", self.from, self.to, self.proto)?;
        if self.port != 0 {
            write!(f, "/{}", self.port)?;
        }
        if let Some(kind) = self.icmp_type {
            write!(f, " type {kind}")?;
        }
        if let Some(address) = self.to_address {
            write!(f, " at {address}")?;
        }
        if let Some(address) = self.from_address {
            write!(f, " as {address}")?;
        }
        if let Some(port) = self.sport {
            write!(f, " from port {port}")?;
        }
        if self.is_ipv6() {
            f.write_str(" over ipv6")?;
        }
        if self.one_way {
            f.write_str(" one way")?;
        }
        Ok(())
    }
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
