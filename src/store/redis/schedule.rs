//! The schedule: what is due, what is taken, what is held.

use std::collections::BTreeMap;
use std::time::Duration;

use super::RedisStore;
use super::scripts::Call;
use crate::core::generation::Generation;
use crate::core::resource::ResourceKey;
use crate::core::schedule::{Lane, Millis};
use crate::pipeline::ports::{Backlog, OtherGeneration, StoreError};
use crate::store::bucket::{BUCKETS, bucket_of};

/// A number for each bucket.
type PerBucket = [usize; BUCKETS as usize];

impl RedisStore {
    /// Counts what is due, allots the limit, takes: two round trips, or one when nothing is due.
    pub(super) async fn take(
        &self,
        lanes: &[Lane],
        now: Millis,
        hold: Duration,
        limit: usize,
    ) -> Result<Vec<(Lane, ResourceKey)>, StoreError> {
        let due = self.count_due(lanes, now).await?;
        let first = usize::try_from(now.0.rem_euclid(i64::from(BUCKETS))).unwrap_or(0);
        let shares = allot(&due, limit, first);
        let held = now.plus(hold);
        let calls = (0..BUCKETS).filter_map(|bucket| self.take_call(bucket, lanes, &shares, now, held));
        let calls: Vec<Call> = calls.collect();
        let what = "take what is due";
        let mut taken = Vec::new();
        for answer in self.link.invoke(what, &self.scripts.take, &calls).await? {
            let pairs: Vec<(usize, String)> = self.link.read(what, answer)?;
            taken.extend(pairs.into_iter().filter_map(|(lane, key)| Some((lane, key.parse().ok()?))));
        }
        taken.sort();
        Ok(taken.into_iter().filter_map(|(lane, key)| Some((*lanes.get(lane - 1)?, key))).collect())
    }

    /// How much is due in each of these lanes.
    pub(super) async fn count_due(&self, lanes: &[Lane], now: Millis) -> Result<Vec<PerBucket>, StoreError> {
        let what = "count what is due";
        let keys = lanes.iter().flat_map(|lane| (0..BUCKETS).map(|bucket| self.keys.lane(bucket, *lane)));
        let commands = keys.map(|key| {
            let mut count = redis::cmd("ZCOUNT");
            count.arg(&key).arg("-inf").arg(now.0);
            (key, count)
        });
        let answers = self.link.pipeline(what, commands.collect()).await?;
        let counts = answers.into_iter().map(|answer| self.link.read(what, answer));
        let counts = counts.collect::<Result<Vec<usize>, StoreError>>()?;
        let (lanes, _) = counts.as_chunks();
        Ok(lanes.to_vec())
    }

    fn take_call(
        &self,
        bucket: u8,
        lanes: &[Lane],
        shares: &[PerBucket],
        now: Millis,
        held: Millis,
    ) -> Option<Call> {
        let limits: Vec<usize> = shares.iter().map(|lane| lane[usize::from(bucket)]).collect();
        if limits.iter().all(|limit| *limit == 0) {
            return None;
        }
        let keys = lanes.iter().map(|lane| self.keys.lane(bucket, *lane)).collect();
        let mut args = vec![now.0.to_string(), held.0.to_string()];
        args.extend(limits.iter().map(ToString::to_string));
        Some(Call { keys, args })
    }

    pub(super) async fn renew_leases(
        &self,
        owner: &str,
        held: &[ResourceKey],
        generation: Generation,
        now: Millis,
        lease: Duration,
    ) -> Result<(), StoreError> {
        let mut buckets: BTreeMap<u8, Vec<String>> = BTreeMap::new();
        for key in held {
            let name = key.to_string();
            buckets.entry(bucket_of(&name)).or_default().push(name);
        }
        let calls = buckets.into_iter().map(|(bucket, members)| {
            let mut keys = vec![self.keys.lease(bucket, owner)];
            keys.extend(self.keys.lanes(bucket));
            keys.push(self.keys.generation(bucket));
            let (until, so_far) = (now.plus(lease), now.plus(lease / 2));
            let times = [lease.as_millis().to_string(), until.0.to_string(), so_far.0.to_string()];
            let mut args = vec![generation.to_string()];
            args.extend(times.into_iter().chain(members));
            Call { keys, args }
        });
        let calls: Vec<Call> = calls.collect();
        let what = "renew leases";
        for answer in self.link.invoke(what, &self.scripts.renew, &calls).await? {
            if self.link.read::<i64>(what, answer)? < 0 {
                return Err(self.link.error(what, OtherGeneration));
            }
        }
        Ok(())
    }

    /// The earliest due time in any of these lanes.
    pub(super) async fn earliest(&self, lanes: &[Lane]) -> Result<Option<Millis>, StoreError> {
        let what = "read the schedule";
        let keys = lanes.iter().flat_map(|lane| (0..BUCKETS).map(|bucket| self.keys.lane(bucket, *lane)));
        let answers = self.link.pipeline(what, keys.map(first).collect()).await?;
        let scores = answers.into_iter().map(|answer| self.link.read::<Vec<(String, f64)>>(what, answer));
        let scores = scores.collect::<Result<Vec<_>, StoreError>>()?;
        Ok(scores.into_iter().flatten().map(|(_, score)| millis(score)).min())
    }

    pub(super) async fn count_pending(&self) -> Result<Backlog, StoreError> {
        let what = "count what is pending";
        let mut commands = Vec::new();
        for key in (0..BUCKETS).flat_map(|bucket| self.keys.lanes(bucket)) {
            let mut count = redis::cmd("ZCARD");
            count.arg(&key);
            commands.extend([(key.clone(), count), first(key)]);
        }
        let answers = self.link.pipeline(what, commands).await?;
        let mut backlog = Backlog::default();
        let lanes = (0..BUCKETS).flat_map(|_| Lane::ALL);
        for (lane, answers) in lanes.zip(answers.chunks_exact(2)) {
            let count: u64 = self.link.read(what, answers[0].clone())?;
            let first: Vec<(String, f64)> = self.link.read(what, answers[1].clone())?;
            if let Some((_, score)) = first.first() {
                let at = millis(*score);
                let oldest = backlog.oldest.entry(lane).or_insert(at);
                *oldest = (*oldest).min(at);
                *backlog.pending.entry(lane).or_default() += count;
            }
        }
        Ok(backlog)
    }
}

/// Reads the first of a schedule.
fn first(key: String) -> (String, redis::Cmd) {
    let mut first = redis::cmd("ZRANGE");
    first.arg(&key).arg(0).arg(0).arg("WITHSCORES");
    (key, first)
}

/// Shares a limit out: lane after lane, and within a lane evenly among the buckets, so that a full bucket does not keep the
/// others waiting. What can't be shared evenly goes to the buckets from `first` on.
fn allot(due: &[PerBucket], limit: usize, first: usize) -> Vec<PerBucket> {
    let mut left = limit;
    let one_lane = |due: &PerBucket| {
        let mut share = PerBucket::default();
        loop {
            let open = (0..share.len()).map(|at| (first + at) % share.len());
            let open: Vec<usize> = open.filter(|at| share[*at] < due[*at]).collect();
            if open.is_empty() || left == 0 {
                return share;
            }
            let part = (left / open.len()).max(1);
            for at in open {
                let more = part.min(due[at] - share[at]).min(left);
                share[at] += more;
                left -= more;
            }
        }
    };
    due.iter().map(one_lane).collect()
}

/// A score as a time.
#[expect(clippy::cast_possible_truncation, reason = "scores are whole milliseconds below 2^53")]
pub(super) fn millis(score: f64) -> Millis {
    Millis(score as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(counts: &[(usize, usize)]) -> PerBucket {
        let mut due = PerBucket::default();
        counts.iter().for_each(|(bucket, count)| due[*bucket] = *count);
        due
    }

    #[test]
    fn a_full_bucket_leaves_the_others_their_share() {
        let shares = allot(&[due(&[(0, 1_000), (3, 10), (7, 1_000)])], 100, 0);
        assert_eq!(shares, [due(&[(0, 45), (3, 10), (7, 45)])]);
    }

    #[test]
    fn an_urgent_lane_is_served_whole_before_the_next_one() {
        let shares = allot(&[due(&[(5, 8)]), due(&[(0, 100)]), due(&[(1, 1)])], 10, 0);
        assert_eq!(shares, [due(&[(5, 8)]), due(&[(0, 2)]), due(&[])]);
    }

    #[test]
    fn what_is_too_little_for_all_goes_to_each_bucket_in_turn() {
        let all = due(&[(0, 1), (1, 1), (2, 1)]);
        assert_eq!(allot(&[all], 1, 0), [due(&[(0, 1)])]);
        assert_eq!(allot(&[all], 1, 2), [due(&[(2, 1)])]);
        assert_eq!(allot(&[all], 1, 15), [due(&[(0, 1)])]);
    }

    #[test]
    fn nothing_is_allotted_when_nothing_is_due_or_wanted() {
        assert_eq!(allot(&[due(&[])], 10, 0), [due(&[])]);
        assert_eq!(allot(&[due(&[(1, 5)])], 0, 0), [due(&[])]);
        assert!(allot(&[], 10, 0).is_empty());
    }
}
