//! Events and outcomes, ours and those of the contract.

use crate::bindings::auditing::exports::palisade::plugin::auditor as wit;
use crate::bindings::types;
use crate::matcher::{wit_address, wit_icmp, wit_way};

use super::event::{Action, Amendment, Body, Event, Field, Flow, Outcome, Part, Phase};

pub(super) use wit::Outcome as WitOutcome;

impl From<Field> for types::Field {
    fn from(Field { key, value }: Field) -> Self {
        Self { key, value }
    }
}

impl From<types::Field> for Field {
    fn from(types::Field { key, value }: types::Field) -> Self {
        Self { key, value }
    }
}

pub(super) fn event(event: &Event) -> wit::Event {
    wit::Event {
        sequence: event.sequence,
        time_ms: event.time_ms,
        body: body(&event.body),
        fields: event.fields.iter().cloned().map(Into::into).collect(),
    }
}

fn body(body: &Body) -> wit::Body {
    match body {
        Body::Flow(it) => wit::Body::Flow(flow(it)),
        Body::PolicyChange { revision, summary } => wit::Body::PolicyChange(wit::PolicyChange {
            revision: *revision,
            summary: summary.clone(),
        }),
        Body::PluginFault { plugin, reason } => wit::Body::PluginFault(wit::PluginFault {
            plugin: plugin.clone(),
            reason: reason.clone(),
        }),
        Body::Lost(count) => wit::Body::Lost(*count),
    }
}

fn flow(flow: &Flow) -> wit::Flow {
    wit::Flow {
        phase: match flow.phase {
            Phase::Start => wit::Phase::Start,
            Phase::Update => wit::Phase::Update,
            Phase::End => wit::Phase::End,
        },
        way: wit_way(flow.way),
        action: match flow.action {
            Action::Allow => wit::Action::Allow,
            Action::Deny => wit::Action::Deny,
            Action::Log => wit::Action::Log,
        },
        rule: flow.rule.0,
        protocol: flow.protocol,
        source: flow.source.map(wit_address),
        destination: flow.destination.map(wit_address),
        source_port: flow.source_port,
        destination_port: flow.destination_port,
        icmp: flow.icmp.map(wit_icmp),
        in_interface: flow.in_interface.map(|id| id.0),
        out_interface: flow.out_interface.map(|id| id.0),
        source_endpoint: flow.source_endpoint.map(|id| id.0),
        destination_endpoint: flow.destination_endpoint.map(|id| id.0),
        packets: flow.packets,
        bytes: flow.bytes,
    }
}

pub(super) fn outcome(outcome: WitOutcome) -> Outcome {
    match outcome {
        wit::Outcome::Keep => Outcome::Keep,
        wit::Outcome::Discard => Outcome::Discard,
        wit::Outcome::Amend(wit::Amendment { blank, add }) => Outcome::Amend(Amendment {
            blank: PARTS
                .into_iter()
                .filter(|(flag, _)| blank.contains(*flag))
                .map(|(_, part)| part)
                .collect(),
            add: add.into_iter().map(Into::into).collect(),
        }),
    }
}

const PARTS: [(wit::Parts, Part); 8] = [
    (wit::Parts::SOURCE, Part::Source),
    (wit::Parts::DESTINATION, Part::Destination),
    (wit::Parts::SOURCE_PORT, Part::SourcePort),
    (wit::Parts::DESTINATION_PORT, Part::DestinationPort),
    (wit::Parts::IN_INTERFACE, Part::InInterface),
    (wit::Parts::OUT_INTERFACE, Part::OutInterface),
    (wit::Parts::SOURCE_ENDPOINT, Part::SourceEndpoint),
    (wit::Parts::DESTINATION_ENDPOINT, Part::DestinationEndpoint),
];
