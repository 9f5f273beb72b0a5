//! The budget of requests, in memory.

use std::future::ready;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::MemoryStore;
use crate::core::budget::{Ask, Grant, Learnt, Micros, Pace};
use crate::pipeline::ports::{Budget, StoreError};

impl Budget for MemoryStore {
    fn spend(&self, ask: Ask, now: Option<Micros>) -> BoxFuture<'_, Result<Grant, StoreError>> {
        let now = self.or_clock(now);
        let mut state = self.state();
        let until = state.switch.paused_until();
        let paused = ask.clock.is_some_and(|clock| until.is_some_and(|until| until > clock));
        let grant = if paused { Grant::Paused } else { state.budget.spend(&ask, now) };
        ready(Ok(grant)).boxed()
    }

    fn refuse(&self, taken: Micros, now: Option<Micros>) -> BoxFuture<'_, Result<(), StoreError>> {
        let now = self.or_clock(now);
        self.state().budget.refuse(taken, now);
        ready(Ok(())).boxed()
    }

    fn free_in(&self, requests: Option<Pace>) -> BoxFuture<'_, Result<Duration, StoreError>> {
        let now = self.or_clock(None);
        ready(Ok(self.state().budget.free_in(requests, now))).boxed()
    }

    fn learnt(&self) -> BoxFuture<'_, Result<Option<Learnt>, StoreError>> {
        ready(Ok(self.state().budget.learnt)).boxed()
    }
}

impl MemoryStore {
    fn or_clock(&self, now: Option<Micros>) -> Micros {
        now.unwrap_or_else(|| Micros(self.clock.now().0.saturating_mul(1_000)))
    }
}
