//! Endpoints and network sets.

use super::{Protocol, absent};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// An interface, or all interfaces, of a host.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields of specification §1.7")]
pub struct HostEndpoint {
    pub node: String,
    #[serde(skip_serializing_if = "absent")]
    pub interface_name: String,
    #[serde(rename = "expectedIPs", skip_serializing_if = "absent")]
    pub expected_ips: Vec<IpAddr>,
    #[serde(skip_serializing_if = "absent")]
    pub profiles: Vec<String>,
    #[serde(skip_serializing_if = "absent")]
    pub ports: Vec<NamedPort>,
}

/// A port under a name.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "words of the specification")]
pub struct NamedPort {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
}

/// A workload behind an interface of a host.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields of specification §1.8")]
pub struct WorkloadEndpoint {
    pub node: String,
    pub orchestrator: String,
    pub workload: String,
    pub endpoint: String,
    pub interface_name: String,
    #[serde(skip_serializing_if = "absent")]
    pub ip_networks: Vec<String>,
    #[serde(skip_serializing_if = "absent")]
    pub profiles: Vec<String>,
    #[serde(skip_serializing_if = "absent")]
    pub ports: Vec<WorkloadPort>,
    #[serde(skip_serializing_if = "absent")]
    pub service_account_name: String,
    #[serde(skip_serializing_if = "absent")]
    pub allow_spoofed_source_prefixes: Vec<String>,
}

/// A port of a workload; without a name it means nothing to policy.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "words of the specification")]
pub struct WorkloadPort {
    #[serde(default, skip_serializing_if = "absent")]
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    #[serde(default, skip_serializing_if = "absent")]
    pub host_port: u16,
}

/// Addresses under labels.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the field of specification §1.9")]
pub struct NetworkSet {
    #[serde(skip_serializing_if = "absent")]
    pub nets: Vec<String>,
}
