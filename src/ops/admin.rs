//! The admin endpoint: `/livez` depends on nothing, `/readyz` says what is missing, `/metrics` is for Prometheus.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

/// The text format of Prometheus.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the endpoint asks the parts of the relay.
pub struct Probes {
    /// What keeps the replica from being ready; empty: it is.
    pub missing: Box<dyn Fn() -> Answer<Vec<String>> + Send + Sync>,
    /// Brings the gauges up to date before they are read.
    pub refresh: Box<dyn Fn() -> Answer<()> + Send + Sync>,
}

impl std::fmt::Debug for Probes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probes")
    }
}

/// The endpoint. It is served before RabbitMQ and Redis are reached, or whoever asks whether the process lives would end
/// it because one of them does not.
#[derive(Clone)]
pub struct Admin {
    probes: Arc<OnceLock<Probes>>,
    metrics: PrometheusHandle,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admin")
    }
}

impl Admin {
    /// Not ready until it is told how to find out.
    pub fn new(metrics: PrometheusHandle) -> Self {
        Self { probes: Arc::default(), metrics }
    }

    /// From now on the parts are there, and can be asked.
    pub fn started(&self, probes: Probes) {
        // a second call, which nobody makes, would change nothing
        let _ = self.probes.set(probes);
    }

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
    let missing = match admin.probes.get() {
        Some(probes) => (probes.missing)().await,
        None => vec!["starting: RabbitMQ and Redis were not both reached yet".to_owned()],
    };
    match missing.is_empty() {
        true => (StatusCode::OK, "ready\n".into()),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", missing.join("\n"))),
    }
}

async fn render(State(admin): State<Admin>) -> ([(HeaderName, &'static str); 1], String) {
    if let Some(probes) = admin.probes.get() {
        (probes.refresh)().await;
    }
    ([(CONTENT_TYPE, EXPOSITION)], admin.metrics.render())
}
