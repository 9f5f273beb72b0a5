//! The windows of the guard, in memory.

use std::collections::BTreeSet;

use super::{MemoryStore, State};
use crate::core::guard::{Admission, Began, Limits, Places, Window};
use crate::core::resource::{ResourceKey, ResourceType};
use crate::core::schedule::Millis;
use crate::pipeline::ports::{Guard, StoreError};

impl Guard for MemoryStore {
    async fn admit(
        &self,
        kind: ResourceType,
        keys: &[ResourceKey],
        limits: &Limits,
        now: Millis,
    ) -> Result<Vec<Admission>, StoreError> {
        let mut state = self.state();
        let most = limits.most(state.began(kind, now));
        let places = state.places.entry(kind).or_default();
        Ok(keys.iter().map(|key| places.admit(key, most, now)).collect())
    }

    async fn restore(&self, kind: ResourceType, places: &[(ResourceKey, Millis)]) -> Result<(), StoreError> {
        let mut state = self.state();
        let taken = state.places.entry(kind).or_default();
        places.iter().for_each(|(key, at)| taken.restore(key, *at));
        Ok(())
    }
}

impl State {
    /// Counts a resource as active or not.
    pub(super) fn count_active(&mut self, key: &ResourceKey, is_active: bool) {
        let active = self.active.entry(key.kind).or_default();
        match is_active {
            true => active.insert(key.clone()),
            false => active.remove(key),
        };
    }

    fn began(&self, kind: ResourceType, now: Millis) -> Began {
        let (nobody, none) = (BTreeSet::new(), Places::default());
        let active = self.active.get(&kind).unwrap_or(&nobody);
        let places = self.places.get(&kind).unwrap_or(&none);
        let began = |window| {
            let left = places.within(window, now).filter(|key| !active.contains(*key)).count();
            u64::try_from(active.len() + left).unwrap_or(u64::MAX)
        };
        Began { hour: began(Window::Hour), day: began(Window::Day) }
    }
}
