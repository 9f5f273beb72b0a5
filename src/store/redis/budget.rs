//! The budget of requests: one hash in the bucket of the switch, so that one script sees both.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::Value;

use super::RedisStore;
use super::scripts::Call;
use crate::core::budget::{Ask, Books, Budgeted, Grant, Learnt, Micros, Pace, micros};
use crate::pipeline::ports::{Budget, StoreError};

const WHAT: &str = "ask for a place in the budget";

impl Budget for RedisStore {
    fn spend(&self, ask: Ask, now: Option<Micros>) -> BoxFuture<'_, Result<Grant, StoreError>> {
        async move {
            let requests = ask.requests.map_or([0; 3], |Pace { slot, late, ahead, .. }| [slot, late, ahead]);
            let operations = ask.operations.map_or([0; 2], |Pace { slot, late, .. }| [slot, late]);
            let mut args = vec![
                self.tokens.next(),
                text(now),
                ask.clock.map(|clock| clock.0.to_string()).unwrap_or_default(),
                u8::from(ask.urgent).to_string(),
            ];
            args.extend(requests.iter().chain(&operations).map(ToString::to_string));
            args.push(ask.cost.to_string());
            let call = Call { keys: vec![self.keys.budget(), self.keys.circuit()], args };
            let answer = self.link.invoke(WHAT, &self.scripts.spend, &[call]).await?.pop();
            let (what, time): (u8, i64) = self.link.read(WHAT, answer.unwrap_or(Value::Nil))?;
            Ok(match what {
                0 => Grant::Taken(Micros(time), Budgeted::Yes),
                1 => Grant::Taken(Micros(time), Budgeted::No),
                2 => Grant::Wait(micros(time)),
                _ => Grant::Paused,
            })
        }
        .boxed()
    }

    fn refuse(&self, taken: Micros, now: Option<Micros>) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let args = vec![text(Some(taken)), text(now)];
            let call = Call { keys: vec![self.keys.budget()], args };
            self.link.invoke("cut the learnt rate", &self.scripts.refuse, &[call]).await.map(drop)
        }
        .boxed()
    }

    fn free_in(&self, requests: Option<Pace>) -> BoxFuture<'_, Result<Duration, StoreError>> {
        async move {
            let key = self.keys.budget();
            let (mut fields, time) = (redis::cmd("HMGET"), redis::cmd("TIME"));
            fields.arg(&key).arg("next").arg("ops").arg("rate");
            let mut answers =
                self.link.pipeline(WHAT, vec![(key.clone(), fields), (key, time)]).await?.into_iter();
            let mut next = || answers.next().unwrap_or(Value::Nil);
            let (place, operations, rate): (Option<i64>, Option<i64>, Option<i64>) =
                self.link.read(WHAT, next())?;
            let (seconds, rest): (i64, i64) = self.link.read(WHAT, next())?;
            let learnt = rate.map(|rate| Learnt { rate, step: 0, cut: Micros(0) });
            let (place, operations) = (place.unwrap_or(0), operations.unwrap_or(0));
            let books = Books { next: place, operations, learnt, ..Books::default() };
            Ok(books.free_in(requests, Micros(seconds * 1_000_000 + rest)))
        }
        .boxed()
    }

    fn learnt(&self) -> BoxFuture<'_, Result<Option<Learnt>, StoreError>> {
        async move {
            let mut command = redis::cmd("HMGET");
            command.arg(self.keys.budget()).arg("rate").arg("step").arg("cut");
            let fields: (Option<i64>, Option<i64>, Option<i64>) =
                self.link.query("read the learnt rate", command).await?;
            let (Some(rate), Some(step), Some(cut)) = fields else { return Ok(None) };
            Ok(Some(Learnt { rate, step, cut: Micros(cut) }))
        }
        .boxed()
    }
}

fn text(time: Option<Micros>) -> String {
    time.map(|time| time.0.to_string()).unwrap_or_default()
}
