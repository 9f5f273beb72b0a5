//! A batch under way: resources as they were loaded, with what this flush has learnt about them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::core::desired::Presence;
use crate::core::dialect::WholeList;
use crate::core::gap::{Gap, Rules, Seen, gap};
use crate::core::ledger::{MemberChanges, member_changes};
use crate::core::operation::Operation;
use crate::core::plan::{self, MemberStyle, Planned, Sent};
use crate::core::record::{MemberEntry, Record, referred};
use crate::core::reference::References;
use crate::core::resource::{ResourceKey, ResourceType, TargetId};
use crate::core::settle::Entries;
use crate::pipeline::ports::{Loaded, Version};

/// What a resource names: its type and its name in the source's terms.
pub(super) type Named = (ResourceType, String);

/// One resource of a batch.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub key: ResourceKey,
    pub version: Version,
    pub record: Record,
    /// Dirty ledger entries.
    pub entries: Entries,
    /// There are more dirty ones than were loaded.
    pub more_entries: bool,
    /// Looked up, and not at the target.
    pub absent: bool,
    /// The resource as it was just read.
    pub live: Option<Value>,
    /// Members of the group at the target that the source does not list.
    pub strangers: Strangers,
    /// What the record was when it was loaded: the settlement writes only what differs.
    pub changed: bool,
}

/// Members that others added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Strangers {
    /// They stay: `conflict.members` is `own`.
    Stay,
    /// They go, once it is known who they are.
    Unknown,
    /// These are there and go.
    Found(Vec<TargetId>),
    /// Whoever is there goes, but for these, as they are on the wire.
    AllBut {
        members: Vec<String>,
        how: WholeList,
        /// How many go, where the target tells.
        found: Option<usize>,
    },
}

/// What is to be done about one resource next.
#[derive(Debug)]
pub(super) enum Next {
    /// Find it at the target.
    Find,
    /// Read it.
    Read,
    /// Patches without a base.
    NoBase,
    /// The target lacks the method; why, in words.
    NotSupported(&'static str),
    /// Compare the members with the target's.
    Compare,
    /// Nothing to write.
    Rest(Idle),
    /// Write this.
    Write(Box<Ready>),
}

/// What was found out of a resource that needs nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Idle {
    /// References that are not at the target yet.
    pub pending: Vec<String>,
    /// Ledger entries that turned out clean.
    pub clean: Vec<String>,
    /// References to what is deleted at the source, which may come back.
    pub gone: Vec<String>,
    /// Members who have left, and may come back.
    pub left: Vec<String>,
}

/// A write, ready to be claimed and sent.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub operation: Operation,
    pub sent: Sent,
    /// More is to be looked at when it is done: members beyond this request, pending references.
    pub more: bool,
}

impl Item {
    /// A resource as it was just loaded.
    pub fn loaded(loaded: Loaded, strangers: Strangers) -> Self {
        let Loaded { key, version, record, .. } = loaded;
        Self {
            key,
            version,
            record,
            entries: Entries::new(),
            more_entries: false,
            absent: false,
            live: None,
            strangers,
            changed: false,
        }
    }

    /// The values of this resource's references that are to be resolved.
    /// `all`: those of members who go as well.
    pub fn references(&self, all: bool) -> Vec<Named> {
        let named = |entry: &MemberEntry| {
            all || (self.record.wants_member(entry) && entry.mark.is_wanted())
                || entry.is_unnamed(self.record.incarnation)
        };
        let wanted = self.entries.iter().filter(|(_, entry)| named(entry));
        let manager = crate::core::gap::references(&self.record).map(|value| (ResourceType::User, value));
        wanted.map(|(value, entry)| (entry.kind, value.clone())).chain(manager).collect()
    }

    /// References that may come into being: pending ones, and members whose user is deleted for now.
    pub fn open(&self, pending: &[String], clean: &[String]) -> Vec<String> {
        let wanted = |value: &&String| {
            let entry = self.entries.get(*value);
            entry.is_some_and(|e| {
                self.record.wants_member(e) && e.written(self.record.incarnation).0.is_none()
            })
        };
        pending.iter().chain(clean.iter().filter(wanted)).cloned().collect()
    }

    /// What is named by this value.
    pub fn referred(&self, value: &str) -> Option<ResourceKey> {
        let kind = self.entries.get(value).map_or(ResourceType::User, |entry| entry.kind);
        referred(kind, value)
    }

    /// Plans the next step; `bulk_id` correlates the operation in its batch.
    pub fn next(&self, rules: &Rules, references: &References, bulk_id: &str) -> Next {
        let seen = Seen { absent: self.absent, live: self.live.as_ref() };
        let bulk_id = bulk_id.to_owned();
        let overlay = self.live.as_ref().filter(|_| !rules.patches(self.key.kind));
        let id = self.record.id.clone();
        match (gap(&self.key, &self.record, rules, seen, references), id) {
            (Gap::Find, _) => Next::Find,
            (Gap::Read, _) => Next::Read,
            (Gap::NoBase, _) => Next::NoBase,
            (Gap::NotSupported(why), _) => Next::NotSupported(why),
            (Gap::Create(changes), _) => {
                let pending = changes.pending.iter().cloned().collect();
                let members = self.members(rules, references);
                let rest = Rest::of(&members, pending, self.more_entries);
                rest.ready(plan::create(&self.key, bulk_id, changes, members))
            }
            (Gap::Deactivate, Some(id)) => {
                Rest::later().ready(plan::deactivate(&self.key, &self.record, id, bulk_id, overlay))
            }
            (Gap::Delete, Some(id)) => {
                Rest::default().ready(plan::delete(&self.key, &self.record, id, bulk_id))
            }
            (Gap::Update(changes), Some(id)) => {
                self.next_update(rules, references, id, bulk_id, changes, overlay)
            }
            (Gap::None(_), None) if self.has_members_without_base() => match self.absent {
                true => Next::NoBase,
                false => Next::Find,
            },
            (Gap::None(changes), id) => self.next_members(rules, references, bulk_id, id, changes),
            (Gap::Deactivate | Gap::Delete | Gap::Update(_), None) => Next::Find,
        }
    }

    /// Members were added to a group that was never `put`: there is a gap although no attribute says so.
    fn has_members_without_base(&self) -> bool {
        let waiting =
            |entry: &MemberEntry| entry.dirty && entry.mark.is_wanted() && self.record.wants_member(entry);
        self.record.desired.presence() == Presence::Unborn && self.entries.values().any(waiting)
    }

    fn may_compare(&self, pending: &[String]) -> bool {
        let settled = pending.is_empty() && !self.more_entries && !self.record.scan_members;
        let alive = self.record.desired.presence() == Presence::Alive;
        self.record.strangers.is_some() && settled && alive
    }

    fn members(&self, rules: &Rules, references: &References) -> MemberChanges {
        let entries: Vec<(String, MemberEntry)> =
            self.entries.iter().map(|(value, entry)| (value.clone(), entry.clone())).collect();
        let limit = if self.record.one_by_one { 1 } else { rules.dialect.members_per_request };
        member_changes(&self.record, &entries, references, limit)
    }

    /// Attributes, and members with them where that costs no request of their own.
    fn next_update(
        &self,
        rules: &Rules,
        references: &References,
        id: TargetId,
        bulk_id: String,
        changes: crate::core::gap::Changes,
        overlay: Option<&Value>,
    ) -> Next {
        let pending: Vec<String> = changes.pending.iter().cloned().collect();
        let is_whole =
            self.key.kind != ResourceType::Group || self.record.apart || !rules.patches(self.key.kind);
        let members = if is_whole { MemberChanges::default() } else { self.members(rules, references) };
        if members.is_empty() {
            let rest = Rest { pending, more: !self.entries.is_empty(), ..Rest::default() };
            return rest.ready(plan::update(&self.key, &self.record, id, bulk_id, changes, overlay));
        }
        let rest = Rest::of(&members, pending, self.more_entries);
        let members = (members, rules.dialect.removal);
        rest.ready(plan::update_with_members(&self.key, &self.record, id, bulk_id, changes, members))
    }

    fn next_members(
        &self,
        rules: &Rules,
        references: &References,
        bulk_id: String,
        id: Option<TargetId>,
        changes: crate::core::gap::Changes,
    ) -> Next {
        let (pending, gone): (Vec<String>, Vec<String>) =
            (changes.pending.into_iter().collect(), changes.gone.into_iter().collect());
        let Some(id) = id.filter(|_| self.key.kind == ResourceType::Group) else {
            return Next::Rest(Idle { pending, gone, ..Idle::default() });
        };
        let mut members = self.members(rules, references);
        if members.is_empty() {
            let pending: Vec<String> = pending.iter().chain(&members.pending).cloned().collect();
            match &self.strangers {
                // only when all that is wanted is there: what is not resolved yet may be one of them
                Strangers::Unknown if self.may_compare(&pending) => return Next::Compare,
                Strangers::Found(strangers) if !strangers.is_empty() => {
                    members.more = true;
                    members.remove = strangers.iter().map(|id| (stranger(id), id.clone())).collect();
                    members.remove.truncate(rules.dialect.members_per_request);
                }
                Strangers::AllBut { members, how, .. } => {
                    if rules.etag && self.record.etag.is_none() && self.live.is_none() {
                        return Next::Read;
                    }
                    let list = plan::member_list(&self.key, &self.record, id, bulk_id, members, *how);
                    return Rest { pending, more: true, ..Rest::default() }.ready(list);
                }
                Strangers::Stay | Strangers::Unknown | Strangers::Found(_) => {
                    return Next::Rest(Idle { pending, clean: members.clean, gone, left: members.left });
                }
            }
        }
        let needs_read = (rules.etag && self.record.etag.is_none()) || !rules.patches(self.key.kind);
        if needs_read && self.live.is_none() {
            return Next::Read;
        }
        let style = match self.live.as_ref().filter(|_| !rules.patches(self.key.kind)) {
            Some(live) => MemberStyle::Put(live, rules.dialect.member_value),
            None => MemberStyle::Patch(rules.dialect.removal),
        };
        let rest = Rest::of(&members, pending, self.more_entries);
        rest.ready(plan::members(&self.key, &self.record, id, bulk_id, members, style))
    }
}

/// What a removal of a member is called that no source named.
fn stranger(id: &TargetId) -> String {
    format!("(stranger) {}", id.as_str())
}

/// What remains beside a write.
#[derive(Default)]
struct Rest {
    pending: Vec<String>,
    clean: Vec<String>,
    more: bool,
}

impl Rest {
    fn later() -> Self {
        Self { more: true, ..Self::default() }
    }

    fn of(members: &MemberChanges, mut pending: Vec<String>, more_entries: bool) -> Self {
        pending.extend(members.pending.iter().cloned());
        let clean = [members.clean.as_slice(), &members.left].concat();
        Self { pending, clean, more: members.more || more_entries }
    }

    fn ready(self, planned: Planned) -> Next {
        let Planned { operation, sent } = planned;
        let more = self.more || !self.pending.is_empty() || !self.clean.is_empty();
        Next::Write(Box::new(Ready { operation, sent, more }))
    }
}

/// A write that was claimed and goes out.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub item: Item,
    pub ready: Ready,
    /// Something was merged since it was claimed.
    pub news: bool,
    /// It was written to since it was claimed: merged into, or told that a member has another id.
    pub touched: bool,
}

/// Items by key.
pub(super) type Items = BTreeMap<ResourceKey, Item>;
