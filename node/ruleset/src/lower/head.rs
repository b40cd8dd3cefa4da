//! The plugin head of a class: what stands before rules that test answers.
//!
//! ```text
//! class:    protocol and ports of some rule with a condition → jump head
//! head:     the mark is a tag → return
//!           family, the mark becomes its tag → goto ask
//!           heartbeat → queue
//!           goto failed
//! ask:      first answer remembered → that one; goto the ask of the next; of the last: return
//!           heartbeat, the tag becomes the mark → queue
//!           goto failed
//! failed:   the rest of the class, as it is where nobody answers
//! accepted: the tag becomes the mark that it stands for; accept
//! ```
//!
//! Each chain from `head` on ends with these two lines, so that the first answer that is not remembered has all of
//! them asked, as has a mark without tag. Where the kernel cannot queue there is no head, and the class is `failed`.
//!
//! Tests are positive throughout: what cannot be loaded, as the port of a protocol without, is asked about.

use super::{Lowering, Queueing, accept, fragment::immutable, fragment::ports_test, rule};
use crate::{
    ir::{ChainName, End, Expression, Key, Rule, Set, SetName, Shape, Verdict, names},
    plugins::{Alike, Question, Questions, TAG, has_matchers},
    stage::{ACCEPTED, Dispatch},
};
use palisade_policy::{
    class::{Class, PolicyList},
    fault::{ItemFault, Reason},
    plugin::PluginCondition,
    rule::{Family, Match, PortRange, Protocol},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Ports by family and protocol of packets that may be asked about; absent family or protocol: any. No ports: all.
type Gate = BTreeMap<(Option<Family>, Option<Protocol>), BTreeSet<PortRange>>;

impl Lowering<'_> {
    /// The conditions of a class; a fault where there are no bits for them, or no way to ask.
    pub(super) fn questions(
        &self,
        dispatch: Dispatch,
        class: &Class,
    ) -> Result<Option<Arc<Questions>>, ItemFault> {
        if !has_matchers(self.view) {
            return match self.conditions(class).next() {
                None => Ok(None),
                Some((policy, (_, condition))) => Err(ItemFault {
                    item: policy.into(),
                    reason: Reason::Dangling((&condition.plugin).into()),
                }),
            };
        }
        let early = matches!(class.list, PolicyList::Untracked | PolicyList::PreDnat);
        if early && let Some((policy, _)) = self.conditions(class).next() {
            let item = policy.into();
            let reason = Reason::EarlyPlugin;
            return Err(ItemFault { item, reason });
        }
        let questions = Questions::of(class, self.view, dispatch.asks);
        let questions = questions.map_err(|policy| ItemFault {
            item: (&*policy).into(),
            reason: Reason::TooManyConditions,
        })?;
        Ok(questions.filter(|_| self.queueing == Queueing::Possible))
    }

    /// Every mention of a condition in a class.
    fn conditions<'c>(
        &'c self,
        class: &'c Class,
    ) -> impl Iterator<
        Item = (
            &'c palisade_policy::ids::PolicyId,
            (&'c Match, &'c PluginCondition),
        ),
    > {
        class.policies().flat_map(move |id| {
            let policy = self.view.policies.get(id);
            let rules = policy.into_iter().flat_map(|p| p.rules(class.direction));
            rules.filter_map(move |rule| {
                let condition = rule.matches.plugin.as_ref()?;
                Some((id, (&rule.matches, condition)))
            })
        })
    }

    /// Jumps to the head where a rule with a condition may match.
    pub(super) fn head(
        &mut self,
        dispatch: Dispatch,
        class: &Class,
        questions: &Questions,
        failed: &ChainName,
    ) -> Vec<Rule> {
        let mut gate = Gate::new();
        let matches: Vec<Match> = self
            .conditions(class)
            .map(|(_, (matches, _))| matches.clone())
            .collect();
        for matches in &matches {
            open(&mut gate, matches);
        }
        if gate.is_empty() {
            return Vec::new();
        }
        let whole = |key| gate.get(&key).is_some_and(BTreeSet::is_empty);
        if whole((None, None)) {
            gate.retain(|key, _| *key == (None, None));
        }
        let head = self.head_chain(dispatch, questions, failed);
        let jump = Expression::Verdict(Verdict::Jump(head));
        gate.into_iter()
            .map(|((family, protocol), ports)| {
                let mut expressions = Vec::new();
                expressions.extend(family.map(Expression::Family));
                let not = false;
                expressions.extend(protocol.map(|protocol| Expression::Protocol { protocol, not }));
                if !ports.is_empty() {
                    let ports: Vec<PortRange> = ports.into_iter().collect();
                    expressions.push(ports_test(&mut self.table, End::Destination, &ports, false));
                }
                expressions.push(jump.clone());
                Rule::new(expressions)
            })
            .collect()
    }

    fn head_chain(
        &mut self,
        dispatch: Dispatch,
        questions: &Questions,
        failed: &ChainName,
    ) -> ChainName {
        let tags = self.volatile(names::TAGS, Shape::Mark);
        let answered = Expression::Lookup {
            key: Key::Mark { mask: TAG },
            set: tags,
            not: false,
        };
        let mut rules = vec![rule([answered, Expression::Verdict(Verdict::Return)])];
        for family in [Family::V4, Family::V6] {
            if family == Family::V4 || self.view.config.ipv6 {
                let ask = Expression::Verdict(self.first_ask(dispatch, questions, family, failed));
                let tag = Expression::MapMark {
                    mask: u32::MAX,
                    map: self.volatile(names::TAG_OF, Shape::MarkToMark),
                };
                rules.push(rule([Expression::Family(family), tag, ask]));
            }
        }
        rules.extend(self.ask(questions, failed, None));
        immutable(&mut self.table, "head", dispatch.name, rules)
    }

    /// Goes on where there is nobody to ask. `restore`: the packet has its tag. It must not have it in the queue: what a
    /// local process sends is routed anew where it comes back with another mark than it was queued with, by other rules
    /// than those that its socket asked for.
    fn ask(
        &mut self,
        questions: &Questions,
        failed: &ChainName,
        restore: Option<Expression>,
    ) -> [Rule; 2] {
        let alive = Expression::Lookup {
            key: Key::Family,
            set: self.volatile(names::PLUGIN_ALIVE, Shape::Family),
            not: false,
        };
        let queue = Expression::Queue(questions.queue());
        let asked = [alive].into_iter().chain(restore).chain([queue]);
        let failed = rule([Expression::Verdict(Verdict::Goto(failed.clone()))]);
        [Rule::new(asked.collect()), failed]
    }

    /// The tag becomes the mark that it stands for.
    fn restore(&mut self) -> Expression {
        Expression::MapMark {
            mask: TAG,
            map: self.volatile(names::RESTORE, Shape::MarkToMark),
        }
    }

    /// Accepts what may carry a tag, with the mark that it had.
    pub(super) fn accepted(&mut self) {
        let rules = vec![rule([self.restore()]), accept()];
        self.regular(&ChainName::new(ACCEPTED), rules);
    }

    /// Goes where the first question is asked; what is remembered ends with the bits of answers.
    fn first_ask(
        &mut self,
        dispatch: Dispatch,
        questions: &Questions,
        family: Family,
        failed: &ChainName,
    ) -> Verdict {
        let mut then = Verdict::Return;
        for question in questions.iter().rev() {
            let mut rules = Vec::new();
            // An answer is in one of these at most, and each look costs: what depends on a payload is told apart by its
            // socket, and most packets do not match.
            for alike in [Alike::Socket, Alike::Flow] {
                for holds in [false, true] {
                    let lookup = Expression::Lookup {
                        key: match alike {
                            Alike::Flow => Key::Flow(family),
                            Alike::Socket => Key::Socket(family),
                        },
                        set: self.remembered(question, family, alike, holds),
                        not: false,
                    };
                    let mut expressions = vec![lookup];
                    // No bit is there before a question is answered.
                    if holds {
                        let bits = question.matched;
                        expressions.push(Expression::SetMark {
                            mask: bits,
                            value: bits,
                        });
                    }
                    expressions.push(Expression::Verdict(then.clone()));
                    rules.push(Rule::new(expressions));
                }
            }
            let restore = self.restore();
            rules.extend(self.ask(questions, failed, Some(restore)));
            then = Verdict::Goto(immutable(&mut self.table, "ask", dispatch.name, rules));
        }
        then
    }

    fn remembered(
        &mut self,
        question: &Question,
        family: Family,
        alike: Alike,
        holds: bool,
    ) -> SetName {
        let name = question.remembered(family, alike, holds);
        let shape = match (alike, family) {
            (Alike::Flow, Family::V4) => Shape::Flow4,
            (Alike::Flow, Family::V6) => Shape::Flow6,
            (Alike::Socket, Family::V4) => Shape::Socket4,
            (Alike::Socket, Family::V6) => Shape::Socket6,
        };
        self.volatile(name.as_str(), shape)
    }

    /// Adds a set that the running daemon fills.
    fn volatile(&mut self, name: &str, shape: Shape) -> SetName {
        debug_assert!(shape.is_volatile() && names::is_volatile(name));
        let name = SetName::new(name);
        let empty = || {
            Arc::new(Set {
                shape,
                interval: false,
                elements: BTreeSet::new(),
            })
        };
        self.table.sets.entry(name.clone()).or_insert_with(empty);
        name
    }
}

/// Lets packets through to the head that the match may hold for.
fn open(gate: &mut Gate, matches: &Match) {
    let family = match [Family::V4, Family::V6].map(|family| matches.covers(family)) {
        [true, true] => None,
        [true, false] => Some(Family::V4),
        [false, true] => Some(Family::V6),
        [false, false] => return,
    };
    let ports = &matches.destination.ports;
    let numbers = !ports.ranges.is_empty() && ports.sets.is_empty();
    let with_ports = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];
    let protocols: Vec<Option<Protocol>> = match matches.protocol {
        // Only these have ports that a number can be met by.
        None if numbers => with_ports.map(Some).to_vec(),
        protocol => vec![protocol],
    };
    for protocol in protocols {
        let ranges = numbers && protocol.is_some_and(Protocol::has_ports);
        let ranges = if ranges { ports.ranges.as_slice() } else { &[] };
        match gate.entry((family, protocol)) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(ranges.iter().copied().collect());
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let there = entry.get_mut();
                if ranges.is_empty() {
                    there.clear();
                } else if !there.is_empty() {
                    there.extend(ranges);
                }
            }
        }
    }
}
