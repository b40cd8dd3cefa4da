//! The chain of a class: what is settled before policy, a jump per tier, a jump per profile, the end.

use super::{
    Lowering, failure,
    fragment::immutable,
    rule,
    rule::{Allow, audit},
    sequence::cut,
    tier::{Terms, TierContent, TierPlace},
};
use crate::{
    ir::{Expression, Rule, State, Verdict},
    plugins::{LogAction, Questions},
    stage::Dispatch,
};
use palisade_policy::{
    class::{Class, ClassProfile, Direction, EndpointKind, PolicyList, TierDefault},
    config::DenyAction,
    fault::{ItemFault, Reason},
    ids::{ClassId, EndpointId, PolicyId, RuleId, TierName},
    rule::Policy,
    rule_id,
};
use std::sync::Arc;

/// What plugins say to the rules of a class.
enum Answers {
    /// Bits of the mark.
    In(Arc<Questions>),
    /// Nothing: each condition comes to what its failure comes to.
    Failed,
}

impl Lowering<'_> {
    /// How the class is entered: by goto, or as a verdict if it has only one.
    pub(super) fn class(
        &mut self,
        dispatch: Dispatch,
        id: Option<&ClassId>,
        class: &Class,
    ) -> Result<Verdict, ItemFault> {
        let config = Arc::clone(&self.view.config);
        let questions = self.questions(dispatch, class)?;
        let dispatch = dispatch.restoring(questions.is_some() || self.restores_again(dispatch));
        let mut rules = Vec::new();
        let again = dispatch.again.is_some();
        if !again && class.list != PolicyList::Untracked && !config.accept_invalid {
            let mut invalid = self.deny(dispatch, rule_id::invalid());
            let state = Expression::CtState(vec![State::Invalid]);
            invalid.expressions.insert(0, state);
            rules.push(invalid);
        }
        match (class.endpoint, class.list, class.direction) {
            (EndpointKind::Host, PolicyList::Forward, _) => {}
            (EndpointKind::Host, ..) => rules.extend(self.exemptions(dispatch)),
            (EndpointKind::Workload, _, Direction::Egress) => {
                rules.extend(self.tunnel_block(dispatch));
            }
            (EndpointKind::Workload, _, Direction::Ingress) => {}
        }
        match &questions {
            None => rules.extend(self.judged(dispatch, id, class, &Answers::Failed)?),
            Some(questions) => {
                let failed = self.judged(dispatch, id, class, &Answers::Failed)?;
                let failed = immutable(&mut self.table, "failed", dispatch.name, failed);
                rules.extend(self.head(dispatch, class, questions, &failed));
                let answers = Answers::In(Arc::clone(questions));
                rules.extend(self.judged(dispatch, id, class, &answers)?);
            }
        }
        cut(&mut rules);
        if let [only] = rules.as_slice()
            && let [Expression::Verdict(verdict)] = only.expressions.as_slice()
            && (!again || *verdict == Verdict::Return)
        {
            return Ok(verdict.clone());
        }
        if again {
            self.behind_discovery(dispatch, &mut rules);
        }
        let chain = immutable(&mut self.table, "class", dispatch.name, rules);
        Ok(Verdict::Goto(chain))
    }

    /// Tiers, profiles, the end.
    fn judged(
        &mut self,
        dispatch: Dispatch,
        id: Option<&ClassId>,
        class: &Class,
        answers: &Answers,
    ) -> Result<Vec<Rule>, ItemFault> {
        let mut rules = Vec::new();
        let endpoint = id.and_then(|id| self.first.get(id)).cloned();
        // A tier of staged policies only says nothing.
        for tier in class.tiers.iter().filter(|tier| !tier.policies.is_empty()) {
            let policies = self.policies(id, &tier.policies)?;
            let default_id =
                (tier.default == TierDefault::Deny).then(|| rule_id::tier_default(&tier.name));
            let default = (tier.default, default_id);
            let place = place(
                dispatch,
                endpoint.as_ref(),
                Some(&tier.name),
                tier.name.as_str(),
            );
            rules.push(self.jump(dispatch, place, policies, default, answers)?);
        }
        for profile in &class.profiles {
            match profile {
                ClassProfile::Missing(name) => {
                    let missing = rule_id::missing_profile(name);
                    rules.push(self.deny(dispatch, missing));
                    break;
                }
                ClassProfile::Present(name) => {
                    let policies = self.policies(id, std::slice::from_ref(name))?;
                    let default = (TierDefault::Pass, None);
                    let place = place(dispatch, endpoint.as_ref(), None, name.as_str());
                    rules.push(self.jump(dispatch, place, policies, default, answers)?);
                }
            }
        }
        if !cut(&mut rules) {
            rules.push(match class.list {
                PolicyList::Normal => self.deny(dispatch, rule_id::end_of_profiles()),
                PolicyList::Forward | PolicyList::Untracked | PolicyList::PreDnat => {
                    rule([Expression::Verdict(dispatch.otherwise())])
                }
            });
        }
        Ok(rules)
    }

    /// Whether a denied packet is answered here.
    pub(super) fn rejects(&self, dispatch: Dispatch) -> bool {
        dispatch.rejects && self.view.config.deny_action == DenyAction::Reject
    }

    pub(super) fn deny(&self, dispatch: Dispatch, id: RuleId) -> Rule {
        let audit = self.audits.then(|| audit(LogAction::Deny, id));
        let denial = self.denial(dispatch);
        Rule::new(audit.into_iter().chain([denial]).collect()).of(id)
    }

    /// How a packet is denied here.
    pub(super) fn denial(&self, dispatch: Dispatch) -> Expression {
        if self.rejects(dispatch) {
            Expression::Reject
        } else {
            Expression::Verdict(Verdict::Drop)
        }
    }

    /// How policy allows here.
    fn allow(dispatch: Dispatch) -> Allow {
        match (dispatch.list, dispatch.again) {
            (PolicyList::Untracked, None) => Allow::Untrack,
            _ => Allow::Accept(dispatch.accept()),
        }
    }

    /// To a tier or profile.
    fn jump(
        &mut self,
        dispatch: Dispatch,
        mut place: TierPlace<'_>,
        policies: Vec<(PolicyId, Arc<Policy>)>,
        (default, default_id): (TierDefault, Option<RuleId>),
        answers: &Answers,
    ) -> Result<Rule, ItemFault> {
        // Where none asks, the tier is the same with answers and without.
        let asks = policies
            .iter()
            .any(|(_, policy)| failure::asks(policy, dispatch.direction));
        let (policies, questions) = match answers {
            Answers::In(questions) => (policies, asks.then(|| Arc::clone(questions))),
            Answers::Failed if asks => {
                place.name.push_str(" failed");
                (failure::all(policies, dispatch.direction), None)
            }
            Answers::Failed => (policies, None),
        };
        let content = TierContent {
            policies,
            terms: Terms {
                direction: dispatch.direction,
                default,
                default_id,
                rejects: self.rejects(dispatch),
                allow: Self::allow(dispatch),
                again: dispatch.again,
                questions,
                audits: self.audits && dispatch.again.is_none(),
                ipv6: self.view.config.ipv6,
                log_limit: self.view.config.log_limit,
            },
        };
        let chain = self.tier(&place, &content)?;
        Ok(rule([Expression::Verdict(Verdict::Jump(chain))]))
    }

    fn policies(
        &self,
        class: Option<&ClassId>,
        names: &[PolicyId],
    ) -> Result<Vec<(PolicyId, Arc<Policy>)>, ItemFault> {
        names
            .iter()
            .map(|name| match self.view.policies.get(name) {
                Some(policy) => Ok((name.clone(), Arc::clone(policy))),
                None => Err(ItemFault {
                    item: class.map_or_else(|| name.into(), Into::into),
                    reason: Reason::Dangling(name.into()),
                }),
            })
            .collect()
    }
}

fn place<'a>(
    dispatch: Dispatch,
    endpoint: Option<&'a EndpointId>,
    tier: Option<&'a TierName>,
    name: &str,
) -> TierPlace<'a> {
    let first = endpoint.map_or("", EndpointId::as_str);
    let kind = if tier.is_some() { "tier" } else { "profile" };
    TierPlace {
        name: format!("{} {first} {kind} {name}", dispatch.name),
        hook: dispatch.name,
        table: dispatch.table,
        list: dispatch.list,
        endpoint,
        tier,
    }
}
