//! The node as a plugin sees it: log, metrics, names of interfaces, endpoints and rules, sinks.

use crate::{
    enforce::inventory::{Inventory, Shared},
    metrics::Metrics,
    plugins::audit::Emit,
    plugins::loaded::name,
};
use palisade_plugin_host::{
    Endpoint, EndpointId, Field, InterfaceId, Level, Rule, RuleId, Severity, SinkError,
    Surroundings,
};
use palisade_policy::{ids::PluginId, plugin::Plugin};
use std::sync::Arc;

/// What is around one plugin.
#[derive(Debug)]
pub struct Node {
    plugin: String,
    inventory: Shared,
    metrics: Metrics,
    emit: Emit,
    /// Sinks that its resource declares.
    sinks: Vec<String>,
}

impl Node {
    /// Around a plugin.
    pub fn new(
        id: &PluginId,
        plugin: &Plugin,
        inventory: Shared,
        metrics: Metrics,
        emit: Emit,
    ) -> Self {
        Self {
            plugin: name(id).to_owned(),
            inventory,
            metrics,
            emit,
            sinks: plugin.sinks.keys().cloned().collect(),
        }
    }

    fn inventory(&self) -> Arc<Inventory> {
        self.inventory.now()
    }
}

impl Surroundings for Node {
    fn log(&self, level: Level, message: &str) {
        let plugin = self.plugin.as_str();
        match level {
            Level::Debug => tracing::debug!(plugin, message, "plugin says"),
            Level::Info => tracing::info!(plugin, message, "plugin says"),
            Level::Warn => tracing::warn!(plugin, message, "plugin says"),
            Level::Error => tracing::error!(plugin, message, "plugin says"),
        }
    }

    fn count(&self, metric: &str, by: u64) {
        self.metrics.plugins.count(&self.plugin, metric, by);
    }

    fn observe(&self, metric: &str, value: f64) {
        self.metrics.plugins.observe(&self.plugin, metric, value);
    }

    fn generation(&self) -> u64 {
        self.inventory().generation()
    }

    fn describe(&self, id: EndpointId) -> Option<Endpoint> {
        self.inventory().endpoint(id).cloned()
    }

    fn label(&self, id: EndpointId, key: &str) -> Option<String> {
        let inventory = self.inventory();
        let labels = &inventory.endpoint(id)?.labels;
        let label = labels.iter().find(|label| label.key == key)?;
        Some(label.value.clone())
    }

    fn interface_name(&self, id: InterfaceId) -> Option<String> {
        self.inventory().interface_name(id).map(str::to_owned)
    }

    fn describe_rule(&self, id: RuleId) -> Option<Rule> {
        Some(self.inventory().rule(id)?.rule.clone())
    }

    fn emit(
        &self,
        sink: &str,
        severity: Severity,
        message: &str,
        fields: &[Field],
    ) -> Result<(), SinkError> {
        if !self.sinks.iter().any(|declared| declared == sink) {
            return Err(SinkError::Unknown);
        }
        self.emit
            .record(&self.plugin, sink, severity, message, fields)
    }
}
