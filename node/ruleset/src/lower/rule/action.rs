//! What a rule does once it matches.

use super::Context;
use crate::{
    ir::{Expression, LogTo, Rule as NftRule, Verdict},
    lower::part::immutable,
};
use palisade_policy::{config::LogLimit, rule::Action};

/// What an allow rule does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::lower) enum Allow {
    /// Ends the stage.
    Accept,
    /// And says so to later stages, by a bit of the mark.
    Mark {
        /// Which.
        bit: u32,
    },
    /// And keeps the packet out of connection tracking.
    Untrack {
        /// Which says so to later stages.
        bit: u32,
    },
}

impl Context<'_> {
    /// How a denied packet ends.
    pub(in crate::lower) const fn deny(&self) -> Expression {
        if self.rejects {
            Expression::Reject
        } else {
            Expression::Verdict(Verdict::Drop)
        }
    }

    /// A chain of its own where an allow is more than a verdict, so that it can be the element of a map.
    fn allowed(&mut self) -> Verdict {
        let accept = Expression::Verdict(Verdict::Accept);
        let mark = |bit| Expression::SetMark {
            mask: bit,
            value: bit,
        };
        let expressions = match self.allow {
            Allow::Accept => return Verdict::Accept,
            Allow::Mark { bit } => vec![mark(bit), accept],
            Allow::Untrack { bit } => vec![mark(bit), Expression::Notrack, accept],
        };
        let rules = vec![NftRule::new(expressions)];
        Verdict::Goto(immutable(&mut self.part, "allow", self.hook, rules))
    }

    pub(super) fn act(&mut self, action: &Action, expressions: &mut Vec<Expression>) {
        match action {
            Action::Allow => expressions.push(Expression::Verdict(self.allowed())),
            Action::Deny => expressions.push(self.deny()),
            Action::Pass => expressions.push(Expression::Verdict(Verdict::Return)),
            Action::Log { prefix } => {
                expressions.extend(self.view.config.log_limit.map(limit));
                expressions.push(Expression::Log {
                    prefix: prefix.clone(),
                    to: LogTo::Kernel,
                });
            }
        }
    }
}

/// A burst of nothing is the kernel's default.
fn limit(limit: LogLimit) -> Expression {
    Expression::Limit {
        rate: limit.rate,
        seconds: limit.seconds,
        burst: if limit.burst == 0 { 5 } else { limit.burst },
    }
}
