//! Which lines stand in which bucket.
//!
//! INVARIANT: an index is a function of the lines it holds; what came and went before leaves no trace. A cut is where a
//! range of some line begins or ends.

use super::content::{At, Line, Placed, Policies};
use crate::lower::rule::depends_on;
use palisade_policy::rule::Protocol;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

mod ports;

pub(super) use ports::{END, Ports, bucket_lines, ranges};

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
