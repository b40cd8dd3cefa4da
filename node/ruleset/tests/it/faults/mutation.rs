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
    NotJudgedAgain,
    MarkBelieved,
    UntrackedForTheList,
    AgainByTheHeader,
    AgainByTheEntryOnLoopback,
    AgainWithoutFailsafes,
    RepliesOfUnknownWorkloads,
    TranslatedJudgedInOutputOnly,
    ForwardedJudgedInPostrouting,
    NoNeighbourDiscovery,
}

/// Those that random worlds show.
pub(super) const FAULTS: [Fault; 10] = [
    Fault::InvalidBeforeDispatch,
    Fault::FailsafeBeforeDispatch,
    Fault::NotJudgedAgain,
    Fault::MarkBelieved,
    Fault::UntrackedForTheList,
    Fault::AgainByTheHeader,
    Fault::RepliesOfUnknownWorkloads,
    Fault::TranslatedJudgedInOutputOnly,
    Fault::ForwardedJudgedInPostrouting,
    Fault::NoNeighbourDiscovery,
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
            Self::NotJudgedAgain => each_rule(&mut ruleset, |_, rule| !jumps_again(rule)),
            Self::MarkBelieved => {
                let (mask, value) = (0x0001_0000, 0x0001_0000);
                let accept = Expression::Verdict(Verdict::Accept);
                insert(&mut ruleset, vec![Expression::Mark { mask, value }, accept]);
            }
            Self::UntrackedForTheList => each_rule(&mut ruleset, |_, rule| {
                if jumps_again(rule) {
                    rule.expressions = vec![
                        Expression::CtState(vec![State::Untracked]),
                        Expression::Verdict(Verdict::Accept),
                    ];
                }
                true
            }),
            Self::AgainByTheHeader => each_rule(&mut ruleset, |name, rule| {
                name.as_str() != "again" || rule.expressions.first() != Some(&Expression::CtDnat)
            }),
            Self::AgainByTheEntryOnLoopback => each_rule(&mut ruleset, |name, rule| {
                let looped = matches!(rule.expressions.first(), Some(Expression::Interface { .. }));
                name.as_str() != "again" || !looped
            }),
            Self::AgainWithoutFailsafes => each_rule(&mut ruleset, |name, rule| {
                let returns = Some(&Expression::Verdict(Verdict::Return));
                let tests = rule.expressions.len() > 1 && rule.expressions.last() == returns;
                !(name.as_str().starts_with("class_") && tests)
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

/// Whether the rule asks what an early list said.
pub(crate) fn jumps_again(rule: &Rule) -> bool {
    matches!(rule.expressions.as_slice(), [Expression::Verdict(Verdict::Jump(chain))]
        if chain.as_str() == "again" || chain.as_str().ends_with("again_untracked")
            || chain.as_str() == "again_untracked_out")
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
