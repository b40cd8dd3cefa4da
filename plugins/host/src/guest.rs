//! What the host keeps beside one instance, and the imported functions of the contract.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::bindings::{host, inventory, sinks, state, types};
use crate::configured::Shared;
use crate::console::{Console, Stream, tame};
use crate::matcher::{EndpointId, InterfaceId, RuleId, address, wit_address};
use crate::memory::Memory;
use crate::state::StateError;
use crate::surroundings::{Level, Severity, SinkError};

/// Largest record for a sink, in bytes.
const LARGEST_RECORD: usize = 16 << 10;

/// One instance's side of the host.
pub(crate) struct Guest {
    pub(crate) memory: Memory,
    pub(crate) console: Console,
    shared: Arc<Shared>,
    /// The time of the call under way; the only clock the plugin has.
    pub(crate) time_ms: u64,
    /// State of a generator; see `wasi.rs`.
    pub(crate) random: u64,
    /// What the call under way may take.
    pub(crate) deadline: Duration,
    /// Processor time of this thread when the call was past its deadline by the clock.
    pub(crate) overrun: Option<Duration>,
}

impl Guest {
    pub(crate) fn new(shared: Arc<Shared>, memory: usize, random: u64) -> Self {
        Self {
            memory: Memory::new(memory),
            console: Console::default(),
            shared,
            time_ms: 0,
            random,
            deadline: Duration::ZERO,
            overrun: None,
        }
    }

    /// Takes what the plugin wrote to a standard stream.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let (shared, time_ms) = (Arc::clone(&self.shared), self.time_ms);
        self.console.write(stream, bytes, |console, level, line| {
            log(&shared, console, time_ms, level, &line);
        });
    }

    fn declares_metric(&self, metric: &str) -> bool {
        let declared = self
            .shared
            .manifest
            .metrics
            .iter()
            .any(|name| name == metric);
        if !declared {
            self.shared.dropped_samples.fetch_add(1, Relaxed);
        }
        declared
    }
}

fn log(shared: &Shared, console: &mut Console, time_ms: u64, level: Level, message: &str) {
    if console.may_log(time_ms) {
        shared.surroundings.log(level, &tame(message));
    } else {
        shared.dropped_messages.fetch_add(1, Relaxed);
    }
}

impl types::Host for Guest {}

impl host::Host for Guest {
    fn log(&mut self, level: host::Level, message: String) {
        let level = match level {
            host::Level::Debug => Level::Debug,
            host::Level::Info => Level::Info,
            host::Level::Warn => Level::Warn,
            host::Level::Error => Level::Error,
        };
        log(
            &self.shared,
            &mut self.console,
            self.time_ms,
            level,
            &message,
        );
    }

    fn count(&mut self, metric: String, by: u64) {
        if self.declares_metric(&metric) {
            self.shared.surroundings.count(&metric, by);
        }
    }

    fn observe(&mut self, metric: String, value: f64) {
        // One sample that is no number would make the sum none for ever.
        if value.is_finite() && self.declares_metric(&metric) {
            self.shared.surroundings.observe(&metric, value);
        }
    }
}

impl inventory::Host for Guest {
    fn generation(&mut self) -> u64 {
        self.shared.surroundings.generation()
    }

    fn describe(&mut self, id: u32) -> Option<inventory::Endpoint> {
        let endpoint = self.shared.surroundings.describe(EndpointId(id))?;
        Some(inventory::Endpoint {
            name: endpoint.name,
            namespace: endpoint.namespace,
            addresses: endpoint.addresses.into_iter().map(wit_address).collect(),
            labels: endpoint.labels.into_iter().map(Into::into).collect(),
        })
    }

    fn label(&mut self, id: u32, key: String) -> Option<String> {
        self.shared.surroundings.label(EndpointId(id), &key)
    }

    fn interface_name(&mut self, id: u32) -> Option<String> {
        self.shared.surroundings.interface_name(InterfaceId(id))
    }

    fn describe_rule(&mut self, id: u64) -> Option<inventory::Rule> {
        let rule = self.shared.surroundings.describe_rule(RuleId(id))?;
        Some(inventory::Rule {
            tier: rule.tier,
            policy: rule.policy,
            namespace: rule.namespace,
            name: rule.name,
        })
    }

    fn set_contains(&mut self, set_name: String, member: types::IpAddress) -> bool {
        let member: IpAddr = address(member);
        self.shared.surroundings.set_contains(&set_name, member)
    }
}

impl state::Host for Guest {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        let mut state = self.shared.state();
        state.get(&key, self.time_ms).map(<[u8]>::to_vec)
    }

    fn put(
        &mut self,
        key: String,
        value: Vec<u8>,
        seconds: Option<u32>,
    ) -> Result<(), state::StateError> {
        let mut state = self.shared.state();
        Ok(state.put(&key, value, seconds, self.time_ms)?)
    }

    fn increment(
        &mut self,
        key: String,
        by: i64,
        seconds: Option<u32>,
    ) -> Result<i64, state::StateError> {
        let mut state = self.shared.state();
        Ok(state.increment(&key, by, seconds, self.time_ms)?)
    }
}

impl From<StateError> for state::StateError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Full => Self::Full,
            StateError::TooLarge => Self::TooLarge,
        }
    }
}

impl sinks::Host for Guest {
    fn emit(
        &mut self,
        sink: String,
        severity: sinks::Severity,
        message: String,
        fields: Vec<types::Field>,
    ) -> Result<(), sinks::SinkError> {
        if !self.shared.manifest.sinks.contains(&sink) {
            return Err(sinks::SinkError::UnknownSink);
        }
        let size = fields.iter().fold(message.len(), |size, field| {
            size.saturating_add(field.key.len() + field.value.len())
        });
        if size > LARGEST_RECORD {
            return Err(sinks::SinkError::TooLarge);
        }
        let fields: Vec<_> = fields.into_iter().map(Into::into).collect();
        let emitted = self
            .shared
            .surroundings
            .emit(&sink, severity.into(), &message, &fields);
        emitted.map_err(|error| match error {
            SinkError::Unknown => sinks::SinkError::UnknownSink,
            SinkError::QueueFull => sinks::SinkError::QueueFull,
            SinkError::TooLarge => sinks::SinkError::TooLarge,
        })
    }
}

impl From<sinks::Severity> for Severity {
    fn from(severity: sinks::Severity) -> Self {
        match severity {
            sinks::Severity::Debug => Self::Debug,
            sinks::Severity::Info => Self::Info,
            sinks::Severity::Notice => Self::Notice,
            sinks::Severity::Warning => Self::Warning,
            sinks::Severity::Error => Self::Error,
        }
    }
}
