//! `run`: connects, declares, and serves until it is told to stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::relay::{Relay, Tasks, ended};
use super::topology::{declare, report};
use super::{Failure, build, end, failed, load};
use crate::broker::connection::BrokerOptions;
use crate::cli::Exit;
use crate::config::Config;
use crate::ops::admin::Admin;
use crate::ops::{metrics, shutdown};
use crate::store::redis::RedisStore;

/// `run`.
pub async fn run(path: &Path) -> Exit {
    end(run_relay(path).await)
}

async fn run_relay(path: &Path) -> Result<Exit, Failure> {
    let config = load(path)?;
    let stop = shutdown::on_signal().map_err(failed)?;
    let admin = Admin::new(metrics::install().map_err(failed)?);
    let (target, broker) = (build::target(&config)?, build::broker_options(&config)?);
    let profile = &config.target.profile;
    tracing::info!(profile = profile.name, verified = profile.verified, "the target's profile");
    if !config.journal_enabled {
        tracing::warn!(
            "journal.enabled is false: what is merged and not yet written is lost with Redis, ownership of attributes and members is not \
             rebuilt, the guard's windows begin empty, and outcomes are not kept. A journal that exists stays as it is"
        );
    }
    let mut tasks = Tasks::new();
    let serving = admin.clone().serve(config.listen, stop.clone());
    let address = config.listen;
    tasks.spawn(async move { serving.await.map_err(|error| format!("admin.listen {address}: {error}")) });
    let prepared = tokio::select! {
        biased;
        prepared = prepare(&config, &broker, &stop) => prepared?,
        Some(done) = tasks.join_next() => match stop.is_cancelled() {
            // a stop ends the endpoint too, perhaps before whatever is being prepared notices
            true => None,
            false => return Err((ended(done), Exit::Failed)),
        },
    };
    match prepared {
        Some(store) => {
            let relay = Relay::new(&config, broker, store, target, stop.clone());
            relay.serve(&config, tasks, &admin, stop).await
        }
        None => Ok(Exit::Done),
    }
}

/// Reaches the store and the broker, and declares the topology; none: stopped before.
async fn prepare(
    config: &Config,
    broker: &BrokerOptions,
    stop: &CancellationToken,
) -> Result<Option<Arc<RedisStore>>, Failure> {
    let redis = build::redis_options(config)?;
    let Some(store) = until(stop, || RedisStore::connect(redis.clone())).await else { return Ok(None) };
    warn_of_eviction(&store).await;
    let Some(differences) = until(stop, || declare(broker, config, &store)).await else { return Ok(None) };
    report(&differences)?;
    Ok(Some(Arc::new(store)))
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
