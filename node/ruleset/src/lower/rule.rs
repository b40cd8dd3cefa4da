//! A policy rule becomes nft rules: each one a conjunction, several where the rule has alternatives or both families.

use super::{
    fragment::{nets_test, ports_test},
    selector::{Selectors, Use},
};
use crate::{
    ir::{End, Expression, Key, Rule as NftRule, SetName, Table},
    plugins::Questions,
};
use palisade_policy::{
    fault::Reason,
    ids::SetId,
    plugin::OnFailure,
    rule::{Action, EntityMatch, Family, Match, PortMatch, Protocol, Rule, family_of},
    view::View,
};
use std::{collections::BTreeMap, sync::Arc};

mod action;
mod condition;

pub(super) use action::{Allow, audit};
use condition::{cost, icmp_tests, known, protocol_tests, reads_transport};
pub(super) use condition::{depends_on, is_bare, may_match, wants_ports};

/// What was decided about the protocol before a packet comes to the rule.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decided<'a> {
    /// Nothing.
    Nothing,
    /// It is this one.
    Is(Protocol),
    /// It is none of these.
    Other(&'a [Protocol]),
}

/// What was decided about the destination port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Port {
    /// Nothing.
    Open,
    /// A range of the rule has it.
    Hit,
    /// No range of the rule has it.
    Missed,
}

/// What rules are lowered with.
pub(super) struct Context<'a> {
    pub(super) view: &'a View,
    pub(super) selectors: &'a mut Selectors,
    /// Sets that the rules name by content.
    pub(super) part: Table,
    /// Selector sets that the rules name.
    pub(super) used: BTreeMap<SetName, Use>,
    pub(super) rejects: bool,
    pub(super) allow: Allow,
    /// As [`Dispatch::again`](crate::stage::Dispatch::again).
    pub(super) again: Option<End>,
    /// Which bits answers of plugins are in. Absent: nobody asks.
    pub(super) questions: Option<Arc<Questions>>,
    pub(super) audits: bool,
    /// The dispatch: chains are shared within it.
    pub(super) hook: &'static str,
}

impl Context<'_> {
    /// Adds the rule where nothing may have been decided about the protocol.
    pub(super) fn lower_whole(&mut self, rule: &Rule, to: &mut Vec<NftRule>) -> Result<(), Reason> {
        let protocols = depends_on(&rule.matches);
        if protocols.is_empty() {
            return self.lower(rule, Decided::Nothing, Port::Open, to);
        }
        for protocol in &protocols {
            let mut narrowed = rule.clone();
            if !may_match(&rule.matches, *protocol) {
                continue;
            }
            narrowed.matches.protocol = Some(*protocol);
            self.lower(&narrowed, Decided::Nothing, Port::Open, to)?;
        }
        let mut others = Vec::new();
        self.lower(rule, Decided::Other(&protocols), Port::Open, &mut others)?;
        for mut rule in others {
            let tests = protocols.iter().map(|protocol| Expression::Protocol {
                protocol: *protocol,
                not: true,
            });
            rule.expressions.splice(0..0, tests);
            to.push(rule);
        }
        Ok(())
    }

    /// Adds the rule as it remains after what was decided.
    pub(super) fn lower(
        &mut self,
        rule: &Rule,
        decided: Decided<'_>,
        port: Port,
        to: &mut Vec<NftRule>,
    ) -> Result<(), Reason> {
        let matches = &rule.matches;
        if self.again.is_some() && matches!(rule.action, Action::Log { .. }) {
            // It was logged before.
            return Ok(());
        }
        let (matched, failed) = match &matches.plugin {
            None => (None, None),
            Some(condition) => {
                let question = self.questions.as_ref().and_then(|q| q.find(condition));
                let question =
                    question.ok_or_else(|| Reason::Dangling((&condition.plugin).into()))?;
                let failed = question.failed.zip(match condition.on_failure {
                    OnFailure::Deny => Some(Action::Deny),
                    OnFailure::Allow => Some(Action::Allow),
                    OnFailure::Match | OnFailure::NoMatch => None,
                });
                (Some(question.matched), failed)
            }
        };
        for family in self.families(matches, decided, port) {
            for mut expressions in self.conjunctions(matches, family, decided, port)? {
                if let Some((failed, action)) = &failed {
                    let mut expressions = expressions.clone();
                    expressions.push(has_bit(*failed));
                    self.act(rule.id, action, &mut expressions);
                    to.push(NftRule::new(expressions).of(rule.id));
                }
                expressions.extend(matched.map(has_bit));
                self.act(rule.id, &rule.action, &mut expressions);
                to.push(NftRule::new(expressions).of(rule.id));
            }
        }
        Ok(())
    }

    /// The families that need a rule each; `None`: one rule serves both.
    fn families(&self, matches: &Match, decided: Decided<'_>, port: Port) -> Vec<Option<Family>> {
        let protocol = known(matches, decided);
        let implied = match (matches.icmp.or(matches.not_icmp), protocol) {
            (Some(_), Some(Protocol::ICMP)) => Some(Family::V4),
            (Some(_), Some(Protocol::ICMPV6)) => Some(Family::V6),
            _ => None,
        };
        let asks = |e: &EntityMatch| {
            !(e.nets.is_empty()
                && e.not_nets.is_empty()
                && e.sets.is_empty()
                && e.not_sets.is_empty()
                && e.not_ports.sets.is_empty())
        };
        let named = !matches.source.ports.sets.is_empty()
            || (port != Port::Hit && !matches.destination.ports.sets.is_empty());
        let addresses = named || asks(&matches.source) || asks(&matches.destination);
        if matches.family.is_none() && implied.is_none() && !addresses {
            return vec![None];
        }
        [Family::V4, Family::V6]
            .into_iter()
            .filter(|family| {
                matches.covers(*family)
                    && implied.is_none_or(|f| f == *family)
                    && (self.view.config.ipv6 || *family == Family::V4)
            })
            .map(Some)
            .collect()
    }

    /// What must hold: one list of tests for each alternative.
    fn conjunctions(
        &mut self,
        matches: &Match,
        family: Option<Family>,
        decided: Decided<'_>,
        port: Port,
    ) -> Result<Vec<Vec<Expression>>, Reason> {
        let protocol = known(matches, decided);
        let Some(mut head) = protocol_tests(matches, decided) else {
            return Ok(Vec::new());
        };
        let Some(icmp) = icmp_tests(matches, protocol) else {
            return Ok(Vec::new());
        };
        head.extend(icmp);
        let mut tests = Vec::new();
        for (end, entity) in self.ends(matches) {
            let Some(more) = self.entity_tests(entity, end, family, protocol)? else {
                return Ok(Vec::new());
            };
            tests.extend(more);
        }
        let mut alternatives = vec![Vec::new()];
        for (end, entity) in self.ends(matches) {
            let decided = if end == End::Source { Port::Open } else { port };
            let ports = self.port_alternatives(&entity.ports, end, family, protocol, decided)?;
            alternatives = product(&alternatives, &ports);
        }
        let conjunction = |ports: Vec<Expression>| {
            let mut all = Vec::new();
            all.extend(family.map(Expression::Family));
            let mut rest = head.clone();
            rest.extend(ports);
            rest.extend(tests.iter().cloned());
            rest.sort_by_key(cost);
            let tested = rest
                .iter()
                .any(|e| matches!(e, Expression::Protocol { not: false, .. }));
            if let (Some(protocol), false) = (protocol, tested)
                && rest.iter().any(reads_transport)
            {
                let not = false;
                all.push(Expression::Protocol { protocol, not });
            }
            all.extend(rest);
            all
        };
        Ok(alternatives.into_iter().map(conjunction).collect())
    }

    fn ends<'m>(&self, matches: &'m Match) -> [(End, &'m EntityMatch); 2] {
        [
            (self.again.unwrap_or(End::Destination), &matches.destination),
            (End::Source, &matches.source),
        ]
    }

    /// What one end asks beside ports that suffice; `None`: it can not match.
    fn entity_tests(
        &mut self,
        entity: &EntityMatch,
        end: End,
        family: Option<Family>,
        protocol: Option<Protocol>,
    ) -> Result<Option<Vec<Expression>>, Reason> {
        let mut tests = Vec::new();
        if protocol.is_some_and(Protocol::has_ports) {
            if !entity.not_ports.ranges.is_empty() {
                let ranges = &entity.not_ports.ranges;
                tests.push(ports_test(&mut self.part, end, ranges, true));
            }
            for id in &entity.not_ports.sets {
                tests.push(self.port_lookup(id, end, family, true)?);
            }
        }
        let Some(family) = family else {
            return Ok(Some(tests));
        };
        let of_family = |nets: &[ipnet::IpNet]| -> Vec<_> {
            nets.iter()
                .copied()
                .filter(|net| family_of(net) == family)
                .collect()
        };
        let nets = of_family(&entity.nets);
        if !nets.is_empty() {
            tests.extend(nets_test(&mut self.part, family, end, &nets, false));
        }
        let not_nets = of_family(&entity.not_nets);
        if !not_nets.is_empty() {
            match nets_test(&mut self.part, family, end, &not_nets, true) {
                Some(test) => tests.push(test),
                None => return Ok(None),
            }
        }
        let sets = entity.sets.iter().map(|id| (id, false));
        for (id, not) in sets.chain(entity.not_sets.iter().map(|id| (id, true))) {
            let key = Key::Address(family, end);
            let set = self.selector(id, family)?;
            tests.push(Expression::Lookup { key, set, not });
        }
        Ok(Some(tests))
    }

    /// Ports any of which suffices: tests that stand for each other.
    fn port_alternatives(
        &mut self,
        ports: &PortMatch,
        end: End,
        family: Option<Family>,
        protocol: Option<Protocol>,
        decided: Port,
    ) -> Result<Vec<Vec<Expression>>, Reason> {
        if ports.is_empty() || decided == Port::Hit {
            return Ok(vec![Vec::new()]);
        }
        if protocol.is_some_and(|p| !p.has_ports()) {
            return Ok(Vec::new());
        }
        let mut alternatives = Vec::new();
        // Without a known protocol numbers can not match: TCP, UDP and SCTP were split off.
        if decided == Port::Open && protocol.is_some() && !ports.ranges.is_empty() {
            alternatives.push(vec![ports_test(&mut self.part, end, &ports.ranges, false)]);
        }
        for id in &ports.sets {
            alternatives.push(vec![self.port_lookup(id, end, family, false)?]);
        }
        Ok(alternatives)
    }

    fn port_lookup(
        &mut self,
        id: &SetId,
        end: End,
        family: Option<Family>,
        not: bool,
    ) -> Result<Expression, Reason> {
        let family = family.unwrap_or(Family::V4);
        let key = Key::AddressProtocolPort(family, end);
        let set = self.selector(id, family)?;
        Ok(Expression::Lookup { key, set, not })
    }

    fn selector(&mut self, id: &SetId, family: Family) -> Result<SetName, Reason> {
        let used = Use {
            id: id.clone(),
            family,
        };
        let name = self
            .selectors
            .name(self.view, &used)
            .ok_or_else(|| Reason::Dangling(id.into()))?;
        self.used.insert(name.clone(), used);
        Ok(name)
    }
}

const fn has_bit(bit: u32) -> Expression {
    Expression::Mark {
        mask: bit,
        value: bit,
    }
}

fn product(left: &[Vec<Expression>], right: &[Vec<Expression>]) -> Vec<Vec<Expression>> {
    left.iter()
        .flat_map(|l| right.iter().map(move |r| [l.as_slice(), r].concat()))
        .collect()
}
