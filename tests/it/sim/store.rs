//! The store in memory behind a network: calls take time, and sometimes fail before or after they took effect.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use scim_relay::core::circuit::Circuit;
use scim_relay::core::disposition::Trouble;
use scim_relay::core::generation::Generation;
use scim_relay::core::guard::{Admission, Limits};
use scim_relay::core::record::MemberEntry;
use scim_relay::core::resource::{ResourceKey, ResourceType, TargetId};
use scim_relay::core::schedule::{Due, Lane, Millis};
use scim_relay::pipeline::ports::{
    Backlog, Guard, Load, Loaded, Owner, Place, Stamps, Store, StoreError, Swap, Swapped, Switch,
};
use scim_relay::store::memory::MemoryStore;

use super::dice::Dice;

/// The store.
#[derive(Debug)]
pub struct SimStore {
    pub memory: MemoryStore,
    dice: Dice,
    /// Failures per mille of calls.
    failing: AtomicU32,
    /// Nobody can be woken: `touch_member` fails so many times.
    pub deaf: AtomicU32,
}

impl SimStore {
    pub fn new(memory: MemoryStore, failing: u32, dice: Dice) -> Self {
        Self { memory, dice, failing: AtomicU32::new(failing), deaf: AtomicU32::new(0) }
    }

    /// Nothing fails from now on.
    pub fn heal(&self) {
        self.failing.store(0, Ordering::Relaxed);
    }

    async fn way(&self) -> Result<(), StoreError> {
        sleep(Duration::from_millis(self.dice.between(0, 3))).await;
        match self.dice.per_mille(self.failing.load(Ordering::Relaxed)) {
            true => Err(broken()),
            false => Ok(()),
        }
    }
}

fn broken() -> StoreError {
    StoreError { what: "simulated store".into(), source: "the connection broke".into() }
}

/// There, and back: both ways can fail.
macro_rules! call {
    ($self:ident, $call:expr) => {{
        $self.way().await?;
        let answer = $call.await?;
        $self.way().await?;
        Ok(answer)
    }};
}

impl Store for SimStore {
    async fn load(&self, what: &[Load]) -> Result<Vec<Loaded>, StoreError> {
        call!(self, self.memory.load(what))
    }

    async fn swap(&self, swaps: &[Swap]) -> Result<Vec<Swapped>, StoreError> {
        call!(self, self.memory.swap(swaps))
    }

    async fn dirty_members(
        &self,
        key: &ResourceKey,
        limit: usize,
    ) -> Result<Vec<(String, MemberEntry)>, StoreError> {
        call!(self, self.memory.dirty_members(key, limit))
    }

    async fn scan_members(
        &self,
        key: &ResourceKey,
        cursor: u64,
    ) -> Result<(Vec<(String, MemberEntry)>, Option<u64>), StoreError> {
        call!(self, self.memory.scan_members(key, cursor))
    }

    async fn take_due(
        &self,
        lanes: &[Lane],
        now: Millis,
        hold: Duration,
        limit: usize,
    ) -> Result<Vec<(Lane, ResourceKey)>, StoreError> {
        call!(self, self.memory.take_due(lanes, now, hold, limit))
    }

    async fn due_count(&self, lanes: &[Lane], now: Millis) -> Result<usize, StoreError> {
        call!(self, self.memory.due_count(lanes, now))
    }

    async fn next_due(&self, lanes: &[Lane]) -> Result<Option<Millis>, StoreError> {
        call!(self, self.memory.next_due(lanes))
    }

    async fn touch(&self, keys: &[(ResourceKey, Due)]) -> Result<(), StoreError> {
        call!(self, self.memory.touch(keys))
    }

    async fn touch_member(
        &self,
        groups: &[(ResourceKey, Due)],
        member: &str,
        doubt: bool,
    ) -> Result<(), StoreError> {
        let deaf = self.deaf.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if deaf.is_ok() {
            return Err(broken());
        }
        call!(self, self.memory.touch_member(groups, member, doubt))
    }

    async fn renew(
        &self,
        owner: &str,
        held: &[ResourceKey],
        generation: Generation,
        now: Millis,
        lease: Duration,
    ) -> Result<(), StoreError> {
        call!(self, self.memory.renew(owner, held, generation, now, lease))
    }

    async fn leases(&self, claims: &[(ResourceKey, String)]) -> Result<Vec<bool>, StoreError> {
        call!(self, self.memory.leases(claims))
    }

    async fn depend(
        &self,
        on: &ResourceKey,
        dependent: &ResourceKey,
    ) -> Result<Option<TargetId>, StoreError> {
        call!(self, self.memory.depend(on, dependent))
    }

    async fn dependents(&self, on: &ResourceKey) -> Result<Vec<ResourceKey>, StoreError> {
        call!(self, self.memory.dependents(on))
    }

    async fn release(&self, on: &ResourceKey, dependents: &[ResourceKey]) -> Result<(), StoreError> {
        call!(self, self.memory.release(on, dependents))
    }

    async fn own(&self, kind: ResourceType, id: &TargetId, key: &ResourceKey) -> Result<Owner, StoreError> {
        call!(self, self.memory.own(kind, id, key))
    }

    async fn disown(&self, kind: ResourceType, id: &TargetId, key: &ResourceKey) -> Result<(), StoreError> {
        call!(self, self.memory.disown(kind, id, key))
    }

    async fn remember(&self, name: &str, note: &str) -> Result<(), StoreError> {
        call!(self, self.memory.remember(name, note))
    }

    async fn recall(&self, name: &str) -> Result<Option<String>, StoreError> {
        call!(self, self.memory.recall(name))
    }

    async fn resources(&self, place: Place) -> Result<(Vec<ResourceKey>, Option<Place>), StoreError> {
        call!(self, self.memory.resources(place))
    }

    async fn scheduled(&self, place: Place) -> Result<(Vec<ResourceKey>, Option<Place>), StoreError> {
        call!(self, self.memory.scheduled(place))
    }

    async fn forget(&self, key: &ResourceKey) -> Result<(), StoreError> {
        call!(self, self.memory.forget(key))
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        call!(self, self.memory.backlog())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        call!(self, self.memory.ping())
    }
}

impl Guard for SimStore {
    async fn admit(
        &self,
        kind: ResourceType,
        keys: &[ResourceKey],
        limits: &Limits,
        now: Millis,
    ) -> Result<Vec<Admission>, StoreError> {
        call!(self, self.memory.admit(kind, keys, limits, now))
    }

    async fn restore(&self, kind: ResourceType, places: &[(ResourceKey, Millis)]) -> Result<(), StoreError> {
        call!(self, self.memory.restore(kind, places))
    }
}

impl Stamps for SimStore {
    async fn generations(&self) -> Result<Vec<Option<Generation>>, StoreError> {
        call!(self, self.memory.generations())
    }

    async fn stamp(&self, generation: Generation) -> Result<(), StoreError> {
        call!(self, self.memory.stamp(generation))
    }

    async fn nodes(&self) -> Result<BTreeSet<String>, StoreError> {
        call!(self, self.memory.nodes())
    }

    fn adopt(&self, generation: Generation) {
        self.memory.adopt(generation);
    }

    async fn may_recover(&self, owner: &str, hold: Duration) -> Result<bool, StoreError> {
        call!(self, self.memory.may_recover(owner, hold))
    }
}

impl Switch for SimStore {
    async fn circuit(&self) -> Result<Circuit, StoreError> {
        call!(self, self.memory.circuit())
    }

    async fn trip(&self, now: Millis, until: Millis, trouble: Option<Trouble>) -> Result<(), StoreError> {
        call!(self, self.memory.trip(now, until, trouble))
    }

    async fn may_probe(&self, owner: &str, hold: Duration) -> Result<bool, StoreError> {
        call!(self, self.memory.may_probe(owner, hold))
    }

    async fn close(&self, now: Millis) -> Result<(), StoreError> {
        call!(self, self.memory.close(now))
    }

    async fn recovered(&self) -> Result<(), StoreError> {
        call!(self, self.memory.recovered())
    }

    async fn set_stopped(&self, lanes: &BTreeSet<Lane>, stopped: bool) -> Result<(), StoreError> {
        call!(self, self.memory.set_stopped(lanes, stopped))
    }

    async fn beat(&self, owner: &str, now: Millis) -> Result<(), StoreError> {
        call!(self, self.memory.beat(owner, now))
    }

    async fn leave(&self, owner: &str) -> Result<(), StoreError> {
        call!(self, self.memory.leave(owner))
    }

    async fn replicas(&self, since: Millis) -> Result<u64, StoreError> {
        call!(self, self.memory.replicas(since))
    }
}
