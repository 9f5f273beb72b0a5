//! Every class of dead letter: from the delivery that causes it to `dead show`, and back to applied once the cause is gone.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::dead::{Broker, dead, letters, letters_of};
use crate::support::relay::{Relay, eventually};
use crate::support::sandbox::{Sandbox, patch, user};

const ANA: &str = "ana@example.com";

fn event(sequence: u64, kind: &str, subject: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": format!("id-{sequence}"), "source": "/hr", "type": format!("directory.{kind}"),
        "subject": subject, "sequence": sequence.to_string(), "data": data,
    })
}

/// Ana, with this title.
fn put(sequence: u64, title: &str) -> Value {
    event(sequence, "user.put", "e-1", json!({"userName": ANA, "title": title}))
}

/// The event without its sequence, and with this time if there is one.
fn ordered_by(mut event: Value, time: Option<Timestamp>) -> Value {
    let members = event.as_object_mut().unwrap();
    members.remove("sequence");
    members.extend(time.map(|time| ("time".to_owned(), json!(time.to_string()))));
    event
}

/// True if everything in `expected` is in `actual`; lists are of equal length.
fn holds(actual: &Value, expected: &Value) -> bool {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => expected
            .iter()
            .all(|(name, expected)| actual.get(name).is_some_and(|actual| holds(actual, expected))),
        (Value::Array(actual), Value::Array(expected)) => {
            actual.len() == expected.len() && actual.iter().zip(expected).all(|(a, e)| holds(a, e))
        }
        (actual, expected) => actual == expected,
    }
}

struct Stage {
    sandbox: Sandbox,
    relay: Relay,
}

impl Stage {
    /// A relay that does not run yet, with this added to its configuration.
    fn configured(sandbox: Sandbox, more: &str) -> Self {
        let relay = Relay::configured(&sandbox.running.base_url().parse().unwrap(), None, more);
        Self { sandbox, relay }
    }

    /// With this value of a key from the next start on.
    fn with(self, key: &str, value: &str) -> Self {
        Self { relay: self.relay.with(&format!("SCIM_RELAY__{key}"), value), ..self }
    }

    async fn running(mut self) -> Self {
        self.relay.run();
        self.relay.ready().await;
        self
    }

    async fn start(more: &str) -> Self {
        Self::configured(Sandbox::with_faults(json!({})).await, more).running().await
    }

    /// Stops the relay in order, and starts it with this value of a key.
    async fn restarted_with(mut self, key: &str, value: &str) -> Self {
        self.relay.signal("-TERM");
        assert_eq!(self.relay.ended().await.code(), Some(0));
        self.with(key, value).running().await
    }

    /// Whatever concerns Ana is answered with this status from now on.
    async fn refuses_ana(&self, status: u16) {
        self.sandbox.set_faults(json!({"poison": ANA, "poison_status": status})).await;
    }

    /// Waits for the one dead letter, of this class, whose detail `dead show` tells. Returns its ID.
    async fn dead(&self, class: &str, detail: &str) -> String {
        let letter = letters_of(&self.relay, 1).await.remove(0);
        assert_eq!(letter["class"], class, "{letter}");
        let id = letter["id"].as_str().unwrap().to_owned();
        let shown = dead(&self.relay, &["show", &id]);
        assert_eq!(shown.code, 0, "{shown:?}");
        let resource = letter["resource"].as_str().unwrap_or_default();
        assert!([class, detail, resource].iter().all(|said| shown.out.contains(said)), "{shown:?}");
        id
    }

    /// Replays the letter: it is applied, the target has this, and nothing is dead any more.
    async fn replayed(&self, class: &str, expected: Value) {
        let said = dead(&self.relay, &["replay", "--yes", "--class", class, "--json"]);
        let outcome = json!({"class": class, "applied": 1, "superseded": 0, "dead": 0, "pending": 0});
        assert_eq!((said.code, said.documents().as_slice()), (0, [outcome].as_slice()), "{said:?}");
        self.at_target(expected).await;
        assert!(letters(&self.relay).is_empty());
    }

    /// Exports the letter, edits it, publishes it, and discards it once the target has this.
    async fn corrected(&self, id: &str, edit: impl FnOnce(&mut Value), expected: Value) {
        let exported = dead(&self.relay, &["export", id]);
        assert_eq!(exported.code, 0, "{exported:?}");
        let mut event = exported.documents().remove(0);
        edit(&mut event);
        self.relay.publish(&[event]);
        self.at_target(expected).await;
        assert_eq!(dead(&self.relay, &["discard", "--yes", id]).code, 0);
        assert!(letters(&self.relay).is_empty());
    }

    /// Waits until a resource at the target holds this.
    async fn at_target(&self, expected: Value) {
        eventually(&format!("the target has {expected}"), async || {
            let state = self.sandbox.admin("GET", "state", None).await.body;
            let mut all = ["Users", "Groups"].into_iter().flat_map(|kind| state[kind].as_array().unwrap());
            all.any(|resource| holds(resource, &expected)).then_some(())
        })
        .await;
    }
}

/// Ana's create is refused with this status until the target takes her.
async fn refused_until_the_target_takes_it(status: u16, class: &str) {
    let stage = Stage::start("").await;
    stage.refuses_ana(status).await;
    stage.relay.publish(&[put(1, "Clerk")]);
    stage.dead(class, &status.to_string()).await;
    stage.sandbox.set_faults(json!({})).await;
    stage.replayed(class, json!({"userName": ANA, "title": "Clerk"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn content_that_the_target_refuses_is_invalid_until_it_takes_it() {
    refused_until_the_target_takes_it(400, "invalid").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_forbidden_write_is_applied_once_it_is_allowed() {
    refused_until_the_target_takes_it(403, "forbidden").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_the_target_does_not_support_is_applied_once_it_does() {
    refused_until_the_target_takes_it(501, "not_supported").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_is_too_large_alone_is_applied_once_the_target_takes_more() {
    refused_until_the_target_takes_it(413, "too_large").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_used_up_its_attempts_is_applied_once_the_fault_is_gone() {
    refused_until_the_target_takes_it(500, "exhausted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_conflict_that_does_not_end_is_applied_once_it_has() {
    let stage = Stage::start("").await;
    stage.relay.publish(&[put(1, "Clerk")]);
    stage.at_target(json!({"title": "Clerk"})).await;
    stage.refuses_ana(412).await;
    stage.relay.publish(&[put(2, "Chief")]);
    stage.dead("conflict", "412").await;
    stage.sandbox.set_faults(json!({})).await;
    stage.replayed("conflict", json!({"title": "Chief"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_name_that_somebody_else_had_is_created_once_it_is_free() {
    let stage = Stage::start("").await;
    let mut theirs = user(ANA);
    theirs["externalId"] = json!("theirs");
    let theirs = stage.sandbox.post("/Users", theirs).await;
    stage.relay.publish(&[put(1, "Clerk")]);
    stage.dead("uniqueness", "another externalId").await;
    assert_eq!(stage.sandbox.scim("DELETE", &format!("/Users/{}", theirs.id()), None).await.status, 204);
    stage.replayed("uniqueness", json!({"userName": ANA, "externalId": "e-1"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn of_several_accounts_that_match_the_one_left_is_adopted() {
    let sandbox = Sandbox::with_faults(json!({"unique_user_name": false})).await;
    let (first, second) = (sandbox.post("/Users", user(ANA)).await, sandbox.post("/Users", user(ANA)).await);
    let stage = Stage::configured(sandbox, "").running().await;
    stage.relay.publish(&[put(1, "Clerk")]);
    stage.dead("ambiguous_match", second.id()).await;
    assert_eq!(stage.sandbox.scim("DELETE", &format!("/Users/{}", second.id()), None).await.status, 204);
    stage.replayed("ambiguous_match", json!({"id": first.id(), "externalId": "e-1", "title": "Clerk"})).await;
    assert_eq!(stage.sandbox.user_names().await, [ANA], "adopted, not created once more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_member_who_came_too_late_is_added() {
    let stage = Stage::start("[references]\nwait = \"500ms\"\n").await;
    let data = json!({"displayName": "Sales", "members": [{"value": "e-1"}]});
    stage.relay.publish(&[event(1, "group.put", "g-1", data)]);
    stage.dead("unresolved_reference", "1 referenced resources").await;
    stage.at_target(json!({"displayName": "Sales"})).await;
    stage.relay.publish(&[put(2, "Clerk")]);
    stage.at_target(json!({"userName": ANA})).await;
    let id = stage.sandbox.get("/Users").await.body["Resources"][0]["id"].clone();
    stage.replayed("unresolved_reference", json!({"displayName": "Sales", "members": [{"value": id}]})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_patch_whose_put_came_too_late_is_applied() {
    let stage = Stage::start("[events]\nwait_for_base = \"500ms\"\n").await;
    let data = patch("replace", "title", json!("Chief"));
    stage.relay.publish(&[event(2, "user.patch", "e-1", data)]);
    stage.dead("incomplete", "its `put` did not come").await;
    stage.relay.publish(&[put(1, "Clerk")]);
    stage.at_target(json!({"userName": ANA})).await;
    stage.replayed("incomplete", json!({"userName": ANA, "title": "Chief"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn who_is_protected_no_more_is_written() {
    let stage = Stage::configured(Sandbox::with_faults(json!({})).await, "");
    let stage = stage.with("TARGET__PROTECTED", "[\"e-1\"]").running().await;
    stage.relay.publish(&[put(1, "Clerk")]);
    stage.dead("protected", "target.protected").await;
    let stage = stage.restarted_with("TARGET__PROTECTED", "[]").await;
    stage.replayed("protected", json!({"userName": ANA})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_protected_account_that_nobody_claimed_is_one_letter_and_no_more() {
    let stage = Stage::configured(Sandbox::with_faults(json!({})).await, "");
    let account = stage.sandbox.post("/Users", user(ANA)).await;
    assert_eq!(account.status, 201);
    let stage = stage.with("TARGET__PROTECTED", &json!([ANA]).to_string()).running().await;
    // all that it would write is the relay's own mark
    stage.relay.publish(&[event(1, "user.put", "e-1", json!({"userName": ANA}))]);
    let id = stage.dead("protected", "target.protected").await;
    stage.relay.settled(1).await;
    let plan = dead(&stage.relay, &["plan", "--all", "--json"]).documents();
    assert_eq!((&plan[0]["id"], &plan[0]["verdict"], plan.len()), (&json!(id), &json!("would_fail"), 1));
    let stage = stage.restarted_with("TARGET__PROTECTED", "[]").await;
    stage.replayed("protected", json!({"userName": ANA, "externalId": "e-1"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_lies_too_far_ahead_is_applied_where_that_is_allowed() {
    let stage = Stage::start("").await;
    let in_an_hour = Timestamp::now() + Duration::from_secs(3_600);
    stage.relay.publish(&[ordered_by(put(1, "Clerk"), Some(in_an_hour))]);
    stage.dead("future_time", "events.max_clock_skew").await;
    let stage = stage.restarted_with("EVENTS__MAX_CLOCK_SKEW", "2h").await;
    stage.replayed("future_time", json!({"userName": ANA})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_the_broker_gave_up_is_applied_once_a_relay_survives_it() {
    let stage = Stage::configured(Sandbox::with_faults(json!({})).await, "");
    let stage = stage.with("AMQP__DELIVERY_LIMIT", "1");
    assert!(stage.relay.command().args(["topology", "apply"]).status().unwrap().success());
    stage.relay.publish(&[put(1, "Clerk")]);
    let broker = Broker::connect().await;
    for _ in 0..2 {
        broker.crash_with_one_of(&stage.relay.object("work")).await;
    }
    stage.dead("delivery_limit", "amqp.delivery_limit").await;
    let stage = stage.running().await;
    stage.replayed("delivery_limit", json!({"userName": ANA})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_nobody_decided_about_is_executed_only_by_a_replay() {
    let guard = "guard = { max_per_hour = 0, min_resources = 0 }\nheld_expires_after = \"1s\"\n";
    let stage = Stage::start(&format!("[deprovision]\n{guard}")).await;
    stage.relay.publish(&[put(1, "Clerk")]);
    stage.at_target(json!({"userName": ANA})).await;
    stage.relay.publish(&[event(2, "user.deactivate", "e-1", Value::Null)]);
    stage.dead("held_expired", "no operator decided").await;
    stage.at_target(json!({"userName": ANA, "active": true})).await;
    let stage = stage.restarted_with("DEPROVISION__GUARD", "false").await;
    stage.replayed("held_expired", json!({"userName": ANA, "active": false})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_event_without_an_order_is_exported_and_given_one() {
    let stage = Stage::start("").await;
    stage.relay.publish(&[ordered_by(put(1, "Clerk"), None)]);
    let id = stage.dead("decode", "sequence").await;
    let edit = |event: &mut Value| event["sequence"] = json!("1");
    stage.corrected(&id, edit, json!({"userName": ANA})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_patch_that_can_not_be_merged_is_exported_and_put_in_another_way() {
    let stage = Stage::start("").await;
    let primary = "emails[primary eq true].value";
    let data = patch("replace", primary, json!("ana@example.org"));
    stage.relay.publish(&[put(1, "Clerk"), event(2, "user.patch", "e-1", data)]);
    let id = stage.dead("unsupported_patch", "Operations[0]").await;
    let edit = |event: &mut Value| {
        event["sequence"] = json!("3");
        event["data"]["Operations"][0]["path"] = json!("emails[type eq \"work\"].value");
    };
    stage
        .corrected(
            &id,
            edit,
            json!({"userName": ANA, "emails": [{"value": "ana@example.org", "type": "work"}]}),
        )
        .await;
}
