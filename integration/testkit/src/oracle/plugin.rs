//! The condition of a rule that a plugin decides: asked where all else of the rule holds.

use super::{Look, Oracle};
use crate::document::{Action, Body, Rule, World};
use crate::packet::Packet;
use std::collections::BTreeMap;

/// The matchers of a world, each with the failure policy of rules that have none.
pub(super) fn matchers(world: &World) -> BTreeMap<String, Option<String>> {
    let matcher = |document: &crate::document::Document| match &document.body {
        Body::Plugin(spec) if spec.kind == "matcher" => {
            Some((document.metadata.name.clone(), spec.on_failure.clone()))
        }
        _ => None,
    };
    world.documents.iter().filter_map(matcher).collect()
}

impl Oracle {
    /// What a rule, in a namespace, does with a packet; none: it does not match. Notes what it looked at.
    pub(super) fn action(
        &self,
        rule: &Rule,
        namespace: &str,
        packet: &Packet,
        looks: &mut Vec<Look>,
    ) -> Option<Action> {
        if !self.matches(rule, namespace, packet, looks) {
            return None;
        }
        let Some(condition) = &rule.plugin else {
            return Some(rule.action);
        };
        let matcher = self.matchers.get(&condition.name);
        let said = matcher.and_then(|_| packet.answers.get(&condition.question()));
        let on_failure = condition
            .on_failure
            .as_ref()
            .or(matcher.and_then(Option::as_ref));
        // Where nobody said what then, what allows less.
        let unsaid = match rule.action {
            Action::Deny => "match",
            Action::Allow | Action::Pass | Action::Log => "no-match",
        };
        let on_failure = on_failure.map_or(unsaid, String::as_str);
        let (field, action) = match (said, on_failure) {
            (Some(true), _) => ("plugin", Some(rule.action)),
            (Some(false), _) => ("plugin", None),
            (None, "match") => ("plugin, without answer: match", Some(rule.action)),
            (None, "no-match") => ("plugin, without answer: no-match", None),
            (None, "deny") => ("plugin, without answer: deny", Some(Action::Deny)),
            (None, _) => ("plugin, without answer: allow", Some(Action::Allow)),
        };
        looks.push(Look {
            end: "rule",
            field,
            held: action.is_some(),
        });
        action
    }
}
