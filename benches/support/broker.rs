//! RabbitMQ as the simplest of clients uses it.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::Value;

use super::relay::amqp_url;

/// Deliveries acknowledged at once.
const ACKED_AT_ONCE: usize = 100;

/// A connection with a channel on which publishes are confirmed.
pub struct Broker {
    // the channel lives as long as its connection
    _connection: Connection,
    channel: Channel,
}

impl Broker {
    /// Connects.
    pub async fn connect() -> Self {
        let connection = Connection::connect(&amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { _connection: connection, channel }
    }

    /// Publishes an event; returns when it is confirmed.
    pub async fn publish(&self, exchange: &str, event: &Value) {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/cloudevents+json".into());
        let key = event["type"].as_str().unwrap();
        let body = event.to_string();
        let options = BasicPublishOptions::default();
        let sent =
            self.channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties);
        sent.await.unwrap().await.unwrap();
    }

    /// Takes so many messages from a queue, parses each as JSON, acknowledges; says how long that took from the first
    /// delivery on.
    pub async fn drain(&self, queue: &str, messages: usize, prefetch: u16) -> Duration {
        let channel = &self.channel;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.unwrap();
        let consuming = channel.basic_consume(
            queue.into(),
            "bare".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let mut deliveries = consuming.await.unwrap();
        let mut begin = None;
        for n in 1..=messages {
            let delivery = deliveries.next().await.unwrap().unwrap();
            begin.get_or_insert_with(Instant::now);
            let event: Value = serde_json::from_slice(&delivery.data).unwrap();
            assert!(event.is_object());
            if n % ACKED_AT_ONCE == 0 || n == messages {
                delivery.acker.ack(BasicAckOptions { multiple: true }).await.unwrap();
            }
        }
        let took = begin.map_or(Duration::ZERO, |begin| begin.elapsed());
        channel.basic_cancel("bare".into(), Default::default()).await.unwrap();
        took
    }
}
