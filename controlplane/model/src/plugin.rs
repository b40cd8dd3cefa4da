//! Plugin: a component that nodes run, what it may use and where its records go. `palisade.dev/v1` only. Raw shape and
//! the way from it in `parse`.
//!
//! The bytes are stored apart, under the digest; whether they are there, and what they are, is for the control plane.

mod digest;
mod parse;
mod sink;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use digest::PluginDigest;
pub(crate) use parse::{RawPlugin, parse_settings};
pub use sink::PluginSink;

/// A validated plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSpec {
    /// What it does.
    pub kind: PluginKind,
    /// Names the component.
    pub digest: PluginDigest,
    /// Size of the component in bytes; written by the control plane, which has it.
    pub size: Option<u64>,
    /// What it may use.
    pub limits: PluginLimits,
    /// Settings of an auditor; empty for matchers, which get theirs from rules.
    pub settings: Map<String, Value>,
    /// Where an auditor's records go, by name.
    pub sinks: BTreeMap<String, PluginSink>,
    /// For rules that do not say; `None` for auditors too.
    pub on_failure: Option<OnFailure>,
}

/// What a plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PluginKind {
    /// Decides conditions of rules.
    Matcher,
    /// Reads events.
    Auditor,
}

/// What one instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginLimits {
    /// Of one call.
    pub fuel: u64,
    /// Linear memory, in MiB.
    pub memory_mib: u32,
    /// Bytes of transport payload that a matcher is shown at most, 0..=4096; 0 for auditors.
    pub payload: u16,
}

/// What a rule does with a packet when its plugin gives no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnFailure {
    /// As if the plugin had said that it matches.
    Match,
    /// As if the plugin had said that it does not.
    NoMatch,
    /// The rule denies, whatever its action is.
    Deny,
    /// The rule allows, whatever its action is.
    Allow,
}

// === impl PluginKind ===

impl PluginKind {
    /// As documents write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matcher => "matcher",
            Self::Auditor => "auditor",
        }
    }
}

// === impl PluginLimits ===

impl PluginLimits {
    /// What a plugin of a kind may use where its resource does not say. Source: `plugins/DESIGN.md`, limits.
    pub fn of(kind: PluginKind) -> Self {
        match kind {
            PluginKind::Matcher => Self {
                fuel: 2_000_000,
                memory_mib: 16,
                payload: 4096,
            },
            PluginKind::Auditor => Self {
                fuel: 50_000_000,
                memory_mib: 64,
                payload: 0,
            },
        }
    }
}

// === impl OnFailure ===

impl OnFailure {
    const SPELLINGS: [(&'static str, Self); 4] = [
        ("match", Self::Match),
        ("no-match", Self::NoMatch),
        ("deny", Self::Deny),
        ("allow", Self::Allow),
    ];

    /// From what documents write.
    ///
    /// # Errors
    ///
    /// What to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let found = Self::SPELLINGS.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            format!("`{text}` is not a failure policy: match, no-match, deny or allow")
        })
    }
}
