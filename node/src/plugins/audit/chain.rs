//! The auditors of the view, one after the other, by name: each sees what the one before let pass, and what it lets pass
//! itself goes to its sinks.
//!
//! Where an auditor gives no outcomes, events go on as they are, unless its manifest has them withheld, or is not known
//! because it is not loaded: an auditor may be there to keep addresses from leaving the host. What is withheld is counted
//! as lost. Faults are told past all auditors.

use super::{
    emit::Emit,
    flows::{Outbox, Stub},
    record::record,
    sink::{Directory, Failing, Sinks},
};
use crate::{
    enforce::inventory::Inventory,
    plugins::loaded::{LoadedPlugins, Readiness, name},
};
use palisade_plugin_host::{Auditor, Body, Configured, Event, Fault, Last, OnFault, Outcome};
use palisade_policy::{
    ids::PluginId,
    plugin::{Plugin, PluginKind},
};
use palisade_proto::{
    line::line,
    v1::{self, flow_record},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// An auditor's faults are told so often at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The auditors, on their thread.
#[derive(Debug)]
pub struct Chain {
    seats: BTreeMap<PluginId, Seat>,
    /// One of them is on its way here.
    awaits: bool,
    sinks: Sinks,
    /// Of events that went no further, since that was last said.
    unsaid: u64,
    lost: u64,
}

#[derive(Debug)]
struct Seat {
    plugin: Arc<Plugin>,
    called: Option<(Arc<Configured>, Auditor)>,
    flush: Option<(Duration, Instant)>,
    told: Option<Instant>,
}

/// The moment of a call.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For deadlines and being set aside.
    pub now: Instant,
    /// Milliseconds since 1970, UTC: the plugin's clock.
    pub time_ms: u64,
}

impl Chain {
    /// Without auditors yet; files of sinks go below the directory only, and those that fail are told.
    pub fn new(files: Directory, failing: Failing) -> Self {
        Self {
            seats: BTreeMap::new(),
            awaits: false,
            sinks: Sinks::new(files, failing),
            unsaid: 0,
            lost: 0,
        }
    }

    /// Takes the auditors that there are. Those that stay keep what they know.
    pub fn seat(&mut self, loaded: &LoadedPlugins, moment: Moment) {
        let auditors = loaded
            .plugins
            .iter()
            .filter(|(_, shelved)| shelved.plugin.kind == PluginKind::Auditor);
        let mut seats = BTreeMap::new();
        self.awaits = false;
        for (id, shelved) in auditors {
            // One that met trouble may be on its way for ever.
            self.awaits |=
                matches!(&shelved.readiness, Readiness::Fetching { trouble } if trouble.is_empty());
            let ready = loaded.ready(id, &shelved.plugin.settings);
            let old = self.seats.remove(id);
            let (called, told) = match old {
                Some(old) => (old.called, old.told),
                None => (None, None),
            };
            let called = match (called, ready) {
                (Some((had, auditor)), Some(ready)) if Arc::ptr_eq(&had, ready) => {
                    Some((had, auditor))
                }
                (had, ready) => {
                    end(had, moment);
                    ready.and_then(|ready| Some((Arc::clone(ready), ready.auditor()?)))
                }
            };
            let seconds = called
                .as_ref()
                .and_then(|(configured, _)| configured.plugin().manifest().auditor.flush_seconds);
            let every = seconds.map(|seconds| Duration::from_secs(seconds.into()));
            let seat = Seat {
                plugin: Arc::clone(&shelved.plugin),
                called,
                flush: every.map(|every| (every, moment.now + every)),
                told,
            };
            seats.insert(id.clone(), seat);
        }
        let gone = std::mem::replace(&mut self.seats, seats);
        for seat in gone.into_values() {
            end(seat.called, moment);
        }
        let Self { seats, sinks, .. } = self;
        sinks.retain(|sink| {
            let mut named = seats.values().flat_map(|seat| seat.plugin.sinks.values());
            named.any(|named| named == sink)
        });
    }

    /// Whether an auditor is on its way here, and all is well so far.
    pub fn awaits(&self) -> bool {
        self.awaits
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// When the next auditor wants to be called without events.
    pub fn next_flush(&self) -> Option<Instant> {
        let flushes = self.seats.values().filter_map(|seat| seat.flush);
        flushes.map(|(_, at)| at).min()
    }

    /// Lets events pass; reports what is left of them, and what auditors emitted.
    pub fn pass(
        &mut self,
        mut events: Vec<Event>,
        inventory: &Inventory,
        emit: &Emit,
        moment: Moment,
        outbox: &mut Outbox,
    ) {
        let mut told = Vec::new();
        for (id, seat) in &mut self.seats {
            if events.is_empty() {
                break;
            }
            match seat.process(&events, moment) {
                Ok(outcomes) => {
                    let passed = outcomes.into_iter().zip(events);
                    events = passed
                        .filter_map(|(outcome, event)| outcome.apply(event))
                        .collect();
                }
                Err(reason) => {
                    told.extend(seat.fault(id, &reason, moment));
                    if seat.on_fault() == OnFault::Withhold {
                        let count = events.drain(..).map(|event| happened(&event)).sum::<u64>();
                        self.unsaid += count;
                        self.lost += count;
                    }
                }
            }
            if seat.plugin.sinks.is_empty() {
                continue;
            }
            for event in &events {
                let line = line(None, &record(event, inventory));
                for sink in seat.plugin.sinks.values() {
                    self.sinks.write(sink, &line);
                }
            }
        }
        self.emitted(emit, moment, &mut told);
        report(told, moment, outbox);
        let last = events.last().map_or(0, |event| event.sequence);
        for event in &events {
            let stub = Stub {
                sequence: event.sequence,
                time_ms: event.time_ms,
                count: happened(event),
                flow: matches!(event.body, Body::Flow(_)),
            };
            outbox.put(moment.now, stub, || record(event, inventory));
        }
        if self.unsaid > 0 {
            let lost = v1::FlowRecord {
                sequence: last,
                time_ms: moment.time_ms,
                body: Some(flow_record::Body::Lost(std::mem::take(&mut self.unsaid))),
                fields: Vec::new(),
            };
            report([lost], moment, outbox);
        }
        self.sinks.flush();
    }

    /// Calls those whose time has come; reports what they emitted.
    pub fn flush(&mut self, emit: &Emit, moment: Moment, outbox: &mut Outbox) {
        let mut told = Vec::new();
        for (id, seat) in &mut self.seats {
            let Some((every, at)) = &mut seat.flush else {
                continue;
            };
            if *at > moment.now {
                continue;
            }
            *at = moment.now + *every;
            let flushed = match &mut seat.called {
                Some((_, auditor)) => auditor.flush(Last::No, moment.now, moment.time_ms),
                None => Ok(()),
            };
            if let Err(fault) = flushed {
                told.extend(seat.fault(id, &fault.to_string(), moment));
            }
        }
        self.emitted(emit, moment, &mut told);
        report(told, moment, outbox);
        self.sinks.flush();
    }

    /// Lets every auditor say its last; reports what they emitted.
    pub fn end(&mut self, emit: &Emit, moment: Moment, outbox: &mut Outbox) {
        let mut told = Vec::new();
        for seat in self.seats.values_mut() {
            end(seat.called.take(), moment);
        }
        self.emitted(emit, moment, &mut told);
        report(told, moment, outbox);
        self.sinks.flush();
    }

    /// Events that were withheld because an auditor failed, since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Records that sinks did not take, since this was last asked.
    pub fn take_unwritten(&mut self) -> u64 {
        self.sinks.take_lost()
    }

    fn emitted(&mut self, emit: &Emit, moment: Moment, told: &mut Vec<v1::FlowRecord>) {
        for mut record in emit.take() {
            record.time_ms = moment.time_ms;
            if let Some(flow_record::Body::Audit(audit)) = &record.body {
                let mut seats = self.seats.iter();
                let by = seats.find(|(id, _)| name(id) == audit.plugin);
                if let Some(sink) = by.and_then(|(_, seat)| seat.plugin.sinks.get(&audit.sink)) {
                    self.sinks.write(sink, &line(None, &record));
                }
            }
            told.push(record);
        }
    }
}

impl Seat {
    fn process(&mut self, events: &[Event], moment: Moment) -> Result<Vec<Outcome>, String> {
        let (_, auditor) = self.called.as_mut().ok_or("is not ready")?;
        let outcomes = auditor.process(events, moment.now, moment.time_ms);
        outcomes.map_err(|fault: Fault| fault.to_string())
    }

    /// What nobody looked at is withheld by those that may not have wanted it to leave.
    fn on_fault(&self) -> OnFault {
        let known = self.called.as_ref();
        known.map_or(OnFault::Withhold, |(configured, _)| {
            configured.plugin().manifest().auditor.on_fault
        })
    }

    /// The record of a fault, unless one was told just now.
    fn fault(&mut self, id: &PluginId, reason: &str, moment: Moment) -> Option<v1::FlowRecord> {
        let recent = |told: Instant| moment.now.saturating_duration_since(told) < TELL_EVERY;
        if self.told.is_some_and(recent) {
            return None;
        }
        self.told = Some(moment.now);
        tracing::warn!(plugin = %id, reason, "an auditor gives no outcomes");
        Some(v1::FlowRecord {
            sequence: 0,
            time_ms: moment.time_ms,
            body: Some(flow_record::Body::PluginFault(v1::PluginFault {
                plugin: name(id).to_owned(),
                reason: reason.to_owned(),
            })),
            fields: Vec::new(),
        })
    }
}

/// The last word of an auditor that goes.
fn end(called: Option<(Arc<Configured>, Auditor)>, moment: Moment) {
    if let Some((configured, mut auditor)) = called
        && let Err(fault) = auditor.flush(Last::Yes, moment.now, moment.time_ms)
    {
        tracing::warn!(plugin = ?configured.plugin(), %fault, "an auditor ended badly");
    }
}

fn report(records: impl IntoIterator<Item = v1::FlowRecord>, moment: Moment, outbox: &mut Outbox) {
    for record in records {
        outbox.put(moment.now, Stub::of(&record), || record);
    }
}

/// How many events it is: those that a loss stands for.
fn happened(event: &Event) -> u64 {
    match event.body {
        Body::Lost(count) => count,
        Body::Flow(_) | Body::PolicyChange { .. } | Body::PluginFault { .. } => 1,
    }
}
