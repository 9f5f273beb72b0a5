//! The windows of the guard: one sorted set per type, in one bucket, so that all replicas together never take more places
//! than there are.

use redis::{Value, cmd};

use super::RedisStore;
use super::keys::Part;
use super::schedule::millis;
use super::scripts::Call;
use crate::core::guard::{Admission, Began, Limits, Window};
use crate::core::resource::{ResourceKey, ResourceType};
use crate::core::schedule::Millis;
use crate::pipeline::ports::{Guard, StoreError};
use crate::store::bucket::BUCKETS;

/// The most that a script is told: Lua counts exactly only up to here.
const MOST: u64 = 1 << 50;

const WHAT: &str = "ask the guard";

impl Guard for RedisStore {
    async fn admit(
        &self,
        kind: ResourceType,
        keys: &[ResourceKey],
        limits: &Limits,
        now: Millis,
    ) -> Result<Vec<Admission>, StoreError> {
        let most = limits.most(self.began(kind, now).await?);
        let windows = [Window::Hour, Window::Day].map(|window| window.before(now).0.to_string());
        let most = [most.hour, most.day].map(|most| most.min(MOST).to_string());
        let args = [now.0.to_string()].into_iter().chain(windows).chain(most);
        let args = args.chain(keys.iter().map(ToString::to_string)).collect();
        let call = Call { keys: vec![self.keys.places(kind)], args };
        let answer = self.link.invoke(WHAT, &self.scripts.admit, &[call]).await?.pop();
        let answers: Vec<u8> = self.link.read(WHAT, answer.unwrap_or(Value::Nil))?;
        let admissions = answers.into_iter().map(|answer| match answer {
            0 => Admission::Granted,
            1 => Admission::Full(Window::Hour),
            _ => Admission::Full(Window::Day),
        });
        Ok(admissions.collect())
    }

    async fn restore(&self, kind: ResourceType, places: &[(ResourceKey, Millis)]) -> Result<(), StoreError> {
        for some in places.chunks(1_000) {
            let mut add = cmd("ZADD");
            add.arg(self.keys.places(kind)).arg("GT");
            for (key, at) in some {
                add.arg(at.0).arg(key.to_string());
            }
            let _: u64 = self.link.query("restore the guard's windows", add).await?;
        }
        Ok(())
    }
}

impl RedisStore {
    /// Who was active when the windows began: who is now, and who has a place and is not. Read in that order, a write
    /// that is committed meanwhile makes it less, never more.
    async fn began(&self, kind: ResourceType, now: Millis) -> Result<Began, StoreError> {
        let mut taken = cmd("ZRANGE");
        let after = format!("({}", Window::Day.before(now).0);
        taken.arg(self.keys.places(kind)).arg(after).arg("+inf").arg("BYSCORE").arg("WITHSCORES");
        let taken: Vec<(String, f64)> = self.link.query(WHAT, taken).await?;
        let places: Vec<(ResourceKey, f64)> =
            taken.into_iter().filter_map(|(name, at)| Some((name.parse().ok()?, at))).collect();
        let mut commands = Vec::new();
        for (key, _) in &places {
            let record = self.keys.part(key, Part::Record);
            let mut active = cmd("HGET");
            active.arg(&record).arg("a");
            commands.push((record, active));
        }
        for count in (0..BUCKETS).map(|bucket| self.keys.active(bucket, kind)) {
            let mut get = cmd("GET");
            get.arg(&count);
            commands.push((count, get));
        }
        let mut answers = self.link.pipeline(WHAT, commands).await?;
        let counts = answers.split_off(places.len());
        let mut active = 0;
        for count in counts {
            active += self.link.read::<Option<u64>>(WHAT, count)?.unwrap_or(0);
        }
        let mut began = Began { hour: active, day: active };
        for ((_, at), answer) in places.iter().zip(answers) {
            if self.link.read::<Option<u8>>(WHAT, answer)? != Some(1) {
                began.day += 1;
                began.hour += u64::from(millis(*at) > Window::Hour.before(now));
            }
        }
        Ok(began)
    }
}
