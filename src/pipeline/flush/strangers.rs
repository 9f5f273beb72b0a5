//! Members that others added to a group. Where the source's list is the list (`conflict.members = "authoritative"`), they go:
//! after a `put` that carries `members`, once all that it wants is there, the target's list is compared with the ledger.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Flush;
use super::batch::{Items, Strangers};
use crate::core::applied::at;
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

    /// Reads these groups, and finds out who is in them that the source does not list.
    pub(super) async fn compare_members(
        &self,
        items: &mut Items,
        keys: &[ResourceKey],
    ) -> Result<(), StoreError> {
        self.read(items, keys).await?;
        for key in keys {
            let Some(item) = items.get_mut(key) else { continue };
            let Some(live) = &item.live else { continue };
            let value = self.settings.dialect.member_value;
            let there = member_ids(live);
            let listed = match there.is_empty() {
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
            let strangers: Vec<TargetId> =
                there.into_iter().filter(|id| !listed.contains(&value.spelled(id.as_str()))).collect();
            item.strangers = Strangers::Found(removable(&mut item.record, key, strangers));
            item.changed = true;
        }
        Ok(())
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
                let wire = ids.filter_map(|id| references.on_the_wire(ResourceType::User, id));
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
        let wanted: BTreeSet<String> = members.iter().map(|(value, _)| value.clone()).collect();
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
    if let Strangers::Found(found) = strangers
        && !found.is_empty()
    {
        record.strangers = record.strangers.map(|_| u32::try_from(found.len()).unwrap_or(u32::MAX - 1));
    }
}

/// The ids in a group's list of members.
fn member_ids(live: &Value) -> Vec<TargetId> {
    let members = at(live, &Path::core("members")).and_then(Value::as_array);
    let values =
        members.into_iter().flatten().filter_map(|member| at(member, &Path::core("value"))?.as_str());
    values.filter_map(TargetId::new).collect()
}
