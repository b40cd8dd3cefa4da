//! Denials for each source within a minute.

use std::collections::HashMap;
use std::net::IpAddr;

const MINUTE_MS: u64 = 60_000;

/// Sources counted at once. One more, and those that are quiet go first, then all: a flood of forged sources must not
/// grow the table, and no single one of them is a burst.
const SOURCES: usize = 10_000;

/// Counts that begin with the first denial of a source and end a minute later.
#[derive(Debug)]
pub(crate) struct Bursts {
    threshold: u32,
    sources: HashMap<IpAddr, Count>,
}

#[derive(Debug)]
struct Count {
    since_ms: u64,
    denials: u32,
}

impl Bursts {
    /// So many denials are a burst.
    pub(crate) fn new(threshold: u32) -> Self {
        Self {
            threshold,
            sources: HashMap::new(),
        }
    }

    /// Counts a denial; gives the count when it has just become a burst.
    pub(crate) fn denied(&mut self, source: IpAddr, time_ms: u64) -> Option<u32> {
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&source) {
            self.forget(time_ms);
            if self.sources.len() >= SOURCES {
                self.sources.clear();
            }
        }
        let count = self.sources.entry(source).or_insert(Count {
            since_ms: time_ms,
            denials: 0,
        });
        if time_ms.saturating_sub(count.since_ms) >= MINUTE_MS {
            *count = Count {
                since_ms: time_ms,
                denials: 0,
            };
        }
        count.denials = count.denials.saturating_add(1);
        (count.denials == self.threshold).then_some(count.denials)
    }

    /// Drops counts whose minute is over.
    pub(crate) fn forget(&mut self, time_ms: u64) {
        self.sources
            .retain(|_, count| time_ms.saturating_sub(count.since_ms) < MINUTE_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn a_burst_is_reported_once() {
        let mut bursts = Bursts::new(3);
        let reported: Vec<_> = (0..6).map(|time| bursts.denied(SOURCE, time)).collect();
        assert_eq!(reported, [None, None, Some(3), None, None, None]);
    }

    #[test]
    fn slow_denials_are_no_burst() {
        let mut bursts = Bursts::new(3);
        assert!((0..10).all(|minute| bursts.denied(SOURCE, minute * MINUTE_MS).is_none()));
    }

    #[test]
    fn sources_are_counted_apart() {
        let mut bursts = Bursts::new(2);
        let other = IpAddr::from([192, 0, 2, 8]);
        assert_eq!(bursts.denied(SOURCE, 0), None);
        assert_eq!(bursts.denied(other, 0), None);
        assert_eq!(bursts.denied(SOURCE, 1), Some(2));
    }

    #[test]
    fn a_flood_of_sources_does_not_grow_the_table() {
        let mut bursts = Bursts::new(2);
        for source in 0..50_000_u32 {
            bursts.denied(IpAddr::from(source.to_be_bytes()), 0);
        }
        assert!(bursts.sources.len() <= SOURCES);
    }
}
