//! Foresight: what would come of a letter if it were replayed now. Pure: the letter is merged into a copy of today's
//! record, and the gap that it would open is looked at.

use std::collections::BTreeSet;

use serde::Serialize;

use super::change::{Change, Delta, Register};
use super::desired::Presence;
use super::gap::{Gap, Rules, Seen, gap, wants_only_inactive};
use super::path::Path;
use super::record::Record;
use super::reference::References;
use super::revision::Revision;
use super::settle::{Entries, unapplied};

/// What would come of it (contract s4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Foresight {
    /// The target has it already.
    AlreadyTrue,
    /// Something newer is known about all that it says.
    Superseded,
    /// The resource would be created.
    Create,
    /// The resource would be changed.
    Update,
    /// The resource would be deactivated or deleted.
    Deprovision,
    /// It can't succeed as things are.
    WouldFail,
    /// Nobody knows what was written since: it is never applied by itself.
    UnknownHistory,
}

impl Foresight {
    /// All of them, in the order in which totals are shown.
    pub const ALL: [Foresight; 7] = [
        Foresight::Create,
        Foresight::Update,
        Foresight::Deprovision,
        Foresight::AlreadyTrue,
        Foresight::Superseded,
        Foresight::WouldFail,
        Foresight::UnknownHistory,
    ];

    /// The word in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Foresight::AlreadyTrue => "already_true",
            Foresight::Superseded => "superseded",
            Foresight::Create => "create",
            Foresight::Update => "update",
            Foresight::Deprovision => "deprovision",
            Foresight::WouldFail => "would_fail",
            Foresight::UnknownHistory => "unknown_history",
        }
    }
}

/// What would come of a change, and why where that needs a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// What.
    pub verdict: Foresight,
    /// Why, without attribute values; empty where it is plain.
    pub why: String,
}

fn plain(verdict: Foresight) -> Foreseen {
    Foreseen { verdict, why: String::new() }
}

fn because(verdict: Foresight, why: &str) -> Foreseen {
    Foreseen { verdict, why: why.to_owned() }
}

/// Foresees a change. `entries`: the ledger entries of the members that it names.
pub fn foresee(record: &Record, entries: &Entries, change: &Change, rules: &Rules) -> Foreseen {
    let mut after = record.clone();
    let merged = after.merge(change, entries);
    let mut ledger = entries.clone();
    ledger.extend(merged.members);
    let words = current(&after, &ledger, &change.delta);
    if words.is_none() {
        return plain(Foresight::Superseded);
    }
    for (value, entry) in &mut ledger {
        entry.dirty = after.is_dirty(entry) && words.members.contains(value);
    }
    let open = unapplied(&after, &ledger);
    if !words.touch(&open) && !words.lifecycle {
        return plain(Foresight::AlreadyTrue);
    }
    of_gap(change, &after, rules, &words, &open)
}

/// True if something newer is known about all that a change says: merging it would come to nothing.
pub fn is_superseded(record: &Record, entries: &Entries, change: &Change) -> bool {
    let mut after = record.clone();
    let merged = after.merge(change, entries);
    let mut ledger = entries.clone();
    ledger.extend(merged.members);
    change.delta != Delta::default() && current(&after, &ledger, &change.delta).is_none()
}

/// The paths of which a change says something else than what is known under the very same revision: nobody could tell which
/// of the two counts.
pub fn contradicted(record: &Record, change: &Change) -> Vec<Path> {
    let other = |register: &&Register| {
        let mut known = record.desired.registers();
        known.any(|(path, held)| {
            *path == register.path
                && held.revision == register.revision
                && held.value.is_some()
                && held.value != register.value
        })
    };
    change.delta.attributes.iter().filter(other).map(|register| register.path.clone()).collect()
}

/// The words of a change that would be the newest of their kind.
#[derive(Debug, Default)]
struct Current {
    paths: BTreeSet<(Path, Revision)>,
    members: BTreeSet<String>,
    lifecycle: bool,
}

impl Current {
    fn is_none(&self) -> bool {
        self.paths.is_empty() && self.members.is_empty() && !self.lifecycle
    }

    /// True if one of them is among these.
    fn touch(&self, open: &Delta) -> bool {
        let path = open.attributes.iter().any(|r| self.paths.contains(&(r.path.clone(), r.revision.clone())));
        path || open.members.iter().any(|member| self.members.contains(&member.value))
    }
}

fn current(after: &Record, ledger: &Entries, delta: &Delta) -> Current {
    let held = |path: &Path, revision: &Revision| {
        let mut registers = after.desired.registers();
        registers.any(|(at, held)| at == path && held.revision == *revision && held.mark.is_wanted())
    };
    let said = delta.attributes.iter().filter(|r| held(&r.path, &r.revision));
    let paths = said.map(|r| (r.path.clone(), r.revision.clone())).collect();
    let members = delta.members.iter().filter(|member| {
        let entry = ledger.get(&member.value);
        entry.is_some_and(|entry| entry.revision == member.revision && entry.mark.is_wanted())
    });
    let members = members.map(|member| member.value.clone()).collect();
    Current { paths, members, lifecycle: lifecycle(after, delta) }
}

/// True if a floor of the change decides whether the resource exists, and the target does not agree yet.
fn lifecycle(after: &Record, delta: &Delta) -> bool {
    let newest = |floor: Option<&super::desired::Floor>, said: &Option<Revision>| {
        said.as_ref().is_some_and(|revision| {
            floor.is_some_and(|floor| floor.revision == *revision && floor.mark.is_wanted())
        })
    };
    let put = newest(after.desired.put(), &delta.lifecycle.put);
    let deleted = newest(after.desired.deleted(), &delta.lifecycle.deleted);
    match after.desired.presence() {
        Presence::Alive => put && after.id.is_none(),
        Presence::Deleted => deleted,
        Presence::Unborn => false,
    }
}

fn of_gap(change: &Change, after: &Record, rules: &Rules, words: &Current, open: &Delta) -> Foreseen {
    let next = gap(&change.key, after, rules, Seen::default(), &References::new());
    match (next, after.desired.presence()) {
        (Gap::NotSupported(why), _) => because(Foresight::WouldFail, why),
        (Gap::Create(_), _) => plain(Foresight::Create),
        (Gap::Deactivate | Gap::Delete, _) => plain(Foresight::Deprovision),
        (Gap::Find | Gap::Read, Presence::Deleted) => {
            because(Foresight::Deprovision, "unless the target, which is read first, does not have it")
        }
        (Gap::Find, Presence::Alive) if !rules.dialect.of(change.key.kind).create => {
            because(Foresight::Update, "if a lookup, which comes first, finds it: it can't be created there")
        }
        (Gap::Find, Presence::Alive) => {
            because(Foresight::Create, "unless a lookup, which comes first, finds it")
        }
        (Gap::NoBase, _) => {
            because(Foresight::WouldFail, "its put is not known, and the target does not have it")
        }
        (Gap::Find, Presence::Unborn) if wants_only_inactive(after) => {
            because(Foresight::Deprovision, "unless the target, which is asked first, does not have it")
        }
        (Gap::Find, Presence::Unborn) => {
            because(Foresight::Update, "if the target, which is asked first, has it; its put is not known")
        }
        (Gap::Read, _) => because(Foresight::Update, "after the target was read"),
        (Gap::Update(_), _) => plain(Foresight::Update),
        (Gap::None(_), _) if words.touch(open) => plain(Foresight::Update),
        (Gap::None(_), _) => plain(Foresight::AlreadyTrue),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::core::applied::{Applied, Fingerprint};
    use crate::core::change::{Lifecycle, Origin};
    use crate::core::desired::Words;
    use crate::core::gap::Deprovisioning;
    use crate::core::mark::{Mark, Stage};
    use crate::core::resource::TargetId;
    use crate::core::revision::testing::rev;
    use crate::core::schedule::Millis;

    fn rules() -> Rules {
        Rules {
            etag: false,
            patch: true,
            user: Deprovisioning::Deactivate,
            group: Deprovisioning::Delete,
            dialect: Arc::default(),
        }
    }

    fn change(origin: Origin, round: Option<u32>, delta: Delta) -> Change {
        let key = "User/e-1".parse().unwrap();
        let (event_id, first_seen, attempt) = (String::new(), Millis(0), 0);
        Change { key, delta, origin, event_id, first_seen, attempt, round, traceparent: None }
    }

    fn put(n: u64, title: &str) -> Delta {
        let set = |path: &str, value: &str| Register::new(path.parse().unwrap(), Some(json!(value)), rev(n));
        let lifecycle = Lifecycle { put: Some(rev(n)), deleted: None };
        Delta { attributes: vec![set("userName", "ana"), set("title", title)], lifecycle, ..Delta::default() }
    }

    fn delete(n: u64) -> Delta {
        Delta { lifecycle: Lifecycle { put: None, deleted: Some(rev(n)) }, ..Delta::default() }
    }

    /// A user at the target with this title, put at revision 1.
    fn known(title: &str) -> Record {
        let mut record = Record::default();
        record.merge(&change(Origin::Publisher, None, put(1, title)), &Entries::new());
        record.id = TargetId::new("u1");
        let leaf = |path: &str, value: serde_json::Value| (path.parse().unwrap(), Fingerprint::of(&value));
        let leaves = [
            leaf("userName", json!("ana")),
            leaf("title", json!(title)),
            leaf("active", json!(true)),
            leaf("externalId", json!("e-1")),
        ];
        record.applied = Some(Applied { leaves: leaves.into(), ..Applied::default() });
        record
    }

    fn verdict(record: &Record, delta: Delta) -> Foresight {
        let change = change(Origin::Replay, Some(1), delta);
        foresee(record, &Entries::new(), &change, &rules()).verdict
    }

    /// Revision 2 was dead-lettered.
    fn with_dead_update(title: &str) -> Record {
        let mut record = known("old");
        record.merge(&change(Origin::Publisher, None, put(2, title)), &Entries::new());
        let words = Words { attributes: vec![("title".parse().unwrap(), rev(2))], ..Words::default() };
        record.desired.mark(&words, Mark::new(0, Stage::Dead));
        record
    }

    #[test]
    fn a_dead_update_would_update() {
        assert_eq!(verdict(&with_dead_update("bad"), put(2, "bad")), Foresight::Update);
    }

    #[test]
    fn what_the_target_has_by_now_is_already_true() {
        assert_eq!(verdict(&with_dead_update("old"), put(2, "old")), Foresight::AlreadyTrue);
    }

    #[test]
    fn what_something_newer_was_said_about_is_superseded() {
        let mut record = with_dead_update("bad");
        record.merge(&change(Origin::Publisher, None, put(3, "good")), &Entries::new());
        assert_eq!(verdict(&record, put(2, "bad")), Foresight::Superseded);
    }

    #[test]
    fn a_create_of_somebody_deleted_since_is_superseded() {
        let mut record = Record::default();
        record.merge(&change(Origin::Publisher, None, delete(5)), &Entries::new());
        record.gone = true;
        assert_eq!(verdict(&record, put(2, "x")), Foresight::Superseded);
    }

    #[test]
    fn a_create_would_create_and_a_delete_would_deprovision() {
        assert_eq!(verdict(&Record::default(), put(2, "x")), Foresight::Create);
        assert_eq!(verdict(&known("x"), delete(4)), Foresight::Deprovision);
    }

    #[test]
    fn a_patch_of_what_nobody_knows_depends_on_the_target() {
        let title = Register::new("title".parse().unwrap(), Some(json!("x")), rev(2));
        let patch = Delta { attributes: vec![title], ..Delta::default() };
        assert_eq!(verdict(&Record::default(), patch), Foresight::Update);
    }

    #[test]
    fn another_value_under_a_known_revision_is_a_contradiction() {
        let record = with_dead_update("bad");
        let said = |title: &str| contradicted(&record, &change(Origin::Replay, Some(1), put(2, title)));
        assert_eq!(said("bad"), []);
        assert_eq!(said("edited"), ["title".parse().unwrap()]);
    }
}
