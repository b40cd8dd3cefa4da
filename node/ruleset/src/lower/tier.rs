//! A tier of a class, or a profile, becomes an index on protocol and destination port.
//!
//! Its buckets hold only the rules that can still match, in order, without what the index decided. Buckets are entered
//! by goto, so that a pass returns to the class chain and needs no mark.

use super::{
    Lowering, PlainTier,
    cache::Found,
    part::{add_map, immutable, index_name, merge, port_element},
    rule::{Context, Decided, Port},
    sequence::{Ending, close, cut},
};
use crate::ir::{Element, End, Expression, Key, Rule as NftRule, Shape, Table, Value, Verdict};
use palisade_policy::{
    class::TierDefault,
    fault::ItemFault,
    rule::{PortRange, Protocol},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

mod content;
mod index;

use content::{Bucket, BucketKey, Line, prune};
pub(super) use content::{LoweredTier, Terms, TierContent, TierPlace};
use index::{Buckets, Index};

impl Lowering<'_> {
    /// Lowers a tier or takes it from the cache, and adds it to the table.
    pub(super) fn tier(
        &mut self,
        place: &TierPlace<'_>,
        content: TierContent,
    ) -> Result<Arc<LoweredTier>, ItemFault> {
        let found = match self.cache.tier(&place.name, &content) {
            Found::Same(tier) | Found::Kin(tier) if !self.names_hold(&tier) => Found::Nothing,
            found => found,
        };
        let lowered = match found {
            Found::Same(tier) => tier,
            Found::Kin(tier) => self.lower_tier(place, &content, Some(&tier))?,
            Found::Nothing => self.lower_tier(place, &content, None)?,
        };
        if lowered.plain
            && let Some(endpoint) = place.endpoint
        {
            self.plain.insert(PlainTier {
                list: place.list,
                direction: content.terms.direction,
                endpoint: endpoint.clone(),
                tier: place.tier.cloned(),
                rules: lowered.rules,
            });
        }
        merge(&mut self.table, &lowered.part);
        let used = lowered.used.iter();
        self.used.extend(used.map(|(n, u)| (n.clone(), u.clone())));
        self.cache.keep(&place.name, content, &lowered);
        Ok(lowered)
    }

    /// The sets are still there, and of the same kinds.
    fn names_hold(&mut self, tier: &LoweredTier) -> bool {
        let selectors = &mut self.cache.selectors;
        tier.used
            .iter()
            .all(|(name, used)| selectors.name(self.view, used).as_ref() == Some(name))
    }

    fn lower_tier(
        &mut self,
        place: &TierPlace<'_>,
        content: &TierContent,
        kin: Option<&LoweredTier>,
    ) -> Result<Arc<LoweredTier>, ItemFault> {
        let lines = content.lines();
        let lowered = TierLowering {
            hook: place.hook,
            place: &place.name,
            context: Context {
                view: self.view,
                selectors: &mut self.cache.selectors,
                part: Table::default(),
                used: BTreeMap::new(),
                rejects: content.terms.rejects,
                allow: content.terms.allow,
                hook: place.hook,
            },
            kin,
            buckets: HashMap::new(),
        }
        .lower(&content.terms, &lines)?;
        Ok(Arc::new(lowered))
    }
}

struct TierLowering<'a, 'k> {
    hook: &'static str,
    place: &'a str,
    context: Context<'a>,
    kin: Option<&'k LoweredTier>,
    buckets: HashMap<BucketKey, Arc<Bucket>>,
}

impl TierLowering<'_, '_> {
    fn lower(mut self, terms: &Terms, lines: &[Line<'_>]) -> Result<LoweredTier, ItemFault> {
        let default = match terms.default {
            TierDefault::Deny => self.context.deny(),
            TierDefault::Pass => Expression::Verdict(Verdict::Return),
        };
        let default = NftRule {
            expressions: vec![default],
            id: terms.default_id,
        };
        let ending = Ending::new(default, self.hook);
        let index = Index::of(lines);
        let (rules, plain) = match index.buckets(lines) {
            None => (self.straight(lines, &ending)?, true),
            Some(_) if index.middle.is_empty() => (self.straight(lines, &ending)?, false),
            Some(buckets) => (self.indexed(&index, &buckets, lines, &ending)?, false),
        };
        let mut part = std::mem::take(&mut self.context.part);
        let chain = immutable(&mut part, "tier", self.hook, rules);
        let mut used = self.context.used;
        prune(&mut part, &mut used, &chain);
        Ok(LoweredTier {
            chain,
            part,
            used,
            plain,
            rules: lines.len(),
            buckets: self.buckets,
        })
    }

    /// Rule by rule.
    fn straight(&mut self, lines: &[Line<'_>], ending: &Ending) -> Result<Vec<NftRule>, ItemFault> {
        let mut rules = Vec::new();
        for line in lines {
            self.whole(line, &mut rules)?;
        }
        if !cut(&mut rules) {
            rules.push(ending.rule.clone());
        }
        Ok(rules)
    }

    fn indexed(
        &mut self,
        index: &Index,
        buckets: &Buckets,
        lines: &[Line<'_>],
        ending: &Ending,
    ) -> Result<Vec<NftRule>, ItemFault> {
        let mut rules = Vec::new();
        for line in lines.iter().take(index.middle.start) {
            self.whole(line, &mut rules)?;
        }
        if cut(&mut rules) {
            return Ok(rules);
        }
        let after = lines.get(index.middle.end..).unwrap_or_default();
        let ending = self.tail(after, ending)?;
        let (mut exact, mut rest) = (BTreeMap::new(), BTreeMap::new());
        let mut wide: BTreeMap<Protocol, BTreeMap<Element, Verdict>> = BTreeMap::new();
        for (protocol, at) in &buckets.by_protocol {
            let missed = self.bucket("rest", *protocol, &at.rest, lines, &ending)?;
            for (range, bucket) in &at.ranges {
                let verdict = self.bucket("bucket", *protocol, bucket, lines, &ending)?;
                // A miss comes to the same.
                if verdict == missed {
                    continue;
                }
                if range.first() == range.last() {
                    let key = Value::ProtocolPort(*protocol, range.first());
                    exact.insert(Element::single(key), verdict);
                } else {
                    let ranges = wide.entry(*protocol).or_default();
                    ranges.insert(port_element(*range), verdict);
                }
            }
            rest.insert(Element::single(Value::Protocol(*protocol)), missed);
        }
        rules.extend(self.lookup("port", Key::ProtocolPort(End::Destination), exact, false));
        for (protocol, ranges) in wide {
            let kind = format!("range{}", protocol.0);
            let lookup = self.lookup(&kind, Key::Port(End::Destination), ranges, true);
            rules.extend(lookup.map(|mut rule| {
                let not = false;
                rule.expressions
                    .insert(0, Expression::Protocol { protocol, not });
                rule
            }));
        }
        rules.extend(self.lookup("rest", Key::Protocol, rest, false));
        let protocols: Vec<Protocol> = buckets.by_protocol.keys().copied().collect();
        for at in &buckets.others {
            if let Some(line) = lines.get(*at) {
                let decided = Decided::Other(&protocols);
                self.narrowed(line, decided, Port::Open, &mut rules)?;
            }
        }
        if !cut(&mut rules) {
            rules.push(ending.rule.clone());
            merge(&mut self.context.part, &ending.part);
        }
        Ok(rules)
    }

    /// What stands after the last indexed rule: a chain that buckets end in.
    fn tail(&mut self, lines: &[Line<'_>], ending: &Ending) -> Result<Ending, ItemFault> {
        if lines.is_empty() {
            return Ok(ending.clone());
        }
        let mut rules = Vec::new();
        for line in lines {
            self.whole(line, &mut rules)?;
        }
        if !cut(&mut rules) {
            rules.push(ending.rule.clone());
        }
        if let [only] = rules.as_slice() {
            return Ok(Ending::new(only.clone(), self.hook));
        }
        let mut part = Table::default();
        let verdict = Verdict::Goto(immutable(&mut part, "tail", self.hook, rules));
        Ok(Ending {
            rule: NftRule::new(vec![Expression::Verdict(verdict.clone())]),
            verdict,
            part,
        })
    }

    /// The rules that can still match a packet of the protocol, behind an index entry.
    fn bucket(
        &mut self,
        role: &str,
        protocol: Protocol,
        bucket: &[(usize, Port)],
        lines: &[Line<'_>],
        ending: &Ending,
    ) -> Result<Verdict, ItemFault> {
        let lines: Vec<(&Line<'_>, Port)> = bucket
            .iter()
            .filter_map(|(at, port)| lines.get(*at).map(|line| (line, *port)))
            .collect();
        let key = BucketKey {
            protocol,
            lines: lines
                .iter()
                .map(|(line, port)| (Arc::as_ptr(line.policy.1).addr(), line.index, *port))
                .collect(),
            ending: ending.rule.clone(),
        };
        let known = self
            .buckets
            .get(&key)
            .or_else(|| self.kin.and_then(|kin| kin.buckets.get(&key)));
        let made = match known {
            Some(known) => Arc::clone(known),
            None => Arc::new(self.make_bucket(role, protocol, &lines, ending)?),
        };
        merge(&mut self.context.part, &made.part);
        let used = made.used.iter().map(|(n, u)| (n.clone(), u.clone()));
        self.context.used.extend(used);
        let verdict = made.verdict.clone();
        self.buckets.insert(key, made);
        Ok(verdict)
    }

    fn make_bucket(
        &mut self,
        role: &str,
        protocol: Protocol,
        lines: &[(&Line<'_>, Port)],
        ending: &Ending,
    ) -> Result<Bucket, ItemFault> {
        let outer = std::mem::take(&mut self.context.part);
        let outer_used = std::mem::take(&mut self.context.used);
        let mut rules = Vec::new();
        let mut lowered = Ok(());
        for (line, port) in lines {
            lowered = self.narrowed(line, Decided::Is(protocol), *port, &mut rules);
            if lowered.is_err() {
                break;
            }
        }
        let mut part = std::mem::replace(&mut self.context.part, outer);
        let used = std::mem::replace(&mut self.context.used, outer_used);
        lowered?;
        let verdict = close(role, self.hook, rules, ending, &mut part);
        merge(&mut part, &ending.part);
        Ok(Bucket {
            verdict,
            part,
            used,
        })
    }

    fn whole(&mut self, line: &Line<'_>, rules: &mut Vec<NftRule>) -> Result<(), ItemFault> {
        let lowered = self.context.lower_whole(line.rule, rules);
        lowered.map_err(|reason| line.fault(reason))
    }

    fn narrowed(
        &mut self,
        line: &Line<'_>,
        decided: Decided<'_>,
        port: Port,
        rules: &mut Vec<NftRule>,
    ) -> Result<(), ItemFault> {
        let lowered = self.context.lower(line.rule, decided, port, rules);
        lowered.map_err(|reason| line.fault(reason))
    }

    /// Adds an index map and looks it up; nothing if there is nothing in it.
    fn lookup(
        &mut self,
        kind: &str,
        key: Key,
        elements: BTreeMap<Element, Verdict>,
        interval: bool,
    ) -> Option<NftRule> {
        if elements.is_empty() {
            return None;
        }
        let shape = match key {
            Key::Port(_) => Shape::Port,
            Key::Protocol => Shape::Protocol,
            _ => Shape::ProtocolPort,
        };
        let map = index_name(kind, self.place);
        add_map(
            &mut self.context.part,
            map.clone(),
            shape,
            interval,
            elements,
        );
        Some(NftRule::new(vec![Expression::VerdictMap { key, map }]))
    }
}

/// A range and the lines of its bucket.
type Ranged = (PortRange, Vec<(usize, Port)>);
