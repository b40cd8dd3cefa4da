//! What becomes of a packet, for every answer that plugins may give: each question that rules really ask is answered in
//! every way, unless the caller says how. Nothing runs: answers are facts about the packet.

use super::Invalid;
use crate::{
    evaluate::{Evaluator, Judgement, Outcome},
    ids::PluginId,
    packet::{Environment, Packet},
    plugin::{Answer, PluginCondition},
    view::View,
};
use palisade_proto::v1::{self, PluginAnswer, PluginAssumption};
use std::collections::BTreeMap;

/// The most combinations that are tried.
const MOST: usize = 64;
const ANSWERS: [Answer; 3] = [Answer::Match, Answer::NoMatch, Answer::Failed];

/// What callers take plugins to answer.
#[derive(Clone, Default, Debug)]
pub(super) struct Assumed(BTreeMap<PluginId, Answer>);

/// A combination of answers, and what comes of it.
pub(super) struct Alternative {
    /// In the order in which rules ask.
    asked: Vec<(PluginCondition, Answer)>,
    pub(super) judgement: Judgement,
}

// === impl Assumed ===

impl Assumed {
    /// From a request.
    ///
    /// # Errors
    /// No answer, or two answers of one plugin.
    pub(super) fn new(plugins: &[PluginAssumption]) -> Result<Self, Invalid> {
        let mut assumed = BTreeMap::new();
        for PluginAssumption { name, answer } in plugins {
            let answer = match PluginAnswer::try_from(*answer) {
                Ok(PluginAnswer::Match) => Answer::Match,
                Ok(PluginAnswer::NoMatch) => Answer::NoMatch,
                Ok(PluginAnswer::None) => Answer::Failed,
                Ok(PluginAnswer::Unspecified) | Err(_) => {
                    return Err(Invalid::NoAnswer(name.clone()));
                }
            };
            let plugin = PluginId::new(format!("plugin/{name}"));
            if assumed.insert(plugin, answer).is_some() {
                return Err(Invalid::TwoAnswers(name.clone()));
            }
        }
        Ok(Self(assumed))
    }

    /// Plugins that no rule of the view asks: assuming something of them is a mistake.
    pub(super) fn check(&self, view: &View) -> Result<(), Invalid> {
        let unknown = self
            .0
            .keys()
            .find(|plugin| !view.plugins.contains_key(*plugin));
        unknown.map_or(Ok(()), |plugin| {
            Err(Invalid::NeverAsked(name(plugin).to_owned()))
        })
    }

    /// Every combination of answers to what is really asked, in order: match, no match, none. One, if nothing is.
    ///
    /// # Errors
    /// Too many.
    pub(super) fn alternatives(
        &self,
        view: &View,
        environment: &Environment,
        packet: &Packet,
    ) -> Result<Vec<Alternative>, Invalid> {
        let evaluator = Evaluator::new(view, environment);
        let mut found = Vec::new();
        // Later ones first, so that the first is taken first.
        let mut open = vec![BTreeMap::new()];
        while let Some(answers) = open.pop() {
            let packet = Packet {
                answers: answers.clone(),
                ..packet.clone()
            };
            let judgement = evaluator.judge(&packet);
            let asked = asked(&judgement);
            let next = asked.iter().find(|(asked, _)| !answers.contains_key(asked));
            let Some((next, _)) = next else {
                found.push(Alternative { asked, judgement });
                continue;
            };
            let tried = match self.0.get(&next.plugin) {
                Some(answer) => std::slice::from_ref(answer),
                None => &ANSWERS,
            };
            for answer in tried.iter().rev() {
                let mut answers = answers.clone();
                answers.insert(next.clone(), *answer);
                open.push(answers);
            }
            if found.len() + open.len() > MOST {
                return Err(Invalid::TooManyAnswers { most: MOST });
            }
        }
        Ok(found)
    }

    /// For the wire.
    pub(super) fn describe(&self, alternative: &Alternative) -> v1::Alternative {
        let asked = alternative.asked.iter().map(|(condition, answer)| {
            let answer = match answer {
                Answer::Match => PluginAnswer::Match,
                Answer::NoMatch => PluginAnswer::NoMatch,
                Answer::Failed => PluginAnswer::None,
            };
            v1::AskedPlugin {
                name: name(&condition.plugin).to_owned(),
                settings: condition.settings.clone(),
                answer: answer.into(),
                assumed: self.0.contains_key(&condition.plugin),
            }
        });
        let judgement = &alternative.judgement;
        v1::Alternative {
            asked: asked.collect(),
            verdict: super::verdict(judgement).into(),
            reason: judgement.reason.to_string(),
            steps: super::steps(judgement),
            rule_id: judgement.rule.map_or(0, |rule| rule.0),
        }
    }
}

// === impl Alternative ===

impl Alternative {
    /// Whether a rule asks a plugin.
    pub(super) fn asks(&self) -> bool {
        !self.asked.is_empty()
    }

    /// The first plugin asked.
    pub(super) fn first(&self) -> Option<&str> {
        self.asked
            .first()
            .map(|(condition, _)| name(&condition.plugin))
    }
}

/// What rules asked, in order, each question once.
fn asked(judgement: &Judgement) -> Vec<(PluginCondition, Answer)> {
    let mut asked: Vec<(PluginCondition, Answer)> = Vec::new();
    for step in &judgement.trace {
        if let Outcome::Asked { condition, answer } = &step.outcome
            && !asked.iter().any(|(known, _)| known == condition)
        {
            asked.push((condition.clone(), *answer));
        }
    }
    asked
}

fn name(plugin: &PluginId) -> &str {
    plugin.as_str().trim_start_matches("plugin/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_taken_to_give_one_answer() {
        let assume = |name: &str, answer: PluginAnswer| PluginAssumption {
            name: name.to_owned(),
            answer: answer.into(),
        };
        let both = [
            assume("dns", PluginAnswer::Match),
            assume("ports", PluginAnswer::None),
        ];
        let Assumed(assumed) = Assumed::new(&both).expect("one answer each");
        let wanted = [
            (PluginId::new("plugin/dns"), Answer::Match),
            (PluginId::new("plugin/ports"), Answer::Failed),
        ];
        assert_eq!(assumed, BTreeMap::from(wanted));
        let refused = |plugins: &[PluginAssumption]| Assumed::new(plugins).err();
        let twice = [
            assume("dns", PluginAnswer::Match),
            assume("dns", PluginAnswer::Match),
        ];
        assert_eq!(refused(&twice), Some(Invalid::TwoAnswers("dns".to_owned())));
        let none = [assume("dns", PluginAnswer::Unspecified)];
        assert_eq!(refused(&none), Some(Invalid::NoAnswer("dns".to_owned())));
    }
}
