//! `run` as an orchestrator meets it: probes, signals, kills (contract s4, s5, s6).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::amqp::Amqp;
use crate::support::relay::{Relay, eventually};
use crate::support::sandbox::Sandbox;

const PEOPLE: usize = 400;

fn puts() -> Vec<Value> {
    let put = |n| {
        json!({
            "specversion": "1.0", "id": format!("id-{n}"), "source": "/hr", "type": "directory.user.put",
            "subject": format!("e-{n}"), "sequence": "1", "data": {"userName": format!("u-{n}")},
        })
    };
    (0..PEOPLE).map(put).collect()
}

#[tokio::test]
async fn it_lives_but_is_not_ready_while_redis_or_rabbitmq_is_absent() {
    for (absent, url) in [("REDIS", "redis://127.0.0.1:9/0"), ("AMQP", "amqp://127.0.0.1:9/%2f")] {
        let mut relay = Relay::configured(&"http://127.0.0.1:9/scim/v2".parse().unwrap(), None, "")
            .with(&format!("SCIM_RELAY__{absent}__URL"), url);
        relay.run();
        eventually("it lives", async || relay.get("/livez").await.filter(|(status, _)| *status == 200)).await;
        assert_eq!(relay.get("/readyz").await.map(|(status, _)| status), Some(503), "{absent}");
        eventually("the log says who is absent, and where", async || {
            relay.log().contains("127.0.0.1:9").then_some(())
        })
        .await;
        relay.signal("-TERM");
        assert_eq!(relay.ended().await.code(), Some(0), "{}", relay.log());
    }
}

#[tokio::test]
async fn it_is_ready_while_the_target_is_absent_and_dead_letters_nothing() {
    let relay = Relay::start(&"http://127.0.0.1:9/scim/v2".parse().unwrap(), None, "");
    relay.ready().await;
    relay.publish(&puts()[..5]);
    eventually("they are pending", async || {
        (relay.metric("scim_relay_resources_pending", "").await? == 5.0).then_some(())
    })
    .await;
    eventually("the log says at what address", async || {
        relay.log().contains("http://127.0.0.1:9").then_some(())
    })
    .await;
    assert_eq!(relay.metric("scim_relay_dead_letters_total", "").await, Some(0.0));
}

#[tokio::test]
async fn sigterm_under_load_exits_0_and_a_kill_loses_nothing() {
    let sandbox = Sandbox::with_faults(json!({"latency_min_ms": 30, "latency_max_ms": 60})).await;
    let base_url = sandbox.running.base_url().parse().unwrap();
    let mut relay = Relay::configured(&base_url, None, "").with("SCIM_RELAY__FLUSH__MAX_OPERATIONS", "10");
    relay.run();
    relay.ready().await;
    let amqp = Amqp::connect().await;
    for event in puts() {
        amqp.event(&relay.exchange, &event).await;
    }
    for signal in ["-TERM", "-KILL", "-KILL", "-TERM"] {
        // a signal before it listens to signals ends it like any process
        relay.ready().await;
        let before = sandbox.user_names().await.len();
        eventually("it is at work", async || {
            let now = sandbox.user_names().await.len();
            (now > before || now == PEOPLE).then_some(())
        })
        .await;
        relay.signal(signal);
        let expected = (signal == "-TERM").then_some(0);
        assert_eq!(relay.ended().await.code(), expected, "{signal}: {}", relay.log());
        relay.run();
    }
    eventually("everybody is there", async || (sandbox.user_names().await.len() >= PEOPLE).then_some(()))
        .await;
    relay.ready().await;
    let names = sandbox.user_names().await;
    let different: BTreeSet<&String> = names.iter().collect();
    assert_eq!((names.len(), different.len()), (PEOPLE, PEOPLE), "nobody twice");
    assert_eq!(amqp.count(&relay.object("dead")).await, 0);
}

#[tokio::test]
async fn every_counter_with_known_labels_begins_at_zero() {
    let relay = Relay::start(&"http://127.0.0.1:9/scim/v2".parse().unwrap(), None, "");
    relay.ready().await;
    let (_, page) = relay.get("/metrics").await.unwrap();
    for line in [
        "scim_relay_events_received_total{format=\"ignored\"} 0",
        "scim_relay_events_merged_total{result=\"stale\"} 0",
        "scim_relay_operations_total{method=\"POST\",outcome=\"unknown\"} 0",
        "scim_relay_operations_suppressed_total 0",
        "scim_relay_retries_total{class=\"exhausted\"} 0",
        "scim_relay_dead_letters_total{class=\"decode\"} 0",
        "scim_relay_resources_pending{lane=\"deprovision\"} 0",
        "scim_relay_oldest_pending_seconds{lane=\"members\"} 0",
        "scim_relay_dead_letters 0",
        "scim_relay_retry_waiting 0",
    ] {
        assert!(page.lines().any(|known| known == line), "{line}\n{page}");
    }
}
