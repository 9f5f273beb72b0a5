//! Generations: one key in each bucket. What a server lost, its buckets lost.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::cmd;

use super::RedisStore;
use super::connection::Connection;
use super::lock::Holder;
use crate::core::generation::Generation;
use crate::pipeline::ports::{Stamps, StoreError};
use crate::store::bucket::BUCKETS;

/// The name of the lock of whoever recovers.
const RECOVERY: &str = "recovery";

impl Stamps for RedisStore {
    async fn generations(&self) -> Result<Vec<Option<Generation>>, StoreError> {
        let what = "read the generation";
        let commands = (0..BUCKETS).map(|bucket| {
            let key = self.keys.generation(bucket);
            let mut get = cmd("GET");
            get.arg(&key);
            (key, get)
        });
        let answers = self.link.pipeline(what, commands.collect()).await?;
        answers
            .into_iter()
            .map(|answer| Ok(self.link.read::<Option<String>>(what, answer)?.and_then(parsed)))
            .collect()
    }

    async fn stamp(&self, generation: Generation) -> Result<(), StoreError> {
        let commands = (0..BUCKETS).map(|bucket| {
            let key = self.keys.generation(bucket);
            let mut set = cmd("SET");
            set.arg(&key).arg(generation.to_string());
            (key, set)
        });
        self.link.pipeline("write the generation", commands.collect()).await.map(drop)
    }

    async fn nodes(&self) -> Result<BTreeSet<String>, StoreError> {
        let what = "read INFO";
        let mut info = cmd("INFO");
        info.arg("server");
        let texts: Vec<String> = match self.link.connection() {
            Connection::Single { .. } => vec![self.link.query(what, info).await?],
            Connection::Cluster(mut cluster) => {
                let route = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let answer = cluster.route_command(info, route).await;
                let answer = answer.map_err(|error| self.link.error(what, error))?;
                let by_node: std::collections::HashMap<String, String> = self.link.read(what, answer)?;
                by_node.into_values().collect()
            }
        };
        let ids = texts.iter().filter_map(|text| text.lines().find_map(|line| line.strip_prefix("run_id:")));
        Ok(ids.map(|id| id.trim().to_owned()).collect())
    }

    fn adopt(&self, generation: Generation) {
        self.generation.store(generation.0, Ordering::SeqCst);
    }

    async fn may_recover(&self, owner: &str, hold: Duration) -> Result<bool, StoreError> {
        Ok(self.lock(RECOVERY, owner, hold).await? == Holder::Us)
    }
}

impl RedisStore {
    pub(super) fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::SeqCst))
    }

    /// The generation that the store has: a tool works under it.
    pub(super) async fn found_generation(&self) -> Result<Generation, StoreError> {
        let mut get = cmd("GET");
        get.arg(self.keys.generation(0));
        let found: Option<String> = self.link.query("read the generation", get).await?;
        Ok(found.and_then(parsed).unwrap_or_default())
    }
}

fn parsed(text: String) -> Option<Generation> {
    u64::from_str_radix(&text, 16).ok().map(Generation)
}
