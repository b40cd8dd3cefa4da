//! `/healthz`, `/readyz`, `/metrics`: for the machine itself, loopback by default, no secrets.

use crate::{condition::Condition, enforce::Reconciler, metrics::Metrics};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use std::{net::SocketAddr, time::Duration};
use tokio::net::TcpListener;

const KIND: &str = "HttpUnavailable";
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Until the address is tried again, should it be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves for ever. While the address cannot be listened on, that is a condition: nothing of enforcement waits for it.
pub async fn serve(listen: SocketAddr, metrics: Metrics, reconciler: Reconciler) {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text))
        .with_state(metrics);
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => {
                reconciler.condition(KIND, None).await;
                if let Err(err) = axum::serve(listener, router.clone()).await {
                    tracing::error!(%err, "http ended");
                }
            }
            Err(err) => {
                let condition = Condition {
                    kind: KIND,
                    reason: "NotBound",
                    message: format!(
                        "/metrics and /readyz are not served: listen on {listen}: {err}; it is tried again, or give \
                         another address with --http-listen"
                    ),
                };
                reconciler.condition(KIND, Some(condition)).await;
            }
        }
        tokio::time::sleep(PATIENCE).await;
    }
}

async fn readyz(State(metrics): State<Metrics>) -> impl IntoResponse {
    if metrics.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not everything is as it should be: see `palisade-node status`\n",
        )
    }
}

async fn text(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(CONTENT_TYPE, TEXT)], metrics.text())
}
