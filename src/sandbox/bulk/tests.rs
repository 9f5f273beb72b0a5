use jiff::Timestamp;
use serde_json::{Value, json};

use super::{REQUEST_URN, Report, admit, operations_of, read, run};
use crate::sandbox::dice::Dice;
use crate::sandbox::error::Refusal;
use crate::sandbox::faults::Faults;
use crate::sandbox::manners::{BulkKey, Manners};
use crate::sandbox::provider::Provider;
use crate::sandbox::schema::{ENTERPRISE_URN, Kind};
use crate::sandbox::view::Projection;

fn provider() -> Provider {
    Provider::new(Manners::default(), Faults::default(), Dice::new(1))
}

fn message(operations: Value) -> Value {
    json!({"schemas": [REQUEST_URN], "Operations": operations})
}

/// The results of a message.
fn sent(provider: &mut Provider, message: Value) -> Result<Vec<Value>, Refusal> {
    let request = read(message, &provider.faults, BulkKey::Either)?;
    let reports = run(request, provider, Timestamp::UNIX_EPOCH)?;
    let response = Report::response(&reports, "", provider);
    Ok(response["Operations"].as_array().unwrap().clone())
}

fn results(provider: &mut Provider, operations: Value) -> Vec<Value> {
    sent(provider, message(operations)).unwrap()
}

fn statuses(results: &[Value]) -> Vec<&str> {
    results.iter().map(|it| it["status"].as_str().unwrap()).collect()
}

fn create(name: &str) -> Value {
    json!({"method": "POST", "path": "/Users", "bulkId": name, "data": {"userName": name}})
}

/// A group whose members are resources of the same request.
fn group(name: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|it| json!({"value": format!("bulkId:{it}")})).collect();
    json!({"method": "POST", "path": "/Groups", "bulkId": name, "data": {"displayName": name, "members": members}})
}

/// The resources of a type, without what every one has.
fn stored(provider: &Provider, kind: Kind) -> Vec<Value> {
    let view = provider.view("");
    let shown = provider.directory.collection(kind).iter().map(|it| view.show(it, &Projection::Default));
    shown.collect()
}

fn id(provider: &Provider, kind: Kind, at: usize) -> Value {
    stored(provider, kind)[at]["id"].clone()
}

/// Keyword and status of the result's error.
fn error(result: &Value) -> (&str, &str) {
    let error = &result["response"];
    assert_eq!(error["status"], result["status"]);
    (error["scimType"].as_str().unwrap_or_default(), error["status"].as_str().unwrap())
}

// --- the message

#[test]
fn the_message_is_read_in_any_case() {
    let message = json!({"SCHEMAS": [REQUEST_URN.to_lowercase()], "operations":
        [{"METHOD": "post", "Path": "Users", "bulkid": "b", "DATA": {"USERNAME": "ana"}}]});
    assert_eq!(operations_of(&message), 1);
    let mut provider = provider();
    assert_eq!(statuses(&sent(&mut provider, message).unwrap()), ["201"]);
    assert_eq!(stored(&provider, Kind::User)[0]["userName"], "ana");
}

#[test]
fn what_is_no_bulk_request_is_refused_as_a_whole() {
    for message in [
        json!(null),
        json!([]),
        json!({}),
        json!({"Operations": []}),
        json!({"Operations": {}}),
        json!({"Operations": ["POST"]}),
        json!({"Operations": [{"method": 1, "path": "/Users"}]}),
        json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [create("ana")]}),
    ] {
        let refusal = read(message.clone(), &Faults::default(), BulkKey::Either).unwrap_err();
        assert_eq!(
            (refusal.status, &refusal.body()["scimType"]),
            (400, &json!("invalidSyntax")),
            "{message}"
        );
    }
    for count in [json!(0), json!(-1), json!(1.5), json!("1")] {
        let message = json!({"failOnErrors": count, "Operations": [create("ana")]});
        let refusal = read(message, &Faults::default(), BulkKey::Either).unwrap_err();
        assert_eq!((refusal.status, &refusal.body()["scimType"]), (400, &json!("invalidValue")), "{count}");
    }
}

#[test]
fn limits_are_named_with_413() {
    let faults = Faults { max_operations: 2, max_payload_bytes: 100, ..Faults::default() };
    assert_eq!(admit(100, &faults), Ok(()));
    let refusal = admit(101, &faults).unwrap_err();
    assert_eq!((refusal.status, refusal.detail.as_str()), (413, "101 bytes exceed maxPayloadSize (100)"));
    assert!(read(message(json!([create("a"), create("b")])), &faults, BulkKey::Either).is_ok());
    let refusal =
        read(message(json!([create("a"), create("b"), create("c")])), &faults, BulkKey::Either).unwrap_err();
    assert_eq!((refusal.status, refusal.detail.as_str()), (413, "3 operations exceed maxOperations (2)"));
    let off = Faults { bulk: false, ..faults };
    assert_eq!(admit(1, &off).unwrap_err().status, 501);
}

// --- single operations

#[test]
fn an_operation_fails_alone() {
    let mut provider = provider();
    let operations = json!([
        create("ana"),
        {"method": "POST", "path": "/Users", "data": {"userName": "bea"}},
        {"method": "POST", "path": "/Users", "bulkId": "x", "data": "bea"},
        {"method": "POST", "path": "/Users", "bulkId": "y"},
        {"method": "POST", "path": "/Users", "bulkId": "z", "data": {"displayName": "nameless"}},
        {"method": "POST", "path": "/Users/1", "bulkId": "u", "data": {"userName": "bea"}},
        {"method": "POST", "path": "/Things", "bulkId": "v", "data": {}},
        {"method": "POST", "bulkId": "w", "data": {}},
        {"path": "/Users", "bulkId": "t", "data": {}},
        {"method": "GET", "path": "/Users"},
        {"method": "PUT", "path": "/Users", "data": {"userName": "bea"}},
        {"method": "DELETE", "path": "/Users/none"},
        {"method": "PATCH", "path": "/Users/none", "data": {"Operations": [{"op": "remove", "path": "["}]}},
        create("bea"),
    ]);
    let results = results(&mut provider, operations);
    let errors: Vec<(&str, &str)> = results[1..13].iter().map(error).collect();
    assert_eq!(
        errors,
        [
            ("invalidSyntax", "400"),
            ("invalidSyntax", "400"),
            ("invalidSyntax", "400"),
            ("invalidValue", "400"),
            ("", "405"),
            ("", "404"),
            ("invalidSyntax", "400"),
            ("invalidSyntax", "400"),
            ("", "405"),
            ("", "405"),
            ("", "404"),
            ("invalidPath", "400"),
        ]
    );
    assert_eq!((&results[0]["status"], &results[13]["status"]), (&json!("201"), &json!("201")));
    assert_eq!(stored(&provider, Kind::User).len(), 2);
}

#[test]
fn results_have_a_location_but_for_a_failed_post_and_a_bulk_id_for_a_post() {
    let mut provider = provider();
    let operations =
        json!([create("ana"), create("ANA"), {"method": "DELETE", "path": "Users/none", "bulkId": "d"}]);
    let results = results(&mut provider, operations);
    let made = format!("/Users/{}", id(&provider, Kind::User, 0).as_str().unwrap());
    assert_eq!(
        results[0],
        json!({"method": "POST", "bulkId": "ana", "location": made, "version": "W/\"1\"", "status": "201"})
    );
    assert_eq!((results[1].get("location"), &results[1]["bulkId"]), (None, &json!("ANA")));
    assert_eq!((&results[2]["location"], results[2].get("bulkId")), (&json!("/Users/none"), None));
}

#[test]
fn each_operation_may_name_the_version_that_it_changes() {
    let mut provider = provider();
    results(&mut provider, json!([create("ana"), create("bea")]));
    let path = |at| format!("/Users/{}", id(&provider, Kind::User, at).as_str().unwrap());
    let (ana, bea) = (path(0), path(1));
    let title = json!({"Operations": [{"op": "add", "path": "title", "value": "Boss"}]});
    let operations = json!([
        {"method": "PATCH", "path": ana, "version": "W/\"1\"", "data": title},
        {"method": "PATCH", "path": ana, "version": "W/\"1\"", "data": title},
        {"method": "PUT", "path": ana, "version": "\"2\"", "data": {"userName": "anna"}},
        {"method": "DELETE", "path": bea, "version": "W/\"2\""},
        {"method": "DELETE", "path": bea, "version": "W/\"1\""},
    ]);
    let results = results(&mut provider, operations);
    assert_eq!(statuses(&results), ["200", "412", "200", "412", "204"]);
    assert_eq!((&results[0]["version"], &results[2]["version"]), (&json!("W/\"2\""), &json!("W/\"3\"")));
    assert_eq!((results[1].get("version"), results[4].get("version")), (None, None));
}

// --- failOnErrors

#[test]
fn fail_on_errors_is_the_number_of_errors_that_ends_the_request() {
    for (count, expected) in [
        (None, vec!["201", "409", "201", "409", "201"]),
        (Some(3), vec!["201", "409", "201", "409", "201"]),
        (Some(2), vec!["201", "409", "201", "409"]),
        (Some(1), vec!["201", "409"]),
    ] {
        let operations = json!([create("ana"), create("ANA"), create("bea"), create("BEA"), create("cem")]);
        let mut message = message(operations);
        message["failOnErrors"] = json!(count);
        let mut provider = provider();
        assert_eq!(statuses(&sent(&mut provider, message).unwrap()), expected, "{count:?}");
        let created = expected.iter().filter(|status| **status == "201").count();
        assert_eq!(stored(&provider, Kind::User).len(), created, "{count:?}");
    }
}

#[test]
fn what_waits_for_a_failed_operation_is_not_attempted_once_the_request_has_ended() {
    let mut message = message(
        json!([group("g", &["ana"]), create("cem"), {"method": "POST", "path": "/Users", "bulkId": "ana", "data": {}}]),
    );
    message["failOnErrors"] = 1.into();
    let mut provider = provider();
    let results = sent(&mut provider, message).unwrap();
    assert_eq!((statuses(&results), &results[0]["bulkId"]), (vec!["400"], &json!("ana")));
    assert!(stored(&provider, Kind::Group).is_empty() && stored(&provider, Kind::User).is_empty());
}

// --- bulkId

#[test]
fn references_lead_back_and_forward_in_any_attribute() {
    let manager = json!({"method": "POST", "path": "/Users", "bulkId": "bea", "data":
        {"userName": "bea", ENTERPRISE_URN: {"manager": {"value": "bulkId:boss"}}}});
    let mut provider = provider();
    let operations = json!([
        group("all", &["team", "ana"]),
        group("team", &["bea"]),
        create("ana"),
        manager,
        create("boss")
    ]);
    let results = results(&mut provider, operations);
    assert_eq!(statuses(&results), ["201"; 5]);
    let order: Vec<&Value> = results.iter().map(|it| &it["bulkId"]).collect();
    assert_eq!(order, ["all", "team", "ana", "bea", "boss"], "results are in the order of the request");
    let find = |kind: Kind, attribute: &str, name: &str| {
        stored(&provider, kind).into_iter().find(|it| it[attribute] == name).unwrap()
    };
    let (ana, bea, boss) = (
        find(Kind::User, "userName", "ana"),
        find(Kind::User, "userName", "bea"),
        find(Kind::User, "userName", "boss"),
    );
    let (all, team) = (find(Kind::Group, "displayName", "all"), find(Kind::Group, "displayName", "team"));
    assert_eq!(bea[ENTERPRISE_URN]["manager"]["value"], boss["id"]);
    assert_eq!(team["members"][0]["value"], bea["id"]);
    let members: Vec<&Value> = all["members"].as_array().unwrap().iter().map(|it| &it["value"]).collect();
    assert!(
        members.len() == 2 && members.contains(&&team["id"]) && members.contains(&&ana["id"]),
        "{members:?}"
    );
}

#[test]
fn puts_and_patches_refer_to_new_resources_too() {
    let mut provider = provider();
    results(&mut provider, json!([group("g", &[])]));
    let path = format!("/Groups/{}", id(&provider, Kind::Group, 0).as_str().unwrap());
    let add = json!({"Operations": [{"op": "add", "path": "members", "value": [{"value": "bulkId:ana"}]}]});
    let operations = json!([{"method": "PATCH", "path": path, "data": add}, create("ana")]);
    assert_eq!(statuses(&results(&mut provider, operations)), ["200", "201"]);
    let members = stored(&provider, Kind::Group)[0]["members"].clone();
    assert_eq!(members[0]["value"], id(&provider, Kind::User, 0));
}

#[test]
fn a_reference_that_leads_nowhere_is_a_conflict() {
    let mut provider = provider();
    let operations = json!([
        group("g", &["nobody"]),
        group("h", &["bad"]),
        {"method": "POST", "path": "/Users", "bulkId": "bad", "data": {}},
        group("i", &["g"]),
    ]);
    let results = results(&mut provider, operations);
    assert_eq!(statuses(&results), ["409", "409", "400", "409"]);
    assert_eq!(results[0]["response"]["detail"], "bulkId nobody can not be resolved");
    assert_eq!(results[0]["response"].get("scimType"), None);
    assert!(stored(&provider, Kind::Group).is_empty());
}

#[test]
fn circles_are_conflicts_and_end() {
    let mut provider = provider();
    let operations = json!([
        group("a", &["b"]),
        group("b", &["c"]),
        group("c", &["a"]),
        group("self", &["self"]),
        group("d", &[])
    ]);
    assert_eq!(statuses(&results(&mut provider, operations)), ["409", "409", "409", "409", "201"]);
}

#[test]
fn a_long_chain_of_forward_references_is_no_problem() {
    let names: Vec<String> = (0..1000).map(|at| format!("g{at}")).collect();
    let chain = names.iter().enumerate().map(|(at, name)| {
        let next: Vec<&str> = names.get(at + 1).map(String::as_str).into_iter().collect();
        group(name, &next)
    });
    let results = results(&mut provider(), chain.collect());
    assert!(results.iter().all(|it| it["status"] == "201"));
}

#[test]
fn a_bulk_id_is_used_once() {
    let mut provider = provider();
    let mut second = create("ana");
    second["data"] = json!({"userName": "bea"});
    let results = results(&mut provider, json!([group("g", &["ana"]), create("ana"), second]));
    assert_eq!(statuses(&results), ["201", "201", "400"]);
    assert_eq!(error(&results[2]), ("invalidValue", "400"));
    let members = stored(&provider, Kind::Group)[0]["members"].clone();
    assert_eq!(members[0]["value"], id(&provider, Kind::User, 0));
}
