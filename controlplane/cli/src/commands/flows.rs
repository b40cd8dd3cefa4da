//! `palisadectl flows`: what happens to packets, as nodes report it.

use crate::{
    args::{Args, Flows, Format},
    client::Client,
    failure::Failure,
    status::address,
};
use jiff::Timestamp;
use palisade_proto::{
    line,
    v1::{
        Action, AuditSeverity, Direction, Flow, FlowRecord, NodeFlow, WatchFlowsRequest, Way,
        flow_record::Body,
    },
};

pub(super) async fn run(args: &Args, asked: &Flows) -> Result<u8, Failure> {
    let client = Client::connect(args).await?;
    let message = WatchFlowsRequest {
        node: asked.node.clone().unwrap_or_default(),
        follow: asked.follow,
        last: asked.last,
    };
    // A watch has no deadline.
    let request = match asked.follow {
        true => tonic::Request::new(message),
        false => client.request(message),
    };
    let mut shown = 0;
    let mut answers = client.flows().watch_flows(request).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        if answer.missed > 0 {
            eprintln!("{} records missed: this watch is too slow", answer.missed);
        }
        shown += answer.flows.len();
        for flow in &answer.flows {
            print!("{}", line(asked.output, flow));
        }
    }
    if shown == 0 {
        eprintln!(
            "nothing to show: nodes report while there is an auditor (see plugins/README.md)"
        );
    }
    Ok(0)
}

fn line(format: Format, flow: &NodeFlow) -> String {
    let record = flow.record.clone().unwrap_or_default();
    match format {
        Format::Json | Format::Yaml => line::line(Some(&flow.node), &record),
        Format::Table | Format::Wide | Format::Name => text(&flow.node, &record) + "\n",
    }
}

fn time(record: &FlowRecord) -> String {
    let millis = i64::try_from(record.time_ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis)
        .map_or_else(|_| record.time_ms.to_string(), |time| format!("{time:.3}"))
}

fn text(node: &str, record: &FlowRecord) -> String {
    let what = match &record.body {
        None => "unknown".to_owned(),
        Some(Body::Flow(flow)) => flow_text(flow),
        Some(Body::PolicyChange(change)) => {
            format!("policy  revision {}  {}", change.revision, change.summary)
        }
        Some(Body::PluginFault(fault)) => format!("fault   {}: {}", fault.plugin, fault.reason),
        Some(Body::Lost(count)) => format!("lost    {count} events"),
        Some(Body::Audit(audit)) => {
            let severity = severity(audit.severity());
            format!(
                "{severity:7} {} > {}: {}",
                audit.plugin, audit.sink, audit.message
            )
        }
    };
    let fields = record.fields.iter();
    let fields: String = fields
        .map(|field| format!("  {}={}", field.key, field.value))
        .collect();
    let line = format!("{}  {node}  {what}{fields}", time(record));
    // What nodes and plugins say ends on a terminal.
    line.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn flow_text(flow: &Flow) -> String {
    let end = |bytes: &[u8], port: Option<u32>, endpoint: &str| {
        let address = if bytes.is_empty() {
            "-".to_owned()
        } else {
            address(bytes)
        };
        let at = match port {
            Some(port) if bytes.len() == 16 => format!("[{address}]:{port}"),
            Some(port) => format!("{address}:{port}"),
            None => address,
        };
        match endpoint {
            "" => at,
            name => format!("{at} ({name})"),
        }
    };
    let rule = match (flow.policy.as_str(), flow.rule_name.as_str()) {
        ("", "") => format!("rule {:016x}", flow.rule),
        ("", name) => name.to_owned(),
        (policy, name) => format!("{policy} {name}"),
    };
    let direction = match flow.direction() {
        Direction::Unspecified => way(flow.way()),
        Direction::Ingress => "in",
        Direction::Egress => "out",
    };
    format!(
        "{:7} {direction:3} {} {} > {}  {rule}  {} packets {} bytes",
        action(flow.action()),
        protocol(flow.protocol),
        end(&flow.source, flow.source_port, &flow.source_endpoint),
        end(
            &flow.destination,
            flow.destination_port,
            &flow.destination_endpoint
        ),
        flow.packets,
        flow.bytes,
    )
}

fn way(way: Way) -> &'static str {
    match way {
        Way::Unspecified => "-",
        Way::Input => "input",
        Way::Output => "output",
        Way::Forward => "forward",
    }
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Unspecified => "-",
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Pass => "pass",
        Action::Log => "log",
    }
}

fn severity(severity: AuditSeverity) -> &'static str {
    match severity {
        AuditSeverity::Unspecified => "-",
        AuditSeverity::Debug => "debug",
        AuditSeverity::Info => "info",
        AuditSeverity::Notice => "notice",
        AuditSeverity::Warning => "warning",
        AuditSeverity::Error => "error",
    }
}

fn protocol(number: u32) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmp6".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> FlowRecord {
        FlowRecord {
            sequence: 7,
            time_ms: 1_500,
            body: Some(Body::Flow(Flow {
                direction: Direction::Ingress.into(),
                action: Action::Deny.into(),
                policy: "gnp/web".to_owned(),
                rule_name: "ingress[1]".to_owned(),
                protocol: 17,
                source: vec![192, 0, 2, 9],
                source_port: Some(4000),
                destination_port: Some(53),
                packets: 1,
                bytes: 60,
                ..Flow::default()
            })),
            fields: vec![palisade_proto::v1::FlowField {
                key: "why".to_owned(),
                value: "\u{1b}[31mred".to_owned(),
            }],
        }
    }

    #[test]
    fn a_flow_is_one_line_without_what_is_blanked_or_what_a_terminal_obeys() {
        assert_eq!(
            text("n1", &denied()),
            "1970-01-01T00:00:01.500Z  n1  deny    in  udp 192.0.2.9:4000 > -:53  gnp/web ingress[1]  \
             1 packets 60 bytes  why=?[31mred"
        );
        let node = "n1".to_owned();
        let record = Some(denied());
        let json = line(Format::Json, &NodeFlow { node, record });
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["flow"]["source"], "192.0.2.9");
        assert_eq!(json["flow"]["destination"], serde_json::Value::Null);
    }
}
