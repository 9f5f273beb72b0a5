//! Tables of the responses that servers really send.

use super::*;
use crate::core::operation::Write;
use crate::core::resource::{ExternalId, ResourceKey, ResourceType, TargetId};
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

fn key(kind: ResourceType, id: &str) -> ResourceKey {
    ResourceKey::new(kind, ExternalId::new(id).unwrap())
}

fn operation(kind: ResourceType, bulk_id: &str, write: Write) -> Operation {
    Operation { key: key(kind, bulk_id), bulk_id: bulk_id.to_owned(), write }
}

fn create(bulk_id: &str) -> Operation {
    operation(ResourceType::User, bulk_id, Write::Create { body: json!({"userName": bulk_id}) })
}

fn patch(kind: ResourceType, bulk_id: &str, id: &str) -> Operation {
    let write =
        Write::Patch { id: TargetId::new(id).unwrap(), version: ETag::new("W/\"1\""), body: json!({}) };
    operation(kind, bulk_id, write)
}

fn delete(bulk_id: &str, id: &str) -> Operation {
    operation(ResourceType::User, bulk_id, Write::Delete { id: TargetId::new(id).unwrap(), version: None })
}

fn decoded(sent: &[Operation], operations: Value) -> Vec<Outcome> {
    decode(sent, &json!({"Operations": operations})).unwrap()
}

/// What came out, short: `201 a-1`, `404`, `Missing`.
fn seen(outcomes: &[Outcome]) -> Vec<String> {
    let short = |outcome: &Outcome| match outcome {
        Outcome::Answered(Answer { status, id: Some(id), .. }) => format!("{status} {id}"),
        Outcome::Answered(Answer { status, .. }) => status.to_string(),
        Outcome::Unknown(unknown) => format!("{unknown:?}"),
        Outcome::NotSent(not_sent) => format!("{not_sent:?}"),
    };
    outcomes.iter().map(short).collect()
}

fn answer(outcome: &Outcome) -> &Answer {
    match outcome {
        Outcome::Answered(answer) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn a_dialect_that_correlates_by_id_gets_it_too_and_its_integer_statuses_are_read() {
    let mut dialect = Dialect { bulk_key: BulkKey::IdToo, ..Dialect::default() };
    dialect.users.segment = "users".into();
    let sent = [create("b1"), delete("b2", "u2")];
    let body: Value = serde_json::from_slice(&encode(&sent, &dialect)).unwrap();
    assert_eq!(
        (&body["Operations"][0]["id"], &body["Operations"][0]["bulkId"]),
        (&json!("b1"), &json!("b1"))
    );
    assert_eq!(
        (&body["Operations"][1]["id"], &body["Operations"][1]["path"]),
        (&json!("b2"), &json!("/users/u2"))
    );
    let parts: usize = sent.iter().map(|it| encoded_len(it, &dialect)).sum();
    assert_eq!(ENVELOPE_LEN + parts + SEPARATOR_LEN, encode(&sent, &dialect).len());
    let results = json!([
        {"id": "b2", "method": "DELETE", "path": "/users/u2", "status": 404, "errors": [{"detail": "gone", "status": 404}]},
        {"id": "b1", "method": "POST", "path": "/users", "status": 201, "location": "/users/u1"},
    ]);
    assert_eq!(seen(&decoded(&sent, results)), ["201 u1", "404"]);
}

#[test]
fn a_request_is_written_by_the_book() {
    let sent = [create("b1"), patch(ResourceType::Group, "b2", "g/1"), delete("b3", "u 3")];
    let body: Value = serde_json::from_slice(&encode(&sent, &Dialect::default())).unwrap();
    assert_eq!(
        body,
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
            "Operations": [
                {"method": "POST", "bulkId": "b1", "path": "/Users", "data": {"userName": "b1"}},
                {"method": "PATCH", "bulkId": "b2", "version": "W/\"1\"", "path": "/Groups/g%2F1", "data": {}},
                {"method": "DELETE", "bulkId": "b3", "path": "/Users/u%203"},
            ]
        })
    );
}

proptest! {
    #[test]
    fn the_sizes_add_up_to_the_body(names in prop::collection::vec(any::<String>(), 0..8)) {
        let make = |(index, name): (usize, &String)| {
            let bulk_id = format!("b{index}");
            match index % 3 {
                0 => operation(ResourceType::User, &bulk_id, Write::Create { body: json!({"displayName": name}) }),
                1 => patch(ResourceType::Group, &bulk_id, &format!("x{name}")),
                _ => delete(&bulk_id, &format!("x{name}")),
            }
        };
        let sent: Vec<Operation> = names.iter().enumerate().map(make).collect();
        let parts: usize = sent.iter().map(|it| encoded_len(it, &Dialect::default())).sum();
        let separators = sent.len().saturating_sub(1) * SEPARATOR_LEN;
        prop_assert_eq!(ENVELOPE_LEN + parts + separators, encode(&sent, &Dialect::default()).len());
    }
}

#[test]
fn results_find_their_operations() {
    let sent = [create("b1"), patch(ResourceType::User, "b2", "u2"), delete("b3", "u3")];
    let post =
        json!({"method": "POST", "bulkId": "b1", "location": "https://x/v2/Users/u1", "status": "201"});
    let patch = json!({"method": "PATCH", "location": "https://x/v2/Users/u2", "status": "200"});
    let delete = json!({"method": "DELETE", "location": "/Users/u3", "status": 204});
    let all = ["201 u1", "200 u2", "204 u3"];
    for (case, results, expected) in [
        ("in order", json!([post, patch, delete]), all),
        ("reordered", json!([delete, post, patch]), all),
        ("repeated", json!([post, patch, delete, patch, post]), all),
        ("two missing", json!([patch]), ["Missing", "200 u2", "Missing"]),
        ("none", json!([]), ["Missing", "Missing", "Missing"]),
        (
            "foreign ones",
            json!([{"method": "POST", "bulkId": "other", "status": 201, "location": "/Users/u9"},
            {"method": "PATCH", "status": 200, "location": "/Users/u9"}, 5, null, {}]),
            ["Missing", "Missing", "Missing"],
        ),
    ] {
        assert_eq!(seen(&decoded(&sent, results)), expected, "{case}");
    }
}

#[test]
fn the_key_and_the_names_may_be_in_any_case() {
    let response =
        json!({"operations": [{"Method": "post", "BulkID": "b1", "Location": "Users/u1", "Status": "201"}]});
    assert_eq!(seen(&decode(&[create("b1")], &response).unwrap()), ["201 u1"]);
}

#[test]
fn another_dialect_correlates_by_id_with_whole_numbers() {
    let sent = [create("b1"), create("b2")];
    let results = json!([
        {"id": "b2", "method": "POST", "path": "/Users", "status": 409, "detail": "taken",
         "errors": [{"detail": "userName is taken", "status": 409}]},
        {"id": "b1", "method": "POST", "path": "/Users", "status": 201, "location": "/scim/v2/Users/u1"},
    ]);
    let outcomes = decoded(&sent, results);
    assert_eq!(seen(&outcomes), ["201 u1", "409"]);
    assert_eq!(answer(&outcomes[1]).detail.as_deref(), Some("userName is taken"));
}

#[test]
fn position_counts_only_where_all_lines_up() {
    let sent = [create("b1"), create("b2"), delete("b3", "u3")];
    let post = |id: &str| json!({"method": "POST", "status": 201, "location": format!("/Users/{id}")});
    let named =
        |bulk_id: &str, id: &str| json!({"method": "POST", "bulkId": bulk_id, "status": 201, "location": id});
    let delete = json!({"method": "DELETE", "status": "204"});
    for (case, results, expected) in [
        ("lines up", json!([post("u1"), post("u2"), delete]), ["201 u1", "201 u2", "204"]),
        ("one too few", json!([post("u1"), delete]), ["Missing", "Missing", "Missing"]),
        ("methods differ", json!([post("u1"), delete, post("u2")]), ["Missing", "Missing", "Missing"]),
        (
            "no methods",
            json!([{"status": 201}, {"status": 201}, {"status": 204}]),
            ["Missing", "Missing", "Missing"],
        ),
        ("reordered", json!([named("b2", "u2"), post("u1"), delete]), ["Missing", "201 u2", "Missing"]),
        ("a foreign one", json!([named("b9", "u9"), post("u2"), delete]), ["Missing", "Missing", "Missing"]),
    ] {
        assert_eq!(seen(&decoded(&sent, results)), expected, "{case}");
    }
}

#[test]
fn equal_ids_of_two_types_and_methods_are_told_apart() {
    let sent =
        [patch(ResourceType::User, "b1", "7"), patch(ResourceType::Group, "b2", "7"), delete("b3", "8")];
    let results = json!([
        {"method": "DELETE", "location": "https://x/Users/8", "status": 204},
        {"method": "PATCH", "location": "https://x/groups/7", "status": 412},
        {"location": "https://x/Users/7", "status": 200},
    ]);
    assert_eq!(seen(&decoded(&sent, results)), ["200 7", "412", "204 8"]);
    // without a type in the location both fit: nobody knows
    let unclear = json!([{"method": "PATCH", "location": "7", "status": 200}]);
    assert_eq!(seen(&decoded(&sent, unclear)), ["Missing", "Missing", "Missing"]);
}

#[test]
fn a_result_with_another_method_than_was_sent_is_not_believed() {
    let results = json!([{"method": "DELETE", "bulkId": "b1", "status": 204}]);
    assert_eq!(seen(&decoded(&[create("b1")], results)), ["Missing"]);
}

#[test]
fn contradicting_results_leave_it_unknown() {
    let done = json!({"method": "POST", "bulkId": "b1", "status": 201, "location": "/Users/u1"});
    let refused = json!({"method": "POST", "bulkId": "b1", "status": 409});
    let elsewhere = json!({"method": "POST", "bulkId": "b1", "status": 201, "location": "/Users/u2"});
    for second in [refused, elsewhere] {
        assert_eq!(seen(&decoded(&[create("b1")], json!([done, second]))), ["Unreadable"], "{second}");
    }
}

#[test]
fn repeated_results_with_different_versions_forget_the_version() {
    let result = |version: &str| json!({"bulkId": "b1", "status": 200, "version": version});
    let sent = [patch(ResourceType::User, "b1", "u1")];
    assert_eq!(answer(&decoded(&sent, json!([result("1"), result("2")]))[0]).etag, None);
    assert_eq!(answer(&decoded(&sent, json!([result("1"), result("1")]))[0]).etag, ETag::new("\"1\""));
}

#[test]
fn a_status_may_be_written_in_many_ways() {
    let sent = [patch(ResourceType::User, "b1", "u1")];
    for (status, expected) in [
        (json!("200"), "200"),
        (json!(200), "200"),
        (json!({"code": "412", "description": "stale"}), "412"),
        (json!("404 Not Found"), "404"),
        (json!("fine"), "Unreadable"),
        (json!(null), "Unreadable"),
    ] {
        let outcomes = decoded(&sent, json!([{"bulkId": "b1", "status": status}]));
        assert_eq!(seen(&outcomes), [expected], "{status}");
    }
    let inside = json!([{"bulkId": "b1", "response": {"status": "403", "detail": "no"}}]);
    assert_eq!(seen(&decoded(&sent, inside)), ["403"]);
}

#[test]
fn id_and_version_come_from_the_resource_first() {
    let results = json!([{
        "method": "POST", "bulkId": "b1", "status": "201", "version": "W/\"1\"", "location": "/Users/other",
        "response": {"id": "u1", "meta": {"version": "W/\"2\""}},
    }]);
    let outcomes = decoded(&[create("b1")], results);
    let answer = answer(&outcomes[0]);
    assert_eq!(answer.id, TargetId::new("u1"));
    assert_eq!(answer.etag, ETag::new("W/\"2\""));
    assert!(answer.resource.is_some());
}

#[test]
fn a_create_that_names_no_id_is_unknown() {
    for result in
        [json!({"bulkId": "b1", "status": 201}), json!({"bulkId": "b1", "status": 201, "location": "/Users"})]
    {
        assert_eq!(seen(&decoded(&[create("b1")], json!([result]))), ["Unreadable"], "{result}");
    }
}

#[test]
fn a_success_that_carries_an_error_is_unknown() {
    let error = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "400"});
    let results = json!([{"bulkId": "b1", "status": "200", "response": error}]);
    assert_eq!(seen(&decoded(&[patch(ResourceType::User, "b1", "u1")], results)), ["Unreadable"]);
}

#[test]
fn errors_are_read_from_the_response_or_the_operation() {
    let sent = [patch(ResourceType::User, "b1", "u1")];
    for (result, scim_type, detail, seconds) in [
        (
            json!({"response": {"scimType": "uniqueness", "detail": "taken"}}),
            Some("uniqueness"),
            Some("taken"),
            None,
        ),
        (json!({"scimType": "noTarget", "detail": "gone"}), Some("noTarget"), Some("gone"), None),
        (json!({"errors": [{"detail": "bad", "status": 400}]}), None, Some("bad"), None),
        (json!({"response": {"code": 400, "message": "bad"}}), None, Some("bad"), None),
        (json!({"response": "bad"}), None, None, None),
        (json!({}), None, None, None),
        (json!({"retryAfter": "7"}), None, None, Some(7)),
        (json!({"headers": {"retry-after": 7}}), None, None, Some(7)),
        (json!({"detail": "Retry in 9 seconds"}), None, Some("Retry in 9 seconds"), Some(9)),
    ] {
        let mut result = result;
        result["bulkId"] = json!("b1");
        result["status"] = json!("429");
        let outcomes = decoded(&sent, json!([result]));
        let answer = answer(&outcomes[0]);
        assert!(answer.scim_error, "{result}");
        assert_eq!(answer.scim_type.as_deref(), scim_type, "{result}");
        assert_eq!(answer.detail.as_deref(), detail, "{result}");
        assert_eq!(answer.retry_after, seconds.map(Duration::from_secs), "{result}");
    }
}

#[test]
fn what_has_no_list_of_operations_is_no_bulk_response() {
    for response in
        [json!({}), json!([]), json!({"Operations": "none"}), json!({"status": "400", "detail": "bad"})]
    {
        assert_eq!(decode(&[create("b1")], &response), None, "{response}");
    }
}

proptest! {
    #[test]
    fn whatever_the_server_says_every_operation_has_one_outcome(
        results in prop::collection::vec((0..5usize, 0..5usize, 0..5usize), 0..8)
    ) {
        let sent = [create("b1"), patch(ResourceType::User, "b2", "u2"), delete("b3", "u3")];
        let statuses = [json!(200), json!("404"), json!({}), json!(null), json!(99)];
        let made = |&(name, place, status): &(usize, usize, usize)| {
            let bulk_id = ["b1", "b2", "b3", "", "x"][name];
            let location = ["/Users/u1", "/Users/u2", "/Users/u3", "", "/"][place];
            json!({"bulkId": bulk_id, "location": location, "status": statuses[status]})
        };
        let response = json!({"Operations": results.iter().map(made).collect::<Vec<_>>()});
        prop_assert_eq!(decode(&sent, &response).unwrap().len(), sent.len());
    }
}
