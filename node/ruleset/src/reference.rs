//! Who names whom: the references that plans must never leave dangling.

use crate::ir::{Chain, ChainName, Expression, Map, Rule, SetName, Verdict};

/// Something with a name in a table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Referent {
    /// A chain.
    Chain(ChainName),
    /// A set or map.
    Set(SetName),
}

/// What a rule names.
pub(crate) fn of_rule(rule: &Rule) -> impl Iterator<Item = Referent> + '_ {
    rule.expressions
        .iter()
        .filter_map(|expression| match expression {
            Expression::Lookup { set, .. } => Some(Referent::Set(set.clone())),
            Expression::VerdictMap { map, .. } | Expression::MapMark { map, .. } => {
                Some(Referent::Set(map.clone()))
            }
            Expression::Verdict(verdict) => of_verdict(verdict),
            _ => None,
        })
}

/// What a verdict names.
pub(crate) fn of_verdict(verdict: &Verdict) -> Option<Referent> {
    match verdict {
        Verdict::Jump(chain) | Verdict::Goto(chain) => Some(Referent::Chain(chain.clone())),
        Verdict::Accept | Verdict::Drop | Verdict::Return => None,
    }
}

/// What the rules of a chain name.
pub(crate) fn of_chain(chain: &Chain) -> impl Iterator<Item = Referent> + '_ {
    chain.rules.iter().flat_map(of_rule)
}

/// What the elements of a map name.
pub(crate) fn of_map(map: &Map) -> impl Iterator<Item = Referent> + '_ {
    map.elements.values().filter_map(of_verdict)
}
