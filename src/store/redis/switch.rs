//! The shared switch, in one hash. Stopped lanes are fields of their own, so that two operators do not undo each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redis::Value;

use super::RedisStore;
use super::scripts::Call;
use crate::core::circuit::Circuit;
use crate::core::disposition::Trouble;
use crate::core::schedule::{Lane, Millis};
use crate::pipeline::ports::{StoreError, Switch};

/// Replicas that did not say for so long that they live are forgotten.
const FORGOTTEN_AFTER_MS: i64 = 3_600_000;

fn stop_field(lane: Lane) -> String {
    format!("stop:{}", lane.name())
}

impl Switch for RedisStore {
    async fn circuit(&self) -> Result<Circuit, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.keys.circuit());
        let fields: BTreeMap<String, String> = self.link.query("read the switch", command).await?;
        let time = |name: &str| fields.get(name)?.parse().ok().map(Millis);
        let trouble = fields.get("trouble").map(String::as_str);
        let stopped = Lane::ALL.into_iter().filter(|lane| fields.contains_key(&stop_field(*lane)));
        Ok(Circuit {
            paused_until: time("until"),
            trouble: Trouble::ALL.into_iter().find(|known| Some(known.key()) == trouble),
            pauses: fields.get("pauses").and_then(|count| count.parse().ok()).unwrap_or(0),
            closed_at: time("closed"),
            stopped: stopped.collect(),
        })
    }

    async fn trip(&self, now: Millis, until: Millis, trouble: Option<Trouble>) -> Result<(), StoreError> {
        let trouble = trouble.map_or("", Trouble::key).to_owned();
        let args = vec![now.0.to_string(), until.0.to_string(), trouble];
        let call = Call { keys: vec![self.keys.circuit()], args };
        self.link.invoke("pause the target", &self.scripts.trip, &[call]).await.map(drop)
    }

    async fn may_probe(&self, owner: &str, hold: Duration) -> Result<bool, StoreError> {
        let what = "ask who may probe";
        let args = vec![owner.to_owned(), hold.as_millis().to_string()];
        let call = Call { keys: vec![self.keys.probe()], args };
        let answer = self.link.invoke(what, &self.scripts.probe, &[call]).await?.pop();
        self.link.read(what, answer.unwrap_or(Value::Nil))
    }

    async fn close(&self, now: Millis) -> Result<(), StoreError> {
        let key = self.keys.circuit();
        let (mut forget, mut note) = (redis::cmd("HDEL"), redis::cmd("HSET"));
        forget.arg(&key).arg("trouble");
        note.arg(&key).arg("closed").arg(now.0);
        let commands = vec![(key.clone(), forget), (key, note)];
        self.link.pipeline("close the circuit", commands).await.map(drop)
    }

    async fn recovered(&self) -> Result<(), StoreError> {
        let mut command = redis::cmd("HDEL");
        command.arg(self.keys.circuit()).arg("pauses");
        self.link.query("note the recovery", command).await
    }

    async fn set_stopped(&self, lanes: &BTreeSet<Lane>, stopped: bool) -> Result<(), StoreError> {
        let mut command = redis::cmd(if stopped { "HSET" } else { "HDEL" });
        command.arg(self.keys.circuit());
        for lane in lanes {
            command.arg(stop_field(*lane));
            if stopped {
                command.arg(1);
            }
        }
        self.link.query("stop or start lanes", command).await
    }

    async fn beat(&self, owner: &str, now: Millis) -> Result<(), StoreError> {
        let key = self.keys.replicas();
        let (mut add, mut forget) = (redis::cmd("ZADD"), redis::cmd("ZREMRANGEBYSCORE"));
        add.arg(&key).arg(now.0).arg(owner);
        forget.arg(&key).arg("-inf").arg(now.0 - FORGOTTEN_AFTER_MS);
        let commands = vec![(key.clone(), add), (key, forget)];
        self.link.pipeline("say that this replica lives", commands).await.map(drop)
    }

    async fn leave(&self, owner: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("ZREM");
        command.arg(self.keys.replicas()).arg(owner);
        self.link.query("take this replica off the list", command).await
    }

    async fn replicas(&self, since: Millis) -> Result<u64, StoreError> {
        let mut command = redis::cmd("ZCOUNT");
        command.arg(self.keys.replicas()).arg(since.0).arg("+inf");
        self.link.query("count replicas", command).await
    }
}
