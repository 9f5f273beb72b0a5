//! Desired: the merge of all changes of one resource (design D3). Registers and floors; merging is commutative,
//! associative and idempotent, so neither the order nor the number of deliveries matters.
//!
//! A register is visible if its revision is at least every floor above it. `active` and `members` are exempt from the
//! `put` floor: a `put` without them does not speak of them. What can never become visible again is dropped at once,
//! so the state is bounded by the resource's attributes, not by its events.

mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::{Delta, Lifecycle, Origin, Register};
use super::mark::Mark;
use super::path::{Path, Selector};
use super::revision::Revision;

/// One register: the newest word on one path.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// When it was said.
    pub revision: Revision,
    /// The value; none removes.
    pub value: Option<Arc<Value>>,
    /// What became of it.
    pub mark: Mark,
}

/// A floor with its mark.
#[derive(Clone, Debug, PartialEq)]
pub struct Floor {
    /// What is older is hidden.
    pub revision: Revision,
    /// What became of it: one that is not wanted hides what is older, and revives or removes nothing.
    pub mark: Mark,
}

/// The merge of all changes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "wire::Desired")]
pub struct Desired {
    put: Option<Floor>,
    deleted: Option<Floor>,
    registers: BTreeMap<Path, Held>,
}

/// What a merge did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Merged {
    /// Everything it says was known.
    Duplicate,
    /// Something newer was known about all that it says.
    Stale,
    /// Something is new.
    New,
}

/// What the source wants to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It was `put`, and not deleted since.
    Alive,
    /// It was deleted, and not `put` since.
    Deleted,
    /// Never `put` (or that one is dead): only patches count.
    Unborn,
}

/// What is wanted of one whole attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// This value; none: removed.
    Whole(Option<Value>),
    /// These parts (in the order of their revisions) on top of what the target has.
    Parts(Vec<(Path, Option<Value>)>),
}

/// True for `active`, of which a `put` without it does not speak.
pub(super) fn is_active(path: &Path) -> bool {
    path.schema.is_none() && path.attribute == "active"
}

/// True for the group's members, which are a ledger of their own (D10).
pub fn is_members(path: &Path) -> bool {
    path.schema.is_none() && path.attribute == "members"
}

impl Desired {
    /// Merges registers; a replay or an approval lifts marks (see [`Mark::said_again`]).
    pub fn merge(&mut self, delta: &Delta, origin: Origin, round: Option<u32>) -> Merged {
        let again = |held: Mark| held.said_again(origin, round);
        let floors = self.merge_lifecycle(&delta.lifecycle, &again);
        let registers = delta.attributes.iter().map(|r| self.merge_register(r, &again)).max();
        floors.into_iter().chain(registers).max().unwrap_or(Merged::Duplicate)
    }

    fn merge_lifecycle(&mut self, lifecycle: &Lifecycle, again: &dyn Fn(Mark) -> Mark) -> Option<Merged> {
        let put = lifecycle.put.as_ref().map(|r| raise(&mut self.put, r, again));
        let deleted = lifecycle.deleted.as_ref().map(|r| raise(&mut self.deleted, r, again));
        let merged = put.into_iter().chain(deleted).max();
        if merged == Some(Merged::New) {
            self.prune();
        }
        merged
    }

    fn merge_register(&mut self, new: &Register, again: &dyn Fn(Mark) -> Mark) -> Merged {
        if self.floor_of(&new.path).is_some_and(|floor| new.revision < *floor) {
            return Merged::Stale;
        }
        // the usual case after a newer `put` is that nothing is known of the attribute
        if self.of_attribute(&new.path).next().is_some()
            && let Some(merged) = self.meet(new, again)
        {
            return merged;
        }
        let held = Held { revision: new.revision.clone(), value: new.value.clone(), mark: again(Mark::LIVE) };
        self.registers.insert(new.path.clone(), held);
        Merged::New
    }

    /// Compares a word with what is held of its attribute, and drops what it hides; none: it is to be held.
    fn meet(&mut self, new: &Register, again: &dyn Fn(Mark) -> Mark) -> Option<Merged> {
        if let Some(held) = self.registers.get_mut(&new.path)
            && held.revision == new.revision
        {
            let merged = remark(&mut held.mark, again);
            if merged == Merged::New {
                // a mark may have come before the word
                held.value = new.value.clone();
            }
            return Some(merged);
        }
        if self.is_overwritten(&new.path, &new.revision) {
            return Some(Merged::Stale);
        }
        let is_hidden =
            |(path, held): &(&Path, &Held)| new.path.covers(path) && held.revision <= new.revision;
        let hidden: Vec<Path> =
            self.of_attribute(&new.path).filter(is_hidden).map(|(path, _)| path.clone()).collect();
        for path in &hidden {
            self.registers.remove(path);
        }
        None
    }

    /// The registers of the same attribute: in their order they stand together, the whole one first.
    fn of_attribute(&self, path: &Path) -> impl Iterator<Item = (&Path, &Held)> {
        let from = self.registers.range(path.root()..);
        from.take_while(move |(at, _)| at.attribute == path.attribute && at.schema == path.schema)
    }

    fn floor_of(&self, path: &Path) -> Option<&Revision> {
        floor(path, self.put.as_ref(), self.deleted.as_ref())
    }

    /// True unless a floor or the whole attribute hides what was said of this path then.
    fn is_visible(&self, path: &Path, revision: &Revision) -> bool {
        self.floor_of(path).is_none_or(|floor| revision >= floor) && !self.is_overwritten(path, revision)
    }

    /// True if a register says of this path, or of the whole that it is a part of, what is as new or newer.
    fn is_overwritten(&self, path: &Path, revision: &Revision) -> bool {
        self.of_attribute(path).any(|(at, held)| at.covers(path) && held.revision >= *revision)
    }

    fn prune(&mut self) {
        let Self { put, deleted, registers } = self;
        let hides = |path: &Path, revision: &Revision| {
            floor(path, put.as_ref(), deleted.as_ref()).is_some_and(|floor| revision < floor)
        };
        // most registers share one revision: it is compared once
        let mut hidden: Option<Revision> = None;
        let is_visible = |(path, held): &(Path, Held)| {
            if is_active(path) || is_members(path) {
                return !hides(path, &held.revision);
            }
            if hidden.as_ref().is_some_and(|hidden| hidden.is_same(&held.revision)) {
                return false;
            }
            let hides = hides(path, &held.revision);
            if hides {
                hidden = Some(held.revision.clone());
            }
            !hides
        };
        // built anew: nearly all go, and taking them out one by one costs more
        *registers = std::mem::take(registers).into_iter().filter(is_visible).collect();
    }

    /// What the source wants to exist. A dead `put` revives nothing, and the `delete` before it counts no more: what is
    /// said later waits for a base. A dead `delete` removes nothing, but what it hid is forgotten, so that only newer
    /// changes count.
    pub fn presence(&self) -> Presence {
        match (&self.put, &self.deleted) {
            (Some(put), deleted) if deleted.as_ref().is_none_or(|d| put.revision > d.revision) => {
                match put.mark.is_wanted() {
                    true => Presence::Alive,
                    false => Presence::Unborn,
                }
            }
            (_, Some(deleted)) if deleted.mark.is_wanted() => Presence::Deleted,
            _ => Presence::Unborn,
        }
    }

    /// The latest `put`.
    pub fn put(&self) -> Option<&Floor> {
        self.put.as_ref()
    }

    /// The latest `delete`.
    pub fn deleted(&self) -> Option<&Floor> {
        self.deleted.as_ref()
    }

    /// All registers, by path.
    pub fn registers(&self) -> impl Iterator<Item = (&Path, &Held)> {
        self.registers.iter()
    }

    /// How many registers there are.
    pub fn len(&self) -> usize {
        self.registers.len()
    }

    /// True when nothing was ever merged.
    pub fn is_empty(&self) -> bool {
        self.registers.is_empty() && self.put.is_none() && self.deleted.is_none()
    }

    /// The newest revision of anything that is visible and not dead.
    pub fn newest(&self) -> Option<&Revision> {
        let floors =
            self.put.iter().chain(self.deleted.iter()).filter(|f| f.mark.is_wanted()).map(|f| &f.revision);
        floors
            .chain(self.registers.values().filter(|held| held.mark.is_wanted()).map(|held| &held.revision))
            .max()
    }

    /// The newest revision of anything, dead or not.
    pub fn latest(&self) -> Option<&Revision> {
        let floors = self.put.iter().chain(self.deleted.iter()).map(|f| &f.revision);
        floors.chain(self.registers.values().map(|held| &held.revision)).max()
    }

    /// The floor of the member ledger: entries older than it are hidden.
    pub fn member_floor(&self) -> Option<&Revision> {
        let whole = self.registers.get(&Path::core("members")).map(|held| &held.revision);
        whole.into_iter().chain(self.deleted.as_ref().map(|f| &f.revision)).max()
    }

    /// What the source said of `active`, if it did since the last `delete`. A revived resource is active unless it says
    /// otherwise.
    pub fn active(&self) -> Option<bool> {
        let said = self.registers.get(&Path::core("active"));
        match said {
            Some(held) if !held.mark.is_wanted() => None,
            Some(held) => held.value.as_deref().and_then(Value::as_bool),
            None if self.deleted.is_some() && self.presence() == Presence::Alive => Some(true),
            None => None,
        }
    }

    /// True where the word on this path, or on an element of this list, is dead or held.
    pub fn is_withheld(&self, path: &Path) -> bool {
        let is_meant = |at: &Path| at == path || (path.is_root() && at.selector.is_some());
        self.of_attribute(path).any(|(at, held)| !held.mark.is_wanted() && is_meant(at))
    }

    /// The wanted attributes, `active` and `members` apart. What is dead is not wanted, and not unwanted either.
    pub fn attributes(&self) -> BTreeMap<Path, Wanted> {
        let mut roots: BTreeMap<Path, Vec<(&Path, &Held)>> = BTreeMap::new();
        for (path, held) in &self.registers {
            if !is_active(path) && !is_members(path) {
                roots.entry(path.root()).or_default().push((path, held));
            }
        }
        let based = self.presence() == Presence::Alive;
        roots.into_iter().filter_map(|(root, held)| Some((root, wanted(held, based)?))).collect()
    }

    /// Marks words: those of these paths, up to these revisions. A mark that was overtaken changes nothing. What was only
    /// implied becomes a register that is not wanted, until something newer is said.
    pub fn mark(&mut self, words: &Words, mark: Mark) {
        for (path, revision) in &words.attributes {
            if let Some(held) = self.registers.get_mut(path) {
                if held.revision <= *revision {
                    held.mark = held.mark.max(mark);
                }
            } else if !mark.is_wanted() && self.is_visible(path, revision) {
                let held = Held { revision: revision.clone(), value: None, mark };
                self.registers.insert(path.clone(), held);
            }
        }
        for (floor, revision) in [(&mut self.put, &words.put), (&mut self.deleted, &words.deleted)] {
            if let (Some(floor), Some(revision)) = (floor, revision)
                && floor.revision <= *revision
            {
                floor.mark = floor.mark.max(mark);
            }
        }
    }

    /// How often the most replayed word of this resource was replayed.
    pub fn round(&self) -> u32 {
        let floors = self.put.iter().chain(&self.deleted).map(|floor| floor.mark);
        floors.chain(self.registers.values().map(|held| held.mark)).map(|mark| mark.round).max().unwrap_or(0)
    }
}

/// Words that are marked together: what a letter or a verdict is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Words {
    /// Attribute paths and the revisions of what was said.
    pub attributes: Vec<(Path, Revision)>,
    /// Members and the revisions of what was said.
    pub members: Vec<(String, Revision)>,
    /// The `put`, when the resource could not be created.
    pub put: Option<Revision>,
    /// The `delete`, when it could not be removed.
    pub deleted: Option<Revision>,
}

/// The floor that hides older registers of a path.
fn floor<'a>(path: &Path, put: Option<&'a Floor>, deleted: Option<&'a Floor>) -> Option<&'a Revision> {
    let put = put.filter(|_| !is_active(path) && !is_members(path));
    put.into_iter().chain(deleted).map(|floor| &floor.revision).max()
}

/// The same word was said again: new only if that changes its mark.
pub(super) fn remark(mark: &mut Mark, again: impl Fn(Mark) -> Mark) -> Merged {
    let old = std::mem::replace(mark, again(*mark));
    if old == *mark { Merged::Duplicate } else { Merged::New }
}

fn raise(floor: &mut Option<Floor>, revision: &Revision, again: &dyn Fn(Mark) -> Mark) -> Merged {
    match floor {
        Some(held) if held.revision == *revision => remark(&mut held.mark, again),
        Some(held) if held.revision > *revision => Merged::Stale,
        _ => {
            *floor = Some(Floor { revision: revision.clone(), mark: again(Mark::LIVE) });
            Merged::New
        }
    }
}

/// Folds the registers of one attribute: the whole value first, then its parts in the order of their revisions.
fn wanted(mut held: Vec<(&Path, &Held)>, based: bool) -> Option<Wanted> {
    held.sort_by(|a, b| (&a.1.revision, b.0.is_root(), a.0).cmp(&(&b.1.revision, a.0.is_root(), b.0)));
    let whole = held.iter().find(|(path, _)| path.is_root()).map(|(_, held)| *held);
    // what the target has of a dead element stays, and only the target knows it
    let dead = held.iter().any(|(path, held)| path.selector.is_some() && !held.mark.is_wanted());
    let parts = held.iter().filter(|(path, held)| !path.is_root() && held.mark.is_wanted());
    let parts: Vec<(Path, Option<Value>)> =
        parts.map(|(path, held)| ((*path).clone(), held.value.as_deref().cloned())).collect();
    match whole {
        Some(whole) if whole.mark.is_wanted() => {
            Some(Wanted::Whole(fold(whole.value.as_deref().cloned(), &parts)))
        }
        // elements of a list that the `put` does not have; sub-attributes stand for themselves
        None if based && !dead && parts.iter().any(|(path, _)| path.selector.is_some()) => {
            Some(Wanted::Whole(fold(None, &parts)))
        }
        _ if parts.is_empty() => None,
        _ => Some(Wanted::Parts(parts)),
    }
}

/// Applies parts on top of a whole value. What is left empty is none.
pub fn fold(whole: Option<Value>, parts: &[(Path, Option<Value>)]) -> Option<Value> {
    let folded = parts.iter().fold(whole, |value, (path, part)| apply(value, path, part.as_ref()));
    folded.filter(|value| !is_nothing(value))
}

/// `null`, `[]` and `{}` mean "no value" (RFC 7643 s2.5).
pub fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn apply(whole: Option<Value>, path: &Path, part: Option<&Value>) -> Option<Value> {
    match (&path.selector, &path.sub) {
        (None, None) => part.cloned(),
        (None, Some(sub)) => {
            let map = whole.and_then(|value| match value {
                Value::Object(map) => Some(map),
                _ => None,
            });
            Some(with_sub(map.unwrap_or_default(), sub, part))
        }
        (Some(selector), sub) => {
            let mut items = match whole {
                Some(Value::Array(items)) => items,
                Some(one @ Value::Object(_)) => vec![one],
                _ => Vec::new(),
            };
            let fits = |item: &Value| {
                item.get(selector.attribute.as_str()).and_then(Value::as_str) == Some(&selector.value)
            };
            match items.iter().position(fits) {
                Some(at) => match element(items[at].clone(), selector, sub.as_deref(), part) {
                    Some(changed) => items[at] = changed,
                    None => drop(items.remove(at)),
                },
                None => {
                    let mut fresh = serde_json::Map::new();
                    fresh.insert(selector.attribute.to_string(), Value::String(selector.value.clone()));
                    if part.is_some() {
                        items.extend(element(Value::Object(fresh), selector, sub.as_deref(), part));
                    }
                }
            }
            Some(Value::Array(items))
        }
    }
}

/// One element after a write to it or to a sub-attribute of it; none: it goes, as does one that says no more than what
/// selects it.
fn element(old: Value, selector: &Selector, sub: Option<&str>, part: Option<&Value>) -> Option<Value> {
    let Some(sub) = sub else { return part.cloned() };
    let map = if let Value::Object(map) = old { map } else { serde_json::Map::new() };
    match (with_sub(map, sub, part), part) {
        (Value::Object(map), None) if map.keys().all(|key| selector.attribute == key.as_str()) => None,
        (changed, _) => Some(changed),
    }
}

fn with_sub(mut map: serde_json::Map<String, Value>, sub: &str, part: Option<&Value>) -> Value {
    match part {
        Some(value) => drop(map.insert(sub.to_owned(), value.clone())),
        None => drop(map.remove(sub)),
    }
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::core::mark::Stage;
    use crate::core::revision::testing::rev;

    const DEAD: Mark = Mark::new(0, Stage::Dead);

    fn set(path: &str, value: Value, n: u64) -> Register {
        Register::new(path.parse().unwrap(), Some(value), rev(n))
    }

    fn unset(path: &str, n: u64) -> Register {
        Register::new(path.parse().unwrap(), None, rev(n))
    }

    fn put(n: u64, attributes: Vec<Register>) -> Delta {
        Delta { attributes, members: vec![], lifecycle: Lifecycle { put: Some(rev(n)), deleted: None } }
    }

    fn patch(attributes: Vec<Register>) -> Delta {
        Delta { attributes, ..Delta::default() }
    }

    fn delete(n: u64) -> Delta {
        Delta { lifecycle: Lifecycle { put: None, deleted: Some(rev(n)) }, ..Delta::default() }
    }

    fn merged(deltas: &[Delta]) -> Desired {
        let mut desired = Desired::default();
        for delta in deltas {
            desired.merge(delta, Origin::Publisher, None);
        }
        desired
    }

    fn whole(desired: &Desired, path: &str) -> Option<Wanted> {
        desired.attributes().remove(&path.parse().unwrap())
    }

    #[test]
    fn an_older_put_changes_nothing() {
        let mut desired = merged(&[put(5, vec![set("title", json!("new"), 5)])]);
        let before = desired.clone();
        assert_eq!(
            desired.merge(&put(3, vec![set("title", json!("old"), 3)]), Origin::Publisher, None),
            Merged::Stale
        );
        assert_eq!(desired, before);
    }

    #[test]
    fn a_redelivered_event_changes_nothing() {
        let event = put(5, vec![set("title", json!("x"), 5)]);
        let mut desired = merged(std::slice::from_ref(&event));
        assert_eq!(desired.merge(&event, Origin::Publisher, None), Merged::Duplicate);
    }

    #[test]
    fn an_attribute_absent_from_a_newer_put_is_not_wanted() {
        let desired = merged(&[put(3, vec![set("title", json!("x"), 3)]), put(5, vec![])]);
        assert_eq!(whole(&desired, "title"), None);
        assert_eq!(desired.presence(), Presence::Alive);
    }

    #[test]
    fn a_put_without_active_keeps_the_state() {
        let desired = merged(&[patch(vec![set("active", json!(false), 4)]), put(5, vec![])]);
        assert_eq!(desired.active(), Some(false));
    }

    #[test]
    fn a_revived_resource_is_active_unless_it_says_otherwise() {
        let desired = merged(&[put(1, vec![set("active", json!(false), 1)]), delete(3), put(5, vec![])]);
        assert_eq!((desired.presence(), desired.active()), (Presence::Alive, Some(true)));
        let desired = merged(&[delete(3), put(5, vec![set("active", json!(false), 5)])]);
        assert_eq!(desired.active(), Some(false));
    }

    #[test]
    fn a_patch_on_a_deleted_resource_is_kept_for_a_put_between() {
        let desired = merged(&[delete(3), patch(vec![set("title", json!("x"), 6)]), put(5, vec![])]);
        assert_eq!(whole(&desired, "title"), Some(Wanted::Whole(Some(json!("x")))));
    }

    #[test]
    fn newer_parts_apply_on_top_of_a_whole() {
        let emails = json!([{"type": "work", "value": "a"}, {"type": "home", "value": "h"}]);
        let desired = merged(&[
            patch(vec![
                set("emails[type eq \"work\"].value", json!("b"), 6),
                unset("emails[type eq \"home\"]", 7),
            ]),
            patch(vec![set("emails[type eq \"work\"].value", json!("late"), 4)]),
            put(5, vec![set("emails", emails, 5)]),
        ]);
        assert_eq!(
            whole(&desired, "emails"),
            Some(Wanted::Whole(Some(json!([{"type": "work", "value": "b"}]))))
        );
    }

    #[test]
    fn parts_without_a_base_are_applied_to_what_the_target_has() {
        let desired = merged(&[patch(vec![set("name.givenName", json!("Ana"), 1)])]);
        let parts = vec![("name.givenName".parse().unwrap(), Some(json!("Ana")))];
        assert_eq!(whole(&desired, "name"), Some(Wanted::Parts(parts)));
    }

    #[test]
    fn what_is_dead_is_not_wanted_and_lets_nothing_older_through() {
        let mut desired = merged(&[put(5, vec![set("title", json!("bad"), 5)])]);
        desired
            .mark(&Words { attributes: vec![("title".parse().unwrap(), rev(5))], ..Words::default() }, DEAD);
        assert_eq!(whole(&desired, "title"), None);
        assert_eq!(
            desired.merge(&put(4, vec![set("title", json!("older"), 4)]), Origin::Retry, None),
            Merged::Stale
        );
        assert_eq!(
            desired.merge(&put(5, vec![set("title", json!("bad"), 5)]), Origin::Retry, None),
            Merged::Duplicate
        );
        assert_eq!(whole(&desired, "title"), None);
        desired.merge(&put(5, vec![set("title", json!("bad"), 5)]), Origin::Replay, None);
        assert_eq!(whole(&desired, "title"), Some(Wanted::Whole(Some(json!("bad")))));
    }

    #[test]
    fn a_dead_element_of_a_list_stays_as_it_is_at_the_target() {
        let element = |n| set("emails[type eq \"work\"]", json!({"type": "work", "value": n}), n);
        let mut desired = merged(&[put(1, vec![]), patch(vec![element(2)])]);
        let words = Words { attributes: vec![(element(2).path, rev(2))], ..Words::default() };
        desired.mark(&words, DEAD);
        assert_eq!(whole(&desired, "emails"), None);
        assert!(desired.is_withheld(&"emails".parse().unwrap()));
        let home = set("emails[type eq \"home\"]", json!({"type": "home", "value": "h"}), 3);
        desired.merge(&patch(vec![home.clone()]), Origin::Publisher, None);
        assert_eq!(
            whole(&desired, "emails"),
            Some(Wanted::Parts(vec![(home.path, home.value.map(Arc::unwrap_or_clone))]))
        );
        desired.merge(&put(4, vec![]), Origin::Publisher, None);
        assert!(!desired.is_withheld(&"emails".parse().unwrap()));
    }

    #[test]
    fn a_newer_event_lifts_the_mark_of_a_dead_register() {
        let mut desired = merged(&[put(5, vec![set("title", json!("bad"), 5)])]);
        desired
            .mark(&Words { attributes: vec![("title".parse().unwrap(), rev(5))], ..Words::default() }, DEAD);
        desired.merge(&patch(vec![set("title", json!("good"), 6)]), Origin::Publisher, None);
        assert_eq!(whole(&desired, "title"), Some(Wanted::Whole(Some(json!("good")))));
    }

    #[test]
    fn a_dead_delete_removes_nothing_and_brings_nothing_back() {
        let mut desired = merged(&[put(3, vec![set("title", json!("x"), 3)]), delete(5)]);
        desired.mark(&Words { deleted: Some(rev(5)), ..Words::default() }, DEAD);
        assert_eq!((desired.presence(), desired.attributes().len()), (Presence::Unborn, 0));
    }

    #[test]
    fn a_dead_put_leaves_later_patches_without_a_base_whatever_was_deleted_before() {
        let mut desired = merged(&[delete(3), put(5, vec![set("title", json!("x"), 5)])]);
        desired.mark(&Words { put: Some(rev(5)), ..Words::default() }, DEAD);
        desired.merge(&patch(vec![set("title", json!("y"), 6)]), Origin::Publisher, None);
        assert_eq!(desired.presence(), Presence::Unborn);
    }

    #[test]
    fn a_record_survives_its_stored_form() {
        let desired = merged(&[
            put(5, vec![set("title", json!("x"), 5), set("emails", json!([{"type": "work"}]), 5)]),
            patch(vec![unset("emails[type eq \"work\"]", 6)]),
            delete(2),
        ]);
        let text = serde_json::to_string(&desired).unwrap();
        assert_eq!(serde_json::from_str::<Desired>(&text).unwrap(), desired);
        assert_eq!(text.matches("\"sequence\"").count(), 3, "revisions are stored once: {text}");
    }

    fn any_delta(n: u64) -> impl Strategy<Value = Delta> {
        let paths = prop::sample::subsequence(
            vec![
                "title",
                "active",
                "name",
                "name.givenName",
                "emails",
                "emails[type eq \"work\"].value",
                "members",
            ],
            0..4,
        );
        let kind = prop::sample::select(vec!["put", "patch", "patch", "delete"]);
        (kind, paths, any::<bool>()).prop_map(move |(kind, paths, remove)| {
            let value = |path: &str| match path {
                "active" => json!(n.is_multiple_of(2)),
                "name" => json!({"givenName": format!("n{n}"), "familyName": "f"}),
                "emails" => {
                    json!([{"type": "work", "value": format!("w{n}")}, {"type": "home", "value": "h"}])
                }
                _ => json!(format!("v{n}")),
            };
            let registers = paths.iter().map(|path| match remove && *path != "active" {
                true => unset(path, n),
                false => set(path, value(path), n),
            });
            // one event never holds a whole and its part: the decoder folds them
            let mut registers: Vec<Register> = registers.collect();
            let wholes: Vec<Path> =
                registers.iter().filter(|r| r.path.is_root()).map(|r| r.path.clone()).collect();
            registers.retain(|r| r.path.is_root() || !wholes.contains(&r.path.root()));
            match kind {
                "put" => put(n, registers),
                "delete" => delete(n),
                _ => patch(registers),
            }
        })
    }

    fn events() -> impl Strategy<Value = Vec<Delta>> {
        (2usize..7).prop_flat_map(|len| (1..=len as u64).map(any_delta).collect::<Vec<_>>())
    }

    /// Folds the events in their order, the simple way.
    fn sequential(events: &[Delta]) -> (bool, BTreeMap<String, Value>) {
        let (mut alive, mut whole) = (false, BTreeMap::new());
        for event in events {
            if event.lifecycle.deleted.is_some() {
                (alive, whole) = (false, BTreeMap::new());
                continue;
            }
            if event.lifecycle.put.is_some() {
                alive = true;
                whole.retain(|path, _| path == "active" || path == "members");
            }
            for register in &event.attributes {
                let root = register.path.root().to_string();
                let parts = [(register.path.clone(), register.value.as_deref().cloned())];
                match fold(whole.remove(&root), &parts) {
                    Some(value) => drop(whole.insert(root, value)),
                    None => drop(whole.remove(&root)),
                }
            }
        }
        (alive, whole)
    }

    proptest! {
        #[test]
        fn the_order_and_number_of_deliveries_do_not_matter(
            (events, order) in events().prop_flat_map(|events| {
                let twice: Vec<usize> = (0..events.len()).chain(0..events.len()).collect();
                (Just(events), Just(twice).prop_shuffle())
            })
        ) {
            let straight = merged(&events);
            let shuffled: Vec<Delta> = order.iter().map(|i| events[*i].clone()).collect();
            prop_assert_eq!(merged(&shuffled), straight);
        }

        #[test]
        fn a_live_resource_is_what_the_events_say_in_their_order(events in events()) {
            let desired = merged(&events);
            let (alive, expected) = sequential(&events);
            prop_assert_eq!(desired.presence() == Presence::Alive, alive);
            if alive {
                let mut actual: BTreeMap<String, Value> = BTreeMap::new();
                for (path, wanted) in desired.attributes() {
                    match wanted {
                        Wanted::Whole(value) => drop(value.map(|v| actual.insert(path.to_string(), v))),
                        Wanted::Parts(parts) => {
                            prop_assert!(parts.iter().all(|(path, _)| path.selector.is_none()));
                            drop(fold(None, &parts).map(|v| actual.insert(path.to_string(), v)));
                        }
                    }
                }
                let plain: BTreeMap<String, Value> =
                    expected.into_iter().filter(|(p, _)| p != "active" && p != "members").collect();
                prop_assert_eq!(actual, plain);
            }
        }

        #[test]
        fn state_is_bounded_by_the_attributes(events in events()) {
            prop_assert!(merged(&events).len() <= 7);
        }
    }
}
