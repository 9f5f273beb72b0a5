//! Generations in memory; and what happens to a real server: it is emptied, or falls back to what it was a moment ago.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{MemoryStore, State};
use crate::core::generation::Generation;
use crate::pipeline::ports::{Stamps, StoreError};

/// What the client side knows, and which server holds the store.
#[derive(Debug, Default)]
pub(super) struct Local {
    generation: AtomicU64,
    server: AtomicU64,
}

impl Local {
    pub(super) fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::SeqCst))
    }
}

impl Stamps for MemoryStore {
    async fn generations(&self) -> Result<Vec<Option<Generation>>, StoreError> {
        let generation = self.state().generation;
        Ok(vec![(generation != Generation::default()).then_some(generation)])
    }

    async fn stamp(&self, generation: Generation) -> Result<(), StoreError> {
        self.state().generation = generation;
        Ok(())
    }

    async fn nodes(&self) -> Result<BTreeSet<String>, StoreError> {
        Ok(BTreeSet::from([self.stamps.server.load(Ordering::SeqCst).to_string()]))
    }

    fn adopt(&self, generation: Generation) {
        self.stamps.generation.store(generation.0, Ordering::SeqCst);
    }

    async fn may_recover(&self, owner: &str, hold: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let recoverer = &mut self.state().recoverer;
        if recoverer.as_ref().is_some_and(|(held, until)| held != owner && *until > now) {
            return Ok(false);
        }
        *recoverer = Some((owner.to_owned(), now.plus(hold)));
        Ok(true)
    }
}

/// A copy of all that a store holds.
#[derive(Clone, Debug)]
pub struct Copy(Box<State>);

impl MemoryStore {
    /// Forgets everything, as a server does that starts again without its data.
    pub fn wipe(&self) {
        *self.state() = State::default();
        self.stamps.server.fetch_add(1, Ordering::SeqCst);
    }

    /// All that it holds now.
    pub fn copy(&self) -> Copy {
        Copy(Box::new(self.state().clone()))
    }

    /// Falls back to a copy, as a replica does that takes over without the last writes.
    pub fn fall_back(&self, copy: Copy) {
        *self.state() = *copy.0;
        self.stamps.server.fetch_add(1, Ordering::SeqCst);
    }
}
