//! A broker: deliveries in, confirmed messages out.

use std::collections::BTreeMap;
use std::future::Future;

use crate::core::schedule::Millis;

/// Where a delivery came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `scim-relay.T.urgent`.
    Urgent,
    /// `scim-relay.T.work`.
    Work,
    /// `scim-relay.T.journal`: what is in it was in `work` too.
    Journal,
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

/// A header's value. The relay writes the first four; the others come from publishers, and letters keep them.
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
    /// A list of anything else.
    Mixed(Vec<Header>),
    /// A table.
    Table(BTreeMap<String, Header>),
    /// A number with a fraction.
    Real(f64),
    /// An instant, in seconds since the epoch.
    Time(u64),
    /// Bytes that are no text.
    Bytes(Vec<u8>),
    /// No value.
    Nothing,
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
    /// Waits for a session. How many messages waited in the queues when it began.
    fn waiting(&mut self) -> impl Future<Output = Result<u64, SessionEnded>> + Send;

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
