//! Trace: the story of one resource, as the journal, the outcomes, the letters and the record tell it. Nothing is changed.

mod gather;

use std::sync::Arc;

use serde::Serialize;

use self::gather::{Decided, Event, Gathered};
use super::letters::{Letters, rfc3339};
use super::ports::{LetterIndex, Load, Loaded, Publisher, Store, StoreError, Stream};
use super::recover::Streams;
use super::settings::Settings;
use super::stretch::Unread;
use crate::core::desired::Words;
use crate::core::gap::Rules;
use crate::core::plan::Purpose;
use crate::core::resource::ResourceKey;
use crate::core::schedule::Millis;
use crate::core::trace::{Again, Decision, Facts, Known, Outcome, Told, Write};

/// Why nothing could be told.
#[derive(Debug, thiserror::Error)]
pub enum Untold {
    /// A stream was not read to its end.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A line of the story. No values.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// A publisher's event.
    Event(EventLine),
    /// What was decided about words of it.
    Decision(DecisionLine),
    /// A write that the target acknowledged.
    Write(WriteLine),
}

/// An event with its outcome.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventLine {
    /// Whose.
    pub resource: String,
    /// Its `id`.
    pub event_id: String,
    /// Its `type`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Its place in the source's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// Its `time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// When it was published, if its publisher said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_at: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// When the last write that carried some of it was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<String>,
    /// Method and path of that write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The status of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The letter that is its home.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letter: Option<String>,
    /// That letter's class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The attributes that it names.
    pub paths: Vec<String>,
    /// How many members it names.
    pub members: usize,
}

/// A decision about words of the resource.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecisionLine {
    /// Whose.
    pub resource: String,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What.
    pub decision: Decision,
    /// About which attributes.
    pub paths: Vec<String>,
    /// About how many members.
    pub members: usize,
}

/// A settled write.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WriteLine {
    /// Whose.
    pub resource: String,
    /// When it was acknowledged.
    pub at: String,
    /// What it was for.
    pub purpose: Purpose,
    /// Method and path.
    pub operation: String,
    /// The status of the answer.
    pub http_status: u16,
    /// The events that were pending, the first ones.
    pub event_ids: Vec<String>,
    /// The attributes that it wrote or removed.
    pub paths: Vec<String>,
    /// How many members came and went.
    pub members: usize,
}

/// The story of a resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// In the order of the journal, each write behind the last event that it carried.
    pub lines: Vec<Line>,
    /// False: neither the store nor the streams know the resource.
    pub known: bool,
    /// So many older lines were left out.
    pub dropped: u64,
}

/// Tells stories.
#[derive(Debug)]
pub struct Teller<S, P, J> {
    store: Arc<S>,
    letters: Arc<Letters<P>>,
    streams: Streams<J>,
    settings: Arc<Settings>,
    ids: fn() -> String,
}

impl<S: Store + LetterIndex, P: Publisher, J: Stream> Teller<S, P, J> {
    /// `ids` makes names that no other has.
    pub fn new(
        store: Arc<S>,
        letters: Arc<Letters<P>>,
        streams: Streams<J>,
        settings: Arc<Settings>,
        ids: fn() -> String,
    ) -> Self {
        Self { store, letters, streams, settings, ids }
    }

    /// The story of a resource from a time on, or from the beginning of the streams.
    pub async fn tell(
        &self,
        key: &ResourceKey,
        since: Option<Millis>,
        rules: &Rules,
    ) -> Result<Story, Untold> {
        let mut gathered = Gathered::default();
        // the outcomes first: what is written meanwhile is an event without its write, rather than a write without its event
        self.read_outcomes(key, since, &mut gathered).await?;
        self.read_journal(key, since, &mut gathered).await?;
        let letters = self.letters_of(key).await?;
        let loads = [Load { key: key.clone(), members: gathered.open_members() }];
        let loaded = self.store.load(&loads).await?.pop().unwrap_or_else(|| Loaded::nothing(key));
        let Gathered { events, decided, writes, again, dropped, .. } = gathered;
        let (events, decided, writes) = (Vec::from(events), Vec::from(decided), Vec::from(writes));
        let known = loaded.version.counter > 0 || !(events.is_empty() && writes.is_empty());
        let told: Vec<Told> = events.iter().map(|event| event.told.clone()).collect();
        let decisions: Vec<(Decision, Words)> =
            decided.iter().map(|decided| (decided.decision, decided.words.clone())).collect();
        let today = Known { key, record: &loaded.record, entries: &loaded.members, rules };
        let (places, again): (Vec<u64>, Vec<Again>) = again.into_iter().unzip();
        let facts = Facts::new(today, &told, &decisions, &letters, &writes, &again);
        let mut lines = Lines { key: key.to_string(), behind: Vec::new(), last: 0 };
        for (event, told) in events.iter().zip(&told) {
            lines.event(event, &facts, told, &writes);
        }
        decided.iter().for_each(|decided| lines.decision(decided));
        for write in &writes {
            let named =
                again.iter().zip(&places).filter(|(again, _)| write.settled.event_ids.contains(&again.id));
            lines.write(write, &events, named.map(|(_, place)| *place).max().unwrap_or(0));
        }
        Ok(Story { lines: lines.in_order(), known, dropped })
    }
}

/// Lines with their places: behind which entry of the journal, and of those in the same place in which order.
struct Lines {
    key: String,
    behind: Vec<((u64, i64), Line)>,
    /// The place of the last write.
    last: u64,
}

impl Lines {
    fn event(&mut self, event: &Event, facts: &Facts<'_>, told: &Told, writes: &[Write]) {
        let judged = facts.judge(told);
        let write = judged.write.filter(|_| judged.outcome == Outcome::Applied);
        let write = write.map(|at| &writes[at].settled);
        let line = EventLine {
            resource: self.key.clone(),
            event_id: told.id.clone(),
            event_type: event.kind.clone(),
            sequence: event.sequence.clone(),
            time: event.time.clone(),
            published_at: event.published.map(rfc3339),
            outcome: judged.outcome,
            applied_at: write.map(|write| rfc3339(write.at)),
            operation: write.map(|write| write.operation.clone()),
            http_status: write.map(|write| write.status),
            letter: judged.letter.map(|letter| letter.id.clone()),
            class: judged.letter.map(|letter| letter.class.clone()).or_else(|| event.class.clone()),
            paths: event.paths.clone(),
            members: event.members,
        };
        self.behind.push(((event.offset, i64::MIN), Line::Event(line)));
    }

    fn decision(&mut self, decided: &Decided) {
        let line = DecisionLine {
            resource: self.key.clone(),
            at: decided.at.map(rfc3339),
            decision: decided.decision,
            paths: decided.words.attributes.iter().map(|(path, _)| path.to_string()).collect(),
            members: decided.words.members.len(),
        };
        self.behind.push(((decided.offset, i64::MIN), Line::Decision(line)));
    }

    /// Behind the last event that it names, and behind all that was published or written before. `again`: the place of what
    /// the relay said again.
    fn write(&mut self, write: &Write, events: &[Event], again: u64) {
        let it = &write.settled;
        let before = |event: &&Event| {
            it.event_ids.contains(&event.told.id) || event.published.is_some_and(|at| at <= it.at)
        };
        let place = events.iter().rev().find(before).map_or(0, |event| event.offset);
        self.last = self.last.max(place).max(again);
        let line = WriteLine {
            resource: self.key.clone(),
            at: rfc3339(it.at),
            purpose: it.purpose,
            operation: it.operation.clone(),
            http_status: it.status,
            event_ids: it.event_ids.clone(),
            paths: it.paths.clone(),
            members: it.members,
        };
        self.behind.push(((self.last, it.at.0), Line::Write(line)));
    }

    fn in_order(mut self) -> Vec<Line> {
        self.behind.sort_by_key(|(place, _)| *place);
        self.behind.into_iter().map(|(_, line)| line).collect()
    }
}
