//! Chains of a tier under construction, and what they need.

use super::content::{Line, Placed, Policies, Terms};
use crate::{
    ir::{ChainName, Rule as NftRule, SetName, Table, Verdict},
    lower::{
        fragment::merge,
        rule::{Context, Decided, Port},
        selector::{Selectors, Use},
        sequence::{Ending, close},
    },
    reference::{self, Referent},
};
use palisade_policy::{fault::ItemFault, rule::Protocol, view::View};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// Chains, the sets that rules name by content, and the names of selector sets.
#[derive(Debug, Default)]
pub(in crate::lower) struct Fragment {
    pub(in crate::lower) table: Table,
    pub(in crate::lower) used: BTreeMap<SetName, Use>,
}

/// What an index entry leads to.
#[derive(Debug)]
pub(in crate::lower) struct Bucket {
    pub(super) verdict: Verdict,
    /// Without the tail.
    pub(in crate::lower) part: Fragment,
    /// It may come to the tail.
    pub(super) ends: bool,
}

/// What becomes of a packet that no rule of a bucket decided.
#[derive(Debug)]
pub(super) struct Tail {
    /// Its part is beside it.
    pub(super) ending: Ending,
    pub(super) part: Arc<Fragment>,
}

/// Makes the rules of one tier.
pub(super) struct Maker<'a> {
    pub(super) hook: &'static str,
    pub(super) context: Context<'a>,
    /// Many ports may come to the same.
    known: HashMap<(Protocol, Vec<Placed>), Arc<Bucket>>,
}

// === impl Fragment ===

impl Fragment {
    pub(super) fn add_to(&self, table: &mut Table, used: &mut BTreeMap<SetName, Use>) {
        merge(table, &self.table);
        used.extend(
            self.used
                .iter()
                .map(|(name, of)| (name.clone(), of.clone())),
        );
    }

    /// Removes what is not reached from here, and gives what is. Maps and what they lead to are kept elsewhere.
    pub(super) fn prune(&mut self, from: impl IntoIterator<Item = Referent>) -> BTreeSet<Referent> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<Referent> = from.into_iter().collect();
        while let Some(referent) = open.pop() {
            if reached.contains(&referent) {
                continue;
            }
            if let Referent::Chain(name) = &referent {
                let chain = self.table.chains.get(name);
                open.extend(chain.into_iter().flat_map(reference::of_chain));
            }
            reached.insert(referent);
        }
        let chain = |name: &ChainName| reached.contains(&Referent::Chain(name.clone()));
        let set = |name: &SetName| reached.contains(&Referent::Set(name.clone()));
        self.table.chains.retain(|name, _| chain(name));
        self.table.sets.retain(|name, _| set(name));
        self.used.retain(|name, _| set(name));
        reached
    }
}

// === impl Tail ===

impl Tail {
    pub(super) fn new(mut ending: Ending, mut part: Fragment) -> Self {
        merge(&mut part.table, &std::mem::take(&mut ending.part));
        Self {
            ending,
            part: Arc::new(part),
        }
    }
}

// === impl Maker ===

impl<'a> Maker<'a> {
    pub(super) fn new(
        hook: &'static str,
        terms: &Terms,
        view: &'a View,
        selectors: &'a mut Selectors,
    ) -> Self {
        Self {
            hook,
            context: Context {
                view,
                selectors,
                part: Table::default(),
                used: BTreeMap::new(),
                rejects: terms.rejects,
                allow: terms.allow.clone(),
                again: terms.again,
                questions: terms.questions.clone(),
                audits: terms.audits,
                hook,
            },
            known: HashMap::new(),
        }
    }

    /// What was made since this was last asked.
    pub(super) fn take(&mut self) -> Fragment {
        Fragment {
            table: std::mem::take(&mut self.context.part),
            used: std::mem::take(&mut self.context.used),
        }
    }

    /// A bucket that was made before: the same lines come to it again.
    pub(super) fn know(&mut self, key: (Protocol, Vec<Placed>), bucket: &Arc<Bucket>) {
        self.known.insert(key, Arc::clone(bucket));
    }

    /// The rules that can still match a packet of the protocol, behind an index entry.
    ///
    /// Nothing else is being made meanwhile.
    pub(super) fn bucket(
        &mut self,
        role: &str,
        policies: &Policies,
        (protocol, lines): (Protocol, Vec<Placed>),
        tail: &Tail,
    ) -> Result<Arc<Bucket>, ItemFault> {
        let key = (protocol, lines);
        if let Some(known) = self.known.get(&key) {
            return Ok(Arc::clone(known));
        }
        let mut rules = Vec::new();
        for (at, port) in &key.1 {
            if let Some(line) = policies.line(*at) {
                self.narrowed(&line, Decided::Is(protocol), *port, &mut rules)?;
            }
        }
        let mut part = self.take();
        let verdict = close(role, self.hook, rules, &tail.ending, &mut part.table);
        let reached = part.prune(reference::of_verdict(&verdict));
        let ends = reference::of_verdict(&tail.ending.verdict);
        let made = Arc::new(Bucket {
            verdict,
            part,
            ends: ends.is_some_and(|end| reached.contains(&end)),
        });
        self.known.insert(key, Arc::clone(&made));
        Ok(made)
    }

    pub(super) fn whole(
        &mut self,
        line: &Line<'_>,
        to: &mut Vec<NftRule>,
    ) -> Result<(), ItemFault> {
        let lowered = self.context.lower_whole(line.rule, to);
        lowered.map_err(|reason| line.fault(reason))
    }

    pub(super) fn narrowed(
        &mut self,
        line: &Line<'_>,
        decided: Decided<'_>,
        port: Port,
        to: &mut Vec<NftRule>,
    ) -> Result<(), ItemFault> {
        let lowered = self.context.lower(line.rule, decided, port, to);
        lowered.map_err(|reason| line.fault(reason))
    }
}
