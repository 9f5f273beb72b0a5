//! Messages of the pipeline and of the wire, both ways.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};

use crate::core::schedule::Millis;
use crate::pipeline::ports::{Header, Message};

/// Headers that the broker sets. A republished message that kept them could be dropped silently by the broker's
/// dead-letter cycle detection (3.13 and older), so they are removed on the way in.
const BROKER_SET: [&str; 6] =
    ["x-death", "x-delivery-count", "x-acquired-count", "x-stream-offset", "CC", "BCC"];

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
    keep("expiration", properties.expiration());
    keep("priority", &properties.priority().map(|priority| short(&priority.to_string())));
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

/// None: a decimal, which no broker stores.
fn header(value: &AMQPValue) -> Option<Header> {
    match value {
        AMQPValue::LongString(value) => Some(text_or_bytes(value.as_bytes())),
        AMQPValue::ShortString(value) => Some(Header::Text(value.as_str().to_owned())),
        AMQPValue::ByteArray(value) => Some(Header::Bytes(value.as_slice().to_vec())),
        AMQPValue::Boolean(value) => Some(Header::Bool(*value)),
        AMQPValue::FieldArray(items) => Some(list(items.as_slice().iter().filter_map(header).collect())),
        AMQPValue::FieldTable(table) => {
            let entries = table.inner().iter();
            let kept = entries.filter_map(|(name, value)| Some((name.as_str().to_owned(), header(value)?)));
            Some(Header::Table(kept.collect()))
        }
        AMQPValue::Float(number) => Some(Header::Real((*number).into())),
        AMQPValue::Double(number) => Some(Header::Real(*number)),
        AMQPValue::Timestamp(seconds) => Some(Header::Time(*seconds)),
        AMQPValue::Void => Some(Header::Nothing),
        other => whole(other).map(Header::Int),
    }
}

fn text_or_bytes(bytes: &[u8]) -> Header {
    match std::str::from_utf8(bytes) {
        Ok(text) => Header::Text(text.to_owned()),
        Err(_) => Header::Bytes(bytes.to_vec()),
    }
}

fn list(items: Vec<Header>) -> Header {
    let text = |item: &Header| match item {
        Header::Text(text) => Some(text.clone()),
        _ => None,
    };
    match items.iter().map(text).collect::<Option<Vec<String>>>() {
        Some(texts) => Header::List(texts),
        None => Header::Mixed(items),
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
        _ => None,
    }
}

/// Properties that would act on a letter, and are kept as headers: the broker would check `user-id` against the relay's
/// own user, and `expiration` would end the letter.
const KEPT_AS_HEADERS: [&str; 2] = ["user-id", "expiration"];

/// The properties of a message to publish: persistent.
pub(super) fn properties(message: &Message) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in &message.headers {
        headers.insert(short(name), wire(value));
    }
    for name in KEPT_AS_HEADERS {
        if let Some(value) = message.properties.get(name) {
            headers.insert(short(&format!("x-relay-{name}")), AMQPValue::LongString(value.as_str().into()));
        }
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
            "priority" => {
                value.parse().map_or(properties.clone(), |priority| properties.with_priority(priority))
            }
            _ => properties,
        };
    }
    properties
}

fn wire(header: &Header) -> AMQPValue {
    let array = |values: Vec<AMQPValue>| AMQPValue::FieldArray(FieldArray::from(values));
    match header {
        Header::Text(text) => AMQPValue::LongString(text.as_str().into()),
        Header::Int(number) => AMQPValue::LongLongInt(*number),
        Header::Bool(value) => AMQPValue::Boolean(*value),
        Header::List(items) => {
            array(items.iter().map(|item| AMQPValue::LongString(item.as_str().into())).collect())
        }
        Header::Mixed(items) => array(items.iter().map(wire).collect()),
        Header::Table(entries) => {
            let mut table = FieldTable::default();
            for (name, value) in entries {
                table.insert(short(name), wire(value));
            }
            AMQPValue::FieldTable(table)
        }
        Header::Real(number) => AMQPValue::Double(*number),
        Header::Time(seconds) => AMQPValue::Timestamp(*seconds),
        Header::Bytes(bytes) => AMQPValue::LongString(bytes.clone().into()),
        Header::Nothing => AMQPValue::Void,
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
            ("d".to_owned(), Header::Mixed(vec![Header::Int(1), Header::Text("x".into()), Header::Nothing])),
            ("e".to_owned(), Header::Table(BTreeMap::from([("f".to_owned(), Header::Real(1.5))]))),
            ("g".to_owned(), Header::Bytes(vec![255, 0])),
            ("h".to_owned(), Header::Time(1_700_000_000)),
        ];
        let message = Message {
            exchange: "e".into(),
            routing_key: "k".into(),
            body: b"{}".to_vec(),
            content_type: Some("application/json".into()),
            properties: [("type", "t"), ("priority", "3")].map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
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
