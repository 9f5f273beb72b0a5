//! Reading streams: from any place, as often as one likes. A stream is consumed like a queue, and keeps what it holds.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery as WireDelivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};

use super::connection::{BrokerError, BrokerOptions};
use super::message::{from_wire, short, whole};
use crate::pipeline::ports::{Entry, From, SessionEnded, Stream, StreamReader};

/// Entries on the way to the reader.
const PREFETCH: u16 = 1_000;
/// Most entries returned at once.
const BATCH: usize = 500;
/// How often a silent reader is asked whether it lives.
const LIVENESS: Duration = Duration::from_secs(30);

/// A stream of the broker.
#[derive(Clone, Debug)]
pub struct AmqpStream {
    broker: BrokerOptions,
    name: String,
}

impl AmqpStream {
    /// Connects whenever it is read.
    pub fn new(broker: BrokerOptions, name: String) -> Self {
        Self { broker, name }
    }

    async fn open(&self, from: From) -> Result<AmqpReader, BrokerError> {
        let failed = |error: lapin::Error| self.broker.error(&format!("read `{}`", self.name), error);
        let connection = self.broker.connect("read").await?;
        let channel = connection.create_channel().await.map_err(failed)?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.map_err(failed)?;
        let mut arguments = FieldTable::default();
        let offset = match from {
            From::First => AMQPValue::LongString("first".into()),
            From::Time(at) => AMQPValue::Timestamp(u64::try_from(at.0 / 1_000).unwrap_or(0)),
        };
        arguments.insert(short("x-stream-offset"), offset);
        let options = BasicConsumeOptions::default();
        let stream =
            channel.basic_consume(short(&self.name), short(""), options, arguments).await.map_err(failed)?;
        Ok(AmqpReader { name: self.name.clone(), _connection: connection, channel, stream })
    }
}

impl Stream for AmqpStream {
    type Reader = AmqpReader;

    async fn read(&self, from: From) -> Result<AmqpReader, SessionEnded> {
        self.open(from).await.map_err(|error| SessionEnded(error.to_string()))
    }
}

/// Reads a stream on a connection of its own, which ends with it.
pub struct AmqpReader {
    name: String,
    _connection: Connection,
    channel: Channel,
    stream: lapin::Consumer,
}

impl std::fmt::Debug for AmqpReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AmqpReader").field("stream", &self.name).finish()
    }
}

impl StreamReader for AmqpReader {
    async fn next(&mut self) -> Result<Vec<Entry>, SessionEnded> {
        let first = loop {
            match tokio::time::timeout(LIVENESS, self.stream.next()).await {
                Ok(first) => break first,
                Err(_) if self.channel.status().connected() => {}
                Err(_) => {
                    return Err(SessionEnded(format!("the channel that read `{}` is closed", self.name)));
                }
            }
        };
        let mut batch = vec![self.delivered(first)?];
        while batch.len() < BATCH
            && let Some(next) = self.stream.next().now_or_never()
        {
            batch.push(self.delivered(next)?);
        }
        let (entries, mut tags): (Vec<Entry>, Vec<WireDelivery>) = batch.into_iter().unzip();
        // the next ones are let out; nothing is taken from a stream
        if let Some(last) = tags.pop() {
            last.acker
                .ack(BasicAckOptions { multiple: true })
                .await
                .map_err(|error| SessionEnded(error.to_string()))?;
        }
        Ok(entries)
    }
}

impl AmqpReader {
    fn delivered(
        &self,
        delivery: Option<lapin::Result<WireDelivery>>,
    ) -> Result<(Entry, WireDelivery), SessionEnded> {
        let mut delivery = match delivery {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(SessionEnded(error.to_string())),
            None => return Err(SessionEnded(format!("the broker ended the reading of `{}`", self.name))),
        };
        let headers = delivery.properties.headers().as_ref();
        let offset = headers.and_then(|headers| whole(headers.inner().get("x-stream-offset")?));
        let Some(offset) = offset.and_then(|offset| u64::try_from(offset).ok()) else {
            return Err(SessionEnded(format!("`{}` is no stream: its messages have no offset", self.name)));
        };
        let data = std::mem::take(&mut delivery.data);
        let message =
            from_wire(delivery.exchange.as_str(), delivery.routing_key.as_str(), &delivery.properties, data);
        Ok((Entry { offset, message }, delivery))
    }
}
