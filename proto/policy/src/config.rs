//! What a node is told beside policy: failsafes, exemptions, actions. One item of the view, id `default`.

use crate::rule::Protocol;
use ipnet::IpNet;

/// A port that stays open on every governed host interface, whatever policy says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Failsafe {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// Destination port.
    pub port: u16,
    /// Source network of inbound, destination network of outbound failsafes; absent: any, both families.
    pub net: Option<IpNet>,
}

/// Inbound failsafes unless a configuration sets a list of its own: Calico's (calico-semantics, 5.5), and 7600 and 7601 of
/// our own control plane.
pub const INBOUND_FAILSAFES: [(Protocol, u16); 11] = [
    (Protocol::TCP, 22),
    (Protocol::UDP, 68),
    (Protocol::TCP, 179),
    (Protocol::TCP, 2379),
    (Protocol::TCP, 2380),
    (Protocol::TCP, 5473),
    (Protocol::TCP, 6443),
    (Protocol::TCP, 6666),
    (Protocol::TCP, 6667),
    (Protocol::TCP, 7600),
    (Protocol::TCP, 7601),
];

/// The same outbound.
pub const OUTBOUND_FAILSAFES: [(Protocol, u16); 11] = [
    (Protocol::UDP, 53),
    (Protocol::UDP, 67),
    (Protocol::TCP, 179),
    (Protocol::TCP, 2379),
    (Protocol::TCP, 2380),
    (Protocol::TCP, 5473),
    (Protocol::TCP, 6443),
    (Protocol::TCP, 6666),
    (Protocol::TCP, 6667),
    (Protocol::TCP, 7600),
    (Protocol::TCP, 7601),
];

/// Exemptions of host endpoints; all on by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exemptions {
    /// A `*` endpoint leaves `lo` alone. Never about an endpoint named `lo`.
    pub loopback: bool,
    /// ICMPv6 130..=136 and 143, both directions.
    pub neighbour_discovery: bool,
    /// UDP between ports 546 and 547 over IPv6.
    pub dhcp6: bool,
    /// Outbound to the resolved addresses and ports of the control plane.
    pub control_plane: bool,
}

impl Default for Exemptions {
    fn default() -> Self {
        Self {
            loopback: true,
            neighbour_discovery: true,
            dhcp6: true,
            control_plane: true,
        }
    }
}

/// How a denied packet ends. `Reject` becomes a drop where the kernel refuses it (raw, pre-DNAT, postrouting).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DenyAction {
    /// Silently.
    Drop,
    /// With an ICMP error.
    Reject,
}

/// What becomes of allowed traffic from a workload to its host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndpointToHostAction {
    /// Dropped.
    Drop,
    /// Left to what follows in other tables.
    Return,
    /// Accepted.
    Accept,
}

/// Limit on log rules: so many lines per so many seconds, with a burst.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogLimit {
    /// Lines per period, 1..=9999.
    pub rate: u32,
    /// Period in seconds: 1, 60, 3600 or 86400.
    pub seconds: u32,
    /// 0..=9999.
    pub burst: u32,
}

/// Everything a node is told beside policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// Sorted.
    pub failsafe_inbound: Vec<Failsafe>,
    /// Sorted.
    pub failsafe_outbound: Vec<Failsafe>,
    /// Which exemptions hold.
    pub exemptions: Exemptions,
    /// How denied packets end.
    pub deny_action: DenyAction,
    /// Workload to host.
    pub endpoint_to_host_action: EndpointToHostAction,
    /// Prefixes of workload interfaces, default `cali`.
    pub interface_prefixes: Vec<String>,
    /// Interfaces that no endpoint claims by name or address, so that only a `*` endpoint governs them: exact names, or
    /// regular expressions between slashes; default `kube-ipvs0`.
    pub interface_exclude: Vec<String>,
    /// Packets that connection tracking calls invalid are judged by policy instead of denied.
    pub accept_invalid: bool,
    /// False: no IPv6 rules at all, IPv6 is left alone.
    pub ipv6: bool,
    /// Absent: no limit.
    pub log_limit: Option<LogLimit>,
    /// Workloads may send VXLAN.
    pub allow_vxlan_from_workloads: bool,
    /// Workloads may send IPIP.
    pub allow_ipip_from_workloads: bool,
    /// UDP port of VXLAN.
    pub vxlan_port: u16,
    /// Workloads may have source prefixes; otherwise those that have are missing.
    pub allow_source_prefixes: bool,
}

/// What a node is told where nothing is configured.
impl Default for NodeConfig {
    fn default() -> Self {
        let failsafes = |ports: &[(Protocol, u16)]| {
            let failsafe = |&(protocol, port)| Failsafe {
                protocol,
                port,
                net: None,
            };
            let mut failsafes: Vec<_> = ports.iter().map(failsafe).collect();
            failsafes.sort_unstable();
            failsafes
        };
        Self {
            failsafe_inbound: failsafes(&INBOUND_FAILSAFES),
            failsafe_outbound: failsafes(&OUTBOUND_FAILSAFES),
            exemptions: Exemptions::default(),
            deny_action: DenyAction::Drop,
            endpoint_to_host_action: EndpointToHostAction::Drop,
            interface_prefixes: vec!["cali".to_owned()],
            interface_exclude: vec!["kube-ipvs0".to_owned()],
            accept_invalid: false,
            ipv6: true,
            log_limit: Some(LogLimit {
                rate: 10,
                seconds: 1,
                burst: 5,
            }),
            allow_vxlan_from_workloads: false,
            allow_ipip_from_workloads: false,
            vxlan_port: 4789,
            allow_source_prefixes: false,
        }
    }
}
