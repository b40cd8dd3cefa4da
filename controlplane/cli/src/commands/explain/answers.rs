//! What plugins are taken to answer, in words.

use super::{steps, word};
use palisade_proto::v1::{Alternative, AskedPlugin, PluginAnswer};
use serde_json::{Value, json};

/// One line for each question that rules ask.
pub(super) fn taken(alternative: &Alternative) -> String {
    let line = |asked: &AskedPlugin| {
        let answer = match asked.answer() {
            PluginAnswer::Match => "matches",
            PluginAnswer::NoMatch => "does not match",
            PluginAnswer::None | PluginAnswer::Unspecified => "gives no answer",
        };
        let assumed = if asked.assumed { " (as assumed)" } else { "" };
        let AskedPlugin { name, settings, .. } = asked;
        format!("if plugin `{name}` {settings} {answer}{assumed}:\n")
    };
    alternative.asked.iter().map(line).collect()
}

/// For programs.
pub(super) fn values(alternatives: &[Alternative]) -> Vec<Value> {
    let asked = |asked: &AskedPlugin| {
        let answer = match asked.answer() {
            PluginAnswer::Match => "match",
            PluginAnswer::NoMatch => "no match",
            PluginAnswer::None | PluginAnswer::Unspecified => "none",
        };
        json!({
            "plugin": asked.name,
            "settings": asked.settings,
            "answer": answer,
            "assumed": asked.assumed,
        })
    };
    let alternative = |alternative: &Alternative| {
        json!({
            "asked": alternative.asked.iter().map(asked).collect::<Vec<_>>(),
            "verdict": word(alternative.verdict()),
            "reason": alternative.reason,
            "rule": (alternative.rule_id != 0).then(|| format!("{:016x}", alternative.rule_id)),
            "steps": steps(&alternative.steps),
        })
    };
    alternatives.iter().map(alternative).collect()
}
