//! How far history is forgotten by itself: what is both old and surplus goes, a little with each commit.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use redb::{ReadableTable, ReadableTableMetadata, Table};

use super::failure::Failure;
use crate::Revision;

/// How much history a store keeps by itself. What is over both bounds may go; compaction may take more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The newest so many events stay. Default 10,000.
    pub events: u64,
    /// Younger than this stays, counted from the opening of the store at the earliest. Default ten minutes.
    pub age: Duration,
}

/// How many events one commit forgets at most.
const STEP: u64 = 4096;
/// How many points in time are remembered over the retention age.
const MARKS: u32 = 64;

pub(super) struct Trimmer {
    retention: Retention,
    /// When the store was at which revision, oldest first.
    marks: VecDeque<(Instant, Revision)>,
    /// Everything up to here is older than the retention age.
    aged: Revision,
}

// === impl Retention ===

impl Default for Retention {
    fn default() -> Self {
        Self {
            events: 10_000,
            age: Duration::from_secs(600),
        }
    }
}

// === impl Trimmer ===

impl Trimmer {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            marks: VecDeque::new(),
            aged: Revision(0),
        }
    }

    /// Up to which revision the log may be forgotten now, the store being published at `published`.
    pub(super) fn cut(
        &mut self,
        log: &Table<'_, (u64, u32), &'static [u8]>,
        published: Revision,
    ) -> Result<Revision, Failure> {
        self.mark(Instant::now(), published);
        let surplus = log.len()?.saturating_sub(self.retention.events).min(STEP);
        let mut cut = Revision(0);
        if surplus == 0 || self.aged == cut {
            return Ok(cut);
        }
        // A revision goes whole or not at all: it may, once the row after it is reached within the surplus.
        for (counted, row) in (0..).zip(log.iter()?) {
            let (revision, _) = row?.0.value();
            let before = Revision(revision.saturating_sub(1));
            cut = before.min(self.aged);
            if counted == surplus || Revision(revision) > self.aged {
                break;
            }
        }
        Ok(cut)
    }

    fn mark(&mut self, now: Instant, published: Revision) {
        let gap = self.retention.age / MARKS;
        if self.marks.back().is_none_or(|(at, _)| now - *at >= gap) {
            self.marks.push_back((now, published));
        }
        while let Some((at, revision)) = self.marks.front()
            && now - *at >= self.retention.age
        {
            self.aged = *revision;
            self.marks.pop_front();
        }
    }
}
