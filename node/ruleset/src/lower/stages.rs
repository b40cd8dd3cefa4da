//! Base chains: the table of stages, step by step.

use super::{Lowering, accept, rule};
use crate::{
    ir::{Chain, ChainName, Expression, Rule, Side, State, TableName, Verdict},
    stage::{Dispatch, InUse, STAGES, Stage, Step},
};
use palisade_policy::{
    class::{Direction, PolicyList},
    config::DenyAction,
    ids::IfName,
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
        }
    }

    /// Every stage of a table that stands, and all that it needs; false if none does.
    pub(super) fn stages(&mut self, table: TableName) -> bool {
        let in_use = self.in_use;
        let standing: Vec<&Stage> = STAGES
            .iter()
            .filter(|stage| stage.table == table && in_use.is(stage.stands))
            .collect();
        if table == TableName::Main && !self.asking.is_empty() {
            self.accepted();
        }
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

    /// Whether an early list that is judged again stands before lists that ask: what it allows now may have been asked about
    /// before a commit, and comes with a tag.
    pub(super) fn restores_again(&self, dispatch: Dispatch) -> bool {
        let before = match (dispatch.again, dispatch.table, dispatch.direction) {
            (Some(_), TableName::Main, Direction::Ingress) => {
                [Dispatch::INPUT, Dispatch::FORWARD_IN].as_slice()
            }
            (Some(_), TableName::Main, Direction::Egress) => [Dispatch::OUT].as_slice(),
            _ => [].as_slice(),
        };
        before.iter().any(|list| self.asking.asks_at(list.asks))
    }

    fn step(&mut self, step: Step) -> Vec<Rule> {
        let accept = Expression::Verdict(Verdict::Accept);
        match step {
            Step::SourceCheck => self.source_check(),
            Step::Established => {
                let states = vec![State::Established, State::Related];
                vec![rule([Expression::CtState(states), accept])]
            }
            Step::WorkloadToHost => self.workload_to_host(),
            Step::UnknownWorkloads(dispatch) => self.unknown_workloads(dispatch),
            Step::Again => vec![rule([self.again()])],
            Step::AgainBy(dispatch) => {
                let asked = self.shared_name(dispatch);
                vec![rule([Expression::Verdict(Verdict::Jump(asked))])]
            }
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

    /// What early lists allowed is accepted. No mark says so, since others write marks: the lists are judged again, by what
    /// they saw. Translation comes behind them, except on `lo`, where it was done on the way out.
    fn again(&mut self) -> Expression {
        let name = ChainName::new("again");
        if !self.table.chains.contains_key(&name) {
            let header = self.again_by_header();
            let goto = |chain| Expression::Verdict(Verdict::Goto(chain));
            let mut rules = Vec::new();
            let looped = Expression::Interface {
                side: Side::In,
                name: IfName::from("lo"),
                not: false,
            };
            rules.push(rule([looped, goto(header.clone())]));
            // What untracked policy allowed is not translated.
            let translated = if self.in_use.pre_dnat {
                goto(self.shared_name(Dispatch::PRE_DNAT_ORIGINAL))
            } else {
                Expression::Verdict(Verdict::Return)
            };
            rules.push(rule([Expression::CtDnat, translated]));
            rules.push(rule([goto(header)]));
            self.regular(&name, rules);
        }
        Expression::Verdict(Verdict::Jump(name))
    }

    /// By the packet's own destination.
    fn again_by_header(&mut self) -> ChainName {
        let mut lists = Vec::new();
        if self.in_use.untracked_in {
            lists.push(self.shared_name(Dispatch::UNTRACKED_AGAIN));
        }
        if self.in_use.pre_dnat {
            lists.push(self.shared_name(Dispatch::PRE_DNAT_AGAIN));
        }
        if let [only] = lists.as_slice() {
            return only.clone();
        }
        let name = ChainName::new("again_header");
        let jump = |list| rule([Expression::Verdict(Verdict::Jump(list))]);
        self.regular(&name, lists.into_iter().map(jump).collect());
        name
    }

    /// Goes to the chain of a dispatch.
    fn shared(&mut self, dispatch: Dispatch) -> Expression {
        Expression::Verdict(Verdict::Goto(self.shared_name(dispatch)))
    }

    /// The chain of a dispatch, which stages share.
    fn shared_name(&mut self, dispatch: Dispatch) -> ChainName {
        let name = ChainName::new(dispatch.name);
        if !self.table.chains.contains_key(&name) {
            let rules = self.dispatch(dispatch);
            self.regular(&name, rules);
        }
        name
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
