//! What each provider refuses, asked directly: where the sandbox were milder than the profile, the histories would show nothing.

use serde_json::{Value, json};

use crate::support::provider::Provider;
use crate::support::sandbox::{patch, user};

/// A request, and what comes of it.
struct Case {
    method: &'static str,
    /// `{users}`, `{groups}`, `{user}` and `{group}` stand for the paths of this provider and of what is there.
    path: &'static str,
    body: Option<Value>,
    status: u16,
    scim_type: &'static str,
}

fn case(method: &'static str, path: &'static str, body: Value, status: u16, scim_type: &'static str) -> Case {
    Case { method, path, body: Some(body).filter(|it| !it.is_null()), status, scim_type }
}

fn asked(path: &'static str, status: u16, scim_type: &'static str) -> Case {
    case("GET", path, Value::Null, status, scim_type)
}

/// So many members.
fn members(count: usize) -> Value {
    (0..count).map(|at| json!({"value": format!("m{at}")})).collect()
}

fn group(count: usize) -> Value {
    json!({"displayName": "g", "members": members(count)})
}

fn bulk_of(operation: Value) -> Value {
    json!({"Operations": [operation]})
}

/// The provider with one user, ana, and one group, Sales.
async fn furnished(name: &str) -> (Provider, String, String) {
    let provider = Provider::start(name).await;
    let there = json!({
        "Users": [{"userName": "ana", "externalId": "e-1", "active": true}],
        "Groups": [{"displayName": "Sales", "externalId": "g-1"}],
    });
    let state = provider.holding(there).await;
    let id = |kind: &str| state[kind][0]["id"].as_str().unwrap().to_owned();
    let (user, group) = (id("Users"), id("Groups"));
    (provider, user, group)
}

async fn refuses(name: &str, cases: Vec<Case>) {
    for case in cases {
        let (provider, user, group) = furnished(name).await;
        let path = case
            .path
            .replace("{users}", provider.users())
            .replace("{groups}", provider.groups())
            .replace("{user}", &format!("{}/{user}", provider.users()))
            .replace("{group}", &format!("{}/{group}", provider.groups()));
        let answer = provider.ask(case.method, &path, case.body.clone()).await;
        let what = format!("{name}: {} {path} {:?}: {answer:?}", case.method, case.body);
        assert_eq!((answer.status, answer.scim_type()), (case.status, case.scim_type), "{what}");
    }
}

fn removed(path: &str, value: Value) -> Value {
    patch("remove", path, value)
}

#[tokio::test]
async fn by_the_book_bulk_operations_have_a_bulk_id_and_members_go_by_filter() {
    let create = json!({"method": "POST", "path": "/Users", "bulkId": "b", "data": user("bo")});
    let mut with_id = create.clone();
    with_id["id"] = json!("b");
    refuses(
        "generic",
        vec![
            case("POST", "/Bulk", bulk_of(create), 200, ""),
            case("POST", "/Bulk", bulk_of(with_id), 400, "invalidSyntax"),
            case("PATCH", "{group}", removed("members", members(1)), 400, "invalidValue"),
            case("PATCH", "{group}", removed("members[value eq \"m0\"]", Value::Null), 204, ""),
            case("POST", "{users}", user("ANA"), 409, "uniqueness"),
            asked("{users}?filter=title%20eq%20%22x%22%20or%20userName%20eq%20%22ana%22", 200, ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn nice_cxone_takes_put_and_plain_json_and_tells_bulk_operations_apart_by_id() {
    refuses(
        "nice-cxone",
        vec![
            case("PATCH", "{user}", patch("replace", "title", json!("x")), 501, ""),
            case("PUT", "{user}", user("ana"), 200, ""),
            case("POST", "/Bulk", json!({"Operations": vec![json!({}); 501]}), 413, ""),
        ],
    )
    .await;
    let (provider, id, _) = furnished("nice-cxone").await;
    let operations = json!([
        {"id": "1", "method": "POST", "path": "/Users", "data": user("bo")},
        {"id": "2", "method": "POST", "path": "/Users", "data": user("ana")},
        {"id": "3", "method": "PUT", "path": format!("/Users/{id}"), "version": "W/\"9\"", "data": user("ana")},
    ]);
    let answer = provider.ask("POST", "/Bulk", Some(json!({"Operations": operations}))).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let results = answer.results();
    let told = |at: usize, name: &str| results[at][name].clone();
    assert_eq!((told(0, "id"), told(0, "status")), (json!("1"), json!(201)));
    assert_eq!((told(0, "bulkId"), told(0, "version")), (Value::Null, Value::Null));
    assert_eq!(told(0, "path"), "/Users");
    assert_eq!((told(1, "status"), told(1, "detail")), (json!(409), json!("userName is taken")));
    assert_eq!(told(1, "errors"), json!([{"detail": "userName is taken", "status": 409}]));
    assert_eq!(
        (told(2, "id"), told(2, "status"), told(2, "response")),
        (json!("3"), json!(412), Value::Null)
    );
    let scim = provider.sandbox.post("/Users", user("cy")).await;
    assert_eq!((scim.status, scim.header("content-type")), (415, Some("application/json")));
}

#[tokio::test]
async fn genesys_cloud_matches_groups_hides_who_is_inactive_and_deletes_softly() {
    let by_name = "{users}?filter=userName%20eq%20%22ana%22";
    refuses(
        "genesys-cloud",
        vec![
            asked("/Users", 404, ""),
            asked("/ServiceProviderConfig", 404, ""),
            asked("/serviceproviderconfig", 200, ""),
            case("POST", "/Bulk", json!({}), 404, ""),
            case("POST", "{groups}", json!({"displayName": "New"}), 405, ""),
            case("DELETE", "{group}", Value::Null, 405, ""),
            case("PATCH", "{group}", patch("replace", "displayName", json!("New")), 204, ""),
            case("PATCH", "{group}", patch("replace", "externalId", json!("x")), 400, "mutability"),
            asked("{groups}?filter=externalId%20eq%20%22g-1%22", 400, "invalidFilter"),
            asked("{users}?filter=title%20eq%20%22x%22", 400, "invalidFilter"),
            asked("{users}?count=25", 200, ""),
            asked("{users}?count=26", 429, ""),
            asked(by_name, 200, ""),
        ],
    )
    .await;
    let (provider, id, _) = furnished("genesys-cloud").await;
    let path = format!("{}/{id}", provider.users());
    let ana = provider.ask("GET", &path, None).await;
    assert_eq!((ana.header("etag"), &ana.body["meta"]["version"]), (Some("\"1\""), &json!("\"1\"")));
    let change = Some(patch("replace", "title", json!("x")));
    let stale = provider.ask_at("PATCH", &path, change.clone(), Some("\"9\"")).await;
    assert_eq!((stale.status, stale.scim_type()), (400, "invalidVers"));
    assert_eq!(provider.ask_at("PATCH", &path, change, Some("\"1\"")).await.status, 200);

    assert_eq!(provider.ask("DELETE", &path, None).await.status, 204);
    let found = async |query: &str| {
        provider.ask("GET", &format!("{}?{query}", provider.users()), None).await.body["totalResults"].clone()
    };
    assert_eq!(found("").await, 0);
    assert_eq!(found("filter=userName%20eq%20%22ana%22").await, 0);
    assert_eq!(found("filter=active%20eq%20false").await, 1);
    assert_eq!(found("filter=(userName%20eq%20%22ana%22)%20and%20(active%20eq%20false)").await, 1);
    let again = provider.ask("POST", provider.users(), Some(user("ana"))).await;
    assert_eq!((again.status, again.scim_type()), (409, "uniqueness"));
    let revived = provider.ask("PATCH", &path, Some(patch("replace", "active", json!(true)))).await;
    assert_eq!((revived.status, found("").await), (200, json!(1)));
}

#[tokio::test]
async fn genesys_cloud_says_in_a_sentence_how_long_to_wait() {
    let (provider, ..) = furnished("genesys-cloud").await;
    provider.sandbox.set_faults(json!({"rate_429": 1.0, "retry_after": 7})).await;
    let busy = provider.ask("GET", provider.users(), None).await;
    assert_eq!((busy.status, busy.header("retry-after")), (429, None));
    assert_eq!(busy.body["detail"], "too many requests: retry the request in 7 seconds");
}

#[tokio::test]
async fn aws_identity_center_takes_a_hundred_members_and_shows_none() {
    let both = "{users}?filter=userName%20eq%20%22ana%22%20or%20userName%20eq%20%22bo%22";
    refuses(
        "aws-identity-center",
        vec![
            case("POST", "/Bulk", json!({}), 404, ""),
            case("POST", "{groups}", group(100), 201, ""),
            case("POST", "{groups}", group(101), 400, "invalidValue"),
            case("PATCH", "{group}", patch("add", "members", members(100)), 204, ""),
            case("PATCH", "{group}", patch("add", "members", members(101)), 400, "invalidValue"),
            case("PATCH", "{group}", patch("replace", "members", members(1)), 400, "invalidValue"),
            case("PATCH", "{group}", removed("members", Value::Null), 400, "invalidValue"),
            case("PUT", "{group}", group(1), 405, ""),
            asked(both, 400, "invalidFilter"),
            asked("{users}?filter=userName%20eq%20%22ana%22%20and%20externalId%20eq%20%22e-1%22", 200, ""),
            asked("{groups}?filter=id%20eq%20%22x%22", 400, "invalidFilter"),
        ],
    )
    .await;
    let (provider, _, id) = furnished("aws-identity-center").await;
    let path = format!("{}/{id}", provider.groups());
    provider.ask("PATCH", &path, Some(patch("add", "members", members(3)))).await;
    assert_eq!(provider.ask("GET", &path, None).await.body["members"], Value::Null);
    assert_eq!(provider.state().await["Groups"][0]["members"].as_array().map(Vec::len), Some(3));
    let missing = provider.ask("GET", &format!("{}/x", provider.users()), None).await;
    assert_eq!(missing.body["schema"], missing.body["schemas"]);
    let users: Value = (0..60).map(|at| user(&format!("u{at}"))).collect();
    provider.holding(json!({"Users": users})).await;
    let page = provider.ask("GET", &format!("{}?count=100", provider.users()), None).await.body;
    assert_eq!((&page["itemsPerPage"], &page["totalResults"]), (&json!(50), &json!(61)));
}

#[tokio::test]
async fn keycloak_has_neither_bulk_nor_etags_and_takes_short_filters() {
    let terms = |count: usize| vec!["userName%20eq%20%22ana%22"; count].join("%20or%20");
    let query = |filter: String| -> &'static str { format!("{{users}}?filter={filter}").leak() };
    let long = format!("userName%20eq%20%22{}%22", "a".repeat(2048));
    refuses(
        "keycloak",
        vec![
            case("POST", "/Bulk", json!({}), 404, ""),
            asked(query(terms(10)), 200, ""),
            asked(query(terms(11)), 400, "invalidFilter"),
            asked(query(long), 400, "invalidFilter"),
        ],
    )
    .await;
    let (provider, id, _) = furnished("keycloak").await;
    assert!(provider.sandbox.running.base_url().ends_with("/realms/realm/scim/v2"));
    let ana = provider.ask("GET", &format!("{}/{id}", provider.users()), None).await;
    assert_eq!((ana.header("etag"), &ana.body["meta"]["version"]), (None, &Value::Null));
    let location = ana.body["meta"]["location"].as_str().unwrap();
    assert!(location.contains("/realms/realm/scim/v2/Users/"), "{location}");
    let other = provider.sandbox.request("GET", "/realms/acme/scim/v2/Users").send().await.unwrap();
    assert_eq!(other.status(), 200, "any realm");
    assert_eq!(provider.sandbox.get("/Users").await.status, 200, "and where the sandbox always is");
    let config = provider.ask("GET", "/ServiceProviderConfig", None).await.body;
    assert_eq!((&config["bulk"]["supported"], &config["etag"]["supported"]), (&json!(false), &json!(false)));
    assert_eq!(config["filter"]["maxResults"], 100);
}

#[tokio::test]
async fn scim2_server_refuses_a_second_user_and_answers_a_patch_with_nothing() {
    let create = json!({"method": "POST", "path": "/Users", "bulkId": "b", "id": "b", "data": user("bo")});
    refuses(
        "scim2-server",
        vec![
            case("POST", "/Bulk", bulk_of(create), 400, "invalidSyntax"),
            case("POST", "/Bulk", json!({"Operations": vec![json!({}); 1001]}), 413, ""),
            case("POST", "/Bulk", json!({"x": "x".repeat(1 << 20)}), 413, ""),
            case("POST", "{users}", user("ana"), 409, "uniqueness"),
            case("PATCH", "{user}", patch("replace", "title", json!("x")), 204, ""),
        ],
    )
    .await;
    let (provider, id, _) = furnished("scim2-server").await;
    assert!(provider.sandbox.running.base_url().ends_with("/v2"));
    let path = format!("{}/{id}", provider.users());
    let change = Some(patch("replace", "title", json!("x")));
    let done = provider.ask_at("PATCH", &path, change.clone(), Some("W/\"1\"")).await;
    assert_eq!((done.status, done.header("etag")), (204, Some("W/\"2\"")));
    assert_eq!(provider.ask_at("PATCH", &path, change, Some("W/\"1\"")).await.status, 412);
}
