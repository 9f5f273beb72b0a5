//! `trace`: what became of a resource's events, from the journal, the outcomes and the letters.

use scim_relay::core::trace::{Decision, Outcome};
use serde_json::{Value, json};

use crate::schemas::{committed, fits, validator};
use crate::support::dead::{Said, dead, letters_of, run};
use crate::support::events::event;
use crate::support::relay::{Relay, eventually};
use crate::support::sandbox::Sandbox;

/// A sandbox, and a relay for it.
async fn stage(more: &str) -> (Sandbox, Relay) {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let relay = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, more);
    relay.ready().await;
    (sandbox, relay)
}

fn put(sequence: usize, title: &str) -> Value {
    event(sequence, "user.put", "e-1", json!({"userName": "ana@example.com", "title": title}))
}

/// The documents of a trace, each of which fits the schema and holds no value.
fn traced(relay: &Relay, arguments: &[&str]) -> Vec<Value> {
    let said = run(relay, &[&["trace", "User/e-1", "--json"], arguments].concat());
    assert_eq!(said.code, 0, "{said:?}");
    for value in ["Clerk", "Chief", "ana@example.com"] {
        assert!(!said.out.contains(value) && !said.err.contains(value), "{said:?}");
    }
    let (validator, documents) = (validator("trace.json"), said.documents());
    documents.iter().for_each(|document| fits(&validator, document));
    documents
}

/// Each line's word: an event's ID with its outcome, a write's purpose, a decision.
fn words(documents: &[Value]) -> Vec<String> {
    let text = |document: &Value, name: &str| document[name].as_str().unwrap().to_owned();
    let word = |document: &Value| match text(document, "kind").as_str() {
        "event" => format!("{} {}", text(document, "event_id"), text(document, "outcome")),
        "write" => text(document, "purpose"),
        _ => text(document, "decision"),
    };
    documents.iter().map(word).collect()
}

/// Publishes one event, and waits until its outcome is this.
async fn publish(relay: &Relay, event: &Value, outcome: &str) {
    relay.publish(std::slice::from_ref(event));
    let expected = format!("{} {outcome}", event["id"].as_str().unwrap());
    eventually(&expected, async || {
        let told = words(&traced(relay, &[]));
        told.contains(&expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_event_of_a_person_has_its_outcome_and_the_request_that_carried_it() {
    let (sandbox, relay) = stage("").await;
    publish(&relay, &put(10, "Clerk"), "applied").await;
    publish(&relay, &put(20, "Chief"), "applied").await;
    publish(&relay, &put(15, "Clerk"), "superseded").await;
    publish(&relay, &put(21, "Chief"), "no-op").await;
    publish(&relay, &event(30, "user.deactivate", "e-1", json!(null)), "applied").await;
    sandbox.set_faults(json!({"poison": "ana", "poison_status": 400})).await;
    let title = json!({"Operations": [{"op": "replace", "path": "title", "value": "Clerk"}]});
    publish(&relay, &event(40, "user.patch", "e-1", title), "dead").await;
    let odd = json!({"Operations": [{"op": "replace", "path": "emails[0]", "value": "Clerk"}]});
    publish(&relay, &event(50, "user.patch", "e-1", odd), "dead").await;
    // somebody else's
    relay.publish(&[event(60, "user.put", "e-10", json!({"userName": "bob@example.com"}))]);
    eventually("bob arrives", async || (sandbox.user_names().await.len() == 2).then_some(())).await;

    let told = traced(&relay, &[]);
    let expected = [
        "e10 applied",
        "create",
        "e20 applied",
        "update",
        "e15 superseded",
        "e21 no-op",
        "e30 applied",
        "deactivate",
        "e40 dead",
        "dead",
        "e50 dead",
    ];
    assert_eq!(words(&told), expected);
    let (leaver, write) = (&told[6], &told[7]);
    let id = sandbox.admin("GET", "state", None).await.body["Users"][0]["id"].clone();
    let path = format!("/Users/{}", id.as_str().unwrap());
    assert_eq!(
        (leaver["operation"].as_str(), &leaver["http_status"], &leaver["applied_at"]),
        (Some(format!("PATCH {path}").as_str()), &write["http_status"], &write["at"]),
    );
    assert_eq!((&write["event_ids"], &write["paths"]), (&json!(["e30"]), &json!(["active"])));
    assert_eq!((&told[8]["class"], &told[10]["class"]), (&json!("invalid"), &json!("unsupported_patch")));
    assert_eq!(dead(&relay, &["show", told[8]["letter"].as_str().unwrap()]).code, 0);

    // for people
    let text = run(&relay, &["trace", "User/e-1"]).out;
    let line = text.lines().find(|line| line.contains("directory.user.deactivate e30")).unwrap();
    assert!(line.contains(&format!("sequence 30: applied by PATCH {path}, status ")), "{text}");

    // a letter that is given up, and one that is sent again once the target takes it
    let letters = letters_of(&relay, 2).await;
    let of =
        |class: &str| letters.iter().find(|letter| letter["class"] == class).unwrap()["id"].as_str().unwrap();
    assert_eq!(dead(&relay, &["discard", "--yes", of("unsupported_patch")]).code, 0);
    sandbox.set_faults(json!({})).await;
    let replayed = dead(&relay, &["replay", "--yes", of("invalid")]);
    assert_eq!(replayed.code, 0, "{replayed:?}");
    eventually("both letters have another outcome", async || {
        let told = words(&traced(&relay, &[]));
        (told.contains(&"e40 applied".to_owned()) && told.contains(&"e50 parked".to_owned())).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_is_pending_held_rejected_and_ignored_is_told() {
    let guard = "[deprovision]\nguard = { max_per_hour = 0, max_percent = 100, min_resources = 0 }\n";
    let (_sandbox, relay) = stage(guard).await;
    publish(&relay, &put(1, "Clerk"), "applied").await;
    publish(&relay, &event(2, "user.deactivate", "e-1", json!(null)), "held").await;
    let rejected = run(&relay, &["held", "reject", "--yes", "--all"]);
    assert_eq!(rejected.code, 0, "{rejected:?}");
    eventually("it is rejected", async || {
        words(&traced(&relay, &[])).contains(&"e2 superseded".to_owned()).then_some(())
    })
    .await;
    assert_eq!(run(&relay, &["pause"]).code, 0);
    let stopped = async || relay.log().contains("an operator stopped or started lanes").then_some(());
    eventually("the relay has stopped", stopped).await;
    publish(&relay, &put(3, "Chief"), "pending").await;
    let told = words(&traced(&relay, &[]));
    let expected = ["e1 applied", "create", "e2 superseded", "held", "rejected", "e3 pending"];
    assert_eq!(told, expected);
    assert_eq!(words(&traced(&relay, &["--since", "1h"])), expected);
    assert_eq!(run(&relay, &["resume"]).code, 0);
    publish(&relay, &event(4, "user.deactivate", "e-1", json!(null)), "held").await;
    let approved = run(&relay, &["held", "approve", "--yes", "--all"]);
    assert_eq!(approved.code, 0, "{approved:?}");
    eventually("it is approved and written", async || {
        let told = words(&traced(&relay, &[]));
        let has = |word: &str| told.iter().any(|told| told == word);
        (has("e4 applied") && has("approved") && has("deactivate")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_trace_of_nothing_exits_1_and_wrong_words_2() {
    let (_sandbox, relay) = stage("").await;
    let trace = |arguments: &[&str]| run(&relay, &[&["trace"], arguments].concat());
    let nothing = trace(&["User/nobody"]);
    assert_eq!((nothing.code, nothing.out.as_str()), (1, ""), "{nothing:?}");
    assert!(nothing.err.contains("nothing is known about User/nobody"), "{nothing:?}");
    let is_usage = |said: Said, why: &str| assert!(said.code == 2 && said.err.contains(why), "{said:?}");
    is_usage(trace(&["nobody"]), "User/e-10042");
    is_usage(trace(&["User/e-1", "--since", "yesterday"]), "neither a time (RFC 3339) nor an age");
    is_usage(trace(&["User/e-1", "--since", "2999-01-01T00:00:00Z"]), "future");
}

#[test]
fn the_trace_s_schema_has_every_outcome_and_decision_and_refuses_other_lines() {
    let schema = committed("trace.json");
    let outcomes = Outcome::ALL.map(Outcome::name);
    assert_eq!(schema["$defs"]["event"]["properties"]["outcome"]["enum"], json!(outcomes));
    let decisions = Decision::ALL.map(Decision::name);
    assert_eq!(schema["$defs"]["decision"]["properties"]["decision"]["enum"], json!(decisions));
    let validator = validator("trace.json");
    let event = json!({
        "kind": "event", "resource": "User/e-1", "event_id": "1", "type": "directory.user.put", "outcome": "applied",
        "applied_at": "2026-11-21T09:30:00Z", "operation": "POST /Users", "http_status": 201, "paths": ["title"], "members": 0,
    });
    fits(&validator, &event);
    for (name, wrong) in [
        ("kind", json!("story")),
        ("resource", json!("Device/1")),
        ("outcome", json!("fine")),
        ("applied_at", json!("noon")),
        ("http_status", json!("201")),
        ("paths", json!([""])),
        ("value", json!("Clerk")),
    ] {
        let mut document = event.clone();
        document[name] = wrong;
        assert!(!validator.is_valid(&document), "{document:#}");
    }
}
