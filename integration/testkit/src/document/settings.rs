//! Settings of nodes.

use super::{MaybeSelector, absent};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A FelixConfiguration: what of it bears on verdicts.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields of specification §1.11")]
pub struct Felix {
    #[serde(skip_serializing_if = "absent")]
    pub failsafe_inbound_host_ports: Option<Vec<Failsafe>>,
    #[serde(skip_serializing_if = "absent")]
    pub failsafe_outbound_host_ports: Option<Vec<Failsafe>>,
    #[serde(skip_serializing_if = "absent")]
    pub default_endpoint_to_host_action: Option<String>,
    #[serde(skip_serializing_if = "absent")]
    pub interface_prefix: Option<String>,
    #[serde(skip_serializing_if = "absent")]
    pub interface_exclude: Option<String>,
    #[serde(skip_serializing_if = "absent")]
    pub nftables_filter_deny_action: Option<String>,
    #[serde(skip_serializing_if = "absent")]
    pub disable_conntrack_invalid_check: Option<bool>,
    #[serde(skip_serializing_if = "absent")]
    pub ipv6_support: Option<bool>,
    #[serde(
        rename = "allowVXLANPacketsFromWorkloads",
        skip_serializing_if = "absent"
    )]
    pub allow_vxlan_packets_from_workloads: Option<bool>,
    #[serde(
        rename = "allowIPIPPacketsFromWorkloads",
        skip_serializing_if = "absent"
    )]
    pub allow_ipip_packets_from_workloads: Option<bool>,
    #[serde(skip_serializing_if = "absent")]
    pub vxlan_port: Option<u16>,
    #[serde(skip_serializing_if = "absent")]
    pub workload_source_spoofing: Option<String>,
    #[serde(skip_serializing_if = "absent")]
    pub log_prefix: Option<String>,
    #[serde(skip_serializing_if = "absent")]
    pub node_selector: MaybeSelector,
}

/// A port that stays open.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "words of the specification")]
pub struct Failsafe {
    pub protocol: String,
    pub port: u16,
    #[serde(default, skip_serializing_if = "absent")]
    pub net: Option<IpNet>,
}

/// A PalisadeConfiguration.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "words of the documentation")]
pub struct Palisade {
    #[serde(skip_serializing_if = "absent")]
    pub exemptions: Exemptions,
}

/// Which exemptions hold; absent is true.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "words of the documentation")]
pub struct Exemptions {
    #[serde(skip_serializing_if = "absent")]
    pub loopback: Option<bool>,
    #[serde(skip_serializing_if = "absent")]
    pub neighbour_discovery: Option<bool>,
    #[serde(skip_serializing_if = "absent")]
    pub dhcp6: Option<bool>,
    #[serde(skip_serializing_if = "absent")]
    pub control_plane: Option<bool>,
}
