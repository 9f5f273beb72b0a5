//! What this process is working on: each resource in one batch at a time, and until when its lease certainly holds.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::core::generation::Generation;
use crate::core::resource::ResourceKey;

/// One of the batches of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Batch(u64);

#[derive(Debug)]
struct Held {
    batch: Batch,
    lease: Option<Instant>,
    /// Under which generation of the store it was claimed.
    generation: Generation,
}

/// Resources in flight.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    held: BTreeMap<ResourceKey, Held>,
    /// Those of them that became due again meanwhile.
    missed: BTreeSet<ResourceKey>,
    batches: u64,
}

impl InFlight {
    /// A new batch, of nothing yet.
    pub fn open(&mut self) -> Batch {
        self.batches += 1;
        Batch(self.batches)
    }

    /// Takes these up into a batch, except what one has already; that is missed.
    pub fn engage(&mut self, batch: Batch, keys: impl Iterator<Item = ResourceKey>) -> Vec<ResourceKey> {
        let mut engaged = Vec::new();
        for key in keys {
            match self.held.entry(key.clone()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Held { batch, lease: None, generation: Generation::default() });
                    engaged.push(key);
                }
                Entry::Occupied(_) => drop(self.missed.insert(key)),
            }
        }
        engaged
    }

    /// Lets go of one that is settled. True if it became due meanwhile.
    pub fn release(&mut self, key: &ResourceKey) -> bool {
        self.held.remove(key);
        self.missed.remove(key)
    }

    /// Lets go of what a batch still has. Returns those that became due meanwhile.
    pub fn release_batch(&mut self, batch: Batch) -> Vec<ResourceKey> {
        let own = self.held.iter().filter(|(_, held)| held.batch == batch);
        let own: Vec<ResourceKey> = own.map(|(key, _)| key.clone()).collect();
        own.into_iter().filter(|key| self.release(key)).collect()
    }

    /// All of them, by the generation under which they were claimed.
    pub fn by_generation(&self) -> BTreeMap<Generation, Vec<ResourceKey>> {
        let mut by_generation: BTreeMap<Generation, Vec<ResourceKey>> = BTreeMap::new();
        for (key, held) in self.held.iter().filter(|(_, held)| held.lease.is_some()) {
            by_generation.entry(held.generation).or_default().push(key.clone());
        }
        by_generation
    }

    /// These are leased until then.
    pub fn leased(&mut self, keys: &[ResourceKey], generation: Generation, until: Instant) {
        for key in keys {
            if let Some(held) = self.held.get_mut(key) {
                held.generation = generation;
                held.lease = Some(held.lease.map_or(until, |held| held.max(until)));
            }
        }
    }

    /// Until when the leases of all these certainly hold; none: one of them has none.
    pub fn leased_until(&self, keys: &[ResourceKey]) -> Option<Instant> {
        keys.iter().map(|key| self.held.get(key).and_then(|held| held.lease)).min().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Vec<ResourceKey> {
        names.iter().map(|name| format!("User/{name}").parse().unwrap()).collect()
    }

    #[test]
    fn a_resource_is_in_one_batch_at_a_time_and_what_is_missed_is_told() {
        let mut in_flight = InFlight::default();
        let (first, second) = (in_flight.open(), in_flight.open());
        assert_eq!(in_flight.engage(first, keys(&["a"]).into_iter()), keys(&["a"]));
        assert_eq!(in_flight.engage(first, keys(&["b"]).into_iter()), keys(&["b"]));
        assert!(!in_flight.release(&keys(&["a"])[0]));
        assert_eq!(in_flight.engage(second, keys(&["a", "b"]).into_iter()), keys(&["a"]));
        assert_eq!(in_flight.release_batch(first), keys(&["b"]));
        assert_eq!(in_flight.held.keys().cloned().collect::<Vec<_>>(), keys(&["a"]));
        assert_eq!(in_flight.release_batch(second), keys(&[]));
    }
}
