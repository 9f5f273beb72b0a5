//! `run`: connects, declares, and serves until it is told to stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::relay::Relay;
use super::topology::{declare, report};
use super::{Failure, build, end, failed, load};
use crate::cli::Exit;
use crate::ops::{metrics, shutdown};
use crate::store::redis::RedisStore;

/// `run`.
pub async fn run(path: &Path) -> Exit {
    end(run_relay(path).await)
}

async fn run_relay(path: &Path) -> Result<Exit, Failure> {
    let config = load(path)?;
    let stop = shutdown::on_signal().map_err(failed)?;
    let handle = metrics::install().map_err(failed)?;
    let (target, redis, broker) =
        (build::target(&config)?, build::redis_options(&config)?, build::broker_options(&config)?);
    let Some(store) = until(&stop, || RedisStore::connect(redis.clone())).await else {
        return Ok(Exit::Done);
    };
    let store = Arc::new(store);
    warn_of_eviction(&store).await;
    let Some(differences) = until(&stop, || declare(&broker, &config, &store)).await else {
        return Ok(Exit::Done);
    };
    report(&differences)?;
    tracing::info!(
        "the journal is filled, but not read yet: after a loss of Redis the events must be published again"
    );
    Relay::new(&config, broker, store, target).serve(&config, handle, stop).await
}

/// Tries until it succeeds or the relay is stopped; says each time what failed.
async fn until<T, E, F>(stop: &CancellationToken, mut what: impl FnMut() -> F) -> Option<T>
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let mut wait = Duration::from_millis(500);
    loop {
        let result = tokio::select! {
            () = stop.cancelled() => return None,
            result = what() => result,
        };
        match result {
            Ok(value) => return Some(value),
            Err(error) => tracing::warn!(retry_ms = wait.as_millis(), "{error}"),
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(Duration::from_secs(15));
    }
}
async fn warn_of_eviction(store: &RedisStore) {
    match store.info().await {
        Ok(info) if info.maxmemory_policy == "noeviction" => {
            tracing::info!(version = info.version, "the store is reached");
        }
        Ok(info) => tracing::warn!(
            policy = info.maxmemory_policy,
            "Redis may evict what the relay knows: set maxmemory-policy to noeviction"
        ),
        Err(error) => tracing::warn!(%error, "the store's settings are unknown"),
    }
}
