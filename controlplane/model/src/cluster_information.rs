//! ClusterInformation. Source: Calico v3, `clusterinfo.go`; specification §1.12. Written by the control plane alone.

use serde::{Deserialize, Serialize};

use crate::metadata::RawMetadata;
use crate::path::At;
use crate::problem::Report;
use crate::resource::{RawSpec, Spec};

/// Name of the only one.
pub const CLUSTER_INFORMATION: &str = "default";

/// What the cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInformationSpec {
    /// Identity of the cluster, 32 hexadecimal digits.
    pub guid: Option<String>,
    /// Whether nodes may take policy from the store. Absent is true.
    pub datastore_ready: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawClusterInformation {
    #[serde(rename = "clusterGUID", skip_serializing_if = "Option::is_none")]
    cluster_guid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calico_version: Option<String>,
    #[serde(rename = "cnxVersion", skip_serializing_if = "Option::is_none")]
    cnx_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datastore_ready: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

impl RawSpec for RawClusterInformation {
    fn parse(
        &mut self,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        if metadata
            .name
            .as_deref()
            .is_some_and(|name| name != CLUSTER_INFORMATION)
        {
            report.add(
                &At::ROOT.field("metadata").field("name"),
                format!("the only ClusterInformation is called `{CLUSTER_INFORMATION}`"),
            );
        }
        let guid = self.cluster_guid.clone().filter(|text| !text.is_empty());
        let is_guid =
            |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if guid.as_deref().is_some_and(|text| !is_guid(text)) {
            report.add(
                &at.field("clusterGUID"),
                "a cluster GUID has 32 hexadecimal digits",
            );
        }
        let datastore_ready = *self.datastore_ready.get_or_insert(true);
        Some(Spec::ClusterInformation(ClusterInformationSpec {
            guid,
            datastore_ready,
        }))
    }
}
