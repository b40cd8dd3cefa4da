//! Table columns of each kind, after calicoctl's.

use crate::output::table;
use serde_json::Value;

/// A column: its header, where its value is, and whether only `-o wide` shows it.
struct Column {
    header: &'static str,
    pointer: &'static str,
    wide: bool,
}

const fn narrow(header: &'static str, pointer: &'static str) -> Column {
    Column {
        header,
        pointer,
        wide: false,
    }
}

const fn wide(header: &'static str, pointer: &'static str) -> Column {
    Column {
        header,
        pointer,
        wide: true,
    }
}

const POLICY: &[Column] = &[
    narrow("NAME", "/metadata/name"),
    narrow("TIER", "/spec/tier"),
    wide("ORDER", "/spec/order"),
    wide("SELECTOR", "/spec/selector"),
    wide("TYPES", "/spec/types"),
];
const HOST_ENDPOINT: &[Column] = &[
    narrow("NAME", "/metadata/name"),
    narrow("NODE", "/spec/node"),
    wide("INTERFACE", "/spec/interfaceName"),
    wide("IPS", "/spec/expectedIPs"),
    wide("PROFILES", "/spec/profiles"),
    wide("LABELS", "/metadata/labels"),
];
const SET: &[Column] = &[
    narrow("NAME", "/metadata/name"),
    wide("NETS", "/spec/nets"),
    wide("LABELS", "/metadata/labels"),
];
const TIER: &[Column] = &[
    narrow("NAME", "/metadata/name"),
    narrow("ORDER", "/spec/order"),
    narrow("DEFAULT ACTION", "/spec/defaultAction"),
];
const PROFILE: &[Column] = &[
    narrow("NAME", "/metadata/name"),
    wide("LABELS", "/spec/labelsToApply"),
];
const OTHER: &[Column] = &[
    narrow("NAME", "/metadata/name"),
    wide("LABELS", "/metadata/labels"),
];

fn columns_of(kind: &str) -> &'static [Column] {
    match kind {
        "GlobalNetworkPolicy"
        | "NetworkPolicy"
        | "StagedGlobalNetworkPolicy"
        | "StagedNetworkPolicy" => POLICY,
        "HostEndpoint" => HOST_ENDPOINT,
        "GlobalNetworkSet" | "NetworkSet" => SET,
        "Tier" => TIER,
        "Profile" => PROFILE,
        _ => OTHER,
    }
}

/// A table of resources of one kind.
pub(crate) fn resources(kind: &str, with_wide: bool, resources: &[Value]) -> String {
    let columns: Vec<&Column> = columns_of(kind)
        .iter()
        .filter(|c| with_wide || !c.wide)
        .collect();
    let namespaced = resources
        .iter()
        .any(|r| r.pointer("/metadata/namespace").is_some());
    let mut header: Vec<&str> = columns.iter().map(|c| c.header).collect();
    if namespaced {
        header.insert(0, "NAMESPACE");
    }
    let rows = resources.iter().map(|r| {
        let mut row: Vec<String> = columns.iter().map(|c| cell(r.pointer(c.pointer))).collect();
        if namespaced {
            row.insert(0, cell(r.pointer("/metadata/namespace")));
        }
        row
    });
    table(&header, rows)
}

/// A value in one cell: lists by comma, maps as `k=v`.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|v| cell(Some(v)))
            .collect::<Vec<_>>()
            .join(","),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(k, v)| format!("{k}={}", cell(Some(v))))
            .collect::<Vec<_>>()
            .join(","),
        Some(other) => other.to_string(),
    }
}
