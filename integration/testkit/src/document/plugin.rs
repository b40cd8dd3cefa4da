//! Plugins, and the conditions of rules that they decide.

use super::absent;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A plugin that nodes run.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields of the resource")]
pub struct Plugin {
    /// `matcher` or `auditor`.
    pub kind: String,
    pub digest: String,
    pub size: u64,
    #[serde(default, skip_serializing_if = "absent")]
    pub on_failure: Option<String>,
}

/// The condition of a rule that a matcher decides.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields of the rule")]
pub struct PluginCondition {
    pub name: String,
    #[serde(default, skip_serializing_if = "absent")]
    pub settings: BTreeMap<String, u8>,
    /// `match`, `no-match`, `deny` or `allow`.
    #[serde(default, skip_serializing_if = "absent")]
    pub on_failure: Option<String>,
}

impl PluginCondition {
    /// What is asked: two rules that ask the same are given one answer.
    pub fn question(&self) -> String {
        let settings = self.settings.iter();
        let settings: Vec<String> = settings.map(|(k, v)| format!("\"{k}\":{v}")).collect();
        format!("{} {{{}}}", self.name, settings.join(","))
    }
}
