//! The ledger's gap: which members of a group come and go with the next request. Deltas only, never the list (design D10).

use std::collections::{BTreeMap, BTreeSet};

use super::record::{MemberEntry, Record};
use super::reference::{Reference, References};
use super::resource::{ResourceType, TargetId};

/// Member changes for one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberChanges {
    /// To add: member value and what it is on the wire.
    pub add: Vec<(String, Reference)>,
    /// To remove: member value and target ids.
    pub remove: Vec<(String, TargetId)>,
    /// Not at the target yet.
    pub pending: Vec<String>,
    /// In step already, or with nothing to wait for: no longer to be looked at.
    pub clean: Vec<String>,
    /// What these are on the wire, where that is not the id.
    pub names: BTreeMap<TargetId, String>,
    /// Which of those to add are groups.
    pub groups: BTreeSet<String>,
    /// Wanted, and out because their users have left: no longer to be looked at until they are back.
    pub left: Vec<String>,
    /// There is more to look at: it does not fit into one request, or who has left goes with this one.
    pub more: bool,
}

impl MemberChanges {
    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// Notes what its members are on the wire.
    fn call(&mut self, references: &References) {
        let added = self.add.iter().filter_map(|(_, reference)| match reference {
            Reference::Id(id) => Some(id),
            Reference::InBatch(_) | Reference::Left(_) | Reference::Pending | Reference::Gone => None,
        });
        let ids = added.chain(self.remove.iter().map(|(_, id)| id));
        let name = |id: &TargetId| Some((id.clone(), references.name(id)?.to_owned()));
        self.names = ids.filter_map(name).collect();
    }

    /// What a member of this id is on the wire.
    pub fn on_the_wire<'a>(&'a self, id: &'a TargetId) -> &'a str {
        self.names.get(id).map_or(id.as_str(), String::as_str)
    }

    /// How many members the request changes.
    pub fn len(&self) -> usize {
        self.add.len() + self.remove.len()
    }
}

/// Plans the next member delta from dirty ledger entries, removals first, at most `limit` of them.
pub fn member_changes(
    record: &Record,
    entries: &[(String, MemberEntry)],
    references: &References,
    limit: usize,
) -> MemberChanges {
    let mut changes = MemberChanges::default();
    let mut goes = false;
    for (value, entry) in entries {
        let (applied, maybe) = entry.written(record.incarnation);
        let reference = references.get(entry.kind, value);
        let said = entry.mark.is_wanted() && record.wants_member(entry);
        let left = said && matches!(reference, Some(Reference::Left(_)));
        let mut there: BTreeSet<&TargetId> = applied.into_iter().chain(maybe).collect();
        if let (true, Some(Reference::Id(id) | Reference::Left(id))) =
            (entry.is_unnamed(record.incarnation), reference)
        {
            there.insert(id);
        }
        // who has no name any more is not there
        there.retain(|id| references.on_the_wire(entry.kind, id).is_some());
        let settled = maybe.is_none() && !entry.is_unnamed(record.incarnation);
        match (said && !left, reference) {
            _ if record.is_withheld_member(entry) || record.stays(entry) => changes.clean.push(value.clone()),
            (false, _) if there.is_empty() && left => changes.left.push(value.clone()),
            // perhaps there, as whom is not known yet
            (false, Some(Reference::Pending)) if entry.is_unnamed(record.incarnation) => {
                changes.pending.push(value.clone());
            }
            (false, _) if there.is_empty() => changes.clean.push(value.clone()),
            (false, _) => {
                goes |= left;
                changes.remove.extend(there.into_iter().map(|id| (value.clone(), id.clone())));
            }
            (true, Some(Reference::Id(id))) if applied == Some(id) && settled => {
                changes.clean.push(value.clone());
            }
            (true, Some(Reference::Id(id))) if references.on_the_wire(entry.kind, id).is_none() => {
                changes.pending.push(value.clone());
            }
            (true, Some(reference @ (Reference::Id(_) | Reference::InBatch(_)))) => {
                changes.add.push((value.clone(), reference.clone()));
                if entry.kind == ResourceType::Group {
                    changes.groups.insert(value.clone());
                }
            }
            (true, Some(Reference::Gone)) => changes.clean.push(value.clone()),
            (true, Some(Reference::Left(_) | Reference::Pending) | None) => {
                changes.pending.push(value.clone())
            }
        }
    }
    changes.more = changes.len() > limit || goes;
    changes.remove.truncate(limit);
    changes.add.truncate(limit - changes.remove.len());
    changes.call(references);
    changes
}
