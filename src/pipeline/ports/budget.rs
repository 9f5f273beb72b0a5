//! The budget of requests, shared by all replicas.

use std::future::Future;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::StoreError;
use crate::core::budget::{Ask, Grant, Learnt, Micros, Pace};

/// Places for requests to the target. Every call may be repeated: at worst that costs a place. Usable without naming its
/// type, so that the target need not be generic over the store. `now`: none, and the store's own clock counts, which all
/// replicas share.
pub trait Budget: std::fmt::Debug + Send + Sync + 'static {
    /// Takes a place, or says how long to wait.
    fn spend(&self, ask: Ask, now: Option<Micros>) -> BoxFuture<'_, Result<Grant, StoreError>>;

    /// The target answered 429 to the request whose place was taken then, and no rate is configured.
    fn refuse(&self, taken: Micros, now: Option<Micros>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// How long it is until a place is free, at this pace of requests (none: at the learnt one); nothing is taken.
    fn free_in(&self, requests: Option<Pace>) -> BoxFuture<'_, Result<Duration, StoreError>>;

    /// The rate that was learnt, if one was.
    fn learnt(&self) -> BoxFuture<'_, Result<Option<Learnt>, StoreError>>;
}

tokio::task_local! {
    static URGENT: ();
}

/// Runs what deprovisions: its requests go before all others that wait for the budget. Tasks that it spawns are others.
pub fn urgently<F: Future>(work: F) -> impl Future<Output = F::Output> {
    URGENT.scope((), work)
}

/// Whether this is part of what deprovisions.
pub fn is_urgent() -> bool {
    URGENT.try_with(|()| ()).is_ok()
}
