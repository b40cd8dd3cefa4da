//! Whether a plugin with its settings is called at all. Pure: time comes in.
//!
//! Faults close together set it aside for a back-off; then one call tries it again. If that succeeds it is well, if not
//! the back-off doubles.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When a plugin is set aside, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// So many faults within the window set it aside; at least 1.
    pub faults: usize,
    /// Faults older than this are forgotten.
    pub window: Duration,
    /// How long it is set aside the first time.
    pub first: Duration,
    /// Doubling ends here.
    pub longest: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self {
            faults: 5,
            window: Duration::from_secs(60),
            first: Duration::from_secs(1),
            longest: Duration::from_secs(300),
        }
    }
}

/// How a plugin is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It is called.
    Well,
    /// It is not called until then.
    SetAside {
        /// When one call tries it again.
        until: Instant,
    },
    /// One call is trying it; others are not made.
    Trying {
        /// Since when.
        since: Instant,
    },
}

/// A try that has not come back after this long is taken for lost, with the worker it was in.
const LOST: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Health {
    rules: BackOff,
    condition: Condition,
    /// Times of the last faults, oldest first, at most `rules.faults`.
    faults: VecDeque<Instant>,
    /// For how long it was last set aside, and when it came back.
    last: Duration,
    recovered: Option<Instant>,
}

impl Health {
    pub(crate) fn new(rules: BackOff) -> Self {
        Self {
            rules,
            condition: Condition::Well,
            faults: VecDeque::new(),
            last: Duration::ZERO,
            recovered: None,
        }
    }

    pub(crate) fn condition(&self) -> Condition {
        self.condition
    }

    /// Whether a call may be made; if not, for how long not.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.condition {
            Condition::Well => return Ok(()),
            Condition::SetAside { until } if now < until => {
                return Err(until.saturating_duration_since(now));
            }
            Condition::Trying { since } if now.saturating_duration_since(since) < LOST => {
                return Err(Duration::ZERO);
            }
            Condition::SetAside { .. } | Condition::Trying { .. } => {}
        }
        self.condition = Condition::Trying { since: now };
        Ok(())
    }

    /// A call gave an answer.
    pub(crate) fn succeeded(&mut self, now: Instant) {
        // A call that began before the plugin was set aside proves nothing.
        if matches!(self.condition, Condition::Trying { .. }) {
            self.condition = Condition::Well;
            self.recovered = Some(now);
            self.faults.clear();
        }
    }

    /// A call gave a fault.
    pub(crate) fn failed(&mut self, now: Instant) {
        match self.condition {
            Condition::SetAside { .. } => {}
            Condition::Trying { .. } => self.set_aside(now, self.last.saturating_mul(2)),
            Condition::Well => {
                if self.faults.len() >= self.rules.faults {
                    self.faults.pop_front();
                }
                self.faults.push_back(now);
                let close = self.faults.front().is_some_and(|oldest| {
                    now.saturating_duration_since(*oldest) <= self.rules.window
                });
                if self.faults.len() >= self.rules.faults && close {
                    let again = self.recovered.is_some_and(|when| {
                        now.saturating_duration_since(when) <= self.rules.window
                    });
                    let back_off = if again {
                        self.last.saturating_mul(2)
                    } else {
                        self.rules.first
                    };
                    self.set_aside(now, back_off);
                }
            }
        }
    }

    fn set_aside(&mut self, now: Instant, back_off: Duration) {
        self.last = back_off.min(self.rules.longest);
        self.condition = Condition::SetAside {
            until: now + self.last,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn failing(health: &mut Health, now: Instant, times: usize) {
        for _ in 0..times {
            health.admit(now).expect("still called");
            health.failed(now);
        }
    }

    #[test]
    fn faults_close_together_set_aside() {
        let (mut health, now) = (Health::new(BackOff::default()), Instant::now());
        failing(&mut health, now, 5);
        assert_eq!(health.admit(now + 999 * MS), Err(MS));
        assert_eq!(health.admit(now + 1000 * MS), Ok(()));
    }

    #[test]
    fn faults_far_apart_do_not() {
        let (mut health, start) = (Health::new(BackOff::default()), Instant::now());
        for minute in 0..50 {
            failing(&mut health, start + Duration::from_secs(16 * minute), 1);
        }
        assert_eq!(health.condition(), Condition::Well);
    }

    #[test]
    fn one_call_tries_and_its_success_brings_back() {
        let (mut health, now) = (Health::new(BackOff::default()), Instant::now());
        failing(&mut health, now, 5);
        let later = now + 1000 * MS;
        health.admit(later).expect("the try");
        assert!(health.admit(later).is_err(), "a second one beside it");
        health.succeeded(later);
        assert_eq!(health.condition(), Condition::Well);
    }

    #[test]
    fn failed_tries_double_the_back_off_up_to_the_longest() {
        let (mut health, mut now) = (Health::new(BackOff::default()), Instant::now());
        failing(&mut health, now, 5);
        let mut waits = Vec::new();
        for _ in 0..11 {
            let Condition::SetAside { until } = health.condition() else {
                panic!("set aside");
            };
            waits.push((until - now).as_secs());
            now = until;
            failing(&mut health, now, 1);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn what_fails_again_soon_after_it_came_back_waits_longer() {
        let (mut health, now) = (Health::new(BackOff::default()), Instant::now());
        failing(&mut health, now, 5);
        let later = now + 1000 * MS;
        health.admit(later).expect("the try");
        health.succeeded(later);
        failing(&mut health, later, 5);
        assert_eq!(health.admit(later), Err(2000 * MS));
    }

    #[test]
    fn an_answer_from_before_does_not_bring_back() {
        let (mut health, now) = (Health::new(BackOff::default()), Instant::now());
        failing(&mut health, now, 5);
        health.succeeded(now);
        assert!(health.admit(now).is_err());
    }

    #[test]
    fn a_try_that_never_returns_is_replaced() {
        let (mut health, now) = (Health::new(BackOff::default()), Instant::now());
        failing(&mut health, now, 5);
        let later = now + 1000 * MS;
        health.admit(later).expect("the try");
        assert_eq!(health.admit(later + LOST), Ok(()));
    }
}
