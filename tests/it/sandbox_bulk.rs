//! Bulk requests to the sandbox over HTTP (RFC 7644 s3.7). What each operation does is tested beside the code.

use serde_json::{Value, json};

use crate::support::sandbox::{Sandbox, bulk, creates, patch, sent, user};

fn statuses(results: &[Value]) -> Vec<&str> {
    results.iter().map(|it| it["status"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_kind_of_write_goes_in_one_request() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let made: Vec<String> = {
        let answer = sandbox.bulk(creates(&["ana", "bea", "cem"])).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/scim+json")));
        assert_eq!(answer.body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:BulkResponse"]));
        answer
            .results()
            .iter()
            .map(|it| it["location"].as_str().unwrap().rsplit('/').next().unwrap().to_owned())
            .collect()
    };
    let path = |at: usize| format!("/Users/{}", made[at]);
    let location = |at: usize| format!("{}{}", sandbox.running.base_url(), path(at));
    let answer = sandbox
        .bulk(json!([
            {"method": "PUT", "path": path(0), "data": user("anna"), "version": "W/\"1\""},
            {"method": "patch", "path": path(1), "data": patch("add", "title", json!("Boss"))},
            {"method": "DELETE", "path": path(2)},
            {"method": "POST", "path": "/Users", "bulkId": "b", "data": user("dan")},
        ]))
        .await;
    let results = answer.results();
    assert_eq!(statuses(results), ["200", "200", "204", "201"]);
    assert_eq!(
        results[0],
        json!({"method": "PUT", "location": location(0), "version": "W/\"2\"", "status": "200"})
    );
    assert_eq!(results[2], json!({"method": "DELETE", "location": location(2), "status": "204"}));
    assert_eq!((&results[3]["bulkId"], &results[3]["version"]), (&json!("b"), &json!("W/\"1\"")));
    assert_eq!(sandbox.user_names().await, ["anna", "bea", "dan"]);
}

#[tokio::test]
async fn failures_are_partial() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let mut operations = creates(&["ana", "ANA", "bea"]).as_array().unwrap().clone();
    operations.push(json!({"method": "DELETE", "path": "/Users/none"}));
    let answer = sandbox.bulk(operations.into()).await;
    let results = answer.results();
    assert_eq!((answer.status, statuses(results)), (200, vec!["201", "409", "201", "404"]));
    assert_eq!((results[1].get("location"), &results[1]["bulkId"]), (None, &json!("ANA")));
    assert_eq!(
        results[1]["response"],
        json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "409", "scimType": "uniqueness",
            "detail": "userName is taken"})
    );
    assert_eq!(results[3]["location"], format!("{}/Users/none", sandbox.running.base_url()));
    assert_eq!(sandbox.user_names().await, ["ana", "bea"]);
}

#[tokio::test]
async fn so_many_errors_end_the_request() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let mut message = bulk(creates(&["ana", "ANA", "bea", "BEA", "cem"]));
    message["failOnErrors"] = 2.into();
    let answer = sandbox.post("/Bulk", message).await;
    assert_eq!(statuses(answer.results()), ["201", "409", "201", "409"]);
    assert_eq!(sandbox.user_names().await, ["ana", "bea"]);
}

#[tokio::test]
async fn limits_hold_to_the_byte_and_to_the_operation() {
    let message = bulk(creates(&["ana", "bea"]));
    let bytes = message.to_string().len();
    let limits =
        |operations: usize, bytes: usize| json!({"max_operations": operations, "max_payload_bytes": bytes});
    let sandbox = Sandbox::with_faults(limits(2, bytes)).await;
    let config = sandbox.get("/ServiceProviderConfig").await.body;
    assert_eq!(config["bulk"], json!({"supported": true, "maxOperations": 2, "maxPayloadSize": bytes}));
    assert_eq!(sandbox.post("/Bulk", message.clone()).await.status, 200);
    for (limits, named) in [
        (limits(1, bytes), "maxOperations (1)"),
        (limits(2, bytes - 1), &*format!("maxPayloadSize ({})", bytes - 1)),
    ] {
        sandbox.admin("DELETE", "state", None).await;
        sandbox.set_faults(limits).await;
        let refused = sandbox.post("/Bulk", message.clone()).await;
        assert_eq!((refused.status, refused.body["status"].as_str()), (413, Some("413")));
        assert!(refused.body["detail"].as_str().unwrap().contains(named), "{refused:?}");
        assert!(sandbox.user_names().await.is_empty());
    }
    let garbage = sandbox.scim_request("POST", "/Bulk", None).body("{".repeat(bytes));
    assert_eq!(sent(garbage).await.unwrap().status, 413);
}

#[tokio::test]
async fn a_group_comes_before_its_members() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let group = json!({"displayName": "g", "members": [{"value": "bulkId:ana"}]});
    let mut operations = vec![json!({"method": "POST", "path": "/Groups", "bulkId": "g", "data": group})];
    operations.extend(creates(&["ana"]).as_array().unwrap().iter().cloned());
    let answer = sandbox.bulk(operations.into()).await;
    assert_eq!(statuses(answer.results()), ["201", "201"]);
    assert_eq!(
        (&answer.results()[0]["bulkId"], &answer.results()[1]["bulkId"]),
        (&json!("g"), &json!("ana"))
    );
    let state = sandbox.admin("GET", "state", None).await.body;
    assert_eq!(state["Groups"][0]["members"][0]["value"], state["Users"][0]["id"]);
    assert_eq!(state["Users"][0]["groups"][0]["value"], state["Groups"][0]["id"]);
}
