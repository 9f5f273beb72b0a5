//! Recovery from losses of Redis, on real servers.

use serde_json::{Value, json};

use scim_relay::sample::{Size, compare, generate};

use crate::support::dead::{dead, letters_of};
use crate::support::events::event;
use crate::support::redis_servers::RedisServers;
use crate::support::relay::{Relay, eventually};
use crate::support::sandbox::Sandbox;

fn put(sequence: usize, n: usize, data: &Value) -> Value {
    let mut data = data.clone();
    data["userName"] = json!(format!("u-{n}"));
    event(sequence, "user.put", &format!("e-{n}"), data)
}

/// A relay whose store is a server of the test's own.
async fn relay(sandbox: &Sandbox, redis: &RedisServers) -> Relay {
    let mut relay = Relay::configured(&sandbox.running.base_url().parse().unwrap(), None, "")
        .with("SCIM_RELAY__REDIS__URL", redis.url(0));
    relay.run();
    relay.ready().await;
    relay
}

async fn titled(sandbox: &Sandbox, title: &Value, count: usize) {
    eventually(&format!("{count} have the title {title}"), async || {
        let state = sandbox.admin("GET", "state", None).await.body;
        let have = state["Users"].as_array().unwrap().iter().filter(|user| user["title"] == *title).count();
        (have == count).then_some(())
    })
    .await;
}

async fn merged(relay: &Relay, count: usize) {
    eventually(&format!("{count} events are merged"), async || {
        let merged = relay.metric("scim_relay_events_received_total", "format=\"cloudevents\"").await?;
        (merged >= count as f64).then_some(())
    })
    .await;
}

async fn recovered(relay: &Relay, reason: &str) {
    eventually(&format!("a recovery, reason {reason}"), async || {
        let count = relay.metric("scim_relay_recoveries_total", &format!("reason=\"{reason}\"")).await?;
        (count >= 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_was_pending_when_redis_was_emptied_is_applied_from_the_journal() {
    let (sandbox, redis) = (Sandbox::with_faults(json!({})).await, RedisServers::one(&[]).await);
    let relay = relay(&sandbox, &redis).await;
    let with_title: Vec<Value> = (0..20).map(|n| put(1, n, &json!({"title": "first"}))).collect();
    relay.publish(&with_title);
    titled(&sandbox, &json!("first"), 20).await;
    assert!(relay.command().arg("pause").status().unwrap().success());
    let mut later: Vec<Value> = (0..10).map(|n| put(2, n, &json!({}))).collect();
    later.extend((10..20).map(|n| put(2, n, &json!({"title": "second"}))));
    later.push(event(3, "user.deactivate", "e-19", json!(null)));
    later.push(put(3, 20, &json!({"title": "second"})));
    relay.publish(&later);
    merged(&relay, later.len() + 20).await;
    redis.command::<()>(0, &["FLUSHALL"]).await;
    recovered(&relay, "emptied").await;
    titled(&sandbox, &json!("second"), 11).await;
    titled(&sandbox, &json!(null), 10).await;
    eventually("the leaver is inactive", async || {
        let state = sandbox.admin("GET", "state", None).await.body;
        let users = state["Users"].as_array().unwrap().clone();
        assert!(users.len() <= 21, "nobody is created twice");
        users.iter().any(|user| user["userName"] == "u-19" && user["active"] == false).then_some(())
    })
    .await;
    assert_eq!(relay.metric("scim_relay_dead_letters", "").await, Some(0.0));
}

#[tokio::test]
async fn a_store_that_dies_with_all_replicas_is_recovered_when_one_comes_back() {
    let (sandbox, mut redis) = (Sandbox::with_faults(json!({})).await, RedisServers::one(&[]).await);
    let mut first = relay(&sandbox, &redis).await;
    let sample = generate(5, Size { people: 60, groups: 6, events: 1_500, managers: true });
    let (before, after) = sample.events.split_at(900);
    first.publish(before);
    eventually("some are written", async || (sandbox.writes().await > 0).then_some(())).await;
    first.signal("-KILL");
    redis.kill();
    first.ended().await;
    redis.restart().await;
    first.publish(after);
    first.run();
    recovered(&first, "emptied").await;
    eventually("the sandbox equals the directory", async || {
        let state = sandbox.admin("GET", "state", None).await.body;
        compare(&sample.expected, &state).is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn without_a_journal_a_letter_from_before_a_loss_is_only_applied_when_an_operator_accepts_that_it_is_old()
 {
    let (sandbox, redis) = (Sandbox::with_faults(json!({})).await, RedisServers::one(&[]).await);
    let mut relay = Relay::configured(&sandbox.running.base_url().parse().unwrap(), None, "")
        .with("SCIM_RELAY__REDIS__URL", redis.url(0))
        .with("SCIM_RELAY__JOURNAL__ENABLED", "false");
    relay.run();
    relay.ready().await;
    assert!(relay.log().contains("journal.enabled is false"), "what is given up is said at the start");
    let shown = relay.command().args(["topology", "show"]).output().unwrap();
    assert!(!String::from_utf8(shown.stdout).unwrap().contains("stream"), "none is declared");
    sandbox.set_faults(json!({"poison": "u-1", "poison_status": 400})).await;
    relay.publish(&[put(1, 1, &json!({"title": "old"}))]);
    letters_of(&relay, 1).await;
    sandbox.set_faults(json!({})).await;
    redis.command::<()>(0, &["FLUSHALL"]).await;
    recovered(&relay, "emptied").await;
    relay.ready().await;
    let plan = dead(&relay, &["plan", "--all", "--json"]);
    assert_eq!(plan.documents()[0]["verdict"], "unknown_history", "{plan:?}");
    let refused = dead(&relay, &["replay", "--all", "--yes"]);
    assert!(refused.code == 1 && refused.err.contains("--accept-stale"), "{refused:?}");
    let accepted = dead(&relay, &["replay", "--all", "--yes", "--accept-stale"]);
    assert!(accepted.code == 0 && accepted.out.contains("1 applied"), "{accepted:?}");
    titled(&sandbox, &json!("old"), 1).await;
}
