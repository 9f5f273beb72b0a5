//! When a resource is to be looked at, and in which lane.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, by the relay's clock. Times are arguments everywhere in the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// Later by a duration.
    pub fn plus(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// So much earlier.
    pub fn minus(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Millis) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The lanes, in the order in which they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// A delete, or `active` from true to false.
    Deprovision,
    /// A resource that is not at the target yet.
    Create,
    /// Any other change of attributes.
    Update,
    /// Only memberships.
    Members,
}

impl Lane {
    /// All, in order.
    pub const ALL: [Lane; 4] = [Lane::Deprovision, Lane::Create, Lane::Update, Lane::Members];

    /// The name in keys, metrics and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Deprovision => "deprovision",
            Lane::Create => "create",
            Lane::Update => "update",
            Lane::Members => "members",
        }
    }
}

/// A place in the schedule: due at this time in this lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// The lane.
    pub lane: Lane,
    /// Not before this time.
    pub at: Millis,
}
