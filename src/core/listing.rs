//! What groups have to know of a user whom they list, besides the target's id: whether it has left. Groups look at it when
//! they plan, and are told when it changes; the source's words about members stay as they are.

use serde::{Deserialize, Serialize};

use super::desired::Presence;
use super::record::Record;
use super::resource::{ResourceKey, ResourceType};

/// What becomes of the memberships of a deactivated user (`deprovision.memberships`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memberships {
    /// They stay.
    Keep,
    /// They go, and come back with the user.
    Remove,
}

/// What groups were last told of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listing {
    /// It is deactivated, and in no group.
    #[serde(skip_serializing_if = "is_false")]
    pub left: bool,
}

impl Listing {
    /// Nothing special: a record of it is not worth keeping.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What groups should know of this resource by now. Only what the target acknowledged counts: its memberships go after it is
/// deactivated, and come back after it is active again.
pub fn listing(key: &ResourceKey, record: &Record, memberships: Memberships) -> Listing {
    if key.kind != ResourceType::User {
        return Listing::default();
    }
    let leaves = match (record.desired.presence(), record.desired.active()) {
        (Presence::Deleted, _) | (_, Some(false)) => true,
        (_, Some(true)) => false,
        // nothing is said, or what was said is dead or held
        (_, None) => record.listing.left,
    };
    Listing { left: memberships == Memberships::Remove && record.is_inactive() && leaves }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::core::applied::{Applied, Fingerprint};
    use crate::core::change::{Change, Delta, Origin, Register};
    use crate::core::path::Path;
    use crate::core::revision::testing::rev;
    use crate::core::schedule::Millis;

    fn key() -> ResourceKey {
        "User/e-1".parse().unwrap()
    }

    /// Somebody of whom the source says `wanted`, and who is `active` at the target.
    fn somebody(wanted: Option<bool>, active: bool) -> Record {
        let mut record = Record::default();
        let register =
            wanted.map(|active| Register::new(Path::core("active"), Some(Value::Bool(active)), rev(1)));
        let delta = Delta { attributes: register.into_iter().collect(), ..Delta::default() };
        let (event_id, first_seen, origin) = (String::new(), Millis(0), Origin::Publisher);
        let (attempt, round, traceparent) = (0, None, None);
        let change = Change { key: key(), delta, origin, event_id, first_seen, attempt, round, traceparent };
        record.merge(&change, &BTreeMap::new());
        let leaves = [(Path::core("active"), Fingerprint::of(&Value::Bool(active)))].into();
        record.applied = Some(Applied { leaves, ..Applied::default() });
        record
    }

    #[test]
    fn who_is_to_be_inactive_has_left_once_the_target_says_so() {
        for (wanted, active, left) in [
            (Some(false), false, true),
            (Some(false), true, false),
            // comes back: its memberships follow when it is active again
            (Some(true), false, false),
            (Some(true), true, false),
            (None, false, false),
        ] {
            let record = somebody(wanted, active);
            let said = listing(&key(), &record, Memberships::Remove);
            assert_eq!(said, Listing { left }, "{wanted:?} {active}");
            assert_eq!(listing(&key(), &record, Memberships::Keep), Listing::default());
        }
    }

    #[test]
    fn where_nothing_valid_is_said_it_stays_as_it_was() {
        let mut record = somebody(None, false);
        record.listing.left = true;
        assert!(listing(&key(), &record, Memberships::Remove).left);
    }
}
