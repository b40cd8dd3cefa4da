//! What can be called now, and why the rest cannot.

use crate::condition::Condition;
use palisade_plugin_host::{Condition as Health, Configured, Status};
use palisade_policy::{
    ids::PluginId,
    plugin::{Plugin, PluginDigest, PluginKind},
};
use palisade_proto::v1;
use std::{collections::BTreeMap, sync::Arc};

/// Every plugin of the view.
#[derive(Clone, Debug, Default)]
pub struct LoadedPlugins {
    /// By name.
    pub plugins: BTreeMap<PluginId, LoadedPlugin>,
}

/// A plugin of the view.
#[derive(Clone, Debug)]
pub struct LoadedPlugin {
    /// As the view has it.
    pub plugin: Arc<Plugin>,
    /// How far it is.
    pub readiness: Readiness,
}

/// How far a plugin is.
#[derive(Clone, Debug)]
pub enum Readiness {
    /// Its bytes are on their way.
    Fetching {
        /// What the last attempt met; empty: nothing.
        trouble: String,
    },
    /// It cannot run here, until it is changed.
    Refused {
        /// Why.
        reason: String,
    },
    /// It can be called, by settings. The same `Arc` is the same state, health and counters.
    Ready(BTreeMap<String, Arc<Configured>>),
}

impl LoadedPlugins {
    /// What can be asked with these settings.
    pub fn ready(&self, id: &PluginId, settings: &str) -> Option<&Arc<Configured>> {
        match &self.plugins.get(id)?.readiness {
            Readiness::Ready(configured) => configured.get(settings),
            Readiness::Fetching { .. } | Readiness::Refused { .. } => None,
        }
    }

    /// Digests of its plugins.
    pub fn digests(&self) -> impl Iterator<Item = PluginDigest> + '_ {
        self.plugins.values().map(|shelved| shelved.plugin.digest)
    }

    /// A condition for each plugin that is not asked, as long as it is not.
    pub fn conditions(&self) -> Vec<Condition> {
        let plugins = self.plugins.iter();
        plugins
            .filter_map(|(id, shelved)| shelved.condition(id))
            .collect()
    }

    /// How every plugin does, for the control plane.
    pub fn report(&self) -> Vec<v1::PluginReport> {
        let reports = self.plugins.iter().map(|(id, shelved)| shelved.report(id));
        reports.collect()
    }
}

impl LoadedPlugin {
    fn condition(&self, id: &PluginId) -> Option<Condition> {
        let report = self.report(id);
        let (reason, state) = match report.state() {
            v1::PluginState::Unspecified | v1::PluginState::Active => return None,
            v1::PluginState::Fetching => ("Fetching", "is not on this node yet"),
            v1::PluginState::Refused => ("Refused", "cannot run here: push one that can"),
            v1::PluginState::SetAside => ("SetAside", "failed too often and is tried again later"),
        };
        let why = match report.reason.as_str() {
            "" => String::new(),
            reason => format!(" ({reason})"),
        };
        let without = match self.plugin.kind {
            PluginKind::Matcher => "the failure policy of each condition decides",
            PluginKind::Auditor => "it reads no events",
        };
        Some(Condition {
            kind: "PluginsUnavailable",
            reason,
            message: format!("plugin `{}` {state}{why}; meanwhile {without}", report.name),
        })
    }

    fn report(&self, id: &PluginId) -> v1::PluginReport {
        let mut report = v1::PluginReport {
            name: name(id).to_owned(),
            digest: self.plugin.digest.0.to_vec(),
            ..v1::PluginReport::default()
        };
        match &self.readiness {
            Readiness::Fetching { trouble } => {
                report.set_state(v1::PluginState::Fetching);
                report.reason.clone_from(trouble);
            }
            Readiness::Refused { reason } => {
                report.set_state(v1::PluginState::Refused);
                report.reason.clone_from(reason);
            }
            Readiness::Ready(configured) => {
                report.set_state(v1::PluginState::Active);
                for status in configured.values().map(|configured| configured.status()) {
                    add(&mut report, &status);
                }
            }
        }
        report
    }
}

/// The worst of its settings speaks for a plugin.
fn add(report: &mut v1::PluginReport, status: &Status) {
    report.calls += status.calls;
    report.faults += status.faults.iter().map(|(_, count)| count).sum::<u64>();
    if status.condition != Health::Well {
        report.set_state(v1::PluginState::SetAside);
    }
    if let Some(fault) = &status.last_fault {
        report.reason = fault.to_string();
    }
}

/// The name of the resource.
pub fn name(id: &PluginId) -> &str {
    id.as_str().strip_prefix("plugin/").unwrap_or(id.as_str())
}

#[cfg(test)]
impl LoadedPlugins {
    /// One plugin, small, with sinks of these names.
    pub(crate) fn of(
        id: &str,
        kind: PluginKind,
        sinks: &[(&str, palisade_policy::plugin::Sink)],
        readiness: Readiness,
    ) -> Self {
        let sinks = sinks.iter();
        let plugin = Plugin {
            kind,
            digest: PluginDigest([0; 32]),
            size: 1,
            fuel: 1,
            memory: 1,
            payload: 0,
            settings: "{}".to_owned(),
            sinks: sinks
                .map(|(name, sink)| ((*name).to_owned(), sink.clone()))
                .collect(),
        };
        let plugin = Arc::new(plugin);
        Self {
            plugins: [(id.into(), LoadedPlugin { plugin, readiness })].into(),
        }
    }
}
