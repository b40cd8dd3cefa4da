//! What a rule does once it matches.

use super::Context;
use crate::{
    ir::{Expression, LogTo, Rule as NftRule, Verdict},
    lower::fragment::immutable,
    plugins::{AUDIT_GROUP, LogAction},
};
use palisade_policy::{config::LogLimit, ids::RuleId, rule::Action};

/// What an allow rule does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::lower) enum Allow {
    /// Ends the stage, so.
    Accept(Verdict),
    /// And keeps the packet out of connection tracking.
    Untrack,
}

impl Context<'_> {
    /// How a denied packet ends.
    pub(in crate::lower) fn deny(&self, id: Option<RuleId>) -> Vec<Expression> {
        let end = if self.rejects {
            Expression::Reject
        } else {
            Expression::Verdict(Verdict::Drop)
        };
        let audit = id
            .filter(|_| self.audits)
            .map(|id| audit(LogAction::Deny, id));
        audit.into_iter().chain([end]).collect()
    }

    /// A chain of its own where an allow is more than a verdict, so that it can be the element of a map.
    fn allowed(&mut self, id: RuleId) -> Verdict {
        let expressions = match &self.allow {
            Allow::Accept(verdict) if !self.audits => return verdict.clone(),
            Allow::Accept(verdict) => vec![Expression::Verdict(verdict.clone())],
            Allow::Untrack => vec![Expression::Notrack, Expression::Verdict(Verdict::Accept)],
        };
        // Without connection tracking every packet of a flow comes here, and none is known to begin it.
        let begins = self.audits && self.allow != Allow::Untrack;
        let tell = || vec![Expression::CtUnconfirmed, audit(LogAction::Allow, id)];
        let tells = begins.then(|| NftRule::new(tell()).of(id));
        let rules = tells
            .into_iter()
            .chain([NftRule::new(expressions)])
            .collect();
        Verdict::Goto(immutable(&mut self.part, "allow", self.hook, rules))
    }

    pub(super) fn act(&mut self, id: RuleId, action: &Action, expressions: &mut Vec<Expression>) {
        match action {
            Action::Allow => expressions.push(Expression::Verdict(self.allowed(id))),
            Action::Deny => expressions.extend(self.deny(Some(id))),
            Action::Pass => expressions.push(Expression::Verdict(Verdict::Return)),
            Action::Log { prefix } => {
                // Auditors see what the limit would hide.
                expressions.extend(self.audits.then(|| audit(LogAction::Log, id)));
                expressions.extend(self.view.config.log_limit.map(limit));
                expressions.push(Expression::Log {
                    prefix: prefix.clone(),
                    to: LogTo::Kernel,
                });
            }
        }
    }
}

/// Tells auditors.
pub(in crate::lower) fn audit(told: LogAction, id: RuleId) -> Expression {
    Expression::Log {
        prefix: told.prefix(id),
        to: LogTo::Group(AUDIT_GROUP),
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
