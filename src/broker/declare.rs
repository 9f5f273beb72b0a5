//! Declares the objects of a topology, and compares them with what there is.

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeUnbindOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ExchangeKind};
use serde::Serialize;

use super::connection::{BrokerError, BrokerOptions, is_not_found};
use super::message::short;
use super::topology::{Argument, Object};

/// An object that exists with other arguments. It is used as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its description as it should be.
    pub wanted: String,
    /// What the broker says about it.
    pub found: String,
    /// How to mend it.
    pub remedy: String,
    /// A promise of the relay would break: type, dead-lettering.
    pub fatal: bool,
}

/// Declares objects on a connection.
#[derive(Debug)]
pub struct Declarer<'a> {
    options: &'a BrokerOptions,
    connection: &'a Connection,
}

impl<'a> Declarer<'a> {
    /// On this connection.
    pub fn new(options: &'a BrokerOptions, connection: &'a Connection) -> Self {
        Self { options, connection }
    }

    /// Declares everything; what exists with other arguments is reported.
    pub async fn apply(&self, objects: &[Object]) -> Result<Vec<Difference>, BrokerError> {
        let mut differences = Vec::new();
        for object in objects {
            differences.extend(self.declare(object).await?);
        }
        Ok(differences)
    }

    /// Compares what there is with what there should be, by declaring it passively and again; creates nothing.
    pub async fn verify(&self, objects: &[Object]) -> Result<Vec<Difference>, BrokerError> {
        let mut differences = Vec::new();
        let visible = objects.iter().filter(|o| matches!(o, Object::Exchange { .. } | Object::Queue { .. }));
        for object in visible {
            match self.exists(object).await? {
                true => differences.extend(self.declare(object).await?),
                false => differences.push(Difference {
                    wanted: object.describe(),
                    found: "it does not exist".into(),
                    remedy: "scim-relay topology apply".into(),
                    fatal: true,
                }),
            }
        }
        Ok(differences)
    }

    /// True if a queue or exchange of that name exists. Bindings can't be seen over AMQP.
    async fn exists(&self, object: &Object) -> Result<bool, BrokerError> {
        let channel =
            self.connection.create_channel().await.map_err(|e| self.options.error("open a channel", e))?;
        let declared = match object {
            Object::Exchange { name, .. } => {
                let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
                channel
                    .exchange_declare(short(name), ExchangeKind::Topic, options, FieldTable::default())
                    .await
            }
            Object::Queue { name, .. } => {
                let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
                channel.queue_declare(short(name), options, FieldTable::default()).await.map(drop)
            }
            Object::Binding { .. } | Object::Route { .. } => return Ok(true),
        };
        match declared {
            Ok(()) => {
                // a channel that can't be closed is closed already
                let _ = channel.close(200, short("done")).await;
                Ok(true)
            }
            Err(error) if is_not_found(&error) => Ok(false),
            Err(error) => Err(self.options.error(&format!("look for {}", object.describe()), error)),
        }
    }

    /// Removes bindings from the publishers' exchange that are not wanted any more.
    pub async fn unbind(&self, exchange: &str, intake: &str, key: &str) -> Result<(), BrokerError> {
        let channel =
            self.connection.create_channel().await.map_err(|e| self.options.error("open a channel", e))?;
        channel
            .exchange_unbind(
                short(intake),
                short(exchange),
                short(key),
                ExchangeUnbindOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(|error| self.options.error(&format!("unbind `{key}`"), error))
    }

    /// An error of the broker closes the channel, so each object has its own.
    async fn declare(&self, object: &Object) -> Result<Option<Difference>, BrokerError> {
        let channel =
            self.connection.create_channel().await.map_err(|e| self.options.error("open a channel", e))?;
        if let Object::Exchange { name, foreign: true, .. } = object {
            let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
            let declared = channel
                .exchange_declare(short(name), ExchangeKind::Topic, options, FieldTable::default())
                .await;
            if declared.is_ok() {
                return Ok(None);
            }
            let mut own = object.clone();
            if let Object::Exchange { foreign, .. } = &mut own {
                *foreign = false;
            }
            return Box::pin(self.declare(&own)).await;
        }
        let declared = declare_on(&channel, object).await;
        let closing = channel.close(200, short("done"));
        match declared {
            Ok(()) => {
                // a channel that can't be closed is closed already
                let _ = closing.await;
                Ok(None)
            }
            Err(error) => self.judge(object, error).map(Some),
        }
    }

    fn judge(&self, object: &Object, error: lapin::Error) -> Result<Difference, BrokerError> {
        let found = error.to_string();
        if !found.contains("PRECONDITION_FAILED") && !found.contains("PRECONDITION-FAILED") {
            return Err(self.options.error(&format!("declare {}", object.describe()), error));
        }
        let fatal = ["x-queue-type", "x-dead-letter", "'type'", "arg 'durable'"]
            .iter()
            .any(|arg| found.contains(arg));
        Ok(Difference {
            wanted: object.describe(),
            found,
            remedy: object.remedy(&self.options.vhost()),
            fatal,
        })
    }
}

async fn declare_on(channel: &lapin::Channel, object: &Object) -> lapin::Result<()> {
    match object {
        Object::Exchange { name, kind, arguments, .. } => {
            let kind = match *kind {
                "direct" => ExchangeKind::Direct,
                "fanout" => ExchangeKind::Fanout,
                _ => ExchangeKind::Topic,
            };
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            channel.exchange_declare(short(name), kind, options, table(arguments)).await
        }
        Object::Queue { name, arguments } => {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(short(name), options, table(arguments)).await.map(drop)
        }
        Object::Binding { source, queue, key } => {
            let options = QueueBindOptions::default();
            channel.queue_bind(short(queue), short(source), short(key), options, FieldTable::default()).await
        }
        Object::Route { source, destination, key } => {
            let options = ExchangeBindOptions::default();
            channel
                .exchange_bind(short(destination), short(source), short(key), options, FieldTable::default())
                .await
        }
    }
}

fn table(arguments: &[(&'static str, Argument)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
        };
        table.insert(short(name), value);
    }
    table
}
