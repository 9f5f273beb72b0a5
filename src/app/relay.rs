//! The parts of a running relay, wired, and its tasks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Failure, build};
use crate::broker::connection::BrokerOptions;
use crate::broker::consumer::{AmqpConsumer, ConsumerOptions};
use crate::broker::inspector::Inspector;
use crate::broker::publisher::AmqpPublisher;
use crate::broker::topology::Names;
use crate::cli::Exit;
use crate::config::Config;
use crate::ops::admin::Admin;
use crate::ops::clock::{SystemClock, ulid};
use crate::ops::metrics;
use crate::pipeline::flush::{Backlog, Flush};
use crate::pipeline::intake::Intake;
use crate::pipeline::letters::Letters;
use crate::pipeline::ports::{Clock, Store, StoreError};
use crate::store::redis::RedisStore;
use crate::target::HttpTarget;

/// The parts of a running relay.
pub(super) struct Relay {
    store: Arc<RedisStore>,
    intake: Intake<RedisStore, AmqpPublisher>,
    flush: Arc<Flush<RedisStore, HttpTarget, AmqpPublisher>>,
    consumer: AmqpConsumer,
    consuming: watch::Receiver<bool>,
    inspector: Arc<Inspector>,
    names: Names,
}

impl Relay {
    pub(super) fn new(
        config: &Config,
        broker: BrokerOptions,
        store: Arc<RedisStore>,
        target: HttpTarget,
    ) -> Self {
        let settings = Arc::new(build::settings(config));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let publisher = Arc::new(AmqpPublisher::new(broker.clone()));
        let letters =
            Letters::new(publisher, clock.clone(), settings.routes.clone(), settings.target.clone(), ulid);
        let letters = Arc::new(letters);
        let (wake, backlog) = (Arc::new(Notify::new()), Arc::new(Backlog::default()));
        let names = Names::new(&config.target.name);
        let (consuming_tx, consuming) = watch::channel(false);
        let queues = ConsumerOptions {
            urgent: names.of("urgent"),
            work: names.of("work"),
            intake: names.of("intake"),
            prefetch: config.amqp.prefetch,
        };
        let intake = Intake::new(
            store.clone(),
            letters.clone(),
            clock.clone(),
            settings.clone(),
            wake.clone(),
            backlog.clone(),
        );
        let target = Arc::new(target);
        let flush = Flush::new(store.clone(), target, letters, clock, settings, ulid(), wake, backlog);
        Self {
            store,
            intake,
            flush: Arc::new(flush),
            consumer: AmqpConsumer::new(broker.clone(), queues, consuming_tx),
            consuming,
            inspector: Arc::new(Inspector::new(broker)),
            names,
        }
    }

    /// Runs all tasks until `stop`, then lets them finish what is in flight.
    pub(super) async fn serve(
        self,
        config: &Config,
        handle: metrics_exporter_prometheus::PrometheusHandle,
        stop: CancellationToken,
    ) -> Result<Exit, Failure> {
        let admin = self.admin(handle);
        let Relay { intake, flush, consumer, .. } = self;
        let mut tasks = JoinSet::new();
        let listen = config.listen;
        let token = stop.clone();
        let address = listen;
        tasks.spawn(async move {
            admin.serve(listen, token).await.map_err(|error| format!("admin.listen {address}: {error}"))
        });
        let token = stop.clone();
        tasks.spawn(async move {
            intake.run(consumer, token).await;
            Ok(())
        });
        let token = stop.clone();
        tasks.spawn(async move {
            flush.run(token).await;
            Ok(())
        });
        watch_tasks(tasks, config.shutdown_timeout, &stop).await
    }

    fn admin(&self, handle: metrics_exporter_prometheus::PrometheusHandle) -> Admin {
        let (store, consuming) = (self.store.clone(), self.consuming.clone());
        let missing = move || -> std::pin::Pin<Box<dyn Future<Output = Vec<String>> + Send>> {
            let (store, consuming) = (store.clone(), *consuming.borrow());
            Box::pin(async move {
                let broker = (!consuming).then(|| "not consuming from RabbitMQ".to_owned());
                let redis = ping(&store).await.err().map(|error| error.to_string());
                broker.into_iter().chain(redis).collect()
            })
        };
        let (store, inspector, dead) = (self.store.clone(), self.inspector.clone(), self.names.of("dead"));
        let refresh = move || -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
            let (store, inspector, dead) = (store.clone(), inspector.clone(), dead.clone());
            Box::pin(async move {
                metrics::refresh(&*store, SystemClock.now()).await;
                let counted = tokio::time::timeout(Duration::from_secs(2), inspector.ready(&dead)).await;
                if let Ok(Ok(letters)) = counted {
                    ::metrics::gauge!("scim_relay_dead_letters").set(f64::from(letters));
                }
            })
        };
        Admin { missing: Arc::new(missing), refresh: Arc::new(refresh), metrics: handle }
    }
}

/// An answer within a moment, or none.
async fn ping(store: &RedisStore) -> Result<(), String> {
    match tokio::time::timeout(Duration::from_secs(2), store.ping()).await {
        Ok(answer) => answer.map_err(|error: StoreError| error.to_string()),
        Err(_) => Err("Redis does not answer".into()),
    }
}

/// A task that ends before it was told to ends the process; so does a panic, loudly.
async fn watch_tasks(
    mut tasks: JoinSet<Result<(), String>>,
    timeout: Duration,
    stop: &CancellationToken,
) -> Result<Exit, Failure> {
    let mut failure = None;
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        Some(done) = tasks.join_next() => {
            failure = Some(match done {
                Ok(Ok(())) => "a task of the relay ended by itself".to_owned(),
                Ok(Err(error)) => error,
                Err(error) => error.to_string(),
            });
            stop.cancel();
        }
    }
    let drained = tokio::time::timeout(timeout, async {
        while let Some(done) = tasks.join_next().await {
            if let Err(error) = done {
                tracing::error!(%error, "a task of the relay broke");
            }
        }
    });
    let late = drained.await.is_err();
    match (failure, late) {
        (Some(failure), _) => Err((failure, Exit::Failed)),
        (None, true) => Err((
            "not everything in flight was finished within shutdown.timeout; nothing is lost".into(),
            Exit::Failed,
        )),
        (None, false) => {
            tracing::info!("stopped");
            Ok(Exit::Done)
        }
    }
}
