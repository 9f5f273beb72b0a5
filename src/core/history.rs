//! Histories: whether the relay still knows what was said since a letter was written. What it has forgotten may have
//! superseded the letter, so such a letter is never applied by itself (design D2). Pure.

use std::time::Duration;

use super::change::{Change, Origin};
use super::desired::Merged;
use super::generation::Stamp;
use super::record::Record;
use super::schedule::Millis;
use super::settle::Entries;

/// What was first seen before this may have been superseded by something that is forgotten: by the store and the journal, or
/// with tombstones that are kept for so long.
pub fn horizon(stamp: Option<&Stamp>, tombstone_ttl: Duration, now: Millis) -> Millis {
    let tombstones = now.minus(tombstone_ttl / 2);
    stamp.and_then(Stamp::history).map_or(tombstones, |begins| begins.max(tombstones))
}

/// True for what returns out of a letter. An event is news whatever time it carries, and what was pending when it was appended
/// to the journal was superseded by nothing.
pub fn is_letter(change: &Change) -> bool {
    match change.origin {
        Origin::Retry | Origin::Replay | Origin::Approve => true,
        Origin::Publisher | Origin::Append => false,
    }
}

/// True for a letter from before the horizon, unless all that it says is known, or something newer: whoever remembers that
/// remembers what came after it.
pub fn is_unknown(record: &Record, entries: &Entries, change: &Change, horizon: Millis) -> bool {
    if !is_letter(change) || change.first_seen >= horizon {
        return false;
    }
    // a publisher who says it again lifts no mark
    let again = Change { origin: Origin::Publisher, round: None, ..change.clone() };
    record.clone().merge(&again, entries).merged == Merged::New
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::change::{Delta, Lifecycle};
    use crate::core::desired::Words;
    use crate::core::generation::{Cause, Generation};
    use crate::core::mark::{Mark, Stage};
    use crate::core::revision::testing::rev;

    const HORIZON: Millis = Millis(1_000);

    fn put(n: u64, origin: Origin, first_seen: Millis) -> Change {
        let lifecycle = Lifecycle { put: Some(rev(n)), deleted: None };
        Change {
            key: "User/e-1".parse().unwrap(),
            delta: Delta { lifecycle, ..Delta::default() },
            origin,
            event_id: String::new(),
            first_seen,
            attempt: 0,
            round: Some(1),
            traceparent: None,
        }
    }

    fn unknown(record: &Record, change: &Change) -> bool {
        is_unknown(record, &Entries::new(), change, HORIZON)
    }

    #[test]
    fn only_a_letter_from_before_the_horizon_is_of_unknown_history() {
        let nothing = Record::default();
        for origin in [Origin::Retry, Origin::Replay, Origin::Approve] {
            assert!(unknown(&nothing, &put(1, origin, Millis(999))), "{origin:?}");
            assert!(!unknown(&nothing, &put(1, origin, HORIZON)), "{origin:?}");
        }
        for origin in [Origin::Publisher, Origin::Append] {
            assert!(!unknown(&nothing, &put(1, origin, Millis(0))), "{origin:?}");
        }
    }

    #[test]
    fn a_letter_is_known_to_a_record_that_still_holds_it_or_something_newer() {
        let mut record = Record::default();
        record.merge(&put(3, Origin::Publisher, Millis(0)), &Entries::new());
        record.desired.mark(&Words { put: Some(rev(3)), ..Words::default() }, Mark::new(0, Stage::Dead));
        assert!(!unknown(&record, &put(3, Origin::Replay, Millis(0))), "it lies dead there");
        assert!(!unknown(&record, &put(2, Origin::Replay, Millis(0))), "it is superseded");
        assert!(unknown(&record, &put(4, Origin::Replay, Millis(0))));
    }

    #[test]
    fn the_horizon_is_where_the_journal_began_at_a_loss_or_half_the_life_of_a_tombstone() {
        let (ttl, now) = (Duration::from_millis(400), Millis(1_000));
        let stamp = |cause, begins, ready| Stamp {
            generation: Generation(7),
            cause,
            since: Millis(950),
            ready,
            nodes: [].into(),
            begins,
        };
        let at = |stamp: Stamp| horizon(Some(&stamp), ttl, now);
        assert_eq!(horizon(None, ttl, now), Millis(800));
        assert_eq!(at(stamp(Cause::First, Some(Millis(900)), true)), Millis(800), "nothing was lost");
        assert_eq!(at(stamp(Cause::Emptied, None, true)), Millis(800), "the journal is whole");
        assert_eq!(at(stamp(Cause::Emptied, Some(Millis(900)), true)), Millis(900));
        assert_eq!(at(stamp(Cause::Moved, Some(Millis(700)), true)), Millis(800));
        assert_eq!(at(stamp(Cause::Emptied, None, false)), Millis(950), "it is not read yet");
    }
}
