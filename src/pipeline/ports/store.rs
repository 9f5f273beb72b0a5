//! A store of records, schedule, ledgers and leases.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use crate::core::generation::Generation;
use crate::core::record::{MemberEntry, Record};
use crate::core::resource::{ResourceKey, ResourceType, TargetId};
use crate::core::schedule::{Due, Lane, Millis};

/// A failure of the store. Nothing is known to be written; every call may be repeated.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct StoreError {
    /// What was being done, and where (redacted address).
    pub what: String,
    /// Why it failed.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The store has another generation than the one under which a record was loaded: it has lost something since.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the store has lost something and is being recovered")]
pub struct OtherGeneration;

/// The version of a record: its counter, in one generation of the store. Counter 0: there is no record yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Goes up with each write.
    pub counter: u64,
    /// The generation under which it was loaded; a store that has another refuses what was made of it.
    pub generation: Generation,
}

impl Version {
    /// In a store that nobody has stamped.
    pub const fn of(counter: u64) -> Self {
        Self { counter, generation: Generation(0) }
    }
}

/// Which record to load, with which of its members.
#[derive(Clone, Debug)]
pub struct Load {
    /// Whose.
    pub key: ResourceKey,
    /// Entries of the member ledger to bring along, by member value.
    pub members: Vec<String>,
}

/// A record as it was at one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Whose.
    pub key: ResourceKey,
    /// The version that a swap must name.
    pub version: Version,
    /// The record; the default one when there is none.
    pub record: Record,
    /// The ledger entries asked for that exist.
    pub members: BTreeMap<String, MemberEntry>,
}

impl Loaded {
    /// There is no record yet.
    pub fn nothing(key: &ResourceKey) -> Self {
        let (version, record, members) = (Version::default(), Record::default(), BTreeMap::new());
        Self { key: key.clone(), version, record, members }
    }
}

/// Replaces a record if its version is still the expected one, with ledger entries and schedule, all or nothing.
#[derive(Clone, Debug)]
pub struct Swap {
    /// Whose.
    pub key: ResourceKey,
    /// The version that was loaded.
    pub expected: Version,
    /// The record to write. `record.due` is its place in the schedule if `reschedule` says so.
    pub record: Record,
    /// Ledger entries to write (`Some`) or remove (`None`), by member value; `dirty` entries are indexed.
    pub members: Vec<(String, Option<MemberEntry>)>,
    /// What happens to the schedule.
    pub reschedule: Reschedule,
}

/// What a swap does to the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reschedule {
    /// Leaves it as it is: whoever holds the resource goes on holding it.
    Keep,
    /// Puts it where `record.due` says, in no other lane; nowhere if that is none.
    AsRecord,
}

/// What became of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// Written. If the swap made `record.id` another one than before, these resources wait for it (see [`Store::depend`]).
    Done {
        /// The version now.
        version: Version,
        /// Who listed this resource as a dependency; their registrations stay until [`Store::release`].
        dependents: Vec<ResourceKey>,
    },
    /// The version was another one; nothing was written. Load again.
    Conflict,
}

/// Who holds a target resource (D16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It is now (or was already) ours.
    Ours,
    /// Somebody else's.
    Other(ResourceKey),
}

/// Where a walk over all resources stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: u8,
    /// The place within it.
    pub cursor: u64,
}

/// What is waiting, for gauges and `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Resources in the schedule, per lane.
    pub pending: BTreeMap<Lane, u64>,
    /// The earliest due time, per lane with any.
    pub oldest: BTreeMap<Lane, Millis>,
}

/// A page of a group's ledger: entries by member value, and the cursor of the next page, none at the end.
pub type LedgerPage = (Vec<(String, MemberEntry)>, Option<u64>);

/// State that is quick to rebuild. All writes are idempotent: executed twice, as when a client sends them again because the
/// answer got lost, they answer and end as executed once. Two exceptions do no harm: a version may go up once more, so that
/// somebody loads again, and what [`Store::take_due`] took without anybody hearing of it comes back when its hold ends.
pub trait Store: super::Stamps + super::Switch + super::Guard {
    /// Loads records, in the order asked.
    fn load(&self, what: &[Load]) -> impl Future<Output = Result<Vec<Loaded>, StoreError>> + Send;

    /// Swaps records, each on its own, in the order asked (not atomic as a whole).
    fn swap(&self, swaps: &[Swap]) -> impl Future<Output = Result<Vec<Swapped>, StoreError>> + Send;

    /// Up to `limit` dirty ledger entries of a group.
    fn dirty_members(
        &self,
        key: &ResourceKey,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(String, MemberEntry)>, StoreError>> + Send;

    /// A page of a group's ledger, from cursor 0 on. Entries may repeat.
    fn scan_members(
        &self,
        key: &ResourceKey,
        cursor: u64,
    ) -> impl Future<Output = Result<LedgerPage, StoreError>> + Send;

    /// Takes up to `limit` resources that are due in one of `lanes` at `now`, and moves them to `now + hold`, so that nobody
    /// else takes them before; if their holder dies they come back. Nothing of a lane is taken while the one before it in
    /// `lanes` has more; which come first within a lane is the store's choice.
    fn take_due(
        &self,
        lanes: &[Lane],
        now: Millis,
        hold: Duration,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Lane, ResourceKey)>, StoreError>> + Send;

    /// How many resources are due in `lanes`.
    fn due_count(
        &self,
        lanes: &[Lane],
        now: Millis,
    ) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// The earliest due time in any of `lanes`.
    fn next_due(&self, lanes: &[Lane]) -> impl Future<Output = Result<Option<Millis>, StoreError>> + Send;

    /// Puts resources that have a record into the schedule; those that are in it already keep the more urgent of the two
    /// lanes and the earlier of the two times. The version goes up: whoever is writing them right now finds out at the commit.
    fn touch(&self, keys: &[(ResourceKey, Due)]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Like [`Store::touch`], and where the group's ledger lists `member`, that entry is dirty again unless it is dead. With
    /// `doubt` nobody knows any more whether it is at the target.
    fn touch_member(
        &self,
        groups: &[(ResourceKey, Due)],
        member: &str,
        doubt: bool,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Grants or renews the lease of `owner` in the buckets of these resources, loaded under this generation: one small call per bucket, which also goes
    /// on holding them in the schedule (`now + lease`). One that is due within half a lease is not held any more: it was
    /// put there by a settlement or a merge.
    fn renew(
        &self,
        owner: &str,
        held: &[ResourceKey],
        generation: Generation,
        now: Millis,
        lease: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether the lease of each owner lives in the bucket of that resource.
    fn leases(
        &self,
        claims: &[(ResourceKey, String)],
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send;

    /// Registers `dependent` as waiting for `on` to have a target id, and says in the same step which id it has by now.
    fn depend(
        &self,
        on: &ResourceKey,
        dependent: &ResourceKey,
    ) -> impl Future<Output = Result<Option<TargetId>, StoreError>> + Send;

    /// Everything registered as depending on `on`.
    fn dependents(
        &self,
        on: &ResourceKey,
    ) -> impl Future<Output = Result<Vec<ResourceKey>, StoreError>> + Send;

    /// Forgets registrations.
    fn release(
        &self,
        on: &ResourceKey,
        dependents: &[ResourceKey],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Claims a target resource for `key`, unless somebody else holds it.
    fn own(
        &self,
        kind: ResourceType,
        id: &TargetId,
        key: &ResourceKey,
    ) -> impl Future<Output = Result<Owner, StoreError>> + Send;

    /// Gives a target resource up, if `key` holds it.
    fn disown(
        &self,
        kind: ResourceType,
        id: &TargetId,
        key: &ResourceKey,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Keeps a small note of the relay itself under a name.
    fn remember(&self, name: &str, note: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The note of that name.
    fn recall(&self, name: &str) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;

    /// A page of all resources that have a record, and where the next one begins. Resources may repeat.
    fn resources(
        &self,
        place: Place,
    ) -> impl Future<Output = Result<(Vec<ResourceKey>, Option<Place>), StoreError>> + Send;

    /// A page of all resources in the schedule, and where the next one begins. Resources may repeat, and those that move in
    /// the schedule meanwhile may be missing.
    fn scheduled(
        &self,
        place: Place,
    ) -> impl Future<Output = Result<(Vec<ResourceKey>, Option<Place>), StoreError>> + Send;

    /// Drops all that is kept about a resource: record, ledger, schedule, and what it holds at the target.
    fn forget(&self, key: &ResourceKey) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Counts for gauges and `status`.
    fn backlog(&self) -> impl Future<Output = Result<Backlog, StoreError>> + Send;

    /// Answers when the store is reachable.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
