//! Sending commands and scripts to Redis, and what can go wrong with it. Every error names the address and what was
//! being done.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use redis::{Cmd, FromRedisValue, RedisError, Script, Value};

use super::connection::{Connection, redacted};
use super::keys::Keys;
use super::options::RedisOptions;
use super::scripts::Call;
use crate::pipeline::ports::StoreError;

/// How often a script is loaded again for one call before it is an error.
const LOADS: usize = 2;

/// Connections to Redis, used in turn.
pub(super) struct Link {
    connections: Vec<Connection>,
    next: AtomicUsize,
    /// Without user and password.
    pub(super) address: String,
}

impl Link {
    /// Connects; an error names the address.
    pub(super) async fn connect(options: &RedisOptions) -> Result<Self, StoreError> {
        let address = redacted(&options.urls);
        let connections = Connection::open(options).await.map_err(|error| StoreError {
            what: format!("connect to Redis at {address}"),
            source: error.into(),
        })?;
        Ok(Self { connections, next: AtomicUsize::new(0), address })
    }

    pub(super) fn connection(&self) -> Connection {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        self.connections[at % self.connections.len()].clone()
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
        command.query_async(&mut self.connection()).await.map_err(|error| self.error(what, error))
    }

    /// Sends commands, each with the key that says where it belongs, in one go. An error among the answers is an error.
    pub(super) async fn pipeline(
        &self,
        what: &str,
        commands: Vec<(String, Cmd)>,
    ) -> Result<Vec<Value>, StoreError> {
        let answers = self.send(what, commands).await?.into_iter();
        answers
            .map(|answer| match answer {
                Value::ServerError(error) => Err(self.error(what, RedisError::from(error))),
                answer => Ok(answer),
            })
            .collect()
    }

    /// Reads an answer.
    pub(super) fn read<V: FromRedisValue>(&self, what: &str, value: Value) -> Result<V, StoreError> {
        redis::from_redis_value(value).map_err(|error| self.error(what, error))
    }

    /// Runs a script for each of these calls, loading it where the server has forgotten it.
    pub(super) async fn invoke(
        &self,
        what: &str,
        script: &Script,
        calls: &[Call],
    ) -> Result<Vec<Value>, StoreError> {
        let mut answers: Vec<Option<Value>> = vec![None; calls.len()];
        for attempt in 0..=LOADS {
            let open: Vec<usize> = (0..calls.len()).filter(|at| answers[*at].is_none()).collect();
            if open.is_empty() {
                break;
            }
            if attempt > 0 {
                self.load(what, script).await?;
            }
            let commands = open.iter().map(|at| calls[*at].command(script)).collect();
            for (at, answer) in open.into_iter().zip(self.send(what, commands).await?) {
                match answer {
                    Value::ServerError(error) if error.code() == "NOSCRIPT" => {}
                    Value::ServerError(error) => return Err(self.error(what, RedisError::from(error))),
                    answer => answers[at] = Some(answer),
                }
            }
        }
        let answers: Option<Vec<Value>> = answers.into_iter().collect();
        answers.ok_or_else(|| self.error(what, "the server forgets scripts as soon as they are loaded"))
    }

    async fn load(&self, what: &str, script: &Script) -> Result<(), StoreError> {
        let loaded = script.prepare_invoke().load_async(&mut self.connection()).await;
        loaded.map(drop).map_err(|error| self.error(what, error))
    }

    /// Sends commands in one go: one pipeline, or one per bucket in a cluster. Errors stay where they are.
    async fn send(&self, what: &str, commands: Vec<(String, Cmd)>) -> Result<Vec<Value>, StoreError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let connection = self.connection();
        let sent = match connection {
            Connection::Single(_) => {
                together(connection, commands.into_iter().map(|(_, command)| command)).await
            }
            Connection::Cluster(_) => by_bucket(&connection, commands).await,
        };
        sent.map_err(|error| self.error(what, error))
    }
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
