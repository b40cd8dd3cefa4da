//! A few policies of an indexed tier come, go or become others: only the ports that they name are lowered again.

use super::{
    Body, LoweredTier,
    bucket::{Bucket, Fragment, Maker},
    content::{Edit, TierContent},
    fill,
    index::{bucket_lines, outside, ranges},
    maps::{Slot, elements},
};
use crate::{
    ir::{Chain, ChainName, Element, End, Set, SetName, Shape, TableName, Verdict},
    lower::{LowerCache, selector::Selectors},
};
use palisade_policy::{
    ids::PolicyId,
    rule::{Policy, PortRange, Protocol},
    view::View,
};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// Elements of index maps that changed, and what those that came lead to.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    pub(crate) elements: BTreeMap<(TableName, SetName, Element), Changed>,
    buckets: Vec<Arc<Bucket>>,
    tails: Vec<Arc<Fragment>>,
}

/// A verdict of an index map before and after.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) shape: Shape,
    pub(crate) interval: bool,
    pub(crate) before: Option<Verdict>,
    pub(crate) after: Option<Verdict>,
}

// === impl Touched ===

impl Touched {
    /// A chain that an element may lead to.
    pub(crate) fn chain(&self, name: &ChainName) -> Option<&Chain> {
        self.parts().find_map(|part| part.table.chains.get(name))
    }

    /// A set that rules of such a chain name.
    pub(crate) fn set(
        &self,
        name: &SetName,
        view: &View,
        cache: &mut LowerCache,
    ) -> Option<Arc<Set>> {
        let by_content = self.parts().find_map(|part| part.table.sets.get(name));
        by_content.map(Arc::clone).or_else(|| {
            let used = self.parts().find_map(|part| part.used.get(name))?;
            Some(cache.selectors.set(view, used))
        })
    }

    fn parts(&self) -> impl Iterator<Item = &Fragment> {
        let buckets = self.buckets.iter().map(|bucket| &bucket.part);
        buckets.chain(self.tails.iter().map(|part| &**part))
    }

    fn element(
        &mut self,
        (table, frame): (TableName, (&str, End)),
        protocol: Protocol,
        range: PortRange,
    ) -> &mut Changed {
        let slot = Slot::new(frame, protocol, range);
        let unknown = Changed {
            shape: slot.shape,
            interval: slot.interval,
            before: None,
            after: None,
        };
        let key = (table, slot.map, slot.element);
        self.elements.entry(key).or_insert(unknown)
    }
}

// === impl LoweredTier ===

impl LoweredTier {
    /// Becomes the tier of another content, if that is less than lowering it. `None`: lower it.
    pub(super) fn follow(
        mut self: Box<Self>,
        view: &View,
        selectors: &mut Selectors,
        content: &TierContent,
    ) -> Option<Box<Self>> {
        if self.terms != content.terms {
            return None;
        }
        if !self.policies.is(&content.policies) {
            let edits = self.policies.edits(&content.policies)?;
            let few = 16 + content.policies.len() / 8;
            (edits.len() <= few).then_some(())?;
            self.patch(view, selectors, edits, &mut Touched::default())?;
        }
        Some(self)
    }

    /// The edit that replaces a policy here, if any.
    pub(in crate::lower) fn replacement(
        &self,
        id: &PolicyId,
        policy: &Arc<Policy>,
    ) -> Option<Edit> {
        self.policies.replacement(id, policy)
    }

    /// Whether a policy stands here more than once, or goes: [`Self::replacement`] does not know.
    pub(in crate::lower) fn is_beyond(&self, id: &PolicyId, view: &View) -> bool {
        (!self.policies.is_distinct() || !view.policies.contains_key(id)) && self.policies.holds(id)
    }

    /// Edits the tier and says what that touches.
    ///
    /// `None`: more changes than elements of index maps and what they lead to. The tier is of no use then.
    pub(in crate::lower) fn patch(
        &mut self,
        view: &View,
        selectors: &mut Selectors,
        edits: Vec<Edit>,
        touched: &mut Touched,
    ) -> Option<()> {
        let Body::Indexed(indexed) = &mut self.body else {
            return None;
        };
        let (index, policies) = (&mut indexed.index, &mut self.policies);
        let sizes = indexed.sizes.clone();
        let frame = (indexed.frame.as_str(), self.terms.destination());
        let frame = (self.table, frame);
        let mut named: BTreeMap<Protocol, Vec<Range<u32>>> = BTreeMap::new();
        for edit in &edits {
            for line in policies.lines_of(edit.rank).chain(policies.lines_to(edit)) {
                named
                    .entry(line.ported()?)
                    .or_default()
                    .extend(ranges(&line));
            }
        }
        let mut windows = Vec::new();
        for (protocol, ranges) in named {
            let ports = index.protocols.get(&protocol)?;
            for window in ports.around(ranges.into_iter()) {
                for (range, verdict) in elements(ports, window.clone()) {
                    indexed.sizes.remove(protocol, range);
                    let changed = touched.element(frame, protocol, range);
                    changed.before = Some(verdict.clone());
                }
                windows.push((protocol, window));
            }
        }
        for edit in edits {
            for line in policies.lines_of(edit.rank) {
                index.uncover(line.ported()?, &line)?;
            }
            for line in policies.lines_to(&edit) {
                index.cover(line.ported()?, &line)?;
            }
            policies.apply(edit);
        }
        if outside(policies) != (index.before.clone(), index.after.clone()) {
            return None;
        }
        let mut maker = Maker::new(self.hook, &self.terms, view, selectors);
        // A port that comes to what a miss comes to has no element: both must be the same chain for that to be seen.
        for (protocol, _) in &windows {
            let ports = index.protocols.get(protocol)?;
            let lines = bucket_lines(policies, &[], &ports.common);
            maker.know((*protocol, lines), ports.rest.as_ref()?);
        }
        let missing = index.missing(policies, &windows)?;
        let made = fill(index, &mut maker, policies, missing, &indexed.tail);
        touched.buckets.extend(made.ok()?);
        touched.tails.push(Arc::clone(&indexed.tail.part));
        for (protocol, window) in windows {
            let ports = index
                .protocols
                .get(&protocol)
                .filter(|ports| ports.named > 0)?;
            for (range, verdict) in elements(ports, window) {
                indexed.sizes.add(protocol, range);
                let changed = touched.element(frame, protocol, range);
                changed.after = Some(verdict.clone());
            }
        }
        indexed.sizes.is_like(&sizes).then_some(())
    }
}
