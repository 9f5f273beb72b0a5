//! What a loss of the store makes doubtful about a resource: what was written to it is known from what was said about it. Pure.

use super::applied::leaves;
use super::change::Change;
use super::record::{MemberEntry, Record};
use super::settle::{Entries, enter};

/// The store lost what it knew of this resource, and this was said about it: the target is to be read before anything is
/// written, and what was said may have been written. Returns the ledger entries that are to be looked at.
pub fn lost(record: &mut Record, entries: &Entries, change: &Change) -> Entries {
    record.verify = true;
    record.gone = false;
    record.etag = None;
    for register in &change.delta.attributes {
        match (&register.value, &register.path.selector) {
            (Some(_), Some(_)) => drop(record.maybe_ours.insert(register.path.root())),
            (Some(value), None) => {
                let written = leaves(&register.path, value).into_iter().map(|(path, _)| path);
                record.maybe_ours.extend(written);
            }
            (None, _) => {}
        }
    }
    // what is found at the target begins the next incarnation
    let incarnation = record.incarnation + u32::from(record.id.is_none());
    let members = change.delta.members.iter().filter_map(|member| {
        let mut entry = match (entries.get(&member.value), record.desired.member_floor()) {
            (Some(entry), _) => entry.clone(),
            (None, Some(floor)) => MemberEntry::new(floor.clone()),
            (None, None) => return None,
        };
        if !record.is_withheld_member(&entry) {
            enter(&mut entry, incarnation);
            entry.unnamed = true;
            entry.dirty = true;
        }
        Some((member.value.clone(), entry))
    });
    members.collect()
}
