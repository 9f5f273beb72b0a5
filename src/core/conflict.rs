//! Conflicts: attributes that somebody else changed at the target since this relay wrote them. Base is what was applied,
//! ours what is wanted, theirs what the target has now.

use std::collections::BTreeMap;

use serde_json::Value;

use super::applied::{Applied, Fingerprint, leaves};
use super::desired::Wanted;
use super::gap::{are_leaves, manager};
use super::path::Path;
use super::record::Record;

/// Who is right about an attribute that both sides changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Winner {
    /// What the source wants is written again.
    #[default]
    Source,
    /// What the target has stays, until the source says something else.
    Target,
}

/// Who is right, attribute by attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Where nothing else is said.
    pub otherwise: Winner,
    /// By attribute or sub-attribute.
    pub attributes: BTreeMap<Path, Winner>,
}

impl Policy {
    fn winner(&self, path: &Path) -> Winner {
        let named = self.attributes.get(path).or_else(|| self.attributes.get(&path.root()));
        named.copied().unwrap_or(self.otherwise)
    }

    /// True if the target is never right.
    fn is_the_sources(&self) -> bool {
        self.otherwise == Winner::Source && self.attributes.values().all(|winner| *winner == Winner::Source)
    }
}

/// What the target is right about: leaves that somebody changed there since `base`, with what the source wants of them.
/// Taken for applied, they are written again only when the source says something else.
/// A manager is compared by what it resolves to, which
/// is not known here: where both sides changed it, the source is right.
pub fn conceded(
    record: &Record,
    base: &Applied,
    policy: &Policy,
    live: &Applied,
) -> BTreeMap<Path, Option<Fingerprint>> {
    if policy.is_the_sources() {
        return BTreeMap::new();
    }
    let ours = wanted(record);
    let changed = base.leaves.iter().filter(|(path, was)| live.leaves.get(*path) != Some(was));
    let conceded = changed.filter(|(path, _)| policy.winner(path) == Winner::Target && !is_identity(path));
    let said = |path: &Path, was: &Fingerprint| match *path == manager() {
        true => Some(*was),
        false => ours.get(path).copied(),
    };
    conceded.map(|(path, was)| (path.clone(), said(path, was))).collect()
}

/// The relay recognises its resources by it.
fn is_identity(path: &Path) -> bool {
    path.schema.is_none() && path.attribute == "externalId"
}

fn wanted(record: &Record) -> BTreeMap<Path, Fingerprint> {
    let mut ours = BTreeMap::new();
    for (root, wanted) in record.desired.attributes() {
        match wanted {
            Wanted::Whole(Some(value)) => {
                ours.extend(
                    leaves(&root, &value).into_iter().map(|(path, value)| (path, Fingerprint::of(&value))),
                );
            }
            Wanted::Whole(None) => {}
            Wanted::Parts(parts) if are_leaves(&parts) => {
                ours.extend(
                    parts.into_iter().filter_map(|(path, value)| Some((path, Fingerprint::of(&value?)))),
                );
            }
            Wanted::Parts(_) => {}
        }
    }
    let active = record.desired.active();
    ours.extend(active.map(|active| (Path::core("active"), Fingerprint::of(&Value::Bool(active)))));
    ours
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::change::{Change, Delta, Lifecycle, Origin, Register};
    use crate::core::gap::{Deprovisioning, Gap, Rules, Seen, gap};
    use crate::core::outcome::Answer;
    use crate::core::reference::References;
    use crate::core::resource::{ResourceKey, TargetId};
    use crate::core::revision::testing::rev;
    use crate::core::schedule::Millis;
    use crate::core::settle::{Entries, Sight, observe};

    fn key() -> ResourceKey {
        "User/e-1".parse().unwrap()
    }

    fn put(n: u64, title: &str, nick_name: &str) -> Change {
        let revision = rev(n);
        let set =
            |path: &str, value: Value| Register::new(path.parse().unwrap(), Some(value), revision.clone());
        let attributes =
            vec![set("title", json!(title)), set("nickName", json!(nick_name)), set("active", json!(true))];
        let lifecycle = Lifecycle { put: Some(revision.clone()), deleted: None };
        let delta = Delta { attributes, lifecycle, ..Delta::default() };
        let (event_id, first_seen, origin) = (String::new(), Millis(0), Origin::Publisher);
        Change { key: key(), delta, origin, event_id, first_seen, attempt: 0, round: None, traceparent: None }
    }

    fn live(title: &str, nick_name: &str, active: bool) -> Value {
        json!({"id": "u1", "externalId": "e-1", "title": title, "nickName": nick_name, "active": active})
    }

    /// A user that was written with title "Clerk", nick name "Ana".
    fn written() -> Record {
        let mut record = Record::default();
        record.merge(&put(1, "Clerk", "Ana"), &Entries::new());
        record.id = TargetId::new("u1");
        look(&mut record, &live("Clerk", "Ana", true), &Policy::default());
        record
    }

    fn look(record: &mut Record, live: &Value, policy: &Policy) {
        observe(record, &Sight { live, answer: &Answer::default(), etags: false, policy });
    }

    fn policy(attributes: &[(&str, Winner)], otherwise: Winner) -> Policy {
        let attributes = attributes.iter().map(|(path, winner)| (path.parse().unwrap(), *winner));
        Policy { otherwise, attributes: attributes.collect() }
    }

    /// What would be written, by path.
    fn writes(record: &Record) -> Vec<String> {
        let rules = Rules {
            etag: false,
            patch: true,
            user: Deprovisioning::Deactivate,
            group: Deprovisioning::Delete,
            dialect: std::sync::Arc::default(),
        };
        match gap(&key(), record, &rules, Seen::default(), &References::new()) {
            Gap::None(_) => Vec::new(),
            Gap::Update(changes) => {
                let set = changes.set.iter().map(|(path, value)| format!("{path}={value}"));
                set.chain(changes.remove.iter().map(|path| format!("-{path}"))).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_source_is_right_unless_something_else_is_said() {
        let mut record = written();
        look(&mut record, &live("Boss", "Ana", true), &Policy::default());
        assert_eq!(writes(&record), ["title=\"Clerk\""]);
    }

    #[test]
    fn what_only_the_target_changed_stays_where_the_target_is_right() {
        let mut record = written();
        look(&mut record, &live("Boss", "Anny", true), &policy(&[("title", Winner::Target)], Winner::Source));
        assert_eq!(writes(&record), ["nickName=\"Ana\""]);
    }

    #[test]
    fn where_both_changed_it_the_policy_decides() {
        for (winner, written_then) in [(Winner::Source, vec!["title=\"Chief\""]), (Winner::Target, vec![])] {
            let mut record = written();
            record.merge(&put(2, "Chief", "Ana"), &Entries::new());
            look(&mut record, &live("Boss", "Ana", true), &policy(&[], winner));
            assert_eq!(writes(&record), written_then, "{winner:?}");
        }
    }

    #[test]
    fn what_only_the_source_changed_is_written_whatever_the_policy() {
        let mut record = written();
        record.merge(&put(2, "Chief", "Ana"), &Entries::new());
        look(&mut record, &live("Clerk", "Ana", true), &policy(&[], Winner::Target));
        assert_eq!(writes(&record), ["title=\"Chief\""]);
    }

    #[test]
    fn what_was_conceded_is_written_when_the_source_says_something_else() {
        let mut record = written();
        let target = policy(&[], Winner::Target);
        look(&mut record, &live("Boss", "Ana", true), &target);
        record.merge(&put(2, "Clerk", "Ana"), &Entries::new());
        assert_eq!(writes(&record), Vec::<String>::new(), "the same word again changes nothing");
        record.merge(&put(3, "Chief", "Ana"), &Entries::new());
        assert_eq!(writes(&record), ["title=\"Chief\""]);
    }

    #[test]
    fn an_account_that_the_target_made_inactive_stays_so_where_it_is_right() {
        let mut record = written();
        look(
            &mut record,
            &live("Clerk", "Ana", false),
            &policy(&[("active", Winner::Target)], Winner::Source),
        );
        assert_eq!(writes(&record), Vec::<String>::new());
        let mut record = written();
        look(&mut record, &live("Clerk", "Ana", false), &Policy::default());
        assert_eq!(writes(&record), ["active=true"]);
    }

    #[test]
    fn nobody_takes_the_relay_s_own_mark_away() {
        let mut record = written();
        let mut renamed = live("Clerk", "Ana", true);
        renamed["externalId"] = json!("other");
        look(&mut record, &renamed, &policy(&[], Winner::Target));
        assert_eq!(writes(&record), ["externalId=\"e-1\""]);
    }
}
