//! Auditors: a batch of events in, an outcome for each out.

mod convert;
mod event;

use std::time::Instant;

use crate::bindings::auditing::AuditorPlugin;
use crate::configured::Configured;
use crate::fault::Fault;
use crate::worker::Worker;

pub use event::{Action, Amendment, Body, Event, Field, Flow, Outcome, Part, Parts, Phase};

/// Most bytes of fields that an auditor may add to one event.
const ADDED: usize = 16 << 10;

/// One worker's instance of an auditor. Belongs to one thread at a time.
pub struct Auditor {
    worker: Worker<AuditorPlugin>,
}

impl Auditor {
    /// Most events of one call of the plugin; longer slices are cut into several calls.
    pub const BATCH: usize = 256;

    pub(crate) fn new(worker: Worker<AuditorPlugin>) -> Self {
        Self { worker }
    }

    /// Shows the plugin events, oldest first, and gives its outcome for each. [`Outcome::apply`] carries it out.
    /// `time_ms` is the plugin's clock: milliseconds since 1970, UTC.
    ///
    /// # Errors
    ///
    /// Where a call gives no outcomes; then there is none for any of the events, although the plugin may have seen and
    /// reported some. The next call has a fresh instance.
    pub fn process(
        &mut self,
        events: &[Event],
        now: Instant,
        time_ms: u64,
    ) -> Result<Vec<Outcome>, Fault> {
        let mut outcomes = Vec::with_capacity(events.len());
        for batch in events.chunks(Self::BATCH) {
            let shown: Vec<_> = batch.iter().map(convert::event).collect();
            let answered = self.worker.attempt(now, time_ms, |world, store| {
                let answers = world
                    .palisade_plugin_auditor()
                    .call_process(store, &shown)?;
                Ok(checked(answers, batch.len()))
            })?;
            outcomes.extend(answered);
        }
        Ok(outcomes)
    }

    /// Lets the plugin send what it holds back; `last` before it ends.
    ///
    /// # Errors
    ///
    /// As [`Auditor::process`].
    pub fn flush(&mut self, last: Last, now: Instant, time_ms: u64) -> Result<(), Fault> {
        self.worker.attempt(now, time_ms, |world, store| {
            world
                .palisade_plugin_auditor()
                .call_flush(store, time_ms, last == Last::Yes)?;
            Ok(Ok(()))
        })
    }

    /// Makes the instance now rather than with the first event.
    ///
    /// # Errors
    ///
    /// As [`Auditor::process`].
    pub fn warm(&mut self, now: Instant, time_ms: u64) -> Result<(), Fault> {
        self.worker.warm(now, time_ms)
    }

    /// The plugin with its settings.
    pub fn configured(&self) -> &Configured {
        self.worker.configured()
    }

    /// Fuel of the last call that gave outcomes.
    pub fn fuel_used(&self) -> u64 {
        self.worker.fuel_used()
    }

    /// Linear memory of the instance, in bytes; 0 where there is none.
    pub fn memory_used(&self) -> usize {
        self.worker.memory_used()
    }
}

/// Whether a flush is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// The plugin ends after it.
    Yes,
    /// Others follow.
    No,
}

impl std::fmt::Debug for Auditor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Auditor")
            .field(self.worker.configured())
            .finish()
    }
}

fn checked(answers: Vec<convert::WitOutcome>, events: usize) -> Result<Vec<Outcome>, String> {
    if answers.len() != events {
        return Err(format!("{} outcomes for {events} events", answers.len()));
    }
    let outcomes: Vec<Outcome> = answers.into_iter().map(convert::outcome).collect();
    for outcome in &outcomes {
        if let Outcome::Amend(amendment) = outcome
            && amendment.size() > ADDED
        {
            return Err(format!("more than {ADDED} bytes of fields for one event"));
        }
    }
    Ok(outcomes)
}
