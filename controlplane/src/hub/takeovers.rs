//! Which daemons took a node's stream over from each other: a daemon that comes back after another one came between is
//! alive beside it, so two daemons have one identity. A restarted daemon is a new one, and the old one never comes back.

use palisade_proto::v1;
use std::{collections::VecDeque, net::SocketAddr};

/// Seconds for which two daemons are said to be two after one took over from the other. A daemon that was taken over
/// from waits half as long at most before it comes back.
pub const DUPLICATE_FOR: u64 = 600;
/// Daemons of one node that are remembered.
const REMEMBERED: usize = 8;

/// A daemon: what it calls itself, and from where it connected last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Daemon {
    /// As in its Hello.
    pub instance: Vec<u8>,
    /// Of its connection.
    pub address: SocketAddr,
}

/// The daemons of one node, the latest last.
#[derive(Debug, Default)]
pub(super) struct Takeovers {
    seen: VecDeque<(Daemon, u64)>,
    /// The two that were last seen to alternate, and when.
    duplicate: Option<(SocketAddr, SocketAddr, u64)>,
}

impl Takeovers {
    /// A daemon has taken over, at this many seconds since 1970.
    pub(super) fn note(&mut self, daemon: &Daemon, now: u64) {
        self.seen
            .retain(|(_, at)| now.saturating_sub(*at) <= DUPLICATE_FOR);
        let last = self.seen.back().map(|(last, _)| last.clone());
        let known = self
            .seen
            .iter()
            .position(|(seen, _)| seen.instance == daemon.instance);
        if let Some(index) = known {
            self.seen.remove(index);
        }
        if let Some(last) = last
            && known.is_some()
            && last.instance != daemon.instance
        {
            self.duplicate = Some((daemon.address, last.address, now));
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back((daemon.clone(), now));
    }

    /// What is to be said of it.
    pub(super) fn condition(&self, now: u64) -> Option<v1::Condition> {
        let (one, other, at) = self.duplicate?;
        if now.saturating_sub(at) > DUPLICATE_FOR {
            return None;
        }
        Some(v1::Condition {
            r#type: "Duplicate".to_owned(),
            reason: "TwoDaemons".to_owned(),
            message: format!(
                "daemons at {one} and {other} have the identity of this node and take its stream over from each other; \
                 stop one of them, or enrol it under a name of its own"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(instance: u8, port: u16) -> Daemon {
        Daemon {
            instance: vec![instance; 16],
            address: ([10, 0, 0, instance], port).into(),
        }
    }

    #[test]
    fn restarts_and_lost_connections_are_not_two_daemons() {
        let mut takeovers = Takeovers::default();
        for instance in 1..50 {
            takeovers.note(&daemon(instance, 1), 100);
            takeovers.note(&daemon(instance, 2), 100);
            assert_eq!(takeovers.condition(100), None);
            assert!(takeovers.seen.len() <= REMEMBERED);
        }
    }

    #[test]
    fn a_daemon_that_comes_back_after_another_is_a_second_one_and_both_are_named() {
        let mut takeovers = Takeovers::default();
        takeovers.note(&daemon(1, 1), 100);
        takeovers.note(&daemon(2, 1), 101);
        assert_eq!(takeovers.condition(101), None, "a restart looks like this");
        takeovers.note(&daemon(1, 2), 160);
        let condition = takeovers.condition(160).expect("two daemons");
        assert!(condition.message.contains("10.0.0.1:2 and 10.0.0.2:1"));
        assert!(takeovers.condition(160 + DUPLICATE_FOR).is_some());
        assert_eq!(takeovers.condition(161 + DUPLICATE_FOR), None);
    }

    #[test]
    fn what_was_long_ago_counts_no_more() {
        let mut takeovers = Takeovers::default();
        takeovers.note(&daemon(1, 1), 100);
        takeovers.note(&daemon(2, 1), 101);
        takeovers.note(&daemon(1, 2), 102 + DUPLICATE_FOR);
        assert_eq!(takeovers.condition(102 + DUPLICATE_FOR), None);
    }
}
