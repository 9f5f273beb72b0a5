//! Members that others added to a group: they stay, or go where the source's list is the list.

use serde_json::{Value, json};

use crate::support::events::event;
use crate::support::relay::{Relay, eventually};
use crate::support::sandbox::{Sandbox, patch, user};

/// The members of the only group, by user name.
async fn members(sandbox: &Sandbox) -> Vec<String> {
    let state = sandbox.admin("GET", "state", None).await.body;
    let name = |id: &Value| {
        let users = state["Users"].as_array().unwrap().iter();
        let user = users.clone().find(|user| user["id"] == *id).unwrap();
        user["userName"].as_str().unwrap().to_owned()
    };
    let listed = state["Groups"][0]["members"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> = listed.iter().map(|member| name(&member["value"])).collect();
    names.sort();
    names
}

async fn until_members(sandbox: &Sandbox, expected: &[&str]) {
    eventually(&format!("the members are {expected:?}"), async || {
        (members(sandbox).await == expected).then_some(())
    })
    .await;
}

/// Ana and Bo are in Sales; somebody else adds three more. Then the source says something of the group.
async fn sales_with_strangers(more: &str, said: Value) -> (Sandbox, Relay) {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let relay = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, more);
    relay.ready().await;
    let both = json!([{"value": "ana"}, {"value": "bo"}]);
    relay.publish(&[
        event(1, "user.put", "ana", json!({"userName": "ana"})),
        event(2, "user.put", "bo", json!({"userName": "bo"})),
        event(3, "group.put", "g", json!({"displayName": "Sales", "members": both})),
    ]);
    until_members(&sandbox, &["ana", "bo"]).await;
    relay.settled(3).await;
    let group =
        sandbox.admin("GET", "state", None).await.body["Groups"][0]["id"].as_str().unwrap().to_owned();
    for name in ["x", "y", "z"] {
        let stranger = sandbox.post("/Users", user(name)).await.id().to_owned();
        let added = patch("add", "members", json!([{"value": stranger}]));
        assert!(sandbox.scim("PATCH", &format!("/Groups/{group}"), Some(added)).await.status < 300);
    }
    relay.publish(&[said]);
    relay.settled(4).await;
    (sandbox, relay)
}

const AUTHORITATIVE: &str = "[conflict]\nmembers = \"authoritative\"\n";

fn put(members: Value) -> Value {
    event(4, "group.put", "g", json!({"displayName": "Sales", "members": members}))
}

#[tokio::test]
async fn members_that_the_source_does_not_list_go_where_its_list_is_the_list() {
    let said = put(json!([{"value": "ana"}, {"value": "bo"}]));
    let (sandbox, relay) = sales_with_strangers(AUTHORITATIVE, said).await;
    until_members(&sandbox, &["ana", "bo"]).await;
    let writes = sandbox.writes().await;
    relay.publish(&[event(
        5,
        "group.patch",
        "g",
        json!({"Operations": [{"op": "replace", "path": "displayName", "value": "Sale"}]}),
    )]);
    relay.settled(5).await;
    assert_eq!(sandbox.writes().await, writes + 1, "nothing is compared without a list");
}

#[tokio::test]
async fn an_empty_list_empties_the_group() {
    let (sandbox, _relay) = sales_with_strangers(AUTHORITATIVE, put(json!([]))).await;
    until_members(&sandbox, &[]).await;
}

#[tokio::test]
async fn a_patch_of_members_says_nothing_about_strangers() {
    let removal = json!({"Operations": [{"op": "remove", "path": "members[value eq \"bo\"]"}]});
    let (sandbox, _relay) = sales_with_strangers(AUTHORITATIVE, event(4, "group.patch", "g", removal)).await;
    until_members(&sandbox, &["ana", "x", "y", "z"]).await;
}

#[tokio::test]
async fn members_that_others_added_stay() {
    let (sandbox, _relay) = sales_with_strangers("", put(json!([{"value": "ana"}]))).await;
    until_members(&sandbox, &["ana", "x", "y", "z"]).await;
}
