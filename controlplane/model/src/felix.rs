//! FelixConfiguration: the settings of Calico's node daemon that mean something on a Palisade node.

mod parse;
mod raw;
mod settings;
mod values;

use ipnet::IpNet;
use palisade_selector::Selector;

use crate::host_endpoint::PortProtocol;
use crate::name::Name;

pub(crate) use raw::RawFelixConfiguration;

/// Validated settings. `None` is not given: the next scope, or the default, decides.
#[derive(Debug, Clone, PartialEq)]
pub struct FelixConfigurationSpec {
    /// Which nodes it is for.
    pub scope: FelixScope,
    /// Ports to the host that no policy closes; a list replaces the default one, an empty list disables.
    pub failsafe_inbound: Option<Vec<Failsafe>>,
    /// Ports from the host that no policy closes.
    pub failsafe_outbound: Option<Vec<Failsafe>>,
    /// What a denied packet gets. `nftablesFilterDenyAction`, else `iptablesFilterDenyAction`.
    pub deny_action: Option<DenyAction>,
    /// Beginning of log lines of Log rules.
    pub log_prefix: Option<String>,
    /// How many log lines of Log rules.
    pub log_rate: Option<LogRate>,
    /// Log lines above the rate at once, 0 to 9999.
    pub log_burst: Option<u16>,
    /// Prefixes of workload interfaces.
    pub interface_prefixes: Option<Vec<String>>,
    /// Interfaces whose addresses are not looked at.
    pub interface_exclude: Option<Vec<InterfacePattern>>,
    /// False: no rules for IPv6.
    pub ipv6_support: Option<bool>,
    /// True: packets that connection tracking calls invalid are not dropped for it.
    pub disable_conntrack_invalid_check: Option<bool>,
    /// What follows a workload's egress policy on its way to the host.
    pub default_endpoint_to_host_action: Option<EndpointToHostAction>,
    /// True: workloads may send VXLAN.
    pub allow_vxlan_from_workloads: Option<bool>,
    /// True: workloads may send IPIP.
    pub allow_ipip_from_workloads: Option<bool>,
    /// UDP port of VXLAN, 1 to 65535.
    pub vxlan_port: Option<u16>,
    /// True: workloads may have source prefixes beside their addresses. `workloadSourceSpoofing` is `Any`.
    pub allow_source_prefixes: Option<bool>,
}

/// Which nodes a FelixConfiguration is for. A node's own wins over a selected one, that over the global one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FelixScope {
    /// Named `default`.
    Global,
    /// Named `node.<name>`.
    Node(Name),
    /// Any other name, with a node selector.
    Selected(Selector),
    /// Any other name, without one.
    None,
}

/// A port that stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failsafe {
    /// Its protocol.
    pub protocol: PortProtocol,
    /// Its number.
    pub port: u16,
    /// The other side; `None` is anybody of either family.
    pub net: Option<IpNet>,
}

/// What a denied packet gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DenyAction {
    /// Silence.
    Drop,
    /// An answer.
    Reject,
}

/// What follows a workload's egress policy on its way to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointToHostAction {
    /// Drop.
    Drop,
    /// Accept.
    Accept,
    /// Leave it to other tables.
    Return,
}

/// A limit of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogRate {
    /// Lines, 1 to 9999.
    pub count: u16,
    /// In which time.
    pub per: RateUnit,
}

/// Unit of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RateUnit {
    /// Per second.
    Second,
    /// Per minute.
    Minute,
    /// Per hour.
    Hour,
    /// Per day.
    Day,
}

/// Interfaces by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InterfacePattern {
    /// One name.
    Name(String),
    /// A regular expression, written between slashes.
    Regex(String),
}
