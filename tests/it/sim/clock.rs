//! The simulation's clock follows tokio's paused time.

use tokio::time::Instant;

use scim_relay::core::schedule::Millis;
use scim_relay::pipeline::ports::Clock;

/// 2026-11-21T09:00:00Z: where every simulation begins.
const BEGIN: i64 = 1_795_252_800_000;

/// Milliseconds since the epoch, by tokio's time.
#[derive(Clone, Copy, Debug)]
pub struct SimClock(Instant);

impl SimClock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SimClock {
    fn now(&self) -> Millis {
        Millis(BEGIN).plus(self.0.elapsed())
    }
}
