//! A tier of a class, or a profile, becomes an index on protocol and destination port.
//!
//! Its buckets hold only the rules that can still match, in order, without what the index decided. Buckets are entered
//! by goto, so that a pass returns to the class chain and needs no mark.

use super::{
    Lowering, PlainTier,
    fragment::immutable,
    rule::{Decided, Port},
    selector::{Selectors, Use},
    sequence::{Ending, cut},
};
use crate::{
    ir::{ChainName, End, Expression, Key, Rule as NftRule, SetName, Table, TableName, Verdict},
    reference::Referent,
};
use palisade_policy::{class::TierDefault, fault::ItemFault, rule::Protocol, view::View};
use std::{collections::BTreeMap, sync::Arc};

mod bucket;
mod content;
mod index;
mod maps;
mod patch;

pub(super) use bucket::{Bucket, Fragment};
use bucket::{Maker, Tail};
use content::{At, Policies};
pub(super) use content::{Terms, TierContent, TierPlace};
use index::{END, Index, Missing, bucket_lines};
use maps::{Sizes, elements};
pub(crate) use patch::Touched;

/// A tier as it stands in the kernel, and how it got there.
#[derive(Debug)]
pub(super) struct LoweredTier {
    place: String,
    table: TableName,
    hook: &'static str,
    terms: Terms,
    policies: Policies,
    /// Where the class chain jumps to.
    chain: ChainName,
    /// That chain and what it needs, but for the maps of the index and what they lead to.
    frame: Fragment,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Rule by rule.
    Straight {
        /// An index would have cost too many copies.
        plain: bool,
    },
    Indexed(Box<Indexed>),
}

#[derive(Debug)]
struct Indexed {
    /// In the names of its maps.
    frame: String,
    index: Index,
    tail: Tail,
    sizes: Sizes,
}

// === impl Lowering ===

impl Lowering<'_> {
    /// Lowers a tier as far as it is not what the cache knows, and adds it to the table.
    pub(super) fn tier(
        &mut self,
        place: &TierPlace<'_>,
        content: &TierContent,
    ) -> Result<ChainName, ItemFault> {
        let selectors = &mut self.cache.selectors;
        let known = self.cache.tiers.take(&place.name);
        let known = known.filter(|tier| tier.names_hold(self.view, selectors));
        let tier = match known.and_then(|tier| tier.follow(self.view, selectors, content)) {
            Some(tier) => tier,
            None => Box::new(LoweredTier::lower(place, content, self.view, selectors)?),
        };
        if let (Body::Straight { plain: true }, Some(endpoint)) = (&tier.body, place.endpoint) {
            self.plain.insert(PlainTier {
                list: place.list,
                direction: content.terms.direction,
                endpoint: endpoint.clone(),
                tier: place.tier.cloned(),
                rules: tier.policies.lines().count(),
            });
        }
        tier.add_to(&mut self.table, &mut self.used);
        let chain = tier.chain.clone();
        self.cache.tiers.keep(tier);
        Ok(chain)
    }
}

// === impl LoweredTier ===

impl LoweredTier {
    /// From scratch.
    fn lower(
        place: &TierPlace<'_>,
        content: &TierContent,
        view: &View,
        selectors: &mut Selectors,
    ) -> Result<Self, ItemFault> {
        let terms = content.terms.clone();
        let policies = Policies::new(terms.direction, &content.policies);
        let mut maker = Maker::new(place.hook, &terms, view, selectors);
        let default = match terms.default {
            TierDefault::Deny => maker.context.deny(terms.default_id),
            TierDefault::Pass => vec![Expression::Verdict(Verdict::Return)],
        };
        let default = NftRule {
            expressions: default,
            id: terms.default_id,
        };
        let ending = Ending::new(default, place.hook);
        let index = Index::of(&policies).and_then(|mut index| {
            let missing = index.missing_all(&policies)?;
            Some((index, missing))
        });
        let (rules, mut frame, body) = match index {
            None => maker.straight(&policies, &ending, true)?,
            Some((index, _)) if index.is_empty() => maker.straight(&policies, &ending, false)?,
            Some((index, missing)) => {
                maker.indexed(&place.name, &policies, index, missing, &ending)?
            }
        };
        let chain = immutable(&mut frame.table, "tier", place.hook, rules);
        frame.prune([Referent::Chain(chain.clone())]);
        Ok(Self {
            place: place.name.clone(),
            table: place.table,
            hook: place.hook,
            terms,
            policies,
            chain,
            frame,
            body,
        })
    }

    /// By this it is remembered.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The sets are still there, and of the same kinds.
    fn names_hold(&self, view: &View, selectors: &mut Selectors) -> bool {
        let mut used = BTreeMap::new();
        used.extend(&self.frame.used);
        used.extend(self.buckets().flat_map(|bucket| &bucket.part.used));
        if let Body::Indexed(indexed) = &self.body {
            used.extend(&indexed.tail.part.used);
        }
        used.into_iter()
            .all(|(name, used)| selectors.name(view, used).as_ref() == Some(name))
    }

    fn add_to(&self, table: &mut Table, used: &mut BTreeMap<SetName, Use>) {
        self.frame.add_to(table, used);
        let mut ends = false;
        for bucket in self.buckets() {
            bucket.part.add_to(table, used);
            ends |= bucket.ends;
        }
        if let Body::Indexed(indexed) = &self.body {
            let frame = (indexed.frame.as_str(), self.terms.destination());
            maps::add_maps(frame, &indexed.index, table);
            if ends {
                indexed.tail.part.add_to(table, used);
            }
        }
    }

    fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        let index = match &self.body {
            Body::Indexed(indexed) => Some(&indexed.index),
            Body::Straight { .. } => None,
        };
        let ports = index.into_iter().flat_map(|index| index.protocols.values());
        ports
            .flat_map(|ports| {
                let covered = ports.segments.values().map(|segment| &segment.bucket);
                covered.chain([&ports.rest]).flatten()
            })
            .map(|bucket| &**bucket)
    }
}

// === impl Maker ===

type Made = (Vec<NftRule>, Fragment, Body);

impl Maker<'_> {
    /// Rule by rule.
    fn straight(
        &mut self,
        policies: &Policies,
        ending: &Ending,
        plain: bool,
    ) -> Result<Made, ItemFault> {
        let mut rules = Vec::new();
        for line in policies.lines() {
            self.whole(&line, &mut rules)?;
        }
        if !cut(&mut rules) {
            rules.push(ending.rule.clone());
        }
        Ok((rules, self.take(), Body::Straight { plain }))
    }

    fn indexed(
        &mut self,
        place: &str,
        policies: &Policies,
        mut index: Index,
        missing: Vec<Missing>,
        ending: &Ending,
    ) -> Result<Made, ItemFault> {
        let mut rules = Vec::new();
        self.lines(policies, &index.before, &mut rules)?;
        if cut(&mut rules) {
            return Ok((rules, self.take(), Body::Straight { plain: false }));
        }
        let mut frame = self.take();
        let tail = self.tail(policies, &index.after, ending)?;
        for (protocol, ports) in &mut index.protocols {
            let lines = bucket_lines(policies, &[], &ports.common);
            ports.rest = Some(self.bucket("rest", policies, (*protocol, lines), &tail)?);
        }
        fill(&mut index, self, policies, missing, &tail)?;
        let destination = self.context.again.unwrap_or(End::Destination);
        let mut sizes = Sizes::of(destination);
        for (protocol, ports) in &index.protocols {
            for (range, _) in elements(ports, 0..END) {
                sizes.add(*protocol, range);
            }
        }
        let mut others = Vec::new();
        let protocols: Vec<Protocol> = index.protocols.keys().copied().collect();
        for at in &index.others {
            if let Some(line) = policies.line(*at) {
                let decided = Decided::Other(&protocols);
                self.narrowed(&line, decided, Port::Open, &mut others)?;
            }
        }
        let made = self.take();
        made.add_to(&mut frame.table, &mut frame.used);
        if !cut(&mut others) {
            others.push(tail.ending.rule.clone());
            tail.part.add_to(&mut frame.table, &mut frame.used);
        }
        let name = maps::frame(
            (place, self.context.rejects),
            &rules,
            &others,
            &index,
            &sizes,
        );
        rules.extend(lookups((&name, destination), &sizes));
        rules.extend(others);
        let indexed = Indexed {
            frame: name,
            index,
            tail,
            sizes,
        };
        Ok((rules, frame, Body::Indexed(Box::new(indexed))))
    }

    fn lines(
        &mut self,
        policies: &Policies,
        lines: &[At],
        to: &mut Vec<NftRule>,
    ) -> Result<(), ItemFault> {
        let mut lines = lines.iter().filter_map(|at| policies.line(*at));
        lines.try_for_each(|line| self.whole(&line, to))
    }

    /// What stands after the last indexed rule: a chain that buckets end in.
    fn tail(
        &mut self,
        policies: &Policies,
        lines: &[At],
        ending: &Ending,
    ) -> Result<Tail, ItemFault> {
        if lines.is_empty() {
            return Ok(Tail::new(ending.clone(), Fragment::default()));
        }
        let mut rules = Vec::new();
        self.lines(policies, lines, &mut rules)?;
        if !cut(&mut rules) {
            rules.push(ending.rule.clone());
        }
        let mut part = self.take();
        if let [only] = rules.as_slice() {
            return Ok(Tail::new(Ending::new(only.clone(), self.hook), part));
        }
        let tail = immutable(&mut part.table, "tail", self.hook, rules);
        part.prune([Referent::Chain(tail.clone())]);
        let verdict = Verdict::Goto(tail);
        let ending = Ending {
            rule: NftRule::new(vec![Expression::Verdict(verdict.clone())]),
            verdict,
            part: Table::default(),
        };
        Ok(Tail::new(ending, part))
    }
}

/// Makes what is missing, and gives it too.
fn fill(
    index: &mut Index,
    maker: &mut Maker<'_>,
    policies: &Policies,
    missing: Vec<Missing>,
    tail: &Tail,
) -> Result<Vec<Arc<Bucket>>, ItemFault> {
    let mut all = Vec::with_capacity(missing.len());
    for Missing {
        protocol,
        first,
        lines,
    } in missing
    {
        let made = maker.bucket("bucket", policies, (protocol, lines), tail)?;
        let ports = index.protocols.get_mut(&protocol);
        if let Some(segment) = ports.and_then(|ports| ports.segments.get_mut(&first)) {
            segment.bucket = Some(Arc::clone(&made));
        }
        all.push(made);
    }
    Ok(all)
}

/// Rules that look up the maps that are there, in order.
fn lookups((frame, destination): (&str, End), sizes: &Sizes) -> Vec<NftRule> {
    let mut rules = Vec::new();
    let ports = Key::ProtocolPort(destination);
    if sizes.has_exact() {
        let (key, map) = (ports, maps::exact(frame));
        rules.push(NftRule::new(vec![Expression::VerdictMap { key, map }]));
    }
    for protocol in sizes.wide() {
        let not = false;
        let (key, map) = (Key::Port(destination), maps::wide(frame, protocol));
        rules.push(NftRule::new(vec![
            Expression::Protocol { protocol, not },
            Expression::VerdictMap { key, map },
        ]));
    }
    let (key, map) = (Key::Protocol, maps::rest(frame));
    rules.push(NftRule::new(vec![Expression::VerdictMap { key, map }]));
    rules
}
