//! What a loss of the store makes doubtful about a resource: what was written to it is known from what was said about it. Pure.

use super::applied::leaves;
use super::change::Change;
use super::desired::Presence;
use super::record::{MemberEntry, Record};
use super::schedule::Millis;
use super::settle::{Entries, enter};

/// Whoever held a claim may have sent a POST that comes until then: no second one before.
pub fn may_be_created(record: &mut Record, until: Millis) {
    if record.id.is_none() && record.desired.presence() == Presence::Alive {
        record.no_create_before = record.no_create_before.max(Some(until));
    }
}

/// The store lost what it knew of this resource, and this was said about it: the target is to be read before anything is
/// written, and what was said may have been written. Returns the ledger entries that are to be looked at.
pub fn lost(record: &mut Record, entries: &Entries, change: &Change, until: Millis) -> Entries {
    may_be_created(record, until);
    record.verify = true;
    record.gone = false;
    record.etag = None;
    record.late_check = record.late_check.max(Some(until));
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
    record.late_leaves.extend(record.maybe_ours.iter().cloned());
    // what is found at the target begins the next incarnation
    let incarnation = record.incarnation + u32::from(record.id.is_none());
    let members = change.delta.members.iter().filter_map(|member| {
        let mut entry = match (entries.get(&member.value), record.desired.member_floor()) {
            (Some(entry), _) => entry.clone(),
            (None, Some(floor)) => MemberEntry { kind: member.kind, ..MemberEntry::new(floor.clone()) },
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
