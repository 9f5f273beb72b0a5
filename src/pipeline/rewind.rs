//! Rewind: the journal is merged again from some time on, into the store as it is, and what it touches is read at the target.
//! Merging is idempotent, so that this only brings back what is missing; what was decided stays decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::head::Head;
use super::intake::{Intake, Tally, Unsettled};
use super::letters::Letters;
use super::operator;
use super::ports::{
    Clock, From, Header, LetterIndex, Load, Loaded, Message, Publisher, Shelf, Store, StoreError, Stream,
};
use super::recover::STAMP;
use super::settings::Settings;
use super::stretch::{Stretch, Unread, Which, may_name};
use crate::core::change::Change;
use crate::core::desired::{Merged, Presence};
use crate::core::gap::{Gap, Rules, Seen, gap};
use crate::core::generation::Stamp;
use crate::core::record::Record;
use crate::core::reference::References;
use crate::core::resource::ResourceKey;
use crate::core::schedule::Millis;
use crate::core::settle::{self, Entries};
use crate::decode::verdict::Verdict;
use crate::decode::{Decoded, Input, Limits, decode};

/// Most records and ledger entries that a forecast remembers as they would be. Beyond these each batch is compared with the
/// store alone.
const REMEMBERED: usize = 100_000;

/// Why a rewind stopped. It may be run again.
#[derive(Debug, thiserror::Error)]
pub enum Unwound {
    /// The journal was not read to its end.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody has begun with this store yet.
    #[error("no relay has run with this store yet: `scim-relay run` merges the whole journal by itself")]
    New,
    /// The relay is at it.
    #[error("the store is being recovered: the relay merges the whole journal just now; see /readyz")]
    Recovering,
}

impl std::convert::From<Unsettled> for Unwound {
    fn from(error: Unsettled) -> Self {
        match error {
            Unsettled::Store(error) => Unwound::Store(error),
            Unsettled::Publish(error) => Unwound::Unread(Unread::Publish(error)),
        }
    }
}

/// What a rewind merged, or would merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events, and intents of the relay itself.
    pub events: u64,
    /// Resources that they are about.
    pub resources: u64,
    /// Those that say something new.
    pub new: u64,
    /// Those of which everything is known.
    pub duplicate: u64,
    /// Those of which something newer is known.
    pub stale: u64,
    /// Resources that are not as they are wanted, as far as the store knows.
    pub different: u64,
}

impl Counts {
    fn count(&mut self, merged: Merged) {
        self.events += 1;
        match merged {
            Merged::New => self.new += 1,
            Merged::Duplicate => self.duplicate += 1,
            Merged::Stale => self.stale += 1,
        }
    }
}

/// What is merged again.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// From this time on.
    pub since: Millis,
    /// Only this resource.
    pub only: Option<&'a ResourceKey>,
}

/// Merges the journal again.
#[derive(Debug)]
pub struct Rewind<S, P, J> {
    store: Arc<S>,
    letters: Arc<Letters<P>>,
    journal: J,
    clock: Arc<dyn Clock>,
    settings: Arc<Settings>,
    ids: fn() -> String,
}

impl<S: Store + LetterIndex, P: Publisher, J: Stream> Rewind<S, P, J> {
    /// `ids` makes names that no other has.
    pub fn new(
        store: Arc<S>,
        letters: Arc<Letters<P>>,
        journal: J,
        clock: Arc<dyn Clock>,
        settings: Arc<Settings>,
        ids: fn() -> String,
    ) -> Self {
        Self { store, letters, journal, clock, settings, ids }
    }

    /// Works under the generation that the store has; fails unless it is whole.
    pub async fn begin(&self) -> Result<(), Unwound> {
        let stamp = self.store.recall(STAMP).await?;
        // one that can't be read is none, as for the recovery
        let stamp: Stamp = stamp.and_then(|text| serde_json::from_str(&text).ok()).ok_or(Unwound::New)?;
        if !stamp.ready {
            return Err(Unwound::Recovering);
        }
        self.store.adopt(stamp.generation);
        Ok(())
    }

    /// What would come of it. Changes nothing.
    pub async fn foresee(&self, window: Window<'_>, rules: &Rules) -> Result<Counts, Unwound> {
        let refused = self.refused().await?;
        let mut forecast = Forecast::of(rules);
        let mut stretch = self.read(window).await?;
        while let Some(entries) = stretch.next().await? {
            let said = entries.iter().filter_map(|entry| self.said(&entry.message, window, &refused));
            let said: Vec<Said> = said.collect();
            let loaded = self.store.load(&loads(&said)).await?;
            forecast.take(said, loaded);
        }
        Ok(forecast.counts())
    }

    /// Merges it, and has the target read what it touched. `progress` is told how many messages were read.
    pub async fn run(&self, window: Window<'_>, mut progress: impl FnMut(u64)) -> Result<Counts, Unwound> {
        let refused = self.refused().await?;
        // a word must not be seen before what was decided about it, where the store does not know that any more
        let intake = self.merger(self.decided(window, &refused).await?);
        let (mut touched, mut read) = (BTreeSet::new(), 0);
        let mut stretch = self.read(window).await?;
        while let Some(entries) = stretch.next().await? {
            read += entries.len() as u64;
            progress(read);
            let mut deliveries = Vec::new();
            for entry in entries {
                if let Some(said) = self.said(&entry.message, window, &refused) {
                    touched.insert(said.key().clone());
                    deliveries.push(intake.delivered(entry));
                }
            }
            for verdict in intake.merge(&deliveries).await? {
                intake.merge_verdict(&verdict).await?;
            }
        }
        for key in &touched {
            operator::verify(&*self.store, key, self.clock.now()).await?;
        }
        let Tally { new, duplicate, stale } = intake.tally();
        let (events, resources) = (new + duplicate + stale, touched.len() as u64);
        Ok(Counts { events, resources, new, duplicate, stale, different: 0 })
    }

    async fn read(&self, window: Window<'_>) -> Result<Stretch<'_, P, J>, Unread> {
        Stretch::begin(&self.letters, (Which::Journal, &self.journal), From::Time(window.since), self.ids)
            .await
    }

    fn merger(&self, decided: BTreeMap<ResourceKey, Vec<Verdict>>) -> Intake<S, P> {
        Intake::of_journal(
            self.store.clone(),
            self.letters.clone(),
            self.clock.clone(),
            self.settings.clone(),
        )
        .decided(decided)
    }

    fn is_from_publishers(&self, message: &Message) -> bool {
        message.exchange != self.settings.routes.intake
    }

    /// All that was decided in the window.
    async fn decided(
        &self,
        window: Window<'_>,
        refused: &Refused,
    ) -> Result<BTreeMap<ResourceKey, Vec<Verdict>>, Unwound> {
        let mut decided = BTreeMap::<_, Vec<Verdict>>::new();
        let mut stretch = self.read(window).await?;
        while let Some(entries) = stretch.next().await? {
            let own = entries.iter().filter(|entry| !self.is_from_publishers(&entry.message));
            for said in own.filter_map(|entry| self.said(&entry.message, window, refused)) {
                if let Said::Verdict(verdict) = said {
                    decided.entry(verdict.key.clone()).or_default().push(*verdict);
                }
            }
        }
        Ok(decided)
    }

    /// What a message says of a resource in the window.
    fn said(&self, message: &Message, window: Window<'_>, refused: &Refused) -> Option<Said> {
        let name = window.only.map(|key| key.external_id.as_str().as_bytes());
        if name.is_some_and(|name| !may_name(&message.body, name)) {
            return None;
        }
        let (attempt, round) = (0, replays(message));
        let input = Input {
            body: &message.body,
            content_type: message.content_type.as_deref(),
            timestamp: message.timestamp,
            from_publishers: self.is_from_publishers(message),
            attempt,
            round,
        };
        let limits = Limits {
            max_event_bytes: self.settings.max_event_bytes,
            max_clock_skew: self.settings.max_clock_skew,
        };
        let said = match decode(&input, &limits, self.clock.now()) {
            Decoded::Change(change) if refused.has(&change) => return None,
            Decoded::Change(change) => Said::Change(change),
            Decoded::Verdict(verdict) => Said::Verdict(verdict),
            Decoded::Ignored | Decoded::Refused(_) => return None,
        };
        window.only.is_none_or(|only| only == said.key()).then_some(said)
    }

    /// The events that were refused when they came: their letters are their home, even if they would be accepted today.
    async fn refused(&self) -> Result<Refused, StoreError> {
        let mut refused = Refused::default();
        for shelf in [Shelf::Dead, Shelf::Parked] {
            let mut cursor = Some(0);
            while let Some(at) = cursor {
                let (page, next) = self.store.shelf_page(shelf, at).await?;
                page.iter().for_each(|(id, text)| refused.note(Head::from_json(id, text)));
                cursor = next;
            }
        }
        Ok(refused)
    }
}

/// Events that no decoder accepted: resource and `id`.
#[derive(Debug, Default)]
struct Refused(BTreeSet<(String, String)>);

impl Refused {
    fn note(&mut self, head: Head) {
        let refused = matches!(head.class.as_str(), "decode" | "unsupported_patch" | "future_time");
        if let (true, Some(resource), Some(ids)) = (refused, head.resource, head.event_ids) {
            self.0.extend(ids.into_iter().map(|id| (resource.clone(), id)));
        }
    }

    fn has(&self, change: &Change) -> bool {
        !self.0.is_empty() && self.0.contains(&(change.key.to_string(), change.event_id.clone()))
    }
}

/// How often a message was replayed, as far as it says so.
fn replays(message: &Message) -> Option<u32> {
    match message.headers.get("x-relay-replays") {
        Some(Header::Int(round)) => u32::try_from(*round).ok(),
        _ => None,
    }
}

/// What a message says of a resource.
enum Said {
    Change(Box<Change>),
    Verdict(Box<Verdict>),
}

impl Said {
    fn key(&self) -> &ResourceKey {
        match self {
            Said::Change(change) => &change.key,
            Said::Verdict(verdict) => &verdict.key,
        }
    }

    fn members(&self) -> Vec<String> {
        match self {
            Said::Change(change) => change.delta.members.iter().map(|member| member.value.clone()).collect(),
            Said::Verdict(verdict) => verdict.words.members.iter().map(|(value, _)| value.clone()).collect(),
        }
    }
}

/// What to load: each resource once, with all members that are named.
fn loads(said: &[Said]) -> Vec<Load> {
    let mut members = BTreeMap::<&ResourceKey, BTreeSet<String>>::new();
    for one in said {
        members.entry(one.key()).or_default().extend(one.members());
    }
    members
        .into_iter()
        .map(|(key, members)| Load { key: key.clone(), members: members.into_iter().collect() })
        .collect()
}

/// What merging would come to.
struct Forecast<'a> {
    rules: &'a Rules,
    counts: Counts,
    resources: BTreeSet<ResourceKey>,
    different: BTreeSet<ResourceKey>,
    /// As they would be: only those that would become others.
    merged: BTreeMap<ResourceKey, (Record, Entries)>,
    remembered: usize,
}

impl<'a> Forecast<'a> {
    fn of(rules: &'a Rules) -> Self {
        Self {
            rules,
            counts: Counts::default(),
            resources: BTreeSet::new(),
            different: BTreeSet::new(),
            merged: BTreeMap::new(),
            remembered: 0,
        }
    }

    fn take(&mut self, said: Vec<Said>, loaded: Vec<Loaded>) {
        let mut today: BTreeMap<ResourceKey, (Record, Entries)> = BTreeMap::new();
        for Loaded { key, record, members, .. } in loaded {
            let known = match self.merged.get(&key) {
                Some((record, entries)) => {
                    let mut all = members;
                    all.extend(entries.clone());
                    (record.clone(), all)
                }
                None => (record, members),
            };
            today.insert(key, known);
        }
        let mut changed = BTreeSet::new();
        for one in said {
            let Some((record, entries)) = today.get_mut(one.key()) else { continue };
            let is_new = match &one {
                Said::Change(change) => {
                    let intake = record.merge(change, entries);
                    entries.extend(intake.members);
                    self.counts.count(intake.merged);
                    intake.merged == Merged::New
                }
                Said::Verdict(verdict) => {
                    settle::mark(record, entries, &verdict.words, verdict.kind.mark(verdict.round));
                    true
                }
            };
            if is_new {
                changed.insert(one.key().clone());
            }
        }
        for (key, (record, entries)) in today {
            match self.is_different(&key, &record, &entries) {
                true => self.different.insert(key.clone()),
                false => self.different.remove(&key),
            };
            self.resources.insert(key.clone());
            let size = 1 + entries.len();
            if changed.contains(&key) && self.remembered + size <= REMEMBERED {
                self.remembered += size;
                self.merged.insert(key, (record, entries));
            }
        }
    }

    /// True if there would be something to write, or to look at.
    fn is_different(&self, key: &ResourceKey, record: &Record, entries: &Entries) -> bool {
        let next = gap(key, record, self.rules, Seen::default(), &References::new());
        let open = match next {
            Gap::None(changes) => !changes.is_empty(),
            // of nobody who exists nowhere anything is known, and nothing is wanted
            Gap::Find => record.desired.presence() != Presence::Deleted,
            Gap::Read
            | Gap::NoBase
            | Gap::NotSupported(_)
            | Gap::Create(_)
            | Gap::Deactivate
            | Gap::Delete
            | Gap::Update(_) => true,
        };
        open || entries.values().any(|entry| entry.dirty && !record.is_withheld_member(entry))
    }

    fn counts(self) -> Counts {
        let (resources, different) = (self.resources.len() as u64, self.different.len() as u64);
        Counts { resources, different, ..self.counts }
    }
}
