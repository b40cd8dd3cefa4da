//! Nodes and the control plane, for people and for tools.

use crate::{args::Format, failure::Failure, output};
use palisade_proto::v1::{EndpointState, GetStatusResponse, NodeStatus, Position};
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
    if node.conditions.iter().any(|c| c.r#type == "Degraded") {
        "Degraded".into()
    } else if !node.connected {
        "Disconnected".into()
    } else if converged(node) {
        "Enforced".into()
    } else {
        "Applying".into()
    }
}

fn address(bytes: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        IpAddr::from(v4).to_string()
    } else if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        IpAddr::from(v6).to_string()
    } else {
        hex(bytes)
    }
}

/// A node as a machine reads it.
pub(crate) fn node_value(node: &NodeStatus) -> Value {
    let conditions: Vec<Value> = node
        .conditions
        .iter()
        .chain(node.report.iter().flat_map(|r| &r.conditions))
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
            "state": match e.state() {
                EndpointState::Up => "up",
                EndpointState::Down => "down",
                EndpointState::Error => "error",
                EndpointState::Unspecified => "unknown",
            },
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
            Ok(output::table(
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
                        let conditions: Vec<&str> = n
                            .conditions
                            .iter()
                            .chain(n.report.iter().flat_map(|r| &r.conditions))
                            .map(|c| c.r#type.as_str())
                            .collect();
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
            ))
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
        "nodes": { "known": s.nodes_known, "connected": s.nodes_connected, "converged": s.nodes_converged },
        "deviations": s.deviations,
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
                    "{} known, {} connected, {} converged",
                    s.nodes_known, s.nodes_connected, s.nodes_converged
                ),
            );
            if !s.deviations.is_empty() {
                text += &line(
                    "deviations",
                    format!("from Calico: {}", s.deviations.join(", ")),
                );
            }
            Ok(text)
        }
    }
}
