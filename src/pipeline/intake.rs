//! Intake: deliveries are decoded, merged into the store and only then acknowledged (D1). What can't be decoded becomes
//! a letter first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::flush::Backlog;
use super::in_order::InOrder;
use super::letters::{Letters, Reason};
use super::ports::{
    Clock, Consumer, Delivery, Header, Load, Loaded, PublishError, Publisher, Reschedule, Source, Store,
    StoreError, Swap, Swapped,
};
use super::recent::Recent;
use super::schedule::{after_approval, after_merge};
use super::settings::Settings;
use crate::core::change::{Change, Delta};
use crate::core::desired::Merged;
use crate::core::record::{Record, Trouble};
use crate::core::resource::ResourceKey;
use crate::core::schedule::{Lane, Millis};
use crate::core::settle;
use crate::decode::verdict::{Kind, Verdict};
use crate::decode::{Decoded, Input, Limits, Refusal, decode};

/// Most deliveries in a batch: with the default prefetch the broker sends more while some batches are merged.
const BATCH: usize = 100;
/// Batches that are merged at once: while the store works on one, the next is decoded.
const AT_ONCE: usize = 4;
/// So many deliveries that are there at once are a backlog.
const MANY: usize = 60;
/// Most ledger entries written by one swap.
const MEMBERS_PER_SWAP: usize = 2_000;
/// The queue is caught up when nothing has come for so long.
const CAUGHT_UP: Duration = Duration::from_millis(25);
/// Deliveries that came back so often are suspects: each is merged alone, or a crash takes the others' limit along.
const SUSPECT: u32 = 3;

/// Why a batch could not be settled. Nothing of it was acknowledged.
#[derive(Debug, thiserror::Error)]
enum Unsettled {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// The intake of one process.
#[derive(Debug)]
pub struct Intake<S, P> {
    store: Arc<S>,
    letters: Arc<Letters<P>>,
    clock: Arc<dyn Clock>,
    settings: Arc<Settings>,
    wake: Arc<Notify>,
    backlog: Arc<Backlog>,
    recent: Recent,
}

/// What one delivery says.
enum Said {
    Change(Box<Change>),
    Verdict(Box<Verdict>),
    Refused(Refusal),
    Nothing,
}

impl<S: Store, P: Publisher> Intake<S, P> {
    /// `wake` is notified when something became due.
    pub fn new(
        store: Arc<S>,
        letters: Arc<Letters<P>>,
        clock: Arc<dyn Clock>,
        settings: Arc<Settings>,
        wake: Arc<Notify>,
        backlog: Arc<Backlog>,
    ) -> Self {
        Self { store, letters, clock, settings, wake, backlog, recent: Recent::default() }
    }

    /// Works until `stop`, then gives back what is unanswered.
    pub async fn run<C: Consumer>(self, mut consumer: C, stop: CancellationToken) {
        Arc::new(self).work(&mut consumer, &stop).await;
        consumer.close().await;
    }

    /// Takes batches, merges some at once, and finishes them in the order in which they came, because an acknowledgement
    /// covers everything before it. After `stop` what was begun is finished.
    async fn work<C: Consumer>(self: Arc<Self>, consumer: &mut C, stop: &CancellationToken) {
        let mut merging = InOrder::new();
        loop {
            let may_take = merging.len() < AT_ONCE && !stop.is_cancelled();
            tokio::select! {
                biased;
                Some(merged) = merging.next() => {
                    let Some(batch) = merged else { return };
                    if !self.finish(consumer, batch, stop).await {
                        return;
                    }
                }
                () = stop.cancelled(), if may_take => {}
                batch = self.next(consumer), if may_take => match batch {
                    Ok(batch) => merging.push(self.clone().begin(batch, stop.clone())),
                    Err(error) => tracing::warn!(%error, "deliveries will come again on a fresh session"),
                },
                else => return,
            }
        }
    }

    /// The next deliveries; notes whether the queue holds a backlog.
    async fn next<C: Consumer>(&self, consumer: &mut C) -> Result<Vec<Delivery>, super::ports::SessionEnded> {
        let soon = tokio::time::timeout(CAUGHT_UP, consumer.next(BATCH)).await;
        let batch = match soon {
            Ok(batch) => batch?,
            Err(_) => {
                if self.backlog.get() {
                    self.backlog.set(false);
                    self.wake.notify_one();
                }
                consumer.next(BATCH).await?
            }
        };
        if batch.len() >= MANY {
            self.backlog.set(true);
        }
        Ok(batch)
    }

    /// Merges the changes of a batch; waits while the store or the broker does not take them. None: stopped meanwhile.
    async fn begin(self: Arc<Self>, batch: Vec<Delivery>, stop: CancellationToken) -> Option<Batch> {
        let mut begun = Batch { last: last(&batch), verdicts: Vec::new() };
        let (suspects, innocent): (Vec<Delivery>, Vec<Delivery>) =
            batch.into_iter().partition(|delivery| delivery.redeliveries >= SUSPECT);
        let groups = std::iter::once(innocent).chain(suspects.into_iter().map(|one| vec![one]));
        for group in groups.filter(|group| !group.is_empty()) {
            let mut waits = Waits::default();
            loop {
                match self.merge(&group).await {
                    Ok(verdicts) => break begun.verdicts.extend(verdicts),
                    Err(error) if !waits.after(&error, &stop).await => return None,
                    Err(_) => {}
                }
            }
        }
        Some(begun)
    }

    /// Merges the verdicts of a batch, now that everything is merged that came before them, and acknowledges it. False:
    /// stopped meanwhile.
    async fn finish<C: Consumer>(&self, consumer: &mut C, batch: Batch, stop: &CancellationToken) -> bool {
        for verdict in batch.verdicts {
            let mut waits = Waits::default();
            while let Err(error) = self.merge_verdict(&verdict).await {
                if !waits.after(&error.into(), stop).await {
                    return false;
                }
            }
        }
        for ((session, source), tag) in batch.last {
            if let Err(error) = consumer.ack(session, source, tag).await {
                tracing::warn!(%error, "an acknowledgement was lost: those deliveries come again, and change nothing");
            }
        }
        true
    }

    /// Merges the changes of some deliveries and hands back the verdicts; what can't be decoded is dead-lettered.
    async fn merge(&self, group: &[Delivery]) -> Result<Vec<Verdict>, Unsettled> {
        let now = self.clock.now();
        let mut changes: BTreeMap<ResourceKey, Vec<(Change, Source)>> = BTreeMap::new();
        let mut verdicts = Vec::new();
        for delivery in group {
            match self.decode(delivery, now) {
                Said::Change(change) => {
                    let pieces = pieces(*change).into_iter().map(|piece| (piece, delivery.source));
                    for (piece, source) in pieces {
                        changes.entry(piece.key.clone()).or_default().push((piece, source));
                    }
                }
                Said::Verdict(verdict) => verdicts.push(*verdict),
                Said::Refused(refusal) if delivery.source == Source::Work => {
                    self.refuse(delivery, refusal).await?
                }
                Said::Refused(_) | Said::Nothing => {}
            }
        }
        self.merge_changes(changes).await?;
        Ok(verdicts)
    }

    fn decode(&self, delivery: &Delivery, now: Millis) -> Said {
        let message = &delivery.message;
        let number = |name: &str| match message.headers.get(name) {
            Some(Header::Int(number)) => u32::try_from(*number).ok(),
            _ => None,
        };
        let input = Input {
            body: &message.body,
            content_type: message.content_type.as_deref(),
            timestamp: message.timestamp,
            from_publishers: delivery.from_publishers,
            attempt: number("x-relay-attempt").unwrap_or(0),
            round: number("x-relay-replays"),
        };
        let limits = Limits {
            max_event_bytes: self.settings.max_event_bytes,
            max_clock_skew: self.settings.max_clock_skew,
        };
        let (format, said) = match decode(&input, &limits, now) {
            Decoded::Change(change) => ("cloudevents", Said::Change(change)),
            Decoded::Verdict(verdict) => ("cloudevents", Said::Verdict(verdict)),
            Decoded::Ignored => ("ignored", Said::Nothing),
            Decoded::Refused(refusal) => ("undecodable", Said::Refused(refusal)),
        };
        if delivery.source == Source::Work {
            metrics::counter!("scim_relay_events_received_total", "format" => format).increment(1);
        }
        said
    }

    async fn refuse(&self, delivery: &Delivery, refusal: Refusal) -> Result<(), PublishError> {
        let reason = Reason::of(refusal.class, refusal.detail);
        let resource = refusal.resource.as_ref();
        tracing::warn!(class = %reason.class, resource = resource.map(tracing::field::display), "an event was refused");
        self.letters.refused(&delivery.message, resource, refusal.event_id.as_deref(), &reason).await
    }

    /// Load, merge, swap; again for those that somebody else changed meanwhile.
    async fn merge_changes(
        &self,
        changes: BTreeMap<ResourceKey, Vec<(Change, Source)>>,
    ) -> Result<(), StoreError> {
        let mut open: Vec<Open> = changes.into_iter().map(|(key, changes)| Open::new(key, changes)).collect();
        let mut wakes = false;
        while !open.is_empty() {
            let known = self.look(&open).await?;
            let (mut again, mut swaps, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
            for (one, (loaded, is_recent)) in open.into_iter().zip(known) {
                let MergedRecord { swap, results } = self.merged(loaded, &one.now);
                match swap {
                    // what changes nothing is not taken for known by a record of a moment ago alone
                    None if is_recent => again.push(one.loaded_next()),
                    None => {
                        count(&results);
                        again.extend(one.rest());
                    }
                    Some(swap) => {
                        waiting.push((one, results, swap.members.is_empty().then(|| swap.record.clone())));
                        swaps.push(swap);
                    }
                }
            }
            wakes |= swaps.iter().any(|swap| self.wakes(swap));
            let swapped = self.store.swap(swaps).await?;
            let mut written = Vec::new();
            for ((one, results, record), swapped) in waiting.into_iter().zip(swapped) {
                match swapped {
                    Swapped::Done { version, .. } => {
                        count(&results);
                        written.extend(record.map(|record| (one.key.clone(), version, record)));
                        again.extend(one.rest());
                    }
                    Swapped::Conflict => again.push(one.loaded_next()),
                }
            }
            self.recent.keep(written, self.clock.now());
            open = again;
        }
        if wakes {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// The records of these, each with whether it is one of a moment ago.
    async fn look(&self, open: &[Open]) -> Result<Vec<(Loaded, bool)>, StoreError> {
        let now = self.clock.now();
        let recent: Vec<Option<Loaded>> = open.iter().map(|one| one.recent(&self.recent, now)).collect();
        let unknown = open.iter().zip(&recent).filter(|(_, recent)| recent.is_none());
        let loads: Vec<Load> = unknown.map(|(one, _)| load(&one.key, &one.now)).collect();
        let loaded = match loads.is_empty() {
            true => Vec::new(),
            false => self.store.load(&loads).await?,
        };
        let mut loaded = loaded.into_iter();
        let known = recent.into_iter().zip(open).map(|(recent, one)| match recent {
            Some(recent) => (recent, true),
            None => (loaded.next().unwrap_or_else(|| Loaded::nothing(&one.key)), false),
        });
        Ok(known.collect())
    }

    /// True if the flush has to look at the schedule: behind a backlog only deprovisioning is worth that.
    fn wakes(&self, swap: &Swap) -> bool {
        let lane = swap.record.due.filter(|_| swap.reschedule == Reschedule::AsRecord).map(|due| due.lane);
        lane.is_some_and(|lane| lane == Lane::Deprovision || !self.backlog.get())
    }

    fn merged(&self, loaded: Loaded, changes: &[(Change, Source)]) -> MergedRecord {
        let Loaded { key, version, mut record, mut members } = loaded;
        let due = record.due;
        let (mut touched, mut results) = (BTreeSet::new(), Vec::new());
        let mut rescheduled = false;
        let now = self.clock.now();
        for (change, source) in changes {
            let intake = record.merge(change, &members);
            take_attempts(&mut record, change, intake.merged, now);
            for (value, entry) in intake.members {
                touched.insert(value.clone());
                members.insert(value, entry);
            }
            rescheduled |= after_merge(&key, &mut record, change, intake.merged, now, self.settings.linger);
            results.push((intake.merged, *source));
        }
        let is_news = results.iter().any(|(merged, _)| *merged == Merged::New);
        let swap = (is_news || record.due != due).then(|| Swap {
            key,
            expected: version,
            record,
            members: touched.into_iter().map(|value| (value.clone(), members.remove(&value))).collect(),
            reschedule: if rescheduled { Reschedule::AsRecord } else { Reschedule::Keep },
        });
        MergedRecord { swap, results }
    }

    /// What was decided about these words is decided here too.
    async fn merge_verdict(&self, verdict: &Verdict) -> Result<(), StoreError> {
        let values: Vec<String> = verdict.words.members.iter().map(|(value, _)| value.clone()).collect();
        loop {
            let loads = [Load { key: verdict.key.clone(), members: values.clone() }];
            let Some(loaded) = self.store.load(&loads).await?.pop() else { return Ok(()) };
            let Loaded { key, version, mut record, members: mut entries } = loaded;
            let (before, entries_before) = (record.clone(), entries.clone());
            settle::mark(&mut record, &mut entries, &verdict.words, verdict.kind.mark(verdict.round));
            if record == before && entries == entries_before {
                return Ok(());
            }
            let approved = verdict.kind == Kind::Approved;
            let due = approved && after_approval(&key, &mut record, self.clock.now());
            let members = entries.into_iter().map(|(value, entry)| (value, Some(entry))).collect();
            let reschedule = if due { Reschedule::AsRecord } else { Reschedule::Keep };
            let swap = Swap { key, expected: version, record, members, reschedule };
            if self.store.swap(vec![swap]).await?.pop() != Some(Swapped::Conflict) {
                self.wake.notify_one();
                return Ok(());
            }
        }
    }
}

/// A batch whose changes are merged.
struct Batch {
    /// The last tag of each session and source.
    last: BTreeMap<(u64, Source), u64>,
    verdicts: Vec<Verdict>,
}

fn last(batch: &[Delivery]) -> BTreeMap<(u64, Source), u64> {
    let mut last = BTreeMap::new();
    for delivery in batch {
        let tag = last.entry((delivery.session, delivery.source)).or_default();
        *tag = delivery.tag.max(*tag);
    }
    last
}

/// Ever longer waits for a store or broker that does not take what is merged.
#[derive(Default)]
struct Waits(u32);

impl Waits {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(5);

    /// Says why, and waits. False: stopped meanwhile.
    async fn after(&mut self, error: &Unsettled, stop: &CancellationToken) -> bool {
        tracing::warn!(%error, "intake waits");
        let wait = Self::FIRST.saturating_mul(1 << self.0.min(8)).min(Self::LONGEST);
        self.0 += 1;
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }
}

/// The changes of one resource that are still to be merged.
struct Open {
    key: ResourceKey,
    /// Those that go into one swap.
    now: Vec<(Change, Source)>,
    later: Vec<(Change, Source)>,
    must_load: bool,
}

impl Open {
    fn new(key: ResourceKey, mut changes: Vec<(Change, Source)>) -> Self {
        let later = changes.split_off(first_swap(&changes));
        Self { key, now: changes, later, must_load: false }
    }

    fn loaded_next(self) -> Self {
        Self { must_load: true, ..self }
    }

    /// What is left when the first ones are merged.
    fn rest(self) -> Option<Self> {
        (!self.later.is_empty()).then(|| Self::new(self.key, self.later))
    }

    /// The record as it was written a moment ago, where the ledger does not matter.
    fn recent(&self, recent: &Recent, now: Millis) -> Option<Loaded> {
        let ledger = self.now.iter().any(|(change, _)| !change.delta.members.is_empty());
        if self.must_load || ledger { None } else { recent.take(&self.key, now) }
    }
}

struct MergedRecord {
    swap: Option<Swap>,
    results: Vec<(Merged, Source)>,
}

fn load(key: &ResourceKey, changes: &[(Change, Source)]) -> Load {
    let members = changes.iter().flat_map(|(change, _)| change.delta.members.iter().map(|m| m.value.clone()));
    let members: BTreeSet<String> = members.collect();
    Load { key: key.clone(), members: members.into_iter().collect() }
}

/// How many of these changes fit into one swap; at least one.
fn first_swap(changes: &[(Change, Source)]) -> usize {
    let mut members = 0;
    let fits = changes.iter().take_while(|(change, _)| {
        members += change.delta.members.len();
        members <= MEMBERS_PER_SWAP
    });
    fits.count().max(1).min(changes.len())
}

/// A change with many members in several pieces; the attributes and floors come last, so that the list is complete
/// before anything older is hidden.
fn pieces(change: Change) -> Vec<Change> {
    if change.delta.members.len() <= MEMBERS_PER_SWAP {
        return vec![change];
    }
    let chunks = change.delta.members.chunks(MEMBERS_PER_SWAP);
    let mut pieces: Vec<Change> = chunks
        .map(|members| Change {
            delta: Delta { members: members.to_vec(), ..Delta::default() },
            ..change.clone()
        })
        .collect();
    pieces.push(Change { delta: Delta { members: Vec::new(), ..change.delta.clone() }, ..change });
    pieces
}

/// After a loss of the store a returning letter brings its attempts along.
fn take_attempts(record: &mut Record, change: &Change, merged: Merged, now: Millis) {
    if change.attempt > 0 && merged == Merged::New && record.trouble.is_none() {
        let class = crate::core::letter::Class::Exhausted;
        let (attempt, first_failed_at, last_failed_at) = (change.attempt, change.first_seen, now);
        record.trouble = Some(Trouble { attempt, first_failed_at, last_failed_at, class, status: None });
    }
}

/// Counts what merged. From the urgent queue only that: all else is counted with its copy in `work`.
fn count(results: &[(Merged, Source)]) {
    for (merged, source) in results {
        let result = match (merged, source) {
            (Merged::New, _) => "new",
            (_, Source::Urgent) => continue,
            (Merged::Duplicate, Source::Work) => "duplicate",
            (Merged::Stale, Source::Work) => "stale",
        };
        metrics::counter!("scim_relay_events_merged_total", "result" => result).increment(1);
    }
}
