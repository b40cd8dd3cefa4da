//! From a plugin as written to a plugin: every fault, defaults written back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::sink::RawSink;
use super::{OnFailure, PluginDigest, PluginKind, PluginLimits, PluginSink, PluginSpec};
use crate::metadata::RawMetadata;
use crate::name::is_label;
use crate::path::At;
use crate::problem::Report;
use crate::resource::{RawSpec, Spec};

/// Most fuel of a call that may be granted.
const MAX_FUEL: i64 = 10_000_000_000;
/// Most memory of an instance that may be granted, in MiB.
const MAX_MEMORY: i64 = 1024;
/// Most payload that a matcher may be shown, in bytes.
const MAX_PAYLOAD: i64 = 4096;
/// Longest settings in bytes, as canonical JSON.
const LONGEST_SETTINGS: usize = 64 << 10;
/// Most sinks of a plugin.
const MAX_SINKS: usize = 16;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawPlugin {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<RawLimits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sinks: Option<BTreeMap<String, RawSink>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_failure: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel: Option<i64>,
    #[serde(rename = "memoryMiB", skip_serializing_if = "Option::is_none")]
    memory_mib: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<i64>,
}

impl RawSpec for RawPlugin {
    fn parse(
        &mut self,
        _metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        let before = report.problems.len();
        let kind = self.parse_kind(&at.field("kind"), report);
        let digest = self.parse_digest(&at.field("digest"), report);
        let size = self.size.and_then(|size| u64::try_from(size).ok());
        if self.size.is_some() && size.is_none_or(|size| size == 0) {
            report.add(
                &at.field("size"),
                "the size is that of the component in bytes",
            );
        }
        let settings = parse_settings(self.settings.as_ref(), &at.field("settings"), report);
        let sinks = self.parse_sinks(&at.field("sinks"), report);
        let on_failure = self.on_failure.as_deref().map(OnFailure::parse);
        let on_failure = on_failure.and_then(|parsed| report.take(parsed, &at.field("onFailure")));
        let kind = kind?;
        self.check_kind(kind, at, report);
        let limits = self.parse_limits(kind, &at.field("limits"), report);
        let spec = PluginSpec {
            kind,
            digest: digest?,
            size,
            limits: limits?,
            settings: settings?,
            sinks,
            on_failure,
        };
        (report.problems.len() == before).then_some(Spec::Plugin(Box::new(spec)))
    }
}

impl RawPlugin {
    fn parse_kind(&self, at: &At<'_>, report: &mut Report) -> Option<PluginKind> {
        match self.kind.as_deref() {
            Some("matcher") => Some(PluginKind::Matcher),
            Some("auditor") => Some(PluginKind::Auditor),
            Some("resolver") => {
                report.add(at, "resolvers are not run yet: matcher or auditor");
                None
            }
            Some(text) => {
                let message = format!("`{text}` is not a kind of plugin: matcher or auditor");
                report.add(at, message);
                None
            }
            None => {
                report.missing(at, "a plugin needs a kind: matcher or auditor");
                None
            }
        }
    }

    fn parse_digest(&self, at: &At<'_>, report: &mut Report) -> Option<PluginDigest> {
        let Some(text) = self.digest.as_deref() else {
            report.missing(
                at,
                "a plugin needs the digest that `palisadectl plugin push` prints",
            );
            return None;
        };
        let digest = PluginDigest::parse(text);
        if digest.is_none() {
            report.add(at, "a digest is `sha256:` and 64 lower-case hex digits");
        }
        digest
    }

    fn parse_sinks(&mut self, at: &At<'_>, report: &mut Report) -> BTreeMap<String, PluginSink> {
        let raw = self.sinks.iter_mut().flatten();
        let mut sinks = BTreeMap::new();
        let mut paths = BTreeSet::new();
        for (name, raw) in raw {
            let at = at.field(name);
            if !is_label(name) {
                report.add_at_key(
                    &at,
                    format!("`{name}` is not a name of a sink: `a-z`, `0-9` and `-`"),
                );
            }
            let Some(sink) = raw.parse(&at, report) else {
                continue;
            };
            if let PluginSink::File { path, .. } = &sink
                && !paths.insert(path.clone())
            {
                report.add(
                    &at.field("file").field("path"),
                    "another sink has this path",
                );
            }
            sinks.insert(name.clone(), sink);
        }
        if sinks.len() > MAX_SINKS {
            report.refuse(at, format!("{} sinks, at most {MAX_SINKS}", sinks.len()));
        }
        sinks
    }

    /// Fields that a plugin of the other kind has.
    fn check_kind(&self, kind: PluginKind, at: &At<'_>, report: &mut Report) {
        match kind {
            PluginKind::Matcher => {
                if self.settings.is_some() {
                    report.add_at_key(
                        &at.field("settings"),
                        "a matcher gets its settings from the rules that name it",
                    );
                }
                if self.sinks.is_some() {
                    report.add_at_key(&at.field("sinks"), "only auditors have sinks");
                }
            }
            PluginKind::Auditor => {
                if self.on_failure.is_some() {
                    let message = "an auditor decides nothing: no packet waits for it";
                    report.add_at_key(&at.field("onFailure"), message);
                }
                if self
                    .limits
                    .as_ref()
                    .is_some_and(|raw| raw.payload.is_some_and(|p| p != 0))
                {
                    let message = "an auditor is shown no payload";
                    report.add_at_key(&at.field("limits").field("payload"), message);
                }
            }
        }
    }

    fn parse_limits(
        &mut self,
        kind: PluginKind,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<PluginLimits> {
        let default = PluginLimits::of(kind);
        let raw = self.limits.get_or_insert_default();
        let mut within = |name: &str, value: i64, least: i64, most: i64| {
            if !(least..=most).contains(&value) {
                report.add(&at.field(name), format!("{name} is {least} to {most}"));
            }
            value
        };
        let fuel = *raw.fuel.get_or_insert(i64::try_from(default.fuel).ok()?);
        let fuel = within("fuel", fuel, 1, MAX_FUEL);
        let memory = *raw.memory_mib.get_or_insert(default.memory_mib.into());
        let memory = within("memoryMiB", memory, 1, MAX_MEMORY);
        let payload = match kind {
            PluginKind::Matcher => *raw.payload.get_or_insert(default.payload.into()),
            PluginKind::Auditor => 0,
        };
        let payload = within("payload", payload, 0, MAX_PAYLOAD);
        Some(PluginLimits {
            fuel: u64::try_from(fuel).ok()?,
            memory_mib: u32::try_from(memory).ok()?,
            payload: u16::try_from(payload).ok()?,
        })
    }
}

/// Settings of a plugin, in its resource or in a rule: a map, empty where absent.
pub(crate) fn parse_settings(
    raw: Option<&Value>,
    at: &At<'_>,
    report: &mut Report,
) -> Option<Map<String, Value>> {
    let settings = match raw {
        None => return Some(Map::new()),
        Some(Value::Object(settings)) => settings,
        Some(_) => {
            report.add(at, "settings are a map");
            return None;
        }
    };
    let length = raw.map(Value::to_string).map_or(0, |json| json.len());
    if length > LONGEST_SETTINGS {
        let message = format!("{length} bytes of settings as JSON, at most {LONGEST_SETTINGS}");
        if report.refuse(at, message) {
            return None;
        }
    }
    Some(settings.clone())
}
