//! The two published scenarios that the relay stands in for: groups at Genesys Cloud, users in bulk at NICE CXone.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::events::event;
use crate::support::provider::Provider;
use crate::support::relay::{Relay, eventually};
use crate::support::sandbox::Sandbox;

fn address(name: &str) -> String {
    format!("{name}@example.com")
}

/// A user whom somebody else has provisioned.
async fn provisioned(sandbox: &Sandbox, name: &str) -> String {
    let user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": format!("login-{name}"),
        "emails": [{"type": "work", "value": address(name), "primary": true}],
    });
    sandbox.post("/Users", user).await.id().to_owned()
}

/// A group that is there already, with these members.
async fn existing_group(sandbox: &Sandbox, name: &str, members: &[&String]) {
    let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    let group = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name, "members": members,
    });
    sandbox.post("/Groups", group).await;
}

/// The members of each group, by the first address of each.
async fn groups(sandbox: &Sandbox) -> Vec<(String, BTreeSet<String>)> {
    let state = sandbox.admin("GET", "state", None).await.body;
    let address_of = |id: &Value| {
        let user = state["Users"].as_array().unwrap().iter().find(|user| user["id"] == *id).unwrap();
        user["emails"][0]["value"].as_str().unwrap().to_owned()
    };
    let of = |group: &Value| {
        let members = group["members"].as_array().cloned().unwrap_or_default();
        let members = members.iter().map(|member| address_of(&member["value"])).collect();
        (group["displayName"].as_str().unwrap().to_owned(), members)
    };
    let mut groups: Vec<_> = state["Groups"].as_array().unwrap().iter().map(of).collect();
    groups.sort();
    groups
}

#[tokio::test]
async fn two_groups_get_exactly_the_members_that_the_source_lists_by_e_mail() {
    let sandbox = Sandbox::with_faults(json!({"bulk": false})).await;
    let names = ["ana", "bo", "cy", "dee", "eve"];
    let mut ids = Vec::new();
    for name in names {
        ids.push(provisioned(&sandbox, name).await);
    }
    // the source knows neither Eve nor Dee in Sales, and Support has nobody yet
    existing_group(&sandbox, "Sales", &[&ids[0], &ids[3], &ids[4]]).await;
    existing_group(&sandbox, "Support", &[]).await;
    sandbox
        .set_faults(
            json!({"bulk": false, "scope": "writes", "rate_429": 0.3, "rate_500": 0.2, "retry_after": 1}),
        )
        .await;
    let more = "[references]\nuser = \"email\"\n[conflict]\nmembers = \"authoritative\"\n";
    let relay = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, more);
    relay.ready().await;
    let listed =
        |names: &[&str]| names.iter().map(|name| json!({ "value": address(name) })).collect::<Value>();
    relay.publish(&[
        event(1, "group.put", "g-sales", json!({"displayName": "Sales", "members": listed(&["ana", "bo"])})),
        event(
            2,
            "group.put",
            "g-support",
            json!({"displayName": "Support", "members": listed(&["cy", "dee"])}),
        ),
    ]);
    let of = |names: &[&str]| names.iter().map(|name| address(name)).collect::<BTreeSet<String>>();
    let expected = [("Sales".to_owned(), of(&["ana", "bo"])), ("Support".to_owned(), of(&["cy", "dee"]))];
    eventually("the groups are as the source says", async || {
        (groups(&sandbox).await == expected).then_some(())
    })
    .await;
    relay.settled(2).await;
    assert_eq!(sandbox.user_names().await.len(), names.len(), "nobody was created");
    assert_eq!(relay.metric("scim_relay_dead_letters", "").await, Some(0.0));
}

#[tokio::test]
async fn twelve_hundred_users_are_created_in_chunks_and_only_what_failed_is_sent_again() {
    // exactly that dialect, two requests a second, and partial failures
    let provider = Provider::start("nice-cxone").await;
    let sandbox = &provider.sandbox;
    sandbox.set_faults(json!({"rate_operation_500": 0.03})).await;
    let mut relay = Relay::configured(&sandbox.running.base_url().parse().unwrap(), None, "")
        .with("SCIM_RELAY__TARGET__PROFILE", "nice-cxone")
        .with("SCIM_RELAY__CONFLICT__ATTRIBUTES", "{ active = \"target-wins\" }");
    let name = |n: usize| format!("agent{n:04}@example.com");
    let put = |n: usize, data: Value| event(n + 1, "user.put", &format!("a{}", n % 1_200), data);
    let puts: Vec<Value> =
        (0..1_200).map(|n| put(n, json!({"userName": name(n), "active": true, "title": "Agent"}))).collect();
    assert!(relay.command().args(["topology", "apply"]).output().unwrap().status.success());
    relay.publish(&puts);
    relay.run();
    relay.ready().await;
    eventually("all are there", async || (sandbox.user_names().await.len() == 1_200).then_some(())).await;
    relay.settled(1_200).await;
    let bulks: Vec<Value> =
        sandbox.requests().await.into_iter().filter(|it| it["path"] == "/scim/v2/Bulk").collect();
    let sent: u64 = bulks.iter().filter_map(|it| it["operations"].as_u64()).sum();
    assert!(bulks.iter().all(|it| it["operations"].as_u64() <= Some(500)), "{bulks:?}");
    assert!((1_200..1_300).contains(&sent), "only what failed is sent again: {sent} operations");

    // while an update is under way somebody else changes the agent: 412, read, the diverging attributes merged by policy, written
    // with the new ETag
    sandbox.set_faults(json!({"latency_min_ms": 1_500, "latency_max_ms": 1_500})).await;
    let state = provider.state().await;
    let agent = state["Users"].as_array().unwrap().iter().find(|user| user["externalId"] == "a7").unwrap();
    let path = format!("/Users/{}", agent["id"].as_str().unwrap());
    let changed = json!({"userName": name(7), "active": true, "title": "Agent", "nickName": "Seven"});
    relay.publish(&[put(1_207, changed)]);
    eventually("the update is under way", async || {
        let is_it = |it: &Value| it["path"] == "/scim/v2/Bulk" && it["status"] == 0;
        sandbox.requests().await.iter().any(is_it).then_some(())
    })
    .await;
    sandbox.set_faults(json!({})).await;
    let mut theirs = agent.clone();
    theirs["title"] = json!("Boss");
    theirs["active"] = json!(false);
    assert_eq!(provider.ask("PUT", &path, Some(theirs)).await.status, 200);
    let agent = nicknamed(&provider, "Seven").await;
    assert_eq!((&agent["title"], &agent["active"]), (&json!("Agent"), &json!(false)));
    relay.settled(1_201).await;
    let conflicts = relay.metric("scim_relay_operations_total", "outcome=\"conflict\"").await;
    assert_eq!(conflicts, Some(1.0), "the old ETag was refused");
    assert_eq!(relay.metric("scim_relay_dead_letters", "").await, Some(0.0));
}

/// Waits until there is a user of this nick name. Not as a client: that would take the relay's place in the rate.
async fn nicknamed(provider: &Provider, nick_name: &str) -> Value {
    eventually(nick_name, async || {
        let state = provider.state().await;
        state["Users"].as_array().unwrap().iter().find(|user| user["nickName"] == nick_name).cloned()
    })
    .await
}
