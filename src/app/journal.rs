//! What commands that read the journal work with.

use std::path::Path;
use std::sync::Arc;

use super::dead::selection;
use super::{Failure, build, failed, load};
use crate::broker::connection::BrokerOptions;
use crate::broker::publisher::AmqpPublisher;
use crate::broker::stream::AmqpStream;
use crate::broker::topology::Names;
use crate::cli::Exit;
use crate::config::Config;
use crate::core::schedule::Millis;
use crate::ops::clock::{SystemClock, ulid};
use crate::pipeline::letters::Letters;
use crate::pipeline::ports::Clock;
use crate::pipeline::settings::Settings;
use crate::store::redis::RedisStore;

/// Connections and settings.
pub(super) struct Journal {
    pub(super) config: Config,
    pub(super) settings: Arc<Settings>,
    pub(super) store: Arc<RedisStore>,
    pub(super) letters: Arc<Letters<AmqpPublisher>>,
    broker: BrokerOptions,
}

impl Journal {
    pub(super) async fn open(path: &Path) -> Result<Self, Failure> {
        let config = load(path)?;
        let broker = build::broker_options(&config)?;
        let store = RedisStore::connect(build::redis_options(&config)?).await.map_err(failed)?;
        let settings = Arc::new(build::settings(&config));
        let publisher = Arc::new(AmqpPublisher::new(broker.clone()));
        let (routes, name) = (settings.routes.clone(), settings.target.clone());
        let letters = Arc::new(Letters::new(publisher, Arc::new(SystemClock), routes, name, ulid));
        Ok(Self { config, settings, store: Arc::new(store), letters, broker })
    }

    /// The stream of this name.
    pub(super) fn stream(&self, name: &str) -> AmqpStream {
        AmqpStream::new(self.broker.clone(), Names::new(&self.config.target.name).of(name))
    }
}

/// A time in the past, as it was asked for.
pub(super) fn since(text: &str) -> Result<Millis, Failure> {
    let now = SystemClock.now();
    let at = Millis(selection::time(text, now)?.as_millisecond());
    match at > now {
        true => Err((format!("`{text}` lies in the future: nothing has happened since"), Exit::Usage)),
        false => Ok(at),
    }
}
