//! `/healthz`, `/readyz` and `/metrics`, over plain HTTP on loopback by default.

use crate::hub::Hub;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Figures that are kept as they happen.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Seconds of each compilation.
    pub compile_seconds: Histogram,
    /// Stored rows that cannot be read.
    pub unreadable: Gauge,
    /// Views sent on to the hub.
    pub views: Counter,
}

/// What the handlers look at.
#[derive(Clone)]
pub struct Health {
    hub: Arc<Hub>,
    ready: Arc<AtomicBool>,
    registry: Arc<Registry>,
    gauges: Gauges,
}

#[derive(Clone, Default)]
struct Gauges {
    known: Gauge,
    connected: Gauge,
    converged: Gauge,
    degraded: Gauge,
    frozen: Gauge,
    compiled: Gauge,
}

// === impl Health ===

impl Health {
    /// Not ready yet.
    pub fn new(hub: Arc<Hub>) -> (Self, Metrics) {
        let metrics = Metrics {
            compile_seconds: Histogram::new([
                0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0,
            ]),
            unreadable: Gauge::default(),
            views: Counter::default(),
        };
        let gauges = Gauges::default();
        let mut registry = Registry::with_prefix("palisade");
        registry.register(
            "compile_seconds",
            "Duration of compilations",
            metrics.compile_seconds.clone(),
        );
        registry.register(
            "unreadable_rows",
            "Rows of the store that cannot be read",
            metrics.unreadable.clone(),
        );
        registry.register(
            "views_compiled",
            "Node views that changed",
            metrics.views.clone(),
        );
        registry.register(
            "nodes_known",
            "Nodes with a view or a stream",
            gauges.known.clone(),
        );
        registry.register(
            "nodes_connected",
            "Nodes with a stream",
            gauges.connected.clone(),
        );
        registry.register(
            "nodes_converged",
            "Nodes that enforce what is desired",
            gauges.converged.clone(),
        );
        registry.register(
            "nodes_degraded",
            "Nodes that run on something other than what is desired: they refused it, or their machine failed",
            gauges.degraded.clone(),
        );
        registry.register(
            "nodes_frozen",
            "Nodes that keep what they have, because rows of the store cannot be read",
            gauges.frozen.clone(),
        );
        registry.register(
            "compiled_revision",
            "Revision that views of nodes that are not frozen are good for",
            gauges.compiled.clone(),
        );
        let health = Self {
            hub,
            ready: Arc::default(),
            registry: Arc::new(registry),
            gauges,
        };
        (health, metrics)
    }

    /// Ready, or not any more.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// The pages.
    pub fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self)
    }
}

/// Ready once everything has been compiled, and while every row of the store can be read.
async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    let not_ready = |why: &str| {
        let text = format!("not ready: {why}\n");
        (StatusCode::SERVICE_UNAVAILABLE, text)
    };
    if !health.ready.load(Ordering::Relaxed) {
        return not_ready("views have not been compiled yet, or the server is stopping");
    }
    match health.hub.unreadable().sentence() {
        none if none.is_empty() => (StatusCode::OK, "ready\n".to_owned()),
        told => not_ready(&told),
    }
}

async fn metrics(State(health): State<Health>) -> Result<String, StatusCode> {
    let totals = health.hub.totals();
    let set = |gauge: &Gauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    set(&health.gauges.known, totals.known);
    set(&health.gauges.connected, totals.connected);
    set(&health.gauges.converged, totals.converged);
    set(&health.gauges.degraded, totals.degraded);
    set(&health.gauges.frozen, totals.frozen);
    let compiled = health.hub.compiled();
    health
        .gauges
        .compiled
        .set(i64::try_from(compiled).unwrap_or(i64::MAX));
    let mut text = String::new();
    encode(&mut text, &health.registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(text)
}
