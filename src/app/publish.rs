//! `publish`: NDJSON to the broker.

use std::path::Path;

use tokio::sync::OnceCell;

use super::{Failure, build, end, failed, load};
use crate::broker::feed::Feed;
use crate::broker::publisher::AmqpPublisher;
use crate::broker::topology::Names;
use crate::cli::Exit;
use crate::config::Config;
use crate::core::foresee::{contradicted, is_superseded};
use crate::decode::{Decoded, Input, Limits, decode};
use crate::ops::clock::SystemClock;
use crate::pipeline::ports::{Clock, Load, Message, Store};
use crate::store::redis::{RedisOptions, RedisStore};

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
    let publisher = AmqpPublisher::new(build::broker_options(&config)?).connected().await.map_err(failed)?;
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
    let doorman = Doorman::new(&config)?;
    let refuse = async |message: &Message| doorman.refuse(message).await;
    let published =
        feed.run(&publisher, tokio::io::BufReader::new(lines), refuse, progress).await.map_err(failed)?;
    if terminal {
        eprintln!();
    }
    for (line, why) in &published.failed {
        eprintln!("line {line}: {why}");
    }
    println!("{} published, {} failed", published.confirmed, published.failed.len());
    Ok(if published.failed.is_empty() { Exit::Done } else { Exit::Differences })
}

/// Tells intents that would come to nothing, because something newer is known: whoever corrected a letter should hear of it.
struct Doorman {
    redis: RedisOptions,
    limits: Limits,
    store: OnceCell<Option<RedisStore>>,
}

impl Doorman {
    fn new(config: &Config) -> Result<Self, Failure> {
        let limits =
            Limits { max_event_bytes: config.amqp.max_event_bytes, max_clock_skew: config.max_clock_skew };
        Ok(Self { redis: build::redis_options(config)?, limits, store: OnceCell::new() })
    }

    /// Why a message should not be sent; none where nothing is known against it.
    async fn refuse(&self, message: &Message) -> Option<String> {
        let input = Input {
            body: &message.body,
            content_type: message.content_type.as_deref(),
            timestamp: None,
            from_publishers: false,
            attempt: 0,
            round: None,
        };
        let Decoded::Change(change) = decode(&input, &self.limits, SystemClock.now()) else { return None };
        let store = self.store.get_or_init(|| self.connect()).await.as_ref()?;
        let members = change.delta.members.iter().map(|member| member.value.clone()).collect();
        let loads = [Load { key: change.key.clone(), members }];
        let loaded = store.load(&loads).await.ok()?.pop()?;
        let key = &change.key;
        let newer = format!("give it a newer revision than `scim-relay explain {key}` shows");
        let contradicted = contradicted(&loaded.record, &change);
        match (is_superseded(&loaded.record, &loaded.members, &change), contradicted.first()) {
            (true, _) => {
                Some(format!("superseded: something newer is known about all that it says of {key}; {newer}"))
            }
            (false, Some(path)) => {
                Some(format!("{path} of {key} is known with another value under this very revision; {newer}"))
            }
            (false, None) => None,
        }
    }

    async fn connect(&self) -> Option<RedisStore> {
        let store = RedisStore::connect(self.redis.clone()).await;
        let note = "intents are not compared with what is known";
        store.inspect_err(|error| eprintln!("scim-relay: {error}; {note}")).ok()
    }
}
