//! What the kernel does with a packet: an abstract interpreter of the IR, and the third rung of the verdict ladder.
//!
//! It knows nftables and nothing of policy. The traps are modelled: a test that cannot load its key ends the rule, also
//! when negated; `return` in a chain that was entered by goto goes to where the last jump was made; accept ends one base
//! chain, drop ends the packet; ct keys but the state end the rule on packets without an entry; at -300 there is none, and after
//! a notrack there is none either, nor a translation; the mark goes from base chain to base chain; a queued packet comes
//! back with a mark and enters the base chain anew.

use crate::ir::{
    Base, ChainName, Expression, Hook, LogTo, Rule, Ruleset, Table, TableName, Verdict,
};
use palisade_policy::{
    evaluate,
    ids::RuleId,
    packet::{Packet, Way},
};

mod crossing;
mod facts;
mod test;

use crossing::Commit;
pub use crossing::{Crossing, Ended, judge_crossing};
use facts::Facts;
pub use facts::{Daemon, Given, Opaque};

/// The kernel refuses rulesets with deeper nesting.
const DEEPEST: usize = 16;
/// One base chain judges by one class, which asks once.
const REPEATS: usize = 1;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InterpretError {
    /// A rule has an expression that we do not write.
    #[error("chain `{chain}` has a foreign expression: {what}")]
    Foreign {
        /// Where.
        chain: ChainName,
        /// What it looks like.
        what: String,
    },
    /// A chain, set or map that is named is not there.
    #[error("`{0}` is named and absent")]
    Dangling(String),
    /// Answers are asked for again and again.
    #[error("chain `{0}` does not believe the answers it asked for")]
    Repeats(ChainName),
    /// A packet leaves the base chain with another mark than it was queued with: the kernel routes it anew.
    #[error("chain `{0}` does not give the mark back that a packet was queued with")]
    Routed(ChainName),
    /// The kernel would have refused the ruleset.
    #[error("chains are nested too deeply at `{0}`")]
    TooDeep(ChainName),
}

/// A rule that did something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// In which table.
    pub table: TableName,
    /// In which chain.
    pub chain: ChainName,
    /// Which of its rules, from 0.
    pub rule: usize,
    /// What it was made from.
    pub id: Option<RuleId>,
    /// What it did.
    pub did: Did,
}

/// What a rule did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Did {
    /// A verdict.
    Verdict(Verdict),
    /// Rejected the packet.
    Reject,
    /// Wrote a log line.
    Log(String),
    /// LogAction auditors, with this prefix.
    Event(String),
    /// Queued the packet, which came back with answers, or was dropped.
    Queue(u16),
}

/// A verdict with its reasons.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// What happens.
    pub verdict: evaluate::Verdict,
    /// Rules that did something, in order.
    pub trace: Vec<Step>,
    /// The packet's mark in the end.
    pub mark: u32,
    /// What someone else last made of it, if anyone writes it.
    pub written: u32,
}

/// What the kernel does with a packet.
///
/// # Errors
/// What [`InterpretError`] says: the ruleset is not one that the kernel holds, or not ours.
pub fn judge(ruleset: &Ruleset, packet: &Packet) -> Result<Judgement, InterpretError> {
    judge_given(ruleset, packet, &Given::default())
}

/// The same, saying what no verdict of ours depends on: what stands where protocols without ports have other things,
/// what mark the packet has, where it would have left untranslated; and who answers for plugins.
///
/// # Errors
/// As [`judge`].
pub fn judge_given(
    ruleset: &Ruleset,
    packet: &Packet,
    given: &Given,
) -> Result<Judgement, InterpretError> {
    let mut journey = Journey::new(Facts::new(packet, given), None);
    for hook in hooks(packet) {
        for (base, table_name, table, chain) in base_chains(ruleset, *hook) {
            journey.facts.enter(packet, base);
            match journey.base_chain(table_name, table, chain)? {
                End::Accept => {}
                End::Drop => return Ok(journey.end(evaluate::Verdict::Drop)),
                End::Reject => return Ok(journey.end(evaluate::Verdict::Reject)),
            }
        }
    }
    Ok(journey.end(evaluate::Verdict::Accept))
}

/// Where a packet is judged, in order.
const fn hooks(packet: &Packet) -> &'static [Hook] {
    match packet.way {
        Way::In { .. } => &[Hook::Prerouting, Hook::Input],
        Way::Out { .. } => &[Hook::Output, Hook::Postrouting],
        Way::Forward { .. } => &[Hook::Prerouting, Hook::Forward, Hook::Postrouting],
    }
}

/// Those of a hook, by priority.
fn base_chains(ruleset: &Ruleset, hook: Hook) -> Vec<(Base, TableName, &Table, &ChainName)> {
    let mut chains: Vec<_> = ruleset
        .tables
        .iter()
        .flat_map(|(name, table)| {
            table
                .chains
                .iter()
                .filter_map(move |(chain, content)| Some((content.base?, *name, table, chain)))
        })
        .filter(|(base, ..)| base.hook == hook)
        .collect();
    chains.sort_by_key(|(base, name, _, chain)| (base.priority, *name, (*chain).clone()));
    chains
}

/// How a base chain ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The packet goes on to the next.
    Accept,
    /// It is gone.
    Drop,
    /// It is gone, and answered.
    Reject,
}

/// What a rule comes to.
enum Flow {
    /// The next rule.
    Next,
    Go(Verdict),
    Reject,
    /// The base chain again.
    Repeat {
        /// With which mark the packet was queued.
        mark: u32,
    },
}

/// Where to go on.
#[derive(Clone)]
struct Place<'a> {
    chain: &'a ChainName,
    rules: &'a [Rule],
    next: usize,
    depth: usize,
}

struct Journey<'a> {
    facts: Facts,
    trace: Vec<Step>,
    /// Maps and sets asked.
    lookups: usize,
    /// What happens to the ruleset on the way.
    commit: Option<Commit<'a>>,
}

impl<'a> Journey<'a> {
    const fn new(facts: Facts, commit: Option<Commit<'a>>) -> Self {
        Self {
            facts,
            trace: Vec::new(),
            lookups: 0,
            commit,
        }
    }

    fn end(self, verdict: evaluate::Verdict) -> Judgement {
        Judgement {
            verdict,
            mark: self.facts.mark,
            written: self.facts.left,
            trace: self.trace,
        }
    }

    fn base_chain(
        &mut self,
        name: TableName,
        table: &Table,
        chain: &ChainName,
    ) -> Result<End, InterpretError> {
        let mut place = self.enter(name, table, chain, 0)?;
        let mut stack: Vec<Place<'_>> = Vec::new();
        let mut repeats = 0;
        let mut queued = None;
        loop {
            let flow = match place.rules.get(place.next) {
                Some(rule) => self.rule(name, table, &place, rule)?,
                None => Flow::Go(Verdict::Return),
            };
            place.next += 1;
            match flow {
                Flow::Next => {}
                Flow::Reject => return Ok(End::Reject),
                Flow::Repeat { mark } => {
                    queued = Some(mark);
                    repeats += 1;
                    if repeats > REPEATS {
                        return Err(InterpretError::Repeats(chain.clone()));
                    }
                    place = self.enter(name, table, chain, 0)?;
                    stack.clear();
                }
                Flow::Go(Verdict::Accept) => {
                    return match queued {
                        Some(queued) if queued != self.facts.mark => {
                            Err(InterpretError::Routed(chain.clone()))
                        }
                        _ => Ok(End::Accept),
                    };
                }
                Flow::Go(Verdict::Drop) => return Ok(End::Drop),
                Flow::Go(Verdict::Return) => match stack.pop() {
                    Some(caller) => place = caller,
                    // The policy of all our base chains.
                    None => return Ok(End::Accept),
                },
                Flow::Go(Verdict::Jump(to)) => {
                    let inner = self.enter(name, table, &to, place.depth + 1)?;
                    stack.push(std::mem::replace(&mut place, inner));
                }
                Flow::Go(Verdict::Goto(to)) => {
                    place = self.enter(name, table, &to, place.depth + 1)?;
                }
            }
        }
    }

    fn rule(
        &mut self,
        table_name: TableName,
        table: &Table,
        place: &Place<'_>,
        rule: &Rule,
    ) -> Result<Flow, InterpretError> {
        for expression in &rule.expressions {
            let verdict = match expression {
                Expression::Verdict(verdict) => Some(verdict.clone()),
                Expression::VerdictMap { key, map } => {
                    let map = self.map(table_name, table, map)?;
                    self.facts
                        .load(*key)
                        .and_then(|value| test::find(map?, &value))
                        .cloned()
                }
                _ => None,
            };
            let did = match (expression, verdict) {
                (_, Some(verdict)) => Did::Verdict(verdict),
                (Expression::VerdictMap { .. }, None) => continue,
                (Expression::Reject, _) => Did::Reject,
                (Expression::Log { prefix, to }, _) => match to {
                    LogTo::Kernel => Did::Log(prefix.clone()),
                    LogTo::Group(_) => Did::Event(prefix.clone()),
                },
                (Expression::Queue(number), _) => Did::Queue(*number),
                (Expression::SetMark { mask, value }, _) => {
                    self.facts.mark = (self.facts.mark & !mask) | value;
                    continue;
                }
                (Expression::MapMark { mask, map }, _) => {
                    let there = self.set(table_name, table, map)?;
                    if there.shape.leads_to_mark() && self.facts.map_mark(*mask, map) {
                        continue;
                    }
                    return Ok(Flow::Next);
                }
                (Expression::Notrack, _) => {
                    self.facts.untrack();
                    continue;
                }
                (Expression::Foreign(what), _) => {
                    return Err(InterpretError::Foreign {
                        chain: place.chain.clone(),
                        what: what.clone(),
                    });
                }
                (Expression::Lookup { key, set, not }, _) => {
                    let set = self.set(table_name, table, set)?;
                    if self.facts.is_in(*key, set, *not) {
                        continue;
                    }
                    return Ok(Flow::Next);
                }
                (test, _) if self.facts.holds(test) => continue,
                _ => return Ok(Flow::Next),
            };
            self.trace.push(Step {
                table: table_name,
                chain: place.chain.clone(),
                rule: place.next,
                id: rule.id,
                did: did.clone(),
            });
            match did {
                Did::Verdict(verdict) => return Ok(Flow::Go(verdict)),
                Did::Reject => return Ok(Flow::Reject),
                Did::Queue(number) => {
                    let mark = self.facts.mark;
                    return Ok(if self.facts.queue(number) {
                        Flow::Repeat { mark }
                    } else {
                        Flow::Go(Verdict::Drop)
                    });
                }
                Did::Log(_) | Did::Event(_) => {}
            }
        }
        Ok(Flow::Next)
    }

    /// What is to be walked of a chain.
    fn enter<'t>(
        &self,
        name: TableName,
        table: &'t Table,
        chain: &ChainName,
        depth: usize,
    ) -> Result<Place<'t>, InterpretError>
    where
        'a: 't,
    {
        if depth >= DEEPEST {
            return Err(InterpretError::TooDeep(chain.clone()));
        }
        let (chain, rules) = match table.chains.get_key_value(chain) {
            Some((name, content)) => (name, content.rules.as_slice()),
            None => self
                .added(name, chain)
                .map(|chain| (chain, &[][..]))
                .ok_or_else(|| InterpretError::Dangling(chain.to_string()))?,
        };
        Ok(Place {
            chain,
            rules,
            next: 0,
            depth,
        })
    }
}
