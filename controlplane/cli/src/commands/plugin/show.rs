//! `palisadectl plugin list` and `plugin status`: what is stored, and how plugins do on the nodes.

use crate::{
    args::{Args, Format},
    client::Client,
    failure::Failure,
    output,
    status::hex,
    unreadable,
};
use palisade_proto::v1::{
    Component, ListNodesRequest, ListPluginsRequest, PluginKind, PluginReport, PluginState,
};
use serde_json::{Value, json};

pub(super) async fn list(args: &Args, format: Format) -> Result<u8, Failure> {
    let client = Client::connect(args).await?;
    let mut plugins = client.plugins();
    let answer = plugins.list_plugins(client.request(ListPluginsRequest {}));
    let answer = answer.await?.into_inner();
    let values = answer.components.iter().map(component).collect();
    let columns = [
        ("DIGEST", "digest"),
        ("SIZE", "size"),
        ("KINDS", "kinds"),
        ("NAME", "name"),
        ("VERSION", "version"),
        ("USED BY", "usedBy"),
    ];
    print!("{}", show(format, values, &columns)?);
    Ok(unreadable::warn(&answer.unreadable))
}

fn component(component: &Component) -> Value {
    let kinds = component.kinds().map(|kind| match kind {
        PluginKind::Unspecified => "unknown",
        PluginKind::Matcher => "matcher",
        PluginKind::Auditor => "auditor",
    });
    json!({
        "digest": digest(&component.digest),
        "size": component.size,
        "kinds": kinds.collect::<Vec<_>>(),
        "name": component.name,
        "version": component.version,
        "description": component.description,
        "usedBy": component.used_by,
    })
}

pub(super) async fn status(args: &Args, names: &[String], format: Format) -> Result<u8, Failure> {
    let client = Client::connect(args).await?;
    let mut observe = client.observe();
    let answer = observe.list_nodes(client.request(ListNodesRequest {}));
    let nodes = answer.await?.into_inner().nodes;
    let mut values = Vec::new();
    for node in &nodes {
        let reports = node.report.iter().flat_map(|report| &report.plugins);
        let wanted = reports.filter(|plugin| names.is_empty() || names.contains(&plugin.name));
        values.extend(wanted.map(|plugin| report(&node.name, plugin)));
    }
    let columns = [
        ("PLUGIN", "plugin"),
        ("NODE", "node"),
        ("STATE", "state"),
        ("CALLS", "calls"),
        ("FAULTS", "faults"),
        ("REASON", "reason"),
    ];
    print!("{}", show(format, values, &columns)?);
    Ok(0)
}

fn report(node: &str, plugin: &PluginReport) -> Value {
    let state = match plugin.state() {
        PluginState::Unspecified => "unknown",
        PluginState::Fetching => "fetching",
        PluginState::Active => "active",
        PluginState::SetAside => "set aside",
        PluginState::Refused => "refused",
    };
    json!({
        "plugin": plugin.name,
        "node": node,
        "digest": digest(&plugin.digest),
        "state": state,
        "calls": plugin.calls,
        "faults": plugin.faults,
        "reason": plugin.reason,
    })
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

fn show(
    format: Format,
    values: Vec<Value>,
    columns: &[(&'static str, &'static str)],
) -> Result<String, Failure> {
    let text = |value: &Value, field: &str| match value.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let items = items.iter().filter_map(Value::as_str);
            items.collect::<Vec<_>>().join(",")
        }
        Some(other) => other.to_string(),
        None => String::new(),
    };
    match format {
        Format::Yaml => output::yaml(&Value::Array(values)),
        Format::Json => output::json(&Value::Array(values)),
        Format::Name => {
            let first = columns.first().map_or("", |(_, field)| field);
            Ok(values.iter().map(|v| text(v, first) + "\n").collect())
        }
        Format::Table | Format::Wide => {
            let header: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
            let rows = values.iter().map(|value| {
                let cells = columns.iter().map(|(_, field)| text(value, field));
                cells.collect()
            });
            Ok(output::table(&header, rows))
        }
    }
}
