//! `scim-relay dead` as an operator runs it, and letters that nobody else would write.

use std::process::Stdio;

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::Value;

use super::relay::{Relay, amqp_url, eventually};

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// The documents of a listing.
    pub fn documents(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs `dead` with nobody at the terminal.
pub fn dead(relay: &Relay, arguments: &[&str]) -> Said {
    run(relay, &[&["dead"], arguments].concat())
}

/// Runs a command with nobody at the terminal.
pub fn run(relay: &Relay, arguments: &[&str]) -> Said {
    let output = relay.command().args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// The letters in `dead`.
pub fn letters(relay: &Relay) -> Vec<Value> {
    let said = dead(relay, &["list", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.documents()
}

/// Waits until there are so many letters.
pub async fn letters_of(relay: &Relay, count: usize) -> Vec<Value> {
    let queue = format!("scim-relay.{}.dead", relay.target);
    let broker = Broker::connect().await;
    eventually("the letters are there", async || (broker.ready(&queue).await == count).then_some(())).await;
    letters(relay)
}

/// A connection of the test's own.
pub struct Broker {
    connection: Connection,
    pub channel: Channel,
}

impl Broker {
    pub async fn connect() -> Self {
        let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { connection, channel }
    }

    /// Messages ready in a queue.
    pub async fn ready(&self, queue: &str) -> usize {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
        declared.unwrap().message_count() as usize
    }

    /// Publishes, confirmed.
    /// A quorum queue that goes when the test is long over.
    pub async fn declare(&self, queue: &str) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-expires".into(), AMQPValue::LongInt(600_000));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), durable, arguments).await.unwrap();
    }

    pub async fn publish(&self, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
        let (exchange, key): (ShortString, ShortString) = (exchange.into(), key.into());
        let published =
            self.channel.basic_publish(exchange, key, BasicPublishOptions::default(), body, properties);
        published.await.unwrap().await.unwrap();
    }

    /// Takes one message from a queue and dies with it, as a relay that crashes.
    pub async fn crash_with_one_of(&self, queue: &str) {
        let channel = self.connection.create_channel().await.unwrap();
        channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
        let options = BasicConsumeOptions::default();
        let consumed =
            channel.basic_consume(queue.into(), "crash".into(), options, FieldTable::default()).await;
        let mut consumer = consumed.unwrap();
        consumer.next().await.unwrap().unwrap();
        channel.close(200, "crash".into()).await.unwrap();
    }
}
