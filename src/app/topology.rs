//! The AMQP objects: declared by `run`, shown, applied and verified by `topology`.

use std::path::Path;

use super::{Failure, build, end, failed, load};
use crate::broker::connection::BrokerOptions;
use crate::broker::declare::{Declarer, Difference};
use crate::broker::topology::Names;
use crate::cli::{Exit, Json, TopologyAction};
use crate::config::Config;
use crate::pipeline::ports::Store;
use crate::store::redis::RedisStore;

/// Under which name the relay remembers what it bound.
const BOUND: &str = "bound";

/// Exchange and routing key.
type Binding = (String, String);

/// Declares the topology, and removes bindings that the configuration no longer names.
pub(super) async fn declare(
    broker: &BrokerOptions,
    config: &Config,
    store: &RedisStore,
) -> Result<Vec<Difference>, Box<dyn std::error::Error + Send + Sync>> {
    let topology = build::topology_options(config);
    let connection = broker.connect("topology").await?;
    let declarer = Declarer::new(broker, &connection);
    let wanted: Vec<Binding> =
        topology.routes().into_iter().map(|key| (topology.exchange.clone(), key)).collect();
    let bound: Vec<Binding> = match store.recall(BOUND).await? {
        Some(note) => serde_json::from_str(&note).unwrap_or_default(),
        None => Vec::new(),
    };
    let gone: Vec<&Binding> = bound.iter().filter(|binding| !wanted.contains(binding)).collect();
    // remembered before it is bound: one that nobody remembers would stay for ever
    let all: Vec<&Binding> = wanted.iter().chain(gone.iter().copied()).collect();
    store.remember(BOUND, &serde_json::to_string(&all)?).await?;
    let differences = declarer.apply(&topology.objects()).await?;
    let intake = Names::new(&topology.target).of("intake");
    for (exchange, key) in &gone {
        declarer.unbind(exchange, &intake, key).await?;
        tracing::info!(
            exchange,
            binding = key,
            "a binding was removed: the configuration no longer names it"
        );
    }
    store.remember(BOUND, &serde_json::to_string(&wanted)?).await?;
    // it is only closed for order's sake
    let _ = connection.close(200, "done".into()).await;
    Ok(differences)
}

/// Objects that differ are used as they are, unless a promise would break.
pub(super) fn report(differences: &[Difference]) -> Result<(), Failure> {
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

/// Declares the topology. What was bound before is remembered in Redis, which need not be there yet.
async fn apply(
    broker: &BrokerOptions,
    config: &Config,
    declarer: &Declarer<'_>,
) -> Result<Vec<Difference>, Failure> {
    match RedisStore::connect(build::redis_options(config)?).await {
        Ok(store) => declare(broker, config, &store).await.map_err(failed),
        Err(error) => {
            eprintln!("scim-relay: bindings that the configuration no longer names are left: {error}");
            declarer.apply(&build::topology_options(config).objects()).await.map_err(failed)
        }
    }
}

/// `topology`.
pub async fn topology(path: &Path, action: TopologyAction) -> Exit {
    end(do_topology(path, action).await)
}

async fn do_topology(path: &Path, action: TopologyAction) -> Result<Exit, Failure> {
    let config = load(path)?;
    let objects = build::topology_options(&config).objects();
    if let TopologyAction::Show(Json { json }) = action {
        for object in &objects {
            match json {
                true => println!("{}", serde_json::to_string(object).map_err(failed)?),
                false => println!("{}", object.describe()),
            }
        }
        return Ok(Exit::Done);
    }
    let broker = build::broker_options(&config)?;
    let connection = broker.connect("topology").await.map_err(failed)?;
    let declarer = Declarer::new(&broker, &connection);
    let json = matches!(action, TopologyAction::Verify(Json { json: true }));
    let differences = match action {
        TopologyAction::Verify(_) => declarer.verify(&objects).await.map_err(failed)?,
        TopologyAction::Show(_) | TopologyAction::Apply => apply(&broker, &config, &declarer).await?,
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
