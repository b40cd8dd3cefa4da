//! Auditors: events in, outcomes out, records to sinks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use palisade_plugin_host::{
    Action, Auditor, Body, EndpointId, Event, Fault, FaultKind, Field, Flow, Last, Options,
    Outcome, Phase, RuleId, Severity, SinkError, Surroundings, Way,
};

use crate::guests::{Told, plugin};

/// A node with one private endpoint, number 7, that takes every record.
#[derive(Default)]
struct Node(Arc<Told>);

impl Surroundings for Node {
    fn generation(&self) -> u64 {
        1
    }

    fn label(&self, id: EndpointId, key: &str) -> Option<String> {
        (id == EndpointId(7) && key == "privacy").then(|| "strict".to_owned())
    }

    fn count(&self, metric: &str, by: u64) {
        self.0.add(format!("{metric} +{by}"));
    }

    fn emit(
        &self,
        sink: &str,
        severity: Severity,
        message: &str,
        fields: &[Field],
    ) -> Result<(), SinkError> {
        let fields: Vec<_> = fields
            .iter()
            .map(|field| format!("{}={}", field.key, field.value))
            .collect();
        self.0.add(
            format!("{sink} {severity:?} {message} {}", fields.join(" "))
                .trim_end()
                .to_owned(),
        );
        Ok(())
    }
}

fn auditor(package: &'static str, settings: &str) -> (Auditor, Arc<Told>) {
    let told = Arc::new(Told::default());
    let options = Options {
        surroundings: Arc::new(Node(Arc::clone(&told))),
        ..Options::default()
    };
    let configured = plugin(package).with_settings(settings, options);
    (configured.auditor().expect("it is an auditor"), told)
}

fn flow(action: Action, source_endpoint: Option<u32>) -> Event {
    Event {
        sequence: 1,
        time_ms: 1_000,
        body: Body::Flow(Flow {
            phase: Phase::Start,
            way: Way::Input,
            action,
            rule: RuleId(42),
            protocol: 6,
            source: Some(IpAddr::from([192, 0, 2, 1])),
            destination: Some(IpAddr::from([192, 0, 2, 2])),
            source_port: Some(40_000),
            destination_port: Some(443),
            icmp: None,
            in_interface: None,
            out_interface: None,
            source_endpoint: source_endpoint.map(EndpointId),
            destination_endpoint: Some(EndpointId(8)),
            packets: 1,
            bytes: 60,
        }),
        fields: Vec::new(),
    }
}

fn process(auditor: &mut Auditor, events: &[Event]) -> Result<Vec<Outcome>, Fault> {
    auditor.process(events, Instant::now(), 1_000)
}

/// The events that go on.
fn passed(auditor: &mut Auditor, events: Vec<Event>) -> Vec<Event> {
    let outcomes = process(auditor, &events).expect("outcomes");
    outcomes
        .into_iter()
        .zip(events)
        .filter_map(|(outcome, event)| outcome.apply(event))
        .collect()
}

fn source(event: &Event) -> Option<IpAddr> {
    match &event.body {
        Body::Flow(flow) => flow.source,
        _ => None,
    }
}

#[test]
fn addresses_of_labelled_endpoints_are_blanked_and_others_kept() {
    let (mut redact, told) = auditor("redact", r#"{"label": "privacy=strict"}"#);
    let events = passed(
        &mut redact,
        vec![flow(Action::Allow, Some(7)), flow(Action::Allow, Some(9))],
    );
    assert_eq!(source(&events[0]), None);
    assert_eq!(source(&events[1]), Some(IpAddr::from([192, 0, 2, 1])));
    let Body::Flow(blanked) = &events[0].body else {
        panic!("a flow")
    };
    assert!(blanked.source_port.is_none() && blanked.destination.is_some());
    assert_eq!(events[0].fields.len(), 1);
    assert_eq!(told.so_far(), ["blanked +1"]);
}

#[test]
fn another_value_of_the_label_is_not_blanked() {
    let (mut redact, _) = auditor("redact", r#"{"label": "privacy=lax"}"#);
    let events = passed(&mut redact, vec![flow(Action::Allow, Some(7))]);
    assert!(source(&events[0]).is_some());
}

#[test]
fn a_burst_of_denials_raises_one_notice() {
    let (mut redact, told) = auditor("redact", r#"{"label": "x", "burst": 3}"#);
    let denials = vec![flow(Action::Deny, None); 5];
    assert_eq!(passed(&mut redact, denials).len(), 5);
    let notice = "alerts Notice burst of denials source=192.0.2.1 denials=3";
    assert_eq!(told.so_far(), ["bursts +1", notice]);
}

#[test]
fn allowed_flows_are_no_burst() {
    let (mut redact, told) = auditor("redact", r#"{"label": "x", "burst": 3}"#);
    passed(&mut redact, vec![flow(Action::Allow, None); 5]);
    assert_eq!(told.so_far(), [""; 0]);
}

#[test]
fn a_notice_does_not_tell_what_is_blanked() {
    let (mut redact, told) = auditor("redact", r#"{"label": "privacy", "burst": 1}"#);
    passed(&mut redact, vec![flow(Action::Deny, Some(7))]);
    let told = told.so_far().join("\n");
    assert!(
        told.contains("source=redacted") && !told.contains("192.0.2.1"),
        "{told}"
    );
}

#[test]
fn other_events_are_kept() {
    let (mut redact, _) = auditor("redact", r#"{"label": "x"}"#);
    let event = |body| Event {
        sequence: 1,
        time_ms: 0,
        body,
        fields: Vec::new(),
    };
    let events = vec![
        event(Body::PolicyChange {
            revision: 3,
            summary: "s".to_owned(),
        }),
        event(Body::PluginFault {
            plugin: "p".to_owned(),
            reason: "r".to_owned(),
        }),
        event(Body::Lost(9)),
    ];
    assert_eq!(passed(&mut redact, events.clone()), events);
}

#[test]
fn settings_of_an_auditor_are_validated() {
    let plugin = plugin("redact");
    assert!(plugin.validate(r#"{"label": "k=v"}"#).is_ok());
    assert!(plugin.validate(r#"{"label": "=v", "burst": 0}"#).is_err());
}

#[test]
fn more_events_than_a_batch_are_all_judged() {
    let (mut keep, _) = auditor("misbehave-auditor", "keep");
    let events = vec![flow(Action::Allow, None); 2 * Auditor::BATCH + 1];
    assert_eq!(
        process(&mut keep, &events).map(|outcomes| outcomes.len()),
        Ok(events.len())
    );
}

#[test]
fn flows_can_be_discarded_or_blanked_whole() {
    let (mut discard, _) = auditor("misbehave-auditor", "discard-flows");
    assert_eq!(passed(&mut discard, vec![flow(Action::Allow, None)]), []);
    let (mut blank, _) = auditor("misbehave-auditor", "blank-all");
    let event = passed(&mut blank, vec![flow(Action::Allow, Some(7))]).remove(0);
    let Body::Flow(flow) = event.body else {
        panic!("a flow")
    };
    assert!(flow.source.is_none() && flow.destination.is_none() && flow.source_endpoint.is_none());
    assert!(flow.destination_port.is_none() && flow.destination_endpoint.is_none());
    assert_eq!((flow.rule, flow.bytes), (RuleId(42), 60));
}

#[test]
fn the_wrong_number_of_outcomes_is_a_wrong_answer() {
    for deed in ["too-few", "too-many"] {
        let (mut auditor, _) = auditor("misbehave-auditor", deed);
        let fault =
            process(&mut auditor, &vec![flow(Action::Allow, None); 3]).expect_err("a fault");
        assert_eq!(fault.kind(), FaultKind::WrongAnswer, "{deed}: {fault}");
    }
}

#[test]
fn more_fields_than_an_event_may_have_are_a_fault() {
    let (mut auditor, _) = auditor("misbehave-auditor", "much");
    let one = process(&mut auditor, &[flow(Action::Allow, None)]).expect_err("a fault");
    assert_eq!(one.kind(), FaultKind::WrongAnswer);
    // Many of them are cut off on their way out, before they fill the host's memory.
    let many = process(&mut auditor, &vec![flow(Action::Allow, None); 20]).expect_err("a fault");
    assert_eq!(many.kind(), FaultKind::Trap, "{many}");
}

#[test]
fn a_trap_costs_the_batch_and_no_more() {
    let (mut auditor, _) = auditor("misbehave-auditor", "trap");
    for _ in 0..2 {
        let fault = process(&mut auditor, &[flow(Action::Allow, None)]).expect_err("a fault");
        assert_eq!(fault.kind(), FaultKind::Trap);
    }
}

#[test]
fn sinks_take_what_is_declared_and_not_too_large() {
    let (mut auditor, told) = auditor("misbehave-auditor", "emit");
    assert_eq!(
        passed(&mut auditor, vec![flow(Action::Allow, None)]).len(),
        1
    );
    assert_eq!(told.so_far(), ["declared Notice seen"]);
}

#[test]
fn the_last_flush_is_heard() {
    let (mut auditor, told) = auditor("misbehave-auditor", "keep");
    auditor.flush(Last::No, Instant::now(), 0).expect("flushed");
    assert_eq!(told.so_far(), [""; 0]);
    auditor
        .flush(Last::Yes, Instant::now(), 0)
        .expect("flushed");
    assert_eq!(told.so_far(), ["declared Info last words"]);
}
