//! A packet that is under way while a transaction is committed.
//!
//! nf_tables numbers generations by one bit. A packet reads it where it enters a base chain and walks the rules of that
//! generation to the end of the base chain, wherever it jumps (`nft_do_chain`). But every look-up asks which elements are
//! active at that very moment (`nft_set_elem_active`). So a packet may walk rules of before among elements of after:
//! chains that came are empty for it, maps that went have no elements (`nft_map_deactivate`), sets that went have theirs.
//!
//! Not modelled: a packet that two commits overtake.

use super::{End, Facts, Given, InterpretError, Journey, Step, base_chains, hooks};
use crate::ir::{ChainName, Map, Ruleset, Set, SetName, Table, TableName};
use palisade_policy::{evaluate::Verdict, packet::Packet};

/// A commit, as a packet that walks the rules before it sees it.
pub(super) struct Commit<'a> {
    /// What it leaves.
    after: &'a Ruleset,
    /// How many lookups the packet makes before it.
    lookups: usize,
}

/// What a base chain did with a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// How.
    pub end: End,
    /// The packet's mark then.
    pub mark: u32,
    /// Whether it is kept out of connection tracking.
    pub notrack: bool,
}

/// The base chain in which a packet was while a transaction was committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crossing {
    /// In which table.
    pub table: TableName,
    /// Its name.
    pub chain: ChainName,
    /// What it did.
    pub ended: Ended,
    /// What it would have done before.
    pub before: Ended,
    /// What it would have done after; a base chain that is no more accepts.
    pub after: Ended,
    /// What became of the packet in the end.
    pub verdict: Verdict,
    /// Rules that did something in that base chain, in order.
    pub trace: Vec<Step>,
}

/// What becomes of a packet that has made so many lookups when a transaction turns one ruleset into the other. `None`:
/// it makes no more.
///
/// # Errors
/// As [`super::judge`].
pub fn judge_crossing(
    before: &Ruleset,
    after: &Ruleset,
    lookups: usize,
    packet: &Packet,
    given: &Given,
) -> Result<Option<Crossing>, InterpretError> {
    let mut facts = Facts::new(packet, given);
    let mut made = 0;
    let mut crossing: Option<Crossing> = None;
    let verdict = |end| match end {
        End::Accept => Verdict::Accept,
        End::Drop => Verdict::Drop,
        End::Reject => Verdict::Reject,
    };
    for hook in hooks(packet) {
        // The list of base chains is that of the moment when the packet comes to the hook.
        let ruleset = if crossing.is_some() { after } else { before };
        for (base, name, _, chain) in base_chains(ruleset, *hook) {
            facts.enter(packet, base);
            let end = if crossing.is_some() {
                let (ended, next) = run(after, None, (name, chain), facts)?;
                facts = next.facts;
                ended.end
            } else {
                let commit = Commit {
                    after,
                    lookups: lookups - made,
                };
                let (ended, next) = run(before, Some(commit), (name, chain), facts.clone())?;
                if made + next.lookups > lookups {
                    crossing = Some(Crossing {
                        table: name,
                        chain: chain.clone(),
                        before: run(before, None, (name, chain), facts.clone())?.0,
                        after: run(after, None, (name, chain), facts)?.0,
                        ended: ended.clone(),
                        verdict: Verdict::Accept,
                        trace: next.trace,
                    });
                }
                made += next.lookups;
                facts = next.facts;
                ended.end
            };
            if end != End::Accept {
                return Ok(crossing.map(|crossing| Crossing {
                    verdict: verdict(end),
                    ..crossing
                }));
            }
        }
    }
    Ok(crossing)
}

/// What a base chain does, and the journey after it.
fn run<'a>(
    ruleset: &'a Ruleset,
    commit: Option<Commit<'a>>,
    (name, chain): (TableName, &ChainName),
    facts: Facts,
) -> Result<(Ended, Journey<'a>), InterpretError> {
    let mut journey = Journey::new(facts, commit);
    let table = ruleset.tables.get(&name);
    let end = match table.filter(|table| table.chains.contains_key(chain)) {
        Some(table) => journey.base_chain(name, table, chain)?,
        None => End::Accept,
    };
    let ended = Ended {
        end,
        mark: journey.facts.mark,
        notrack: journey.facts.notrack,
    };
    Ok((ended, journey))
}

impl<'a> Journey<'a> {
    /// A chain that only the commit under way adds: it has no rules yet for those who walk the rules before.
    pub(super) fn added(&self, table: TableName, chain: &ChainName) -> Option<&'a ChainName> {
        let after: &'a Ruleset = self.commit.as_ref()?.after;
        let chains = &after.tables.get(&table)?.chains;
        chains.get_key_value(chain).map(|(name, _)| name)
    }

    /// The set as it is now.
    pub(super) fn set<'t>(
        &mut self,
        name: TableName,
        table: &'t Table,
        set: &SetName,
    ) -> Result<&'t Set, InterpretError>
    where
        'a: 't,
    {
        let there = table.sets.get(set);
        let there = there.ok_or_else(|| InterpretError::Dangling(set.to_string()))?;
        let now = self
            .ask()
            .and_then(|after| after.tables.get(&name)?.sets.get(set));
        Ok(now.unwrap_or(there))
    }

    /// The map as it is now; `None`: it is gone.
    pub(super) fn map<'t>(
        &mut self,
        name: TableName,
        table: &'t Table,
        map: &SetName,
    ) -> Result<Option<&'t Map>, InterpretError>
    where
        'a: 't,
    {
        let there = table.maps.get(map);
        let there = there.ok_or_else(|| InterpretError::Dangling(map.to_string()))?;
        Ok(match self.ask() {
            None => Some(there),
            Some(after) => after
                .tables
                .get(&name)
                .and_then(|table| table.maps.get(map))
                .map(|map| &**map),
        })
    }

    /// One lookup more. Gives the ruleset whose elements are active, if it is not that whose rules are walked.
    fn ask(&mut self) -> Option<&'a Ruleset> {
        let made = self.lookups;
        self.lookups += 1;
        let commit = self.commit.as_ref()?;
        (made >= commit.lookups).then_some(commit.after)
    }
}
