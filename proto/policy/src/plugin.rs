//! Plugins: which ones a node runs, and the conditions of rules that they decide.

use crate::{
    class::{Class, ClassProfile},
    ids::{PluginId, PolicyId},
    view::View,
};
use std::{collections::BTreeMap, fmt};

/// SHA-256 of a component.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginDigest(pub [u8; 32]);

impl fmt::Display for PluginDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PluginDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a plugin does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PluginKind {
    /// Decides conditions of rules.
    Matcher,
    /// Reads events.
    Auditor,
}

/// A plugin that the node runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plugin {
    /// What it does.
    pub kind: PluginKind,
    /// Names its bytes, which the node fetches.
    pub digest: PluginDigest,
    /// Size of the component in bytes, at least 1.
    pub size: u64,
    /// Per call, at least 1.
    pub fuel: u64,
    /// Bytes of linear memory at most, at least 1.
    pub memory: u64,
    /// Bytes of transport payload that a matcher is shown at most, 0..=65535.
    pub payload: u16,
    /// Settings of an auditor, canonical JSON; matchers get theirs from conditions.
    pub settings: String,
    /// Where an auditor may emit to, and where what it keeps goes, by name.
    pub sinks: BTreeMap<String, Sink>,
}

/// Where records go.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sink {
    /// Lines of JSON, rotated.
    File {
        /// Absolute.
        path: String,
        /// A file beyond this size is rotated; at least 4096.
        max_bytes: u64,
        /// Rotated files kept, 0..=1000.
        keep: u16,
    },
    /// Lines of JSON on standard output.
    Stdout,
    /// The journal of systemd.
    Journald,
}

/// What a rule does with a packet when its plugin gives no answer: trap, limit, not loaded, no queue, no daemon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
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

/// A condition that a plugin decides.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PluginCondition {
    /// A matcher of the view.
    pub plugin: PluginId,
    /// Canonical JSON.
    pub settings: String,
    /// Without an answer.
    pub on_failure: OnFailure,
}

/// What a plugin says of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Answer {
    /// The condition holds.
    Match,
    /// It does not.
    NoMatch,
    /// There is no answer; the condition's `on_failure` decides.
    Failed,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Match => "match",
            Self::NoMatch => "no match",
            Self::Failed => "no answer",
        })
    }
}

impl Class {
    /// The distinct plugin conditions of the class's rules, in order of first mention: the daemon evaluates them all in
    /// one round trip, and result bits of the packet mark are given out in this order.
    pub fn conditions<'a>(&'a self, view: &'a View) -> Vec<&'a PluginCondition> {
        let mut conditions = Vec::new();
        for id in self.policies() {
            let Some(policy) = view.policies.get(id) else {
                continue;
            };
            for rule in policy.rules(self.direction) {
                if let Some(condition) = &rule.matches.plugin
                    && !conditions.contains(&condition)
                {
                    conditions.push(condition);
                }
            }
        }
        conditions
    }

    /// The enforced policies and the profiles in order of evaluation, up to a profile that is missing: nothing is reached
    /// behind it.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyId> {
        let tiers = self.tiers.iter().flat_map(|tier| &tier.policies);
        let profiles = self.profiles.iter().map_while(|profile| match profile {
            ClassProfile::Present(id) => Some(id),
            ClassProfile::Missing(_) => None,
        });
        tiers.chain(profiles)
    }
}
