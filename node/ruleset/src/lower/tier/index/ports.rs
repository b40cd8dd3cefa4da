//! The index of one protocol: which lines cover which ports.

use crate::lower::{
    fragment::merge_ranges,
    rule::{Port, is_bare},
    tier::{
        bucket::Bucket,
        content::{At, Line, Placed, Policies},
    },
};
use palisade_policy::rule::{Action, PortRange};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// The index of one protocol.
#[derive(Debug)]
pub(in crate::lower::tier) struct Ports {
    /// Lines that name the protocol or depend on it.
    pub(in crate::lower::tier) named: usize,
    /// Lines that numbers of ports do not decide, or not alone.
    pub(in crate::lower::tier) common: Vec<Placed>,
    /// What a port in no range comes to.
    pub(in crate::lower::tier) rest: Option<Arc<Bucket>>,
    /// By where they begin; each ends where the next begins. There is always one at 0.
    pub(in crate::lower::tier) segments: BTreeMap<u32, Segment>,
}

/// Ports that the same ranges cover.
#[derive(Clone, Debug, Default)]
pub(in crate::lower::tier) struct Segment {
    /// How many ranges begin or end at its beginning.
    bounds: usize,
    /// Lines with a range that covers it, in order.
    pub(in crate::lower::tier) covered: Vec<At>,
    /// Lines in its bucket.
    pub(in crate::lower::tier) copies: usize,
    /// Absent: not made yet, or nothing covers it.
    pub(in crate::lower::tier) bucket: Option<Arc<Bucket>>,
}

/// One more than the highest port.
pub(in crate::lower::tier) const END: u32 = 1 << 16;

// === impl Ports ===

impl Ports {
    pub(super) fn new() -> Self {
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

    pub(super) fn add(&mut self, line: &Line<'_>, weight: &mut usize) {
        self.cover(line, weight);
        let ports = &line.rule.matches.destination.ports;
        match (ports.ranges.is_empty(), ports.sets.is_empty()) {
            (true, true) => self.common.push((line.at, Port::Open)),
            (_, false) => self.common.push((line.at, Port::Missed)),
            (false, true) => {}
        }
    }

    /// Gives how many copies stood in buckets that have to be made anew.
    pub(super) fn cover(&mut self, line: &Line<'_>, weight: &mut usize) -> usize {
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

    pub(super) fn uncover(&mut self, line: &Line<'_>, weight: &mut usize) -> usize {
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
    pub(in crate::lower::tier) fn around(
        &self,
        ranges: impl Iterator<Item = Range<u32>>,
    ) -> Vec<Range<u32>> {
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
    pub(in crate::lower::tier) fn within(
        &self,
        window: Range<u32>,
    ) -> impl Iterator<Item = (PortRange, &Segment)> {
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
pub(in crate::lower::tier) fn bucket_lines(
    policies: &Policies,
    covered: &[At],
    common: &[Placed],
) -> Vec<Placed> {
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
pub(in crate::lower::tier) fn ranges(line: &Line<'_>) -> impl Iterator<Item = Range<u32>> {
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
