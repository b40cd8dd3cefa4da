//! The condition of a rule that a plugin decides; `palisade.dev/v1` only.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::name::Name;
use crate::path::At;
use crate::plugin::{OnFailure, parse_settings};
use crate::problem::Report;

/// A condition that a plugin decides: asked only where all else of the rule holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginMatch {
    /// The Plugin resource; may not exist.
    pub name: Name,
    /// For the plugin to judge; empty where absent.
    pub settings: Map<String, Value>,
    /// What to do without an answer; `None`: what the Plugin says, else what allows less.
    pub on_failure: Option<OnFailure>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawPluginMatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_failure: Option<String>,
}

impl RawPluginMatch {
    pub(super) fn parse(&self, at: &At<'_>, report: &mut Report) -> Option<PluginMatch> {
        let name = match self.name.as_deref() {
            Some(name) => report.name(name, "name of a plugin", &at.field("name")),
            None => {
                report.missing(&at.field("name"), "which plugin? It needs a name");
                None
            }
        };
        let settings = parse_settings(self.settings.as_ref(), &at.field("settings"), report);
        let on_failure = self.on_failure.as_deref().map(OnFailure::parse);
        let on_failure = on_failure.and_then(|parsed| report.take(parsed, &at.field("onFailure")));
        Some(PluginMatch {
            name: name?,
            settings: settings?,
            on_failure,
        })
    }
}
