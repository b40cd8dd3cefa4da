//! Nodes and the control plane, for people and for tools.

use crate::{args::Format, failure::Failure, output, unreadable};
use palisade_proto::v1::{
    Condition, EndpointState, EndpointStatus, GetStatusResponse, NodeStatus, Position,
};
use serde_json::{Value, json};
use std::net::IpAddr;

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn revision(position: Option<&Position>) -> String {
    position.map_or_else(|| "-".into(), |p| p.revision.to_string())
}

fn position(position: Option<&Position>) -> Value {
    position.map_or(
        Value::Null,
        |p| json!({ "epoch": hex(&p.epoch), "revision": p.revision, "digest": hex(&p.digest) }),
    )
}

/// Reason of condition `Degraded` where the node's machine failed, and no resource is at fault.
pub(crate) const MACHINE_FAULT: &str = "MachineFault";

/// Desired and enforced are one view.
pub(crate) fn converged(node: &NodeStatus) -> bool {
    match (&node.desired, &node.enforced) {
        (Some(desired), Some(enforced)) => {
            desired.epoch == enforced.epoch && desired.digest == enforced.digest
        }
        _ => false,
    }
}

/// One word on a node.
fn state(node: &NodeStatus) -> String {
    let has = |kind: &str| node.conditions.iter().any(|c| c.r#type == kind);
    if has("Degraded") {
        "Degraded".into()
    } else if has("Frozen") {
        "Frozen".into()
    } else if !node.connected {
        "Disconnected".into()
    } else if converged(node) {
        "Enforced".into()
    } else {
        "Applying".into()
    }
}

/// Four or sixteen bytes as an address; others as hex.
pub(crate) fn address(bytes: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        IpAddr::from(v4).to_string()
    } else if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        IpAddr::from(v6).to_string()
    } else {
        hex(bytes)
    }
}

fn state_of(endpoint: &EndpointStatus) -> &'static str {
    match endpoint.state() {
        EndpointState::Up => "up",
        EndpointState::Down => "down",
        EndpointState::Error => "error",
        EndpointState::Unspecified => "unknown",
    }
}

/// How an endpoint resource fares, as its node last reported: state, interfaces that it governs, and what is wrong.
/// Absent while the node has said nothing of it.
pub(crate) fn endpoint_value(nodes: &[NodeStatus], resource: &Value) -> Option<Value> {
    let text = |pointer| resource.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name")?;
    let id = match text("/metadata/namespace") {
        Some(namespace) => format!("wep/{namespace}/{name}"),
        None => format!("hep/{name}"),
    };
    let node = nodes
        .iter()
        .find(|n| Some(&*n.name) == text("/spec/node"))?;
    let report = node.report.as_ref()?;
    let endpoint = report.endpoints.iter().find(|e| e.endpoint == id)?;
    let mismatch = report
        .conditions
        .iter()
        .find(|c| c.r#type == "AddressMismatch" && c.message.contains(&format!("`{id}`")));
    let reason = match (endpoint.reason.as_str(), mismatch) {
        ("", Some(condition)) => &condition.message,
        (reason, _) => reason,
    };
    Some(json!({
        "state": state_of(endpoint),
        "interfaces": endpoint.interfaces,
        "reason": reason,
    }))
}

/// A node as a machine reads it.
pub(crate) fn node_value(node: &NodeStatus) -> Value {
    let conditions: Vec<Value> = conditions(node)
        .map(|c| json!({ "type": c.r#type, "reason": c.reason, "message": c.message }))
        .collect();
    let report = node.report.as_ref();
    json!({
        "name": node.name,
        "state": state(node),
        "connected": node.connected,
        "converged": converged(node),
        "compiled": node.compiled,
        "desired": position(node.desired.as_ref()),
        "enforced": position(node.enforced.as_ref()),
        "applyMicros": node.apply_micros,
        "agentVersion": node.agent_version,
        "lastSeen": node.last_seen,
        "conditions": conditions,
        "endpoints": report.map(|r| r.endpoints.iter().map(|e| json!({
            "endpoint": e.endpoint,
            "state": state_of(e),
            "interfaces": e.interfaces,
            "reason": e.reason,
        })).collect::<Vec<_>>()).unwrap_or_default(),
        "interfaces": report.map(|r| r.interfaces.iter().map(|i| json!({
            "name": i.name,
            "up": i.up,
            "addresses": i.addresses.iter().map(|a| address(a)).collect::<Vec<_>>(),
        })).collect::<Vec<_>>()).unwrap_or_default(),
    })
}

/// What the control plane and the node itself say of it.
fn conditions(node: &NodeStatus) -> impl Iterator<Item = &Condition> {
    let reported = node.report.iter().flat_map(|r| &r.conditions);
    node.conditions.iter().chain(reported)
}

/// Every condition in full, below the table; nothing where there is none.
fn told(nodes: &[NodeStatus]) -> String {
    let all = nodes
        .iter()
        .flat_map(|node| conditions(node).map(move |c| (node, c)));
    let lines: String = all
        .map(|(node, c)| {
            format!(
                "{}: {} ({}): {}\n",
                node.name, c.r#type, c.reason, c.message
            )
        })
        .collect();
    if lines.is_empty() {
        lines
    } else {
        format!("\n{lines}")
    }
}

/// Nodes in the format.
pub(crate) fn nodes(format: Format, nodes: &[NodeStatus]) -> Result<String, Failure> {
    match format {
        Format::Name => Ok(nodes.iter().map(|n| format!("Node/{}\n", n.name)).collect()),
        Format::Yaml => output::yaml(&nodes.iter().map(node_value).collect()),
        Format::Json => output::json(&nodes.iter().map(node_value).collect()),
        Format::Table | Format::Wide => {
            let wide = format == Format::Wide;
            let mut header = vec!["NAME", "STATE", "DESIRED", "ENFORCED", "ENDPOINTS"];
            if wide {
                header.extend(["APPLY", "VERSION", "DIGEST", "CONDITIONS"]);
            }
            let table = output::table(
                &header,
                nodes.iter().map(|n| {
                    let endpoints = n.report.as_ref().map_or(&[][..], |r| &r.endpoints);
                    let up = endpoints
                        .iter()
                        .filter(|e| e.state() == EndpointState::Up)
                        .count();
                    let mut row = vec![
                        n.name.clone(),
                        state(n),
                        revision(n.desired.as_ref()),
                        revision(n.enforced.as_ref()),
                        format!("{up}/{} up", endpoints.len()),
                    ];
                    if wide {
                        let mut conditions: Vec<&str> =
                            conditions(n).map(|c| c.r#type.as_str()).collect();
                        conditions.dedup();
                        row.extend([
                            format!("{} us", n.apply_micros),
                            n.agent_version.clone(),
                            n.enforced
                                .as_ref()
                                .map(|p| hex(&p.digest).chars().take(12).collect())
                                .unwrap_or_default(),
                            conditions.join(","),
                        ]);
                    }
                    row
                }),
            );
            Ok(table + &told(nodes))
        }
    }
}

/// The control plane in the format.
pub(crate) fn control_plane(format: Format, s: &GetStatusResponse) -> Result<String, Failure> {
    let value = json!({
        "version": s.version,
        "epoch": hex(&s.epoch),
        "store": { "engine": s.store_engine, "revision": s.store_revision, "readOnly": s.read_only },
        "compiled": s.compiled,
        "nodes": { "known": s.nodes_known, "connected": s.nodes_connected, "converged": s.nodes_converged, "degraded": s.nodes_degraded, "frozen": s.nodes_frozen },
        "endpoints": { "up": s.endpoints_up, "down": s.endpoints_down, "error": s.endpoints_error },
        "deviations": s.deviations,
        "unreadableRows": s.unreadable_rows,
        "unreadable": s.unreadable.iter().map(|row| json!({
            "key": row.key,
            "reason": row.reason,
            "fix": row.fix,
            "freezes": row.freezes,
            "revision": row.revision,
        })).collect::<Vec<_>>(),
    });
    match format {
        Format::Yaml => output::yaml(&value),
        Format::Json => output::json(&value),
        Format::Table | Format::Wide | Format::Name => {
            let line = |name: &str, text: String| format!("{name:<12} {text}\n");
            let mut text = line("version", s.version.clone());
            text += &line(
                "store",
                format!(
                    "{}, revision {}, epoch {}{}",
                    s.store_engine,
                    s.store_revision,
                    hex(&s.epoch),
                    if s.read_only {
                        ", READ-ONLY after an I/O error"
                    } else {
                        ""
                    }
                ),
            );
            text += &line("compiled", format!("revision {}", s.compiled));
            text += &line(
                "nodes",
                format!(
                    "{} known, {} connected, {} converged, {} degraded{}",
                    s.nodes_known,
                    s.nodes_connected,
                    s.nodes_converged,
                    s.nodes_degraded,
                    match s.nodes_frozen {
                        0 => String::new(),
                        frozen => format!(", {frozen} FROZEN"),
                    }
                ),
            );
            text += &line(
                "endpoints",
                format!(
                    "{} up, {} down, {} in error",
                    s.endpoints_up, s.endpoints_down, s.endpoints_error
                ),
            );
            if !s.deviations.is_empty() {
                text += &line(
                    "deviations",
                    format!("from Calico: {}", s.deviations.join(", ")),
                );
            }
            for row in &s.unreadable {
                let freezes = format!("freezes {}: {}", row.freezes, unreadable::sentence(row));
                text += &line("UNREADABLE", freezes);
            }
            let shown = u32::try_from(s.unreadable.len()).unwrap_or(u32::MAX);
            if s.unreadable_rows > shown {
                let more = s.unreadable_rows - shown;
                let more = format!("and {more} more: `palisadectl store unreadable`");
                text += &line("UNREADABLE", more);
            }
            Ok(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_proto::v1::NodeReport;

    fn node(endpoint: EndpointStatus, conditions: Vec<Condition>) -> NodeStatus {
        NodeStatus {
            name: "web-1".into(),
            report: Some(NodeReport {
                endpoints: vec![endpoint],
                conditions,
                ..NodeReport::default()
            }),
            ..NodeStatus::default()
        }
    }

    fn endpoint(id: &str, state: EndpointState, reason: &str) -> EndpointStatus {
        EndpointStatus {
            endpoint: id.into(),
            state: state.into(),
            interfaces: vec!["eth0".into()],
            reason: reason.into(),
        }
    }

    fn resource(node: &str) -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"node": node}})
    }

    #[test]
    fn an_endpoint_fares_as_its_own_node_says() {
        let nodes = [node(
            endpoint("hep/a", EndpointState::Error, "absent"),
            vec![],
        )];
        let shown = endpoint_value(&nodes, &resource("web-1")).expect("reported");
        assert_eq!(
            shown,
            json!({"state": "error", "interfaces": ["eth0"], "reason": "absent"})
        );
        assert_eq!(endpoint_value(&nodes, &resource("web-2")), None);
        let namespaced =
            json!({"metadata": {"name": "a", "namespace": "x"}, "spec": {"node": "web-1"}});
        assert_eq!(endpoint_value(&nodes, &namespaced), None);
    }

    #[test]
    fn addresses_that_disagree_are_the_reason_of_an_endpoint_that_is_up() {
        let condition = Condition {
            r#type: "AddressMismatch".into(),
            reason: "SelectorsMiss".into(),
            message: "endpoint `hep/a`: its expected addresses lack 10.0.0.2".into(),
        };
        let nodes = [node(
            endpoint("hep/a", EndpointState::Up, ""),
            vec![condition],
        )];
        let shown = endpoint_value(&nodes, &resource("web-1")).expect("reported");
        assert!(
            shown["reason"]
                .as_str()
                .is_some_and(|r| r.contains("10.0.0.2"))
        );
    }

    #[test]
    fn conditions_of_a_node_are_told_in_full_below_the_table() {
        let mut web = node(
            endpoint("hep/a", EndpointState::Up, ""),
            vec![Condition {
                r#type: "PluginsUnavailable".into(),
                reason: "NumberTaken".into(),
                message: "NFQUEUE 7601 is bound by another program".into(),
            }],
        );
        for format in [Format::Table, Format::Wide] {
            let shown = nodes(format, std::slice::from_ref(&web)).expect("a table");
            let told =
                "web-1: PluginsUnavailable (NumberTaken): NFQUEUE 7601 is bound by another program";
            assert_eq!(shown.lines().last(), Some(told));
        }
        web.report = None;
        let shown = nodes(Format::Table, &[web]).expect("a table");
        assert_eq!(shown.lines().count(), 2, "{shown}");
    }
}
