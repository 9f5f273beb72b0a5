//! Fate: what became of a letter since it was replayed, read from the record. Pure.

use super::desired::{Floor, Presence, Words};
use super::gap::{Gap, Rules, Seen, gap};
use super::mark::{Mark, Stage};
use super::path::Path;
use super::record::Record;
use super::reference::References;
use super::resource::ResourceKey;
use super::revision::Revision;
use super::settle::{Entries, unapplied};

/// What became of words that were said again. The order is that of what counts most when they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Something newer is known.
    Superseded,
    /// The target has it.
    Applied,
    /// The guard holds it: another letter is its home.
    Held,
    /// Not merged yet, or not applied yet.
    Pending,
    /// A letter is its home again.
    Dead,
}

/// What became of `words` since they were replayed for the `round`th time. `entries`: the ledger entries of their members.
pub fn fate(
    key: &ResourceKey,
    record: &Record,
    entries: &Entries,
    words: &Words,
    round: u32,
    rules: &Rules,
) -> Fate {
    let judge = Judge { key, record, entries, round, rules };
    let paths = words.attributes.iter().map(|(path, revision)| judge.attribute(path, revision));
    let members = words.members.iter().map(|(value, revision)| judge.member(value, revision));
    let put = words.put.iter().map(|revision| judge.put(revision));
    let deleted = words.deleted.iter().map(|revision| judge.deleted(revision));
    paths.chain(members).chain(put).chain(deleted).max().unwrap_or(Fate::Applied)
}

struct Judge<'a> {
    key: &'a ResourceKey,
    record: &'a Record,
    entries: &'a Entries,
    round: u32,
    rules: &'a Rules,
}

impl Judge<'_> {
    fn attribute(&self, path: &Path, revision: &Revision) -> Fate {
        if self.is_hidden(revision) {
            return Fate::Superseded;
        }
        let held = self.record.desired.registers().find(|(at, _)| *at == path);
        let Some((_, held)) = held else {
            let mut others = self.record.desired.registers();
            let newer = others.any(|(at, held)| at.root() == path.root() && held.revision > *revision);
            return if newer { Fate::Superseded } else { Fate::Pending };
        };
        self.of_word(&held.revision, held.mark, revision, || {
            let open = unapplied(self.record, self.entries);
            open.attributes.iter().any(|register| register.path == *path)
        })
    }

    fn member(&self, value: &str, revision: &Revision) -> Fate {
        match self.entries.get(value) {
            Some(entry) => self.of_word(&entry.revision, entry.mark, revision, || entry.dirty),
            None if self.record.desired.member_floor().is_some_and(|floor| floor > revision) => {
                Fate::Superseded
            }
            None => Fate::Pending,
        }
    }

    fn put(&self, revision: &Revision) -> Fate {
        match self.record.desired.deleted() {
            Some(deleted) if deleted.revision > *revision => Fate::Superseded,
            _ => self.floor(self.record.desired.put(), revision, || self.record.id.is_none()),
        }
    }

    fn deleted(&self, revision: &Revision) -> Fate {
        match self.record.desired.put() {
            Some(put) if put.revision > *revision => Fate::Superseded,
            _ => self.floor(self.record.desired.deleted(), revision, || {
                let next = gap(self.key, self.record, self.rules, Seen::default(), &References::new());
                self.record.desired.presence() == Presence::Deleted && !matches!(next, Gap::None(_))
            }),
        }
    }

    fn floor(&self, held: Option<&Floor>, revision: &Revision, open: impl FnOnce() -> bool) -> Fate {
        match held {
            Some(held) => self.of_word(&held.revision, held.mark, revision, open),
            None => Fate::Pending,
        }
    }

    fn of_word(&self, held: &Revision, mark: Mark, said: &Revision, open: impl FnOnce() -> bool) -> Fate {
        match held.cmp(said) {
            std::cmp::Ordering::Greater => Fate::Superseded,
            std::cmp::Ordering::Less => Fate::Pending,
            std::cmp::Ordering::Equal if mark.is_wanted() => {
                if open() {
                    Fate::Pending
                } else {
                    Fate::Applied
                }
            }
            // dead, or held, since it was replayed; before that the replay is not merged yet
            std::cmp::Ordering::Equal if mark.round < self.round => Fate::Pending,
            std::cmp::Ordering::Equal if mark.stage == Stage::Held => Fate::Held,
            std::cmp::Ordering::Equal => Fate::Dead,
        }
    }

    /// True if a whole `put` or `delete` is newer.
    fn is_hidden(&self, revision: &Revision) -> bool {
        let desired = &self.record.desired;
        desired.put().into_iter().chain(desired.deleted()).any(|floor| floor.revision > *revision)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::change::{Change, Delta, Lifecycle, Origin, Register};
    use crate::core::gap::Deprovisioning;
    use crate::core::revision::testing::rev;
    use crate::core::schedule::Millis;
    use crate::core::settle;

    fn put(n: u64, origin: Origin, round: Option<u32>) -> Change {
        let title = Register::new(Path::core("title"), Some(json!("x")), rev(n));
        let lifecycle = Lifecycle { put: Some(rev(n)), deleted: None };
        Change {
            key: key(),
            delta: Delta { attributes: vec![title], members: vec![], lifecycle },
            origin,
            event_id: "e".into(),
            first_seen: Millis(0),
            attempt: 0,
            round,
            traceparent: None,
        }
    }

    fn key() -> ResourceKey {
        "User/1".parse().unwrap()
    }

    fn words(n: u64) -> Words {
        Words { attributes: vec![(Path::core("title"), rev(n))], put: Some(rev(n)), ..Words::default() }
    }

    fn of(record: &Record, round: u32) -> Fate {
        let rules = Rules {
            etag: false,
            patch: true,
            user: Deprovisioning::Deactivate,
            group: Deprovisioning::Delete,
            dialect: std::sync::Arc::default(),
        };
        fate(&key(), record, &Entries::new(), &words(5), round, &rules)
    }

    #[test]
    fn a_replay_is_pending_until_it_is_merged_and_dead_only_in_its_own_round() {
        let mut record = Record::default();
        assert_eq!(of(&record, 1), Fate::Pending);
        record.merge(&put(5, Origin::Publisher, None), &Entries::new());
        settle::bury(&mut record, &mut Entries::new(), &words(5), 0);
        assert_eq!(of(&record, 1), Fate::Pending);
        record.merge(&put(5, Origin::Replay, Some(1)), &Entries::new());
        assert_eq!(of(&record, 1), Fate::Pending);
        settle::bury(&mut record, &mut Entries::new(), &words(5), 1);
        assert_eq!(of(&record, 1), Fate::Dead);
    }

    #[test]
    fn a_newer_put_supersedes_it() {
        let mut record = Record::default();
        record.merge(&put(6, Origin::Publisher, None), &Entries::new());
        assert_eq!(of(&record, 1), Fate::Superseded);
    }
}
