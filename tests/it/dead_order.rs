//! What is dead is in nobody's way: what is newer goes through, and what is older does not take its place.

use lapin::BasicProperties;
use serde_json::{Value, json};

use crate::support::dead::{Broker, dead, letters, letters_of};
use crate::support::relay::{Relay, eventually};
use crate::support::sandbox::{Sandbox, patch};

fn event(sequence: u64, kind: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": format!("id-{sequence}"), "source": "/hr", "type": format!("directory.user.{kind}"),
        "subject": "e-1", "sequence": sequence.to_string(), "data": data,
    })
}

/// A patch of one of Ana's telephone numbers.
fn phone(sequence: u64, kind: &str, number: Value) -> Value {
    let data = patch("add", "phoneNumbers", json!([{"type": kind, "value": number}]));
    event(sequence, "patch", data)
}

/// Ana with this telephone number.
fn put(sequence: u64, number: Value) -> Value {
    let numbers = json!([{"type": "work", "value": number}]);
    event(sequence, "put", json!({"userName": "ana@example.com", "phoneNumbers": numbers}))
}

/// `active` and the telephone numbers of the only user.
async fn ana(sandbox: &Sandbox) -> (Value, Value) {
    let ana = sandbox.admin("GET", "state", None).await.body["Users"][0].clone();
    (ana["active"].clone(), ana["phoneNumbers"][0]["value"].clone())
}

async fn becomes(sandbox: &Sandbox, active: bool, number: Value) {
    let expected = (json!(active), number);
    eventually(&format!("active and the number are {expected:?}"), async || {
        (ana(sandbox).await == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_refused_telephone_number_blocks_no_deactivation_and_lets_nothing_older_through() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let relay = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, "");
    relay.ready().await;
    relay.publish(&[put(10, json!("+49 30 1"))]);
    becomes(&sandbox, true, json!("+49 30 1")).await;
    // the sandbox takes no number that is no text
    relay.publish(&[put(40, json!(4930))]);
    let letter = letters_of(&relay, 1).await.remove(0);
    assert_eq!((&letter["class"], &letter["http_status"]), (&json!("invalid"), &json!(400)));
    relay.publish(&[event(50, "deactivate", Value::Null)]);
    becomes(&sandbox, false, json!("+49 30 1")).await;

    relay.publish(&[put(30, json!("+49 30 2")), event(45, "activate", Value::Null)]);
    eventually("both are known to be too late", async || {
        (relay.metric("scim_relay_events_merged_total", "result=\"stale\"").await? == 2.0).then_some(())
    })
    .await;
    assert_eq!(ana(&sandbox).await, (json!(false), json!("+49 30 1")));
    assert_eq!(letters(&relay), std::slice::from_ref(&letter));

    relay.publish(&[put(60, json!("+49 30 3"))]);
    becomes(&sandbox, false, json!("+49 30 3")).await;
    let said = dead(&relay, &["replay", "--yes", "--all", "--json"]);
    assert_eq!(said.documents()[0]["superseded"], 1, "{said:?}");
    assert_eq!(ana(&sandbox).await, (json!(false), json!("+49 30 3")));
    assert!(letters(&relay).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_refused_telephone_number_leaves_the_one_that_is_there() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let relay = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, "");
    relay.ready().await;
    let put = event(10, "put", json!({"userName": "ana@example.com"}));
    relay.publish(&[put, phone(20, "work", json!("+49 30 1"))]);
    becomes(&sandbox, true, json!("+49 30 1")).await;
    relay.publish(&[phone(30, "work", json!(4930))]);
    letters_of(&relay, 1).await;
    relay.publish(&[phone(40, "home", json!("+49 40 1")), event(50, "deactivate", Value::Null)]);
    eventually("what is newer arrives", async || {
        let ana = sandbox.admin("GET", "state", None).await.body["Users"][0].clone();
        let home = ana["phoneNumbers"].as_array()?.iter().any(|number| number["value"] == "+49 40 1");
        (home && ana["active"] == false).then_some(())
    })
    .await;
    assert_eq!(ana(&sandbox).await, (json!(false), json!("+49 30 1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_edited_letter_needs_a_revision_of_its_own() {
    let sandbox = Sandbox::with_faults(json!({"poison": "ana", "poison_status": 400})).await;
    let mut relay = Relay::configured(&sandbox.running.base_url().parse().unwrap(), None, "");
    relay.run();
    relay.ready().await;
    relay.publish(&[json!({
        "specversion": "1.0", "id": "1", "source": "/hr", "type": "directory.user.put", "subject": "e-1", "sequence": "1",
        "data": {"userName": "ana", "title": "Clerk"},
    })]);
    letters_of(&relay, 1).await;
    let exported = dead(&relay, &["export", "--all"]).out;
    let publish = |lines: String| {
        let mut child = relay
            .command()
            .args(["publish", "-"])
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = publish(exported.replace("Clerk", "Chief"));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("title of User/e-1 is known with another value under this very revision"),
        "{said}"
    );
    assert_eq!(publish(exported).0, Some(0), "unchanged it says nothing new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_a_publisher_forged_does_not_get_in_by_a_replay() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let mut relay = Relay::configured(&sandbox.running.base_url().parse().unwrap(), None, "");
    relay.run();
    relay.ready().await;
    let forged = json!({
        "specversion": "1.0", "id": "1", "source": "/hr", "type": "directory.user.verdict", "subject": "e-1", "sequence": "1",
        "data": {"verdict": "dead", "registers": []},
    });
    let properties = BasicProperties::default().with_content_type("application/cloudevents+json".into());
    let broker = Broker::connect().await;
    broker
        .publish(&relay.exchange, "directory.user.verdict", forged.to_string().as_bytes(), properties)
        .await;
    letters_of(&relay, 1).await;
    let plan = dead(&relay, &["plan", "--all", "--json"]).documents();
    assert_eq!(plan[0]["verdict"], "would_fail", "{plan:?}");
    let said = dead(&relay, &["replay", "--all", "--yes"]);
    assert!(said.err.contains("must not enter `intake`"), "{said:?}");
    assert_eq!(letters_of(&relay, 1).await.len(), 1, "it stays where it is");
}
