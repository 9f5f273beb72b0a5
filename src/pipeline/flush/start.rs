//! Setting batches off: when one is worth a request, and what it is drawn from.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Flush;
use super::in_flight::Batch;
use crate::core::resource::ResourceKey;
use crate::core::schedule::Lane;
use crate::pipeline::ports::{Publisher, Store, StoreError, Target, urgently};
use crate::pipeline::settings::LEASE;

/// What the resources of a batch are taken from.
pub(super) struct Draw {
    lanes: Vec<Lane>,
    /// Only what has been due for so long.
    since: Duration,
    pub limit: usize,
    /// It may wait for company.
    pub patient: bool,
    pub batch: Batch,
}

/// Whether a batch was set off.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Started {
    Batch,
    /// It waits for company.
    Waiting,
    Nothing,
}

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// Takes what is due in these lanes and sets a batch off, if a request may be started.
    pub(super) async fn start(
        self: &Arc<Self>,
        lanes: &[Lane],
        permits: &Arc<Semaphore>,
        limit: usize,
        batches: &mut JoinSet<()>,
    ) -> Result<Started, StoreError> {
        let lanes = &self.open_lanes(lanes);
        if lanes.is_empty() || (self.is_ramping() && !batches.is_empty()) {
            return Ok(Started::Nothing);
        }
        let Ok(permit) = permits.clone().try_acquire_owned() else { return Ok(Started::Nothing) };
        let now = self.clock.now();
        let patient = lanes.as_slice() != [Lane::Deprovision];
        let since = if patient && self.backlog.get() { self.settings.catch_up } else { Duration::ZERO };
        // what has been due for long may be old news: this process gives the backlog its time
        if now.since(self.started) < since {
            return Ok(Started::Nothing);
        }
        if patient && !self.worth_sending(limit, lanes, (now, now.minus(since))).await? {
            return Ok(Started::Waiting);
        }
        let batch = self.learnt().in_flight.open();
        let draw = Draw { lanes: lanes.clone(), since, limit, patient, batch };
        let (keys, more) = self.draw(&draw, limit).await?;
        if keys.is_empty() {
            return Ok(Started::Nothing);
        }
        if patient {
            self.learnt().company.set_off(now, keys.len());
        }
        let flush = self.clone();
        batches.spawn(async move {
            match patient {
                true => flush.work(keys, draw, more).await,
                false => urgently(flush.work(keys, draw, more)).await,
            }
            flush.release_batch(batch).await;
            if patient {
                flush.learnt().company.ended(flush.clock.now());
            }
            drop(permit);
            flush.wake.notify_one();
        });
        Ok(Started::Batch)
    }

    /// Takes up what is due, at most so many. True if there may be more.
    pub(super) async fn draw(
        &self,
        draw: &Draw,
        limit: usize,
    ) -> Result<(Vec<ResourceKey>, bool), StoreError> {
        let due = self.clock.now().minus(draw.since);
        let taken = self.store.take_due(&draw.lanes, due, LEASE + draw.since, limit).await?;
        let more = taken.len() == limit;
        let keys = taken.into_iter().map(|(_, key)| key);
        Ok((self.learnt().in_flight.engage(draw.batch, keys), more))
    }
}
