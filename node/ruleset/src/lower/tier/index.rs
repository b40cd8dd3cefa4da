//! Which rules stand in which bucket.

use super::{Line, Ranged};
use crate::lower::rule::{Port, depends_on, is_bare, may_match, wants_ports};
use palisade_policy::rule::{Action, PortRange, Protocol};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// How a tier's rules lie around its index.
#[derive(Debug)]
pub(super) struct Index {
    /// From the first to the last rule that the index decides something about. Empty: there is no index.
    pub(super) middle: Range<usize>,
    protocols: BTreeSet<Protocol>,
}

/// The buckets of an index.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// Of protocols that rules between the first and the last indexed one name or depend on.
    pub(super) by_protocol: BTreeMap<Protocol, ProtocolBuckets>,
    /// Lines for all other protocols.
    pub(super) others: Vec<usize>,
}

/// The buckets of one protocol.
#[derive(Debug)]
pub(super) struct ProtocolBuckets {
    /// By destination port; ranges do not overlap.
    pub(super) ranges: Vec<Ranged>,
    /// For ports in none of the ranges.
    pub(super) rest: Vec<(usize, Port)>,
}

impl Index {
    pub(super) fn of(lines: &[Line<'_>]) -> Self {
        let first = lines.iter().position(is_indexed).unwrap_or(0);
        let end = lines
            .iter()
            .rposition(is_indexed)
            .map_or(0, |last| last + 1);
        let middle = first..end;
        let mut protocols = BTreeSet::new();
        for line in lines.get(middle.clone()).unwrap_or_default() {
            protocols.extend(line.rule.matches.protocol);
            protocols.extend(depends_on(&line.rule.matches));
        }
        Self { middle, protocols }
    }

    /// `None`: too many copies.
    pub(super) fn buckets(&self, lines: &[Line<'_>]) -> Option<Buckets> {
        let middle = lines.get(self.middle.clone()).unwrap_or_default();
        let mut budget = 4 * lines.len() + 64;
        let mut buckets = Buckets::default();
        for protocol in &self.protocols {
            let made = self.of_protocol(*protocol, middle, &mut budget)?;
            buckets.by_protocol.insert(*protocol, made);
        }
        let of_others = |line: &Line<'_>| {
            let matches = &line.rule.matches;
            matches.protocol.is_none()
        };
        buckets.others = self
            .numbered(middle)
            .filter(|(_, l)| of_others(l))
            .map(|(i, _)| i)
            .collect();
        budget.checked_sub(buckets.others.len())?;
        Some(buckets)
    }

    fn numbered<'l>(&self, middle: &'l [Line<'l>]) -> impl Iterator<Item = (usize, &'l Line<'l>)> {
        middle
            .iter()
            .enumerate()
            .map(|(i, line)| (i + self.middle.start, line))
    }

    fn of_protocol(
        &self,
        protocol: Protocol,
        middle: &[Line<'_>],
        budget: &mut usize,
    ) -> Option<ProtocolBuckets> {
        // Lines that numbers of ports do not decide, or not alone.
        let mut common = Vec::new();
        let mut starts: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        let mut ends: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        let mut bare = BTreeSet::new();
        for (at, line) in self.numbered(middle) {
            let matches = &line.rule.matches;
            if !may_match(matches, protocol) || (!protocol.has_ports() && wants_ports(matches)) {
                continue;
            }
            if is_bare(matches) && !matches!(line.rule.action, Action::Log { .. }) {
                bare.insert(at);
            }
            let ports = &matches.destination.ports;
            for range in &ports.ranges {
                starts.entry(range.first().into()).or_default().push(at);
                let end = u32::from(range.last()) + 1;
                ends.entry(end).or_default().push(at);
            }
            match (ports.ranges.is_empty(), ports.sets.is_empty()) {
                (true, true) => common.push((at, Port::Open)),
                (_, false) => common.push((at, Port::Missed)),
                (false, true) => {}
            }
        }
        let mut merge = |active: &BTreeMap<usize, usize>| {
            let lines = merge(active, &common, &bare);
            *budget = budget.checked_sub(lines.len())?;
            Some(lines)
        };
        let rest = merge(&BTreeMap::new())?;
        let cuts: BTreeSet<u32> = starts.keys().chain(ends.keys()).copied().collect();
        let cuts: Vec<u32> = cuts.into_iter().collect();
        // Lines whose ranges cover the place, with how many of them do.
        let mut active: BTreeMap<usize, usize> = BTreeMap::new();
        let mut ranges = Vec::new();
        for pair in cuts.windows(2) {
            let [first, next] = *pair else { continue };
            for at in ends.get(&first).into_iter().flatten() {
                if let Some(count) = active.get_mut(at) {
                    *count -= 1;
                }
            }
            for at in starts.get(&first).into_iter().flatten() {
                *active.entry(*at).or_default() += 1;
            }
            active.retain(|_, count| *count > 0);
            if active.is_empty() {
                continue;
            }
            let bounds = (u16::try_from(first), u16::try_from(next - 1));
            let (Ok(first), Ok(last)) = bounds else {
                continue;
            };
            if let Some(range) = PortRange::new(first, last) {
                ranges.push((range, merge(&active)?));
            }
        }
        Some(ProtocolBuckets { ranges, rest })
    }
}

/// Lines of a bucket in order, up to the first that decides every packet that gets there.
fn merge(
    active: &BTreeMap<usize, usize>,
    common: &[(usize, Port)],
    bare: &BTreeSet<usize>,
) -> Vec<(usize, Port)> {
    let hit = active.keys().map(|at| (*at, Port::Hit));
    let open = common
        .iter()
        .copied()
        .filter(|(at, _)| !active.contains_key(at));
    let mut lines: Vec<(usize, Port)> = hit.chain(open).collect();
    lines.sort_unstable();
    let decides = |(at, port): &(usize, Port)| *port != Port::Missed && bare.contains(at);
    if let Some(end) = lines.iter().position(decides) {
        lines.truncate(end + 1);
    }
    lines
}

/// The index decides something about the rule.
fn is_indexed(line: &Line<'_>) -> bool {
    let matches = &line.rule.matches;
    !matches.destination.ports.ranges.is_empty() || !depends_on(matches).is_empty()
}
