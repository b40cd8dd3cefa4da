//! Nft rules in order, up to the first that ends every packet, and what they come to as a verdict.

use super::fragment::{immutable, merge};
use crate::ir::{Expression, Rule, Table, Verdict};

/// What becomes of a packet that no rule decided.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    /// As the last rule of a chain.
    pub(super) rule: Rule,
    /// As the element of a map.
    pub(super) verdict: Verdict,
    /// What the verdict names.
    pub(super) part: Table,
}

impl Ending {
    pub(super) fn new(rule: Rule, place: &str) -> Self {
        let mut part = Table::default();
        let verdict = as_verdict(rule.clone(), place, &mut part);
        Self {
            rule,
            verdict,
            part,
        }
    }
}

/// Cuts what stands after a rule without condition; false if there is none.
pub(super) fn cut(rules: &mut Vec<Rule>) -> bool {
    let end = rules.iter().position(is_final);
    if let Some(end) = end {
        rules.truncate(end + 1);
    }
    end.is_some()
}

/// No packet gets past it: it ends, and tests nothing before.
fn is_final(rule: &Rule) -> bool {
    let Some((end, before)) = rule.expressions.split_last() else {
        return false;
    };
    let ends = matches!(
        end,
        Expression::Reject
            | Expression::Verdict(
                Verdict::Accept | Verdict::Drop | Verdict::Return | Verdict::Goto(_)
            )
    );
    let only_does = |e: &Expression| matches!(e, Expression::Log { .. });
    ends && before.iter().all(only_does)
}

/// The verdict that stands for the rules: theirs, if there is only one, else to go to a chain of them.
pub(super) fn close(
    role: &str,
    place: &str,
    mut rules: Vec<Rule>,
    ending: &Ending,
    part: &mut Table,
) -> Verdict {
    if !cut(&mut rules) {
        if rules.is_empty() {
            merge(part, &ending.part);
            return ending.verdict.clone();
        }
        rules.push(ending.rule.clone());
    }
    if rules.len() == 1
        && let Some(rule) = rules.pop()
    {
        return as_verdict(rule, place, part);
    }
    Verdict::Goto(immutable(part, role, place, rules))
}

fn as_verdict(rule: Rule, place: &str, part: &mut Table) -> Verdict {
    match rule.expressions.as_slice() {
        [Expression::Verdict(verdict)] => verdict.clone(),
        _ => Verdict::Goto(immutable(part, "deny", place, vec![rule])),
    }
}
