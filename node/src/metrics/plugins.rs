//! Figures of plugins, of the queue in front of matchers, and of audit.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

type Labels<const N: usize> = [(&'static str, String); N];

/// Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct PluginMetrics {
    /// What plugins count themselves.
    counts: Family<Labels<2>, Counter>,
    /// What plugins observe themselves.
    samples: Family<Labels<2>, Histogram, fn() -> Histogram>,
    /// Packets that were asked about, by what came of it: `answered`, `failed`, `stale`, `untagged`, `malformed`.
    packets: Family<Labels<1>, Counter>,
    /// Packets that the kernel dropped on their way to us.
    queue_lost: Gauge,
    /// Answers that the kernel was told to remember.
    remembered: Counter,
    /// Events that auditors were shown.
    audited: Counter,
    /// Events that were lost before they were shown, or because an auditor failed.
    audit_lost: Gauge,
    /// Records that sinks did not take.
    unwritten: Gauge,
}

fn histogram() -> Histogram {
    // Plugins measure what they like: a wide scale.
    Histogram::new([0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0])
}

impl Default for PluginMetrics {
    fn default() -> Self {
        Self {
            counts: Family::default(),
            samples: Family::new_with_constructor(histogram),
            packets: Family::default(),
            queue_lost: Gauge::default(),
            remembered: Counter::default(),
            audited: Counter::default(),
            audit_lost: Gauge::default(),
            unwritten: Gauge::default(),
        }
    }
}

impl PluginMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("plugin", "What plugins count", self.counts.clone());
        registry.register(
            "plugin_observed",
            "What plugins observe",
            self.samples.clone(),
        );
        registry.register(
            "queued_packets",
            "Packets that plugins were asked about",
            self.packets.clone(),
        );
        registry.register(
            "queue_lost",
            "Packets dropped on their way to plugins",
            self.queue_lost.clone(),
        );
        registry.register(
            "remembered",
            "Answers that the kernel was told to remember",
            self.remembered.clone(),
        );
        registry.register(
            "audited",
            "Events that auditors were shown",
            self.audited.clone(),
        );
        registry.register(
            "audit_lost",
            "Events that are lost",
            self.audit_lost.clone(),
        );
        registry.register(
            "audit_unwritten",
            "Records that sinks did not take",
            self.unwritten.clone(),
        );
    }

    /// A plugin counts. Names are bounded by its manifest.
    pub fn count(&self, plugin: &str, metric: &str, by: u64) {
        let labels = [("plugin", plugin.to_owned()), ("metric", metric.to_owned())];
        self.counts.get_or_create(&labels).inc_by(by);
    }

    /// A plugin observes. Names are bounded by its manifest.
    pub fn observe(&self, plugin: &str, metric: &str, value: f64) {
        let labels = [("plugin", plugin.to_owned()), ("metric", metric.to_owned())];
        self.samples.get_or_create(&labels).observe(value);
    }

    /// What came of a packet that was queued.
    pub fn packet(&self, outcome: &'static str) {
        let labels = [("outcome", outcome.to_owned())];
        self.packets.get_or_create(&labels).inc();
    }

    /// So many more packets were lost, in any of the queues.
    pub fn queue_lost(&self, more: u64) {
        self.queue_lost.inc_by(figure(more));
    }

    /// Answers given to the kernel.
    pub fn remembered(&self, count: usize) {
        self.remembered.inc_by(u64::try_from(count).unwrap_or(0));
    }

    /// Events shown.
    pub fn audited(&self, count: usize) {
        self.audited.inc_by(u64::try_from(count).unwrap_or(0));
    }

    /// So many more events were lost, and records not written.
    pub fn audit_lost(&self, events: u64, records: u64) {
        self.audit_lost.inc_by(figure(events));
        self.unwritten.inc_by(figure(records));
    }
}

fn figure(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
