//! The retry ladder on a real broker: a change that keeps failing passes every rung in order, and ends in `dead`.

use std::time::Duration;

use jiff::Timestamp;
use lapin::types::AMQPValue;
use serde_json::json;

use crate::support::amqp::{Amqp, Letter};
use crate::support::relay::Relay;
use crate::support::sandbox::Sandbox;

/// The delays of the relays under test, and the ends of their rungs' names.
const RUNGS: [(Duration, &str); 3] = [
    (Duration::from_millis(200), "retry.200ms"),
    (Duration::from_millis(400), "retry.400ms"),
    (Duration::from_secs(1), "retry.1s"),
];

fn instant(letter: &Letter, name: &str) -> Timestamp {
    letter.text(name).unwrap().parse().unwrap()
}

/// The next message that enters `intake` from a rung.
async fn returning(amqp: &Amqp, entered: &str) -> Letter {
    loop {
        let letter = amqp.take(entered).await;
        if letter.header("x-death").is_some() {
            return letter;
        }
    }
}

#[tokio::test]
async fn a_change_that_keeps_failing_passes_every_rung_and_ends_dead_with_its_attempts_and_times() {
    let sandbox = Sandbox::with_faults(json!({"poison": "ana", "poison_status": 500})).await;
    let relay = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, "");
    relay.ready().await;
    let amqp = Amqp::connect().await;
    let entered = relay.object("entered");
    amqp.declare(&entered, &[("x-expires", AMQPValue::LongInt(600_000))]).await;
    amqp.bind(&entered, &relay.object("intake"), "#").await;
    relay.publish(&[json!({
        "specversion": "1.0", "id": "id-1", "source": "/hr", "type": "directory.user.put", "subject": "e-1",
        "sequence": "1", "data": {"userName": "ana"},
    })]);

    let (mut first_failed_at, mut failed_at) = (Vec::new(), Vec::new());
    for (attempt, (_, rung)) in (1..).zip(RUNGS) {
        let letter = returning(&amqp, &entered).await;
        let from = letter.text("x-first-death-queue");
        assert_eq!((from, letter.int("x-relay-attempt")), (Some(relay.object(rung)), Some(attempt)));
        assert_eq!(letter.routing_key, "directory.user.intent");
        first_failed_at.push(instant(&letter, "x-relay-first-failed-at"));
        failed_at.push(instant(&letter, "x-relay-last-failed-at"));
    }
    let dead = amqp.take(&relay.object("dead")).await;
    failed_at.push(instant(&dead, "x-relay-last-failed-at"));

    assert_eq!(dead.text("x-relay-class").as_deref(), Some("exhausted"));
    assert_eq!((dead.int("x-relay-attempt"), dead.int("x-relay-http-status")), (Some(4), Some(500)));
    first_failed_at.push(instant(&dead, "x-relay-first-failed-at"));
    assert!(first_failed_at.iter().all(|at| *at == first_failed_at[0]), "{first_failed_at:?}");
    for ((delay, rung), failed) in RUNGS.iter().zip(failed_at.windows(2)) {
        let waited = failed[1].duration_since(failed[0]).unsigned_abs();
        assert!(waited >= *delay, "{rung} held it for {waited:?} only: {failed_at:?}");
    }
    assert_eq!(relay.metric("scim_relay_retries_total", "").await, Some(3.0));
    let broker_set: Vec<String> = dead.headers().into_keys().filter(|name| name.contains("death")).collect();
    assert!(broker_set.is_empty(), "{broker_set:?}");
}
