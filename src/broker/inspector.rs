//! Counts of queues, as passive declaration tells them.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::Mutex;

use super::connection::{BrokerError, BrokerOptions};
use super::message::short;

/// Asks the broker about queues, on a connection of its own.
pub struct Inspector {
    options: BrokerOptions,
    session: Mutex<Option<(Connection, Channel)>>,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspector").field("address", &self.options.address()).finish()
    }
}

impl Inspector {
    /// Connects when first asked.
    pub fn new(options: BrokerOptions) -> Self {
        Self { options, session: Mutex::new(None) }
    }

    /// Messages ready in a queue.
    pub async fn ready(&self, queue: &str) -> Result<u32, BrokerError> {
        let mut held = self.session.lock().await;
        let (connection, channel) = match held.take().filter(|(_, channel)| channel.status().connected()) {
            Some(session) => session,
            None => {
                let connection = self.options.connect("inspect").await?;
                let channel =
                    connection.create_channel().await.map_err(|e| self.options.error("open a channel", e))?;
                (connection, channel)
            }
        };
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(short(queue), passive, FieldTable::default()).await;
        let declared = declared.map_err(|error| self.options.error(&format!("count `{queue}`"), error))?;
        *held = Some((connection, channel));
        Ok(declared.message_count())
    }
}
