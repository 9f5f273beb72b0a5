//! The composition root: builds the parts from the configuration and wires them. Commands end in an [`Exit`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::connection::BrokerOptions;
use crate::broker::consumer::{AmqpConsumer, ConsumerOptions};
use crate::broker::feed::Feed;
use crate::broker::inspector::Inspector;
use crate::broker::publisher::AmqpPublisher;
use crate::broker::topology::{Declarer, Difference, Names, TopologyOptions};
use crate::cli::{Exit, Json, TopologyAction};
use crate::config::{Auth, Config, TlsFiles};
use crate::core::gap::Deprovisioning;
use crate::core::retry::Ladder;
use crate::ops::admin::Admin;
use crate::ops::clock::{SystemClock, system_time, ulid};
use crate::ops::metrics::Requests;
use crate::ops::{metrics, shutdown, telemetry};
use crate::pipeline::flush::{Backlog, Flush};
use crate::pipeline::intake::Intake;
use crate::pipeline::letters::Letters;
use crate::pipeline::ports::{Clock, Store, StoreError};
use crate::pipeline::settings::{Mode, ReferenceKind, Settings};
use crate::store::redis::{RedisOptions, RedisStore};
use crate::target::{AuthOptions, ClientAuth, ClientCredentials, HttpTarget, TargetOptions, TlsOptions};

/// Under which name the relay remembers what it bound.
const BOUND: &str = "bound";

/// A problem that ends a command: its text, and how the command ends.
type Failure = (String, Exit);

fn failed(error: impl std::fmt::Display) -> Failure {
    (error.to_string(), Exit::Failed)
}

/// Prints what ended a command.
fn end(result: Result<Exit, Failure>) -> Exit {
    match result {
        Ok(exit) => exit,
        Err((text, exit)) => {
            eprintln!("scim-relay: {text}");
            exit
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

/// Reads and parses the configuration, and starts logging.
fn load(path: &Path) -> Result<Config, Failure> {
    let environment = environment();
    telemetry::start(environment.get("RUST_LOG").map(String::as_str));
    // the provider of all TLS; a second installation, as in tests, keeps the first one
    let _ = rustls::crypto::ring::default_provider().install_default();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        let way = "write one with `scim-relay config example`, or name it with --config or SCIM_RELAY_CONFIG";
        (format!("the configuration {path} can't be read: {error}; {way}"), Exit::Usage)
    })?;
    let read = |path: &str| std::fs::read_to_string(path);
    Config::parse(&text, &environment, &read)
        .map_err(|error| (format!("{}: {error}", path.display()), Exit::Usage))
}

fn pem(path: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| (format!("the file {path} can't be read: {error}"), Exit::Usage))
}

fn pem_text(path: &str) -> Result<String, Failure> {
    String::from_utf8(pem(path)?).map_err(|_| (format!("the file {path} is not PEM"), Exit::Usage))
}

fn client_pem(tls: &TlsFiles) -> Result<Option<(Vec<u8>, Vec<u8>)>, Failure> {
    tls.client.as_ref().map(|(certificate, key)| Ok((pem(certificate)?, pem(key)?))).transpose()
}

fn broker_options(config: &Config) -> Result<BrokerOptions, Failure> {
    let amqp = &config.amqp;
    Ok(BrokerOptions {
        url: amqp.url.clone(),
        username: amqp.username.clone(),
        password: amqp.password.clone(),
        ca_pem: amqp.tls.ca.as_deref().map(pem_text).transpose()?,
        client_pem: client_pem(&amqp.tls)?,
        name: format!("scim-relay {}", config.target.name),
    })
}

fn topology_options(config: &Config) -> TopologyOptions {
    TopologyOptions {
        target: config.target.name.clone(),
        exchange: config.amqp.exchange.clone(),
        bindings: config.amqp.bindings.clone(),
        urgent_bindings: config.amqp.urgent_bindings.clone(),
        delivery_limit: config.amqp.delivery_limit,
        delays: config.delays.clone(),
        journal_max_age: config.journal_max_age,
        journal_max_bytes: config.journal_max_bytes,
        parked_ttl: config.parked_ttl,
    }
}

fn redis_options(config: &Config) -> Result<RedisOptions, Failure> {
    Ok(RedisOptions {
        urls: config.redis.urls.clone(),
        cluster: config.redis.cluster,
        key_prefix: config.redis.key_prefix.clone(),
        target: config.target.name.clone(),
        ca_pem: config.redis.tls.ca.as_deref().map(pem).transpose()?,
        client_pem: client_pem(&config.redis.tls)?,
        unique: ulid,
    })
}

fn target(config: &Config) -> Result<HttpTarget, Failure> {
    let tls = &config.target.tls;
    let identity = match &tls.client {
        Some((certificate, key)) => Some((pem_text(certificate)? + "\n" + &pem_text(key)?).into()),
        None => None,
    };
    let auth = match &config.target.auth {
        Auth::None => AuthOptions::None,
        Auth::Bearer(token) => AuthOptions::Bearer(token.clone()),
        Auth::ClientCredentials { token_url, client_id, client_secret, post, scope, refresh_before } => {
            AuthOptions::ClientCredentials(ClientCredentials {
                token_url: token_url.clone(),
                client_id: client_id.clone(),
                client_secret: client_secret.clone(),
                client_auth: if *post { ClientAuth::Post } else { ClientAuth::Basic },
                scope: scope.clone(),
                refresh_before: *refresh_before,
            })
        }
    };
    let options = TargetOptions {
        base_url: config.target.base_url.clone(),
        timeout: config.target.timeout,
        bulk_timeout: config.target.bulk_timeout,
        auth,
        tls: TlsOptions { ca_pem: tls.ca.as_deref().map(pem).transpose()?, identity_pem: identity },
    };
    HttpTarget::new(options, Arc::new(Requests), system_time)
        .map_err(|error| (error.to_string(), Exit::Usage))
}

fn settings(config: &Config) -> Settings {
    let names = Names::new(&config.target.name);
    let deprovisioning = |what: &str| match what {
        "delete" => Deprovisioning::Delete,
        "keep" => Deprovisioning::Keep,
        _ => Deprovisioning::Deactivate,
    };
    Settings {
        target: config.target.name.clone(),
        max_event_bytes: config.amqp.max_event_bytes,
        max_clock_skew: config.max_clock_skew,
        wait_for_base: config.wait_for_base,
        reference_wait: config.reference_wait,
        references: match config.reference.as_str() {
            "userName" => ReferenceKind::UserName,
            "email" => ReferenceKind::Email,
            _ => ReferenceKind::ExternalId,
        },
        adopt: config.adopt,
        mode: match config.mode.as_str() {
            "bulk" => Mode::Bulk,
            "single" => Mode::Single,
            _ => Mode::Auto,
        },
        max_operations: config.max_operations,
        max_bytes: config.max_bytes,
        linger: config.linger,
        catch_up: config.catch_up,
        concurrency: config.concurrency,
        ladder: Ladder { delays: config.delays.clone(), max_attempts: config.max_attempts },
        user: deprovisioning(&config.deprovision_user),
        group: deprovisioning(&config.deprovision_group),
        late_window: config.target.late_window,
        routes: names.routes(&config.delays),
    }
}

/// `run`.
pub async fn run(path: &Path) -> Exit {
    end(run_relay(path).await)
}

async fn run_relay(path: &Path) -> Result<Exit, Failure> {
    let config = load(path)?;
    let stop = shutdown::on_signal().map_err(failed)?;
    let handle = metrics::install().map_err(failed)?;
    let (target, redis, broker) = (target(&config)?, redis_options(&config)?, broker_options(&config)?);
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

/// Declares the topology, and removes bindings that the configuration no longer names.
async fn declare(
    broker: &BrokerOptions,
    config: &Config,
    store: &RedisStore,
) -> Result<Vec<Difference>, Box<dyn std::error::Error + Send + Sync>> {
    let topology = topology_options(config);
    let connection = broker.connect("topology").await?;
    let declarer = Declarer::new(broker, &connection);
    let differences = declarer.apply(&topology.objects()).await?;
    let wanted = topology.routes();
    let bound: (String, Vec<String>) = match store.recall(BOUND).await? {
        Some(note) => serde_json::from_str(&note).unwrap_or_default(),
        None => Default::default(),
    };
    let (exchange, keys) = bound;
    let gone: Vec<String> =
        keys.into_iter().filter(|key| exchange != topology.exchange || !wanted.contains(key)).collect();
    if !gone.is_empty() {
        let intake = Names::new(&topology.target).of("intake");
        declarer.unbind(&exchange, &intake, &gone).await?;
        tracing::info!(
            exchange,
            bindings = gone.join(" "),
            "bindings were removed: the configuration no longer names them"
        );
    }
    store.remember(BOUND, &serde_json::to_string(&(&topology.exchange, &wanted))?).await?;
    // it is only closed for order's sake
    let _ = connection.close(200, "done".into()).await;
    Ok(differences)
}

/// Objects that differ are used as they are, unless a promise would break.
fn report(differences: &[Difference]) -> Result<(), Failure> {
    for difference in differences {
        let Difference { wanted, found, remedy, fatal } = difference;
        tracing::warn!(wanted, found, remedy, fatal, "an object in RabbitMQ has other arguments");
    }
    match differences.iter().find(|difference| difference.fatal) {
        Some(Difference { wanted, found, remedy, .. }) => Err((
            format!(
                "an object in RabbitMQ would break a promise of the relay: {found}; wanted: {wanted}; mend it with: {remedy}"
            ),
            Exit::Failed,
        )),
        None => Ok(()),
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

/// The parts of a running relay.
struct Relay {
    store: Arc<RedisStore>,
    intake: Intake<RedisStore, AmqpPublisher>,
    flush: Arc<Flush<RedisStore, HttpTarget, AmqpPublisher>>,
    consumer: AmqpConsumer,
    consuming: watch::Receiver<bool>,
    inspector: Arc<Inspector>,
    names: Names,
}

impl Relay {
    fn new(config: &Config, broker: BrokerOptions, store: Arc<RedisStore>, target: HttpTarget) -> Self {
        let settings = Arc::new(settings(config));
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
    async fn serve(
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
                let redis = ping(&*store).await.err().map(|error| error.to_string());
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

/// `publish`.
pub async fn publish(path: &Path, file: &str) -> Exit {
    end(publish_file(path, file).await)
}

async fn publish_file(path: &Path, file: &str) -> Result<Exit, Failure> {
    use std::io::IsTerminal;
    let config = load(path)?;
    let lines: Box<dyn tokio::io::AsyncRead + Unpin + Send> = match file {
        "-" => Box::new(tokio::io::stdin()),
        file => Box::new(
            tokio::fs::File::open(file)
                .await
                .map_err(|error| (format!("{file} can't be read: {error}"), Exit::Usage))?,
        ),
    };
    let publisher = AmqpPublisher::new(broker_options(&config)?).connected().await.map_err(failed)?;
    let feed = Feed {
        exchange: config.amqp.exchange.clone(),
        intake: Names::new(&config.target.name).of("intake"),
        max_line: config.amqp.max_event_bytes,
    };
    let terminal = std::io::stderr().is_terminal();
    let progress = |done: u64| {
        if terminal {
            eprint!("\r{done} confirmed");
        }
    };
    let published = feed.run(&publisher, tokio::io::BufReader::new(lines), progress).await.map_err(failed)?;
    if terminal {
        eprintln!();
    }
    for (line, why) in &published.failed {
        eprintln!("line {line}: {why}");
    }
    println!("{} published, {} failed", published.confirmed, published.failed.len());
    Ok(if published.failed.is_empty() { Exit::Done } else { Exit::Differences })
}

/// `status`.
pub async fn status(path: &Path, json: Json) -> Exit {
    end(show_status(path, json).await)
}

async fn show_status(path: &Path, json: Json) -> Result<Exit, Failure> {
    let config = load(path)?;
    let store = RedisStore::connect(redis_options(&config)?).await.map_err(failed)?;
    let inspector = Inspector::new(broker_options(&config)?);
    let status = crate::ops::status::Status::read(
        &config.target.name,
        &store,
        &inspector,
        &config.delays,
        SystemClock.now(),
    );
    let status = status.await.map_err(failed)?;
    println!("{}", if json.json { status.to_json() } else { status.to_text() });
    Ok(Exit::Done)
}

/// `topology`.
pub async fn topology(path: &Path, action: TopologyAction) -> Exit {
    end(do_topology(path, action).await)
}

async fn do_topology(path: &Path, action: TopologyAction) -> Result<Exit, Failure> {
    let config = load(path)?;
    let objects = topology_options(&config).objects();
    if let TopologyAction::Show(Json { json }) = action {
        for object in &objects {
            match json {
                true => println!("{}", serde_json::to_string(object).map_err(failed)?),
                false => println!("{}", object.describe()),
            }
        }
        return Ok(Exit::Done);
    }
    let broker = broker_options(&config)?;
    let connection = broker.connect("topology").await.map_err(failed)?;
    let declarer = Declarer::new(&broker, &connection);
    let json = matches!(action, TopologyAction::Verify(Json { json: true }));
    let differences = match action {
        TopologyAction::Verify(_) => declarer.verify(&objects).await.map_err(failed)?,
        TopologyAction::Show(_) | TopologyAction::Apply => declarer.apply(&objects).await.map_err(failed)?,
    };
    for difference in &differences {
        match json {
            true => println!("{}", serde_json::to_string(difference).map_err(failed)?),
            false => println!(
                "{}\n  found:  {}\n  mend:   {}",
                difference.wanted, difference.found, difference.remedy
            ),
        }
    }
    if !json {
        println!("{} objects, {} differences", objects.len(), differences.len());
        println!("policies and bindings can't be seen over AMQP: rabbitmqctl list_policies, list_bindings");
    }
    Ok(if differences.is_empty() { Exit::Done } else { Exit::Differences })
}

/// `check`.
pub async fn check(path: &Path, json: Json) -> Exit {
    end(do_check(path, json).await)
}

async fn do_check(path: &Path, json: Json) -> Result<Exit, Failure> {
    let config = load(path)?;
    let (broker, redis, target) = (broker_options(&config)?, redis_options(&config)?, target(&config)?);
    let items = crate::ops::check::run(&config, &broker, redis, &target).await;
    for item in &items {
        println!("{}", if json.json { item.to_json() } else { item.to_text() });
    }
    let good = items.iter().all(|item| item.verdict != crate::ops::check::Verdict::Failed);
    Ok(if good { Exit::Done } else { Exit::Failed })
}

/// `config schema`.
pub fn config_schema() -> Exit {
    match serde_json::to_string_pretty(&crate::config::document::schema()) {
        Ok(schema) => {
            println!("{schema}");
            Exit::Done
        }
        Err(error) => end(Err(failed(error))),
    }
}

/// `config example`.
pub fn config_example() -> Exit {
    print!("{}", crate::config::document::example());
    Exit::Done
}

/// `sandbox`.
pub async fn sandbox(options: crate::sandbox::SandboxOptions) -> Exit {
    telemetry::start(environment().get("RUST_LOG").map(String::as_str));
    let served = async {
        let stop = shutdown::on_signal().map_err(failed)?;
        crate::sandbox::serve(options, stop).await.map_err(failed)?;
        Ok(Exit::Done)
    };
    end(served.await)
}

/// `completions`.
pub fn completions(shell: clap_complete::Shell) -> Exit {
    use clap::CommandFactory;
    clap_complete::generate(shell, &mut crate::cli::Cli::command(), "scim-relay", &mut std::io::stdout());
    Exit::Done
}
