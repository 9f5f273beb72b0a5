//! What the broker says about a letter that it put there itself: it was delivered too often, or waited too long.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use sha2::{Digest, Sha256};

use super::message::whole;
use crate::core::letter::Class;
use crate::core::schedule::Millis;
use crate::pipeline::head::Head;
use crate::pipeline::letters::{Reason, rfc3339};

/// How a message came into a letter queue without the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Death {
    class: Class,
    queue: String,
    exchange: String,
    routing_key: String,
    at: Option<Millis>,
}

/// Reads `x-death`. None: the relay published it.
pub(super) fn death(properties: &BasicProperties) -> Option<Death> {
    let headers = properties.headers().as_ref()?.inner();
    let entries = match headers.get("x-death") {
        Some(AMQPValue::FieldArray(entries)) => entries.as_slice(),
        _ => &[],
    };
    // a message from a rung has died there too: what counts is the death that ended here
    let listed = entries.iter().filter_map(|entry| match entry {
        AMQPValue::FieldTable(table) => of_entry(table),
        _ => None,
    });
    listed.into_iter().next().or_else(|| {
        let queue = text(headers.get("x-first-death-queue")?)?;
        let class = class(&text(headers.get("x-first-death-reason")?)?, &queue)?;
        let exchange = headers.get("x-first-death-exchange").and_then(text).unwrap_or_default();
        Some(Death { class, queue, exchange, routing_key: String::new(), at: None })
    })
}

fn class(reason: &str, queue: &str) -> Option<Class> {
    match reason {
        "delivery_limit" => Some(Class::DeliveryLimit),
        "expired" if queue.ends_with(".held") => Some(Class::HeldExpired),
        _ => None,
    }
}

fn of_entry(table: &FieldTable) -> Option<Death> {
    let field = |name: &str| table.inner().get(name);
    let queue = field("queue").and_then(text)?;
    let class = class(&field("reason").and_then(text)?, &queue)?;
    let keys = match field("routing-keys") {
        Some(AMQPValue::FieldArray(keys)) => keys.as_slice().iter().find_map(text),
        _ => None,
    };
    let at = match field("time") {
        Some(AMQPValue::Timestamp(seconds)) => i64::try_from(*seconds).ok(),
        Some(other) => whole(other),
        None => None,
    };
    Some(Death {
        class,
        queue,
        exchange: field("exchange").and_then(text).unwrap_or_default(),
        routing_key: keys.unwrap_or_default(),
        at: at.map(|seconds| Millis(seconds.saturating_mul(1000))),
    })
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

/// The ID of a letter that has none of the relay's: the same in every pass.
pub(super) fn derived_id(queue: &str, message_id: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in [queue.as_bytes(), message_id.as_bytes()] {
        hash.update(part);
        hash.update([0]);
    }
    hash.update(body);
    format!("b-{}", &hex::encode(hash.finalize())[..16])
}

impl Death {
    /// The queue that it came from.
    pub(super) fn queue(&self) -> &str {
        &self.queue
    }

    /// Completes a head with what the broker knows.
    pub(super) fn complete(self, head: &mut Head) {
        let detail = match self.class {
            Class::HeldExpired => "no operator decided about it in time",
            _ => "delivered to the relay again and again without being settled (amqp.delivery_limit)",
        };
        let reason = Reason::of(self.class, detail);
        head.class = self.class.name().to_owned();
        head.fingerprint = Some(reason.fingerprint());
        head.detail = Some(reason.detail);
        (head.http_status, head.scim_type, head.operation) = (None, None, None);
        if let Some(at) = self.at.map(rfc3339) {
            head.first_failed_at.get_or_insert_with(|| at.clone());
            head.last_failed_at = Some(at);
        }
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        head.exchange = head.exchange.take().or_else(|| known(self.exchange));
        head.routing_key = head.routing_key.take().or_else(|| known(self.routing_key));
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldArray;

    use super::*;
    use crate::broker::message::short;

    fn entry(reason: &str, queue: &str) -> AMQPValue {
        let mut table = FieldTable::default();
        for (name, value) in [("reason", reason), ("queue", queue), ("exchange", "intake")] {
            table.insert(short(name), AMQPValue::LongString(value.into()));
        }
        table.insert(short("time"), AMQPValue::Timestamp(5));
        let keys = vec![AMQPValue::LongString("directory.user.put".into())];
        table.insert(short("routing-keys"), AMQPValue::FieldArray(FieldArray::from(keys)));
        AMQPValue::FieldTable(table)
    }

    fn died(entries: Vec<AMQPValue>) -> Option<Death> {
        let mut headers = FieldTable::default();
        headers.insert(short("x-death"), AMQPValue::FieldArray(FieldArray::from(entries)));
        death(&BasicProperties::default().with_headers(headers))
    }

    #[test]
    fn a_letter_that_the_broker_put_there_gets_its_class_from_its_death() {
        let entries =
            vec![entry("expired", "scim-relay.t.retry.1s"), entry("delivery_limit", "scim-relay.t.work")];
        let mut head = Head::default();
        died(entries).unwrap().complete(&mut head);
        assert_eq!(
            (head.class.as_str(), head.routing_key.as_deref(), head.last_failed_at.as_deref()),
            ("delivery_limit", Some("directory.user.put"), Some("1970-01-01T00:00:05Z"))
        );
        let held = died(vec![entry("expired", "scim-relay.t.held")]).unwrap();
        assert_eq!(held.class, Class::HeldExpired);
    }

    #[test]
    fn a_rung_is_no_death() {
        assert_eq!(died(vec![entry("expired", "scim-relay.t.retry.1s")]), None);
        assert_eq!(death(&BasicProperties::default()), None);
    }

    #[test]
    fn a_derived_id_tells_letters_apart() {
        let id = derived_id("work", "m", b"{}");
        assert_eq!((id.len(), &id[..2]), (18, "b-"));
        assert_eq!(id, derived_id("work", "m", b"{}"));
        assert_ne!(id, derived_id("urgent", "m", b"{}"));
    }
}
