//! Setting batches off: when one is worth a request, and what it is drawn from.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::in_flight::Batch;
use super::{Flush, PATIENT};
use crate::core::resource::ResourceKey;
use crate::core::schedule::{Lane, Millis};
use crate::pipeline::ports::{Publisher, Store, StoreError, Target};
use crate::pipeline::settings::LEASE;

/// A batch that is not full waits for company so many times `linger` for each request in flight, counted from when a batch was
/// last set off or ended; after one that was half full it does so too where none is in flight.
const PATIENCE: u32 = 8;

/// What the resources of a batch are taken from.
pub(super) struct Draw {
    lanes: Vec<Lane>,
    due: Millis,
    hold: Duration,
    pub limit: usize,
    batch: Batch,
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
        let due = match patient && self.backlog.get() {
            true => {
                Millis(now.0.saturating_sub(i64::try_from(self.settings.catch_up.as_millis()).unwrap_or(0)))
            }
            false => now,
        };
        if patient && !self.worth_sending(permits, limit, now).await? {
            return Ok(Started::Waiting);
        }
        let hold = LEASE + Duration::from_millis(u64::try_from(now.0 - due.0).unwrap_or(0));
        let batch = self.learnt().in_flight.open();
        let draw = Draw { lanes: lanes.clone(), due, hold, limit, batch };
        let (keys, more) = self.draw(&draw, limit).await?;
        if keys.is_empty() {
            return Ok(Started::Nothing);
        }
        if patient {
            self.learnt().last_batch = Some((now, keys.len()));
        }
        let flush = self.clone();
        batches.spawn(async move {
            flush.work(keys, draw, more).await;
            flush.release_batch(batch).await;
            if patient && let Some((ended, _)) = &mut flush.learnt().last_batch {
                *ended = flush.clock.now();
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
        let taken = self.store.take_due(&draw.lanes, draw.due, draw.hold, limit).await?;
        let more = taken.len() == limit;
        let keys = taken.into_iter().map(|(_, key)| key);
        Ok((self.learnt().in_flight.engage(draw.batch, keys), more))
    }

    /// While requests are in flight, a batch that is not full waits for company, longer the more there are.
    async fn worth_sending(
        &self,
        permits: &Semaphore,
        limit: usize,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let in_flight = self.settings.concurrency - 1 - permits.available_permits();
        let (last, held) = {
            let learnt = self.learnt();
            (learnt.last_batch, u64::try_from(learnt.in_flight.len()).unwrap_or(u64::MAX))
        };
        let Some((moved, size)) = last else { return Ok(true) };
        let company = in_flight.max(usize::from(2 * size >= limit));
        let patience = self.settings.linger * PATIENCE * u32::try_from(company).unwrap_or(u32::MAX);
        if now.since(moved) >= patience || limit <= 1 {
            return Ok(true);
        }
        let backlog = self.store.backlog().await?;
        let pending: u64 = PATIENT.iter().filter_map(|lane| backlog.pending.get(lane)).sum();
        Ok(pending.saturating_sub(held) >= u64::try_from(limit).unwrap_or(u64::MAX))
    }
}
