//! Many measurements, few figures.

use std::time::Duration;

/// Durations of one thing that was done many times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(Vec<Duration>);

impl Figures {
    /// One more.
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The shortest.
    pub(crate) fn least(&self) -> Duration {
        self.percentile(0)
    }

    /// The middle one.
    pub(crate) fn p50(&self) -> Duration {
        self.percentile(50)
    }

    /// All but one of a hundred are at most this.
    pub(crate) fn p99(&self) -> Duration {
        self.percentile(99)
    }

    /// Nearest rank; zero where nothing was measured.
    fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }
}

impl FromIterator<Duration> for Figures {
    fn from_iter<T: IntoIterator<Item = Duration>>(durations: T) -> Self {
        Self(durations.into_iter().collect())
    }
}

impl Extend<Duration> for Figures {
    fn extend<T: IntoIterator<Item = Duration>>(&mut self, durations: T) {
        self.0.extend(durations);
    }
}

/// In milliseconds, with as many digits as mean something.
pub(crate) fn milliseconds(duration: Duration) -> String {
    let value = duration.as_secs_f64() * 1e3;
    let digits = match value {
        ..0.1 => 3,
        ..10.0 => 2,
        _ => 1,
    };
    format!("{value:.digits$}")
}

/// How many times `of` goes into it.
pub(crate) fn ratio(value: Duration, of: Duration) -> String {
    if of.is_zero() {
        return "-".to_owned();
    }
    format!("{:.2}", value.as_secs_f64() / of.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::Figures;
    use std::time::Duration;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut figures = Figures::default();
        assert_eq!(figures.p50(), Duration::ZERO);
        figures.extend((1..=200).rev().map(Duration::from_millis));
        assert_eq!(figures.least(), Duration::from_millis(1));
        assert_eq!(figures.p50(), Duration::from_millis(100));
        assert_eq!(figures.p99(), Duration::from_millis(198));
    }
}
