//! How long to wait before the next attempt: decorrelated jitter, so that a fleet does not come back as one.

use rand::Rng;
use std::time::Duration;

/// Waits between attempts: the first is short, the following ones are drawn between the lowest wait and three times
/// the one before, at most the highest.
#[derive(Clone, Debug)]
pub struct Backoff {
    lowest: Duration,
    highest: Duration,
    last: Option<Duration>,
}

impl Backoff {
    /// The stream's: 0.5 s to 30 s.
    pub const fn stream() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(30))
    }

    /// Between these two.
    pub const fn new(lowest: Duration, highest: Duration) -> Self {
        Self {
            lowest,
            highest,
            last: None,
        }
    }

    /// The first wait is no shorter than the others.
    pub const fn never_at_once(mut self) -> Self {
        self.last = Some(self.lowest);
        self
    }

    /// The next wait. The first after a success is a tenth of the lowest at most: a control plane that restarts is
    /// found at once.
    pub fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let Some(last) = self.last else {
            self.last = Some(self.lowest);
            return rng.random_range(Duration::ZERO..=self.lowest / 10);
        };
        let wait = rng
            .random_range(self.lowest..=(last * 3).max(self.lowest))
            .min(self.highest);
        self.last = Some(wait);
        wait
    }

    /// An attempt succeeded.
    pub fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn waits_stay_between_the_bounds_and_the_first_is_short() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut backoff = Backoff::stream();
        assert!(backoff.next(&mut rng) <= Duration::from_millis(50));
        let waits: Vec<_> = (0..200).map(|_| backoff.next(&mut rng)).collect();
        assert!(waits.iter().all(|w| *w >= Duration::from_millis(500)));
        assert!(waits.iter().all(|w| *w <= Duration::from_secs(30)));
        assert!(waits.iter().any(|w| *w > Duration::from_secs(10)));
        backoff.reset();
        assert!(backoff.next(&mut rng) <= Duration::from_millis(50));
        let mut patient = Backoff::stream().never_at_once();
        assert!(patient.next(&mut rng) >= Duration::from_millis(500));
    }
}
