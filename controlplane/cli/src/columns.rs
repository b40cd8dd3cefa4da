//! Table columns of each kind, after calicoctl's.

use crate::output::table;
use palisade_model::Kind;
use serde_json::Value;

/// A column: its header, where its value is, and whether only `-o wide` shows it.
struct Column {
    header: &'static str,
    /// The first of these that is there and not empty.
    pointers: &'static [&'static str],
    wide: bool,
}

const fn narrow(header: &'static str, pointers: &'static [&'static str]) -> Column {
    Column {
        header,
        pointers,
        wide: false,
    }
}

const fn wide(header: &'static str, pointers: &'static [&'static str]) -> Column {
    Column {
        header,
        pointers,
        wide: true,
    }
}

const NAME: Column = narrow("NAME", &["/metadata/name"]);
const LABELS: Column = wide("LABELS", &["/metadata/labels"]);
const STATUS: Column = wide("STATUS", &["/status/state"]);
const REASON: Column = wide("REASON", &["/status/reason"]);
const PROFILES: Column = wide("PROFILES", &["/spec/profiles"]);
const ORDER: Column = wide("ORDER", &["/spec/order"]);
const SELECTOR: Column = wide("SELECTOR", &["/spec/selector"]);
const TYPES: Column = wide("TYPES", &["/spec/types"]);
const TIER_OF: Column = narrow("TIER", &["/spec/tier"]);
const ACTION: Column = narrow("ACTION", &["/spec/stagedAction"]);

const POLICY: &[Column] = &[NAME, TIER_OF, ORDER, SELECTOR, TYPES];
const STAGED: &[Column] = &[NAME, TIER_OF, ACTION, ORDER, SELECTOR, TYPES];
const STAGED_KUBERNETES: &[Column] = &[
    NAME,
    ACTION,
    wide("PODS", &["/spec/podSelector/matchLabels"]),
    wide("TYPES", &["/spec/policyTypes"]),
];
const HOST_ENDPOINT: &[Column] = &[
    NAME,
    narrow("NODE", &["/spec/node"]),
    wide("INTERFACE", &["/spec/interfaceName"]),
    wide("IPS", &["/spec/expectedIPs"]),
    PROFILES,
    LABELS,
    STATUS,
    REASON,
];
const WORKLOAD_ENDPOINT: &[Column] = &[
    wide("NAME", &["/metadata/name"]),
    narrow(
        "WORKLOAD",
        &["/spec/workload", "/spec/pod", "/spec/containerID"],
    ),
    narrow("NODE", &["/spec/node"]),
    narrow("NETWORKS", &["/spec/ipNetworks"]),
    narrow("INTERFACE", &["/spec/interfaceName"]),
    PROFILES,
    wide("NATS", &["/spec/ipNATs"]),
    LABELS,
    STATUS,
    REASON,
];
const SET: &[Column] = &[NAME, wide("NETS", &["/spec/nets"]), LABELS];
const TIER: &[Column] = &[
    NAME,
    narrow("ORDER", &["/spec/order"]),
    narrow("DEFAULT ACTION", &["/spec/defaultAction"]),
];
const PROFILE: &[Column] = &[NAME, wide("LABELS", &["/spec/labelsToApply"])];
const FELIX: &[Column] = &[
    NAME,
    wide("NODES", &["/spec/nodeSelector"]),
    wide("TO HOST", &["/spec/defaultEndpointToHostAction"]),
    wide("LOG PREFIX", &["/spec/logPrefix"]),
    wide("LOG SEVERITY", &["/spec/logSeverityScreen"]),
];
const NODE: &[Column] = &[NAME, LABELS];
const CLUSTER: &[Column] = &[
    NAME,
    wide("GUID", &["/spec/clusterGUID"]),
    wide("TYPE", &["/spec/clusterType"]),
    wide("READY", &["/spec/datastoreReady"]),
];
const PALISADE: &[Column] = &[NAME, wide("EXEMPTIONS", &["/spec/exemptions"])];
const PLUGIN: &[Column] = &[
    NAME,
    narrow("KIND", &["/spec/kind"]),
    narrow("DIGEST", &["/spec/digest"]),
    wide("SIZE", &["/spec/size"]),
    wide("LIMITS", &["/spec/limits"]),
    wide("SINKS", &["/spec/sinks"]),
];

fn columns_of(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::GlobalNetworkPolicy | Kind::NetworkPolicy => POLICY,
        Kind::StagedGlobalNetworkPolicy | Kind::StagedNetworkPolicy => STAGED,
        Kind::StagedKubernetesNetworkPolicy => STAGED_KUBERNETES,
        Kind::HostEndpoint => HOST_ENDPOINT,
        Kind::WorkloadEndpoint => WORKLOAD_ENDPOINT,
        Kind::GlobalNetworkSet | Kind::NetworkSet => SET,
        Kind::Tier => TIER,
        Kind::Profile => PROFILE,
        Kind::FelixConfiguration => FELIX,
        Kind::Node => NODE,
        Kind::ClusterInformation => CLUSTER,
        Kind::PalisadeConfiguration => PALISADE,
        Kind::Plugin => PLUGIN,
    }
}

impl Column {
    fn cell(&self, resource: &Value) -> String {
        let mut cells = self.pointers.iter().map(|p| cell(resource.pointer(p)));
        cells.find(|text| !text.is_empty()).unwrap_or_default()
    }
}

/// A table of resources of one kind.
pub(crate) fn resources(kind: Kind, with_wide: bool, resources: &[Value]) -> String {
    let columns: Vec<&Column> = columns_of(kind)
        .iter()
        .filter(|c| with_wide || !c.wide)
        .collect();
    let mut header: Vec<&str> = columns.iter().map(|c| c.header).collect();
    if kind.is_namespaced() {
        header.insert(0, "NAMESPACE");
    }
    let rows = resources.iter().map(|r| {
        let mut row: Vec<String> = columns.iter().map(|c| c.cell(r)).collect();
        if kind.is_namespaced() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The lines of a table, each as its words.
    fn words(text: &str) -> Vec<Vec<&str>> {
        text.lines()
            .map(|line| line.split_whitespace().collect())
            .collect()
    }

    #[test]
    fn every_kind_has_a_name_or_a_workload_and_more_when_wide() {
        for kind in Kind::ALL {
            let narrow = resources(kind, false, &[]);
            let wide = resources(kind, true, &[]);
            let first = match kind {
                Kind::WorkloadEndpoint => "WORKLOAD",
                _ => "NAME",
            };
            let at = usize::from(kind.is_namespaced());
            assert_eq!(words(&narrow)[0].get(at), Some(&first), "{kind}");
            assert_eq!(words(&wide)[0].get(at), Some(&"NAME"), "{kind}");
            let more = |a: &str, b: &str| words(a)[0].len() > words(b)[0].len();
            assert!(more(&wide, &narrow) || kind == Kind::Tier, "{kind}");
        }
    }

    #[test]
    fn a_workload_is_shown_by_what_its_orchestrator_calls_it() {
        let endpoint =
            |spec: Value| json!({"metadata": {"name": "n", "namespace": "shop"}, "spec": spec});
        let text = resources(
            Kind::WorkloadEndpoint,
            false,
            &[
                endpoint(
                    json!({"workload": "w0", "node": "h", "ipNetworks": ["10.0.0.1/32", "10.0.0.2"], "interfaceName": "cali0"}),
                ),
                endpoint(json!({"workload": "", "pod": "web", "node": "h"})),
            ],
        );
        assert_eq!(
            words(&text),
            [
                vec!["NAMESPACE", "WORKLOAD", "NODE", "NETWORKS", "INTERFACE"],
                vec!["shop", "w0", "h", "10.0.0.1/32,10.0.0.2", "cali0"],
                vec!["shop", "web", "h"],
            ]
        );
    }

    #[test]
    fn a_staged_policy_shows_what_it_would_do() {
        let policy =
            json!({"metadata": {"name": "p"}, "spec": {"tier": "edge", "stagedAction": "Delete"}});
        let text = resources(Kind::StagedGlobalNetworkPolicy, false, &[policy]);
        assert_eq!(
            words(&text),
            [vec!["NAME", "TIER", "ACTION"], vec!["p", "edge", "Delete"]]
        );
    }
}
