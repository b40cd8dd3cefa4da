//! Plugins and their conditions.

use super::{Field, fault, list, number, text};
use crate::{
    fault::FieldReason,
    ids::PluginId,
    plugin::{OnFailure, Plugin, PluginCondition, PluginDigest, PluginKind, Sink},
};
use palisade_proto::v1;
use std::collections::BTreeMap;

/// Longest settings, in bytes of JSON.
const MAX_SETTINGS: usize = 64 * 1024;

pub(super) fn encode_condition(condition: &PluginCondition) -> v1::PluginCondition {
    let on_failure = match condition.on_failure {
        OnFailure::Match => v1::OnFailure::Match,
        OnFailure::NoMatch => v1::OnFailure::NoMatch,
        OnFailure::Deny => v1::OnFailure::Deny,
        OnFailure::Allow => v1::OnFailure::Allow,
    };
    v1::PluginCondition {
        plugin: condition.plugin.as_str().to_owned(),
        settings: condition.settings.clone(),
        on_failure: on_failure.into(),
    }
}

pub(super) fn decode_condition(message: v1::PluginCondition) -> Field<PluginCondition> {
    let on_failure = match v1::OnFailure::try_from(message.on_failure) {
        Ok(v1::OnFailure::Match) => OnFailure::Match,
        Ok(v1::OnFailure::NoMatch) => OnFailure::NoMatch,
        Ok(v1::OnFailure::Deny) => OnFailure::Deny,
        Ok(v1::OnFailure::Allow) => OnFailure::Allow,
        Ok(v1::OnFailure::Unspecified) | Err(_) => {
            return fault("on_failure", FieldReason::Unknown(message.on_failure));
        }
    };
    Ok(PluginCondition {
        plugin: text("plugin", message.plugin, |id| id.starts_with("plugin/"))
            .map(PluginId::new)?,
        settings: settings(message.settings)?,
        on_failure,
    })
}

pub(super) fn encode(plugin: &Plugin) -> v1::Plugin {
    let kind = match plugin.kind {
        PluginKind::Matcher => v1::PluginKind::Matcher,
        PluginKind::Auditor => v1::PluginKind::Auditor,
    };
    let sink = |(name, sink): (&String, &Sink)| v1::Sink {
        name: name.clone(),
        to: Some(encode_sink(sink)),
    };
    v1::Plugin {
        kind: kind.into(),
        digest: plugin.digest.0.to_vec(),
        size: plugin.size,
        fuel: plugin.fuel,
        memory: plugin.memory,
        payload: plugin.payload.into(),
        settings: plugin.settings.clone(),
        sinks: plugin.sinks.iter().map(sink).collect(),
    }
}

pub(super) fn decode(message: v1::Plugin) -> Field<Plugin> {
    let kind = match v1::PluginKind::try_from(message.kind) {
        Ok(v1::PluginKind::Matcher) => PluginKind::Matcher,
        Ok(v1::PluginKind::Auditor) => PluginKind::Auditor,
        Ok(v1::PluginKind::Unspecified) | Err(_) => {
            return fault("kind", FieldReason::Unknown(message.kind));
        }
    };
    let Ok(digest) = message.digest.try_into() else {
        return fault("digest", FieldReason::Missing);
    };
    let sinks = list("sinks", message.sinks, |sink| {
        let name = text("name", sink.name, is_name)?;
        match sink.to {
            Some(to) => Ok((name, decode_sink(to)?)),
            None => fault("to", FieldReason::Missing),
        }
    })?;
    Ok(Plugin {
        kind,
        digest: PluginDigest(digest),
        size: positive("size", message.size)?,
        fuel: positive("fuel", message.fuel)?,
        memory: positive("memory", message.memory)?,
        payload: number("payload", message.payload, 0, 65535)?,
        settings: settings(message.settings)?,
        sinks: BTreeMap::from_iter(sinks),
    })
}

fn encode_sink(sink: &Sink) -> v1::sink::To {
    match sink {
        Sink::File {
            path,
            max_bytes,
            keep,
        } => v1::sink::To::File(v1::FileSink {
            path: path.clone(),
            max_bytes: *max_bytes,
            keep: (*keep).into(),
        }),
        Sink::Stdout => v1::sink::To::Stdout(v1::StdoutSink {}),
        Sink::Journald => v1::sink::To::Journald(v1::JournaldSink {}),
    }
}

fn decode_sink(to: v1::sink::To) -> Field<Sink> {
    Ok(match to {
        v1::sink::To::File(file) => Sink::File {
            path: text("path", file.path, |path| {
                path.starts_with('/') && path.len() <= 4096
            })?,
            max_bytes: if file.max_bytes < 4096 {
                return fault("max_bytes", FieldReason::Missing);
            } else {
                file.max_bytes
            },
            keep: number("keep", file.keep, 0, 1000)?,
        },
        v1::sink::To::Stdout(_) => Sink::Stdout,
        v1::sink::To::Journald(_) => Sink::Journald,
    })
}

fn settings(settings: String) -> Field<String> {
    text("settings", settings, |text| text.len() <= MAX_SETTINGS)
}

fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn positive(field: &str, value: u64) -> Field<u64> {
    if value == 0 {
        return fault(field, FieldReason::Missing);
    }
    Ok(value)
}
