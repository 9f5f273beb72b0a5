//! Every fault of the sandbox, seen from a client.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::relay::eventually;
use crate::support::sandbox::{Sandbox, creates, patch, sent, user};

/// What a client gives an answer that does not come.
const SHORT: Duration = Duration::from_millis(500);

async fn create(sandbox: &Sandbox, name: &str) -> reqwest::Result<u16> {
    Ok(sent(sandbox.scim_request("POST", "/Users", Some(user(name)))).await?.status)
}

/// The bulkIds of the results for five users.
async fn five(sandbox: &Sandbox) -> Vec<String> {
    let answer = sandbox.bulk(creates(&["a", "b", "c", "d", "e"])).await;
    answer.results().iter().map(|it| it["bulkId"].as_str().unwrap().to_owned()).collect()
}

// --- of whole requests

#[tokio::test]
async fn refusals_apply_nothing() {
    for (fault, status) in [("rate_401", 401), ("rate_429", 429), ("rate_500", 500), ("rate_503", 503)] {
        let sandbox = Sandbox::with_faults(json!({fault: 1})).await;
        let refused = sandbox.post("/Users", user("ana")).await;
        assert_eq!(
            (refused.status, refused.body["status"].as_str()),
            (status, Some(status.to_string().as_str()))
        );
        assert_eq!(sandbox.get("/ServiceProviderConfig").await.status, status);
        assert!(sandbox.user_names().await.is_empty(), "{fault}");
        assert_eq!(sandbox.statuses().await, [u64::from(status); 2]);
    }
}

#[tokio::test]
async fn retry_after_comes_in_seconds_as_a_date_or_not_at_all() {
    for status in ["429", "503"] {
        let sandbox = Sandbox::with_faults(json!({})).await;
        let wait = async |form: &str| {
            sandbox
                .set_faults(
                    json!({format!("rate_{status}"): 1, "retry_after": 120, "retry_after_form": form}),
                )
                .await;
            sandbox.get("/Users").await.header("retry-after").map(str::to_owned)
        };
        assert_eq!(wait("seconds").await.as_deref(), Some("120"));
        assert_eq!(wait("none").await, None);
        let date = httpdate::parse_http_date(&wait("http-date").await.unwrap()).unwrap();
        let ahead = date.duration_since(std::time::SystemTime::now()).unwrap();
        assert!((Duration::from_secs(60)..=Duration::from_secs(120)).contains(&ahead), "{ahead:?}");
    }
}

#[tokio::test]
async fn a_rate_hits_its_share_and_no_other_request() {
    let sandbox = Sandbox::with_faults(json!({"rate_500": 0.3, "scope": "reads"})).await;
    for _ in 0..200 {
        sandbox.get("/Users?count=0").await;
    }
    let failed = sandbox.statuses().await.iter().filter(|status| **status == 500).count();
    assert!((30..90).contains(&failed), "{failed} of 200");
    for name in 0..20 {
        assert_eq!(create(&sandbox, &name.to_string()).await.unwrap(), 201);
    }
}

#[tokio::test]
async fn faults_can_be_for_bulk_or_single_writes_alone() {
    let sandbox = Sandbox::with_faults(json!({"rate_500": 1, "scope": "bulk"})).await;
    assert_eq!(sandbox.bulk(creates(&["ana"])).await.status, 500);
    assert_eq!(create(&sandbox, "ana").await.unwrap(), 201);
    sandbox.set_faults(json!({"rate_500": 1, "scope": "single"})).await;
    assert_eq!(sandbox.bulk(creates(&["bea"])).await.status, 200);
    assert_eq!(create(&sandbox, "cem").await.unwrap(), 500);
    assert_eq!(sandbox.get("/Users").await.body["totalResults"], 2);
}

#[tokio::test]
async fn a_request_can_be_applied_and_never_answered() {
    let sandbox = Sandbox::with_faults(json!({"rate_timeout_after": 1})).await;
    let request = sandbox.scim_request("POST", "/Users", Some(user("ana"))).timeout(SHORT);
    assert!(sent(request).await.unwrap_err().is_timeout());
    assert_eq!(sandbox.user_names().await, ["ana"]);
    assert_eq!(sandbox.statuses().await, [0]);
}

#[tokio::test]
async fn a_request_can_be_neither_applied_nor_answered() {
    let sandbox = Sandbox::with_faults(json!({"rate_timeout_before": 1})).await;
    let request = sandbox.scim_request("POST", "/Users", Some(user("ana"))).timeout(SHORT);
    assert!(sent(request).await.unwrap_err().is_timeout());
    assert!(sandbox.user_names().await.is_empty());
}

#[tokio::test]
async fn a_request_can_be_applied_after_the_client_has_given_it_up() {
    let sandbox =
        Sandbox::with_faults(json!({"rate_timeout_before": 1, "hang_ms": 1, "late_apply_ms": 2000})).await;
    create(&sandbox, "ana").await.unwrap_err();
    assert!(sandbox.user_names().await.is_empty());
    let late = eventually("it is applied", async || sandbox.user_names().await.pop()).await;
    assert_eq!(late, "ana");
}

#[tokio::test]
async fn what_would_be_applied_late_is_forgotten_with_the_state() {
    let sandbox =
        Sandbox::with_faults(json!({"rate_timeout_before": 1, "hang_ms": 1, "late_apply_ms": 200})).await;
    create(&sandbox, "before").await.unwrap_err();
    sandbox.admin("DELETE", "state", None).await;
    sandbox.set_faults(json!({"rate_timeout_before": 1, "hang_ms": 1, "late_apply_ms": 200})).await;
    create(&sandbox, "after").await.unwrap_err();
    // the one before would have come first
    let first =
        eventually("the later one is applied", async || sandbox.user_names().await.into_iter().next()).await;
    assert_eq!(first, "after");
}

#[tokio::test]
async fn a_silent_connection_can_be_closed_after_a_while() {
    let sandbox = Sandbox::with_faults(json!({"rate_timeout_after": 1, "hang_ms": 50})).await;
    let error = create(&sandbox, "ana").await.unwrap_err();
    assert!(!error.is_timeout(), "{error:?}");
    assert_eq!(sandbox.user_names().await, ["ana"]);
}

#[tokio::test]
async fn connections_are_dropped_before_or_after_the_change() {
    for (fault, names) in [("rate_drop_before", vec![]), ("rate_drop_after", vec!["ana"])] {
        let sandbox = Sandbox::with_faults(json!({fault: 1})).await;
        let error = create(&sandbox, "ana").await.unwrap_err();
        assert!(!error.is_timeout() && !error.is_connect(), "{fault}: {error:?}");
        assert_eq!(sandbox.user_names().await, names, "{fault}");
    }
}

#[tokio::test]
async fn an_answer_breaks_off_in_the_middle() {
    let sandbox = Sandbox::with_faults(json!({"rate_truncated": 1})).await;
    let mut response = sandbox.scim_request("POST", "/Users", Some(user("ana"))).send().await.unwrap();
    let length = response.content_length().unwrap();
    assert_eq!(response.status(), 201);
    let mut received = Vec::new();
    let broken = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => received.extend_from_slice(&chunk),
            end => break end.is_err(),
        }
    };
    assert!(broken && (received.len() as u64) < length, "{} of {length} bytes", received.len());
    assert!(serde_json::from_slice::<Value>(&received).is_err());
    assert_eq!(sandbox.user_names().await, ["ana"]);
}

#[tokio::test]
async fn an_answer_can_be_a_web_page() {
    let sandbox = Sandbox::with_faults(json!({"rate_html": 1})).await;
    let page = sandbox.post("/Users", user("ana")).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.body.as_str().unwrap().starts_with("<!DOCTYPE html>"), "{page:?}");
    assert_eq!(sandbox.user_names().await, ["ana"]);
}

// --- of bulk requests

#[tokio::test]
async fn operations_can_be_refused_one_by_one() {
    for (fault, status, names) in [
        ("rate_operation_400", "400", 0),
        ("rate_operation_404", "404", 0),
        ("rate_operation_409", "409", 0),
        ("rate_operation_429", "429", 0),
        ("rate_operation_500", "500", 0),
        ("rate_operation_500_after", "500", 5),
    ] {
        let sandbox = Sandbox::with_faults(json!({fault: 1})).await;
        let answer = sandbox.bulk(creates(&["a", "b", "c", "d", "e"])).await;
        assert_eq!((answer.status, answer.results().len()), (200, 5));
        for result in answer.results() {
            assert_eq!(
                (&result["status"], &result["response"]["status"]),
                (&json!(status), &json!(status)),
                "{fault}"
            );
        }
        assert_eq!(sandbox.user_names().await.len(), names, "{fault}");
    }
    let sandbox = Sandbox::with_faults(json!({"rate_operation_500": 0.5})).await;
    let names: Vec<String> = (0..100).map(|n| format!("u{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let answer = sandbox.bulk(creates(&names)).await;
    let failed = answer.results().iter().filter(|it| it["status"] == "500").count();
    assert!((20..80).contains(&failed), "{failed} of 100");
    assert_eq!(sandbox.user_names().await.len(), 100 - failed);
}

#[tokio::test]
async fn results_are_missing() {
    let sandbox = Sandbox::with_faults(json!({"rate_result_missing": 1})).await;
    assert!(five(&sandbox).await.is_empty());
    assert_eq!(sandbox.user_names().await.len(), 5);
}

#[tokio::test]
async fn results_come_twice() {
    let sandbox = Sandbox::with_faults(json!({"rate_result_duplicated": 1})).await;
    assert_eq!(five(&sandbox).await, ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e"]);
    assert_eq!(sandbox.user_names().await.len(), 5);
}

#[tokio::test]
async fn results_come_in_another_order() {
    let sandbox = Sandbox::with_faults(json!({"rate_results_reordered": 1})).await;
    let mut results = five(&sandbox).await;
    // a shuffle can leave five results as they were, but not with the seed that a sandbox has by default
    assert_ne!(results, ["a", "b", "c", "d", "e"]);
    results.sort_unstable();
    assert_eq!(results, ["a", "b", "c", "d", "e"]);
    assert_eq!(sandbox.user_names().await, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn results_are_written_as_other_providers_write_them() {
    let sandbox =
        Sandbox::with_faults(json!({"integer_status": true, "no_version": true, "relative_location": true}))
            .await;
    let mut operations = creates(&["ana"]).as_array().unwrap().clone();
    operations.push(json!({"method": "DELETE", "path": "/Users/none"}));
    let answer = sandbox.bulk(operations.into()).await;
    let (made, missing) = (&answer.results()[0], &answer.results()[1]);
    assert_eq!((&made["status"], &missing["status"]), (&json!(201), &json!(404)));
    assert_eq!((made.get("version"), &missing["location"]), (None, &json!("/Users/none")));
    assert!(made["location"].as_str().unwrap().starts_with("/Users/"), "{made}");
}

// --- somebody else

#[tokio::test]
async fn somebody_else_changes_what_was_just_written() {
    let sandbox = Sandbox::with_faults(json!({"rate_foreign_change": 1})).await;
    let made = sandbox.post("/Users", user("ana")).await;
    // the answer is that of the write
    assert_eq!(made.header("etag"), made.body["meta"]["version"].as_str());
    assert_eq!(made.body.get("nickName"), None);
    sandbox.set_faults(json!({})).await;
    let path = format!("/Users/{}", made.id());
    let now = sandbox.get(&path).await;
    assert_ne!(now.header("etag"), made.header("etag"));
    assert_eq!(now.body["nickName"], "somebody else 1");
    let title = Some(patch("add", "title", json!("Boss")));
    let stale = sandbox.scim_request("PATCH", &path, title).header("if-match", made.header("etag").unwrap());
    assert_eq!(sent(stale).await.unwrap().status, 412);
}

#[tokio::test]
async fn somebody_else_changes_what_a_bulk_request_wrote() {
    let sandbox = Sandbox::with_faults(json!({"rate_foreign_change": 1})).await;
    let answer = sandbox.bulk(creates(&["ana"])).await;
    let state = sandbox.admin("GET", "state", None).await.body;
    assert_ne!(answer.results()[0]["version"], state["Users"][0]["meta"]["version"]);
}

#[tokio::test]
async fn somebody_else_deletes_and_creates_again() {
    let sandbox = Sandbox::with_faults(json!({"rate_foreign_recreate": 1})).await;
    let made = sandbox.post("/Users", user("ana")).await;
    assert_eq!(made.status, 201);
    assert_eq!(sandbox.get(&format!("/Users/{}", made.id())).await.status, 404);
    let state = sandbox.admin("GET", "state", None).await.body;
    assert_eq!(state["Users"][0]["userName"], "ana");
    assert_ne!(state["Users"][0]["id"], made.id());
}

// --- speed

#[tokio::test]
async fn requests_and_operations_take_their_time() {
    let sandbox = Sandbox::with_faults(json!({"latency_min_ms": 60, "operation_latency_min_ms": 40})).await;
    let began = Instant::now();
    sandbox.get("/Users").await;
    assert!(began.elapsed() >= Duration::from_millis(60), "{:?}", began.elapsed());
    let began = Instant::now();
    five(&sandbox).await;
    assert!(began.elapsed() >= Duration::from_millis(260), "{:?}", began.elapsed());
}

#[tokio::test]
async fn more_requests_or_operations_a_second_than_allowed_are_too_many() {
    for (limit, request) in
        [("requests_per_second", json!(null)), ("operations_per_second", creates(&["ana"]))]
    {
        let sandbox = Sandbox::with_faults(json!({limit: 1})).await;
        let send = async || match &request {
            Value::Null => sandbox.get("/Users").await,
            operations => sandbox.bulk(operations.clone()).await,
        };
        assert_eq!(send().await.status, 200, "{limit}");
        let busy =
            eventually("one is too many", async || Some(send().await).filter(|it| it.status == 429)).await;
        assert_eq!(busy.header("retry-after"), Some("1"), "{limit}");
    }
}

// --- single resources

#[tokio::test]
async fn writes_to_a_poisoned_user_fail() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let made = sandbox.post("/Users", user("bad apple")).await;
    sandbox.set_faults(json!({"poison": "bad", "poison_status": 422})).await;
    let path = format!("/Users/{}", made.id());
    assert_eq!(create(&sandbox, "bad pear").await.unwrap(), 422);
    assert_eq!(create(&sandbox, "good pear").await.unwrap(), 201);
    assert_eq!(sandbox.scim("PATCH", &path, Some(patch("add", "title", json!("x")))).await.status, 422);
    assert_eq!(sandbox.scim("DELETE", &path, None).await.status, 422);
    let answer = sandbox.bulk(creates(&["bad plum", "good plum"])).await;
    let statuses: Vec<&Value> = answer.results().iter().map(|it| &it["status"]).collect();
    assert_eq!(statuses, ["422", "201"]);
    sandbox.set_faults(json!({"poison": "bad", "whole_bulk_fails_on_poison": true})).await;
    assert_eq!(sandbox.bulk(creates(&["fig", "bad fig"])).await.status, 500);
    assert_eq!(sandbox.user_names().await, ["bad apple", "good pear", "good plum"]);
}

// --- what the provider is lax or strict about

#[tokio::test]
async fn filters_can_be_ignored() {
    let sandbox = Sandbox::with_faults(json!({"ignore_filter": true})).await;
    for name in ["ana", "bea"] {
        create(&sandbox, name).await.unwrap();
    }
    assert_eq!(sandbox.get("/Users?filter=userName%20eq%20%22ana%22").await.body["totalResults"], 2);
}

#[tokio::test]
async fn unknown_members_and_missing_removals_can_be_refused() {
    let sandbox =
        Sandbox::with_faults(json!({"refuse_unknown_members": true, "refuse_missing_removals": true})).await;
    let group = sandbox.post("/Groups", json!({"displayName": "g"})).await;
    let path = format!("/Groups/{}", group.id());
    let unknown = sandbox.scim("PATCH", &path, Some(patch("add", "members", json!([{"value": "x"}])))).await;
    assert_eq!((unknown.status, unknown.scim_type()), (400, "invalidValue"));
    let missing =
        sandbox.scim("PATCH", &path, Some(patch("remove", "members[value eq \"x\"]", Value::Null))).await;
    assert_eq!((missing.status, missing.scim_type()), (400, "noTarget"));
}
