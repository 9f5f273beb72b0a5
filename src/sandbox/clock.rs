//! The time as the sandbox sees it.

use jiff::{Timestamp, Unit};

use crate::ops::clock::system_time;

/// Now, in whole milliseconds: what clients can read everywhere.
pub fn now() -> Timestamp {
    let now = Timestamp::try_from(system_time()).unwrap_or_default();
    now.round(Unit::Millisecond).unwrap_or(now)
}
