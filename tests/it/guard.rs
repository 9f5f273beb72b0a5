//! The guard and `held`, end to end: real RabbitMQ, real Redis, the sandbox as the target.

use std::collections::BTreeSet;
use std::process::Output;
use std::sync::Arc;

use futures_util::future::join_all;
use scim_relay::core::guard::{Admission, Limits, Window};
use scim_relay::core::record::Record;
use scim_relay::core::resource::{ResourceKey, ResourceType, TargetId};
use scim_relay::core::schedule::Millis;
use scim_relay::pipeline::ports::{Guard, Reschedule, Store, Swap, Version};
use scim_relay::sandbox::SandboxOptions;
use scim_relay::store::redis::{RedisOptions, RedisStore};
use serde_json::{Value, json};

use crate::support::events;
use crate::support::relay::{Relay, eventually, redis_url, unique};
use crate::support::sandbox::Sandbox;

const SMALL: &str = "[deprovision]\nguard = { max_per_hour = 2, max_percent = 100, min_resources = 0 }\n";

fn event(sequence: usize, kind: &str, n: usize, data: Value) -> Value {
    events::event(sequence, &format!("user.{kind}"), &format!("p{n}"), data)
}

/// A relay with eight people at the sandbox, all of whom then leave.
async fn eight_leave(more: &str) -> (Sandbox, Relay) {
    let sandbox = Sandbox::start(SandboxOptions::on_any_port()).await;
    let relay = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, &format!("{SMALL}{more}"));
    relay.ready().await;
    let puts: Vec<Value> =
        (0..8).map(|n| event(n + 1, "put", n, json!({ "userName": format!("p{n}") }))).collect();
    relay.publish(&puts);
    eventually("all are there", async || (sandbox.user_names().await.len() == 8).then_some(())).await;
    let verb = |n: usize| if n.is_multiple_of(2) { "deactivate" } else { "delete" };
    let leavers: Vec<Value> = (0..8).map(|n| event(n + 101, verb(n), n, Value::Null)).collect();
    relay.publish(&leavers);
    (sandbox, relay)
}

async fn inactive(sandbox: &Sandbox) -> BTreeSet<String> {
    let state = sandbox.admin("GET", "state", None).await.body;
    let users = state["Users"].as_array().unwrap().iter().filter(|user| user["active"] == false);
    users.map(|user| format!("User/{}", user["externalId"].as_str().unwrap())).collect()
}

async fn until_inactive(sandbox: &Sandbox, count: usize) {
    eventually("those let through have left", async || {
        (inactive(sandbox).await.len() == count).then_some(())
    })
    .await;
}

async fn until_held(relay: &Relay, count: f64) {
    eventually("the rest is held", async || {
        (relay.metric("scim_relay_held_changes", "").await? == count).then_some(())
    })
    .await;
}

fn held(relay: &Relay, arguments: &[&str]) -> Output {
    relay.command().arg("held").args(arguments).output().unwrap()
}

fn explained(relay: &Relay, resource: &str) -> Value {
    let output = relay.command().args(["explain", resource, "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What became of the words of these that are not applied, each once.
fn withheld(relay: &Relay, letters: &[Value]) -> BTreeSet<String> {
    let explained = letters.iter().map(|letter| explained(relay, letter["resource"].as_str().unwrap()));
    let words = explained.flat_map(|said| said["withheld"].as_object().unwrap().clone());
    words.map(|(_, word)| word.as_str().unwrap().to_owned()).collect()
}

fn listed(relay: &Relay, arguments: &[&str]) -> Vec<Value> {
    let output = held(relay, &[&["list", "--json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn what_the_guard_holds_is_seen_approved_and_rejected() {
    let (sandbox, relay) = eight_leave("").await;
    until_held(&relay, 6.0).await;
    until_inactive(&sandbox, 2).await;
    assert_eq!(relay.metric("scim_relay_guard_trips_total", "").await, Some(1.0));

    let letters = listed(&relay, &[]);
    assert_eq!(letters.len(), 6);
    let first = &letters[0];
    let (id, resource) = (first["id"].as_str().unwrap(), first["resource"].as_str().unwrap().to_owned());
    assert!(first["operation"].as_str().unwrap().starts_with("PATCH /Users/"), "{first}");
    let shown = String::from_utf8(held(&relay, &["show", id]).stdout).unwrap();
    assert!(shown.contains(&resource) && shown.contains("\"origin\": \"approve\""), "{shown}");
    assert!(shown.contains("if approved now  deprovision\n"), "{shown}");

    // nobody can be asked here, and without a choice nothing is done
    assert_eq!(held(&relay, &["approve", id]).status.code(), Some(2));
    assert_eq!(held(&relay, &["approve", "--yes"]).status.code(), Some(2));
    let approved = held(&relay, &["approve", id, "--yes", "--reason", "agreed with HR"]);
    let told = String::from_utf8(approved.stderr).unwrap();
    assert!(
        told.contains("1 held (1 User PATCH): would come to 1 deprovision\n")
            && told.contains("agreed with HR"),
        "{told}"
    );
    assert_eq!((approved.status.code(), approved.stdout.as_slice()), (Some(0), b"1 approved\n".as_slice()));
    eventually("the approved one has left", async || {
        inactive(&sandbox).await.contains(&resource).then_some(())
    })
    .await;

    let rejected = listed(&relay, &["--limit", "2"]);
    let ids: Vec<&str> = rejected.iter().map(|letter| letter["id"].as_str().unwrap()).collect();
    assert!(held(&relay, &["reject", ids[0], ids[1], "--yes"]).status.success());
    assert_eq!(listed(&relay, &[]).len(), 3);
    eventually("both are rejected", async || {
        (withheld(&relay, &rejected) == BTreeSet::from(["rejected".to_owned()])).then_some(())
    })
    .await;
    assert_eq!(withheld(&relay, &listed(&relay, &[])), BTreeSet::from(["held".to_owned()]));
    assert_eq!(held(&relay, &["approve", ids[0], "--yes"]).status.code(), Some(1), "it is gone");
    assert!(held(&relay, &["approve", "--all", "--yes"]).status.success());
    until_inactive(&sandbox, 6).await;
    let left = inactive(&sandbox).await;
    assert!(rejected.iter().all(|letter| !left.contains(letter["resource"].as_str().unwrap())));
    until_held(&relay, 0.0).await;
    assert_eq!(relay.metric("scim_relay_dead_letters", "").await, Some(0.0));
}

#[tokio::test]
async fn what_nobody_decides_about_becomes_a_dead_letter_and_is_not_executed() {
    let (sandbox, relay) = eight_leave("held_expires_after = \"1s\"").await;
    eventually("the rest is dead", async || {
        (relay.metric("scim_relay_dead_letters", "").await? == 6.0).then_some(())
    })
    .await;
    until_held(&relay, 0.0).await;
    until_inactive(&sandbox, 2).await;
    assert!(listed(&relay, &[]).is_empty());
    // the index hears of what the broker did when somebody looks
    let letters = crate::support::dead::letters(&relay);
    assert_eq!(withheld(&relay, &letters), BTreeSet::from(["expired".to_owned()]));
    let said = explained(&relay, letters[0]["resource"].as_str().unwrap());
    assert_eq!(said["last_failure"]["class"], "held_expired", "{said:#}");
    assert_eq!(
        (&said["letters"][0]["id"], &said["letters"][0]["queue"]),
        (&letters[0]["id"], &json!("dead"))
    );
    let waits = said["waits_for"].as_array().unwrap();
    assert!(waits.iter().all(|wait| wait["what"] != "guard"), "{said:#}");
}

#[tokio::test]
async fn without_a_guard_nothing_is_asked() {
    let sandbox = Sandbox::start(SandboxOptions::on_any_port()).await;
    let base = sandbox.running.base_url().parse().unwrap();
    let relay = Relay::start(&base, None, "[deprovision]\nguard = false\n");
    relay.ready().await;
    let people = 0..8;
    let put = |n: usize| event(n + 1, "put", n, json!({ "userName": format!("p{n}") }));
    relay.publish(&people.clone().map(put).collect::<Vec<Value>>());
    eventually("all are there", async || (sandbox.user_names().await.len() == 8).then_some(())).await;
    relay.publish(&people.map(|n| event(n + 101, "delete", n, Value::Null)).collect::<Vec<Value>>());
    until_inactive(&sandbox, 8).await;
}

fn person(n: usize) -> ResourceKey {
    format!("User/p{n}").parse().unwrap()
}

async fn redis_store() -> RedisStore {
    let options = RedisOptions {
        urls: vec![redis_url()],
        cluster: false,
        key_prefix: "scim-relay".into(),
        target: unique("guard"),
        ca_pem: None,
        client_pem: None,
        unique: || unique("store"),
    };
    RedisStore::connect(options).await.unwrap()
}

/// A minute of one day.
fn minute(n: i64) -> Millis {
    Millis(1_795_252_800_000 + n * 60_000)
}

async fn granted(store: &RedisStore, people: std::ops::Range<usize>, limits: Limits, at: Millis) -> usize {
    let keys: Vec<ResourceKey> = people.map(person).collect();
    let admissions = store.admit(ResourceType::User, &keys, &limits, at).await.unwrap();
    admissions.into_iter().filter(|admission| *admission == Admission::Granted).count()
}

async fn is_at_target(store: &RedisStore, n: usize, version: u64, id: Option<&str>) {
    let record = Record { id: id.and_then(TargetId::new), ..Record::default() };
    let (expected, members, reschedule) = (Version::of(version), Vec::new(), Reschedule::Keep);
    store.swap(&[Swap { key: person(n), expected, record, members, reschedule }]).await.unwrap();
}

#[tokio::test]
async fn replicas_that_ask_at_once_take_no_more_places_than_there_are() {
    let store = Arc::new(redis_store().await);
    let limits = Limits { max_per_hour: 37, max_per_day: 40, max_percent: 100, min_resources: 0 };
    let limits = Limits { max_percent: 10, min_resources: 1_000, ..limits };
    let asked = join_all((0..8).map(|n| granted(&store, n * 20..n * 20 + 40, limits, minute(0)))).await;
    // neighbours ask for half of the same people
    assert!(asked.iter().sum::<usize>() >= 37);
    let all: Vec<ResourceKey> = (0..180).map(person).collect();
    let again = store.admit(ResourceType::User, &all, &limits, minute(1)).await.unwrap();
    assert_eq!(again.iter().filter(|admission| **admission == Admission::Granted).count(), 37);
    assert!(again.contains(&Admission::Full(Window::Hour)));
    // an hour later the day holds, a day later nothing does
    assert_eq!(granted(&store, 200..300, limits, minute(61)).await, 3);
    let one = store.admit(ResourceType::User, &[person(400)], &limits, minute(62)).await.unwrap();
    assert_eq!(one, [Admission::Full(Window::Day)]);
    assert_eq!(granted(&store, 500..600, limits, minute(24 * 60 + 62)).await, 37);
}

#[tokio::test]
async fn the_share_is_of_those_who_were_active_when_the_window_began() {
    let store = redis_store().await;
    let limits = Limits { max_per_hour: 100, max_per_day: 100, max_percent: 10, min_resources: 20 };
    for n in 0..30 {
        is_at_target(&store, n, 0, Some("t")).await;
    }
    assert_eq!(granted(&store, 0..2, limits, minute(0)).await, 2);
    // they are gone, and counted as those who were there
    for n in 0..2 {
        is_at_target(&store, n, 1, None).await;
    }
    assert_eq!(granted(&store, 2..10, limits, minute(1)).await, 1);
    // two hours later there are fewer: the day remembers more than the hour
    is_at_target(&store, 2, 1, None).await;
    assert_eq!(granted(&store, 10..20, limits, minute(121)).await, 0);
    assert_eq!(granted(&store, 10..20, limits, minute(25 * 60)).await, 2);
}
