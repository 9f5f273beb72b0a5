//! Publishing with confirms, on a connection of its own: acknowledgements must not wait behind a memory alarm.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation, Connection, ExchangeKind};
use tokio::sync::{Mutex, Semaphore};

use super::connection::{BrokerError, BrokerOptions, backoff, is_not_found, now};
use super::message::{properties, short};
use crate::pipeline::ports::{Message, PublishError, Publisher};

/// Longest wait for a confirm; a paused stream leader stalled confirms for 76 s with nothing lost.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(120);
/// Confirms outstanding at once.
const OUTSTANDING: usize = 500;

struct Session {
    connection: Connection,
    channel: Channel,
    number: u64,
}

/// Publishes to the broker; each publish is answered by its confirm.
pub struct AmqpPublisher {
    options: BrokerOptions,
    session: Mutex<Option<Arc<Session>>>,
    sessions: std::sync::atomic::AtomicU64,
    outstanding: Semaphore,
}

impl std::fmt::Debug for AmqpPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AmqpPublisher").field("address", &self.options.address()).finish()
    }
}

impl AmqpPublisher {
    /// Connects when something is first published.
    pub fn new(options: BrokerOptions) -> Self {
        let outstanding = Semaphore::new(OUTSTANDING);
        Self { options, session: Mutex::new(None), sessions: Default::default(), outstanding }
    }

    /// Connects now; an error names the address.
    pub async fn connected(self) -> Result<Self, BrokerError> {
        self.session().await?;
        Ok(self)
    }

    /// True if an exchange of that name exists.
    pub async fn has_exchange(&self, name: &str) -> Result<bool, BrokerError> {
        let session = self.session().await?;
        let failed =
            |error: lapin::Error| self.options.error(&format!("look for the exchange `{name}`"), error);
        // of its own: the broker closes it when there is none
        let channel = session.connection.create_channel().await.map_err(failed)?;
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let kind = ExchangeKind::Topic;
        match channel.exchange_declare(short(name), kind, options, FieldTable::default()).await {
            Ok(()) => channel.close(200, short("done")).await.map(|()| true).map_err(failed),
            Err(error) if is_not_found(&error) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    async fn session(&self) -> Result<Arc<Session>, BrokerError> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref().filter(|session| session.channel.status().connected()) {
            return Ok(session.clone());
        }
        let failed = |error: lapin::Error| self.options.error("open a channel", error);
        let connection = self.options.connect("publish").await?;
        let channel = connection.create_channel().await.map_err(failed)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(failed)?;
        let number = self.sessions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let session = Arc::new(Session { connection, channel, number });
        *held = Some(session.clone());
        Ok(session)
    }

    async fn drop_session(&self, number: u64) {
        let mut held = self.session.lock().await;
        if held.as_ref().is_some_and(|session| session.number == number) {
            *held = None;
        }
    }

    /// Publishes once and waits for the confirm. `mandatory`: the answer says whether a queue took it.
    async fn once(&self, session: &Session, message: &Message, mandatory: bool) -> Result<Routed, String> {
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        let (exchange, key) = (short(&message.exchange), short(&message.routing_key));
        let published =
            session.channel.basic_publish(exchange, key, options, &message.body, properties(message));
        let confirm = published.await.map_err(|error| error.to_string())?;
        match confirm.await.map_err(|error| error.to_string())? {
            Confirmation::Ack(None) => Ok(Routed::Yes),
            Confirmation::Ack(Some(returned)) => {
                let delivery = &returned.delivery;
                let id = delivery.properties.message_id().as_ref().map(|id| id.as_str().to_owned());
                Ok(Routed::Returned(Way {
                    exchange: delivery.exchange.as_str().to_owned(),
                    routing_key: delivery.routing_key.as_str().to_owned(),
                    message_id: id.unwrap_or_default(),
                }))
            }
            Confirmation::Nack(_) => Err("the broker refused it (nack)".into()),
            Confirmation::NotRequested => Err("the channel lost its confirms".into()),
        }
    }

    async fn until_confirmed(&self, message: &Message, mandatory: bool) -> Result<Routed, PublishError> {
        let failed = |reason: String| PublishError {
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            reason,
        };
        let _permit = self.outstanding.acquire().await.map_err(|error| failed(error.to_string()))?;
        let deadline = now() + PUBLISH_TIMEOUT;
        let mut waits = backoff();
        loop {
            let attempt = async {
                let session = self.session().await.map_err(|error| error.to_string())?;
                match self.once(&session, message, mandatory).await {
                    Ok(routed) => Ok(routed),
                    Err(error) => {
                        self.drop_session(session.number).await;
                        Err(error)
                    }
                }
            };
            let reason = match tokio::time::timeout_at(deadline, attempt).await {
                Ok(Ok(routed)) => return Ok(routed),
                Ok(Err(reason)) => reason,
                Err(_) => return Err(failed(format!("no confirm within {} s", PUBLISH_TIMEOUT.as_secs()))),
            };
            let wait = waits.next().unwrap_or(PUBLISH_TIMEOUT);
            if now() + wait >= deadline {
                return Err(failed(reason));
            }
            tracing::debug!(reason, "a publish is repeated");
            tokio::time::sleep(wait).await;
        }
    }

    /// Publishes a window of messages, each of which must be routed to a queue. lapin can attach a returned message to
    /// the wrong confirm, so what was returned is told by its way and its `message_id`, once the whole window is answered:
    /// publishers may give one id to two messages, but what went the same way was routed alike.
    pub async fn publish_routed(&self, window: &[Message]) -> Vec<Result<(), PublishError>> {
        let sent = window.iter().map(|message| self.until_confirmed(message, true));
        let answers = futures_util::future::join_all(sent).await;
        let returned: BTreeSet<Way> = answers
            .iter()
            .filter_map(|answer| match answer {
                Ok(Routed::Returned(way)) => Some(way.clone()),
                Ok(Routed::Yes) | Err(_) => None,
            })
            .collect();
        let judged = window.iter().zip(answers).map(|(message, answer)| {
            answer?;
            match returned.contains(&Way::of(message)) {
                false => Ok(()),
                true => Err(PublishError {
                    exchange: message.exchange.clone(),
                    routing_key: message.routing_key.clone(),
                    reason: "no queue is bound for it: amqp.bindings must name it, and `scim-relay topology apply` have run"
                        .into(),
                }),
            }
        });
        judged.collect()
    }
}

/// Where a confirmed message went.
enum Routed {
    Yes,
    Returned(Way),
}

/// What tells one published message from another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    exchange: String,
    routing_key: String,
    message_id: String,
}

impl Way {
    fn of(message: &Message) -> Self {
        Self {
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            message_id: message.message_id.clone().unwrap_or_default(),
        }
    }
}

impl Publisher for AmqpPublisher {
    async fn publish(&self, message: Message) -> Result<(), PublishError> {
        self.until_confirmed(&message, false).await.map(drop)
    }
}
