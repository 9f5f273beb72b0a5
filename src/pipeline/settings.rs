//! What the stages are told: limits and times, already parsed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::core::conflict::Policy;
use crate::core::dialect::Dialect;
use crate::core::gap::Deprovisioning;
use crate::core::guard::Limits;
use crate::core::listing::Memberships;
use crate::core::resource::ResourceKey;
use crate::core::retry::Ladder;

/// How operations go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bulk where ServiceProviderConfig offers it.
    Auto,
    /// Bulk, and a target that refuses it is at fault.
    Bulk,
    /// One request per operation.
    Single,
}

/// What member and manager values denote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceKind {
    /// The source's key of the resource.
    ExternalId,
    /// Its `userName` at the target.
    UserName,
    /// One of its `emails.value` at the target.
    Email,
}

/// Settings of the stages. Durations are wall-clock time.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The target's name.
    pub target: String,
    /// Largest body of an event, in bytes.
    pub max_event_bytes: usize,
    /// How far ahead an event ordered by time alone may lie.
    pub max_clock_skew: Duration,
    /// How long patches wait for their `put`.
    pub wait_for_base: Duration,
    /// How long references wait.
    pub reference_wait: Duration,
    /// How long a held change waits for an operator.
    pub held_expires_after: Duration,
    /// What references denote.
    pub references: ReferenceKind,
    /// Merge, plan and report, and write nothing.
    pub read_only: bool,
    /// Values of externalId, userName or displayName whose resources are never written.
    pub protected: Vec<String>,
    /// What carries no externalId at the target may be adopted.
    pub adopt: bool,
    /// Who is right about what somebody else changed at the target.
    pub conflict: Policy,
    /// The source's list of members is the list: those that others added go.
    pub members_are_authoritative: bool,
    /// How operations go out.
    pub mode: Mode,
    /// Most operations in a batch.
    pub max_operations: usize,
    /// Most bytes of an encoded bulk request.
    pub max_bytes: usize,
    /// How long a lone event waits for company.
    pub linger: Duration,
    /// While the work queue holds a backlog, creates and updates may wait this long.
    pub catch_up: Duration,
    /// Requests in flight.
    pub concurrency: usize,
    /// The retry schedule.
    pub ladder: Ladder,
    /// What a `delete` of a user does.
    pub user: Deprovisioning,
    /// What a `delete` of a group does.
    pub group: Deprovisioning,
    /// What becomes of the memberships of a deactivated user.
    pub memberships: Memberships,
    /// The guard against mass deprovisioning; none: nothing is asked.
    pub guard: Option<Limits>,
    /// After an unknown outcome, read again this much later.
    pub late_window: Duration,
    /// How long the journal keeps what enters; none: there is no journal.
    pub journal: Option<Duration>,
    /// How long tombstones are remembered: a letter that was first seen half as long ago is of unknown history.
    pub tombstone_ttl: Duration,
    /// How the target wants to be written to and asked.
    pub dialect: Arc<Dialect>,
    /// Where letters go.
    pub routes: Routes,
}

/// Names of what the relay publishes to.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// `scim-relay.T.intake`.
    pub intake: String,
    /// `scim-relay.T.out`.
    pub out: String,
    /// The key of the dead letter queue on `out`.
    pub dead: String,
    /// The key of the queue on `out` whose letters wait for an operator.
    pub held: String,
    /// The key of the stream of outcomes on `out`; none: they are not kept.
    pub outcomes: Option<String>,
    /// The keys of the rungs on `out`, one per delay.
    pub rungs: Vec<String>,
}

/// A replica that said so within this lives.
pub const ALIVE: Duration = Duration::from_secs(15);

/// How long a claim holds without renewal (D5).
pub const LEASE: Duration = Duration::from_secs(15);

/// How long a lookup says that a referenced resource is not there.
pub const ABSENT_FOR: Duration = Duration::from_secs(20);

/// How often what is only reported is planned again.
pub const READ_ONLY_RECHECK: Duration = Duration::from_secs(60);

/// How often a pending reference is looked at, besides being woken by the resource's creation.
pub const REFERENCE_RECHECK: Duration = Duration::from_secs(30);

/// Slack after a rung's wait before the schedule itself brings a resource back, should its message be lost.
pub const RUNG_SLACK: Duration = Duration::from_secs(60);

/// Resources by key, as a batch holds them.
pub type ByKey<T> = BTreeMap<ResourceKey, T>;
