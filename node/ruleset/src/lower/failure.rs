//! What policies come to where nobody answers for plugins: each condition is replaced by what its failure says.

use palisade_policy::{
    class::Direction,
    ids::PolicyId,
    plugin::OnFailure,
    rule::{Action, Policy, Rule},
};
use std::sync::Arc;

/// Whether a rule of the direction has a condition.
pub(super) fn asks(policy: &Policy, direction: Direction) -> bool {
    let mut rules = policy.rules(direction).iter();
    rules.any(|rule| rule.matches.plugin.is_some())
}

/// The policies without conditions. One that has none stays what it is.
pub(super) fn all(
    policies: Vec<(PolicyId, Arc<Policy>)>,
    direction: Direction,
) -> Vec<(PolicyId, Arc<Policy>)> {
    let without = |(id, policy): (PolicyId, Arc<Policy>)| {
        if asks(&policy, direction) {
            (id, Arc::new(without(&policy, direction)))
        } else {
            (id, policy)
        }
    };
    policies.into_iter().map(without).collect()
}

/// Rules of the other direction are left out.
fn without(policy: &Policy, direction: Direction) -> Policy {
    let rules = policy.rules(direction).iter().filter_map(failed).collect();
    let (ingress, egress) = match direction {
        Direction::Ingress => (rules, Vec::new()),
        Direction::Egress => (Vec::new(), rules),
    };
    Policy {
        ingress,
        egress,
        ..policy.clone()
    }
}

/// `None`: the rule never matches.
fn failed(rule: &Rule) -> Option<Rule> {
    let mut rule = rule.clone();
    if let Some(condition) = rule.matches.plugin.take() {
        match condition.on_failure {
            OnFailure::Match => {}
            OnFailure::NoMatch => return None,
            OnFailure::Deny => rule.action = Action::Deny,
            OnFailure::Allow => rule.action = Action::Allow,
        }
    }
    Some(rule)
}
