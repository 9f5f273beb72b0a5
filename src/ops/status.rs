//! `status`: one screen of what is pending, what waits, what is dead.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::broker::connection::BrokerError;
use crate::broker::inspector::Inspector;
use crate::broker::topology::Names;
use crate::core::budget::{Learnt, Limits};
use crate::core::disposition::Trouble;
use crate::core::generation::Stamp;
use crate::core::schedule::{Lane, Millis};
use crate::pipeline::letters::rfc3339;
use crate::pipeline::ports::{Budget, Store, StoreError};
use crate::pipeline::recover::stamp;
use crate::pipeline::settings::ALIVE;

/// Why a status could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker did not answer.
    #[error(transparent)]
    Broker(BrokerError),
    /// The topology is not there.
    #[error("{0}; run `scim-relay topology apply` first")]
    NoTopology(BrokerError),
}

impl From<BrokerError> for StatusError {
    fn from(error: BrokerError) -> Self {
        if error.is_not_found() { StatusError::NoTopology(error) } else { StatusError::Broker(error) }
    }
}

/// What there is.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The target's name.
    pub target: String,
    /// Resources in the schedule, per lane.
    pub pending: BTreeMap<&'static str, u64>,
    /// Seconds for which the oldest is due, per lane.
    pub oldest_seconds: BTreeMap<&'static str, f64>,
    /// Messages ready, per queue.
    pub queues: BTreeMap<String, u32>,
    /// The circuit breaker: `closed`, `half-open` or `open`.
    pub circuit: &'static str,
    /// What is wrong with the target, if something is.
    pub trouble: Option<&'static str>,
    /// Seconds until somebody may send again.
    pub paused_seconds: f64,
    /// Lanes that an operator stopped.
    pub stopped: Vec<&'static str>,
    /// Replicas that are alive.
    pub replicas: u64,
    /// What limits requests.
    pub budget: BudgetStatus,
    /// What the store has lost, while that is being merged from the journal again: nothing is sent meanwhile.
    pub recovery: Option<RecoveryStatus>,
}

/// A recovery that is running.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecoveryStatus {
    /// `first`, `emptied` or `moved`.
    pub cause: &'static str,
    /// Since when: RFC 3339.
    pub since: String,
}

impl RecoveryStatus {
    fn of(stamp: &Stamp) -> Option<Self> {
        let running = Self { cause: stamp.cause.name(), since: rfc3339(stamp.since) };
        (!stamp.ready).then_some(running)
    }
}

/// The budget that all replicas share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetStatus {
    /// Where the rate of requests comes from: `configured`, `learnt` or `none`.
    pub source: &'static str,
    /// Requests in a time, such as `50/s`; none: any number.
    pub requests: Option<String>,
    /// Operations in a time; none: any number.
    pub operations: Option<String>,
}

impl BudgetStatus {
    fn new(limits: &Limits, learnt: Option<Learnt>) -> Self {
        let (source, requests) = match (limits.requests, learnt) {
            (Some(rate), _) => ("configured", Some(rate.to_string())),
            (None, Some(learnt)) => ("learnt", Some(per_second(learnt.rate))),
            (None, None) => ("none", None),
        };
        Self { source, requests, operations: limits.operations.map(|rate| rate.to_string()) }
    }

    fn to_text(&self) -> String {
        let requests = self.requests.as_ref().map(|rate| {
            let (count, unit) = rate.split_once('/').unwrap_or((rate, "s"));
            format!("{count} requests/{unit} ({})", self.source)
        });
        let operations = self.operations.as_ref().map(|rate| {
            let (count, unit) = rate.split_once('/').unwrap_or((rate, "s"));
            format!("{count} operations/{unit} (configured)")
        });
        let all: Vec<String> = requests.into_iter().chain(operations).collect();
        if all.is_empty() { "any rate".to_owned() } else { all.join(", ") }
    }
}

/// With one digit after the point.
fn per_second(thousandths: i64) -> String {
    let tenths = (thousandths + 50) / 100;
    format!("{}.{}/s", tenths / 10, tenths % 10)
}

impl Status {
    /// Reads it.
    pub async fn read<S: Store + Budget>(
        target: &str,
        store: &S,
        inspector: &Inspector,
        delays: &[Duration],
        limits: &Limits,
        now: Millis,
    ) -> Result<Self, StatusError> {
        let backlog = store.backlog().await?;
        let count = |lane: Lane| backlog.pending.get(&lane).copied().unwrap_or(0);
        let age = |lane: Lane| backlog.oldest.get(&lane).map_or(0.0, |at| now.since(*at).as_secs_f64());
        let names = Names::new(target);
        let mut queues = BTreeMap::new();
        for queue in ["work", "urgent", "dead", "held", "parked", "unrouted"] {
            queues.insert(queue.to_owned(), inspector.ready(&names.of(queue)).await?);
        }
        let mut waiting = 0;
        for delay in delays {
            waiting += inspector.ready(&names.rung(*delay)).await?;
        }
        queues.insert("retry".to_owned(), waiting);
        let circuit = store.circuit().await?;
        let replicas = store.replicas(now.minus(ALIVE)).await?;
        Ok(Self {
            circuit: circuit.state(now).name(),
            trouble: circuit.trouble.map(Trouble::name),
            paused_seconds: circuit.paused_until.map_or(0.0, |until| until.since(now).as_secs_f64()),
            stopped: circuit.stopped.iter().map(|lane| lane.name()).collect(),
            replicas,
            budget: BudgetStatus::new(limits, store.learnt().await?),
            recovery: stamp(store).await?.as_ref().and_then(RecoveryStatus::of),
            target: target.to_owned(),
            pending: Lane::ALL.into_iter().map(|lane| (lane.name(), count(lane))).collect(),
            oldest_seconds: Lane::ALL.into_iter().map(|lane| (lane.name(), age(lane))).collect(),
            queues,
        })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut text =
            format!("target {}\n\n{:<13}{:>10}{:>16}\n", self.target, "lane", "pending", "oldest due");
        for lane in Lane::ALL {
            let (count, age) = (self.pending[lane.name()], self.oldest_seconds[lane.name()]);
            text.push_str(&format!("{:<13}{count:>10}{age:>14.1} s\n", lane.name()));
        }
        text.push_str(&format!("\n{:<13}{:>10}\n", "queue", "ready"));
        for (queue, count) in &self.queues {
            text.push_str(&format!("{queue:<13}{count:>10}\n"));
        }
        let trouble = self.trouble.map(|trouble| format!(" ({trouble})")).unwrap_or_default();
        text.push_str(&format!("\n{:<13}{:>10}{trouble}\n", "circuit", self.circuit));
        if self.paused_seconds > 0.0 {
            text.push_str(&format!("{:<13}{:>8.1} s\n", "paused for", self.paused_seconds));
        }
        if !self.stopped.is_empty() {
            text.push_str(&format!(
                "{:<13}{} (by an operator: `scim-relay resume`)\n",
                "stopped",
                self.stopped.join(", ")
            ));
        }
        text.push_str(&format!("{:<13}{:>10}\n", "replicas", self.replicas));
        text.push_str(&format!("{:<13}{}\n", "budget", self.budget.to_text()));
        if let Some(RecoveryStatus { cause, since }) = &self.recovery {
            text.push_str(&format!("{:<13}{cause}, since {since}: nothing is sent\n", "recovery"));
        }
        text.trim_end().to_owned()
    }

    /// For programs.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::generation::{Cause, Generation};

    #[test]
    fn a_recovery_is_shown_while_it_runs() {
        let stamp = |ready| Stamp {
            generation: Generation(1),
            cause: Cause::Emptied,
            since: Millis(0),
            ready,
            nodes: [].into(),
            begins: None,
        };
        let running = RecoveryStatus { cause: "emptied", since: "1970-01-01T00:00:00Z".into() };
        assert_eq!(RecoveryStatus::of(&stamp(false)), Some(running));
        assert_eq!(RecoveryStatus::of(&stamp(true)), None);
    }
}
