//! Metadata common to all kinds: names, labels, annotations and what the server stamps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kind::Kind;
use crate::name::{
    Name, is_label, is_label_key, is_label_value, is_mirrored_policy_name, is_policy_name,
};
use crate::path::At;
use crate::problem::Report;

/// Bytes of all annotation keys and values together (Kubernetes' limit).
const ANNOTATION_BYTES: usize = 262_144;

/// Prefixes of labels that only namespaces and service accounts give (spec of Calico's profiles `kns.` and `ksa.`).
const RESERVED_PREFIXES: [&str; 2] = ["pcns.", "pcsa."];

/// How policies are named.
const POLICY_NAME: &str =
    "a policy is named by one or two parts of `a-z`, `0-9` and `-`, joined by one dot";

/// The label that says where a resource lives.
pub const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";

/// Validated metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// What it is called.
    pub name: Name,
    /// Where it lives; `None` for cluster-scoped kinds.
    pub namespace: Option<Name>,
    /// Labels that selectors match.
    pub labels: BTreeMap<String, String>,
    /// Notes without effect.
    pub annotations: BTreeMap<String, String>,
    /// Revision of the resource's last write, decimal, opaque to clients.
    pub resource_version: Option<String>,
    /// Stamped by the server.
    pub uid: Option<String>,
    /// Stamped by the server, RFC 3339.
    pub creation_timestamp: Option<String>,
}

/// Metadata as written. Fields of Kubernetes without meaning here are known, so that exported files read back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) creation_timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<i64>,
    // Kept on workload endpoints as information; the envelope takes it from others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) generate_name: Option<String>,
    #[serde(skip_serializing)]
    pub(crate) self_link: Option<String>,
    #[serde(skip_serializing)]
    pub(crate) deletion_timestamp: Option<String>,
    #[serde(skip_serializing)]
    pub(crate) deletion_grace_period_seconds: Option<i64>,
    #[serde(skip_serializing)]
    pub(crate) finalizers: Option<Vec<String>>,
    #[serde(skip_serializing)]
    pub(crate) owner_references: Option<Vec<Value>>,
    #[serde(skip_serializing)]
    pub(crate) managed_fields: Option<Vec<Value>>,
}

impl RawMetadata {
    /// The validated form; `None` where it has no usable name. Every fault is reported.
    pub(crate) fn parse(&self, kind: Kind, at: &At<'_>, report: &mut Report) -> Option<Metadata> {
        check_labels(self.labels.as_ref(), kind, &at.field("labels"), report);
        check_annotations(self.annotations.as_ref(), &at.field("annotations"), report);
        let name = self.parse_name(kind, &at.field("name"), report);
        let namespace = self.parse_namespace(kind, &at.field("namespace"), report);
        Some(Metadata {
            name: name?,
            namespace,
            labels: self.labels.clone().unwrap_or_default(),
            annotations: self.annotations.clone().unwrap_or_default(),
            resource_version: self
                .resource_version
                .clone()
                .filter(|text| !text.is_empty()),
            uid: self.uid.clone(),
            creation_timestamp: self.creation_timestamp.clone(),
        })
    }

    fn parse_name(&self, kind: Kind, at: &At<'_>, report: &mut Report) -> Option<Name> {
        let Some(text) = self.name.as_deref().filter(|text| !text.is_empty()) else {
            report.missing(at, "a resource needs a name");
            return None;
        };
        let (fits, rule) = match kind {
            Kind::Tier => (
                is_label(text),
                "a tier is named by at most 63 of `a-z`, `0-9` and `-`, without dots",
            ),
            Kind::GlobalNetworkPolicy | Kind::StagedGlobalNetworkPolicy => {
                (is_policy_name(text), POLICY_NAME)
            }
            Kind::NetworkPolicy | Kind::StagedNetworkPolicy => (
                is_policy_name(text) || is_mirrored_policy_name(text),
                POLICY_NAME,
            ),
            Kind::StagedKubernetesNetworkPolicy
            | Kind::GlobalNetworkSet
            | Kind::NetworkSet
            | Kind::HostEndpoint
            | Kind::WorkloadEndpoint
            | Kind::Profile
            | Kind::FelixConfiguration
            | Kind::Node
            | Kind::ClusterInformation
            | Kind::PalisadeConfiguration
            | Kind::Plugin => (true, ""),
        };
        if !fits && report.refuse(at, format!("`{text}` is not a valid name: {rule}")) {
            return None;
        }
        let name = Name::new(text);
        if name.is_none() {
            let rule = "lower-case `a-z`, `0-9`, `-` and `.`, alphanumeric at the edges of each part, at most 253 characters";
            report.add(at, format!("`{text}` is not a valid name: {rule}"));
        }
        name
    }

    fn parse_namespace(&self, kind: Kind, at: &At<'_>, report: &mut Report) -> Option<Name> {
        let text = self.namespace.as_deref().filter(|text| !text.is_empty());
        match (kind.is_namespaced(), text) {
            (false, None) => None,
            (false, Some(_)) => {
                report.add(at, format!("a {kind} belongs to no namespace"));
                None
            }
            (true, None) => {
                report.missing(at, "namespace is not specified on a namespaced resource");
                None
            }
            (true, Some(text)) => {
                let name = Name::new(text);
                if name.is_none() {
                    report.add(at, format!("`{text}` is not a valid namespace"));
                }
                name
            }
        }
    }
}

/// Labels that policy may select by. Reserved ones let a resource pose as a namespace's; Calico refuses that on sets only.
fn check_labels(
    labels: Option<&BTreeMap<String, String>>,
    kind: Kind,
    at: &At<'_>,
    report: &mut Report,
) {
    for (key, value) in labels.into_iter().flatten() {
        let here = at.field(key);
        if !is_label_key(key) {
            report.refuse_key(&here, format!("`{key}` is not a valid label key: an optional lower-case `prefix/`, then at most 63 of `A-Za-z0-9_.-` with letters or digits at the edges"));
        } else if key == NAMESPACE_LABEL
            && matches!(kind, Kind::GlobalNetworkSet | Kind::NetworkSet)
        {
            report.refuse_key(
                &here,
                format!("label `{key}` is reserved: it says where a resource lives"),
            );
        } else if kind == Kind::WorkloadEndpoint {
            if is_reserved(key) {
                report.warn(&here, format!("label `{key}` is not looked at: workloads get it from their namespace or service account"));
            }
        } else if key == NAMESPACE_LABEL || is_reserved(key) {
            report.warn(&here, format!("label `{key}` makes the resource look as if it belonged to a namespace or service account"));
        }
        if !is_label_value(value) {
            report.refuse(&here, format!("`{value}` is not a valid label value: empty, or at most 63 of `A-Za-z0-9_.-` with letters or digits at the edges"));
        }
    }
}

/// Whether only a namespace or a service account gives a label of this key.
pub(crate) fn is_reserved(key: &str) -> bool {
    let mut prefixes = RESERVED_PREFIXES.iter();
    prefixes.any(|prefix| key.starts_with(prefix))
}

/// Keys are checked in lower case, as Kubernetes does; sizes in sum.
pub(crate) fn check_annotations(
    annotations: Option<&BTreeMap<String, String>>,
    at: &At<'_>,
    report: &mut Report,
) {
    let mut bytes = 0;
    for (key, value) in annotations.into_iter().flatten() {
        bytes += key.len() + value.len();
        if !is_label_key(&key.to_ascii_lowercase()) {
            report.refuse_key(
                &at.field(key),
                format!("`{key}` is not a valid annotation key"),
            );
        }
    }
    if bytes > ANNOTATION_BYTES {
        report.refuse(
            at,
            format!("annotations have {bytes} bytes, at most {ANNOTATION_BYTES}"),
        );
    }
}
