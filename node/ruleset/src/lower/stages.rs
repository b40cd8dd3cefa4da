//! Base chains: the table of stages, step by step.

use super::{Lowering, accept, rule};
use crate::{
    ir::{Chain, ChainName, Expression, Rule, State, TableName, Verdict},
    plugins::Marks,
    stage::{Dispatch, InUse, STAGES, Stage, Step},
};
use palisade_policy::{
    class::{Direction, PolicyList},
    config::DenyAction,
    rule::Family,
};
use std::sync::Arc;

impl Lowering<'_> {
    /// What the endpoints that govern something ask for.
    pub(super) fn in_use(&self) -> InUse {
        let has = |endpoint, list, direction| {
            let endpoint = self.view.endpoints.get(endpoint);
            endpoint.is_some_and(|e| e.classes.contains_key(&(list, direction)))
        };
        let hosts = || self.resolution.hosts.values();
        let untracked = |direction| hosts().any(|e| has(e, PolicyList::Untracked, direction));
        InUse {
            untracked_in: untracked(Direction::Ingress),
            untracked_out: untracked(Direction::Egress),
            pre_dnat: hosts()
                .chain(&self.resolution.default)
                .any(|e| has(e, PolicyList::PreDnat, Direction::Ingress)),
            workloads: !self.resolution.workloads.is_empty(),
            asks_in: self.asking.asks_in(),
            asks_out: self.asking.asks_out(),
        }
    }

    /// Every stage of a table that stands, and all that it needs; false if none does.
    pub(super) fn stages(&mut self, table: TableName) -> bool {
        let in_use = self.in_use;
        let standing: Vec<&Stage> = STAGES
            .iter()
            .filter(|stage| stage.table == table && in_use.is(stage.stands))
            .collect();
        for stage in &standing {
            let rules = self.stage(stage);
            let chain = Chain {
                base: Some(stage.base),
                rules: Arc::new(rules),
            };
            self.stand(ChainName::new(stage.chain), chain);
        }
        !standing.is_empty()
    }

    /// Ends in an explicit verdict.
    fn stage(&mut self, stage: &Stage) -> Vec<Rule> {
        let mut rules = Vec::new();
        if !self.view.config.ipv6 {
            rules.push(rule([
                Expression::Family(Family::V6),
                Expression::Verdict(Verdict::Accept),
            ]));
        }
        for (when, step) in stage.steps {
            if self.in_use.is(*when) {
                rules.extend(self.step(*step));
            }
        }
        if !super::sequence::cut(&mut rules) {
            rules.push(accept());
        }
        rules
    }

    fn step(&mut self, step: Step) -> Vec<Rule> {
        let bit = Marks::new(self.view.config.mark_mask).stage_accept();
        let mark = Expression::Mark {
            mask: bit,
            value: bit,
        };
        let clear = Expression::SetMark {
            mask: bit,
            value: 0,
        };
        let accept = Expression::Verdict(Verdict::Accept);
        match step {
            Step::ClearMark => vec![rule([self.forget_marks()])],
            Step::SourceCheck => self.source_check(),
            Step::Established => {
                let states = vec![State::Established, State::Related];
                vec![rule([Expression::CtState(states), accept])]
            }
            Step::WorkloadToHost => self.workload_to_host(),
            Step::UnknownWorkloads(dispatch) => self.unknown_workloads(dispatch),
            Step::Marked => vec![rule([mark, accept])],
            Step::MarkedLast => vec![rule([mark, clear, accept])],
            Step::Local => vec![rule([Expression::NotLocal, accept])],
            Step::Untranslated => vec![rule([Expression::CtDnat, accept])],
            Step::Translated(dispatch) => {
                // With a silent deny both ways out are judged by the same chains.
                let dispatch = match self.view.config.deny_action {
                    DenyAction::Drop => Dispatch::OUT,
                    DenyAction::Reject => dispatch,
                };
                let judged = self.shared(dispatch);
                vec![rule([Expression::CtDnat, judged])]
            }
            Step::Classes(dispatch) => self.dispatch(dispatch),
            Step::Shared(dispatch) => {
                let judged = self.shared(dispatch);
                vec![rule([judged])]
            }
        }
    }

    /// Clears all bits of the mark that some stage believes.
    fn forget_marks(&self) -> Expression {
        let (marks, in_use) = (Marks::new(self.view.config.mark_mask), self.in_use);
        let mut mask = 0;
        if in_use.untracked_in || in_use.untracked_out || in_use.pre_dnat {
            mask |= marks.stage_accept();
        }
        if in_use.asks_in || in_use.asks_out {
            mask |= marks.answers();
        }
        Expression::SetMark { mask, value: 0 }
    }

    /// Goes to the chain of a dispatch.
    fn shared(&mut self, dispatch: Dispatch) -> Expression {
        let name = ChainName::new(dispatch.name);
        if !self.table.chains.contains_key(&name) {
            let rules = self.dispatch(dispatch);
            self.regular(&name, rules);
        }
        Expression::Verdict(Verdict::Goto(name))
    }

    /// Adds a chain that keeps its name when its rules change.
    pub(super) fn regular(&mut self, name: &ChainName, rules: Vec<Rule>) {
        let chain = Chain {
            base: None,
            rules: Arc::new(rules),
        };
        self.stand(name.clone(), chain);
    }
}
