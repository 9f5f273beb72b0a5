//! Sending commands and scripts to Redis, and what can go wrong with it. Every error names the address and what was
//! being done.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use redis::{Cmd, FromRedisValue, RedisError, Value};

use super::connection::{Connection, Connections, redacted};
use super::keys::Keys;
use super::options::RedisOptions;
use super::scripts::{By, Call, Script};
use crate::pipeline::ports::StoreError;

/// The way to Redis.
pub(super) struct Link {
    connections: Connections,
    /// Without user and password.
    pub(super) address: String,
}

impl Link {
    /// Connects; an error names the address.
    pub(super) async fn connect(options: &RedisOptions) -> Result<Self, StoreError> {
        let address = redacted(&options.urls);
        let connections = Connections::open(options).await.map_err(|error| StoreError {
            what: format!("connect to Redis at {address}"),
            source: error.into(),
        })?;
        Ok(Self { connections, address })
    }

    /// A connection for one call.
    pub(super) fn connection(&self) -> Connection {
        self.connections.next()
    }

    /// An error, with what was being done.
    pub(super) fn error(
        &self,
        what: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError { what: format!("{what} in Redis at {}", self.address), source: source.into() }
    }

    /// Sends one command.
    pub(super) async fn query<V: FromRedisValue>(&self, what: &str, command: Cmd) -> Result<V, StoreError> {
        let mut connection = self.connection();
        let answer = command.query_async(&mut connection).await;
        self.connections.judge(&connection, answer.as_ref().err(), []);
        answer.map_err(|error| self.error(what, error))
    }

    /// Sends commands, each with the key that says where it belongs, in one go. An error among the answers is an error.
    pub(super) async fn pipeline(
        &self,
        what: &str,
        commands: Vec<(String, Cmd)>,
    ) -> Result<Vec<Value>, StoreError> {
        let answers = self.send(what, commands).await?;
        self.checked(what, answers)
    }

    /// Reads an answer.
    pub(super) fn read<V: FromRedisValue>(&self, what: &str, value: Value) -> Result<V, StoreError> {
        redis::from_redis_value(value).map_err(|error| self.error(what, error))
    }

    /// Runs a script for each of these calls; with its text where the server has forgotten it.
    pub(super) async fn invoke(
        &self,
        what: &str,
        script: &Script,
        calls: &[Call],
    ) -> Result<Vec<Value>, StoreError> {
        let by_hash = calls.iter().map(|call| call.command(script, By::Hash)).collect();
        let mut answers = self.send(what, by_hash).await?;
        let forgotten: Vec<usize> = (0..calls.len()).filter(|at| is_forgotten(&answers[*at])).collect();
        let by_text = forgotten.iter().map(|at| calls[*at].command(script, By::Text)).collect();
        for (at, answer) in forgotten.into_iter().zip(self.send(what, by_text).await?) {
            answers[at] = answer;
        }
        self.checked(what, answers)
    }

    fn checked(&self, what: &str, answers: Vec<Value>) -> Result<Vec<Value>, StoreError> {
        let checked = answers.into_iter().map(|answer| match answer {
            Value::ServerError(error) => Err(self.error(what, RedisError::from(error))),
            answer => Ok(answer),
        });
        checked.collect()
    }

    /// Sends commands in one go: one pipeline, or one per bucket in a cluster. Errors stay where they are.
    async fn send(&self, what: &str, commands: Vec<(String, Cmd)>) -> Result<Vec<Value>, StoreError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let connection = self.connection();
        let sent = match connection {
            Connection::Single { .. } => {
                together(connection.clone(), commands.into_iter().map(|(_, command)| command)).await
            }
            Connection::Cluster(_) => by_bucket(&connection, commands).await,
        };
        self.connections.judge(&connection, sent.as_ref().err(), sent.iter().flatten());
        sent.map_err(|error| self.error(what, error))
    }
}

fn is_forgotten(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "NOSCRIPT")
}

async fn together(
    mut connection: Connection,
    commands: impl Iterator<Item = Cmd>,
) -> Result<Vec<Value>, RedisError> {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline.query_async(&mut connection).await
}

/// One pipeline per bucket, all at once; the answers in the commands' order.
async fn by_bucket(connection: &Connection, commands: Vec<(String, Cmd)>) -> Result<Vec<Value>, RedisError> {
    let mut answers = vec![Value::Nil; commands.len()];
    let mut buckets: BTreeMap<String, (Vec<usize>, Vec<Cmd>)> = BTreeMap::new();
    for (at, (key, command)) in commands.into_iter().enumerate() {
        let (places, commands) = buckets.entry(Keys::tag(&key).to_owned()).or_default();
        places.push(at);
        commands.push(command);
    }
    let parts = buckets.into_values().map(|(places, commands)| async move {
        let answers = together(connection.clone(), commands.into_iter()).await?;
        Ok::<_, RedisError>(places.into_iter().zip(answers))
    });
    for part in join_all(parts).await {
        for (at, answer) in part? {
            answers[at] = answer;
        }
    }
    Ok(answers)
}
