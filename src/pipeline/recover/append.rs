//! What is pending for long is written to the journal again as an intent, before the journal forgets it: an outage may outlast
//! the stream (design D2).

use std::sync::Arc;
use std::time::Duration;

use super::{HOLD, Interrupted, Recovery};
use crate::core::change::{Change, Delta, Origin};
use crate::core::implied::implied;
use crate::core::schedule::Millis;
use crate::core::settle::{Entries, round, unapplied};
use crate::pipeline::ports::{
    Guard, Load, Loaded, Place, Publisher, Reschedule, Stamps, Store, Stream, Swap,
};

/// Passes over the schedule while the journal keeps a message: one that fails leaves time for many others.
const PASSES: u32 = 60;
/// Longest and shortest time between passes.
const PAUSE: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(1));
/// Most resources appended in one pass; the next one goes on at once.
const MOST: usize = 10_000;
/// Resources loaded at once.
const CHUNK: usize = 100;
/// Most members of a group appended at once.
const MEMBERS: usize = 100_000;
/// When the last pass ended, for all replicas.
const APPENDED: &str = "appended";

impl<S: Store + Stamps + Guard, P: Publisher, J: Stream> Recovery<S, P, J> {
    /// Looks from time to time, for ever.
    pub(super) async fn append_old(self: Arc<Self>) {
        let Some(kept) = self.settings.journal else { return };
        let pause = (kept / PASSES).clamp(PAUSE.1, PAUSE.0);
        loop {
            tokio::time::sleep(pause).await;
            while self.gate.is_open() {
                match self.pass(kept, pause).await {
                    Ok(Pass::Done) => break,
                    Ok(Pass::More) => {}
                    Err(error) => {
                        tracing::warn!(%error, "what is pending for long is not in the journal again yet");
                        break;
                    }
                }
            }
        }
    }

    /// Goes through the schedule, one replica at a time.
    async fn pass(&self, kept: Duration, pause: Duration) -> Result<Pass, Interrupted> {
        let began = self.clock.now();
        let last = self.store.recall(APPENDED).await?.and_then(|text| text.parse().ok()).map(Millis);
        if last.is_some_and(|last| began.since(last) < pause / 2) {
            return Ok(Pass::Done);
        }
        let (mut place, mut appended) = (Some(Place::default()), 0);
        while let Some(at) = place {
            let (keys, next) = self.store.scheduled(at).await?;
            for some in keys.chunks(CHUNK) {
                if !self.gate.is_open() || !self.store.may_recover(&self.owner, HOLD).await? {
                    return Ok(Pass::Done);
                }
                let loads = some.iter().map(|key| Load { key: key.clone(), members: Vec::new() });
                let loaded = self.store.load(&loads.collect::<Vec<_>>()).await?;
                for old in loaded.into_iter().filter(|loaded| is_old(loaded, began, kept)) {
                    self.append(old).await?;
                    appended += 1;
                }
            }
            if appended >= MOST {
                tracing::info!(
                    resources = appended,
                    "pending changes were written to the journal again; there are more"
                );
                return Ok(Pass::More);
            }
            place = next;
        }
        if appended > 0 {
            tracing::info!(resources = appended, "pending changes were written to the journal again");
        }
        self.store.remember(APPENDED, &began.0.to_string()).await?;
        Ok(Pass::Done)
    }

    /// Publishes what is not applied of a resource, confirmed, and notes it. Done twice it changes nothing.
    async fn append(&self, old: Loaded) -> Result<(), Interrupted> {
        let Loaded { key, version, mut record, .. } = old;
        let now = self.clock.now();
        let dirty: Entries = self.store.dirty_members(&key, MEMBERS).await?.into_iter().collect();
        let mut delta = unapplied(&record, &dirty);
        delta.attributes.extend(implied(&key, &record));
        if delta != Delta::default() {
            let change = Change {
                key: key.clone(),
                delta,
                origin: Origin::Append,
                event_id: String::new(),
                first_seen: record.first_seen.unwrap_or(now),
                attempt: 0,
                round: None,
                traceparent: record.traceparent.clone(),
            };
            self.letters.say_again(&change, Origin::Append, round(&record, &dirty)).await?;
        }
        record.appended = Some(now);
        let swap = Swap { key, expected: version, record, members: Vec::new(), reschedule: Reschedule::Keep };
        // whoever changed it meanwhile has it appended again
        self.store.swap(&[swap]).await?;
        Ok(())
    }
}

/// How far a pass has come.
enum Pass {
    /// Through the schedule, or another replica is at it.
    Done,
    /// There is more.
    More,
}

/// True if the journal may soon forget what is pending: a third of its time has passed since it was last written there.
fn is_old(loaded: &Loaded, now: Millis, kept: Duration) -> bool {
    let record = &loaded.record;
    let written = record.first_seen.map(|seen| record.appended.map_or(seen, |appended| seen.max(appended)));
    written.is_some_and(|written| now.since(written) > kept / 3)
}
