//! The store's contract, call by call.

use std::time::Duration;

use redis::Value;

use super::RedisStore;
use super::keys::Part;
use super::scripts::Call;
use crate::core::generation::Generation;
use crate::core::record::MemberEntry;
use crate::core::resource::{ResourceKey, ResourceType, TargetId};
use crate::core::schedule::{Due, Lane, Millis};
use crate::pipeline::ports::{
    Backlog, LedgerPage, Load, Loaded, OtherGeneration, Owner, Place, Store, StoreError, Swap, Swapped,
    Version,
};
use crate::store::bucket::bucket_of;

impl Store for RedisStore {
    async fn load(&self, what: &[Load]) -> Result<Vec<Loaded>, StoreError> {
        self.load_records(what).await
    }

    async fn swap(&self, swaps: &[Swap]) -> Result<Vec<Swapped>, StoreError> {
        self.list_new(swaps).await?;
        let calls = swaps.iter().map(|swap| Call::swap(&self.keys, swap, &self.tokens));
        let calls = calls.collect::<Result<Vec<Call>, _>>();
        let calls = calls.map_err(|error| self.link.error("write a record", error))?;
        let answers = self.link.invoke("swap records", &self.scripts.swap, &calls).await?;
        let answers = swaps.iter().zip(answers);
        answers.map(|(swap, answer)| self.swapped(swap.expected, answer)).collect()
    }

    async fn dirty_members(
        &self,
        key: &ResourceKey,
        limit: usize,
    ) -> Result<Vec<(String, MemberEntry)>, StoreError> {
        self.read_dirty_members(key, limit).await
    }

    async fn scan_members(&self, key: &ResourceKey, cursor: u64) -> Result<LedgerPage, StoreError> {
        self.read_ledger_page(key, cursor).await
    }

    async fn take_due(
        &self,
        lanes: &[Lane],
        now: Millis,
        hold: Duration,
        limit: usize,
    ) -> Result<Vec<(Lane, ResourceKey)>, StoreError> {
        self.take(lanes, now, hold, limit).await
    }

    async fn due_count(&self, lanes: &[Lane], now: Millis) -> Result<usize, StoreError> {
        let due = self.count_due(lanes, now).await?;
        Ok(due.iter().flatten().sum())
    }

    async fn next_due(&self, lanes: &[Lane]) -> Result<Option<Millis>, StoreError> {
        self.earliest(lanes).await
    }

    async fn touch(&self, keys: &[(ResourceKey, Due)]) -> Result<(), StoreError> {
        self.touch_all(keys, None).await
    }

    async fn touch_member(
        &self,
        groups: &[(ResourceKey, Due)],
        member: &str,
        doubt: bool,
    ) -> Result<(), StoreError> {
        self.touch_all(groups, Some((member, doubt))).await
    }

    async fn renew(
        &self,
        owner: &str,
        held: &[ResourceKey],
        generation: Generation,
        now: Millis,
        lease: Duration,
    ) -> Result<(), StoreError> {
        self.renew_leases(owner, held, generation, now, lease).await
    }

    async fn leases(&self, claims: &[(ResourceKey, String)]) -> Result<Vec<bool>, StoreError> {
        let commands = claims.iter().map(|(key, owner)| {
            let key = self.keys.lease(bucket_of(&key.to_string()), owner);
            let mut command = redis::cmd("EXISTS");
            command.arg(&key);
            (key, command)
        });
        let answers = self.link.pipeline("read leases", commands.collect()).await?;
        answers.into_iter().map(|answer| self.link.read("read leases", answer)).collect()
    }

    async fn depend(
        &self,
        on: &ResourceKey,
        dependent: &ResourceKey,
    ) -> Result<Option<TargetId>, StoreError> {
        let keys = vec![self.keys.part(on, Part::Dependents), self.keys.part(on, Part::Record)];
        let call = Call { keys, args: vec![dependent.to_string()] };
        let what = "register a dependent";
        let answer = self.link.invoke(what, &self.scripts.depend, &[call]).await?.pop();
        let id: Option<String> = self.link.read(what, answer.unwrap_or(Value::Nil))?;
        Ok(id.and_then(TargetId::new))
    }

    async fn dependents(&self, on: &ResourceKey) -> Result<Vec<ResourceKey>, StoreError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(self.keys.part(on, Part::Dependents));
        self.link.query("read dependents", command).await.map(parsed)
    }

    async fn release(&self, on: &ResourceKey, dependents: &[ResourceKey]) -> Result<(), StoreError> {
        if dependents.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("SREM");
        command
            .arg(self.keys.part(on, Part::Dependents))
            .arg(dependents.iter().map(ToString::to_string).collect::<Vec<_>>());
        self.link.query("release dependents", command).await
    }

    async fn own(&self, kind: ResourceType, id: &TargetId, key: &ResourceKey) -> Result<Owner, StoreError> {
        let what = "claim a target resource";
        let call = Call { keys: vec![self.keys.owner(kind, id)], args: vec![key.to_string()] };
        let answer = self.link.invoke(what, &self.scripts.own, &[call]).await?.pop();
        let owner: String = self.link.read(what, answer.unwrap_or(Value::Nil))?;
        match owner.parse::<ResourceKey>() {
            Ok(owner) if owner == *key => Ok(Owner::Ours),
            Ok(owner) => Ok(Owner::Other(owner)),
            Err(error) => Err(self.link.error(what, error)),
        }
    }

    async fn disown(&self, kind: ResourceType, id: &TargetId, key: &ResourceKey) -> Result<(), StoreError> {
        let call = Call { keys: vec![self.keys.owner(kind, id)], args: vec![key.to_string()] };
        self.link.invoke("give a target resource up", &self.scripts.disown, &[call]).await.map(drop)
    }

    async fn remember(&self, name: &str, note: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("HSET");
        command.arg(self.keys.notes()).arg(name).arg(note);
        self.link.query("keep a note", command).await
    }

    async fn recall(&self, name: &str) -> Result<Option<String>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.keys.notes()).arg(name);
        self.link.query("read a note", command).await
    }

    async fn resources(&self, place: Place) -> Result<(Vec<ResourceKey>, Option<Place>), StoreError> {
        self.page_of_resources(place).await
    }

    async fn scheduled(&self, place: Place) -> Result<(Vec<ResourceKey>, Option<Place>), StoreError> {
        self.page_of_schedule(place).await
    }

    async fn forget(&self, key: &ResourceKey) -> Result<(), StoreError> {
        self.drop_resource(key).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.count_pending().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(self.keys.ping());
        let _: Option<String> = self.link.query("ping", command).await?;
        Ok(())
    }
}

impl RedisStore {
    async fn touch_all(
        &self,
        keys: &[(ResourceKey, Due)],
        member: Option<(&str, bool)>,
    ) -> Result<(), StoreError> {
        let calls = keys.iter().map(|(key, due)| Call::touch(&self.keys, key, *due, member));
        let calls: Vec<Call> = calls.collect();
        self.link.invoke("make resources due", &self.scripts.touch, &calls).await.map(drop)
    }

    fn swapped(&self, expected: Version, answer: Value) -> Result<Swapped, StoreError> {
        let mut parts = self.link.read::<Vec<Value>>("swap records", answer)?.into_iter();
        let counter: i64 = self.link.read("swap records", parts.next().unwrap_or(Value::Nil))?;
        let dependents: Vec<String> = self.link.read("swap records", Value::Array(parts.collect()))?;
        let Ok(counter) = u64::try_from(counter) else {
            return Err(self.link.error("swap records", OtherGeneration));
        };
        Ok(match counter {
            0 => Swapped::Conflict,
            counter => {
                let version = Version { counter, generation: expected.generation };
                Swapped::Done { version, dependents: parsed(dependents) }
            }
        })
    }
}

/// In order: a set has none.
fn parsed(keys: Vec<String>) -> Vec<ResourceKey> {
    let mut keys: Vec<ResourceKey> = keys.into_iter().filter_map(|key| key.parse().ok()).collect();
    keys.sort();
    keys
}
