//! Members that others added to a group. Where the source's list is the list (`conflict.members = "authoritative"`), they go:
//! after a `put` that carries `members`, once all that it wants is there, the target's list is compared with the ledger.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Flush;
use super::batch::{Items, Strangers};
use crate::core::applied::at;
use crate::core::dialect::WholeList;
use crate::core::path::Path;
use crate::core::record::{MemberEntry, Record};
use crate::core::reference::References;
use crate::core::resource::{ResourceKey, ResourceType, TargetId};
use crate::pipeline::ports::{Failure, Publisher, Store, StoreError, Target};

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// What is known of strangers when a group is loaded.
    pub(super) fn strangers(&self) -> Strangers {
        if self.settings.members_are_authoritative { Strangers::Unknown } else { Strangers::Stay }
    }

    /// Finds out who goes of these groups: who is in them and not listed by the source, or, where the target does not tell who
    /// is in them, all but those that the source lists.
    pub(super) async fn compare_members(
        &self,
        items: &mut Items,
        keys: &[ResourceKey],
    ) -> Result<(), StoreError> {
        if self.settings.dialect.members_listed {
            self.read(items, keys).await?;
        }
        for key in keys {
            let Some(item) = items.get(key) else { continue };
            let there = match (&item.live, self.settings.dialect.members_listed) {
                (Some(live), true) => Some(member_ids(live)),
                (None, true) => continue,
                (_, false) => None,
            };
            let is_empty = there.as_ref().is_some_and(Vec::is_empty);
            let listed = match is_empty {
                true => Ok(BTreeSet::new()),
                false => self.listed(key, &item.record).await?,
            };
            let listed = match listed {
                Ok(listed) => listed,
                Err(failure) => {
                    self.could_not_look(items, &[key], &failure).await;
                    continue;
                }
            };
            let Some(item) = items.get_mut(key) else { continue };
            item.strangers = match there {
                Some(there) => self.found(&mut item.record, key, there, &listed),
                None => self.unseen(&mut item.record, key, listed),
            };
            item.changed = true;
        }
        Ok(())
    }

    fn found(
        &self,
        record: &mut Record,
        key: &ResourceKey,
        there: Vec<TargetId>,
        listed: &BTreeSet<String>,
    ) -> Strangers {
        let dialect = &self.settings.dialect;
        let is_listed = |id: &TargetId| listed.contains(&dialect.member_value.spelled(id.as_str()));
        let strangers = removable(record, key, there.into_iter().filter(|id| !is_listed(id)).collect());
        let nobody_stays = listed.is_empty() && strangers.len() > 1 && self.rules().patches(key.kind);
        match dialect.whole_list(0).filter(|_| nobody_stays) {
            // one operation however many they are
            Some(how @ WholeList::RemoveAll) => {
                Strangers::AllBut { members: Vec::new(), how, found: Some(strangers.len()) }
            }
            Some(WholeList::Replace) | None => Strangers::Found(strangers),
        }
    }

    /// The target does not tell who is in a group: the whole list is written, if it can be.
    fn unseen(&self, record: &mut Record, key: &ResourceKey, listed: BTreeSet<String>) -> Strangers {
        let patches = self.rules().patches(key.kind);
        match self.settings.dialect.whole_list(listed.len()).filter(|_| patches) {
            Some(how) => Strangers::AllBut { members: listed.into_iter().collect(), how, found: None },
            None => {
                record.strangers = None;
                tracing::warn!(resource = %key, members = listed.len(),
                    "members that the source does not list stay: the target neither lists members nor takes so long a list");
                Strangers::Found(Vec::new())
            }
        }
    }

    /// What all members are on the wire that the source lists, or whose fate is not decided.
    async fn listed(
        &self,
        key: &ResourceKey,
        record: &Record,
    ) -> Result<Result<BTreeSet<String>, Failure>, StoreError> {
        let (mut listed, mut cursor) = (BTreeSet::new(), Some(0));
        while let Some(at) = cursor {
            let (page, next) = self.store.scan_members(key, at).await?;
            cursor = next;
            let kept = |entry: &MemberEntry| record.wants_member(entry) || record.is_withheld_member(entry);
            let kept: Vec<(String, MemberEntry)> =
                page.into_iter().filter(|(_, entry)| kept(entry)).collect();
            let references = match self.called(&kept).await? {
                Ok(references) => references,
                Err(failure) => return Ok(Err(failure)),
            };
            for (_, entry) in &kept {
                let (applied, maybe) = entry.written(record.incarnation);
                let ids = applied.into_iter().chain(maybe);
                let wire = ids.filter_map(|id| references.on_the_wire(entry.kind, id));
                listed.extend(wire.map(|text| self.settings.dialect.member_value.spelled(text)));
            }
        }
        Ok(Ok(listed))
    }

    /// What these members are called, where that is not their ids.
    async fn called(
        &self,
        members: &[(String, MemberEntry)],
    ) -> Result<Result<References, Failure>, StoreError> {
        let mut references = self.unresolved(ResourceType::Group);
        if !references.need_names() {
            return Ok(Ok(references));
        }
        let wanted = members.iter().map(|(value, entry)| (entry.kind, value.clone())).collect();
        let looked = self.look_up(&wanted, &mut references).await?;
        Ok(looked.map(|()| references))
    }
}

/// Those that go now. Where a removal was acknowledged and there are not fewer, the target keeps them: they are left alone.
fn removable(record: &mut Record, key: &ResourceKey, strangers: Vec<TargetId>) -> Vec<TargetId> {
    let count = u32::try_from(strangers.len()).unwrap_or(u32::MAX - 1);
    if count == 0 {
        record.strangers = None;
    } else if record.strangers.is_some_and(|before| count >= before) {
        tracing::warn!(resource = %key, members = count, "the target keeps members that the source does not list");
        record.strangers = None;
        return Vec::new();
    } else {
        tracing::info!(resource = %key, members = count, "members that the source does not list go");
    }
    strangers
}

/// Notes how many there were when a removal was acknowledged: the next look tells whether it helped.
pub(super) fn acknowledged(record: &mut Record, strangers: &Strangers) {
    match strangers {
        Strangers::Found(found) if !found.is_empty() => note(record, found.len()),
        Strangers::AllBut { found: Some(found), .. } => note(record, *found),
        // nobody can look whether it helped
        Strangers::AllBut { found: None, .. } => record.strangers = None,
        Strangers::Found(_) | Strangers::Stay | Strangers::Unknown => {}
    }
}

/// It was refused for good: they are left alone until the source says again who the members are.
pub(super) fn refused(record: &mut Record, strangers: &Strangers) {
    match strangers {
        Strangers::Found(_) | Strangers::AllBut { .. } => record.strangers = None,
        Strangers::Stay | Strangers::Unknown => {}
    }
}

fn note(record: &mut Record, count: usize) {
    record.strangers = record.strangers.map(|_| u32::try_from(count).unwrap_or(u32::MAX - 1));
}

/// The ids in a group's list of members.
fn member_ids(live: &Value) -> Vec<TargetId> {
    let members = at(live, &Path::core("members")).and_then(Value::as_array);
    let values =
        members.into_iter().flatten().filter_map(|member| at(member, &Path::core("value"))?.as_str());
    values.filter_map(TargetId::new).collect()
}
