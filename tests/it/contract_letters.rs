//! Letters (contract s3.1): what they carry, where they wait, how often.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use serde_json::{Value, json};

use crate::support::amqp::{Amqp, Letter};
use crate::support::relay::{Relay, eventually};
use crate::support::sandbox::{Sandbox, user};

fn put(subject: &str, sequence: u64, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": format!("id-{sequence}"), "source": "/hr", "type": "directory.user.put",
        "subject": subject, "sequence": sequence.to_string(), "data": data,
    })
}

struct Stage {
    sandbox: Sandbox,
    relay: Relay,
    amqp: Amqp,
}

impl Stage {
    async fn with_faults(faults: Value) -> Self {
        let sandbox = Sandbox::with_faults(faults).await;
        let relay = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, "");
        relay.ready().await;
        Self { sandbox, relay, amqp: Amqp::connect().await }
    }

    async fn says(&self, event: Value) {
        self.amqp.event(&self.relay.exchange, &event).await;
    }

    async fn dead(&self) -> Letter {
        self.amqp.take(&self.relay.object("dead")).await
    }
}

fn is_ulid(text: &str) -> bool {
    text.len() == 26 && ulid::Ulid::from_string(text).is_ok()
}

fn is_instant(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok()
}

#[tokio::test]
async fn what_no_decoder_accepts_is_kept_byte_for_byte_with_its_properties() {
    let stage = Stage::with_faults(json!({})).await;
    let theirs: [(&str, AMQPValue); 6] = [
        ("text", AMQPValue::LongString("x".into())),
        ("number", AMQPValue::LongLongInt(7)),
        ("fraction", AMQPValue::Double(1.5)),
        ("flag", AMQPValue::Boolean(true)),
        ("list", AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::LongLongInt(1), AMQPValue::Void]))),
        ("at", AMQPValue::Timestamp(1_700_000_000)),
    ];
    let broker_set =
        ["x-death", "x-first-death-queue", "x-last-death-reason", "x-delivery-count", "x-acquired-count"];
    let mut table = FieldTable::default();
    for (name, value) in &theirs {
        table.insert((*name).into(), value.clone());
    }
    for name in broker_set {
        table.insert(name.into(), AMQPValue::LongString("forged".into()));
    }
    table.insert("x-relay-class".into(), AMQPValue::LongString("forged".into()));
    let properties = BasicProperties::default()
        .with_headers(table)
        .with_content_type("text/plain".into())
        .with_content_encoding("none".into())
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_type("t".into())
        .with_app_id("a".into())
        .with_message_id("theirs".into())
        .with_timestamp(1_700_000_000)
        .with_priority(3);
    let body = b"\xff\x00 no JSON";
    assert!(stage.amqp.publish(&stage.relay.exchange, "directory.user.put", properties.clone(), body).await);
    let letter = stage.dead().await;
    assert_eq!(letter.body, body);
    for (name, value) in &theirs {
        assert_eq!(letter.header(name), Some(value), "{name}");
    }
    for name in broker_set {
        // RabbitMQ 3.10 adds a count of its own to what it delivers
        assert_ne!(letter.header(name), Some(&AMQPValue::LongString("forged".into())), "{name}");
    }
    let kept = |of: &BasicProperties| {
        let texts = [
            of.content_type(),
            of.content_encoding(),
            of.correlation_id(),
            of.reply_to(),
            of.kind(),
            of.app_id(),
        ];
        (texts.map(Clone::clone), *of.timestamp(), *of.priority())
    };
    assert_eq!(kept(&letter.properties), kept(&properties));
    assert!(is_ulid(letter.properties.message_id().as_ref().unwrap().as_str()));
    let said = ["class", "message-id", "exchange", "routing-key"]
        .map(|name| letter.text(&format!("x-relay-{name}")).unwrap());
    assert_eq!(said, ["decode", "theirs", &stage.relay.exchange, "directory.user.put"]);
}

#[tokio::test]
async fn a_refused_change_is_a_letter_that_says_why_and_names_no_value() {
    let stage = Stage::with_faults(json!({"poison": "ana", "poison_status": 400})).await;
    stage.says(put("e-1", 7, json!({"userName": "ana@example.com", "title": "Confidential"}))).await;
    let letter = stage.dead().await;
    let headers = letter.headers();
    let shown: BTreeMap<&str, &str> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (name, value) in
        [("resource", "User/e-1"), ("class", "invalid"), ("operation", "POST /Users"), ("revision", "7 id-7")]
    {
        assert_eq!(shown[format!("x-relay-{name}").as_str()], value, "{shown:#?}");
    }
    let numbers = ["http-status", "attempt", "replays"].map(|name| letter.int(&format!("x-relay-{name}")));
    assert_eq!(numbers, [Some(400), Some(1), Some(0)]);
    assert_eq!(letter.texts("x-relay-event-ids"), ["id-7"]);
    for name in ["first-failed-at", "last-failed-at"] {
        assert!(is_instant(&letter.text(&format!("x-relay-{name}")).unwrap()), "{name}: {shown:#?}");
    }
    assert!(is_ulid(letter.properties.message_id().as_ref().unwrap().as_str()));
    assert!(
        !shown.is_empty()
            && shown.values().all(|value| !value.contains("ana@") && !value.contains("Confidential"))
    );
    let intent = letter.json();
    assert_eq!(
        (&intent["type"], &intent["data"]["origin"]),
        (&json!("directory.user.intent"), &json!("replay"))
    );
    assert!(is_instant(intent["data"]["firstSeen"].as_str().unwrap()), "{intent}");
}

#[tokio::test]
async fn a_resource_that_fails_while_others_succeed_climbs_the_ladder_and_is_exhausted() {
    let stage = Stage::with_faults(json!({"poison": "ana", "poison_status": 500})).await;
    stage.says(put("e-1", 1, json!({"userName": "ana"}))).await;
    let letter = eventually("a dead letter, with others succeeding meanwhile", async || {
        stage
            .says(put(
                &format!("other-{}", rand::random::<u32>()),
                1,
                json!({"userName": rand::random::<u32>().to_string()}),
            ))
            .await;
        stage.amqp.try_take(&stage.relay.object("dead")).await
    })
    .await;
    assert_eq!(
        (letter.text("x-relay-class").as_deref(), letter.int("x-relay-attempt")),
        (Some("exhausted"), Some(4))
    );
    assert_eq!(stage.relay.metric("scim_relay_retries_total", "class=\"exhausted\"").await, Some(3.0));
    // the letter has taken its attempts along, and a newer change tries at once
    stage.sandbox.set_faults(json!({})).await;
    stage.says(put("e-1", 2, json!({"userName": "ana"}))).await;
    eventually("it is there", async || {
        stage.sandbox.user_names().await.iter().any(|name| name == "ana").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_removal_that_the_target_refuses_is_dead_lettered_once() {
    let stage = Stage::with_faults(json!({})).await;
    stage.says(put("e-1", 1, json!({"userName": "ana", "title": "a"}))).await;
    // userName is required: the PATCH that removes it is refused as a whole
    stage.says(put("e-1", 2, json!({"title": "b"}))).await;
    let letter = stage.dead().await;
    assert_eq!(letter.int("x-relay-http-status"), Some(400));
    stage.says(put("e-2", 1, json!({"userName": "bob"}))).await;
    stage.relay.settled(3).await;
    assert_eq!(stage.amqp.count(&stage.relay.object("dead")).await, 0, "one letter, and no more");
    stage.says(put("e-1", 3, json!({"userName": "ana", "title": "c"}))).await;
    eventually("a newer put is applied", async || {
        let state = stage.sandbox.admin("GET", "state", None).await.body;
        state["Users"].as_array()?.iter().any(|user| user["title"] == "c").then_some(())
    })
    .await;
}

#[tokio::test]
async fn names_that_no_path_can_hold_do_not_stop_the_queue() {
    let stage = Stage::with_faults(json!({})).await;
    stage.says(put("e-1", 1, json!({"userName": "ana", "name": {"given name": "Ana"}}))).await;
    stage.says(put("e-1", 2, json!({"userName": "ana"}))).await;
    assert_eq!(stage.dead().await.text("x-relay-class").as_deref(), Some("decode"));
    eventually("what came after it is there", async || {
        (stage.sandbox.user_names().await == ["ana"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_name_that_somebody_else_has_is_tried_as_often_as_configured() {
    let stage = Stage::with_faults(json!({})).await;
    let mut theirs = user("ana");
    theirs["externalId"] = json!("theirs");
    assert_eq!(stage.sandbox.post("/Users", theirs).await.status, 201);
    stage.says(put("e-1", 1, json!({"userName": "Ana"}))).await;
    let letter = stage.dead().await;
    let class = letter.text("x-relay-class");
    assert_eq!((class.as_deref(), letter.int("x-relay-attempt")), (Some("uniqueness"), Some(4)));
    assert_eq!(
        stage.sandbox.user_names().await,
        ["ana"],
        "no account that carries another externalId is adopted"
    );
}

#[tokio::test]
async fn what_waits_in_vain_is_dead_lettered_when_its_time_is_over() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let mut relay = Relay::configured(&sandbox.running.base_url().parse().unwrap(), None, "")
        .with("SCIM_RELAY__EVENTS__WAIT_FOR_BASE", "500ms")
        .with("SCIM_RELAY__REFERENCES__WAIT", "500ms");
    relay.run();
    relay.ready().await;
    let amqp = Amqp::connect().await;
    let event = |kind: &str, subject: &str, data: Value| {
        json!({
            "specversion": "1.0", "id": subject, "source": "/hr", "type": format!("directory.{kind}"),
            "subject": subject, "sequence": "1", "data": data,
        })
    };
    let patch = json!({"Operations": [{"op": "add", "path": "title", "value": "a"}]});
    amqp.event(&relay.exchange, &event("user.patch", "never-put", patch)).await;
    let said = async |amqp: &Amqp| {
        let letter = amqp.take(&relay.object("dead")).await;
        (letter.text("x-relay-class").unwrap(), letter.text("x-relay-resource").unwrap())
    };
    assert_eq!(said(&amqp).await, ("incomplete".to_owned(), "User/never-put".to_owned()));
    let members = json!({"displayName": "G", "members": [{"value": "nobody"}]});
    let begun = std::time::Instant::now();
    amqp.event(&relay.exchange, &event("group.put", "g-1", members)).await;
    assert_eq!(said(&amqp).await, ("unresolved_reference".to_owned(), "Group/g-1".to_owned()));
    assert!(begun.elapsed().as_secs() < 15, "half a second was configured");
    let state = sandbox.admin("GET", "state", None).await.body;
    assert_eq!(state["Groups"][0]["displayName"], "G", "the rest of the resource is applied");
}
