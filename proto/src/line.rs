//! A record of what happened on a node as one line of JSON: what sinks of nodes write, and `palisadectl flows -o json`
//! prints. Absent fields are unknown, or were blanked.

use crate::v1::{self, flow_record::Body};
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::{
    fmt::{self, Display, Write as _},
    net::{Ipv4Addr, Ipv6Addr},
};

/// The line, with its end; with the node's name, where it is given.
pub fn line(node: Option<&str>, record: &v1::FlowRecord) -> String {
    // Only a map with keys that are no text, or a value that refuses, cannot be written; there are none.
    let mut line = serde_json::to_string(&Record { node, record }).unwrap_or_default();
    line.push('\n');
    line
}

struct Record<'a> {
    node: Option<&'a str>,
    record: &'a v1::FlowRecord,
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { node, record } = self;
        let mut map = serializer.serialize_map(None)?;
        if let Some(node) = node {
            map.serialize_entry("node", node)?;
        }
        let time = i64::try_from(record.time_ms)
            .ok()
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        if let Some(time) = time {
            map.serialize_entry("time", &Text(format_args!("{time:.3}")))?;
        }
        if record.sequence != 0 {
            map.serialize_entry("sequence", &record.sequence)?;
        }
        match &record.body {
            Some(Body::Flow(told)) => map.serialize_entry("flow", &Flow(told))?,
            Some(Body::PolicyChange(told)) => {
                let (revision, summary) = (told.revision, &told.summary);
                map.serialize_entry("policyChange", &PolicyChange { revision, summary })?;
            }
            Some(Body::PluginFault(told)) => {
                let (plugin, reason) = (&told.plugin, &told.reason);
                map.serialize_entry("pluginFault", &PluginFault { plugin, reason })?;
            }
            Some(Body::Lost(count)) => map.serialize_entry("lost", count)?,
            Some(Body::Audit(told)) => {
                let audit = Audit {
                    plugin: &told.plugin,
                    sink: &told.sink,
                    severity: Text(Name::of(told.severity().as_str_name(), "AUDIT_SEVERITY_")),
                    message: &told.message,
                };
                map.serialize_entry("audit", &audit)?;
            }
            None => map.serialize_entry("nothing", &())?,
        }
        if !record.fields.is_empty() {
            map.serialize_entry("fields", &Fields(&record.fields))?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct PolicyChange<'a> {
    revision: u64,
    summary: &'a str,
}

#[derive(Serialize)]
struct PluginFault<'a> {
    plugin: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Audit<'a> {
    plugin: &'a str,
    sink: &'a str,
    severity: Text<Name>,
    message: &'a str,
}

struct Fields<'a>(&'a [v1::FlowField]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|field| (&field.key, &field.value)))
    }
}

struct Flow<'a>(&'a v1::Flow);

impl Serialize for Flow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(flow) = self;
        let mut map = Known(serializer.serialize_map(None)?);
        map.name("action", flow.action().as_str_name(), "ACTION_")?;
        map.name("phase", flow.phase().as_str_name(), "FLOW_PHASE_")?;
        map.name("way", flow.way().as_str_name(), "WAY_")?;
        map.name("direction", flow.direction().as_str_name(), "DIRECTION_")?;
        map.name("list", flow.list().as_str_name(), "POLICY_LIST_")?;
        map.text("tier", &flow.tier)?;
        map.text("policy", &flow.policy)?;
        map.text("rule", &flow.rule_name)?;
        map.some("ruleId", Some(Text(format_args!("{:016x}", flow.rule))))?;
        map.some("protocol", Some(Text(Protocol(flow.protocol))))?;
        map.address("source", &flow.source)?;
        map.some("sourcePort", flow.source_port)?;
        map.address("destination", &flow.destination)?;
        map.some("destinationPort", flow.destination_port)?;
        map.some("icmpType", flow.icmp_type)?;
        map.some("icmpCode", flow.icmp_code)?;
        map.text("inInterface", &flow.in_interface)?;
        map.text("outInterface", &flow.out_interface)?;
        map.text("sourceEndpoint", &flow.source_endpoint)?;
        map.text("destinationEndpoint", &flow.destination_endpoint)?;
        map.some("packets", Some(flow.packets))?;
        map.some("bytes", Some(flow.bytes))?;
        map.0.end()
    }
}

/// A map of what is known.
struct Known<M>(M);

impl<M: SerializeMap> Known<M> {
    fn some(&mut self, key: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
        value.map_or(Ok(()), |value| self.0.serialize_entry(key, &value))
    }

    fn text(&mut self, key: &str, value: &str) -> Result<(), M::Error> {
        self.some(key, (!value.is_empty()).then_some(value))
    }

    fn name(&mut self, key: &str, value: &'static str, prefix: &str) -> Result<(), M::Error> {
        let name = Name::of(value, prefix);
        self.some(key, (name.0 != UNSPECIFIED).then_some(Text(name)))
    }

    fn address(&mut self, key: &str, octets: &[u8]) -> Result<(), M::Error> {
        if let Ok(octets) = <[u8; 4]>::try_from(octets) {
            return self.some(key, Some(Text(Ipv4Addr::from(octets))));
        }
        let long = <[u8; 16]>::try_from(octets).ok();
        self.some(key, long.map(|octets| Text(Ipv6Addr::from(octets))))
    }
}

/// As text, without a string in between.
struct Text<T>(T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Its number, as people write it in policy.
struct Protocol(u32);

impl Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "ICMP",
            6 => "TCP",
            17 => "UDP",
            58 => "ICMPv6",
            132 => "SCTP",
            136 => "UDPLite",
            number => return number.fmt(f),
        })
    }
}

/// A value of an enum as people write it.
struct Name(&'static str);

const UNSPECIFIED: &str = "UNSPECIFIED";

impl Name {
    fn of(value: &'static str, prefix: &str) -> Self {
        Self(value.strip_prefix(prefix).unwrap_or(value))
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '_' => f.write_char('-'),
            letter => f.write_char(letter.to_ascii_lowercase()),
        })
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
            line(Some("n1"), &record),
            "{\"node\":\"n1\",\"time\":\"2023-11-14T22:13:20.123Z\",\"sequence\":7,\"flow\":{\"action\":\"deny\",\"phase\":\"start\",\
             \"list\":\"pre-dnat\",\"policy\":\"gnp/web\",\"rule\":\"ingress[0]\",\"ruleId\":\"00000000000000ff\",\
             \"protocol\":\"TCP\",\"source\":\"192.0.2.1\",\"destinationPort\":22,\"packets\":1,\"bytes\":60},\
             \"fields\":{\"site\":\"a\\nb\"}}\n"
        );
    }
}
