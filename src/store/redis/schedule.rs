//! The schedule: what is due, what is taken, what is held.

use std::collections::BTreeMap;
use std::time::Duration;

use super::RedisStore;
use super::keys::{BUCKETS, Keys};
use super::scripts::Call;
use crate::core::resource::ResourceKey;
use crate::core::schedule::{Lane, Millis};
use crate::pipeline::ports::{Backlog, StoreError};

impl RedisStore {
    pub(super) async fn take(
        &self,
        lanes: &[Lane],
        now: Millis,
        hold: Duration,
        limit: usize,
    ) -> Result<Vec<(Lane, ResourceKey)>, StoreError> {
        let held = now.plus(hold).0.to_string();
        let mut taken: Vec<(Lane, ResourceKey)> = Vec::new();
        // a fair share of each bucket first, then whatever is left
        let share = (limit / usize::from(BUCKETS)).max(1);
        for part in [share, limit] {
            let left = limit - taken.len();
            if left == 0 {
                break;
            }
            let calls = (0..BUCKETS).map(|bucket| {
                let keys = lanes.iter().map(|lane| self.keys.lane(bucket, *lane)).collect();
                Call { keys, args: vec![now.0.to_string(), held.clone(), part.min(left).to_string()] }
            });
            let mut found = 0;
            let calls: Vec<Call> = calls.collect();
            let calls = if part == share && limit >= usize::from(BUCKETS) {
                vec![calls]
            } else {
                calls.into_iter().map(|c| vec![c]).collect()
            };
            for mut some in calls {
                if taken.len() >= limit {
                    break;
                }
                let left = (limit - taken.len()).to_string();
                if part != share || limit < usize::from(BUCKETS) {
                    some.iter_mut().for_each(|call| call.args[2].clone_from(&left));
                }
                for answer in self.link.invoke("take what is due", &self.scripts.take, &some).await? {
                    let pairs: Vec<(usize, String)> = self.link.read("take what is due", answer)?;
                    found += pairs.len();
                    taken.extend(
                        pairs
                            .into_iter()
                            .filter_map(|(at, key)| Some((*lanes.get(at - 1)?, key.parse().ok()?))),
                    );
                }
            }
            if found == 0 {
                break;
            }
        }
        taken.sort();
        Ok(taken)
    }

    pub(super) async fn renew_leases(
        &self,
        owner: &str,
        held: &[ResourceKey],
        now: Millis,
        lease: Duration,
    ) -> Result<(), StoreError> {
        let mut buckets: BTreeMap<u8, Vec<String>> = BTreeMap::new();
        for key in held {
            let name = key.to_string();
            buckets.entry(Keys::bucket_of(&name)).or_default().push(name);
        }
        let calls = buckets.into_iter().map(|(bucket, members)| {
            let mut keys = vec![self.keys.lease(bucket, owner)];
            keys.extend(self.keys.lanes(bucket));
            let mut args = vec![lease.as_millis().to_string(), now.plus(lease).0.to_string()];
            args.extend(members);
            Call { keys, args }
        });
        let calls: Vec<Call> = calls.collect();
        self.link.invoke("renew leases", &self.scripts.renew, &calls).await.map(drop)
    }

    pub(super) async fn count_pending(&self) -> Result<Backlog, StoreError> {
        let what = "count what is pending";
        let mut commands = Vec::new();
        for key in (0..BUCKETS).flat_map(|bucket| self.keys.lanes(bucket)) {
            let (mut count, mut first) = (redis::cmd("ZCARD"), redis::cmd("ZRANGE"));
            count.arg(&key);
            first.arg(&key).arg(0).arg(0).arg("WITHSCORES");
            commands.extend([(key.clone(), count), (key, first)]);
        }
        let answers = self.link.pipeline(what, commands).await?;
        let mut backlog = Backlog::default();
        let lanes = (0..BUCKETS).flat_map(|_| Lane::ALL);
        for (lane, answers) in lanes.zip(answers.chunks_exact(2)) {
            let count: u64 = self.link.read(what, answers[0].clone())?;
            let first: Vec<(String, f64)> = self.link.read(what, answers[1].clone())?;
            if count > 0 {
                *backlog.pending.entry(lane).or_default() += count;
            }
            if let Some((_, score)) = first.first() {
                let at = millis(*score);
                let oldest = backlog.oldest.entry(lane).or_insert(at);
                *oldest = (*oldest).min(at);
            }
        }
        Ok(backlog)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "scores are whole milliseconds below 2^53")]
fn millis(score: f64) -> Millis {
    Millis(score as i64)
}
