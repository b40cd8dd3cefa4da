//! A rule as written. Source: Calico v3, `policy_common.go`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plugin::RawPluginMatch;
use crate::shape::IntOrText;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ip_version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<IntOrText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) icmp: Option<RawIcmp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_protocol: Option<IntOrText>,
    #[serde(rename = "notICMP", skip_serializing_if = "Option::is_none")]
    pub(crate) not_icmp: Option<RawIcmp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<RawEntityRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) destination: Option<RawEntityRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<RawHttp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plugin: Option<RawPluginMatch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<RawRuleMetadata>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawIcmp {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) icmp_type: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawEntityRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nets: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_nets: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) selector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_selector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace_selector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ports: Option<Vec<IntOrText>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_ports: Option<Vec<IntOrText>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_accounts: Option<RawServiceAccounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) services: Option<RawService>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawServiceAccounts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) selector: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawService {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawHttp {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) methods: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paths: Option<Vec<RawHttpPath>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawHttpPath {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exact: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawRuleMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}
