//! Conflicts with somebody else who writes at the target: 412, read again, merged attribute by attribute.

use serde_json::{Value, json};

use crate::support::events::event;
use crate::support::relay::{Relay, eventually};
use crate::support::sandbox::{Sandbox, patch};

fn put(sequence: usize, data: Value) -> Value {
    event(sequence, "user.put", "e-1", data)
}

async fn user(sandbox: &Sandbox) -> Option<Value> {
    sandbox.admin("GET", "state", None).await.body["Users"].as_array()?.first().cloned()
}

/// Ana is written; somebody else changes her title, her locale and whether she is active; then the source says a
/// nick name, and nothing new about the rest. Returns what she is in the end, and the statuses that the target answered.
async fn ana_after_a_conflict(policy: &str) -> (Value, Vec<u64>) {
    let sandbox = Sandbox::with_faults(json!({})).await;
    // single requests show the 412
    let more = format!("[flush]\nmode = \"single\"\n{policy}");
    let relay = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, &more);
    relay.ready().await;
    relay.publish(&[put(1, json!({"userName": "ana", "title": "Clerk", "active": true}))]);
    let ana = eventually("Ana is there", async || user(&sandbox).await).await;
    relay.settled(1).await;
    let path = format!("/Users/{}", ana["id"].as_str().unwrap());
    for (attribute, value) in [("title", json!("Boss")), ("active", json!(false)), ("locale", json!("fr"))] {
        let changed = sandbox.scim("PATCH", &path, Some(patch("replace", attribute, value))).await;
        assert!((200..300).contains(&changed.status), "{}", changed.body);
    }
    relay
        .publish(&[put(2, json!({"userName": "ana", "title": "Clerk", "active": true, "nickName": "Anny"}))]);
    let ana = eventually("the nick name is written", async || {
        user(&sandbox).await.filter(|ana| ana["nickName"] == "Anny")
    })
    .await;
    relay.settled(2).await;
    (ana, sandbox.statuses().await)
}

#[tokio::test]
async fn a_version_conflict_is_reconciled_by_policy_attribute_by_attribute() {
    let policy = "[conflict]\npolicy = \"source-wins\"\nattributes = { active = \"target-wins\" }\n";
    let (ana, statuses) = ana_after_a_conflict(policy).await;
    assert_eq!(
        (&ana["title"], &ana["active"], &ana["locale"]),
        (&json!("Clerk"), &json!(false), &json!("fr"))
    );
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 1, "{statuses:?}");
}

#[tokio::test]
async fn the_target_may_be_right_about_everything_else() {
    let policy = "[conflict]\npolicy = \"target-wins\"\nattributes = { active = \"source-wins\" }\n";
    let (ana, _) = ana_after_a_conflict(policy).await;
    assert_eq!((&ana["title"], &ana["active"], &ana["locale"]), (&json!("Boss"), &json!(true), &json!("fr")));
}
