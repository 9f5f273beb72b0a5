//! The parts of a running relay, wired, and its tasks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Failure, build};
use crate::broker::connection::BrokerOptions;
use crate::broker::consumer::{AmqpConsumer, ConsumerOptions};
use crate::broker::inspector::Inspector;
use crate::broker::publisher::AmqpPublisher;
use crate::broker::stream::AmqpStream;
use crate::broker::topology::Names;
use crate::cli::Exit;
use crate::config::Config;
use crate::ops::admin::{Admin, Probes};
use crate::ops::clock::{SystemClock, ulid};
use crate::ops::metrics;
use crate::pipeline::flush::{Backlog, Flush};
use crate::pipeline::gate::Gate;
use crate::pipeline::intake::Intake;
use crate::pipeline::letters::Letters;
use crate::pipeline::ports::{Clock, Store, StoreError};
use crate::pipeline::recover::{Recovery, Streams};
use crate::pipeline::settings::Settings;
use crate::store::redis::RedisStore;
use crate::target::HttpTarget;

/// The parts of a running relay.
pub(super) struct Relay {
    store: Arc<RedisStore>,
    intake: Intake<RedisStore, AmqpPublisher>,
    flush: Arc<Flush<RedisStore, HttpTarget, AmqpPublisher>>,
    consumer: AmqpConsumer,
    consuming: watch::Receiver<bool>,
    letters: Arc<LetterQueues>,
    recovery: Watch,
    gate: Arc<Gate>,
}

/// What watches the store.
type Watch = Recovery<RedisStore, AmqpPublisher, AmqpStream>;

/// The stages, wired.
pub(super) struct Stages {
    pub(super) intake: Intake<RedisStore, AmqpPublisher>,
    pub(super) flush: Flush<RedisStore, HttpTarget, AmqpPublisher>,
    letters: Arc<Letters<AmqpPublisher>>,
    settings: Arc<Settings>,
}

/// Builds the stages; nothing is connected that is not used. At `stop` nobody waits for the budget any more.
pub(super) fn stages(
    config: &Config,
    broker: BrokerOptions,
    store: Arc<RedisStore>,
    target: HttpTarget,
    stop: CancellationToken,
) -> Stages {
    let target = target.budgeted(build::limiter(config, store.clone(), stop));
    let settings = Arc::new(build::settings(config));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let publisher = Arc::new(AmqpPublisher::new(broker));
    let (routes, name) = (settings.routes.clone(), settings.target.clone());
    let letters = Letters::new(publisher, clock.clone(), routes, name, ulid).indexed(store.clone());
    let letters = Arc::new(letters);
    let (wake, backlog) = (Arc::new(Notify::new()), Arc::new(Backlog::default()));
    let intake = Intake::new(
        store.clone(),
        letters.clone(),
        clock.clone(),
        settings.clone(),
        wake.clone(),
        backlog.clone(),
    );
    let target = Arc::new(target);
    let flush = Flush::new(store, target, letters.clone(), clock, settings.clone(), ulid(), wake, backlog);
    Stages { intake, flush, letters, settings }
}

/// Tasks of the process: one that ends with an error, or before it was told to, ends them all.
pub(super) type Tasks = JoinSet<Result<(), String>>;

impl Relay {
    pub(super) fn new(
        config: &Config,
        broker: BrokerOptions,
        store: Arc<RedisStore>,
        target: HttpTarget,
        stop: CancellationToken,
    ) -> Self {
        let Stages { intake, flush, letters, settings } =
            stages(config, broker.clone(), store.clone(), target, stop);
        let gate = Arc::new(Gate::closed());
        let (intake, flush) = (intake.behind(gate.clone()), Arc::new(flush.behind(gate.clone())));
        let names = Names::new(&config.target.name);
        let (consuming_tx, consuming) = watch::channel(false);
        let queues = ConsumerOptions {
            urgent: names.of("urgent"),
            work: names.of("work"),
            intake: names.of("intake"),
            prefetch: config.amqp.prefetch,
        };
        let consumer = AmqpConsumer::new(broker.clone(), queues, consuming_tx);
        let stream = |name| AmqpStream::new(broker.clone(), names.of(name));
        let streams = || Streams { journal: stream("journal"), outcomes: stream("outcomes") };
        let streams = config.journal_enabled.then(streams);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let recovery =
            Recovery::new(store.clone(), letters, streams, gate.clone(), clock, settings, ulid(), ulid);
        let letters = Arc::new(LetterQueues {
            inspector: Inspector::new(broker),
            dead: names.of("dead"),
            held: names.of("held"),
            rungs: config.delays.iter().map(|delay| names.rung(*delay)).collect(),
        });
        Self { store, intake, flush, consumer, consuming, letters, recovery, gate }
    }

    /// Runs all tasks until `stop`, then lets them finish what is in flight.
    pub(super) async fn serve(
        self,
        config: &Config,
        mut tasks: Tasks,
        admin: &Admin,
        stop: CancellationToken,
    ) -> Result<Exit, Failure> {
        admin.started(self.probes());
        let Relay { intake, flush, consumer, recovery, .. } = self;
        let token = stop.clone();
        tasks.spawn(async move {
            intake.run(consumer, token).await;
            Ok(())
        });
        let token = stop.clone();
        tasks.spawn(async move {
            recovery.run(token).await;
            Ok(())
        });
        let token = stop.clone();
        tasks.spawn(async move {
            flush.run(token).await;
            Ok(())
        });
        watch_tasks(tasks, config.shutdown_timeout, &stop).await
    }

    fn probes(&self) -> Probes {
        let (store, consuming, gate) = (self.store.clone(), self.consuming.clone(), self.gate.clone());
        let missing = move || -> std::pin::Pin<Box<dyn Future<Output = Vec<String>> + Send>> {
            let (store, consuming, open) = (store.clone(), *consuming.borrow(), gate.is_open());
            Box::pin(async move {
                let broker = (!consuming).then(|| "not consuming from RabbitMQ".to_owned());
                let redis = ping(&store).await.err().map(|error| error.to_string());
                let closed = (!open).then(|| "the store is being recovered: nothing is sent".to_owned());
                broker.into_iter().chain(redis).chain(closed).collect()
            })
        };
        let (store, letters) = (self.store.clone(), self.letters.clone());
        let refresh = move || -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
            let (store, letters) = (store.clone(), letters.clone());
            Box::pin(async move {
                metrics::refresh(&*store, SystemClock.now()).await;
                // a broker that does not answer leaves them as they were
                let _ = tokio::time::timeout(Duration::from_secs(2), letters.refresh()).await;
            })
        };
        Probes { missing: Box::new(missing), refresh: Box::new(refresh) }
    }
}

/// The queues that hold letters, counted for the metrics.
struct LetterQueues {
    inspector: Inspector,
    dead: String,
    held: String,
    rungs: Vec<String>,
}

impl LetterQueues {
    async fn refresh(&self) {
        if let Ok(letters) = self.inspector.ready(&self.dead).await {
            ::metrics::gauge!("scim_relay_dead_letters").set(f64::from(letters));
        }
        if let Ok(letters) = self.inspector.ready(&self.held).await {
            ::metrics::gauge!("scim_relay_held_changes").set(f64::from(letters));
        }
        let mut waiting = 0;
        for rung in &self.rungs {
            match self.inspector.ready(rung).await {
                Ok(letters) => waiting += letters,
                Err(_) => return,
            }
        }
        ::metrics::gauge!("scim_relay_retry_waiting").set(f64::from(waiting));
    }
}

/// An answer within a moment, or none.
async fn ping(store: &RedisStore) -> Result<(), String> {
    match tokio::time::timeout(Duration::from_secs(2), store.ping()).await {
        Ok(answer) => answer.map_err(|error: StoreError| error.to_string()),
        Err(_) => Err("Redis does not answer".into()),
    }
}

/// Why a task has ended that should not have.
pub(super) fn ended(done: Result<Result<(), String>, JoinError>) -> String {
    match done {
        Ok(Ok(())) => "a task of the relay ended by itself".to_owned(),
        Ok(Err(error)) => error,
        Err(error) => error.to_string(),
    }
}

/// A task that ends before it was told to ends the process; so does a panic, loudly.
async fn watch_tasks(mut tasks: Tasks, timeout: Duration, stop: &CancellationToken) -> Result<Exit, Failure> {
    let mut failure = None;
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        Some(done) = tasks.join_next() => {
            failure = Some(ended(done));
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
