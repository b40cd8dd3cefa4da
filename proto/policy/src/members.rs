//! The members of a set as the control plane holds them: many versions of one set share what they have in common.
//!
//! Sorted runs behind `Arc`s. One member's change copies one run, and comparing two versions skips the runs they share.

use crate::set::Member;
use std::sync::Arc;

/// Above this a run is cut in two.
const LONGEST: usize = 256;

/// A sorted set of members, cheap to clone and to change a little.
#[derive(Clone, Debug, Default)]
pub struct Members {
    // INVARIANT: no run is empty, and all members are in strictly rising order across runs.
    runs: Vec<Arc<Vec<Member>>>,
    len: usize,
}

impl Members {
    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.runs.iter().flat_map(|run| run.iter())
    }

    /// Whether it is there.
    pub fn contains(&self, member: &Member) -> bool {
        self.runs
            .get(self.run_of(member))
            .is_some_and(|run| run.binary_search(member).is_ok())
    }

    /// False if it was there.
    pub fn insert(&mut self, member: Member) -> bool {
        if self.runs.is_empty() {
            self.runs.push(Arc::new(vec![member]));
            self.len = 1;
            return true;
        }
        let at = self.run_of(&member).min(self.runs.len() - 1);
        let Err(place) = self.runs[at].binary_search(&member) else {
            return false;
        };
        let run = Arc::make_mut(&mut self.runs[at]);
        run.insert(place, member);
        if run.len() > LONGEST {
            let tail = run.split_off(LONGEST / 2);
            self.runs.insert(at + 1, Arc::new(tail));
        }
        self.len += 1;
        true
    }

    /// False if it was not there.
    pub fn remove(&mut self, member: &Member) -> bool {
        let at = self.run_of(member);
        let Some(Ok(place)) = self.runs.get(at).map(|run| run.binary_search(member)) else {
            return false;
        };
        if self.runs[at].len() == 1 {
            self.runs.remove(at);
        } else {
            Arc::make_mut(&mut self.runs[at]).remove(place);
        }
        self.len -= 1;
        true
    }

    /// The first run whose last member is not below; the number of runs if there is none.
    fn run_of(&self, member: &Member) -> usize {
        self.runs
            .partition_point(|run| run.last().is_some_and(|last| last < member))
    }

    /// What the other has more, and what it lacks.
    pub fn diff(&self, other: &Self) -> MembersDiff {
        let mut diff = MembersDiff::default();
        let (mut old, mut new) = (Cursor::new(&self.runs), Cursor::new(&other.runs));
        loop {
            if old.skips_shared(&mut new) {
                continue;
            }
            match (old.peek(), new.peek()) {
                (None, None) => return diff,
                (Some(a), Some(b)) if a == b => {
                    old.step();
                    new.step();
                }
                (Some(a), b) if b.is_none_or(|b| a < b) => {
                    diff.remove.push(*a);
                    old.step();
                }
                (_, Some(b)) => {
                    diff.add.push(*b);
                    new.step();
                }
                (Some(_), None) => unreachable!("taken by the third arm"),
            }
        }
    }
}

impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl Eq for Members {}

impl FromIterator<Member> for Members {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Self {
        let mut all: Vec<Member> = members.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        Self {
            len: all.len(),
            runs: all
                .chunks(LONGEST / 2)
                .map(|run| Arc::new(run.to_vec()))
                .collect(),
        }
    }
}

/// The difference of two versions of a set; both lists are sorted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MembersDiff {
    /// In the new version only.
    pub add: Vec<Member>,
    /// In the old version only.
    pub remove: Vec<Member>,
}

struct Cursor<'a> {
    runs: &'a [Arc<Vec<Member>>],
    place: usize,
}

impl<'a> Cursor<'a> {
    fn new(runs: &'a [Arc<Vec<Member>>]) -> Self {
        Self { runs, place: 0 }
    }

    fn peek(&self) -> Option<&'a Member> {
        self.runs.first().and_then(|run| run.get(self.place))
    }

    fn step(&mut self) {
        self.place += 1;
        if self.runs.first().is_some_and(|run| run.len() <= self.place) {
            self.runs = &self.runs[1..];
            self.place = 0;
        }
    }

    /// Both stand at the head of one shared run: skip it.
    fn skips_shared(&mut self, other: &mut Self) -> bool {
        let shared = self.place == 0
            && other.place == 0
            && matches!((self.runs.first(), other.runs.first()), (Some(a), Some(b)) if Arc::ptr_eq(a, b));
        if shared {
            self.runs = &self.runs[1..];
            other.runs = &other.runs[1..];
        }
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::BTreeSet, net::Ipv4Addr};

    fn member(n: u16) -> Member {
        Member::Net(ipnet::IpNet::from(std::net::IpAddr::from(Ipv4Addr::from(
            u32::from(n),
        ))))
    }

    proptest! {
        #[test]
        fn behaves_as_a_sorted_set(
            start in proptest::collection::btree_set(0u16..2000, 0..900),
            edits in proptest::collection::vec((any::<bool>(), 0u16..2000), 0..300),
        ) {
            let mut model: BTreeSet<Member> = start.iter().map(|n| member(*n)).collect();
            let before = model.clone();
            let first: Members = before.iter().copied().collect();
            let mut members = first.clone();
            for (insert, n) in edits {
                let m = member(n);
                if insert {
                    prop_assert_eq!(members.insert(m), model.insert(m));
                } else {
                    prop_assert_eq!(members.remove(&m), model.remove(&m));
                }
                prop_assert_eq!(members.contains(&m), insert);
            }
            prop_assert!(members.iter().eq(model.iter()));
            prop_assert_eq!(members.len(), model.len());
            let diff = first.diff(&members);
            prop_assert!(diff.add.iter().eq(model.difference(&before)));
            prop_assert!(diff.remove.iter().eq(before.difference(&model)));
        }
    }
}
