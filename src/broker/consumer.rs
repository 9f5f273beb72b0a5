//! Consuming `urgent` and `work` on a connection of its own. The session is owned here: any end of a stream, closed
//! channel or failed acknowledgement leads to a fresh one, and deliveries of an old session are void.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::Acker;
use lapin::message::Delivery as WireDelivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::connection::{BrokerError, BrokerOptions, backoff, now};
use super::message::{from_wire, short, whole};
use crate::pipeline::ports::{Consumer, Delivery, SessionEnded, Source};

/// How often a silent session is asked whether it lives.
const LIVENESS: Duration = Duration::from_secs(30);
/// Longest wait for that answer.
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(20);
/// Asks for what there is.
const PASSIVE: QueueDeclareOptions = QueueDeclareOptions {
    passive: true,
    durable: false,
    exclusive: false,
    auto_delete: false,
    nowait: false,
};

/// What to consume.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// `scim-relay.T.urgent`.
    pub urgent: String,
    /// `scim-relay.T.work`.
    pub work: String,
    /// `scim-relay.T.intake`: what was published to another exchange came from publishers.
    pub intake: String,
    /// Unacknowledged deliveries per queue.
    pub prefetch: u16,
}

struct Queue {
    name: String,
    channel: Channel,
    stream: lapin::Consumer,
    ackers: BTreeMap<u64, Acker>,
    /// What was in it when its session began.
    waiting: u64,
}

struct Session {
    connection: Connection,
    urgent: Queue,
    work: Queue,
    number: u64,
    checked: Instant,
}

/// Consumes from the broker.
pub struct AmqpConsumer {
    broker: BrokerOptions,
    options: ConsumerOptions,
    session: Option<Session>,
    connecting: JoinSet<Session>,
    sessions: u64,
    consuming: tokio::sync::watch::Sender<bool>,
}

impl std::fmt::Debug for AmqpConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AmqpConsumer").field("address", &self.broker.address()).finish()
    }
}

impl AmqpConsumer {
    /// Connects with the first call of `next`. `consuming` tells readiness whether a session stands.
    pub fn new(
        broker: BrokerOptions,
        options: ConsumerOptions,
        consuming: tokio::sync::watch::Sender<bool>,
    ) -> Self {
        Self { broker, options, session: None, connecting: JoinSet::new(), sessions: 0, consuming }
    }

    /// The session, established in a task of its own: whoever waits for it may stop waiting.
    async fn session(&mut self) -> Result<&mut Session, SessionEnded> {
        if self.session.is_none() {
            if self.connecting.is_empty() {
                self.sessions += 1;
                let (broker, options, number) = (self.broker.clone(), self.options.clone(), self.sessions);
                self.connecting.spawn(establish(broker, options, number));
            }
            if let Some(session) = self.connecting.join_next().await {
                self.session = Some(session.map_err(|error| SessionEnded(error.to_string()))?);
                self.consuming.send_replace(true);
            }
        }
        self.session.as_mut().ok_or_else(|| SessionEnded("it is closed".into()))
    }

    fn end(&mut self, why: impl Into<String>) -> SessionEnded {
        self.session = None;
        self.consuming.send_replace(false);
        SessionEnded(why.into())
    }
}

/// Connects and subscribes, until it succeeds.
async fn establish(broker: BrokerOptions, options: ConsumerOptions, number: u64) -> Session {
    let mut waits = backoff();
    loop {
        match subscribe(&broker, &options, number).await {
            Ok(session) => {
                tracing::info!(address = broker.address(), session = number, "consuming");
                return session;
            }
            Err(error) => {
                let wait = waits.next().unwrap_or(LIVENESS);
                tracing::warn!(%error, retry_ms = wait.as_millis(), "not consuming");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

async fn subscribe(
    broker: &BrokerOptions,
    options: &ConsumerOptions,
    number: u64,
) -> Result<Session, BrokerError> {
    let connection = broker.connect("consume").await?;
    let urgent = queue(broker, &connection, &options.urgent, options.prefetch).await?;
    let work = queue(broker, &connection, &options.work, options.prefetch).await?;
    Ok(Session { connection, urgent, work, number, checked: now() })
}

async fn queue(
    broker: &BrokerOptions,
    connection: &Connection,
    name: &str,
    prefetch: u16,
) -> Result<Queue, BrokerError> {
    let failed = |error: lapin::Error| broker.error(&format!("consume from `{name}`"), error);
    let channel = connection.create_channel().await.map_err(failed)?;
    // before consuming: quality of service does not reach back
    channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(failed)?;
    let declared =
        channel.queue_declare(short(name), PASSIVE, FieldTable::default()).await.map_err(failed)?;
    let waiting = u64::from(declared.message_count());
    let options = BasicConsumeOptions::default();
    let stream = channel
        .basic_consume(short(name), short(""), options, FieldTable::default())
        .await
        .map_err(failed)?;
    Ok(Queue { name: name.to_owned(), channel, stream, ackers: BTreeMap::new(), waiting })
}

impl Session {
    /// Waits for a delivery, urgent ones first, and takes what else is there.
    async fn batch(&mut self, limit: usize, intake: &str) -> Result<Vec<Delivery>, String> {
        let number = self.number;
        let mut batch = Vec::new();
        let next_check = self.checked + LIVENESS;
        tokio::select! {
            biased;
            first = self.urgent.stream.next() => batch.push(self.urgent.take(first, Source::Urgent, number, intake)?),
            first = self.work.stream.next() => batch.push(self.work.take(first, Source::Work, number, intake)?),
            () = tokio::time::sleep_until(next_check) => self.check().await?,
        }
        for (queue, source) in [(&mut self.urgent, Source::Urgent), (&mut self.work, Source::Work)] {
            while batch.len() < limit {
                let Some(next) = queue.stream.next().now_or_never() else { break };
                batch.push(queue.take(next, source, number, intake)?);
            }
        }
        Ok(batch)
    }

    /// A stream that ended looks like silence: the broker is asked.
    async fn check(&mut self) -> Result<(), String> {
        for queue in [&self.urgent, &self.work] {
            let asking = queue.channel.queue_declare(short(&queue.name), PASSIVE, FieldTable::default());
            match tokio::time::timeout(LIVENESS_TIMEOUT, asking).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err("no sign of life".into()),
            }
        }
        self.checked = now();
        Ok(())
    }
}

impl Queue {
    fn take(
        &mut self,
        delivery: Option<lapin::Result<WireDelivery>>,
        source: Source,
        session: u64,
        intake: &str,
    ) -> Result<Delivery, String> {
        let delivery = match delivery {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err(format!("the broker cancelled the consumer of `{}`", self.name)),
        };
        self.ackers.insert(delivery.delivery_tag, delivery.acker);
        let count = |name: &str| {
            let headers = delivery.properties.headers().as_ref()?;
            whole(headers.inner().get(name)?).and_then(|count| u32::try_from(count).ok())
        };
        // a publisher can forge the count, so it is believed only of what the broker says it has delivered before
        let redeliveries = if delivery.redelivered { count("x-delivery-count").unwrap_or(1) } else { 0 };
        let message = from_wire(
            delivery.exchange.as_str(),
            delivery.routing_key.as_str(),
            &delivery.properties,
            delivery.data,
        );
        let from_publishers = message.exchange != intake;
        Ok(Delivery { session, tag: delivery.delivery_tag, source, message, from_publishers, redeliveries })
    }

    /// Acknowledges up to a tag. False: the channel is dead, and nothing was acknowledged.
    async fn ack(&mut self, tag: u64) -> lapin::Result<bool> {
        let later = self.ackers.split_off(&(tag + 1));
        let acked = std::mem::replace(&mut self.ackers, later);
        match acked.into_values().next_back() {
            Some(acker) => acker.ack(BasicAckOptions { multiple: true }).await,
            None => Ok(false),
        }
    }

    /// Gives back what is unanswered: `nack` with requeue does not count as a failed delivery.
    async fn close(self) -> lapin::Result<()> {
        self.channel.basic_cancel(self.stream.tag(), BasicCancelOptions::default()).await?;
        self.channel.basic_nack(0, BasicNackOptions { multiple: true, requeue: true }).await?;
        self.channel.close(200, short("stopped")).await
    }
}

impl Consumer for AmqpConsumer {
    async fn waiting(&mut self) -> Result<u64, SessionEnded> {
        let session = self.session().await?;
        Ok(session.urgent.waiting + session.work.waiting)
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<Delivery>, SessionEnded> {
        loop {
            let intake = self.options.intake.clone();
            let session = self.session().await?;
            match session.batch(limit, &intake).await {
                Ok(batch) if batch.is_empty() => {}
                Ok(batch) => return Ok(batch),
                Err(why) => return Err(self.end(why)),
            }
        }
    }

    async fn ack(&mut self, session: u64, source: Source, tag: u64) -> Result<(), SessionEnded> {
        let Some(held) = self.session.as_mut().filter(|held| held.number == session) else {
            return Err(SessionEnded("the delivery belongs to an earlier session".into()));
        };
        let queue = match source {
            Source::Urgent => &mut held.urgent,
            Source::Work | Source::Journal => &mut held.work,
        };
        match queue.ack(tag).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.end("an acknowledgement met a dead channel")),
            Err(error) => Err(self.end(error.to_string())),
        }
    }

    async fn close(&mut self) {
        self.connecting.abort_all();
        let Some(Session { connection, urgent, work, .. }) = self.session.take() else { return };
        self.consuming.send_replace(false);
        for queue in [urgent, work] {
            if let Err(error) = queue.close().await {
                tracing::debug!(%error, "a queue was not left in order: its deliveries come back by themselves");
            }
        }
        // a connection that can't be closed is closed already
        let _ = connection.close(200, short("stopped")).await;
    }
}
