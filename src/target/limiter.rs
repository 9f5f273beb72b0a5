//! Admission: no request leaves without a place in the budget that all replicas share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::exchange::now;
use crate::core::budget::{Ask, Budgeted, Grant, Limits, Micros, Pace};
use crate::core::outcome::NotSent;
use crate::core::schedule::Millis;
use crate::pipeline::ports::{Budget, StoreError, is_urgent};

/// How often a place that was not used in time is given up. More would let nobody send where the store is always slow.
const MOST_GIVEN_UP: u32 = 2;

/// No answer counts as longer than this, in microseconds, when the usual one is reckoned.
const MOST_USUAL_US: u64 = 1_000_000;

/// What a request needs of the budget.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    /// It carries so many operations.
    pub operations: u32,
    /// How long it may wait; none: as long as it takes.
    pub deadline: Option<Instant>,
    /// A probe goes out in a pause too, and before all that waits: nothing is sent until it is answered.
    pub probe: bool,
}

/// Where places come from. In a process one request at a time asks for them, and one more that is urgent: the others stand
/// in line behind it, first come first served.
#[derive(Debug)]
pub struct Limiter {
    budget: Arc<dyn Budget>,
    limits: Limits,
    /// Nobody waits any more.
    stop: CancellationToken,
    now: fn() -> SystemTime,
    /// The last request was counted against a rate.
    limited: AtomicBool,
    /// How long the store usually takes to answer, in microseconds.
    usual: AtomicU64,
    line: Mutex<()>,
    urgent_line: Mutex<()>,
}

impl Limiter {
    /// `now`: the time of day, by which pauses are measured; `stop`: who waits then is told that it can't be sent.
    pub fn new(
        budget: Arc<dyn Budget>,
        limits: Limits,
        now: fn() -> SystemTime,
        stop: CancellationToken,
    ) -> Self {
        let limited = AtomicBool::new(limits.requests.is_some() || limits.operations.is_some());
        let usual = AtomicU64::default();
        let (line, urgent_line) = (Mutex::default(), Mutex::default());
        Self { budget, limits, stop, now, limited, usual, line, urgent_line }
    }

    /// Waits for a place. None: there is no rate, and the store that would know of a learnt one is not reachable.
    pub(super) async fn place(&self, need: Need) -> Result<Option<Micros>, NotSent> {
        tokio::select! {
            biased;
            place = self.take(need) => place,
            () = until(need.deadline) => Err(NotSent::Deadline),
        }
    }

    /// How long it is until a place is free; none where the store that knows is not reachable.
    pub(super) async fn free_in(&self) -> Option<Duration> {
        self.budget.free_in(self.limits.requests_pace()).await.ok()
    }

    /// The target answered 429: where no rate is configured, one is learnt.
    pub(super) async fn refused(&self, place: Option<Micros>) {
        let (Some(place), None) = (place, self.limits.requests) else { return };
        match self.budget.refuse(place, None).await {
            Ok(()) => self.limited.store(true, Ordering::Relaxed),
            // the next 429 says it again
            Err(error) => tracing::warn!(%error, "the rate was not cut"),
        }
    }

    async fn take(&self, need: Need) -> Result<Option<Micros>, NotSent> {
        let ask = Ask {
            urgent: need.probe || is_urgent(),
            requests: self.limits.requests_pace(),
            // what only reads does not wait for operations
            operations: self.limits.operations_pace().filter(|_| need.operations > 0),
            cost: need.operations,
            clock: (!need.probe).then(|| self.clock()),
        };
        let mut turn = None;
        let mut given_up = 0;
        loop {
            if turn.is_none() && self.limited.load(Ordering::Relaxed) {
                turn = Some(self.unless_stopped(self.turn(ask.urgent)).await?);
            }
            let asked = now();
            // in a pause the time goes on
            let ask = Ask { clock: ask.clock.map(|_| self.clock()), ..ask };
            match self.budget.spend(ask, None).await {
                Ok(Grant::Taken(at, budgeted)) => {
                    self.note(budgeted);
                    let late = self.is_late(now().duration_since(asked), &ask);
                    if budgeted == Budgeted::No || !late || given_up >= MOST_GIVEN_UP {
                        return Ok(Some(at));
                    }
                    given_up += 1;
                }
                Ok(Grant::Wait(wait)) => {
                    self.note(Budgeted::Yes);
                    self.unless_stopped(sleep_until(asked + wait)).await?;
                }
                Ok(Grant::Paused) => return Err(NotSent::Budget("the target is paused".into())),
                Err(error) => return self.without_store(&error),
            }
        }
    }

    /// True for a place that was taken too long ago: it would crowd those that follow. That the store is always slow does
    /// not matter: what is always late comes evenly.
    fn is_late(&self, answer: Duration, ask: &Ask) -> bool {
        let answer = u64::try_from(answer.as_micros()).unwrap_or(u64::MAX);
        let usual = self.usual.load(Ordering::Relaxed);
        self.usual.store(usual - usual / 8 + answer.min(MOST_USUAL_US) / 8, Ordering::Relaxed);
        let stale = ask.requests.unwrap_or(Pace::learnt(1)).stale;
        answer > usual.saturating_add(u64::try_from(stale).unwrap_or(0))
    }

    /// What is configured holds whatever happens; what was learnt is not known without the store.
    fn without_store(&self, error: &StoreError) -> Result<Option<Micros>, NotSent> {
        match (self.limits.requests, self.limits.operations) {
            (None, None) => Ok(None),
            (Some(_), _) | (_, Some(_)) => Err(NotSent::Budget(error.to_string())),
        }
    }

    /// What is in flight when the relay stops is finished, but not waited for.
    async fn unless_stopped<T>(&self, waiting: impl Future<Output = T>) -> Result<T, NotSent> {
        tokio::select! {
            biased;
            done = waiting => Ok(done),
            () = self.stop.cancelled() => Err(NotSent::Budget("the relay stops".into())),
        }
    }

    async fn turn(&self, urgent: bool) -> MutexGuard<'_, ()> {
        match urgent {
            true => self.urgent_line.lock().await,
            false => self.line.lock().await,
        }
    }

    fn note(&self, budgeted: Budgeted) {
        let fixed = self.limits.requests.is_some() || self.limits.operations.is_some();
        self.limited.store(fixed || budgeted == Budgeted::Yes, Ordering::Relaxed);
    }

    fn clock(&self) -> Millis {
        let since = (self.now)().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
