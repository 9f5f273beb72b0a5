//! The HTTP client asks for a place in the budget before every request.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use scim_relay::core::budget::{Ask, Grant, Learnt, Limits, Micros, Pace};
use scim_relay::core::operation::{Operation, Write};
use scim_relay::core::outcome::{NotSent, Outcome, Reply};
use scim_relay::core::resource::{ExternalId, ResourceKey, ResourceType};
use scim_relay::ops::clock::SystemClock;
use scim_relay::pipeline::ports::{Budget, Clock, Failure, StoreError, Switch, Target, Transport, urgently};
use scim_relay::store::memory::MemoryStore;
use scim_relay::target::{AuthOptions, HttpTarget, Limiter, Seen, TargetOptions, TlsOptions};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::scripted::{Scripted, Step};

/// A store that is not there.
#[derive(Debug)]
struct Gone;

fn gone<T: Send + 'static>() -> BoxFuture<'static, Result<T, StoreError>> {
    let error = StoreError { what: "ask for a place in the budget".into(), source: "refused".into() };
    std::future::ready(Err(error)).boxed()
}

impl Budget for Gone {
    fn spend(&self, _: Ask, _: Option<Micros>) -> BoxFuture<'_, Result<Grant, StoreError>> {
        gone()
    }

    fn refuse(&self, _: Micros, _: Option<Micros>) -> BoxFuture<'_, Result<(), StoreError>> {
        gone()
    }

    fn free_in(&self, _: Option<Pace>) -> BoxFuture<'_, Result<Duration, StoreError>> {
        gone()
    }

    fn learnt(&self) -> BoxFuture<'_, Result<Option<Learnt>, StoreError>> {
        gone()
    }
}

fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(Arc::new(SystemClock)))
}

fn requests(rate: &str) -> Limits {
    Limits { requests: Some(rate.parse().unwrap()), burst: 1, operations: None }
}

fn target(
    server: &Scripted,
    budget: Arc<dyn Budget>,
    limits: Limits,
    stop: &CancellationToken,
) -> HttpTarget {
    // only the first test of a process installs it
    let _ = rustls::crypto::ring::default_provider().install_default();
    let timeout = Duration::from_secs(20);
    let options = TargetOptions {
        base_url: server.url("/scim/v2"),
        timeout,
        bulk_timeout: timeout,
        auth: AuthOptions::None,
        tls: TlsOptions::default(),
        profile: Arc::default(),
    };
    let target = HttpTarget::new(options, Arc::new(|_: Seen| {}), SystemTime::now).unwrap();
    target.budgeted(Limiter::new(budget, limits, SystemTime::now, stop.clone()))
}

fn create(name: &str) -> Operation {
    let key = ResourceKey::new(ResourceType::User, ExternalId::new(name).unwrap());
    Operation { key, bulk_id: name.to_owned(), write: Write::Create { body: json!({"userName": name}) } }
}

async fn send(target: &HttpTarget, name: &str, patience: Duration) -> Outcome {
    match target.send(&[create(name)], Transport::Single, Instant::now() + patience).await {
        Reply::Each(mut outcomes) => outcomes.pop().unwrap(),
        Reply::Whole(outcome) => outcome,
    }
}

fn status(outcome: &Outcome) -> Option<u16> {
    match outcome {
        Outcome::Answered(answer) => Some(answer.status),
        Outcome::Unknown(_) | Outcome::NotSent(_) => None,
    }
}

async fn creating() -> Scripted {
    Scripted::start(|_, nth| Step::json(201, json!({"id": format!("u-{nth}")}))).await
}

const PATIENT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn without_the_store_only_what_has_no_rate_is_sent() {
    let (server, stop) = (creating().await, CancellationToken::new());
    let free = target(&server, Arc::new(Gone), Limits::default(), &stop);
    assert_eq!(status(&send(&free, "a", PATIENT).await), Some(201));
    let bound = target(&server, Arc::new(Gone), requests("50/s"), &stop);
    let outcome = send(&bound, "b", PATIENT).await;
    assert_eq!(
        outcome.to_string(),
        "no place in the budget: ask for a place in the budget: refused",
        "it says why"
    );
    assert!(matches!(bound.count(ResourceType::User).await, Err(Failure::Broken(_))));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn what_waits_for_its_place_until_its_deadline_is_not_sent() {
    let (server, stop) = (creating().await, CancellationToken::new());
    let target = target(&server, memory(), requests("1/h"), &stop);
    assert_eq!(status(&send(&target, "a", PATIENT).await), Some(201));
    let outcomes = tokio::join!(
        send(&target, "b", Duration::from_millis(50)),
        send(&target, "c", Duration::from_millis(80)),
    );
    let late = Outcome::NotSent(NotSent::Deadline);
    assert_eq!(outcomes, (late.clone(), late));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn who_waits_when_the_relay_stops_is_told_so_and_what_need_not_wait_is_sent() {
    let (server, stop) = (creating().await, CancellationToken::new());
    let store = memory();
    let slow = target(&server, store.clone(), requests("1/h"), &stop);
    assert_eq!(status(&send(&slow, "a", PATIENT).await), Some(201));
    let (outcome, ()) = tokio::join!(send(&slow, "b", PATIENT), async { stop.cancel() });
    assert_eq!(outcome, Outcome::NotSent(NotSent::Budget("the relay stops".into())));
    let free = target(&server, memory(), Limits::default(), &stop);
    assert_eq!(status(&send(&free, "c", PATIENT).await), Some(201));
}

#[tokio::test]
async fn in_a_pause_only_the_probe_goes_out() {
    let server = Scripted::start(|_, _| Step::json(200, json!({"patch": {"supported": true}}))).await;
    let store = memory();
    let target = target(&server, store.clone(), Limits::default(), &CancellationToken::new());
    let now = SystemClock.now();
    store.trip(now, now.plus(Duration::from_secs(60)), None).await.unwrap();
    let outcome = send(&target, "a", PATIENT).await;
    assert_eq!(outcome, Outcome::NotSent(NotSent::Budget("the target is paused".into())));
    assert!(target.discover().await.unwrap().patch);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn the_first_429_makes_a_rate_where_none_is_configured() {
    let server = Scripted::start(|_, _| Step::answer(429, &[], "")).await;
    for (limits, learns) in [(Limits::default(), true), (requests("50/s"), false)] {
        let store = memory();
        let target = target(&server, store.clone(), limits, &CancellationToken::new());
        assert_eq!(status(&send(&target, "a", PATIENT).await), Some(429));
        assert_eq!(store.learnt().await.unwrap().is_some(), learns, "{limits:?}");
    }
}

#[tokio::test]
async fn a_429_inside_a_bulk_answer_counts_too() {
    let server = Scripted::start(|_, _| {
        Step::json(200, json!({"Operations": [{"method": "POST", "bulkId": "a", "status": "429"}]}))
    })
    .await;
    let store = memory();
    let target = target(&server, store.clone(), Limits::default(), &CancellationToken::new());
    let reply = target.send(&[create("a")], Transport::Bulk, Instant::now() + PATIENT).await;
    assert!(matches!(reply, Reply::Each(_)), "{reply:?}");
    assert!(store.learnt().await.unwrap().is_some());
}

#[tokio::test]
async fn who_is_urgent_overtakes_those_in_line() {
    let (server, stop) = (creating().await, CancellationToken::new());
    let target = target(&server, memory(), requests("20/s"), &stop);
    let names = ["a", "b", "c", "d", "e"];
    let patient = futures_util::future::join_all(names.map(|name| send(&target, name, PATIENT)));
    let urgent = async {
        // behind all the others, if it were not urgent
        tokio::task::yield_now().await;
        urgently(send(&target, "leaver", PATIENT)).await
    };
    tokio::join!(patient, urgent);
    let place = server.seen().iter().position(|request| request.body.contains("leaver")).unwrap();
    assert!(place <= 2, "place {place}");
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn a_request_that_is_sent_again_takes_a_place_again() {
    let server = Scripted::start(|request, _| match request.path.as_str() {
        "/scim/v2/Users" => Step::answer(307, &[("Location", "/elsewhere")], ""),
        _ => Step::json(201, json!({"id": "u-1"})),
    })
    .await;
    let target = target(&server, memory(), requests("1/h"), &CancellationToken::new());
    let outcome = send(&target, "a", Duration::from_millis(50)).await;
    assert_eq!(outcome, Outcome::NotSent(NotSent::Deadline), "there is no place for the second");
    assert_eq!(server.seen().len(), 1);
}
