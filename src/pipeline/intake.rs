//! Intake: deliveries are decoded, merged into the store and only then acknowledged (D1). What can't be decoded becomes
//! a letter first.

mod history;
mod journal;
mod merge;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::tally::Counters;
pub(super) use self::tally::Tally;
use super::flush::Backlog;
use super::gate::Gate;
use super::in_order::InOrder;
use super::letters::{Letters, traceparent};
use super::ports::{
    Clock, Consumer, Delivery, Header, Load, Loaded, PublishError, Publisher, Reschedule, Source, Store,
    StoreError, Swap, Swapped,
};
use super::recent::Recent;
use super::recover::Mark;
use super::schedule::after_approval;
use super::settings::Settings;
use crate::core::change::{Change, Delta};
use crate::core::record::Record;
use crate::core::resource::ResourceKey;
use crate::core::schedule::Millis;
use crate::core::settle;
use crate::decode::verdict::{Kind, Verdict};
use crate::decode::{Decoded, Input, Limits, Refusal, decode};

/// Most deliveries in a batch: with the default prefetch the broker sends more while some batches are merged.
const BATCH: usize = 80;
/// Batches that are merged at once: while the store works on some, others are decoded. Together they are about what the default
/// prefetch lets out.
const AT_ONCE: usize = 6;
/// So many deliveries that are there at once are a backlog.
const MANY: usize = 60;
/// Most ledger entries written by one swap.
const MEMBERS_PER_SWAP: usize = 2_000;
/// The queue is caught up when nothing has come for so long.
const CAUGHT_UP: Duration = Duration::from_millis(250);
/// Of what waited when the session began something comes within this, unless other replicas took it.
const FIRST_OF_BACKLOG: Duration = Duration::from_secs(2);
/// Deliveries that came back so often are suspects: each is merged alone, or a crash takes the others' limit along.
const SUSPECT: u32 = 3;

/// Why a batch could not be settled. Nothing of it was acknowledged.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsettled {
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
    gate: Arc<Gate>,
    /// What is merged was lost with the store.
    again: Option<Again>,
    /// What is known to have been decided, whatever the store remembers of it.
    decided: BTreeMap<ResourceKey, Vec<Verdict>>,
    tally: Mutex<Tally>,
    counters: Counters,
}

/// What a store has lost, so that it is merged again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Again {
    /// What was known of these resources.
    pub lost: Lost,
    /// Until then what was sent before the loss may come.
    pub until: Millis,
}

/// Of which resources a store has lost what it knew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Of these, and of all that is pending.
    Some(BTreeSet<ResourceKey>),
    /// Of all.
    All,
}

impl Again {
    /// True if what was known of this resource may be lost. What is pending may have been claimed and sent.
    fn has(&self, key: &ResourceKey, record: &Record) -> bool {
        match &self.lost {
            Lost::Some(keys) => record.due.is_some() || keys.contains(key),
            Lost::All => true,
        }
    }
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
        let (recent, gate) = (Recent::default(), Arc::default());
        let (again, decided, tally) = (None, BTreeMap::new(), Mutex::default());
        Self {
            store,
            letters,
            clock,
            settings,
            wake,
            backlog,
            recent,
            gate,
            again,
            decided,
            tally,
            counters: Counters::default(),
        }
    }

    /// Merges under the generation that this gate names.
    pub fn behind(self, gate: Arc<Gate>) -> Self {
        Self { gate, ..self }
    }

    /// Merges what was lost with the store: whatever it touches is to be read at the target.
    pub(super) fn again(self, again: Option<Again>) -> Self {
        Self { again, ..self }
    }

    /// Merges what these verdicts are about together with them: it is never seen without.
    pub(super) fn decided(self, decided: BTreeMap<ResourceKey, Vec<Verdict>>) -> Self {
        Self { decided, ..self }
    }

    /// How many changes merged to what so far.
    pub(super) fn tally(&self) -> Tally {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
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
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = self.gate.stands() => {}
        }
        let mut silence = self.at_start(consumer, stop).await;
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
                batch = self.next(consumer, silence), if may_take => match batch {
                    Ok(batch) => {
                        silence = CAUGHT_UP;
                        merging.push(self.clone().begin(batch, stop.clone()));
                    }
                    Err(error) => tracing::warn!(%error, "deliveries will come again on a fresh session"),
                },
                else => return,
            }
        }
    }

    /// Notes whether a backlog waits. Returns how long a silence means that it does not.
    async fn at_start<C: Consumer>(&self, consumer: &mut C, stop: &CancellationToken) -> Duration {
        self.backlog.set(true);
        loop {
            let waiting = tokio::select! {
                biased;
                () = stop.cancelled() => return CAUGHT_UP,
                waiting = consumer.waiting() => waiting,
            };
            match waiting {
                Ok(waiting) if waiting >= MANY as u64 => return FIRST_OF_BACKLOG,
                Ok(_) => {
                    self.backlog.set(false);
                    self.wake.notify_one();
                    return CAUGHT_UP;
                }
                Err(error) => tracing::warn!(%error, "a fresh session is tried"),
            }
        }
    }

    /// The next deliveries; notes whether the queue holds a backlog, which it does not after such a silence.
    async fn next<C: Consumer>(
        &self,
        consumer: &mut C,
        silence: Duration,
    ) -> Result<Vec<Delivery>, super::ports::SessionEnded> {
        let soon = tokio::time::timeout(silence, consumer.next(BATCH)).await;
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
                    Err(error) => {
                        self.gate.suspect();
                        self.recent.forget();
                        if !waits.after(&error, &stop).await {
                            return None;
                        }
                    }
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
    pub(super) async fn merge(&self, group: &[Delivery]) -> Result<Vec<Verdict>, Unsettled> {
        let now = self.clock.now();
        let mut said = Vec::new();
        let mut verdicts = Vec::new();
        for delivery in group {
            match self.decode(delivery, now) {
                Said::Change(change) => said.push((*change, delivery)),
                Said::Verdict(verdict) => verdicts.push(*verdict),
                Said::Refused(refusal) if delivery.source == Source::Work => {
                    self.refuse(delivery, refusal).await?
                }
                Said::Refused(_) | Said::Nothing => {}
            }
        }
        let (known, generation) = self.of_known_history(said, now).await?;
        let mut changes: BTreeMap<ResourceKey, Vec<(Change, Source)>> = BTreeMap::new();
        for (change, source) in known {
            for piece in pieces(change) {
                changes.entry(piece.key.clone()).or_default().push((piece, source));
            }
        }
        self.merge_changes(changes, generation).await?;
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
        let (counter, said) = match decode(&input, &limits, now) {
            Decoded::Change(mut change) => {
                change.traceparent = traceparent(message);
                (&self.counters.events, Said::Change(change))
            }
            Decoded::Verdict(verdict) => (&self.counters.events, Said::Verdict(verdict)),
            // the relay's own marks are nobody's events
            Decoded::Ignored if !delivery.from_publishers && Mark::read(message).is_some() => {
                return Said::Nothing;
            }
            Decoded::Ignored => (&self.counters.ignored, Said::Nothing),
            Decoded::Refused(refusal) => (&self.counters.undecodable, Said::Refused(refusal)),
        };
        if delivery.source == Source::Work {
            counter.increment(1);
        }
        said
    }

    async fn refuse(&self, delivery: &Delivery, refusal: Refusal) -> Result<(), PublishError> {
        let resource = refusal.resource.as_ref().map(tracing::field::display);
        tracing::warn!(class = %refusal.class, resource, "an event was refused");
        self.letters.refused(&delivery.message, &refusal).await
    }

    /// What was decided about these words is decided here too.
    pub(super) async fn merge_verdict(&self, verdict: &Verdict) -> Result<(), StoreError> {
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
            if self.store.swap(&[swap]).await?.pop() != Some(Swapped::Conflict) {
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
