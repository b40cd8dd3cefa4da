//! An auditor that does on demand what it must not do. Written against the contract itself, since the SDK lets no author
//! give the wrong number of outcomes.

use std::cell::RefCell;

use palisade_plugin::__bindings as bindings;
use palisade_plugin::auditor::{Amendment, Body, Event, Outcome, Parts};
use palisade_plugin::sinks::{Severity, SinkError, emit};
use palisade_plugin::{Field, Problem};

palisade_plugin::__manifest!();

thread_local! {
    static DEED: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Component;

impl bindings::settings::exports::palisade::plugin::settings::Guest for Component {
    fn validate(settings: String) -> Result<(), Vec<Problem>> {
        Self::configure(settings)
    }

    fn configure(settings: String) -> Result<(), Vec<Problem>> {
        DEED.set(settings);
        Ok(())
    }
}

impl bindings::auditor::exports::palisade::plugin::auditor::Guest for Component {
    fn process(events: Vec<Event>) -> Vec<Outcome> {
        let deed = DEED.take();
        DEED.set(deed.clone());
        match deed.trim_matches('"') {
            "too-few" => events.iter().skip(1).map(|_| Outcome::Keep).collect(),
            "too-many" => vec![Outcome::Keep; events.len() + 1],
            "trap" => panic!("process panics"),
            "much" => events.iter().map(much).collect(),
            "blank-all" => events.iter().map(|_| blank(Parts::all())).collect(),
            "discard-flows" => events
                .iter()
                .map(|event| match event.body {
                    Body::Flow(_) => Outcome::Discard,
                    _ => Outcome::Keep,
                })
                .collect(),
            "emit" => events.iter().map(|_| sinks()).collect(),
            _ => events.iter().map(|_| Outcome::Keep).collect(),
        }
    }

    fn flush(_time_ms: u64, last: bool) {
        if last {
            let _ = emit("declared", Severity::Info, "last words", &[]);
        }
    }
}

fn much(_: &Event) -> Outcome {
    Outcome::Amend(Amendment {
        blank: Parts::empty(),
        add: vec![Field {
            key: "k".repeat(1 << 20),
            value: "v".repeat(1 << 20),
        }],
    })
}

fn blank(parts: Parts) -> Outcome {
    Outcome::Amend(Amendment {
        blank: parts,
        add: Vec::new(),
    })
}

/// Keeps the event only if each sink answers as the contract says.
fn sinks() -> Outcome {
    let declared = emit("declared", Severity::Notice, "seen", &[]);
    let unknown = emit("elsewhere", Severity::Notice, "seen", &[]);
    let too_large = [16_385, 64 << 10, 1 << 20, 4_000_000].iter().all(|&size| {
        let emitted = emit("declared", Severity::Notice, &"x".repeat(size), &[]);
        matches!(emitted, Err(SinkError::TooLarge))
    });
    match (declared, unknown, too_large) {
        (Ok(()), Err(SinkError::UnknownSink), true) => Outcome::Keep,
        _ => Outcome::Discard,
    }
}

bindings::settings::export!(Component with_types_in bindings::settings);
bindings::auditor::export!(Component with_types_in bindings::auditor);
