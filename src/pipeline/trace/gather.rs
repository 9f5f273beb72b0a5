//! What the streams hold about one resource. Only the newest of it is kept, and no values.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Teller, Untold};
use crate::core::change::{Change, Origin};
use crate::core::desired::Words;
use crate::core::record::{MemberEntry, Record};
use crate::core::resource::ResourceKey;
use crate::core::revision::Revision;
use crate::core::schedule::Millis;
use crate::core::settle;
use crate::core::settled::Settled;
use crate::core::trace::{Again, Decision, LetterSeen, Said, Settlement, Told, Write};
use crate::decode::verdict::Kind;
use crate::decode::{Decoded, Input, Limits, decode};
use crate::pipeline::head::Head;
use crate::pipeline::ports::{
    Entry, From, LetterIndex, Load, Message, Publisher, Shelf, Store, StoreError, Stream,
};
use crate::pipeline::stretch::{Stretch, Unread, Which, may_name};

/// Most lines of each sort; the newest count.
const MOST: usize = 10_000;
/// Most intents of the relay's own; each event is compared with all of them.
const MOST_AGAIN: usize = 1_000;
/// Most members that are looked at once more at the end.
const OPEN_MEMBERS: usize = 10_000;
/// Longer than anything: whether an event came from the future was decided when it came.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// An event of the resource.
pub(super) struct Event {
    pub(super) offset: u64,
    pub(super) told: Told,
    pub(super) kind: String,
    pub(super) sequence: Option<String>,
    pub(super) time: Option<String>,
    pub(super) published: Option<Millis>,
    /// Why it was refused.
    pub(super) class: Option<String>,
    pub(super) paths: Vec<String>,
    pub(super) members: usize,
}

/// A decision about words of the resource.
pub(super) struct Decided {
    pub(super) offset: u64,
    pub(super) at: Option<Millis>,
    pub(super) decision: Decision,
    pub(super) words: Words,
}

/// What was read so far.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) events: VecDeque<Event>,
    pub(super) decided: VecDeque<Decided>,
    pub(super) writes: VecDeque<Write>,
    /// With the offset of each.
    pub(super) again: VecDeque<(u64, Again)>,
    pub(super) dropped: u64,
    open: BTreeSet<String>,
}

impl Gathered {
    pub(super) fn open_members(&self) -> Vec<String> {
        self.open.iter().cloned().collect()
    }
}

/// Keeps a line.
fn keep<T>(kept: &mut VecDeque<T>, new: T, dropped: &mut u64) {
    if kept.len() >= MOST {
        kept.pop_front();
        *dropped += 1;
    }
    kept.push_back(new);
}

/// The envelope of an event, as far as it is shown.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope {
    id: Value,
    r#type: Value,
    subject: Value,
    sequence: Value,
    time: Value,
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

impl<S: Store + LetterIndex, P: Publisher, J: Stream> Teller<S, P, J> {
    pub(super) async fn read_outcomes(
        &self,
        key: &ResourceKey,
        since: Option<Millis>,
        gathered: &mut Gathered,
    ) -> Result<(), Unread> {
        let stream = (Which::Outcomes, &self.streams.outcomes);
        let mut stretch = Stretch::begin(&self.letters, stream, place(since), self.ids).await?;
        while let Some(entries) = stretch.next().await? {
            for entry in entries {
                let settled = serde_json::from_slice::<Settled>(&entry.message.body).ok();
                let ours = settled.filter(|settled| settled.key().as_ref() == Some(key));
                if let Some(settled) = ours.filter(|settled| since.is_none_or(|since| settled.at >= since)) {
                    keep(&mut gathered.writes, Write::new(settled), &mut gathered.dropped);
                }
            }
        }
        gathered.writes.make_contiguous().sort_by_key(|write| write.settled.at);
        Ok(())
    }

    pub(super) async fn read_journal(
        &self,
        key: &ResourceKey,
        since: Option<Millis>,
        gathered: &mut Gathered,
    ) -> Result<(), Untold> {
        let stream = (Which::Journal, &self.streams.journal);
        let mut stretch = Stretch::begin(&self.letters, stream, place(since), self.ids).await?;
        while let Some(entries) = stretch.next().await? {
            for entry in entries {
                if may_name(&entry.message.body, key.external_id.as_str().as_bytes()) {
                    self.take(key, &entry, gathered).await?;
                }
            }
        }
        Ok(())
    }

    async fn take(
        &self,
        key: &ResourceKey,
        entry: &Entry,
        gathered: &mut Gathered,
    ) -> Result<(), StoreError> {
        let message = &entry.message;
        let mut decided = |at, decision, words| {
            let decided = Decided { offset: entry.offset, at, decision, words };
            keep(&mut gathered.decided, decided, &mut gathered.dropped);
        };
        let event = match self.read(message) {
            Decoded::Change(change) if change.key != *key => return Ok(()),
            Decoded::Change(change) if change.origin != Origin::Publisher => {
                let words = settle::named(&change.delta);
                if change.origin == Origin::Replay {
                    decided(None, Decision::Replayed, words.clone());
                }
                if gathered.again.len() >= MOST_AGAIN {
                    gathered.again.pop_front();
                }
                gathered.again.push_back((entry.offset, Again { id: change.event_id, words }));
                return Ok(());
            }
            Decoded::Change(change) => self.event(entry, *change, gathered).await?,
            Decoded::Verdict(verdict) => {
                if verdict.key == *key {
                    decided(message.timestamp, of(verdict.kind), verdict.words);
                }
                return Ok(());
            }
            Decoded::Ignored => {
                let event = bare(entry, Said::Ignored);
                if subject(message).as_deref() != Some(key.external_id.as_str())
                    || is_the_relays_own(&event.kind)
                {
                    return Ok(());
                }
                event
            }
            Decoded::Refused(refusal) if refusal.resource.as_ref() == Some(key) => {
                Event { class: Some(refusal.class.name().to_owned()), ..bare(entry, Said::Refused) }
            }
            Decoded::Refused(_) => return Ok(()),
        };
        keep(&mut gathered.events, event, &mut gathered.dropped);
        Ok(())
    }

    fn read(&self, message: &Message) -> Decoded {
        let input = Input {
            body: &message.body,
            content_type: message.content_type.as_deref(),
            timestamp: message.timestamp,
            from_publishers: message.exchange != self.settings.routes.intake,
            attempt: 0,
            round: None,
        };
        let limits = Limits { max_event_bytes: self.settings.max_event_bytes, max_clock_skew: FOREVER };
        decode(&input, &limits, Millis(0))
    }

    /// An event, with those of its members that are not settled yet.
    async fn event(
        &self,
        entry: &Entry,
        change: Change,
        gathered: &mut Gathered,
    ) -> Result<Event, StoreError> {
        let delta = change.delta;
        let (count, members) = (delta.members.len(), delta.members);
        let mut words = Words {
            attributes: delta.attributes.into_iter().map(|said| (said.path, said.revision)).collect(),
            put: delta.lifecycle.put,
            deleted: delta.lifecycle.deleted,
            ..Words::default()
        };
        let mut settlement = Settlement::None;
        if !members.is_empty() {
            let values = members.iter().map(|member| member.value.clone()).collect();
            let loads = [Load { key: change.key, members: values }];
            let loaded = self.store.load(&loads).await?.pop();
            let (record, entries) =
                loaded.map_or_else(Default::default, |loaded| (loaded.record, loaded.members));
            for member in members {
                let settled = stands(&record, &entries, &member.value, &member.revision);
                if settled.is_none() && gathered.open.len() < OPEN_MEMBERS {
                    gathered.open.insert(member.value.clone());
                    words.members.push((member.value, member.revision));
                }
                settlement = settlement.max(settled.unwrap_or_default());
            }
        }
        let paths = words.attributes.iter().map(|(path, _)| path.to_string()).collect();
        let event = bare(entry, Said::Words(words, settlement));
        Ok(Event { paths, members: count, ..event })
    }

    /// The letters that are about a resource.
    pub(super) async fn letters_of(&self, key: &ResourceKey) -> Result<Vec<LetterSeen>, StoreError> {
        let (name, mut found) = (key.to_string(), BTreeMap::new());
        for shelf in [Shelf::Dead, Shelf::Parked] {
            let mut cursor = Some(0);
            while let Some(at) = cursor {
                let (page, next) = self.store.shelf_page(shelf, at).await?;
                let heads = page.iter().map(|(id, text)| Head::from_json(id, text));
                for head in heads.filter(|head| head.resource.as_deref() == Some(&name)) {
                    let (id, class) = (head.id.clone(), head.class);
                    let event_ids = head.event_ids.unwrap_or_default();
                    let letter = LetterSeen { id, class, parked: shelf == Shelf::Parked, event_ids };
                    found.insert(head.id, letter);
                }
                cursor = next;
            }
        }
        Ok(found.into_values().collect())
    }
}

fn place(since: Option<Millis>) -> From {
    since.map_or(From::First, From::Time)
}

/// How a member stands; none: it is to be looked at once more.
fn stands(
    record: &Record,
    entries: &BTreeMap<String, MemberEntry>,
    value: &str,
    said: &Revision,
) -> Option<Settlement> {
    match entries.get(value) {
        _ if record.desired.member_floor().is_some_and(|floor| floor > said) => Some(Settlement::Overtaken),
        Some(entry) if entry.revision > *said => Some(Settlement::Overtaken),
        Some(entry) if entry.revision == *said && entry.mark.is_wanted() && !entry.dirty => {
            Some(Settlement::Current)
        }
        Some(_) | None => None,
    }
}

fn of(kind: Kind) -> Decision {
    match kind {
        Kind::Dead => Decision::Dead,
        Kind::Held => Decision::Held,
        Kind::Approved => Decision::Approved,
        Kind::Rejected => Decision::Rejected,
        Kind::Discarded => Decision::Discarded,
    }
}

fn is_the_relays_own(kind: &str) -> bool {
    kind.starts_with("directory.relay.")
}

fn envelope(message: &Message) -> Envelope {
    serde_json::from_slice(&message.body).unwrap_or_default()
}

fn subject(message: &Message) -> Option<String> {
    shown(&envelope(message).subject)
}

/// An event of which only the envelope is known.
fn bare(entry: &Entry, said: Said) -> Event {
    let envelope = envelope(&entry.message);
    let told = Told { id: shown(&envelope.id).unwrap_or_default(), said };
    Event {
        offset: entry.offset,
        told,
        kind: shown(&envelope.r#type).unwrap_or_default(),
        sequence: shown(&envelope.sequence),
        time: shown(&envelope.time),
        published: entry.message.timestamp,
        class: None,
        paths: Vec::new(),
        members: 0,
    }
}
