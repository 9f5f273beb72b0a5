//! Trace: what became of an event, from what is known of its words, what was decided about them and what was written. Pure.

mod passed;

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::desired::{Words, is_active, is_members};
use super::fate::{Fate, fate};
use super::gap::Rules;
use super::path::Path;
use super::plan::Purpose;
use super::record::{MAX_EVENT_IDS, Record};
use super::resource::ResourceKey;
use super::revision::Revision;
use super::settle::Entries;
use super::settled::{MAX_PATHS, Settled};

/// What became of an event. The order is that of what counts most when its parts differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is not for the relay.
    Ignored,
    /// Nothing had to be written for it.
    NoOp,
    /// Something newer was known before it was written, or an operator rejected it.
    Superseded,
    /// A write that was acknowledged carried it.
    Applied,
    /// Not merged yet, or not written yet.
    Pending,
    /// An operator discarded its letter.
    Parked,
    /// The guard holds it.
    Held,
    /// A dead letter is its home.
    Dead,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 8] = [
        Outcome::Ignored,
        Outcome::NoOp,
        Outcome::Superseded,
        Outcome::Applied,
        Outcome::Pending,
        Outcome::Parked,
        Outcome::Held,
        Outcome::Dead,
    ];

    /// The word in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Ignored => "ignored",
            Outcome::NoOp => "no-op",
            Outcome::Superseded => "superseded",
            Outcome::Applied => "applied",
            Outcome::Pending => "pending",
            Outcome::Parked => "parked",
            Outcome::Held => "held",
            Outcome::Dead => "dead",
        }
    }
}

/// An event, as far as a trace needs it: no values.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Its `id`.
    pub id: String,
    /// What it says.
    pub said: Said,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Words of the resource. Of its members only those that are not settled.
    Words(Words, Settlement),
    /// Nothing that is for the relay.
    Ignored,
    /// No decoder accepts it.
    Refused,
}

/// How the members of an event stand that are settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Settlement {
    /// It names none.
    #[default]
    None,
    /// Something newer is known about each.
    Overtaken,
    /// Some are as it says.
    Current,
}

/// What was decided about words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// A letter is their home.
    Dead,
    /// They wait for an operator.
    Held,
    /// The operator let them through.
    Approved,
    /// The operator refused them.
    Rejected,
    /// The operator gave their letter up.
    Discarded,
    /// The operator sent their letter again.
    Replayed,
}

impl Decision {
    /// All of them.
    pub const ALL: [Decision; 6] = [
        Decision::Dead,
        Decision::Held,
        Decision::Approved,
        Decision::Rejected,
        Decision::Discarded,
        Decision::Replayed,
    ];

    /// The word in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Decision::Dead => "dead",
            Decision::Held => "held",
            Decision::Approved => "approved",
            Decision::Rejected => "rejected",
            Decision::Discarded => "discarded",
            Decision::Replayed => "replayed",
        }
    }
}

/// Words that the relay said again: what is written for them names this, and not the event.
#[derive(Clone, Debug, PartialEq)]
pub struct Again {
    /// The `id` of the intent.
    pub id: String,
    /// What it says.
    pub words: Words,
}

/// A letter that is in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterSeen {
    /// Its ID.
    pub id: String,
    /// Its class.
    pub class: String,
    /// True among the discarded ones.
    pub parked: bool,
    /// The first events that it carries.
    pub event_ids: Vec<String>,
}

impl LetterSeen {
    fn has(&self, id: &str) -> bool {
        self.event_ids.iter().any(|named| named == id)
    }
}

/// A settled write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// What is kept about it.
    pub settled: Settled,
    /// Its attributes.
    roots: Vec<Path>,
}

impl Write {
    /// Of what is kept about it.
    pub fn new(settled: Settled) -> Self {
        let paths = settled.paths.iter().filter_map(|path| path.parse::<Path>().ok());
        let mut roots: Vec<Path> = paths.map(|path| path.root()).collect();
        roots.dedup();
        Self { settled, roots }
    }

    /// True if it may have carried a word on this path.
    fn has(&self, path: &Path) -> bool {
        let cut = self.settled.paths.len() >= MAX_PATHS;
        cut || self.roots.contains(&path.root()) || (is_members(path) && self.settled.members > 0)
    }
}

/// One thing that an event says.
#[derive(Clone, Copy)]
enum Part<'a> {
    Attribute(&'a Path, &'a Revision),
    Member(&'a str, &'a Revision),
    Put(&'a Revision),
    Deleted(&'a Revision),
}

impl Part<'_> {
    fn words(self) -> Words {
        let mut words = Words::default();
        match self {
            Part::Attribute(path, revision) => words.attributes.push((path.clone(), revision.clone())),
            Part::Member(value, revision) => words.members.push((value.to_owned(), revision.clone())),
            Part::Put(revision) => words.put = Some(revision.clone()),
            Part::Deleted(revision) => words.deleted = Some(revision.clone()),
        }
        words
    }

    /// True if it is one of these words.
    fn is_among(self, words: &Words) -> bool {
        match self {
            Part::Attribute(path, said) => words.attributes.iter().any(|(at, one)| at == path && one == said),
            Part::Member(value, said) => words.members.iter().any(|(at, one)| at == value && one == said),
            Part::Put(said) => words.put.as_ref() == Some(said),
            Part::Deleted(said) => words.deleted.as_ref() == Some(said),
        }
    }
}

/// What is known of the resource today.
#[derive(Debug)]
pub struct Known<'a> {
    /// Whose.
    pub key: &'a ResourceKey,
    /// The record.
    pub record: &'a Record,
    /// Ledger entries of the members that events name.
    pub entries: &'a Entries,
    /// How the target is written to.
    pub rules: &'a Rules,
}

/// All that an event is judged by.
#[derive(Debug)]
pub struct Facts<'a> {
    known: Known<'a>,
    events: &'a [Told],
    by_id: HashMap<&'a str, Vec<usize>>,
    decisions: &'a [(Decision, Words)],
    letters: &'a [LetterSeen],
    writes: &'a [Write],
    naming: HashMap<&'a str, Vec<usize>>,
    again: &'a [Again],
    passed: HashSet<&'a str>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged<'a> {
    /// What.
    pub outcome: Outcome,
    /// The last write that carried some of it.
    pub write: Option<usize>,
    /// The letter that is its home.
    pub letter: Option<&'a LetterSeen>,
}

impl<'a> Facts<'a> {
    /// `events` and `decisions` in the order of the journal, `writes` in that of their times.
    pub fn new(
        known: Known<'a>,
        events: &'a [Told],
        decisions: &'a [(Decision, Words)],
        letters: &'a [LetterSeen],
        writes: &'a [Write],
        again: &'a [Again],
    ) -> Self {
        let (mut by_id, mut naming) = (HashMap::<_, Vec<usize>>::new(), HashMap::<_, Vec<usize>>::new());
        for (at, event) in events.iter().enumerate() {
            by_id.entry(event.id.as_str()).or_default().push(at);
        }
        for (at, write) in writes.iter().enumerate() {
            for id in &write.settled.event_ids {
                naming.entry(id.as_str()).or_default().push(at);
            }
        }
        let seen = |id: &str| naming.contains_key(id) || letters.iter().any(|letter| letter.has(id));
        let passed = passed::passed(events, seen);
        Self { known, events, by_id, decisions, letters, writes, naming, again, passed }
    }

    /// Judges one of the events.
    pub fn judge(&self, event: &Told) -> Judged<'a> {
        let letter = self.letters.iter().rev().find(|letter| letter.has(&event.id));
        let home = |outcome| match letter {
            Some(letter) if letter.parked => Outcome::Parked,
            Some(_) => Outcome::Dead,
            None => outcome,
        };
        let (outcome, write) = match &event.said {
            Said::Ignored => (Outcome::Ignored, None),
            Said::Refused => (home(Outcome::Dead), None),
            Said::Words(words, members) => self.of_words(event, words, *members),
        };
        // what was refused when it came may be acceptable by today's clock and configuration
        let refused = letter.is_some_and(|letter| {
            matches!(letter.class.as_str(), "decode" | "unsupported_patch" | "future_time")
        });
        let outcome = match outcome {
            Outcome::Superseded => home(outcome),
            Outcome::Pending if refused => home(outcome),
            // its verdict may lie before what was read
            Outcome::Dead if letter.is_some_and(|letter| letter.parked) => Outcome::Parked,
            outcome => outcome,
        };
        let is_home = matches!(outcome, Outcome::Dead | Outcome::Parked);
        Judged { outcome, write, letter: letter.filter(|_| is_home) }
    }

    fn of_words(&self, event: &Told, words: &Words, members: Settlement) -> (Outcome, Option<usize>) {
        let attributes = words.attributes.iter().map(|(path, revision)| Part::Attribute(path, revision));
        let open = words.members.iter().map(|(value, revision)| Part::Member(value, revision));
        let put = words.put.iter().map(Part::Put);
        let deleted = words.deleted.iter().map(Part::Deleted);
        let parts = attributes.chain(open).chain(put).chain(deleted).map(|part| self.of_part(event, part));
        let settled = match members {
            Settlement::None => None,
            Settlement::Overtaken | Settlement::Current => {
                let write = self.writes_of(event).rev().find(|at| self.writes[*at].settled.members > 0);
                Some(match (write, members) {
                    (Some(_), _) => (Outcome::Applied, write),
                    (None, Settlement::Current) => (Outcome::NoOp, None),
                    (None, _) => (Outcome::Superseded, None),
                })
            }
        };
        let nothing = (Outcome::NoOp, None);
        parts
            .chain(settled)
            .fold(nothing, |(worst, write), (outcome, one)| (worst.max(outcome), write.max(one)))
    }

    fn of_part(&self, event: &Told, part: Part<'_>) -> (Outcome, Option<usize>) {
        let Known { key, record, entries, rules } = &self.known;
        let fate = fate(key, record, entries, &part.words(), 0, rules);
        let write = self.write(event, part, fate == Fate::Applied);
        let outcome = match fate {
            Fate::Dead => self.home(part),
            Fate::Held => Outcome::Held,
            // whatever somebody else made of it since
            Fate::Applied | Fate::Superseded | Fate::Pending if write.is_some() => Outcome::Applied,
            Fate::Superseded if self.passed.contains(event.id.as_str()) => Outcome::NoOp,
            Fate::Superseded => Outcome::Superseded,
            Fate::Applied => Outcome::NoOp,
            Fate::Pending if self.is_at_rest(part) => Outcome::NoOp,
            Fate::Pending => Outcome::Pending,
        };
        (outcome, write)
    }

    /// True if it was merged, and there is nothing to do about it.
    fn is_at_rest(&self, part: Part<'_>) -> bool {
        let record = self.known.record;
        record.due.is_none() && record.claim.is_none() && self.is_current(part)
    }

    fn is_current(&self, part: Part<'_>) -> bool {
        let desired = &self.known.record.desired;
        match part {
            Part::Attribute(path, revision) => {
                desired.registers().any(|(at, held)| at == path && held.revision == *revision)
            }
            Part::Member(value, revision) => {
                self.known.entries.get(value).is_some_and(|entry| entry.revision == *revision)
            }
            Part::Put(revision) => desired.put().is_some_and(|floor| floor.revision == *revision),
            Part::Deleted(revision) => desired.deleted().is_some_and(|floor| floor.revision == *revision),
        }
    }

    /// Where words are that are marked dead.
    fn home(&self, part: Part<'_>) -> Outcome {
        let last = self.decisions.iter().rev().find(|(_, words)| part.is_among(words));
        match last.map(|(decision, _)| decision) {
            Some(Decision::Discarded) => Outcome::Parked,
            Some(Decision::Rejected) => Outcome::Superseded,
            Some(Decision::Dead | Decision::Held | Decision::Approved | Decision::Replayed) | None => {
                Outcome::Dead
            }
        }
    }

    fn writes_of(&self, event: &Told) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.naming.get(event.id.as_str()).into_iter().flatten().copied()
    }

    /// The last write that carried it. A write names its first events only: what is `applied`, one that names as many as
    /// fit may have carried too.
    fn write(&self, event: &Told, part: Part<'_>, applied: bool) -> Option<usize> {
        let carries = |at: &usize| self.carries(&self.writes[*at], event, part);
        let again = self.again.iter().filter(|again| part.is_among(&again.words));
        let again = again.filter_map(|again| self.naming.get(again.id.as_str())).flatten().copied();
        let named = self.writes_of(event).chain(again).filter(carries).max();
        named.or_else(|| {
            let full = |write: &&Write| applied && write.settled.event_ids.len() >= MAX_EVENT_IDS;
            self.writes.iter().rposition(|write| full(&write) && self.carries(write, event, part))
        })
    }

    fn carries(&self, write: &Write, event: &Told, part: Part<'_>) -> bool {
        match part {
            Part::Attribute(path, revision) => {
                write.has(path) && !self.is_overtaken(write, event, path, revision)
            }
            Part::Member(..) => write.settled.members > 0,
            Part::Put(revision) => {
                write.settled.purpose == Purpose::Create
                    || write.roots.iter().any(|path| !self.is_overtaken(write, event, path, revision))
            }
            Part::Deleted(revision) => {
                let revived = |words: &Words| words.put.as_ref().is_some_and(|put| put > revision);
                let goes = matches!(write.settled.purpose, Purpose::Deactivate | Purpose::Delete);
                goes && !self.others(write, event).any(revived)
            }
        }
    }

    /// The words of the other events that a write names.
    fn others(&self, write: &Write, event: &Told) -> impl Iterator<Item = &'a Words> {
        let ids = write.settled.event_ids.iter().filter(|id| **id != event.id);
        let places: Vec<usize> =
            ids.filter_map(|id| self.by_id.get(id.as_str())).flatten().copied().collect();
        let events = self.events;
        places.into_iter().filter_map(move |at| match &events[at].said {
            Said::Words(words, _) => Some(words),
            Said::Ignored | Said::Refused => None,
        })
    }

    /// True if a newer event that was pending at the time of that write hides this word.
    fn is_overtaken(&self, write: &Write, event: &Told, path: &Path, said: &Revision) -> bool {
        let exempt = is_active(path) || is_members(path);
        let newer = |floor: &Option<Revision>| floor.as_ref().is_some_and(|floor| floor > said);
        self.others(write, event).any(|words| {
            let same = words.attributes.iter().any(|(at, revision)| at.covers(path) && revision > said);
            same || newer(&words.deleted) || (!exempt && newer(&words.put))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::change::{Change, Delta, Lifecycle, Origin, Register};
    use crate::core::gap::Deprovisioning;
    use crate::core::revision::testing::rev;
    use crate::core::schedule::Millis;
    use crate::core::settle;

    const TITLE: &str = "title";

    fn words(n: u64, paths: &[&str], put: bool) -> Words {
        let attributes = paths.iter().map(|path| (Path::core(path), rev(n))).collect();
        Words { attributes, put: put.then(|| rev(n)), ..Words::default() }
    }

    fn told(n: u64, paths: &[&str], put: bool) -> Told {
        Told { id: format!("e{n}"), said: Said::Words(words(n, paths, put), Settlement::None) }
    }

    fn write(events: &[u64], purpose: Purpose, paths: &[&str]) -> Write {
        Write::new(Settled {
            resource: "User/1".into(),
            at: Millis(0),
            purpose,
            operation: "PATCH /Users/1".into(),
            status: 200,
            event_ids: events.iter().map(|n| format!("e{n}")).collect(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            members: 0,
        })
    }

    /// The target has all that these say.
    fn record(events: &[Told]) -> Record {
        let mut record = Record { id: super::super::resource::TargetId::new("1"), ..Record::default() };
        for event in events {
            let Said::Words(words, _) = &event.said else { continue };
            let value = |n| Some(serde_json::json!(format!("{n:?}")));
            let attributes = words.attributes.iter();
            let attributes =
                attributes.map(|(path, at)| Register::new(path.clone(), value(at), at.clone())).collect();
            let lifecycle = Lifecycle { put: words.put.clone(), deleted: words.deleted.clone() };
            let change = Change {
                key: "User/1".parse().unwrap(),
                delta: Delta { attributes, members: vec![], lifecycle },
                origin: Origin::Publisher,
                event_id: event.id.clone(),
                first_seen: Millis(0),
                attempt: 0,
                round: None,
                traceparent: None,
            };
            record.merge(&change, &Entries::new());
        }
        record
    }

    fn outcomes(
        record: &Record,
        events: &[Told],
        decisions: &[(Decision, Words)],
        writes: &[Write],
    ) -> Vec<Outcome> {
        let rules = Rules {
            etag: false,
            patch: true,
            user: Deprovisioning::Deactivate,
            group: Deprovisioning::Delete,
            dialect: std::sync::Arc::default(),
        };
        let key = "User/1".parse().unwrap();
        let known = Known { key: &key, record, entries: &Entries::new(), rules: &rules };
        let facts = Facts::new(known, events, decisions, &[], writes, &[]);
        events.iter().map(|event| facts.judge(event).outcome).collect()
    }

    #[test]
    fn what_was_written_is_applied_even_if_something_newer_came_since() {
        let events = [told(1, &[TITLE], true), told(2, &[TITLE], false)];
        let writes = [write(&[1], Purpose::Create, &[TITLE]), write(&[2], Purpose::Update, &[TITLE])];
        assert_eq!(outcomes(&record(&events), &events, &[], &writes), [Outcome::Applied; 2]);
    }

    #[test]
    fn what_was_overtaken_before_the_write_is_superseded() {
        let events = [told(1, &[TITLE], false), told(3, &[TITLE], true), told(2, &["nickName"], false)];
        let writes = [write(&[1, 3], Purpose::Create, &[TITLE])];
        let expected = [Outcome::Superseded, Outcome::Applied, Outcome::Superseded];
        assert_eq!(outcomes(&record(&events), &events, &[], &writes), expected);
    }

    #[test]
    fn what_needed_no_write_stays_a_no_op_when_something_newer_comes() {
        let events = [told(1, &[TITLE], true), told(2, &[TITLE], true), told(1, &[TITLE], false)];
        let later = [told(4, &[TITLE], false), told(3, &[TITLE], false)];
        let events = [events.as_slice(), later.as_slice()].concat();
        let writes = [write(&[1], Purpose::Create, &[TITLE]), write(&[4], Purpose::Update, &[TITLE])];
        let expected =
            [Outcome::Applied, Outcome::NoOp, Outcome::Applied, Outcome::Applied, Outcome::Superseded];
        assert_eq!(outcomes(&record(&events), &events, &[], &writes), expected);
    }

    #[test]
    fn a_decision_counts_more_than_a_write_of_the_rest() {
        let events = [told(1, &[TITLE, "nickName"], false)];
        let mut record = record(&events);
        let bad = words(1, &[TITLE], false);
        settle::bury(&mut record, &mut Entries::new(), &bad, 0);
        let writes = [write(&[1], Purpose::Update, &["nickName"])];
        for (decisions, expected) in [
            (vec![], Outcome::Dead),
            (vec![(Decision::Dead, bad.clone())], Outcome::Dead),
            (vec![(Decision::Dead, bad.clone()), (Decision::Discarded, bad.clone())], Outcome::Parked),
            (vec![(Decision::Held, bad.clone()), (Decision::Rejected, bad.clone())], Outcome::Applied),
        ] {
            assert_eq!(outcomes(&record, &events, &decisions, &writes), [expected], "{decisions:?}");
        }
    }

    #[test]
    fn what_is_merged_and_nobody_is_to_write_is_a_no_op() {
        let events = [told(1, &["active"], false)];
        let mut record = record(&events);
        assert_eq!(outcomes(&record, &events, &[], &[]), [Outcome::NoOp]);
        record.due = Some(super::super::schedule::Due { lane: Purpose::Update.lane(), at: Millis(0) });
        assert_eq!(outcomes(&record, &events, &[], &[]), [Outcome::Pending]);
    }
}
