//! A record as one line of JSON. Absent fields are unknown, or were blanked.

use palisade_policy::{ids::RuleId, rule::Protocol};
use palisade_proto::v1::{self, flow_record::Body};
use serde_json::{Map, Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The line, with its end.
pub fn line(record: &v1::FlowRecord) -> String {
    let mut map = Map::new();
    let time = i64::try_from(record.time_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    if let Some(time) = time {
        map.insert("time".to_owned(), format!("{time:.3}").into());
    }
    if record.sequence != 0 {
        map.insert("sequence".to_owned(), record.sequence.into());
    }
    let (kind, body) = match &record.body {
        Some(Body::Flow(told)) => ("flow", flow(told)),
        Some(Body::PolicyChange(told)) => (
            "policyChange",
            json!({"revision": told.revision, "summary": told.summary}),
        ),
        Some(Body::PluginFault(told)) => (
            "pluginFault",
            json!({"plugin": told.plugin, "reason": told.reason}),
        ),
        Some(Body::Lost(count)) => ("lost", (*count).into()),
        Some(Body::Audit(told)) => (
            "audit",
            json!({
                "plugin": told.plugin, "sink": told.sink, "message": told.message,
                "severity": name(told.severity().as_str_name(), "AUDIT_SEVERITY_"),
            }),
        ),
        None => ("nothing", Value::Null),
    };
    map.insert(kind.to_owned(), body);
    if !record.fields.is_empty() {
        let fields = record.fields.iter();
        let pairs = fields.map(|field| (field.key.clone(), field.value.clone().into()));
        map.insert("fields".to_owned(), Value::Object(pairs.collect()));
    }
    let mut line = Value::Object(map).to_string();
    line.push('\n');
    line
}

fn flow(flow: &v1::Flow) -> Value {
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| {
        if value != "" && value != Value::Null {
            map.insert(key.to_owned(), value);
        }
    };
    put(
        "action",
        name(flow.action().as_str_name(), "ACTION_").into(),
    );
    put(
        "phase",
        name(flow.phase().as_str_name(), "FLOW_PHASE_").into(),
    );
    put("way", name(flow.way().as_str_name(), "WAY_").into());
    let direction = name(flow.direction().as_str_name(), "DIRECTION_");
    put("direction", direction.into());
    put(
        "list",
        name(flow.list().as_str_name(), "POLICY_LIST_").into(),
    );
    put("tier", flow.tier.clone().into());
    put("policy", flow.policy.clone().into());
    put("rule", flow.rule_name.clone().into());
    put("ruleId", RuleId(flow.rule).to_string().into());
    let protocol = u8::try_from(flow.protocol)
        .map_or(Value::Null, |number| Protocol(number).to_string().into());
    put("protocol", protocol);
    put("source", address(&flow.source));
    put("sourcePort", flow.source_port.into());
    put("destination", address(&flow.destination));
    put("destinationPort", flow.destination_port.into());
    put("icmpType", flow.icmp_type.into());
    put("icmpCode", flow.icmp_code.into());
    put("inInterface", flow.in_interface.clone().into());
    put("outInterface", flow.out_interface.clone().into());
    put("sourceEndpoint", flow.source_endpoint.clone().into());
    let destination = flow.destination_endpoint.clone();
    put("destinationEndpoint", destination.into());
    put("packets", flow.packets.into());
    put("bytes", flow.bytes.into());
    Value::Object(map)
}

fn address(octets: &[u8]) -> Value {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Ipv4Addr::from(octets).to_string().into();
    }
    <[u8; 16]>::try_from(octets).map_or(Value::Null, |octets| {
        Ipv6Addr::from(octets).to_string().into()
    })
}

/// A value of an enum as people write it; empty where it is unspecified.
fn name(value: &str, prefix: &str) -> String {
    match value.strip_prefix(prefix).unwrap_or(value) {
        "UNSPECIFIED" => String::new(),
        known => known.to_lowercase().replace('_', "-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_packet_is_one_line() {
        let mut told = v1::Flow {
            rule: 255,
            policy: "gnp/web".to_owned(),
            rule_name: "ingress[0]".to_owned(),
            protocol: 6,
            source: vec![192, 0, 2, 1],
            destination_port: Some(22),
            packets: 1,
            bytes: 60,
            ..v1::Flow::default()
        };
        told.set_action(v1::Action::Deny);
        told.set_phase(v1::FlowPhase::Start);
        told.set_list(v1::PolicyList::PreDnat);
        let record = v1::FlowRecord {
            sequence: 7,
            time_ms: 1_700_000_000_123,
            body: Some(Body::Flow(told)),
            fields: vec![v1::FlowField {
                key: "site".to_owned(),
                value: "a\nb".to_owned(),
            }],
        };
        assert_eq!(
            line(&record),
            "{\"fields\":{\"site\":\"a\\nb\"},\"flow\":{\"action\":\"deny\",\"bytes\":60,\"destinationPort\":22,\"list\":\"pre-dnat\",\
             \"packets\":1,\"phase\":\"start\",\"policy\":\"gnp/web\",\"protocol\":\"TCP\",\"rule\":\"ingress[0]\",\
             \"ruleId\":\"00000000000000ff\",\"source\":\"192.0.2.1\"},\"sequence\":7,\"time\":\"2023-11-14T22:13:20.123Z\"}\n"
        );
    }
}
