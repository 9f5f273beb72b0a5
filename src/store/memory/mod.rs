//! The store's contract in memory: for tests, the simulation and `demo`. Nothing outlives the process.

mod budget;
mod guard;
mod letters;
mod stamps;
mod switch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::budget::Books;
use crate::core::generation::Generation;
use crate::core::guard::Places;
use crate::core::record::{MemberEntry, Record};
use crate::core::resource::{ResourceKey, ResourceType, TargetId};
use crate::core::schedule::{Due, Lane, Millis};
use crate::pipeline::ports::{
    Backlog, Clock, LedgerPage, Load, Loaded, OtherGeneration, Owner, Place, Reschedule, Store, StoreError,
    Swap, Swapped, Version,
};
use crate::store::bucket::bucket_of;

/// Entries in one page of a ledger scan.
const PAGE: usize = 1_000;

#[derive(Clone, Debug, Default)]
struct Held {
    counter: u64,
    record: Record,
    members: BTreeMap<String, MemberEntry>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Under which it was stamped.
    generation: Generation,
    /// Who recovers, and until when.
    recoverer: Option<(String, Millis)>,
    records: BTreeMap<ResourceKey, Held>,
    due: BTreeMap<ResourceKey, Due>,
    dependents: BTreeMap<ResourceKey, BTreeSet<ResourceKey>>,
    owners: BTreeMap<(ResourceType, TargetId), ResourceKey>,
    /// By bucket and owner.
    leases: BTreeMap<(u8, String), Millis>,
    notes: BTreeMap<String, String>,
    switch: switch::SwitchState,
    budget: Books,
    places: BTreeMap<ResourceType, Places>,
    active: BTreeMap<ResourceType, BTreeSet<ResourceKey>>,
    shelves: letters::Shelves,
}

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    stamps: stamps::Local,
    clock: Arc<dyn Clock>,
}

impl MemoryStore {
    /// An empty store; leases end by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { state: Mutex::default(), stamps: stamps::Local::default(), clock }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn load(&self, what: &Load, generation: Generation) -> Loaded {
        let Some(held) = self.records.get(&what.key) else {
            return Loaded {
                key: what.key.clone(),
                version: Version { counter: 0, generation },
                record: Record::default(),
                members: BTreeMap::new(),
            };
        };
        let entry = |value: &String| Some((value.clone(), held.members.get(value)?.clone()));
        Loaded {
            key: what.key.clone(),
            version: Version { counter: held.counter, generation },
            record: held.record.clone(),
            members: what.members.iter().filter_map(entry).collect(),
        }
    }

    fn swap(&mut self, swap: Swap) -> Swapped {
        let counter = self.records.get(&swap.key).map_or(0, |held| held.counter);
        if counter != swap.expected.counter {
            return Swapped::Conflict;
        }
        let held = self.records.entry(swap.key.clone()).or_default();
        held.counter += 1;
        let version = Version { counter: held.counter, generation: self.generation };
        let new_id = swap.record.id.is_some() && swap.record.id != held.record.id;
        for (value, entry) in swap.members {
            match entry {
                Some(entry) => drop(held.members.insert(value, entry)),
                None => drop(held.members.remove(&value)),
            }
        }
        let due = swap.record.due;
        held.record = swap.record;
        if swap.reschedule == Reschedule::AsRecord {
            self.due.remove(&swap.key);
            if let Some(due) = due {
                self.due.insert(swap.key.clone(), due);
            }
        }
        let active = held.record.is_active();
        self.count_active(&swap.key, active);
        let dependents = self.dependents.get(&swap.key).filter(|_| new_id);
        Swapped::Done { version, dependents: dependents.into_iter().flatten().cloned().collect() }
    }

    fn touch(&mut self, key: &ResourceKey, due: Due) {
        let Some(held) = self.records.get_mut(key) else { return };
        held.counter += 1;
        let new = match self.due.get(key) {
            Some(held) => Due { lane: held.lane.min(due.lane), at: held.at.min(due.at) },
            None => due,
        };
        self.due.insert(key.clone(), new);
    }
}

impl Store for MemoryStore {
    async fn load(&self, what: &[Load]) -> Result<Vec<Loaded>, StoreError> {
        let state = self.state();
        let generation = self.stamps.generation();
        Ok(what.iter().map(|load| state.load(load, generation)).collect())
    }

    async fn swap(&self, swaps: &[Swap]) -> Result<Vec<Swapped>, StoreError> {
        let mut state = self.state();
        let swapped = swaps.iter().map(|swap| match swap.expected.generation == state.generation {
            true => Ok(state.swap(swap.clone())),
            false => Err(StoreError { what: "swap records".into(), source: OtherGeneration.into() }),
        });
        swapped.collect()
    }

    async fn dirty_members(
        &self,
        key: &ResourceKey,
        limit: usize,
    ) -> Result<Vec<(String, MemberEntry)>, StoreError> {
        let state = self.state();
        let members = state.records.get(key).into_iter().flat_map(|held| &held.members);
        let dirty = members.filter(|(_, entry)| entry.dirty).take(limit);
        Ok(dirty.map(|(value, entry)| (value.clone(), entry.clone())).collect())
    }

    async fn scan_members(&self, key: &ResourceKey, cursor: u64) -> Result<LedgerPage, StoreError> {
        let state = self.state();
        let start = usize::try_from(cursor).unwrap_or(usize::MAX);
        let members =
            state.records.get(key).into_iter().flat_map(|held| &held.members).skip(start).take(PAGE);
        let page: Vec<_> = members.map(|(value, entry)| (value.clone(), entry.clone())).collect();
        let next = (page.len() == PAGE).then(|| cursor + u64::try_from(PAGE).unwrap_or(0));
        Ok((page, next))
    }

    async fn take_due(
        &self,
        lanes: &[Lane],
        now: Millis,
        hold: Duration,
        limit: usize,
    ) -> Result<Vec<(Lane, ResourceKey)>, StoreError> {
        let mut state = self.state();
        let place = |lane: Lane| lanes.iter().position(|asked| *asked == lane);
        let due = state.due.iter().filter(|(_, due)| due.at <= now);
        let due = due.filter_map(|(key, due)| Some((place(due.lane)?, due.at, due.lane, key.clone())));
        let mut due: Vec<(usize, Millis, Lane, ResourceKey)> = due.collect();
        due.sort();
        due.truncate(limit);
        for (_, _, lane, key) in &due {
            state.due.insert(key.clone(), Due { lane: *lane, at: now.plus(hold) });
        }
        Ok(due.into_iter().map(|(_, _, lane, key)| (lane, key)).collect())
    }

    async fn due_count(&self, lanes: &[Lane], now: Millis) -> Result<usize, StoreError> {
        let state = self.state();
        Ok(state.due.values().filter(|due| lanes.contains(&due.lane) && due.at <= now).count())
    }

    async fn next_due(&self, lanes: &[Lane]) -> Result<Option<Millis>, StoreError> {
        let state = self.state();
        Ok(state.due.values().filter(|due| lanes.contains(&due.lane)).map(|due| due.at).min())
    }

    async fn touch(&self, keys: &[(ResourceKey, Due)]) -> Result<(), StoreError> {
        let mut state = self.state();
        keys.iter().for_each(|(key, due)| state.touch(key, *due));
        Ok(())
    }

    async fn touch_member(
        &self,
        groups: &[(ResourceKey, Due)],
        member: &str,
        doubt: bool,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        for (key, due) in groups {
            if let Some(entry) = state.records.get_mut(key).and_then(|held| held.members.get_mut(member)) {
                let touched = entry.dirty || entry.mark.is_wanted();
                entry.dirty |= touched;
                entry.unnamed |= doubt && touched;
            }
            state.touch(key, *due);
        }
        Ok(())
    }

    async fn renew(
        &self,
        owner: &str,
        held: &[ResourceKey],
        generation: Generation,
        now: Millis,
        lease: Duration,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.generation != generation {
            return Err(StoreError { what: "renew leases".into(), source: OtherGeneration.into() });
        }
        for key in held {
            state.leases.insert((bucket_of(&key.to_string()), owner.to_owned()), now.plus(lease));
            // what was put into the schedule meanwhile stays due
            if let Some(due) = state.due.get_mut(key).filter(|due| due.at >= now.plus(lease / 2)) {
                due.at = due.at.max(now.plus(lease));
            }
        }
        Ok(())
    }

    async fn leases(&self, claims: &[(ResourceKey, String)]) -> Result<Vec<bool>, StoreError> {
        let state = self.state();
        let now = self.clock.now();
        let lives = |(key, owner): &(ResourceKey, String)| {
            let lease = state.leases.get(&(bucket_of(&key.to_string()), owner.clone()));
            lease.is_some_and(|until| *until > now)
        };
        Ok(claims.iter().map(lives).collect())
    }

    async fn depend(
        &self,
        on: &ResourceKey,
        dependent: &ResourceKey,
    ) -> Result<Option<TargetId>, StoreError> {
        let mut state = self.state();
        state.dependents.entry(on.clone()).or_default().insert(dependent.clone());
        Ok(state.records.get(on).and_then(|held| held.record.id.clone()))
    }

    async fn dependents(&self, on: &ResourceKey) -> Result<Vec<ResourceKey>, StoreError> {
        let state = self.state();
        Ok(state.dependents.get(on).into_iter().flatten().cloned().collect())
    }

    async fn release(&self, on: &ResourceKey, dependents: &[ResourceKey]) -> Result<(), StoreError> {
        let mut state = self.state();
        if let Some(held) = state.dependents.get_mut(on) {
            held.retain(|dependent| !dependents.contains(dependent));
        }
        Ok(())
    }

    async fn own(&self, kind: ResourceType, id: &TargetId, key: &ResourceKey) -> Result<Owner, StoreError> {
        let mut state = self.state();
        let owner = state.owners.entry((kind, id.clone())).or_insert_with(|| key.clone());
        Ok(if owner == key { Owner::Ours } else { Owner::Other(owner.clone()) })
    }

    async fn disown(&self, kind: ResourceType, id: &TargetId, key: &ResourceKey) -> Result<(), StoreError> {
        let mut state = self.state();
        let slot = (kind, id.clone());
        if state.owners.get(&slot) == Some(key) {
            state.owners.remove(&slot);
        }
        Ok(())
    }

    async fn remember(&self, name: &str, note: &str) -> Result<(), StoreError> {
        self.state().notes.insert(name.to_owned(), note.to_owned());
        Ok(())
    }

    async fn recall(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.state().notes.get(name).cloned())
    }

    async fn resources(&self, _: Place) -> Result<(Vec<ResourceKey>, Option<Place>), StoreError> {
        Ok((self.state().records.keys().cloned().collect(), None))
    }

    async fn scheduled(&self, _: Place) -> Result<(Vec<ResourceKey>, Option<Place>), StoreError> {
        Ok((self.state().due.keys().cloned().collect(), None))
    }

    async fn forget(&self, key: &ResourceKey) -> Result<(), StoreError> {
        let mut state = self.state();
        let id = state.records.remove(key).and_then(|held| held.record.id);
        if let Some(slot) = id.map(|id| (key.kind, id)).filter(|slot| state.owners.get(slot) == Some(key)) {
            state.owners.remove(&slot);
        }
        state.count_active(key, false);
        state.due.remove(key);
        state.dependents.remove(key);
        Ok(())
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let state = self.state();
        let mut backlog = Backlog::default();
        for due in state.due.values() {
            *backlog.pending.entry(due.lane).or_default() += 1;
            let oldest = backlog.oldest.entry(due.lane).or_insert(due.at);
            *oldest = (*oldest).min(due.at);
        }
        Ok(backlog)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
