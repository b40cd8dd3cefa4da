//! Events with names in the place of numbers: what sinks write and the control plane is told.

use crate::enforce::inventory::Inventory;
use palisade_plugin_host::{
    Action, Body, EndpointId, Event, Field, Flow, InterfaceId, Phase, Severity, Way,
};
use palisade_policy::class::{Direction, PolicyList};
use palisade_proto::v1::{self, flow_record};
use std::net::IpAddr;

/// The record of an event, as it stands after auditors.
pub fn record(event: &Event, inventory: &Inventory) -> v1::FlowRecord {
    let body = match &event.body {
        Body::Flow(flow) => flow_record::Body::Flow(of_flow(flow, inventory)),
        Body::PolicyChange { revision, summary } => {
            flow_record::Body::PolicyChange(v1::PolicyChange {
                revision: *revision,
                summary: summary.clone(),
            })
        }
        Body::PluginFault { plugin, reason } => flow_record::Body::PluginFault(v1::PluginFault {
            plugin: plugin.clone(),
            reason: reason.clone(),
        }),
        Body::Lost(count) => flow_record::Body::Lost(*count),
    };
    v1::FlowRecord {
        sequence: event.sequence,
        time_ms: event.time_ms,
        body: Some(body),
        fields: fields(&event.fields),
    }
}

/// What an auditor emitted.
pub fn emitted(
    plugin: &str,
    sink: &str,
    severity: Severity,
    message: &str,
    added: &[Field],
) -> v1::FlowRecord {
    let severity = match severity {
        Severity::Debug => v1::AuditSeverity::Debug,
        Severity::Info => v1::AuditSeverity::Info,
        Severity::Notice => v1::AuditSeverity::Notice,
        Severity::Warning => v1::AuditSeverity::Warning,
        Severity::Error => v1::AuditSeverity::Error,
    };
    v1::FlowRecord {
        sequence: 0,
        time_ms: 0,
        body: Some(flow_record::Body::Audit(v1::AuditRecord {
            plugin: plugin.to_owned(),
            sink: sink.to_owned(),
            severity: severity.into(),
            message: message.to_owned(),
        })),
        fields: fields(added),
    }
}

fn fields(fields: &[Field]) -> Vec<v1::FlowField> {
    fields
        .iter()
        .map(|field| v1::FlowField {
            key: field.key.clone(),
            value: field.value.clone(),
        })
        .collect()
}

fn of_flow(flow: &Flow, inventory: &Inventory) -> v1::Flow {
    let known = inventory.rule(flow.rule);
    let direction = known.and_then(|known| known.direction).or(match flow.way {
        Way::Input => Some(Direction::Ingress),
        Way::Output => Some(Direction::Egress),
        // Both ends may be ours.
        Way::Forward => None,
    });
    let interface = |id: Option<InterfaceId>| {
        let name = id.and_then(|id| inventory.interface_name(id));
        name.unwrap_or_default().to_owned()
    };
    let endpoint = |id: Option<EndpointId>| {
        let found = id.and_then(|id| inventory.endpoint(id));
        found.map_or_else(String::new, |endpoint| match endpoint.namespace.as_str() {
            "" => endpoint.name.clone(),
            namespace => format!("{namespace}/{}", endpoint.name),
        })
    };
    let (kind, code) = flow.icmp.unzip();
    let mut told = v1::Flow {
        rule: flow.rule.0,
        protocol: flow.protocol.into(),
        source: flow.source.map(octets).unwrap_or_default(),
        destination: flow.destination.map(octets).unwrap_or_default(),
        source_port: flow.source_port.map(u32::from),
        destination_port: flow.destination_port.map(u32::from),
        icmp_type: kind.map(u32::from),
        icmp_code: code.map(u32::from),
        in_interface: interface(flow.in_interface),
        out_interface: interface(flow.out_interface),
        source_endpoint: endpoint(flow.source_endpoint),
        destination_endpoint: endpoint(flow.destination_endpoint),
        packets: flow.packets,
        bytes: flow.bytes,
        ..v1::Flow::default()
    };
    told.set_phase(match flow.phase {
        Phase::Start => v1::FlowPhase::Start,
        Phase::Update => v1::FlowPhase::Update,
        Phase::End => v1::FlowPhase::End,
    });
    told.set_way(match flow.way {
        Way::Input => v1::Way::Input,
        Way::Output => v1::Way::Output,
        Way::Forward => v1::Way::Forward,
    });
    told.set_action(match flow.action {
        Action::Allow => v1::Action::Allow,
        Action::Deny => v1::Action::Deny,
        Action::Log => v1::Action::Log,
    });
    if let Some(direction) = direction {
        told.set_direction(match direction {
            Direction::Ingress => v1::Direction::Ingress,
            Direction::Egress => v1::Direction::Egress,
        });
    }
    if let Some(known) = known {
        if let Some(list) = known.list {
            told.set_list(match list {
                PolicyList::Normal => v1::PolicyList::Normal,
                PolicyList::Forward => v1::PolicyList::Forward,
                PolicyList::Untracked => v1::PolicyList::Untracked,
                PolicyList::PreDnat => v1::PolicyList::PreDnat,
            });
        }
        let policy = known.policy.as_ref();
        told.policy = policy.map_or_else(String::new, ToString::to_string);
        told.rule_name.clone_from(&known.rule.name);
        told.tier.clone_from(&known.rule.tier);
    }
    told
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
