//! Letters: what the relay publishes about changes that could not be applied (contract s2.3, s3.1).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::head::Head;
use super::ports::{Clock, Header, LetterIndex, Message, PublishError, Publisher, Shelf};
use super::settings::Routes;
use crate::core::change::{Change, Delta, Origin};
use crate::core::desired::Words;
use crate::core::letter::Class;
use crate::core::operation::Method;
use crate::core::record::Record;
use crate::core::resource::ResourceKey;
use crate::core::revision::Revision;
use crate::core::schedule::Millis;
use crate::core::settle;
use crate::core::settled::Settled;
use crate::decode::{Refusal, intent, verdict};
use crate::pipeline::recover::Mark;

/// Longest `x-relay-detail`, in bytes.
const MAX_DETAIL: usize = 1024;

/// W3C Trace Context: the same name as in HTTP.
const TRACEPARENT: &str = "traceparent";

/// An operator has a letter applied although its history is unknown.
pub const ACCEPT_STALE: &str = "x-relay-accept-stale";

/// Version 00 has 55 bytes; later ones may be longer.
const MAX_TRACEPARENT: usize = 128;

/// Longest wait for the index of letters: it can be rebuilt, and must not hold up what can't.
const INDEX_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a letter is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// The class.
    pub class: Class,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// `scimType` of the error.
    pub scim_type: Option<String>,
    /// What is wrong, without attribute values.
    pub detail: String,
    /// The method and the path of the operation.
    pub operation: Option<(Method, String)>,
}

impl Reason {
    /// A reason that no answer of the target stands behind.
    pub fn of(class: Class, detail: impl Into<String>) -> Self {
        Self { class, status: None, scim_type: None, detail: detail.into(), operation: None }
    }

    /// Groups equal failures: class, status, scimType and the kind of operation; of what can't be decoded, our words without
    /// what they name and count.
    pub fn fingerprint(&self) -> String {
        let operation = self.operation.as_ref().map(|(method, path)| {
            format!("{method} /{}", path.trim_start_matches('/').split('/').next().unwrap_or_default())
        });
        let text = format!(
            "{}|{}|{}|{}{}",
            self.class,
            self.status.unwrap_or_default(),
            self.scim_type.as_deref().unwrap_or_default(),
            operation.unwrap_or_default(),
            if matches!(self.class, Class::Decode | Class::UnsupportedPatch) {
                without_names(&self.detail)
            } else {
                String::new()
            }
        );
        hex::encode(&Sha256::digest(text)[..8])
    }
}

/// What a letter is about: the unapplied part of a resource, and why it is not applied.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Whose.
    pub key: &'a ResourceKey,
    /// The record, with its failures so far.
    pub record: &'a Record,
    /// The unapplied part.
    pub intent: &'a Delta,
    /// How often it was replayed.
    pub round: u32,
    /// Why.
    pub reason: &'a Reason,
}

/// Our own words without what they quote and count.
fn without_names(detail: &str) -> String {
    let words = detail.split('`').step_by(2).flat_map(|text| text.split(|c: char| c.is_ascii_digit()));
    words.filter(|word| !word.is_empty()).collect()
}

/// Cuts a text at a character boundary.
fn cut(text: &str, bytes: usize) -> String {
    text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= bytes).map(|(_, c)| c).collect()
}

/// An instant as RFC 3339.
pub fn rfc3339(at: Millis) -> String {
    Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// Writes letters and waits until the broker has them.
#[derive(Debug)]
pub struct Letters<P> {
    publisher: Arc<P>,
    clock: Arc<dyn Clock>,
    routes: Routes,
    target: String,
    ids: fn() -> String,
    index: Option<Arc<dyn LetterIndex>>,
}

impl<P: Publisher> Letters<P> {
    /// `ids` makes letters' IDs (ULIDs).
    pub fn new(
        publisher: Arc<P>,
        clock: Arc<dyn Clock>,
        routes: Routes,
        target: String,
        ids: fn() -> String,
    ) -> Self {
        Self { publisher, clock, routes, target, ids, index: None }
    }

    /// Tells this index of every dead letter.
    pub fn indexed(self, index: Arc<dyn LetterIndex>) -> Self {
        Self { index: Some(index), ..self }
    }

    /// Puts a case on a rung.
    pub async fn retry(&self, case: &Case<'_>, rung: usize) -> Result<(), PublishError> {
        let rung = self.routes.rungs.get(rung).cloned().unwrap_or_default();
        for (routing_key, body) in self.bodies(case, Origin::Retry) {
            let mut message = self.letter(case, &routing_key, body);
            message.exchange = self.routes.out.clone();
            message.routing_key = routing_key;
            message.headers.insert("BCC".into(), Header::List(vec![rung.clone()]));
            self.publisher.publish(message).await?;
        }
        metrics::counter!("scim_relay_retries_total", "class" => case.reason.class.name()).increment(1);
        Ok(())
    }

    /// Has a letter come again from this rung as it is: it could not be judged.
    pub(super) async fn later(&self, letter: &Message, rung: usize) -> Result<(), PublishError> {
        let rung = self.routes.rungs.get(rung).cloned().unwrap_or_default();
        let mut message = Message { exchange: self.routes.out.clone(), ..letter.clone() };
        message.headers.insert("BCC".into(), Header::List(vec![rung]));
        self.publisher.publish(message).await
    }

    /// Dead-letters a case, then says so in the journal.
    pub async fn dead(&self, case: &Case<'_>) -> Result<(), PublishError> {
        for (routing_key, body) in self.bodies(case, Origin::Replay) {
            let mut message = self.letter(case, &routing_key, body);
            message.exchange = self.routes.out.clone();
            message.routing_key = self.routes.dead.clone();
            self.bury(message, case.reason.class).await?;
        }
        self.verdict(case, verdict::Kind::Dead).await
    }

    /// Hands a case over to the operators, then says so in the journal.
    pub async fn hold(&self, case: &Case<'_>) -> Result<(), PublishError> {
        for (routing_key, body) in self.bodies(case, Origin::Approve) {
            let mut message = self.letter(case, &routing_key, body);
            message.exchange = self.routes.out.clone();
            message.routing_key = self.routes.held.clone();
            self.publisher.publish(message).await?;
        }
        self.verdict(case, verdict::Kind::Held).await
    }

    /// Publishes a dead letter, then notes it in the index. That is a convenience: where it fails, tools rebuild it.
    async fn bury(&self, message: Message, class: Class) -> Result<(), PublishError> {
        let head = Head::of(&message);
        self.publisher.publish(message).await?;
        metrics::counter!("scim_relay_dead_letters_total", "class" => class.name()).increment(1);
        if let Some(index) = &self.index {
            let entry = (head.id.clone(), head.to_json());
            let noted = tokio::time::timeout(INDEX_TIMEOUT, index.shelve(Shelf::Dead, vec![entry])).await;
            if !matches!(noted, Ok(Ok(()))) {
                tracing::debug!(letter = head.id, "a dead letter is not in the index yet");
            }
        }
        Ok(())
    }

    /// Says in the journal what was decided about the words of a case.
    async fn verdict(&self, case: &Case<'_>, kind: verdict::Kind) -> Result<(), PublishError> {
        self.decided(case.key, kind, &settle::words(case.record, case.intent), case.round).await
    }

    /// Says in the journal what was decided about these words.
    pub(super) async fn decided(
        &self,
        key: &ResourceKey,
        kind: verdict::Kind,
        words: &Words,
        round: u32,
    ) -> Result<(), PublishError> {
        let now = self.clock.now();
        let (routing_key, body) = verdict::encode(key, kind, words, &self.target, now, self.ids);
        self.enter(routing_key, body, now, round, None).await
    }

    /// Writes a mark of the relay's own into the journal, which changes nothing where it is merged.
    pub(super) async fn mark(&self, mark: &Mark) -> Result<(), PublishError> {
        let message = mark.message(&self.target, self.clock.now(), (self.ids)());
        self.publisher.publish(Message { exchange: self.routes.intake.clone(), ..message }).await
    }

    /// Writes a mark behind all outcomes.
    pub(super) async fn mark_outcomes(&self, mark: &Mark) -> Result<(), PublishError> {
        let message = mark.message(&self.target, self.clock.now(), (self.ids)());
        let Some(routing_key) = self.routes.outcomes.clone() else { return Ok(()) };
        self.publisher.publish(Message { exchange: self.routes.out.clone(), routing_key, ..message }).await
    }

    /// Keeps what was settled in the stream of outcomes, where there is one.
    pub(super) async fn settled(&self, settled: &Settled) -> Result<(), PublishError> {
        let Some(routing_key) = self.routes.outcomes.clone() else { return Ok(()) };
        self.publisher
            .publish(Message {
                exchange: self.routes.out.clone(),
                routing_key,
                body: serde_json::json!(settled).to_string().into_bytes(),
                content_type: Some("application/json".into()),
                message_id: Some((self.ids)()),
                timestamp: Some(settled.at),
                ..Message::default()
            })
            .await
    }

    /// Says again what a letter carries, by `origin`: it enters as if it came from a publisher.
    pub(super) async fn say_again(
        &self,
        change: &Change,
        origin: Origin,
        round: u32,
    ) -> Result<(), PublishError> {
        let Change { key, delta, first_seen, traceparent, .. } = change;
        let now = self.clock.now();
        for (routing_key, body) in
            intent::encode(key, delta, origin, *first_seen, &self.target, now, self.ids)
        {
            self.enter(routing_key, body, *first_seen, round, traceparent.as_deref()).await?;
        }
        Ok(())
    }

    async fn enter(
        &self,
        routing_key: String,
        body: Vec<u8>,
        timestamp: Millis,
        round: u32,
        traceparent: Option<&str>,
    ) -> Result<(), PublishError> {
        let mut message = Message {
            exchange: self.routes.intake.clone(),
            routing_key,
            body,
            content_type: Some("application/cloudevents+json".into()),
            message_id: Some((self.ids)()),
            timestamp: Some(timestamp),
            headers: BTreeMap::from([("x-relay-replays".to_owned(), Header::Int(round.into()))]),
            ..Message::default()
        };
        carry_on(&mut message.headers, traceparent);
        self.publisher.publish(message).await
    }

    /// Dead-letters what no decoder accepts, byte for byte with its properties.
    pub async fn refused(&self, original: &Message, refusal: &Refusal) -> Result<(), PublishError> {
        let reason = &Reason::of(refusal.class, refusal.detail.as_str());
        let now = self.clock.now();
        let mut message = original.clone();
        message.headers.retain(|name, _| !name.starts_with("x-relay-"));
        headers(&mut message.headers, reason, (now, now), 0, self.replays(original));
        origin(&mut message.headers, original);
        if let Some(resource) = &refusal.resource {
            text(&mut message.headers, "resource", &resource.to_string());
        }
        if let Some(revision) = &refusal.revision {
            text(&mut message.headers, "revision", &revision_text(revision));
        }
        let ids: Vec<String> = refusal.event_id.clone().into_iter().collect();
        message.headers.insert("x-relay-event-ids".into(), Header::List(ids));
        message.exchange = self.routes.out.clone();
        message.routing_key = self.routes.dead.clone();
        message.message_id = Some((self.ids)());
        self.bury(message, reason.class).await
    }

    /// How often this message was replayed; what publishers say about that is not believed.
    fn replays(&self, original: &Message) -> u32 {
        match original.headers.get("x-relay-replays") {
            Some(Header::Int(round)) if original.exchange == self.routes.intake => {
                u32::try_from(*round).unwrap_or(0)
            }
            _ => 0,
        }
    }

    fn bodies(&self, case: &Case<'_>, origin: Origin) -> Vec<(String, Vec<u8>)> {
        let now = self.clock.now();
        let first_seen = case.record.first_seen.unwrap_or(now);
        intent::encode(case.key, case.intent, origin, first_seen, &self.target, now, self.ids)
    }

    fn letter(&self, case: &Case<'_>, routing_key: &str, body: Vec<u8>) -> Message {
        let now = self.clock.now();
        let Case { key, record, intent, .. } = case;
        let (first, attempt) =
            record.trouble.as_ref().map_or((now, 0), |trouble| (trouble.first_failed_at, trouble.attempt));
        let mut message = Message {
            body,
            content_type: Some("application/cloudevents+json".into()),
            message_id: Some((self.ids)()),
            timestamp: record.first_seen.or(Some(now)),
            ..Message::default()
        };
        headers(&mut message.headers, case.reason, (first, now), attempt, case.round);
        text(&mut message.headers, "resource", &key.to_string());
        if let Some(revision) = newest(intent) {
            text(&mut message.headers, "revision", &revision_text(revision));
        }
        message.headers.insert("x-relay-event-ids".into(), Header::List(record.event_ids.clone()));
        text(&mut message.headers, "exchange", &self.routes.intake);
        text(&mut message.headers, "routing-key", routing_key);
        carry_on(&mut message.headers, record.traceparent.as_deref());
        message
    }
}

fn text(headers: &mut BTreeMap<String, Header>, name: &str, value: &str) {
    headers.insert(format!("x-relay-{name}"), Header::Text(value.to_owned()));
}

fn headers(
    headers: &mut BTreeMap<String, Header>,
    reason: &Reason,
    (first, last): (Millis, Millis),
    attempt: u32,
    round: u32,
) {
    headers.insert("x-relay-attempt".into(), Header::Int(attempt.into()));
    headers.insert("x-relay-replays".into(), Header::Int(round.into()));
    text(headers, "first-failed-at", &rfc3339(first));
    text(headers, "last-failed-at", &rfc3339(last));
    text(headers, "class", reason.class.name());
    text(headers, "detail", &cut(&reason.detail, MAX_DETAIL));
    text(headers, "fingerprint", &reason.fingerprint());
    if let Some(status) = reason.status {
        headers.insert("x-relay-http-status".into(), Header::Int(status.into()));
    }
    if let Some(scim_type) = &reason.scim_type {
        text(headers, "scim-type", &cut(scim_type, 64));
    }
    if let Some((method, path)) = &reason.operation {
        text(headers, "operation", &format!("{method} {path}"));
    }
}

/// `traceparent` of a message, which W3C keeps short.
pub(super) fn traceparent(message: &Message) -> Option<String> {
    match message.headers.get(TRACEPARENT) {
        Some(Header::Text(text)) if text.len() <= MAX_TRACEPARENT => Some(text.clone()),
        _ => None,
    }
}

fn carry_on(headers: &mut BTreeMap<String, Header>, traceparent: Option<&str>) {
    headers.extend(traceparent.map(|text| (TRACEPARENT.to_owned(), Header::Text(text.to_owned()))));
}

fn origin(headers: &mut BTreeMap<String, Header>, original: &Message) {
    text(headers, "exchange", &original.exchange);
    text(headers, "routing-key", &original.routing_key);
    if let Some(id) = &original.message_id {
        text(headers, "message-id", id);
    }
}

fn newest(intent: &Delta) -> Option<&Revision> {
    let floors = intent.lifecycle.put.iter().chain(&intent.lifecycle.deleted);
    let registers = intent.attributes.iter().map(|r| &r.revision);
    floors.chain(registers).chain(intent.members.iter().map(|m| &m.revision)).max()
}

/// A revision as one line: what it was ordered by, and the event's id.
pub fn revision_text(revision: &Revision) -> String {
    let order = match (&revision.sequence, &revision.time) {
        (Some(sequence), _) => sequence.as_str().to_owned(),
        (None, Some(time)) => time.to_string(),
        (None, None) => String::new(),
    };
    format!("{order} {}", revision.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_failures_have_one_fingerprint() {
        let reason = |path: &str, status| Reason {
            status: Some(status),
            operation: Some((Method::Patch, path.to_owned())),
            ..Reason::of(Class::Invalid, "x")
        };
        assert_eq!(reason("/Users/1", 400).fingerprint(), reason("/Users/2", 400).fingerprint());
        assert_ne!(reason("/Users/1", 400).fingerprint(), reason("/Users/1", 422).fingerprint());
    }

    #[test]
    fn a_detail_is_cut_at_a_character() {
        assert_eq!(cut("aäb", 2), "a");
        assert_eq!(cut("aäb", 3), "aä");
    }
}
