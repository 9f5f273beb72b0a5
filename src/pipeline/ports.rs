//! What the pipeline needs from the world: a store, a target, a broker. Two real implementations of each.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use serde_json::Value;

use crate::core::operation::Operation;
use crate::core::outcome::{Answer, Outcome, Reply};
use crate::core::record::{MemberEntry, Record};
use crate::core::resource::{ResourceKey, ResourceType, TargetId};
use crate::core::schedule::{Due, Lane, Millis};

/// The time. Everything that decides takes it as an argument; the stages get it from here.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now(&self) -> Millis;
}

// ---------------------------------------------------------------- store

/// A failure of the store. Nothing is known to be written; every call may be repeated.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct StoreError {
    /// What was being done, and where (redacted address).
    pub what: String,
    /// Why it failed.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A record's version counter. 0: there is no record yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u64);

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

/// State that is quick to rebuild. All writes are idempotent when executed twice.
pub trait Store: Send + Sync + 'static {
    /// Loads records, in the order asked.
    fn load(&self, what: &[Load]) -> impl Future<Output = Result<Vec<Loaded>, StoreError>> + Send;

    /// Swaps records, each on its own, in the order asked (not atomic as a whole).
    fn swap(&self, swaps: Vec<Swap>) -> impl Future<Output = Result<Vec<Swapped>, StoreError>> + Send;

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

    /// Takes up to `limit` resources that are due in one of `lanes` at `now`, first lanes first, and moves them to
    /// `now + hold`, so that nobody else takes them before; if their holder dies they come back.
    fn take_due(
        &self,
        lanes: &[Lane],
        now: Millis,
        hold: Duration,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Lane, ResourceKey)>, StoreError>> + Send;

    /// The earliest due time in any of `lanes`.
    fn next_due(&self, lanes: &[Lane]) -> impl Future<Output = Result<Option<Millis>, StoreError>> + Send;

    /// Puts resources that have a record into the schedule, at most as late as `due.at` if they are in that lane already.
    /// The version goes up: whoever is writing them right now finds out at the commit.
    fn touch(&self, keys: &[(ResourceKey, Due)]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Like [`Store::touch`] for groups whose ledger lists `member`: that entry is dirty again.
    fn touch_member(
        &self,
        groups: &[(ResourceKey, Due)],
        member: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Grants or renews the lease of `owner` in the buckets of these resources: one small call per bucket, which also
    /// holds them in the schedule (`now + hold`) where they still are.
    fn renew(
        &self,
        owner: &str,
        held: &[ResourceKey],
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

    /// Counts for gauges and `status`.
    fn backlog(&self) -> impl Future<Output = Result<Backlog, StoreError>> + Send;

    /// Answers when the store is reachable.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

// ---------------------------------------------------------------- target

/// What a target can do, read tolerantly from ServiceProviderConfig (RFC 7643 s5) and overridden by configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Capabilities {
    /// Bulk, with its limits (0: none named).
    pub bulk: Option<BulkLimits>,
    /// PATCH.
    pub patch: bool,
    /// ETags mean something.
    pub etag: bool,
    /// Filters, with the greatest number of results (0: none named).
    pub filter: Option<u64>,
}

/// Limits of a bulk request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkLimits {
    /// `maxOperations`.
    pub max_operations: usize,
    /// `maxPayloadSize`, in bytes of the encoded body.
    pub max_bytes: usize,
}

/// How a batch goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One POST to /Bulk.
    Bulk,
    /// One request per operation.
    Single,
}

/// Asks for the resources that match one of these: `externalId`, then the matching attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// `externalId`, `userName`, `displayName`, `emails.value`: a filterable attribute path.
    pub attribute: &'static str,
    /// The value, compared with `eq`.
    pub value: String,
}

/// What a request that reads came to.
#[derive(Debug)]
pub enum Failure {
    /// The target answered with something else than success.
    Answered(Answer),
    /// No usable answer.
    Broken(Outcome),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Answered(answer) => write!(f, "the target answered {}", answer.status),
            Failure::Broken(outcome) => write!(f, "no usable answer: {outcome:?}"),
        }
    }
}

/// A SCIM service provider.
pub trait Target: Send + Sync + 'static {
    /// GET ServiceProviderConfig.
    fn discover(&self) -> impl Future<Output = Result<Capabilities, Failure>> + Send;

    /// Sends operations. `deadline`: how long the claims on them hold; checked right before every send, resends included.
    /// With [`Transport::Bulk`] they are one request, in this order; with `Single` one after the other.
    fn send(
        &self,
        operations: &[Operation],
        transport: Transport,
        deadline: tokio::time::Instant,
    ) -> impl Future<Output = Reply> + Send;

    /// Resources that match any of the queries: one filter with `or`, paged to the end. The answer is what the server
    /// sent, whether it fits or not (filters can't be trusted).
    fn find(
        &self,
        kind: ResourceType,
        queries: &[Query],
    ) -> impl Future<Output = Result<Vec<Value>, Failure>> + Send;

    /// GET of one resource. Its ETag is in the answer.
    fn read(&self, kind: ResourceType, id: &TargetId)
    -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// How many resources of a type there are (`totalResults`); none when the target does not say.
    fn count(&self, kind: ResourceType) -> impl Future<Output = Result<Option<u64>, Failure>> + Send;
}

// ---------------------------------------------------------------- broker

/// Where a delivery came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `scim-relay.T.urgent`.
    Urgent,
    /// `scim-relay.T.work`.
    Work,
}

/// A message taken from a queue and not yet acknowledged. Consumed by its answer.
#[derive(Debug)]
pub struct Delivery {
    /// The session that delivered it: an answer on another one is void.
    pub session: u64,
    /// The delivery tag on that session and source.
    pub tag: u64,
    /// The queue.
    pub source: Source,
    /// What was published.
    pub message: Message,
    /// True when an exchange other than `intake` bound it here (the relay's own types are then `decode`).
    pub from_publishers: bool,
    /// Delivered before, and how often, as far as the broker says so with `redelivered`.
    pub redeliveries: u32,
}

/// A message as published or to be published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// The body.
    pub body: Vec<u8>,
    /// `content-type`.
    pub content_type: Option<String>,
    /// `content-encoding`, `type`, `app-id` and the like are carried here by name, so that letters keep them.
    pub properties: BTreeMap<String, String>,
    /// `message-id`.
    pub message_id: Option<String>,
    /// `timestamp`.
    pub timestamp: Option<Millis>,
    /// Headers, those set by the broker removed.
    pub headers: BTreeMap<String, Header>,
}

/// A header's value, as far as letters need it.
#[derive(Clone, Debug, PartialEq)]
pub enum Header {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A list of texts (`BCC`, `x-relay-event-ids`).
    List(Vec<String>),
    /// true or false.
    Bool(bool),
}

/// Why a message is not known to be safe with the broker. It may be published again.
#[derive(Debug, thiserror::Error)]
#[error("publish to `{exchange}` with key `{routing_key}`: {reason}")]
pub struct PublishError {
    /// Where to.
    pub exchange: String,
    /// With which key.
    pub routing_key: String,
    /// Why.
    pub reason: String,
}

/// Publishes; the answer comes when the broker has confirmed (a majority of a quorum queue's replicas have it).
pub trait Publisher: Send + Sync + 'static {
    /// Publishes one message persistently. No answer within the publish timeout is an error.
    fn publish(&self, message: Message) -> impl Future<Output = Result<(), PublishError>> + Send;
}

/// The end of a session with the broker: everything unacknowledged comes again on the next one.
#[derive(Debug, thiserror::Error)]
#[error("the session with the broker ended: {0}")]
pub struct SessionEnded(pub String);

/// Consumes `urgent` and `work`. Owns its session: whatever ends it, the next call works on a fresh one.
pub trait Consumer: Send + 'static {
    /// Waits for at least one delivery and returns what is there, up to `limit`, urgent ones first.
    /// An error means that a session ended: drop what is unanswered and call again (it waits with backoff by itself).
    fn next(&mut self, limit: usize) -> impl Future<Output = Result<Vec<Delivery>, SessionEnded>> + Send;

    /// Acknowledges everything of that session and source up to and including `tag`.
    fn ack(
        &mut self,
        session: u64,
        source: Source,
        tag: u64,
    ) -> impl Future<Output = Result<(), SessionEnded>> + Send;

    /// Stops the intake: cancels, gives back what is unanswered without counting it as a failure, closes.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}
