//! A workload endpoint as written.

use serde::{Deserialize, Serialize};

use super::ports::RawWorkloadPort;
use super::quality::RawQosControls;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawWorkloadEndpoint {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orchestrator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) workload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    #[serde(rename = "containerID", skip_serializing_if = "Option::is_none")]
    pub(super) container_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_account_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip_networks: Option<Vec<String>>,
    #[serde(rename = "ipNATs", skip_serializing_if = "Option::is_none")]
    pub(super) ip_nats: Option<Vec<RawNat>>,
    #[serde(rename = "ipv4Gateway", skip_serializing_if = "Option::is_none")]
    pub(super) ipv4_gateway: Option<String>,
    #[serde(rename = "ipv6Gateway", skip_serializing_if = "Option::is_none")]
    pub(super) ipv6_gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profiles: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interface_name: Option<String>,
    #[serde(rename = "mac", skip_serializing_if = "Option::is_none")]
    pub(super) mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ports: Option<Vec<RawWorkloadPort>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) allow_spoofed_source_prefixes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) qos_controls: Option<RawQosControls>,
}

/// One address in place of another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawNat {
    #[serde(rename = "internalIP", skip_serializing_if = "Option::is_none")]
    pub(super) internal_ip: Option<String>,
    #[serde(rename = "externalIP", skip_serializing_if = "Option::is_none")]
    pub(super) external_ip: Option<String>,
}
