//! Figures of the daemon, for `/metrics` and `/readyz`.

use crate::log;
use palisade_policy::resolve::EndpointState;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

mod plugins;

pub use plugins::PluginMetrics;

/// Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    ready: Arc<AtomicBool>,
    /// 1 while a stream is welcome.
    pub connected: Gauge,
    /// Streams that were opened.
    pub connections: Counter,
    /// Revision of the view held.
    pub held_revision: Gauge,
    /// Revision of the view enforced.
    pub enforced_revision: Gauge,
    /// Transactions enforced.
    pub applied: Counter,
    /// Transactions refused.
    pub refused: Counter,
    /// From commit received to read-back done, in seconds.
    pub apply_seconds: Histogram,
    /// Changes of our tables by others.
    pub foreign_changes: Counter,
    /// 1 while the kernel is not as it should be.
    pub troubled: Gauge,
    /// Endpoints of the view by state.
    endpoints: Family<[(&'static str, &'static str); 1], Gauge>,
    /// Of plugins and audit.
    pub plugins: PluginMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = [
            0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0,
        ];
        let mut metrics = Self {
            registry: Arc::default(),
            ready: Arc::default(),
            connected: Gauge::default(),
            connections: Counter::default(),
            held_revision: Gauge::default(),
            enforced_revision: Gauge::default(),
            applied: Counter::default(),
            refused: Counter::default(),
            apply_seconds: Histogram::new(buckets),
            foreign_changes: Counter::default(),
            troubled: Gauge::default(),
            endpoints: Family::default(),
            plugins: PluginMetrics::default(),
        };
        let mut registry = Registry::with_prefix("palisade_node");
        let m = &metrics;
        registry.register("connected", "1 while a stream is open", m.connected.clone());
        registry.register("connections", "Streams opened", m.connections.clone());
        registry.register(
            "held_revision",
            "Revision of the view held",
            m.held_revision.clone(),
        );
        registry.register(
            "enforced_revision",
            "Revision of the view enforced",
            m.enforced_revision.clone(),
        );
        registry.register("applied", "Transactions enforced", m.applied.clone());
        registry.register("refused", "Transactions refused", m.refused.clone());
        registry.register(
            "apply_seconds",
            "From commit received to read-back done",
            m.apply_seconds.clone(),
        );
        registry.register(
            "foreign_changes",
            "Changes of our tables by others, repaired",
            m.foreign_changes.clone(),
        );
        registry.register(
            "troubled",
            "1 while the kernel is not as it should be",
            m.troubled.clone(),
        );
        registry.register(
            "endpoints",
            "Endpoints of the view by state",
            m.endpoints.clone(),
        );
        registry.register(
            "log_lost",
            "Lines of the log that were lost",
            log::stderr().lost().clone(),
        );
        m.plugins.register(&mut registry);
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    /// Prometheus text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Counts endpoints by state.
    pub fn count_endpoints<'a>(&self, states: impl IntoIterator<Item = &'a EndpointState>) {
        let mut counts = [("up", 0), ("down", 0), ("error", 0)];
        for state in states {
            let [up, down, error] = &mut counts;
            let (_, count) = match state {
                EndpointState::Up => up,
                EndpointState::Down => down,
                EndpointState::Error(_) => error,
            };
            *count += 1;
        }
        for (state, count) in counts {
            self.endpoints.get_or_create(&[("state", state)]).set(count);
        }
    }

    /// Whether the view held is enforced now.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Says so.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_policy::resolve::Idle;

    #[test]
    fn endpoints_are_counted_by_state_and_none_of_a_state_is_said_too() {
        let metrics = Metrics::default();
        let error = EndpointState::Error(Idle::NoAddress);
        metrics.count_endpoints([&EndpointState::Up, &error, &EndpointState::Up]);
        let text = metrics.text();
        for line in [
            "palisade_node_endpoints{state=\"up\"} 2",
            "palisade_node_endpoints{state=\"down\"} 0",
            "palisade_node_endpoints{state=\"error\"} 1",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
