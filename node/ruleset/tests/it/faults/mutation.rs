//! How each fault looks in a ruleset.

use palisade_ruleset::ir::{
    Chain, ChainName, End, Expression, Key, Rule, Ruleset, SetName, State, TableName, Verdict,
};
use std::sync::Arc;

/// What went wrong once, in this project or another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    InvalidBeforeDispatch,
    FailsafeBeforeDispatch,
    NoMark,
    MarkNotCleared,
    UntrackedForTheMark,
    TranslatedJudgedInOutputOnly,
    ForwardedJudgedInPostrouting,
    NoNeighbourDiscovery,
    RepliesOfUnknownWorkloads,
}

pub(super) const FAULTS: [Fault; 9] = [
    Fault::InvalidBeforeDispatch,
    Fault::FailsafeBeforeDispatch,
    Fault::NoMark,
    Fault::MarkNotCleared,
    Fault::UntrackedForTheMark,
    Fault::TranslatedJudgedInOutputOnly,
    Fault::ForwardedJudgedInPostrouting,
    Fault::NoNeighbourDiscovery,
    Fault::RepliesOfUnknownWorkloads,
];

impl Fault {
    /// The ruleset, made wrong.
    pub(super) fn put_into(self, ruleset: &Ruleset) -> Ruleset {
        let mut ruleset = ruleset.clone();
        match self {
            Self::InvalidBeforeDispatch => insert(
                &mut ruleset,
                vec![
                    Expression::CtState(vec![State::Invalid]),
                    Expression::Verdict(Verdict::Drop),
                ],
            ),
            Self::FailsafeBeforeDispatch => {
                let set = SetName::new("failsafe_in");
                if ruleset.tables[&TableName::Main].sets.contains_key(&set) {
                    let key = Key::ProtocolPort(End::Destination);
                    let not = false;
                    let lookup = Expression::Lookup { key, set, not };
                    let accept = Expression::Verdict(Verdict::Accept);
                    insert(&mut ruleset, vec![lookup, accept]);
                }
            }
            Self::NoMark => each_rule(&mut ruleset, |_, rule| {
                rule.expressions
                    .retain(|e| !matches!(e, Expression::SetMark { value, .. } if *value != 0));
                true
            }),
            Self::MarkNotCleared => each_rule(&mut ruleset, |_, rule| {
                rule.expressions
                    .retain(|e| !matches!(e, Expression::SetMark { value: 0, .. }));
                !rule.expressions.is_empty()
            }),
            Self::UntrackedForTheMark => each_rule(&mut ruleset, |_, rule| {
                for expression in &mut rule.expressions {
                    if matches!(expression, Expression::Mark { .. }) {
                        *expression = Expression::CtState(vec![State::Untracked]);
                    }
                }
                true
            }),
            Self::RepliesOfUnknownWorkloads => {
                let states = Expression::CtState(vec![State::Established, State::Related]);
                let accept = Expression::Verdict(Verdict::Accept);
                let main = ruleset.tables.get_mut(&TableName::Main).expect("always");
                for chain in main
                    .chains
                    .values_mut()
                    .filter(|chain| chain.base.is_some())
                {
                    let first = Rule::new(vec![states.clone(), accept.clone()]);
                    let rules = Arc::make_mut(&mut chain.rules);
                    // Behind the accept of a family that is left alone.
                    let family = rules.first().map(|rule| &rule.expressions[0]);
                    let at = usize::from(matches!(family, Some(Expression::Family(_))));
                    rules.insert(at, first);
                }
            }
            Self::TranslatedJudgedInOutputOnly => each_rule(&mut ruleset, |_, rule| {
                !rule.expressions.contains(&Expression::CtDnat)
            }),
            Self::ForwardedJudgedInPostrouting => each_rule(&mut ruleset, |_, rule| {
                !rule.expressions.contains(&Expression::NotLocal)
            }),
            Self::NoNeighbourDiscovery => each_rule(&mut ruleset, |_, rule| {
                !rule.expressions.iter().any(|e| {
                    matches!(e, Expression::Verdict(Verdict::Jump(chain))
                        if chain.as_str().starts_with("discovery_"))
                })
            }),
        }
        ruleset
    }
}

/// A rule before all else that is asked of packets that arrive.
fn insert(ruleset: &mut Ruleset, expressions: Vec<Expression>) {
    let input = ChainName::new("input");
    let main = ruleset.tables.get_mut(&TableName::Main).expect("always");
    let chain = main.chains.get_mut(&input).expect("always");
    Arc::make_mut(&mut chain.rules).insert(1, Rule::new(expressions));
}

/// Changes rules; those of which `keep` says no are gone.
fn each_rule(ruleset: &mut Ruleset, keep: impl Fn(&ChainName, &mut Rule) -> bool) {
    let tables = ruleset.tables.values_mut();
    for (name, Chain { rules, .. }) in tables.flat_map(|table| &mut table.chains) {
        Arc::make_mut(rules).retain_mut(|rule| keep(name, rule));
    }
}
