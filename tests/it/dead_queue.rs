//! Letters as they lie in the queue: foreign bytes, what the broker put there itself, and very many.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use scim_relay::broker::connection::BrokerOptions;
use scim_relay::broker::scan::{Pass, Seen};
use serde_json::json;

use crate::support::dead::{Broker, dead, letters, letters_of};
use crate::support::relay::{Relay, amqp_url, eventually, unique};
use crate::support::sandbox::Sandbox;

const FOREIGN: &[u8] = b"\xff\x00 no JSON \n at all";

async fn relay_for(sandbox: &Sandbox) -> Relay {
    let relay = Relay::configured(&sandbox.running.base_url().parse().unwrap(), None, "");
    // a delivery limit that a test can use up
    let applied = relay
        .command()
        .env("SCIM_RELAY__AMQP__DELIVERY_LIMIT", "1")
        .args(["topology", "apply"])
        .output()
        .unwrap();
    assert!(applied.status.success(), "{applied:?}");
    relay
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_no_decoder_accepts_is_sent_again_byte_for_byte() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let mut relay = relay_for(&sandbox).await;
    relay.run();
    relay.ready().await;
    let broker = Broker::connect().await;
    let properties = BasicProperties::default()
        .with_content_type("text/odd".into())
        .with_message_id("m-1".into())
        .with_app_id("hr".into());
    broker.publish(&relay.exchange, "directory.user.put", FOREIGN, properties).await;
    let letter = letters_of(&relay, 1).await.remove(0);
    assert_eq!((&letter["class"], &letter["message_id"]), (&json!("decode"), &json!("m-1")));
    let exported = dead(&relay, &["export", "--all"]).documents().remove(0);
    let raw = &exported["raw"];
    assert_eq!(STANDARD.decode(raw["body_base64"].as_str().unwrap()).unwrap(), FOREIGN);
    assert_eq!(raw["routing_key"], "directory.user.put");
    assert_eq!(raw["properties"], json!({"content-type": "text/odd", "message-id": "m-1", "app-id": "hr"}));
    let said = dead(&relay, &["replay", "--yes", "--all", "--json"]);
    assert_eq!(said.documents()[0]["dead"], 1, "{said:?}");
    let again = letters_of(&relay, 1).await.remove(0);
    assert_ne!(again["id"], letter["id"]);
    assert_eq!((&again["replays"], &again["message_id"]), (&json!(1), &json!("m-1")));
    assert_eq!(dead(&relay, &["export", "--all"]).documents(), [exported]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_is_too_large_stays_too_large_until_more_is_allowed() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let mut relay = relay_for(&sandbox).await.with("SCIM_RELAY__AMQP__MAX_EVENT_BYTES", "1KiB");
    relay.run();
    relay.ready().await;
    let event = json!({
        "specversion": "1.0", "id": "1", "source": "/hr", "type": "directory.user.put", "subject": "e-1",
        "sequence": "1", "data": {"userName": "ana@example.com", "title": "x".repeat(1_024)},
    });
    let broker = Broker::connect().await;
    let body = event.to_string();
    broker.publish(&relay.exchange, "directory.user.put", body.as_bytes(), BasicProperties::default()).await;
    letters_of(&relay, 1).await;
    let planned = dead(&relay, &["plan", "--json"]).documents().remove(0);
    assert_eq!(planned["verdict"], "would_fail", "{planned}");
    assert!(planned["why"].as_str().unwrap().starts_with("too large: "), "{planned}");
    let said = dead(&relay, &["replay", "--yes", "--all", "--json"]);
    assert_eq!((said.code, &said.documents()[0]["dead"]), (1, &json!(1)), "{said:?}");
    letters_of(&relay, 1).await;
    relay.signal("-TERM");
    relay.ended().await;
    let mut relay = relay.with("SCIM_RELAY__AMQP__MAX_EVENT_BYTES", "1MiB");
    relay.run();
    relay.ready().await;
    assert_eq!(dead(&relay, &["plan", "--json"]).documents()[0]["verdict"], "create");
    assert_eq!(dead(&relay, &["replay", "--yes", "--all"]).code, 0);
    assert_eq!(sandbox.user_names().await, ["ana@example.com"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_the_broker_gave_up_is_a_letter_with_an_id_of_its_own() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let mut relay = relay_for(&sandbox).await;
    let event = json!({
        "specversion": "1.0", "id": "1", "source": "/hr", "type": "directory.user.put", "subject": "e-1",
        "sequence": "1", "data": {"userName": "ana@example.com"},
    });
    relay.publish(&[event]);
    let broker = Broker::connect().await;
    let (work, dead_queue) =
        (format!("scim-relay.{}.work", relay.target), format!("scim-relay.{}.dead", relay.target));
    for _ in 0..2 {
        broker.crash_with_one_of(&work).await;
    }
    eventually("the broker gives up", async || (broker.ready(&dead_queue).await == 1).then_some(())).await;
    let letter = letters(&relay).remove(0);
    let id = letter["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("b-") && id.len() == 18, "{letter}");
    assert_eq!((&letter["class"], &letter["resource"]), (&json!("delivery_limit"), &json!("User/e-1")));
    for (from, to) in [("discard", "--parked"), ("restore", "--all")] {
        assert_eq!(dead(&relay, &[from, "--yes", "--all"]).code, 0);
        assert_eq!(dead(&relay, &["list", "--json", to]).documents()[0]["id"], id.as_str());
    }
    relay.run();
    relay.ready().await;
    assert_eq!(dead(&relay, &["replay", "--yes", &id]).code, 0);
    eventually("she arrives", async || (sandbox.user_names().await == ["ana@example.com"]).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn very_many_letters_are_indexed_and_summarised_quickly() {
    const LETTERS: usize = 100_000;
    let sandbox = Sandbox::with_faults(json!({})).await;
    let relay = relay_for(&sandbox).await;
    let broker = Broker::connect().await;
    let queue = format!("scim-relay.{}.dead", relay.target);
    let numbers: Vec<usize> = (0..LETTERS).collect();
    for chunk in numbers.chunks(5_000) {
        let sent = chunk.iter().map(|n| {
            let mut headers = FieldTable::default();
            for (name, value) in [
                ("class", "invalid".to_owned()),
                ("resource", format!("User/e-{n}")),
                ("detail", "the target refused the telephone number of this user".to_owned()),
                ("fingerprint", format!("{:016x}", n % 7)),
                ("last-failed-at", "2026-11-21T09:30:00.123Z".to_owned()),
            ] {
                headers.insert(format!("x-relay-{name}").into(), AMQPValue::LongString(value.into()));
            }
            let id = format!("{n:026}");
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_message_id(id.as_str().into())
                .with_headers(headers);
            broker.publish("", &queue, &[b' '; 1_000], properties)
        });
        // moved to the heap: so many futures are large
        join_all(sent.map(Box::pin)).await;
    }
    eventually("all are there", async || (broker.ready(&queue).await == LETTERS).then_some(())).await;
    let began = Instant::now();
    let said = dead(&relay, &["reindex"]);
    assert_eq!(said.out, "100000 letters indexed\n", "{said:?}");
    let indexed = began.elapsed();
    eventually("all are back", async || (broker.ready(&queue).await == LETTERS).then_some(())).await;
    let began = Instant::now();
    let summary = dead(&relay, &["summary", "--json"]);
    let summarised = began.elapsed();
    let total: u64 = summary.documents().iter().map(|group| group["count"].as_u64().unwrap()).sum();
    assert_eq!((summary.documents().len(), total), (7, 100_000));
    eprintln!("indexed in {indexed:?}, summarised in {summarised:?}");
    assert!(indexed < Duration::from_secs(60), "{indexed:?}");
    assert!(summarised < Duration::from_secs(5), "{summarised:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_pass_sees_what_the_one_before_it_has_just_given_back() {
    let broker = Broker::connect().await;
    let queue = unique("given-back");
    broker.declare(&queue).await;
    broker.publish("", &queue, b"{}", BasicProperties::default()).await;
    let options = BrokerOptions {
        url: amqp_url().parse().unwrap(),
        username: None,
        password: None,
        ca_pem: None,
        client_pem: None,
        name: "a test".into(),
    };
    for round in 0..20 {
        let mut pass = Pass::begin(&options, &queue).await.unwrap().expecting(1);
        assert!(pass.next().await.unwrap().is_some(), "round {round}");
        assert_eq!(pass.end().await.unwrap(), Seen::Part);
    }
}
