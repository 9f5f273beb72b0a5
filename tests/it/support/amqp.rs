//! RabbitMQ as a publisher and an operator see it.

use std::collections::BTreeMap;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;

use super::relay::{amqp_url, eventually};

/// A connection with one channel; publishes are confirmed.
pub struct Amqp {
    connection: Connection,
    channel: Channel,
}

/// A message taken from a queue.
#[derive(Debug)]
pub struct Letter {
    pub exchange: String,
    pub routing_key: String,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

impl Letter {
    /// A header of any type.
    pub fn header(&self, name: &str) -> Option<&AMQPValue> {
        self.properties.headers().as_ref()?.inner().get(name)
    }

    /// A header that is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.header(name)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            other => panic!("{name} is no text: {other:?}"),
        }
    }

    /// A header that is a whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.header(name)? {
            AMQPValue::LongLongInt(number) => Some(*number),
            other => panic!("{name} is no whole number: {other:?}"),
        }
    }

    /// A header that is a list of texts.
    pub fn texts(&self, name: &str) -> Vec<String> {
        match self.header(name) {
            Some(AMQPValue::FieldArray(items)) => items.as_slice().iter().map(spelt).collect(),
            other => panic!("{name} is no list: {other:?}"),
        }
    }

    /// Every header as a text, by name.
    pub fn headers(&self) -> BTreeMap<String, String> {
        let table = self.properties.headers().iter().flat_map(FieldTable::inner);
        table.map(|(name, value)| (name.to_string(), spelt(value))).collect()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn spelt(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}

fn short(text: &str) -> ShortString {
    ShortString::from(text)
}

impl Amqp {
    pub async fn connect() -> Self {
        let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { connection, channel }
    }

    /// Publishes and waits for the confirm. False: no queue took it.
    pub async fn publish(&self, exchange: &str, key: &str, properties: BasicProperties, body: &[u8]) -> bool {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let published = self.channel.basic_publish(short(exchange), short(key), options, body, properties);
        match published.await.unwrap().await.unwrap() {
            Confirmation::Ack(returned) => returned.is_none(),
            other => panic!("not confirmed: {other:?}"),
        }
    }

    /// Publishes an event under its type.
    pub async fn event(&self, exchange: &str, event: &Value) {
        let kind = event["type"].as_str().unwrap();
        let properties = BasicProperties::default().with_content_type(short("application/cloudevents+json"));
        assert!(self.publish(exchange, kind, properties, event.to_string().as_bytes()).await, "{kind}");
    }

    /// Takes the next message of a queue, if there is one.
    pub async fn try_take(&self, queue: &str) -> Option<Letter> {
        let taken = self.channel.basic_get(short(queue), BasicGetOptions { no_ack: true }).await.unwrap()?;
        Some(Letter {
            exchange: taken.delivery.exchange.to_string(),
            routing_key: taken.delivery.routing_key.to_string(),
            properties: taken.delivery.properties,
            body: taken.delivery.data,
        })
    }

    /// Waits for the next message of a queue and takes it.
    pub async fn take(&self, queue: &str) -> Letter {
        eventually(&format!("a message in {queue}"), async || self.try_take(queue).await).await
    }

    /// Messages ready in a queue.
    pub async fn count(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare(short(queue), passive, FieldTable::default()).await;
        declared.unwrap().message_count()
    }

    /// Declares a durable queue as somebody else would have.
    pub async fn declare(&self, queue: &str, arguments: &[(&str, AMQPValue)]) {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert(short(name), value.clone());
        }
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(short(queue), options, table).await.unwrap();
    }

    /// Binds a queue to an exchange.
    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let options = QueueBindOptions::default();
        let bound = self.channel.queue_bind(
            short(queue),
            short(exchange),
            short(key),
            options,
            FieldTable::default(),
        );
        bound.await.unwrap();
    }

    /// Declares an exchange as somebody else would have.
    pub async fn declare_exchange(&self, name: &str, kind: ExchangeKind) {
        let options = ExchangeDeclareOptions::default();
        self.channel.exchange_declare(short(name), kind, options, FieldTable::default()).await.unwrap();
    }

    pub async fn close(self) {
        self.connection.close(200, short("done")).await.unwrap();
    }
}
