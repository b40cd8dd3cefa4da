//! Plugins: the items of those that nodes run, and what a rule's condition comes to.
//!
//! A node runs the matchers that its policies name, and every auditor. Where a rule names a matcher that is not there,
//! nothing will ever answer it, and its failure policy decides here already.

use crate::world::World;
use palisade_model::{
    Action as RuleAction, Name, OnFailure as Failing, PluginKind, PluginMatch, PluginSink,
    PluginSpec,
};
use palisade_policy::{
    ids::PluginId,
    plugin::{self, OnFailure, Plugin, PluginCondition, PluginDigest, Sink},
};
use serde_json::{Map, Value};

/// What a rule's condition comes to.
pub(crate) enum Condition {
    /// The packet decides.
    Ask(PluginCondition),
    /// There is nobody to ask, and this decides.
    Unanswered(OnFailure),
}

/// Where the matchers are looked up.
pub(crate) trait Matchers {
    /// A plugin, of whatever kind; `None` where its component is not stored.
    fn plugin(&self, name: &Name) -> Option<&PluginSpec>;
}

/// Where no rule has a condition.
pub(crate) struct NoMatchers;

impl Matchers for NoMatchers {
    fn plugin(&self, _name: &Name) -> Option<&PluginSpec> {
        None
    }
}

impl Matchers for World {
    fn plugin(&self, name: &Name) -> Option<&PluginSpec> {
        self.plugins()
            .find(|(known, _)| *known == name)
            .map(|(_, spec)| spec)
    }
}

pub(crate) fn plugin_id(name: &Name) -> PluginId {
    PluginId::new(format!("plugin/{name}"))
}

/// The condition of a rule with this action.
pub(crate) fn condition(
    spec: &PluginMatch,
    action: RuleAction,
    matchers: &dyn Matchers,
) -> Condition {
    let matcher = matchers
        .plugin(&spec.name)
        .filter(|plugin| plugin.kind == PluginKind::Matcher);
    let chosen = spec
        .on_failure
        .or_else(|| matcher.and_then(|matcher| matcher.on_failure));
    let on_failure = match (chosen, action) {
        (Some(Failing::Match), _) | (None, RuleAction::Deny) => OnFailure::Match,
        (Some(Failing::NoMatch), _)
        | (None, RuleAction::Allow | RuleAction::Pass | RuleAction::Log) => OnFailure::NoMatch,
        (Some(Failing::Deny), _) => OnFailure::Deny,
        (Some(Failing::Allow), _) => OnFailure::Allow,
    };
    match matcher {
        None => Condition::Unanswered(on_failure),
        Some(_) => Condition::Ask(PluginCondition {
            plugin: plugin_id(&spec.name),
            settings: canonical(&spec.settings),
            on_failure,
        }),
    }
}

/// The item of a plugin; `None` where its component is not stored.
pub(crate) fn compile_plugin(spec: &PluginSpec) -> Option<Plugin> {
    Some(Plugin {
        kind: match spec.kind {
            PluginKind::Matcher => plugin::PluginKind::Matcher,
            PluginKind::Auditor => plugin::PluginKind::Auditor,
        },
        digest: PluginDigest(*spec.digest.as_bytes()),
        size: spec.size?,
        fuel: spec.limits.fuel,
        memory: u64::from(spec.limits.memory_mib) << 20,
        payload: spec.limits.payload,
        settings: canonical(&spec.settings),
        sinks: spec
            .sinks
            .iter()
            .map(|(name, sink)| (name.clone(), compile_sink(sink)))
            .collect(),
    })
}

fn compile_sink(sink: &PluginSink) -> Sink {
    match sink {
        PluginSink::File {
            path,
            max_bytes,
            keep,
        } => Sink::File {
            path: path.clone(),
            max_bytes: *max_bytes,
            keep: *keep,
        },
        PluginSink::Stdout => Sink::Stdout,
        PluginSink::Journald => Sink::Journald,
    }
}

/// Keys sorted, no blanks: equal settings have equal text.
fn canonical(settings: &Map<String, Value>) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                let entries = entries.into_iter();
                Value::Object(entries.map(|(k, v)| (k.clone(), sorted(v))).collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }
    sorted(&Value::Object(settings.clone())).to_string()
}
