//! What a plugin may ask of, and tell, whoever runs it.

use std::net::IpAddr;

use crate::auditor::Field;
use crate::matcher::{EndpointId, InterfaceId, RuleId};

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they say it")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// How much a record of an auditor matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they say it")]
pub enum Severity {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
}

/// An end of a packet or flow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// Empty for a host endpoint.
    pub namespace: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its labels, sorted by key.
    pub labels: Vec<Field>,
}

/// A rule that decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// Empty where no policy decided.
    pub tier: String,
    /// Empty where no policy decided.
    pub policy: String,
    /// Empty for a global policy.
    pub namespace: String,
    /// As `palisadectl explain` names it.
    pub name: String,
}

/// Why a sink did not take a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkError {
    /// There is no such sink.
    Unknown,
    /// It was dropped, and counted.
    QueueFull,
    /// It is more than a record may be.
    TooLarge,
}

/// The node around a plugin. Called in the middle of a call of the plugin, from any worker: answers at once and never
/// waits. What comes from the plugin is bounded in length, and of declared sinks and metrics only.
///
/// The defaults know nothing and drop what they are told.
#[expect(unused_variables, reason = "the defaults need none of them")]
pub trait Surroundings: Send + Sync {
    /// A message of the plugin. Free of control characters.
    fn log(&self, level: Level, message: &str) {}

    /// Adds to a counter.
    fn count(&self, metric: &str, by: u64) {}

    /// A sample of a distribution.
    fn observe(&self, metric: &str, value: f64) {}

    /// Changes whenever an id may mean something else.
    fn generation(&self) -> u64 {
        0
    }

    /// What is known of an endpoint.
    fn describe(&self, id: EndpointId) -> Option<Endpoint> {
        None
    }

    /// One label of an endpoint.
    fn label(&self, id: EndpointId, key: &str) -> Option<String> {
        let endpoint = self.describe(id)?;
        let label = endpoint.labels.into_iter().find(|label| label.key == key)?;
        Some(label.value)
    }

    /// The name of an interface.
    fn interface_name(&self, id: InterfaceId) -> Option<String> {
        None
    }

    /// What is known of a rule.
    fn describe_rule(&self, id: RuleId) -> Option<Rule> {
        None
    }

    /// Whether an address is a member of a set.
    fn set_contains(&self, set: &str, address: IpAddr) -> bool {
        false
    }

    /// A record of an auditor for a sink.
    ///
    /// # Errors
    ///
    /// Where the sink does not take it.
    fn emit(
        &self,
        sink: &str,
        severity: Severity,
        message: &str,
        fields: &[Field],
    ) -> Result<(), SinkError> {
        Err(SinkError::Unknown)
    }
}

/// Surroundings with nothing in them: where settings are validated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Isolated;

impl Surroundings for Isolated {}
