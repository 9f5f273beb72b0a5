//! Passes over a queue of letters. AMQP can't pick a message out of a queue, so a pass takes all of them without acknowledging
//! any, and gives back at its end what was not taken. Whatever kills it gives everything back too.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{BoxStream, SelectAll};
use futures_util::{StreamExt, stream};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::Instant;

use super::connection::{BrokerError, BrokerOptions, now};
use super::death::{death, derived_id};
use super::message::{from_wire, short};
use crate::core::letter::Class;
use crate::pipeline::head::Head;
use crate::pipeline::ports::Message;

/// Longest pass: well below the broker's consumer timeout of 30 minutes, after which it takes everything back.
pub const LONGEST_PASS: Duration = Duration::from_secs(15 * 60);
/// Silence after which a pass has seen all that it was to see, and more may have come.
const QUIET: Duration = Duration::from_millis(250);
/// Silence after which a pass gives up what is still missing: it expired, or somebody else has it.
const MISSING: Duration = Duration::from_secs(5);
/// Bytes of letters that may lie in memory unseen.
const BUFFER_BYTES: usize = 64 * 1024 * 1024;
/// Letters of the first window, of which nobody knows how large they are, and of any.
const WINDOW: (usize, usize) = (64, 2_000);

/// A letter as a pass found it.
#[derive(Clone, Debug)]
pub struct Found {
    /// What its headers say, or what the broker says.
    pub head: Head,
    /// The letter without what the broker added.
    pub message: Message,
    /// How to take it.
    tag: u64,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// All that was there when it began.
    All,
    /// It took too long: there is more.
    Part,
}

type Deliveries = BoxStream<'static, Option<Result<lapin::message::Delivery, lapin::Error>>>;

/// A pass over one queue.
pub struct Pass {
    options: BrokerOptions,
    queue: String,
    connection: Connection,
    channel: Channel,
    deliveries: SelectAll<Deliveries>,
    consumers: Vec<lapin::types::ShortString>,
    began: Instant,
    /// Letters ready when it began.
    expected: usize,
    seen: usize,
    taken: usize,
    /// How many letters the broker may hand out before some are taken.
    room: usize,
    largest: usize,
    ended: Option<Seen>,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass").field("queue", &self.queue).field("seen", &self.seen).finish()
    }
}

impl Pass {
    /// Begins a pass.
    pub async fn begin(options: &BrokerOptions, queue: &str) -> Result<Self, BrokerError> {
        let failed = |error: lapin::Error| options.error(&format!("read `{queue}`"), error);
        let connection = options.connect("letters").await?;
        let channel = connection.create_channel().await.map_err(failed)?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(short(queue), passive, FieldTable::default()).await;
        let expected = declared.map_err(failed)?.message_count();
        Ok(Self {
            options: options.clone(),
            queue: queue.to_owned(),
            connection,
            channel,
            deliveries: SelectAll::new(),
            consumers: Vec::new(),
            began: now(),
            expected: usize::try_from(expected).unwrap_or(usize::MAX),
            seen: 0,
            taken: 0,
            room: 0,
            largest: 0,
            ended: None,
        })
    }

    /// So many letters are known to be there. The count of the queue does not know yet of those that an earlier pass has just
    /// given back.
    pub fn expecting(self, letters: usize) -> Self {
        Self { expected: self.expected.max(letters), ..self }
    }

    /// How many letters were there when it began.
    pub fn expected(&self) -> usize {
        self.expected
    }

    /// The next letter; none at the end. An error: the session broke, and everything untaken is back in the queue.
    pub async fn next(&mut self) -> Result<Option<Found>, BrokerError> {
        if self.ended.is_none() && now().duration_since(self.began) > LONGEST_PASS {
            self.ended = Some(Seen::Part);
        }
        if self.ended.is_some() {
            return Ok(None);
        }
        if self.seen - self.taken >= self.room {
            self.widen().await?;
        }
        let patience = if self.seen >= self.expected { QUIET } else { MISSING };
        match tokio::time::timeout(patience, self.deliveries.next()).await {
            Ok(Some(Some(Ok(delivery)))) => Ok(Some(self.found(delivery))),
            Ok(Some(Some(Err(error)))) => Err(self.broken(error)),
            Ok(Some(None) | None) => Err(self.broken("the broker cancelled the consumer")),
            Err(_) => {
                self.ended = Some(Seen::All);
                Ok(None)
            }
        }
    }

    /// Lets the broker hand out more: one more consumer. What it may hand out lies in memory until it is seen, so the window
    /// follows the size of the letters.
    async fn widen(&mut self) -> Result<(), BrokerError> {
        let (first, most) = WINDOW;
        let window = match self.largest {
            0 => first,
            largest => (BUFFER_BYTES / largest).clamp(first, most),
        };
        let prefetch = u16::try_from(window).unwrap_or(u16::MAX);
        let name = format!("letters-{}", self.consumers.len());
        let consumed = async {
            self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let options = BasicConsumeOptions::default();
            self.channel.basic_consume(short(&self.queue), short(&name), options, FieldTable::default()).await
        };
        let consumer = consumed.await.map_err(|error| self.broken(error))?;
        self.consumers.push(consumer.tag());
        // the end of a stream is told: a consumer that the broker cancels ends without an error
        self.deliveries.push(consumer.map(Some).chain(stream::iter([None])).boxed());
        self.room += window;
        Ok(())
    }

    fn found(&mut self, delivery: lapin::message::Delivery) -> Found {
        self.seen += 1;
        self.largest = self.largest.max(delivery.data.len() + 1_024);
        let death = death(&delivery.properties);
        let (exchange, key) = (delivery.exchange.as_str(), delivery.routing_key.as_str());
        let message = from_wire(exchange, key, &delivery.properties, delivery.data);
        let mut head = Head::of(&message);
        let own = !head.class.is_empty() && !head.id.is_empty() && death.is_none();
        if !own {
            let queue = death.as_ref().map_or(self.queue.as_str(), |death| death.queue());
            let id = derived_id(queue, &head.id, &message.body);
            head.message_id = head.message_id.or(Some(std::mem::replace(&mut head.id, id)));
            head.message_id = head.message_id.filter(|id| !id.is_empty());
            match death {
                Some(death) => death.complete(&mut head),
                // somebody else put it there
                None => head.class = Class::Internal.name().to_owned(),
            }
        }
        Found { head, message, tag: delivery.delivery_tag }
    }

    /// Takes a letter out of the queue: it has another home now.
    pub async fn take(&mut self, letter: &Found) -> Result<(), BrokerError> {
        let acked = self.channel.basic_ack(letter.tag, BasicAckOptions::default()).await;
        acked.map_err(|error| self.broken(error))?;
        self.taken += 1;
        Ok(())
    }

    /// Gives everything back that was not taken, in order: the broker does not count it as a failure.
    pub async fn end(self) -> Result<Seen, BrokerError> {
        let ended = async {
            for consumer in &self.consumers {
                self.channel.basic_cancel(consumer.clone(), BasicCancelOptions::default()).await?;
            }
            let all = BasicNackOptions { multiple: true, requeue: true };
            if self.seen > self.taken || !self.consumers.is_empty() {
                self.channel.basic_nack(0, all).await?;
            }
            self.channel.close(200, short("done")).await?;
            self.connection.close(200, short("done")).await
        };
        ended.await.map_err(|error| self.broken(error))?;
        Ok(self.ended.unwrap_or(Seen::Part))
    }

    fn broken(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BrokerError {
        self.options.error(&format!("read `{}`; what was not taken is back in it", self.queue), error)
    }
}

/// Tells twins: letters of one ID and one body. One of them is enough.
#[derive(Debug, Default)]
pub struct Twins(HashMap<String, [u8; 8]>);

impl Twins {
    /// True if the same letter was seen before in this pass.
    pub fn seen(&mut self, letter: &Found) -> bool {
        use sha2::{Digest, Sha256};
        let hash = Sha256::digest(&letter.message.body);
        let mut short = [0; 8];
        short.copy_from_slice(&hash[..8]);
        self.0.insert(letter.head.id.clone(), short) == Some(short)
    }

    /// True if a letter of this ID was seen.
    pub fn has(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }
}
