//! Where a resource stands in the schedule after a merge.

use std::time::Duration;

use crate::core::change::Change;
use crate::core::desired::{Merged, Presence};
use crate::core::history::is_letter;
use crate::core::record::Record;
use crate::core::resource::{ResourceKey, ResourceType};
use crate::core::schedule::{Due, Lane, Millis};

/// The lane of what comes next for this resource, told without computing its gap.
pub fn lane(key: &ResourceKey, record: &Record) -> Lane {
    let is_inactive = record.is_inactive();
    let deactivates =
        key.kind == ResourceType::User && record.desired.active() == Some(false) && !is_inactive;
    match (record.desired.presence(), &record.id) {
        (Presence::Deleted, _) if !is_inactive => Lane::Deprovision,
        (Presence::Deleted, _) => Lane::Update,
        (Presence::Alive | Presence::Unborn, Some(_)) | (Presence::Unborn, None) if deactivates => {
            Lane::Deprovision
        }
        (Presence::Alive | Presence::Unborn, None) => Lane::Create,
        (Presence::Alive | Presence::Unborn, Some(_)) => Lane::Update,
    }
}

/// Puts a record into the schedule after a merge. True if its place has changed.
pub fn after_merge(
    key: &ResourceKey,
    record: &mut Record,
    change: &Change,
    merged: Merged,
    now: Millis,
    linger: Duration,
) -> bool {
    // what was only written to the journal again waits as before
    let returned = is_letter(change) && record.due.is_some();
    if merged != Merged::New && !returned {
        return false;
    }
    let only_members = change.delta.attributes.is_empty() && change.delta.lifecycle.is_empty();
    let lane = match lane(key, record) {
        Lane::Update if only_members => Lane::Members,
        lane => lane,
    };
    let at = if lane == Lane::Deprovision { now } else { now.plus(linger) };
    let new = match record.due {
        None => Due { lane, at },
        Some(held) => Due { lane: lane.min(held.lane), at: held.at.min(at) },
    };
    // whoever is writing it right now finds out at the commit that something was merged
    let changed = record.due != Some(new) && record.claim.is_none();
    record.due = Some(new);
    changed
}

/// The store lost what it knew of a resource: it is due at once. True if its place has changed.
pub fn after_loss(key: &ResourceKey, record: &mut Record, now: Millis) -> bool {
    if record.due.is_some() {
        return false;
    }
    record.due = Some(Due { lane: lane(key, record), at: now });
    record.claim.is_none()
}

/// An operator let a word through: its resource is due at once. True if its place has changed.
pub fn after_approval(key: &ResourceKey, record: &mut Record, now: Millis) -> bool {
    let due = Due { lane: lane(key, record), at: now };
    record.due =
        Some(record.due.map_or(due, |held| Due { lane: due.lane.min(held.lane), at: held.at.min(now) }));
    // whoever is writing it right now finds out at the commit that something was merged
    record.claim.is_none()
}
