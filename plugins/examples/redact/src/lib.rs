//! An auditor with two duties.
//!
//! Addresses of endpoints that carry a label are blanked in every flow before it is stored or sent. And when one source
//! is denied often within a minute, a notice goes to the sink `alerts`, once for each burst.

mod burst;
mod private;

use palisade_plugin::auditor::{Action, Amendment, Auditor, Body, Event, Flow, Outcome};
use palisade_plugin::sinks::{Severity, emit};
use palisade_plugin::{Field, Problem, node, settings};

use burst::Bursts;
use private::Private;

/// What the Plugin resource may set.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    /// Label of the endpoints whose addresses are blanked: `key` (any value) or `key=value`.
    label: String,
    /// So many denials of one source within a minute are a burst.
    #[serde(default = "fifty")]
    burst: u32,
}

fn fifty() -> u32 {
    50
}

/// The auditor.
#[derive(Debug)]
pub struct Redact {
    private: Private,
    bursts: Bursts,
}

impl Auditor for Redact {
    fn configure(text: &str) -> Result<Self, Vec<Problem>> {
        let read: Settings = settings::parse(text)?;
        let mut problems = Vec::new();
        if read.label.is_empty() || read.label.starts_with('=') {
            problems.push(settings::problem(
                "label",
                "names no key: write `key` or `key=value`",
            ));
        }
        if read.burst == 0 {
            problems.push(settings::problem("burst", "is 0: one denial is no burst"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            private: Private::new(&read.label),
            bursts: Bursts::new(read.burst),
        })
    }

    fn event(&mut self, event: &Event) -> Outcome {
        let Body::Flow(flow) = &event.body else {
            return Outcome::Keep;
        };
        let blank = self.private.parts(flow);
        // What is blanked must not leave by the side door either.
        let known = !blank.contains(palisade_plugin::auditor::Parts::SOURCE);
        if let Some(count) = self.denied(flow, event.time_ms) {
            report(flow, count, known);
        }
        if blank.is_empty() {
            return Outcome::Keep;
        }
        node::count("blanked", 1);
        Outcome::Amend(Amendment {
            blank,
            add: vec![Field {
                key: "redacted".to_owned(),
                value: "true".to_owned(),
            }],
        })
    }

    fn flush(&mut self, time_ms: u64, _last: bool) {
        self.bursts.forget(time_ms);
    }
}

impl Redact {
    /// How many denials the burst has that this flow completes.
    fn denied(&mut self, flow: &Flow, time_ms: u64) -> Option<u32> {
        match (flow.action, flow.source) {
            (Action::Deny, Some(source)) => self.bursts.denied(source.into(), time_ms),
            _ => None,
        }
    }
}

fn report(flow: &Flow, count: u32, known: bool) {
    node::count("bursts", 1);
    let source = match flow.source {
        Some(source) if known => source.to_string(),
        _ => "redacted".to_owned(),
    };
    let fields = [
        Field {
            key: "source".to_owned(),
            value: source,
        },
        Field {
            key: "denials".to_owned(),
            value: count.to_string(),
        },
    ];
    if let Err(error) = emit("alerts", Severity::Notice, "burst of denials", &fields) {
        node::log(node::Level::Warn, &format!("burst not reported: {error:?}"));
    }
}

palisade_plugin::auditor!(Redact);
