//! The one place that reads the wall clock and makes IDs.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::core::schedule::Millis;
use crate::pipeline::ports::Clock;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = system_time().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Now, for HTTP dates.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn system_time() -> SystemTime {
    SystemTime::now()
}

/// A new ULID.
#[expect(clippy::disallowed_methods, reason = "the one place that makes IDs")]
pub fn ulid() -> String {
    ulid::Ulid::new().to_string()
}
