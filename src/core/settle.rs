//! The transitions of a record around a write: begin, and what each disposition makes of it. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::applied::{Applied, Fingerprint};
use super::change::{Delta, Lifecycle, MemberRegister, Register};
use super::conflict::{Policy, conceded};
use super::desired::{Presence, Wanted, Words};
use super::gap::interest;
use super::letter::Class;
use super::mark::{Mark, Stage};
use super::operation::{Method, Operation};
use super::outcome::Answer;
use super::path::Path;
use super::plan::{Purpose, Sent};
use super::record::{Claim, MemberEntry, Record, Trouble, WaitReason, Waiting};
use super::reference::Reference;
use super::resource::{ResourceKey, ResourceType, TargetId};
use super::schedule::Millis;

/// Ledger entries by member value.
pub type Entries = BTreeMap<String, MemberEntry>;

/// Writes down, before the request is sent, who sends it and what may be ours from then on (D4, D5).
pub fn begin(record: &mut Record, entries: &mut Entries, operation: &Operation, sent: &Sent, owner: &str) {
    record.epoch += 1;
    let list = sent.whole_list || operation.method() == Method::Put;
    let (owner, epoch, method) = (owner.to_owned(), record.epoch, operation.method());
    record.claim = Some(Claim { owner, epoch, method, list });
    record.maybe_ours.extend(sent.leaves().cloned());
    let incarnation = record.incarnation + u32::from(sent.purpose == Purpose::Create);
    for (value, reference) in &sent.added {
        let Some(entry) = entries.get_mut(value) else { continue };
        enter(entry, incarnation);
        match reference {
            Reference::Id(id) => entry.maybe = Some(id.clone()),
            Reference::InBatch(_) => entry.unnamed = true,
            Reference::Left(_) | Reference::Pending | Reference::Gone => {}
        }
    }
    for (value, id) in &sent.dropped {
        if let Some(entry) = entries.get_mut(value) {
            enter(entry, incarnation);
            entry.maybe = Some(id.clone());
        }
    }
}

/// Makes an entry speak of this incarnation of the group.
/// An entry speaks of this incarnation from now on.
pub(super) fn enter(entry: &mut MemberEntry, incarnation: u32) {
    if entry.incarnation != incarnation {
        entry.incarnation = incarnation;
        entry.applied = None;
        entry.maybe = None;
        entry.unnamed = false;
    }
}

/// The target acknowledged it. `ids`: what the request's `bulkId`s became.
pub fn applied(
    record: &mut Record,
    entries: &mut Entries,
    operation: &Operation,
    sent: &Sent,
    answer: &Answer,
    etags: bool,
    ids: &BTreeMap<String, TargetId>,
) {
    record.claim = None;
    record.verify = false;
    record.trouble = None;
    match sent.purpose {
        Purpose::Create => match &answer.id {
            Some(id) => {
                // what was merged meanwhile took ledger entries of an earlier incarnation for written; a first one has none
                let scan = record.scan_members || record.incarnation > 0;
                record.know_target(operation.kind(), id.clone());
                record.applied = Some(Applied { leaves: resolved(sent, ids), parts: sent.parts.clone() });
                record.scan_members = scan && operation.kind() == ResourceType::Group;
            }
            None => record.verify = true,
        },
        Purpose::Update | Purpose::Deactivate => {
            let applied = record.applied.get_or_insert_default();
            applied.leaves.extend(resolved(sent, ids));
            applied.leaves.retain(|path, _| !sent.removed.contains(path));
            applied.parts.extend(sent.parts.clone());
        }
        Purpose::Delete => {
            record.former = record.id.clone();
            record.forget_target();
            record.gone = true;
        }
        Purpose::Members => {}
    }
    // only now: to know a target by a new id is to forget the version of an earlier one
    record.etag = answer.etag.clone().filter(|_| etags && record.id.is_some());
    for path in sent.set.keys().chain(&sent.removed) {
        record.maybe_ours.remove(path);
    }
    if record.late_check.is_some() && (operation.method() == Method::Put || record.late_list) {
        // the request that may still come would bring the whole list as it was before this one
        record.late_members.extend(members_by_id(sent));
    }
    commit_members(record, entries, sent, ids);
}

/// The leaves as written, with `bulkId`s replaced by what they became.
fn resolved(sent: &Sent, ids: &BTreeMap<String, TargetId>) -> BTreeMap<Path, Fingerprint> {
    let mut leaves = sent.set.clone();
    let manager = super::gap::manager();
    if leaves.contains_key(&manager) {
        for id in &sent.in_batch {
            let as_sent = Fingerprint::of(&Value::String(format!("bulkId:{id}")));
            if let (Some(target), true) = (ids.get(id), leaves.get(&manager) == Some(&as_sent)) {
                leaves.insert(manager.clone(), Fingerprint::of(&Value::String(target.as_str().to_owned())));
            }
        }
    }
    leaves
}

fn commit_members(record: &Record, entries: &mut Entries, sent: &Sent, ids: &BTreeMap<String, TargetId>) {
    for (value, reference) in &sent.added {
        let id = match reference {
            Reference::Id(id) => Some(id),
            Reference::InBatch(bulk_id) => ids.get(bulk_id),
            Reference::Left(_) | Reference::Pending | Reference::Gone => None,
        };
        if let Some(entry) = entries.get_mut(value) {
            enter(entry, record.incarnation);
            entry.applied = id.cloned();
            entry.maybe = None;
            entry.unnamed = false;
        }
    }
    for (value, id) in &sent.dropped {
        if let Some(entry) = entries.get_mut(value) {
            enter(entry, record.incarnation);
            entry.applied = entry.applied.take().filter(|applied| applied != id);
            entry.maybe = entry.maybe.take().filter(|maybe| maybe != id);
            entry.unnamed = false;
        }
    }
    let named = |value: &String| {
        sent.added.iter().any(|(added, _)| added == value) || sent.dropped.iter().any(|(out, _)| out == value)
    };
    for (value, entry) in entries {
        // an entry that this write does not name may be dirty because its user got another id
        entry.dirty = record.is_dirty(entry) || (entry.dirty && !named(value));
    }
}

/// A resource of the target as it was just read.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The resource.
    pub live: &'a Value,
    /// The answer that it was in.
    pub answer: &'a Answer,
    /// The target's versions mean something.
    pub etags: bool,
    /// Who is right about what somebody else changed.
    pub policy: &'a Policy,
}

/// Takes over the target's resource as it was just read. Returns the paths at which the target is right although the source
/// wants something else.
pub fn observe(record: &mut Record, sight: &Sight<'_>) -> Vec<Path> {
    let paths = interest(record);
    let base = record.applied.take().unwrap_or_default();
    let mut applied = Applied { leaves: base.leaves.clone(), parts: BTreeMap::new() };
    applied.observe(sight.live, &paths);
    let conceded = conceded(record, &base, sight.policy, &applied);
    for (path, ours) in &conceded {
        match ours {
            Some(print) => drop(applied.leaves.insert(path.clone(), *print)),
            None => drop(applied.leaves.remove(path)),
        }
    }
    record.applied = Some(applied);
    record.etag = sight.answer.etag.clone().filter(|_| sight.etags);
    record.maybe_ours.clear();
    record.verify = false;
    conceded.into_keys().collect()
}

/// The target's resource was looked up and found: it is ours from now on.
pub fn adopt(record: &mut Record, key: &ResourceKey, id: TargetId, sight: &Sight<'_>) -> Vec<Path> {
    // what a create sent is ours, although its answer and with it the id were lost
    let sent = std::mem::take(&mut record.maybe_ours);
    record.know_target(key.kind, id);
    record.maybe_ours = sent;
    observe(record, sight)
}

/// The target's resource was looked up, and there is none.
pub fn absent(record: &mut Record) {
    if record.id.is_some() {
        record.forget_target();
    }
    record.verify = false;
    record.gone = true;
}

/// Nobody knows whether it was applied. `late`: until then the request may still be applied.
pub fn unknown(record: &mut Record, operation: &Operation, sent: &Sent, late: Option<Millis>) {
    record.claim = None;
    record.verify = true;
    record.gone = false;
    record.etag = None;
    if let Some(until) = late {
        may_come(record, operation.method(), until);
        record.late_list |= sent.whole_list || operation.method() == Method::Put;
        record.late_members.extend(members_by_id(sent));
    }
}

/// The members that a request adds or removes, as far as their ids are known.
fn members_by_id(sent: &Sent) -> impl Iterator<Item = (String, TargetId)> {
    let added = sent.added.iter().filter_map(|(value, reference)| match reference {
        Reference::Id(id) => Some((value.clone(), id.clone())),
        Reference::InBatch(_) | Reference::Left(_) | Reference::Pending | Reference::Gone => None,
    });
    added.chain(sent.dropped.iter().cloned())
}

/// The holder of the claim is gone: nobody knows what it has sent, and until `late` that may still be applied.
pub fn expired(record: &mut Record, late: Millis) {
    let Some(claim) = record.claim.take() else { return };
    record.verify = true;
    record.gone = false;
    record.etag = None;
    record.late_list |= claim.list;
    may_come(record, claim.method, late);
}

/// Notes what a request of this method may still write. A PUT writes all that was there.
fn may_come(record: &mut Record, method: Method, until: Millis) {
    record.late_check = Some(until);
    record.late_leaves.extend(record.maybe_ours.iter().cloned());
    match method {
        Method::Post => record.no_create_before = Some(until),
        Method::Put => {
            let applied = record.applied.iter().flat_map(|applied| applied.leaves.keys().cloned());
            record.late_leaves.extend(applied);
        }
        Method::Patch | Method::Delete => {}
    }
}

/// Notes the members that a claim whose holder is gone may still add or remove.
pub fn expired_members(record: &mut Record, entries: &Entries) {
    let sent = entries.iter().filter_map(|(value, entry)| {
        let (_, maybe) = entry.written(record.incarnation);
        Some((value.clone(), maybe?.clone()))
    });
    record.late_members.extend(sent);
}

/// The time has come to read again what a request given up may have brought back.
pub fn read_again(record: &mut Record) {
    record.late_check = None;
    record.late_list = false;
    record.verify = true;
    record.maybe_ours.append(&mut record.late_leaves);
}

/// Ledger entries of members that a request given up may have brought back: perhaps there, whatever was written since.
/// `entries` are those that are still known.
pub fn members_again(record: &mut Record, entries: &mut Entries) {
    let late = std::mem::take(&mut record.late_members);
    let floor = record.desired.member_floor();
    let is_withheld = |entry: &MemberEntry| record.is_withheld_member(entry);
    for (value, id) in late {
        if !entries.contains_key(&value)
            && let Some(floor) = floor
        {
            let entry = MemberEntry { incarnation: record.incarnation, ..MemberEntry::new(floor.clone()) };
            entries.insert(value.clone(), entry);
        }
        if let Some(entry) = entries.get_mut(&value)
            && entry.incarnation == record.incarnation
            && !is_withheld(entry)
        {
            entry.maybe = Some(id);
            entry.dirty = true;
        }
    }
}

/// One more failure of its own.
pub fn failed(record: &mut Record, class: Class, status: Option<u16>, now: Millis) {
    let first_failed_at = record.trouble.as_ref().map_or(now, |trouble| trouble.first_failed_at);
    let attempt = record.attempt() + 1;
    record.claim = None;
    record.trouble = Some(Trouble { attempt, first_failed_at, last_failed_at: now, class, status });
}

/// Changed by others: read it before the next write. False: it had happened before, so that an attempt counts.
pub fn conflicted(record: &mut Record, now: Millis) -> bool {
    record.claim = None;
    record.etag = None;
    record.verify = true;
    let first = record.trouble.as_ref().is_none_or(|trouble| trouble.class != Class::Conflict);
    if first {
        let attempt = record.attempt();
        let first_failed_at = record.trouble.as_ref().map_or(now, |trouble| trouble.first_failed_at);
        let class = Class::Conflict;
        record.trouble =
            Some(Trouble { attempt, first_failed_at, last_failed_at: now, class, status: Some(412) });
    }
    first
}

/// It waits for something that is not time; the first wait counts.
pub fn waits(record: &mut Record, reason: WaitReason, now: Millis) -> Waiting {
    match record.waiting {
        Some(waiting) if waiting.reason == reason => waiting,
        _ => {
            let waiting = Waiting { reason, since: now };
            record.waiting = Some(waiting);
            waiting
        }
    }
}

/// The intent: the part of the desired state that is not applied, as registers with their own revisions.
pub fn unapplied(record: &Record, entries: &Entries) -> Delta {
    let desired = &record.desired;
    let alive = |f: &&super::desired::Floor| f.mark.is_wanted();
    let mut lifecycle = Lifecycle::default();
    match desired.presence() {
        Presence::Alive => {
            lifecycle.put = desired.put().filter(alive).map(|f| f.revision.clone());
            if record.id.is_none() {
                lifecycle.deleted = desired.deleted().filter(alive).map(|f| f.revision.clone());
            }
        }
        Presence::Deleted => lifecycle.deleted = desired.deleted().filter(alive).map(|f| f.revision.clone()),
        Presence::Unborn => {}
    }
    let wanted = desired.attributes();
    let open = |path: &Path| is_open(record, path, wanted.get(&path.root()));
    let live = desired.registers().filter(|(path, held)| held.mark.is_wanted() && open(path));
    let attributes = live.map(|(path, held)| Register {
        path: path.clone(),
        value: held.value.clone(),
        revision: held.revision.clone(),
    });
    let dirty = entries.iter().filter(|(_, entry)| entry.dirty && !record.is_withheld_member(entry));
    let members = dirty.map(|(value, entry)| {
        // what the floor hides is out since then
        let floor = desired.member_floor().filter(|_| record.is_hidden(entry));
        MemberRegister {
            value: value.clone(),
            kind: entry.kind,
            present: entry.present && floor.is_none(),
            revision: floor.unwrap_or(&entry.revision).clone(),
        }
    });
    Delta { attributes: attributes.collect(), members: members.collect(), lifecycle }
}

/// True unless everything that this attribute wants is at the target.
fn is_open(record: &Record, path: &Path, wanted: Option<&Wanted>) -> bool {
    let Some(applied) = record.applied.as_ref().filter(|_| record.id.is_some() && !record.verify) else {
        return true;
    };
    let has = |path: &Path, value: &Value| applied.leaves.get(path) == Some(&Fingerprint::of(value));
    if path.attribute == "active" && path.schema.is_none() {
        return record.desired.active().is_none_or(|active| !has(path, &Value::Bool(active)));
    }
    if super::desired::is_members(path) {
        return record.scan_members;
    }
    match wanted {
        Some(Wanted::Whole(Some(value))) => {
            let root = path.root();
            root == super::gap::manager().root()
                || !super::applied::leaves(&root, value).iter().all(|(leaf, value)| has(leaf, value))
                || applied.leaves.keys().filter(|leaf| leaf.root() == root).count()
                    > super::applied::leaves(&root, value).len()
        }
        Some(Wanted::Whole(None)) => applied.leaves.keys().any(|leaf| leaf.root() == path.root()),
        Some(Wanted::Parts(parts)) if super::gap::are_leaves(parts) => {
            let part = parts.iter().find(|(part, _)| part == path);
            part.is_some_and(|(_, value)| match value {
                Some(value) => !has(path, value),
                None => applied.leaves.contains_key(path),
            })
        }
        Some(Wanted::Parts(_)) | None => true,
    }
}

/// The words that a letter with this intent is about.
pub fn words(record: &Record, intent: &Delta) -> Words {
    let attributes = intent.attributes.iter().map(|r| (r.path.clone(), r.revision.clone())).collect();
    let members = intent.members.iter().map(|m| (m.value.clone(), m.revision.clone())).collect();
    let put = intent.lifecycle.put.clone().filter(|_| record.id.is_none());
    let deleted = intent.lifecycle.deleted.clone().filter(|_| record.desired.presence() == Presence::Deleted);
    Words { attributes, members, put, deleted }
}

/// The words that an intent names, whatever the record knows.
pub fn named(intent: &Delta) -> Words {
    Words {
        attributes: intent.attributes.iter().map(|r| (r.path.clone(), r.revision.clone())).collect(),
        members: intent.members.iter().map(|m| (m.value.clone(), m.revision.clone())).collect(),
        put: intent.lifecycle.put.clone(),
        deleted: intent.lifecycle.deleted.clone(),
    }
}

/// How often what this intent carries was replayed.
pub fn round(record: &Record, entries: &Entries) -> u32 {
    let members = entries.values().map(|entry| entry.mark.round);
    members.chain([record.desired.round()]).max().unwrap_or(0)
}

/// A dead letter is the home of these words now: they leave the desired state and take the attempts along.
pub fn bury(record: &mut Record, entries: &mut Entries, words: &Words, round: u32) {
    record.claim = None;
    record.trouble = None;
    record.waiting = None;
    mark(record, entries, words, Mark::new(round, Stage::Dead));
}

/// Marks words of the desired state and of the ledger.
pub fn mark(record: &mut Record, entries: &mut Entries, words: &Words, mark: Mark) {
    record.desired.mark(words, mark);
    let floor = record.desired.member_floor().cloned();
    for (value, revision) in &words.members {
        if let Some(entry) = entries.get_mut(value)
            && entry.revision <= *revision
        {
            if floor.as_ref() == Some(revision) && entry.revision < *revision {
                (entry.present, entry.revision) = (false, revision.clone());
            }
            entry.mark = entry.mark.max(mark);
            let looked_for = entry.dirty && !record.is_withheld_member(entry);
            entry.dirty = looked_for || record.is_dirty(entry);
        }
    }
}
