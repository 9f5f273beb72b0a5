//! Messages of the pipeline and of the wire, both ways.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};

use crate::core::schedule::Millis;
use crate::pipeline::ports::{Header, Message};

/// Headers that the broker sets. A republished message that kept them could be dropped silently by the broker's
/// dead-letter cycle detection (3.13 and older), so they are removed on the way in.
const BROKER_SET: [&str; 5] = ["x-death", "x-delivery-count", "x-acquired-count", "CC", "BCC"];

/// True for a header that the broker set, or that would steer it.
pub fn is_broker_set(name: &str) -> bool {
    BROKER_SET.iter().any(|known| name.eq_ignore_ascii_case(known))
        || name.starts_with("x-first-death-")
        || name.starts_with("x-last-death-")
}

/// A text of at most 255 bytes, as AMQP's short strings are.
pub(super) fn short(text: &str) -> ShortString {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    ShortString::from(&text[..end])
}

/// A delivered message without what the broker added.
pub(super) fn from_wire(
    exchange: &str,
    routing_key: &str,
    properties: &BasicProperties,
    body: Vec<u8>,
) -> Message {
    let mut kept = BTreeMap::new();
    let mut keep = |name: &str, value: &Option<ShortString>| {
        if let Some(value) = value {
            kept.insert(name.to_owned(), value.as_str().to_owned());
        }
    };
    keep("content-encoding", properties.content_encoding());
    keep("correlation-id", properties.correlation_id());
    keep("reply-to", properties.reply_to());
    keep("type", properties.kind());
    keep("user-id", properties.user_id());
    keep("app-id", properties.app_id());
    let headers = properties.headers().iter().flat_map(|table| table.inner());
    let headers = headers.filter(|(name, _)| !is_broker_set(name.as_str()));
    Message {
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        body,
        content_type: properties.content_type().as_ref().map(|t| t.as_str().to_owned()),
        properties: kept,
        message_id: properties.message_id().as_ref().map(|t| t.as_str().to_owned()),
        timestamp: properties
            .timestamp()
            .map(|seconds| Millis(i64::try_from(seconds).unwrap_or(i64::MAX / 1000).saturating_mul(1000))),
        headers: headers
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), header(value)?)))
            .collect(),
    }
}

fn header(value: &AMQPValue) -> Option<Header> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match value {
        AMQPValue::LongString(value) => Some(Header::Text(text(value.as_bytes()))),
        AMQPValue::ShortString(value) => Some(Header::Text(value.as_str().to_owned())),
        AMQPValue::ByteArray(value) => Some(Header::Text(text(value.as_slice()))),
        AMQPValue::Boolean(value) => Some(Header::Bool(*value)),
        AMQPValue::FieldArray(items) => {
            let texts = items.as_slice().iter().filter_map(|item| match header(item)? {
                Header::Text(text) => Some(text),
                Header::Int(number) => Some(number.to_string()),
                Header::Bool(value) => Some(value.to_string()),
                Header::List(_) => None,
            });
            Some(Header::List(texts.collect()))
        }
        other => whole(other).map(Header::Int),
    }
}

/// A whole number of any width.
pub(super) fn whole(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(n) => Some((*n).into()),
        AMQPValue::ShortShortUInt(n) => Some((*n).into()),
        AMQPValue::ShortInt(n) => Some((*n).into()),
        AMQPValue::ShortUInt(n) => Some((*n).into()),
        AMQPValue::LongInt(n) => Some((*n).into()),
        AMQPValue::LongUInt(n) => Some((*n).into()),
        AMQPValue::LongLongInt(n) => Some(*n),
        AMQPValue::Timestamp(n) => i64::try_from(*n).ok(),
        _ => None,
    }
}

/// The properties of a message to publish: persistent. `user-id` is kept as a header: the broker would check it against
/// the relay's own user.
pub(super) fn properties(message: &Message) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in &message.headers {
        headers.insert(short(name), wire(value));
    }
    if let Some(user) = message.properties.get("user-id") {
        headers.insert(short("x-relay-user-id"), AMQPValue::LongString(user.as_str().into()));
    }
    let mut properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
    if let Some(content_type) = &message.content_type {
        properties = properties.with_content_type(short(content_type));
    }
    if let Some(id) = &message.message_id {
        properties = properties.with_message_id(short(id));
    }
    if let Some(at) = message.timestamp {
        properties = properties.with_timestamp(u64::try_from(at.0 / 1000).unwrap_or(0));
    }
    for (name, value) in &message.properties {
        properties = match name.as_str() {
            "content-encoding" => properties.with_content_encoding(short(value)),
            "correlation-id" => properties.with_correlation_id(short(value)),
            "reply-to" => properties.with_reply_to(short(value)),
            "type" => properties.with_type(short(value)),
            "app-id" => properties.with_app_id(short(value)),
            _ => properties,
        };
    }
    properties
}

fn wire(header: &Header) -> AMQPValue {
    match header {
        Header::Text(text) => AMQPValue::LongString(text.as_str().into()),
        Header::Int(number) => AMQPValue::LongLongInt(*number),
        Header::Bool(value) => AMQPValue::Boolean(*value),
        Header::List(items) => {
            let mut array = FieldArray::default();
            items.iter().for_each(|item| array.push(AMQPValue::LongString(item.as_str().into())));
            AMQPValue::FieldArray(array)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_set_does_not_survive() {
        let mut table = FieldTable::default();
        for name in
            ["x-death", "x-first-death-queue", "x-last-death-reason", "x-delivery-count", "CC", "x-mine"]
        {
            table.insert(short(name), AMQPValue::LongString("x".into()));
        }
        let message = from_wire("e", "k", &BasicProperties::default().with_headers(table), vec![]);
        assert_eq!(message.headers.keys().collect::<Vec<_>>(), ["x-mine"]);
    }

    #[test]
    fn a_message_survives_the_wire() {
        let headers = [
            ("a".to_owned(), Header::Text("x".into())),
            ("b".to_owned(), Header::Int(-7)),
            ("c".to_owned(), Header::List(vec!["1".into(), "2".into()])),
        ];
        let message = Message {
            exchange: "e".into(),
            routing_key: "k".into(),
            body: b"{}".to_vec(),
            content_type: Some("application/json".into()),
            properties: BTreeMap::from([("type".to_owned(), "t".to_owned())]),
            message_id: Some("m".into()),
            timestamp: Some(Millis(5_000)),
            headers: headers.into(),
        };
        assert_eq!(from_wire("e", "k", &properties(&message), b"{}".to_vec()), message);
    }

    #[test]
    fn a_short_string_is_cut_at_a_character() {
        assert_eq!(short(&"ä".repeat(200)).as_str().len(), 254);
    }
}
