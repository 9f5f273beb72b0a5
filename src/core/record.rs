//! All that is known about one resource: desired, applied, and how far the flush has come.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::applied::{Applied, Fingerprint};
use super::change::{Change, MemberRegister};
use super::desired::{Desired, Merged, Presence, is_members};
use super::letter::Class;
use super::listing::Listing;
use super::mark::Mark;
use super::operation::Method;
use super::path::Path;
use super::resource::{ETag, ResourceKey, ResourceType, TargetId};
use super::revision::Revision;
use super::schedule::{Due, Millis};

/// Event ids kept for letters (contract s3.1).
pub const MAX_EVENT_IDS: usize = 20;

/// All that is known about one resource, members apart (they are a ledger of their own, D10).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The merge of all changes.
    pub desired: Desired,
    /// Where it stands in the schedule; none: nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Due>,
    /// The target's id, once known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<TargetId>,
    /// The version last seen, where the target has ETags; none: read before writing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// What the target has of us; none: nothing was written or read yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// Leaves that were sent and not acknowledged: perhaps ours (D4).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub maybe_ours: BTreeSet<Path>,
    /// Counts the target ids that this resource has had: ledger entries of an older one say nothing.
    #[serde(skip_serializing_if = "is_zero")]
    pub incarnation: u32,
    /// Who writes it right now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// The number of the last claim.
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub epoch: u64,
    /// What the target has is not known: look before anything is written (D6).
    #[serde(skip_serializing_if = "is_false")]
    pub verify: bool,
    /// Known not to exist at the target.
    #[serde(skip_serializing_if = "is_false")]
    pub gone: bool,
    /// The id that it had before it was deleted there: a target that only hides what is deleted refuses a second one, and may
    /// still know the first by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub former: Option<TargetId>,
    /// Read again then, whatever was committed meanwhile: a request given up may still be applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_check: Option<Millis>,
    /// Leaves that such a request may still bring back.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub late_leaves: BTreeSet<Path>,
    /// Members that such a request may still add or remove, with the target ids that it names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub late_members: BTreeMap<String, TargetId>,
    /// Such a request says who all the members of the group are: it undoes what is changed before it comes.
    #[serde(skip_serializing_if = "is_false")]
    pub late_list: bool,
    /// No second POST before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_create_before: Option<Millis>,
    /// Failures of its own so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// When something of it was last held for an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_at: Option<Millis>,
    /// Something waits for something: a base, a reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// The member floor has moved: the whole ledger is to be looked at.
    #[serde(skip_serializing_if = "is_false")]
    pub scan_members: bool,
    /// A `put` said who all the members are: where the source's list is the list, what else the target has goes. How many
    /// more there were when it was last compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strangers: Option<u32>,
    /// A removal of several members met one that was not there: they are removed one by one.
    #[serde(skip_serializing_if = "is_false")]
    pub one_by_one: bool,
    /// A change of attributes and members together failed: they go apart until nothing is pending.
    #[serde(skip_serializing_if = "is_false")]
    pub apart: bool,
    /// What the groups that list this user were last told of it.
    #[serde(skip_serializing_if = "Listing::is_plain")]
    pub listing: Listing,
    /// They have not all been told yet.
    #[serde(skip_serializing_if = "is_false")]
    pub untold: bool,
    /// The earliest time at which something that is pending was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Millis>,
    /// When what is pending was last written to the journal again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appended: Option<Millis>,
    /// The events that are pending, the first ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_ids: Vec<String>,
    /// `traceparent` of the last of them that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}

const fn user() -> ResourceType {
    ResourceType::User
}

fn is_user(kind: &ResourceType) -> bool {
    *kind == ResourceType::User
}

fn is_live(mark: &Mark) -> bool {
    *mark == Mark::LIVE
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn is_zero_u64(value: &u64) -> bool {
    *value == 0
}

/// A write in flight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// A random token of the process that writes.
    pub owner: String,
    /// Which claim this is: a commit with another is refused.
    pub epoch: u64,
    /// What it does.
    pub method: Method,
    /// It says who all the members of a group are.
    #[serde(default, skip_serializing_if = "is_false")]
    pub list: bool,
}

/// Failures of the resource itself (contract s3.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// How many in a row.
    pub attempt: u32,
    /// The first of them.
    pub first_failed_at: Millis,
    /// The last of them.
    pub last_failed_at: Millis,
    /// What the last one was.
    pub class: Class,
    /// Its HTTP status, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// What a resource waits for that is not time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// For what.
    pub reason: WaitReason,
    /// Since when.
    pub since: Millis,
}

/// What a resource can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitReason {
    /// Its `put`: only patches are known and the target does not have it.
    Base,
    /// A member or manager that is not at the target yet.
    Reference,
}

/// What merging a change did to a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Intake {
    /// To the attributes and floors.
    pub merged: Merged,
    /// Ledger entries to write.
    pub members: Vec<(String, MemberEntry)>,
}

impl Record {
    /// Merges a change; `entries` are the ledger entries of the members that it names.
    pub fn merge(&mut self, change: &Change, entries: &BTreeMap<String, MemberEntry>) -> Intake {
        let floor = self.floor_in_force().cloned();
        let mut merged = self.desired.merge(&change.delta, change.origin, change.round);
        if change.key.kind == ResourceType::Group && self.floor_in_force() != floor.as_ref() {
            self.scan_members = true;
            if change.delta.attributes.iter().any(|register| is_members(&register.path)) {
                self.strangers = Some(u32::MAX);
            }
        }
        let mut members = Vec::new();
        for register in &change.delta.members {
            let (what, entry) = self.merge_member(register, entries.get(&register.value), change);
            merged = merged.max(what);
            members.extend(entry.map(|entry| (register.value.clone(), entry)));
        }
        if merged == Merged::New {
            self.note_pending(change);
        }
        Intake { merged, members }
    }

    fn merge_member(
        &self,
        new: &MemberRegister,
        held: Option<&MemberEntry>,
        change: &Change,
    ) -> (Merged, Option<MemberEntry>) {
        let again = |mark: Mark| mark.said_again(change.origin, change.round);
        if self.desired.member_floor().is_some_and(|floor| new.revision < *floor) {
            return (Merged::Stale, None);
        }
        let mut entry = match held {
            Some(held) if held.revision > new.revision => return (Merged::Stale, None),
            Some(held) if held.revision == new.revision && again(held.mark) == held.mark => {
                return (Merged::Duplicate, None);
            }
            Some(held) if held.revision == new.revision => {
                MemberEntry { mark: again(held.mark), ..held.clone() }
            }
            Some(held) => MemberEntry { mark: again(Mark::LIVE), ..held.clone() },
            None => MemberEntry { mark: again(Mark::LIVE), ..MemberEntry::new(new.revision.clone()) },
        };
        entry.revision = new.revision.clone();
        entry.present = new.present;
        // a removal need not say it
        if new.present {
            entry.kind = new.kind;
        }
        // dirty already: its user may have got another id
        entry.dirty |= self.is_dirty(&entry);
        (Merged::New, Some(entry))
    }

    fn note_pending(&mut self, change: &Change) {
        self.first_seen = Some(self.first_seen.map_or(change.first_seen, |seen| seen.min(change.first_seen)));
        if self.event_ids.len() < MAX_EVENT_IDS && !self.event_ids.contains(&change.event_id) {
            self.event_ids.push(change.event_id.clone());
        }
        if change.traceparent.is_some() {
            self.traceparent.clone_from(&change.traceparent);
        }
        if matches!(self.waiting, Some(Waiting { reason: WaitReason::Base, .. })) {
            self.waiting = None;
        }
    }

    /// True if the source wants this member in, and says so itself or as a part of the whole list.
    pub fn wants_member(&self, entry: &MemberEntry) -> bool {
        entry.present && !self.is_hidden(entry)
    }

    /// True if the last word on this member is dead or held: nothing newer, not even a floor, says otherwise.
    pub fn is_withheld_member(&self, entry: &MemberEntry) -> bool {
        !entry.mark.is_wanted() && !self.is_hidden(entry)
    }

    /// True if the whole list was written after this was said.
    pub fn is_hidden(&self, entry: &MemberEntry) -> bool {
        self.desired.member_floor().is_some_and(|floor| entry.revision < *floor)
    }

    /// The floor of the ledger that moves anybody: a `delete` that is dead or held takes nobody out, unless the group came
    /// back since.
    fn floor_in_force(&self) -> Option<&Revision> {
        let deletes = self.desired.deleted().is_none_or(|deleted| deleted.mark.is_wanted());
        if deletes || self.desired.presence() == Presence::Alive {
            return self.desired.member_floor();
        }
        let whole = self.desired.registers().find(|(path, _)| is_members(path) && path.is_root());
        whole.map(|(_, held)| &held.revision)
    }

    /// True if this member stays as it is at the target: all that hides it is a `delete` that is dead or held.
    pub fn stays(&self, entry: &MemberEntry) -> bool {
        let hidden = |floor: Option<&Revision>| floor.is_some_and(|floor| entry.revision < *floor);
        hidden(self.desired.member_floor()) && !hidden(self.floor_in_force())
    }

    /// True if the flush has to look at this ledger entry.
    pub fn is_dirty(&self, entry: &MemberEntry) -> bool {
        if self.is_withheld_member(entry) || self.stays(entry) {
            return false;
        }
        let (applied, maybe) = entry.written(self.incarnation);
        maybe.is_some() || entry.is_unnamed(self.incarnation) || self.wants_member(entry) != applied.is_some()
    }

    /// True if this ledger entry says nothing any more: a floor hides it, and nothing of it is at the target, nor comes
    /// there with a create whose outcome is not known yet.
    pub fn can_forget(&self, entry: &MemberEntry) -> bool {
        let ahead = entry.incarnation >= self.incarnation;
        let written = ahead && (entry.applied.is_some() || entry.maybe.is_some() || entry.unnamed);
        !written && self.is_hidden(entry)
    }

    /// Forgets the target's resource: deleted there, or never what we thought.
    pub fn forget_target(&mut self) {
        self.id = None;
        self.etag = None;
        self.applied = None;
        self.maybe_ours.clear();
    }

    /// Knows the target's resource by a new id: what was written to an earlier one says nothing about it.
    pub fn know_target(&mut self, kind: ResourceType, id: TargetId) {
        if self.id.as_ref() != Some(&id) {
            self.forget_target();
            self.scan_members = kind == ResourceType::Group;
            self.id = Some(id);
            self.incarnation += 1;
        }
        self.gone = false;
        self.former = None;
        self.no_create_before = None;
    }

    /// The id to look at when the target says that there is one already, and shows none.
    pub fn hidden_id(&self) -> Option<&TargetId> {
        let refused = self.trouble.as_ref().is_some_and(|trouble| trouble.class == Class::Uniqueness);
        self.former.as_ref().filter(|_| refused && self.id.is_none())
    }

    /// Nothing is pending any more.
    pub fn settle(&mut self) {
        self.first_seen = None;
        self.appended = None;
        self.event_ids.clear();
        self.traceparent = None;
        self.trouble = None;
        self.waiting = None;
        self.one_by_one = false;
        self.apart = false;
    }

    /// True if the target has it, and it is active there as far as is known.
    pub fn is_active(&self) -> bool {
        self.id.is_some() && !self.is_inactive()
    }

    /// True if the target has it as inactive.
    pub fn is_inactive(&self) -> bool {
        let inactive = Fingerprint::of(&Value::Bool(false));
        let leaf = self.applied.as_ref().and_then(|applied| applied.leaves.get(&Path::core("active")));
        leaf == Some(&inactive)
    }

    /// The attempts so far.
    pub fn attempt(&self) -> u32 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.attempt)
    }
}

/// One member of a group: what the source said last, and what this relay wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberEntry {
    /// The revision of what the source said last.
    #[serde(rename = "r")]
    pub revision: Revision,
    /// Whether it said that the member is in.
    #[serde(rename = "p")]
    pub present: bool,
    /// What it is: a user, or a group in the group.
    #[serde(rename = "t", default = "user", skip_serializing_if = "is_user")]
    pub kind: ResourceType,
    /// The target id that this relay added and the target acknowledged.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<TargetId>,
    /// A target id that was sent, to add or to remove, and not acknowledged.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub maybe: Option<TargetId>,
    /// It was sent by a `bulkId`, and not acknowledged: whichever id its user got then.
    #[serde(rename = "b", default, skip_serializing_if = "is_false")]
    pub unnamed: bool,
    /// The incarnation of the group that `applied`, `maybe` and `unnamed` speak of.
    #[serde(rename = "i", default, skip_serializing_if = "is_zero")]
    pub incarnation: u32,
    /// What became of it.
    #[serde(rename = "x", default, skip_serializing_if = "is_live")]
    pub mark: Mark,
    /// Whether the flush has to look at it; kept as an index of its own by the store.
    #[serde(rename = "d", default, skip_serializing_if = "is_false")]
    pub dirty: bool,
}

impl MemberEntry {
    /// An entry that says nothing yet.
    pub fn new(revision: Revision) -> Self {
        Self {
            revision,
            present: false,
            kind: ResourceType::User,
            applied: None,
            maybe: None,
            unnamed: false,
            incarnation: 0,
            mark: Mark::LIVE,
            dirty: false,
        }
    }

    /// True if it was perhaps written to this incarnation of the group under an id that nobody knows.
    pub fn is_unnamed(&self, incarnation: u32) -> bool {
        self.unnamed && self.incarnation == incarnation
    }

    /// What was written to this incarnation of the group: acknowledged, and perhaps.
    pub fn written(&self, incarnation: u32) -> (Option<&TargetId>, Option<&TargetId>) {
        match self.incarnation == incarnation {
            true => (self.applied.as_ref(), self.maybe.as_ref()),
            false => (None, None),
        }
    }
}

/// The resource that a reference in the source's terms denotes.
pub fn referred(kind: ResourceType, value: &str) -> Option<ResourceKey> {
    let id = super::resource::ExternalId::new(value).ok()?;
    Some(ResourceKey::new(kind, id))
}
