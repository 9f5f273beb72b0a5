//! One request to the SCIM endpoints from its bytes to its end, faults included.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::answer::Answer;
use super::bulk::operations_of;
use super::clock;
use super::endpoint::Endpoint;
use super::error::{Refusal, ScimType};
use super::etag::Condition;
use super::fate::{self, Fate, Nature};
use super::faults::{Faults, RetryAfterForm};
use super::log::Entry;
use super::manners::Below;
use super::service::{self, Call};
use super::world::World;

/// What leaves the sandbox.
#[derive(Debug)]
pub enum Ending {
    /// The answer.
    Answer(Answer),
    /// Nothing, ever.
    Silence,
    /// A cut connection.
    Cut,
    /// Half of the answer.
    Half(Answer),
    /// A web page with status 200.
    Html,
}

/// Carries a request out. Runs to its end even if the client has gone.
pub async fn run(world: Arc<World>, parts: Parts, body: Bytes) -> Ending {
    let exchange = Exchange::new(&world, &parts, &body);
    let (fate, latency) = exchange.begin(&world, &parts.headers);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let ending = match fate {
        Ok(fate) => exchange.end(&world, fate).await,
        Err(answer) => exchange.answered(&world, answer),
    };
    match ending {
        Ending::Answer(answer) => Ending::Answer(world.manners.dress(answer)),
        Ending::Half(answer) => Ending::Half(world.manners.dress(answer)),
        ending @ (Ending::Silence | Ending::Cut | Ending::Html) => ending,
    }
}

struct Exchange {
    number: u64,
    call: Call,
    nature: Nature,
    operations: usize,
    now: Timestamp,
}

impl Exchange {
    fn new(world: &World, parts: &Parts, body: &Bytes) -> Self {
        let now = clock::now();
        let path = parts.uri.path();
        let method = parts.method.as_str().to_owned();
        let Below { base, rest } = world.manners.below(path).unwrap_or(Below { base: "", rest: path });
        let endpoint = Endpoint::parse(rest, &world.manners);
        let nature = match &endpoint {
            Ok(endpoint) => endpoint.nature(&method),
            Err(_) => Nature::Read,
        };
        let json = parsed(world, &parts.headers, body);
        let operations = match (nature, &json) {
            (Nature::Read, _) => 0,
            (Nature::Write, _) => 1,
            (Nature::Bulk, Ok(Some(json))) => operations_of(json),
            (Nature::Bulk, _) => 0,
        };
        let entry = Entry {
            at: now,
            method: method.clone(),
            path: path.to_owned(),
            status: 0,
            bytes: body.len(),
            operations,
        };
        let number = world.lock().log.begin(entry);
        let call = Call {
            method,
            endpoint,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            if_match: condition(&parts.headers, "if-match"),
            if_none_match: condition(&parts.headers, "if-none-match"),
            body: json,
            bytes: body.len(),
            base: format!("{}{base}", origin(world, &parts.headers)),
        };
        Self { number, call, nature, operations, now }
    }

    /// Authentication, limits and chance: how the request ends, and how long it takes.
    fn begin(&self, world: &World, headers: &HeaderMap) -> (Result<Fate, Answer>, std::time::Duration) {
        let mut state = world.lock();
        let authorization = headers.get("authorization").and_then(|it| it.to_str().ok());
        if let Err(refusal) = state.auth.check(authorization, self.now) {
            return (Err(refusal.into()), std::time::Duration::ZERO);
        }
        let faults = state.provider.faults.clone();
        if let Err(seconds) = state.within_limits(self.operations, self.now) {
            let answer = busy(Refusal::new(429, "too many requests"), &faults, (seconds, self.now));
            return (Err(answer), std::time::Duration::ZERO);
        }
        let dice = &mut state.provider.dice;
        let latency = fate::latency(&faults, dice, self.operations);
        match fate::decide(&faults, dice, self.nature) {
            Fate::Refused(status) => (Err(refused(status, &faults, self.now)), latency),
            fate => (Ok(fate), latency),
        }
    }

    async fn end(self, world: &Arc<World>, fate: Fate) -> Ending {
        match fate {
            Fate::HangsBefore => {
                self.apply_late(world);
                Ending::Silence
            }
            Fate::DropsBefore => Ending::Cut,
            Fate::Refused(status) => {
                let answer = refused(status, &world.lock().provider.faults, self.now);
                self.answered(world, answer)
            }
            Fate::Answered => {
                let (number, answer) = self.apply(world);
                world.lock().log.finish(number, answer.status);
                Ending::Answer(answer)
            }
            Fate::HangsAfter => {
                self.apply(world);
                Ending::Silence
            }
            Fate::DropsAfter => {
                self.apply(world);
                Ending::Cut
            }
            Fate::Truncated => {
                let (number, answer) = self.apply(world);
                world.lock().log.finish(number, answer.status);
                Ending::Half(answer)
            }
            Fate::Html => {
                let (number, _) = self.apply(world);
                world.lock().log.finish(number, 200);
                Ending::Html
            }
        }
    }

    fn apply(self, world: &World) -> (u64, Answer) {
        let mut state = world.lock();
        (self.number, service::answer(self.call, &mut state.provider, clock::now()))
    }

    fn answered(self, world: &World, answer: Answer) -> Ending {
        world.lock().log.finish(self.number, answer.status);
        Ending::Answer(answer)
    }

    /// The request that the client gives up is applied all the same.
    fn apply_late(self, world: &Arc<World>) {
        let (delay, era) = {
            let state = world.lock();
            (state.provider.faults.late_apply_ms, state.era)
        };
        if delay == 0 {
            return;
        }
        let later = world.clone();
        world.tasks.spawn(async move {
            tokio::select! {
                () = later.stop.cancelled() => {}
                () = tokio::time::sleep(std::time::Duration::from_millis(delay)) => {
                    if later.lock().era == era {
                        self.apply(&later);
                    }
                }
            }
        });
    }
}

/// The JSON of a body; none where it is empty.
fn parsed(world: &World, headers: &HeaderMap, body: &Bytes) -> Result<Option<Value>, Refusal> {
    if body.is_empty() {
        return Ok(None);
    }
    world.manners.check_media_type(headers.get("content-type").and_then(|it| it.to_str().ok()))?;
    let wrong = |error: serde_json::Error| {
        Refusal::of(ScimType::InvalidSyntax, format!("the body is no JSON: {error}"))
    };
    serde_json::from_slice(body).map(Some).map_err(wrong)
}

fn condition(headers: &HeaderMap, name: &str) -> Option<Condition> {
    headers.get(name).map(|value| Condition::parse(value.to_str().unwrap_or_default()))
}

/// The address that the client used, so that locations lead back the same way.
pub fn origin(world: &World, headers: &HeaderMap) -> String {
    let host = headers.get("host").and_then(|it| it.to_str().ok()).filter(|it| !it.is_empty());
    match host {
        Some(host) => format!("http://{host}"),
        None => format!("http://{}", world.address),
    }
}

/// A fault of the whole request.
fn refused(status: u16, faults: &Faults, now: Timestamp) -> Answer {
    let refusal = |detail: &str| Refusal::new(status, detail);
    match status {
        429 => busy(refusal("too many requests"), faults, (faults.retry_after, now)),
        503 => busy(refusal("not available"), faults, (faults.retry_after, now)),
        401 => refusal("the token is not accepted").into(),
        _ => refusal("something went wrong").into(),
    }
}

fn busy(refusal: Refusal, faults: &Faults, (seconds, now): (u64, Timestamp)) -> Answer {
    let wait = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    let value = match faults.retry_after_form {
        RetryAfterForm::Seconds => Some(seconds.to_string()),
        RetryAfterForm::HttpDate => {
            let until = now.saturating_add(wait).unwrap_or(now);
            Some(httpdate::fmt_http_date(until.into()))
        }
        RetryAfterForm::Body => {
            let detail = format!("{}: retry the request in {seconds} seconds", refusal.detail);
            return Refusal { detail, ..refusal }.into();
        }
        RetryAfterForm::None => None,
    };
    Answer::from(refusal).with_some("retry-after", value)
}
