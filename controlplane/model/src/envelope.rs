//! The door: apiVersion, kind, metadata and spec of one resource, from raw to typed, with every fault.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster_information::RawClusterInformation;
use crate::document::Document;
use crate::document::node::{Node, Shape};
use crate::felix::RawFelixConfiguration;
use crate::host_endpoint::RawHostEndpoint;
use crate::kind::{Kind, LATER};
use crate::metadata::RawMetadata;
use crate::network_set::{RawGlobalNetworkSet, RawNetworkSet};
use crate::node::RawNode;
use crate::palisade_configuration::RawPalisadeConfiguration;
use crate::path::{At, FieldPath};
use crate::plugin::RawPlugin;
use crate::policy::{
    RawGlobalNetworkPolicy, RawNetworkPolicy, RawStagedGlobalNetworkPolicy, RawStagedNetworkPolicy,
};
use crate::problem::{Origin, Part, Problem, Report, Warning};
use crate::profile::RawProfile;
use crate::resource::{ApiVersion, RawSpec, Resource};
use crate::shape;
use crate::staged_kubernetes::RawStagedKubernetesNetworkPolicy;
use crate::tier::RawTier;
use crate::workload_endpoint::RawWorkloadEndpoint;

/// A resource that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Typed.
    pub resource: Resource,
    /// Canonical JSON with defaults written in; keys are sorted. This is what is sent and stored.
    pub json: Value,
    /// What the writer should know.
    pub warnings: Vec<Warning>,
    /// Fields that `projectcalico.org/v3` does not have, in a kind that it has.
    pub extensions: Vec<FieldPath>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawResource<S: Default> {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: RawMetadata,
    spec: S,
    // Written by controllers, not by people; exported files carry it.
    #[serde(skip_serializing)]
    status: Option<Value>,
}

/// Decodes one document of a file.
///
/// # Errors
///
/// Every fault of the resource.
pub fn decode_document(document: &Document) -> Result<Decoded, Vec<Problem>> {
    decode_node(&document.root)
}

/// Decodes one resource in JSON, strictly.
///
/// # Errors
///
/// Every fault of the resource, or the one of the JSON.
pub fn decode_json(bytes: &[u8]) -> Result<Decoded, Vec<Problem>> {
    let document = Document::from_json(bytes).map_err(|error| vec![Problem::from(error)])?;
    decode_document(&document)
}

/// Decodes one resource that is JSON already, as strictly. Rows of the store are read by [`crate::stored`].
///
/// # Errors
///
/// Every fault of the resource.
pub fn decode(value: &Value) -> Result<Decoded, Vec<Problem>> {
    decode_node(&Node::from(value))
}

/// Decodes one resource that stands in the store: rules of admission that an older build did not know yet do not count,
/// whatever would lose a part of its meaning does.
pub(crate) fn decode_stored(value: &Value) -> Result<Decoded, Vec<Problem>> {
    decode_as(&Node::from(value), Origin::Store)
}

/// A resource, its canonical JSON and its extension fields.
type Accepted = (Resource, Value, Vec<FieldPath>);

fn decode_node(root: &Node) -> Result<Decoded, Vec<Problem>> {
    decode_as(root, Origin::User)
}

fn decode_as(root: &Node, origin: Origin) -> Result<Decoded, Vec<Problem>> {
    let mut report = Report::new(origin);
    let decoded = read(root, &mut report);
    match decoded {
        Some((resource, json, extensions)) if report.problems.is_empty() => Ok(Decoded {
            resource,
            json,
            warnings: report.warnings,
            extensions,
        }),
        _ => Err(report.problems),
    }
}

fn read(root: &Node, report: &mut Report) -> Option<Accepted> {
    if !matches!(root.shape, Shape::Map(_)) {
        report.add(
            &At::ROOT,
            format!("expected a resource, found {}", root.describe()),
        );
        return None;
    }
    let kind = read_kind(root, report)?;
    let version = read_version(root, kind, report);
    match kind {
        Kind::GlobalNetworkPolicy => read_as::<RawGlobalNetworkPolicy>(root, kind, version, report),
        Kind::NetworkPolicy => read_as::<RawNetworkPolicy>(root, kind, version, report),
        Kind::StagedGlobalNetworkPolicy => {
            read_as::<RawStagedGlobalNetworkPolicy>(root, kind, version, report)
        }
        Kind::StagedNetworkPolicy => read_as::<RawStagedNetworkPolicy>(root, kind, version, report),
        Kind::StagedKubernetesNetworkPolicy => {
            read_as::<RawStagedKubernetesNetworkPolicy>(root, kind, version, report)
        }
        Kind::GlobalNetworkSet => read_as::<RawGlobalNetworkSet>(root, kind, version, report),
        Kind::NetworkSet => read_as::<RawNetworkSet>(root, kind, version, report),
        Kind::HostEndpoint => read_as::<RawHostEndpoint>(root, kind, version, report),
        Kind::WorkloadEndpoint => read_as::<RawWorkloadEndpoint>(root, kind, version, report),
        Kind::Tier => read_as::<RawTier>(root, kind, version, report),
        Kind::Profile => read_as::<RawProfile>(root, kind, version, report),
        Kind::FelixConfiguration => read_as::<RawFelixConfiguration>(root, kind, version, report),
        Kind::Node => read_as::<RawNode>(root, kind, version, report),
        Kind::ClusterInformation => read_as::<RawClusterInformation>(root, kind, version, report),
        Kind::PalisadeConfiguration => {
            read_as::<RawPalisadeConfiguration>(root, kind, version, report)
        }
        Kind::Plugin => read_as::<RawPlugin>(root, kind, version, report),
    }
}

fn read_kind(root: &Node, report: &mut Report) -> Option<Kind> {
    let at = At::ROOT.field("kind");
    let Some(text) = root.text_at("kind") else {
        report.missing(&at, "a resource needs a kind");
        return None;
    };
    let kind = Kind::from_document(text);
    if kind.is_none() {
        report.add(
            &at,
            match (LATER.contains(&text), Kind::parse(text)) {
                (true, _) => {
                    format!("kind {text} is one of Calico's that this build does not know yet")
                }
                (false, Some(near)) => format!("unknown kind `{text}`; did you mean `{near}`?"),
                (false, None) => format!("unknown kind `{text}`"),
            },
        );
    }
    kind
}

fn read_version(root: &Node, kind: Kind, report: &mut Report) -> Option<ApiVersion> {
    let at = At::ROOT.field("apiVersion");
    let own = if kind.is_extension() {
        ApiVersion::Palisade
    } else {
        ApiVersion::Calico
    }
    .as_str();
    match root.text_at("apiVersion") {
        None => report.missing(&at, format!("a resource needs an apiVersion: `{own}`")),
        Some("palisade.dev/v1") => return Some(ApiVersion::Palisade),
        Some("projectcalico.org/v3") if kind.is_extension() => {
            report.add(&at, format!("kind {kind} exists in `{own}` only"));
        }
        Some("projectcalico.org/v3") => return Some(ApiVersion::Calico),
        Some(text @ "crd.projectcalico.org/v1") => {
            report.add(
                &at,
                format!("`{text}` is how Calico stores resources in Kubernetes; write `{own}`"),
            );
        }
        Some(text) => report.add(&at, format!("unknown apiVersion `{text}`; write `{own}`")),
    }
    None
}

fn read_as<S: RawSpec>(
    root: &Node,
    kind: Kind,
    version: Option<ApiVersion>,
    report: &mut Report,
) -> Option<Accepted> {
    let mut raw: RawResource<S> = shape::decode(root, &At::ROOT, report)?;
    let shape_faults = report.problems.len();
    if root.get("metadata").is_none() {
        report.missing(
            &At::ROOT.field("metadata"),
            "a resource needs metadata with a name",
        );
    }
    if kind != Kind::WorkloadEndpoint {
        raw.metadata.generate_name = None;
    }
    let spec = raw
        .spec
        .parse(&mut raw.metadata, &At::ROOT.field("spec"), report);
    let extensions = raw.spec.extensions(&At::ROOT.field("spec"));
    if version == Some(ApiVersion::Calico) {
        report.extensions(&extensions);
    }
    let metadata = raw
        .metadata
        .parse(kind, &At::ROOT.field("metadata"), report);
    drop_echoes(shape_faults, report);
    let resource = Resource {
        api_version: version?,
        metadata: metadata?,
        spec: spec?,
    };
    match serde_json::to_value(&raw) {
        Ok(json) => Some((resource, json, extensions)),
        Err(error) => {
            report.add(&At::ROOT, format!("cannot be written as JSON: {error}"));
            None
        }
    }
}

/// A field of the wrong type was read as empty: what validation says about it or below it says nothing new.
fn drop_echoes(shape_faults: usize, report: &mut Report) {
    let validation = report.problems.split_off(shape_faults);
    let shapes = report.problems.clone();
    let is_echo = |problem: &Problem| {
        shapes.iter().any(|fault| match fault.part {
            Part::Value | Part::Missing => problem.path.starts_with(&fault.path),
            Part::Key => false,
        })
    };
    report
        .problems
        .extend(validation.into_iter().filter(|problem| !is_echo(problem)));
    let mut seen = Vec::new();
    report.problems.retain(|problem| {
        let new = !seen.contains(problem);
        seen.push(problem.clone());
        new
    });
}
