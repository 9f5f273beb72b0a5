//! Locks of tools: one at a time goes through a queue. They end by themselves when their holder is gone.

use std::time::Duration;

use redis::{Value, cmd};

use super::RedisStore;
use super::scripts::Call;
use crate::pipeline::ports::StoreError;

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The one that asked.
    Us,
    /// Somebody else, by the name they gave.
    Other(String),
}

impl RedisStore {
    /// Takes or renews the lock of that name for `hold`; says who has it.
    pub async fn lock(&self, name: &str, owner: &str, hold: Duration) -> Result<Holder, StoreError> {
        let (what, key) = ("take a lock", self.keys.lock(name));
        let args = vec![owner.to_owned(), hold.as_millis().to_string()];
        let call = Call { keys: vec![key.clone()], args };
        let answer = self.link.invoke(what, &self.scripts.probe, &[call]).await?.pop();
        if self.link.read(what, answer.unwrap_or(Value::Nil))? {
            return Ok(Holder::Us);
        }
        let mut command = cmd("GET");
        command.arg(key);
        let other: Option<String> = self.link.query("read a lock", command).await?;
        Ok(Holder::Other(other.unwrap_or_default()))
    }

    /// Gives the lock back, if it is still the owner's.
    pub async fn unlock(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        let call = Call { keys: vec![self.keys.lock(name)], args: vec![owner.to_owned()] };
        self.link.invoke("give a lock back", &self.scripts.disown, &[call]).await.map(drop)
    }
}
