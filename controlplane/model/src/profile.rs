//! Profile. Source: Calico v3, `profile.go`; specification §1.10.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metadata::RawMetadata;
use crate::name::{is_label_key, is_label_value};
use crate::path::At;
use crate::problem::Report;
use crate::resource::{RawSpec, Spec};
use crate::rule::{Action, Direction, PluginPlace, RawRule, Rule, RuleContext, parse_rules};

/// A profile that always exists and allows everything; it cannot be written.
pub const DEFAULT_ALLOW_PROFILE: &str = "projectcalico-default-allow";

/// A validated profile.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProfileSpec {
    /// Labels that endpoints naming it inherit where they have none of that key.
    pub labels_to_apply: BTreeMap<String, String>,
    /// Rules for packets to the endpoint, after all tiers.
    pub ingress: Vec<Rule>,
    /// Rules for packets from the endpoint, after all tiers.
    pub egress: Vec<Rule>,
}

impl ProfileSpec {
    /// Contents of [`DEFAULT_ALLOW_PROFILE`].
    pub fn default_allow() -> Self {
        Self {
            labels_to_apply: BTreeMap::new(),
            ingress: vec![Rule::of(Action::Allow)],
            egress: vec![Rule::of(Action::Allow)],
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawProfile {
    #[serde(skip_serializing_if = "Option::is_none")]
    ingress: Option<Vec<RawRule>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    egress: Option<Vec<RawRule>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels_to_apply: Option<BTreeMap<String, String>>,
}

impl RawSpec for RawProfile {
    fn parse(
        &mut self,
        _metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        // Profiles are where `pcns.` and `pcsa.` labels come from, so these keys are not reserved here.
        let labels_at = at.field("labelsToApply");
        for (key, value) in self.labels_to_apply.iter().flatten() {
            if !is_label_key(key) {
                report.add_at_key(
                    &labels_at.field(key),
                    format!("`{key}` is not a valid label key"),
                );
            }
            if !is_label_value(value) {
                report.add(
                    &labels_at.field(key),
                    format!("`{value}` is not a valid label value"),
                );
            }
        }
        let context = |direction| RuleContext {
            direction,
            namespaced: false,
            plugins: PluginPlace::Refused("only rules of policies can ask plugins"),
        };
        Some(Spec::Profile(ProfileSpec {
            labels_to_apply: self.labels_to_apply.clone().unwrap_or_default(),
            ingress: parse_rules(
                self.ingress.as_ref(),
                context(Direction::Ingress),
                &at.field("ingress"),
                report,
            ),
            egress: parse_rules(
                self.egress.as_ref(),
                context(Direction::Egress),
                &at.field("egress"),
                report,
            ),
        }))
    }
}
