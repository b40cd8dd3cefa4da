//! Which lines stand in which bucket.
//!
//! INVARIANT: an index is a function of the lines it holds; what came and went before leaves no trace. A cut is where a
//! range of some line begins or ends.

use super::{
    bucket::Bucket,
    content::{At, Line, Placed, Policies},
};
use crate::lower::{
    part::merge_ranges,
    rule::{Port, depends_on, is_bare},
};
use palisade_policy::rule::{Action, PortRange, Protocol};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

/// The lines of a tier by what the index decides about them.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Protocols that lines between the first and the last indexed one name or depend on.
    pub(super) protocols: BTreeMap<Protocol, Ports>,
    /// Lines before the first indexed one.
    pub(super) before: Vec<At>,
    /// Lines after the last.
    pub(super) after: Vec<At>,
    /// Between them, for all other protocols.
    pub(super) others: Vec<At>,
    /// All lines.
    pub(super) lines: usize,
    /// Lines in buckets, and for others.
    pub(super) copies: usize,
    /// Lines that cover segments, whether or not anything gets to them.
    weight: usize,
}

/// The index of one protocol.
#[derive(Debug)]
pub(super) struct Ports {
    /// Lines that name the protocol or depend on it.
    pub(super) named: usize,
    /// Lines that numbers of ports do not decide, or not alone.
    pub(super) common: Vec<Placed>,
    /// What a port in no range comes to.
    pub(super) rest: Option<Arc<Bucket>>,
    /// By where they begin; each ends where the next begins. There is always one at 0.
    pub(super) segments: BTreeMap<u32, Segment>,
}

/// Ports that the same ranges cover.
#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    /// How many ranges begin or end at its beginning.
    bounds: usize,
    /// Lines with a range that covers it, in order.
    pub(super) covered: Vec<At>,
    /// Lines in its bucket.
    pub(super) copies: usize,
    /// Absent: not made yet, or nothing covers it.
    pub(super) bucket: Option<Arc<Bucket>>,
}

/// One more than the highest port.
pub(super) const END: u32 = 1 << 16;

// === impl Index ===

impl Index {
    /// Without buckets. `None`: too much overlaps.
    pub(super) fn of(policies: &Policies) -> Option<Self> {
        let (before, after) = outside(policies);
        let mut index = Self {
            lines: policies.lines().count(),
            ..Self::default()
        };
        let all: Vec<Line<'_>> = policies.lines().collect();
        let end = all.len().saturating_sub(after.len());
        let middle = all.get(before.len()..end).unwrap_or_default();
        (index.before, index.after) = (before, after);
        let mut named: BTreeSet<Protocol> = BTreeSet::new();
        for line in middle {
            named.extend(line.rule.matches.protocol);
            named.extend(depends_on(&line.rule.matches));
        }
        index.protocols = named.into_iter().map(|p| (p, Ports::new())).collect();
        for line in middle {
            index.add(line)?;
        }
        Some(index)
    }

    /// Nothing is indexed.
    pub(super) fn is_empty(&self) -> bool {
        self.protocols.is_empty()
    }

    /// Buckets hold so many copies of rules that one chain is better, or are about to.
    pub(super) fn is_too_large(&self) -> bool {
        self.copies > 4 * self.lines + 64 || self.weight > 16 * self.lines + 1024
    }

    fn add(&mut self, line: &Line<'_>) -> Option<()> {
        let matches = &line.rule.matches;
        for protocol in matches.protocol.into_iter().chain(depends_on(matches)) {
            self.protocols.get_mut(&protocol)?.named += 1;
        }
        if matches.protocol.is_none() {
            self.others.push(line.at);
            self.copies += 1;
        }
        let limit = 16 * self.lines + 1024;
        let weight = &mut self.weight;
        let mut add = |protocol: Protocol, ports: &mut Ports| {
            if line.suits(protocol) {
                ports.add(line, weight);
            }
            (*weight <= limit).then_some(())
        };
        match matches.protocol {
            Some(protocol) => add(protocol, self.protocols.get_mut(&protocol)?),
            None => self
                .protocols
                .iter_mut()
                .try_for_each(|(protocol, ports)| add(*protocol, ports)),
        }
    }

    /// A line that only one protocol's ranges decide comes.
    pub(super) fn cover(&mut self, protocol: Protocol, line: &Line<'_>) -> Option<()> {
        let ports = self.protocols.get_mut(&protocol)?;
        ports.named += 1;
        self.lines += 1;
        let copies = ports.cover(line, &mut self.weight);
        self.copies = self.copies.checked_sub(copies)?;
        Some(())
    }

    /// It goes.
    pub(super) fn uncover(&mut self, protocol: Protocol, line: &Line<'_>) -> Option<()> {
        let ports = self.protocols.get_mut(&protocol)?;
        ports.named -= 1;
        self.lines -= 1;
        let copies = ports.uncover(line, &mut self.weight);
        self.copies = self.copies.checked_sub(copies)?;
        Some(())
    }

    /// [`Self::missing`] of an index that has no bucket yet.
    pub(super) fn missing_all(&mut self, policies: &Policies) -> Option<Vec<Missing>> {
        let rests = self.protocols.values();
        let rests = rests.map(|ports| bucket_lines(policies, &[], &ports.common).len());
        self.copies += rests.sum::<usize>();
        let all = self.protocols.keys().map(|protocol| (*protocol, 0..END));
        let all: Vec<_> = all.collect();
        self.missing(policies, &all)
    }

    /// Lines of buckets that are to be made, and by which port they are found. `None`: too many.
    pub(super) fn missing(
        &mut self,
        policies: &Policies,
        windows: &[(Protocol, Range<u32>)],
    ) -> Option<Vec<Missing>> {
        let mut missing = Vec::new();
        for (protocol, window) in windows {
            let ports = self.protocols.get_mut(protocol)?;
            let common = &ports.common;
            for (first, segment) in ports.segments.range_mut(window.clone()) {
                if segment.covered.is_empty() || segment.bucket.is_some() {
                    continue;
                }
                let lines = bucket_lines(policies, &segment.covered, common);
                segment.copies = lines.len();
                self.copies += lines.len();
                if self.copies > 4 * self.lines + 64 {
                    return None;
                }
                missing.push(Missing {
                    protocol: *protocol,
                    first: *first,
                    lines,
                });
            }
        }
        (!self.is_too_large()).then_some(missing)
    }
}

/// A bucket to be made.
pub(super) struct Missing {
    pub(super) protocol: Protocol,
    pub(super) first: u32,
    pub(super) lines: Vec<Placed>,
}

/// Lines before the first indexed one, and after the last.
pub(super) fn outside(policies: &Policies) -> (Vec<At>, Vec<At>) {
    let plain = |line: &Line<'_>| !is_indexed(line);
    let before: Vec<At> = policies.lines().take_while(plain).map(|l| l.at).collect();
    let mut after: Vec<At> = policies
        .lines()
        .rev()
        .take_while(plain)
        .map(|l| l.at)
        .collect();
    after.reverse();
    if before == after {
        // Nothing is indexed.
        after.clear();
    }
    (before, after)
}

/// The index decides something about the rule.
fn is_indexed(line: &Line<'_>) -> bool {
    let matches = &line.rule.matches;
    !matches.destination.ports.ranges.is_empty() || !depends_on(matches).is_empty()
}

// === impl Ports ===

impl Ports {
    fn new() -> Self {
        let first = Segment {
            bounds: 1,
            ..Segment::default()
        };
        Self {
            named: 0,
            common: Vec::new(),
            rest: None,
            segments: BTreeMap::from([(0, first)]),
        }
    }

    fn add(&mut self, line: &Line<'_>, weight: &mut usize) {
        self.cover(line, weight);
        let ports = &line.rule.matches.destination.ports;
        match (ports.ranges.is_empty(), ports.sets.is_empty()) {
            (true, true) => self.common.push((line.at, Port::Open)),
            (_, false) => self.common.push((line.at, Port::Missed)),
            (false, true) => {}
        }
    }

    /// Gives how many copies stood in buckets that have to be made anew.
    fn cover(&mut self, line: &Line<'_>, weight: &mut usize) -> usize {
        let mut copies = 0;
        for range in ranges(line) {
            for cut in [range.start, range.end] {
                *weight += self.cut(cut);
            }
            for segment in self.segments.range_mut(range).map(|(_, segment)| segment) {
                if let Err(place) = segment.covered.binary_search(&line.at) {
                    segment.covered.insert(place, line.at);
                    *weight += 1;
                }
                copies += segment.forget();
            }
        }
        copies
    }

    fn uncover(&mut self, line: &Line<'_>, weight: &mut usize) -> usize {
        let mut copies = 0;
        for range in ranges(line) {
            for segment in self
                .segments
                .range_mut(range.clone())
                .map(|(_, segment)| segment)
            {
                if let Ok(place) = segment.covered.binary_search(&line.at) {
                    segment.covered.remove(place);
                    *weight -= 1;
                }
                copies += segment.forget();
            }
            for cut in [range.start, range.end] {
                let Some(segment) = self.segments.get_mut(&cut) else {
                    continue;
                };
                segment.bounds -= 1;
                if segment.bounds == 0
                    && let Some(segment) = self.segments.remove(&cut)
                {
                    // The one before covers the same.
                    *weight -= segment.covered.len();
                    copies += segment.copies;
                }
            }
        }
        copies
    }

    /// Gives how many lines cover what was cut.
    fn cut(&mut self, at: u32) -> usize {
        if at >= END {
            return 0;
        }
        if let Some(segment) = self.segments.get_mut(&at) {
            segment.bounds += 1;
            return 0;
        }
        let whole = self.segments.range(..at).next_back();
        let mut segment = whole.map(|(_, whole)| whole.clone()).unwrap_or_default();
        segment.bounds = 1;
        // Counted where it is made.
        segment.copies = 0;
        segment.bucket = None;
        let covering = segment.covered.len();
        self.segments.insert(at, segment);
        covering
    }

    /// Ports whose elements may change with these ranges: up to cuts that stay.
    pub(super) fn around(&self, ranges: impl Iterator<Item = Range<u32>>) -> Vec<Range<u32>> {
        let mut around: Vec<Range<u32>> = ranges
            .map(|range| {
                let before = self.segments.range(..range.start).next_back();
                let after = self.segments.range(range.end + 1..).next();
                before.map_or(0, |(cut, _)| *cut)..after.map_or(END, |(cut, _)| *cut)
            })
            .collect();
        around.sort_unstable_by_key(|window| window.start);
        let mut merged: Vec<Range<u32>> = Vec::new();
        for window in around {
            match merged.last_mut() {
                Some(last) if window.start < last.end => last.end = last.end.max(window.end),
                _ => merged.push(window),
            }
        }
        merged
    }

    /// Segments that begin there, each with its ports.
    pub(super) fn within(&self, window: Range<u32>) -> impl Iterator<Item = (PortRange, &Segment)> {
        let next = window.end;
        let nexts = self
            .segments
            .range(window.clone())
            .skip(1)
            .map(|(cut, _)| *cut);
        let segments = self.segments.range(window);
        segments
            .zip(nexts.chain([next]))
            .filter_map(|((first, segment), next)| {
                let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(next - 1).ok()?);
                Some((PortRange::new(first, last)?, segment))
            })
    }
}

/// Lines of a bucket in order, up to the first that decides every packet that gets there.
pub(super) fn bucket_lines(policies: &Policies, covered: &[At], common: &[Placed]) -> Vec<Placed> {
    let decides = |(at, port): &Placed| {
        let line = policies.line(*at).filter(|_| *port != Port::Missed);
        line.is_some_and(|l| {
            is_bare(&l.rule.matches) && !matches!(l.rule.action, Action::Log { .. })
        })
    };
    let mut lines = Vec::new();
    let mut hits = covered.iter().map(|at| (*at, Port::Hit)).peekable();
    let mut common = common.iter().copied().peekable();
    loop {
        let next = match (hits.peek(), common.peek()) {
            (Some(hit), Some(open)) if open.0 == hit.0 => {
                common.next();
                hits.next()
            }
            (Some(hit), Some(open)) if open.0 < hit.0 => common.next(),
            (Some(_), _) => hits.next(),
            (None, _) => common.next(),
        };
        let Some(next) = next else { return lines };
        lines.push(next);
        if decides(&next) {
            return lines;
        }
    }
}

/// What a line covers; ranges neither overlap nor touch.
pub(super) fn ranges(line: &Line<'_>) -> impl Iterator<Item = Range<u32>> {
    let ranges = merge_ranges(&line.rule.matches.destination.ports.ranges);
    ranges
        .into_iter()
        .map(|range| range.first().into()..u32::from(range.last()) + 1)
}

// === impl Segment ===

impl Segment {
    fn forget(&mut self) -> usize {
        self.bucket = None;
        std::mem::take(&mut self.copies)
    }
}
