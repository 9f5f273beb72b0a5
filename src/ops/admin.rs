//! The admin endpoint: `/livez` depends on nothing, `/readyz` says what is missing, `/metrics` is for Prometheus.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the endpoint needs to know.
#[derive(Clone)]
pub struct Admin {
    /// What keeps the replica from being ready; empty: it is.
    pub missing: Arc<dyn Fn() -> Answer<Vec<String>> + Send + Sync>,
    /// Brings the gauges up to date before they are read.
    pub refresh: Arc<dyn Fn() -> Answer<()> + Send + Sync>,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admin")
    }
}

impl Admin {
    /// Serves until `stop`.
    pub async fn serve(self, listen: SocketAddr, stop: CancellationToken) -> std::io::Result<()> {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        tracing::info!("admin listening on http://{}", listener.local_addr()?);
        let router = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(render))
            .with_state(self);
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    let missing = (admin.missing)().await;
    match missing.is_empty() {
        true => (StatusCode::OK, "ready\n".into()),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", missing.join("\n"))),
    }
}

async fn render(State(admin): State<Admin>) -> String {
    (admin.refresh)().await;
    admin.metrics.render()
}
