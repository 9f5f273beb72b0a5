//! Walking over all resources, and forgetting one.

use super::RedisStore;
use super::scripts::Call;
use crate::core::resource::ResourceKey;
use crate::pipeline::ports::{Load, Place, Store, StoreError, Swap};
use crate::store::bucket::{BUCKETS, bucket_of};

/// Resources asked for in one page.
const PAGE: usize = 1_000;

impl RedisStore {
    /// Lists resources that get their first record. It is done before the record is written: one too many does no harm.
    pub(super) async fn list_new(&self, swaps: &[Swap]) -> Result<(), StoreError> {
        let new = swaps.iter().filter(|swap| swap.expected.counter == 0).map(|swap| swap.key.to_string());
        let commands = new.map(|name| {
            let key = self.keys.all(bucket_of(&name));
            let mut command = redis::cmd("SADD");
            command.arg(&key).arg(name);
            (key, command)
        });
        self.link.pipeline("swap records", commands.collect()).await.map(drop)
    }

    pub(super) async fn page_of_resources(
        &self,
        place: Place,
    ) -> Result<(Vec<ResourceKey>, Option<Place>), StoreError> {
        let Place { bucket, cursor } = place;
        let mut command = redis::cmd("SSCAN");
        command.arg(self.keys.all(bucket)).arg(cursor).arg("COUNT").arg(PAGE);
        let (cursor, names): (u64, Vec<String>) = self.link.query("walk over resources", command).await?;
        let next = match cursor {
            0 => Some(Place { bucket: bucket + 1, cursor: 0 }).filter(|place| place.bucket < BUCKETS),
            cursor => Some(Place { bucket, cursor }),
        };
        Ok((names.iter().filter_map(|name| name.parse().ok()).collect(), next))
    }

    /// The lanes of a bucket are places one after the other.
    pub(super) async fn page_of_schedule(
        &self,
        place: Place,
    ) -> Result<(Vec<ResourceKey>, Option<Place>), StoreError> {
        let keys: Vec<String> = (0..BUCKETS).flat_map(|bucket| self.keys.lanes(bucket)).collect();
        let Some(key) = keys.get(usize::from(place.bucket)) else { return Ok((Vec::new(), None)) };
        let mut command = redis::cmd("ZSCAN");
        command.arg(key).arg(place.cursor).arg("COUNT").arg(PAGE);
        let (cursor, due): (u64, Vec<(String, f64)>) =
            self.link.query("walk over the schedule", command).await?;
        let bucket = if cursor == 0 { place.bucket + 1 } else { place.bucket };
        let next = (usize::from(bucket) < keys.len()).then_some(Place { bucket, cursor });
        Ok((due.iter().filter_map(|(name, _)| name.parse().ok()).collect(), next))
    }

    pub(super) async fn drop_resource(&self, key: &ResourceKey) -> Result<(), StoreError> {
        let loads = [Load { key: key.clone(), members: Vec::new() }];
        let id = self.load(&loads).await?.pop().and_then(|loaded| loaded.record.id);
        if let Some(id) = id {
            self.disown(key.kind, &id, key).await?;
        }
        let call = Call::forget(&self.keys, key);
        self.link.invoke("forget a resource", &self.scripts.forget, &[call]).await.map(drop)
    }
}
