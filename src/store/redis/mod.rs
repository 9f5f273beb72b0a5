//! The store in Redis. A record is an opaque JSON text with a version; every change is load, pure function, swap.

mod budget;
mod connection;
mod guard;
mod info;
mod keys;
mod letters;
mod link;
mod lock;
mod options;
mod records;
mod schedule;
mod scripts;
mod stamps;
mod store;
mod switch;
mod walk;

pub use info::ServerInfo;
pub use lock::Holder;
pub use options::RedisOptions;

use std::sync::atomic::AtomicU64;

use crate::pipeline::ports::{Stamps, StoreError};
use keys::Keys;
use link::Link;
use scripts::{Scripts, Tokens};

/// A store in Redis 7.0 or later, single or cluster.
pub struct RedisStore {
    link: Link,
    keys: Keys,
    scripts: Scripts,
    tokens: Tokens,
    /// Under which records are loaded and written.
    generation: AtomicU64,
}

impl RedisStore {
    /// Connects; an error names the address.
    pub async fn connect(options: RedisOptions) -> Result<Self, StoreError> {
        let link = Link::connect(&options).await?;
        let tokens = Tokens::new((options.unique)());
        let keys = Keys::new(&options.key_prefix, &options.target);
        let store = Self { link, keys, scripts: Scripts::new(), tokens, generation: AtomicU64::new(0) };
        store.adopt(store.found_generation().await?);
        Ok(store)
    }
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (address, keys) = (&self.link.address, self.keys.in_bucket(0, ""));
        f.debug_struct("RedisStore").field("address", address).field("keys", &keys).finish()
    }
}
