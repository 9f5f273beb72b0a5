//! The sandbox over HTTP, as a SCIM service provider and as a tool of tests.

use std::process::{Command, Stdio};

use scim_relay::sandbox::SandboxOptions;
use serde_json::{Value, json};

use crate::support::relay::eventually;
use crate::support::sandbox::{Sandbox, patch, sent, user};

async fn empty() -> Sandbox {
    Sandbox::start(SandboxOptions::on_any_port()).await
}

async fn with_token(token: &str) -> Sandbox {
    Sandbox::start(SandboxOptions { token: Some(token.to_owned()), ..SandboxOptions::on_any_port() }).await
}

fn group(name: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|id| json!({"value": id})).collect();
    json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name, "members": members})
}

fn user_names(list: &Value) -> Vec<&str> {
    list["Resources"].as_array().unwrap().iter().map(|it| it["userName"].as_str().unwrap()).collect()
}

// --- the provider

#[tokio::test]
async fn a_user_lives_and_dies() {
    let sandbox = empty().await;
    let mut body = user("ana");
    body["externalId"] = "e-1".into();
    body["id"] = "mine".into();
    let made = sandbox.post("/Users", body).await;
    assert_eq!((made.status, made.header("content-type")), (201, Some("application/scim+json")));
    let location = format!("{}/Users/{}", sandbox.running.base_url(), made.id());
    assert_eq!(made.header("location"), Some(location.as_str()));
    assert_eq!(
        (&made.body["meta"]["location"], &made.body["meta"]["resourceType"]),
        (&json!(location), &json!("User"))
    );
    assert_eq!(made.header("etag"), made.body["meta"]["version"].as_str());
    let path = format!("/Users/{}", made.id());

    let read = sandbox.get(&path).await;
    assert_eq!((read.status, &read.body, read.header("etag")), (200, &made.body, made.header("etag")));
    let put = sandbox.scim("PUT", &path, Some(user("bea"))).await;
    assert_eq!((put.status, &put.body["userName"], put.body.get("externalId")), (200, &json!("bea"), None));
    assert_ne!(put.header("etag"), made.header("etag"));
    let patched = sandbox.scim("PATCH", &path, Some(patch("replace", "active", json!(false)))).await;
    assert_eq!((patched.status, &patched.body["active"]), (200, &json!(false)));
    assert_eq!(patched.header("etag"), patched.body["meta"]["version"].as_str());
    let deleted = sandbox.scim("DELETE", &path, None).await;
    assert_eq!((deleted.status, deleted.body), (204, Value::Null));
    for (method, body) in [("GET", None), ("PUT", Some(user("x"))), ("DELETE", None)] {
        let gone = sandbox.scim(method, &path, body).await;
        assert_eq!((gone.status, gone.body["status"].as_str()), (404, Some("404")), "{method}");
    }
}

#[tokio::test]
async fn groups_show_their_members_and_members_their_groups() {
    let sandbox = empty().await;
    let ana = sandbox.post("/Users", user("ana")).await;
    let made = sandbox.post("/Groups", group("g", &[ana.id()])).await;
    let base = sandbox.running.base_url();
    assert_eq!(
        made.body["members"],
        json!([{"value": ana.id(), "type": "User", "$ref": format!("{base}/Users/{}", ana.id())}])
    );
    let path = format!("/Users/{}", ana.id());
    let expected = json!([{"value": made.id(), "display": "g", "type": "direct", "$ref": format!("{base}/Groups/{}", made.id())}]);
    assert_eq!(sandbox.get(&path).await.body["groups"], expected);
    // its members can be many: the answer has them only if they are asked for
    let remove = patch("remove", &format!("members[value eq \"{}\"]", ana.id()), Value::Null);
    let path_of_group = format!("/Groups/{}", made.id());
    let quiet = sandbox.scim("PATCH", &path_of_group, Some(remove.clone())).await;
    assert_eq!((quiet.status, quiet.body.is_null(), quiet.header("etag").is_some()), (204, true, true));
    let told = sandbox.scim("PATCH", &format!("{path_of_group}?attributes=displayName"), Some(remove)).await;
    assert_eq!((told.status, &told.body["displayName"]), (200, &json!("g")));
    assert_eq!(sandbox.get(&path).await.body.get("groups"), None);
}

#[tokio::test]
async fn a_deleted_user_leaves_the_groups() {
    let sandbox = empty().await;
    let ana = sandbox.post("/Users", user("ana")).await;
    let made = sandbox.post("/Groups", group("g", &[ana.id()])).await;
    sandbox.scim("DELETE", &format!("/Users/{}", ana.id()), None).await;
    let left = sandbox.get(&format!("/Groups/{}", made.id())).await;
    assert_eq!(left.body.get("members"), None);
    assert_ne!(left.header("etag"), made.header("etag"));
}

#[tokio::test]
async fn a_user_name_is_taken_in_any_case() {
    let sandbox = empty().await;
    sandbox.post("/Users", user("ana")).await;
    let bea = sandbox.post("/Users", user("bea")).await;
    let path = format!("/Users/{}", bea.id());
    for taken in [
        sandbox.post("/Users", user("ANA")).await,
        sandbox.scim("PUT", &path, Some(user("Ana"))).await,
        sandbox.scim("PATCH", &path, Some(patch("replace", "userName", json!("aNa")))).await,
    ] {
        assert_eq!((taken.status, taken.scim_type()), (409, "uniqueness"));
    }
    assert_eq!(sandbox.scim("PUT", &path, Some(user("BEA"))).await.status, 200);
    sandbox.set_faults(json!({"unique_user_name": false})).await;
    assert_eq!(sandbox.post("/Users", user("ana")).await.status, 201);
}

#[tokio::test]
async fn versions_guard_writes_and_spare_reads() {
    let sandbox = empty().await;
    let made = sandbox.post("/Users", user("ana")).await;
    let path = format!("/Users/{}", made.id());
    let old = made.header("etag").unwrap().to_owned();
    let with = async |method: &str, header: &str, tag: &str, body: Option<Value>| {
        sent(sandbox.scim_request(method, &path, body).header(header, tag)).await.unwrap()
    };
    let unchanged = with("GET", "if-none-match", &old, None).await;
    assert_eq!(
        (unchanged.status, unchanged.header("etag"), &unchanged.body),
        (304, Some(old.as_str()), &Value::Null)
    );
    assert_eq!(with("GET", "if-none-match", "W/\"none\"", None).await.status, 200);

    let title = |text: &str| Some(patch("replace", "title", json!(text)));
    let current = with("PATCH", "if-match", &old, title("Boss")).await;
    assert_eq!(current.status, 200);
    for (method, body) in [("PATCH", title("Clerk")), ("PUT", Some(user("ana"))), ("DELETE", None)] {
        let stale = with(method, "if-match", &old, body).await;
        assert_eq!((stale.status, stale.body["status"].as_str()), (412, Some("412")), "{method}");
    }
    assert_eq!(with("GET", "if-none-match", &old, None).await.body["title"], "Boss");
    assert_eq!(with("PUT", "if-match", "*", Some(user("ana"))).await.status, 200);
    assert_eq!(with("DELETE", "if-match", "W/\"1\", W/\"3\"", None).await.status, 204);
}

#[tokio::test]
async fn without_etags_there_are_no_versions_and_no_conditions() {
    let sandbox = Sandbox::with_faults(json!({"etag": false})).await;
    let made = sandbox.post("/Users", user("ana")).await;
    assert_eq!((made.header("etag"), made.body["meta"].get("version")), (None, None));
    let path = format!("/Users/{}", made.id());
    let put = sandbox.scim_request("PUT", &path, Some(user("bea"))).header("if-match", "W/\"9\"");
    assert_eq!(sent(put).await.unwrap().status, 200);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let sandbox = Sandbox::with_faults(json!({"page_size": 3})).await;
    for name in ["a", "b", "c", "d", "e"] {
        sandbox.post("/Users", user(name)).await;
    }
    for (query, start_index, names) in [
        ("", 1, vec!["a", "b", "c"]),
        ("?startIndex=4", 4, vec!["d", "e"]),
        ("?startIndex=2&count=2", 2, vec!["b", "c"]),
        ("?count=100", 1, vec!["a", "b", "c"]),
        ("?count=0", 1, vec![]),
        ("?count=-1", 1, vec![]),
        ("?startIndex=0&count=1", 1, vec!["a"]),
        ("?startIndex=6", 6, vec![]),
        ("?sortBy=userName&sortOrder=descending&count=2", 1, vec!["e", "d"]),
        ("?filter=userName%20gt%20%22b%22%20and%20not(userName%20eq%20%22d%22)", 1, vec!["c", "e"]),
    ] {
        let page = sandbox.get(&format!("/Users{query}")).await.body;
        assert_eq!(user_names(&page), names, "{query}");
        assert_eq!(
            (&page["startIndex"], &page["itemsPerPage"]),
            (&json!(start_index), &json!(names.len())),
            "{query}"
        );
        let total = if query.contains("filter") { 2 } else { 5 };
        assert_eq!(page["totalResults"], total, "{query}");
    }
    let wrong = sandbox.get("/Users?count=many").await;
    assert_eq!((wrong.status, wrong.scim_type()), (400, "invalidValue"));
    let wrong = sandbox.get("/Users?filter=userName%20is%20%22x%22").await;
    assert_eq!((wrong.status, wrong.scim_type()), (400, "invalidFilter"));
}

#[tokio::test]
async fn searches_are_queries_in_a_body_over_one_type_or_all() {
    let sandbox = empty().await;
    sandbox.post("/Users", user("ana")).await;
    sandbox.post("/Groups", group("g", &[])).await;
    let search = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "attributes": ["userName", "displayName"],
        "filter": "userName eq \"ANA\" or displayName eq \"g\"", "startIndex": 1, "count": 10,
    });
    for (path, total) in [("/.search", 2), ("/Users/.search", 1), ("/Groups/.search", 1)] {
        let found = sandbox.post(path, search.clone()).await;
        assert_eq!((found.status, &found.body["totalResults"]), (200, &json!(total)), "{path}");
        assert_eq!(found.body["Resources"][0].get("meta"), None, "{path}");
    }
    assert_eq!(sandbox.get("/").await.body["totalResults"], 2);
}

#[tokio::test]
async fn answers_show_what_was_asked_for() {
    let sandbox = empty().await;
    let mut body = user("ana");
    body["name"] = json!({"givenName": "Ana", "familyName": "Lee"});
    body["password"] = "secret".into();
    let made = sandbox.post("/Users", body).await;
    assert_eq!(made.body.get("password"), None);
    let keys = async |query: &str| {
        let shown = sandbox.get(&format!("/Users/{}?{query}", made.id())).await.body;
        (shown.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" "), shown["name"].clone())
    };
    assert_eq!(
        keys("attributes=NAME.givenname").await,
        ("id name schemas".into(), json!({"givenName": "Ana"}))
    );
    let without = keys("excludedAttributes=name.givenName,meta,id,schemas").await;
    assert_eq!(without, ("id name schemas userName".into(), json!({"familyName": "Lee"})));
}

#[tokio::test]
async fn the_provider_describes_itself() {
    let sandbox =
        Sandbox::with_faults(json!({"bulk": false, "patch": false, "filter": false, "page_size": 7})).await;
    let config = sandbox.get("/ServiceProviderConfig").await.body;
    assert_eq!(config["bulk"], json!({"supported": false, "maxOperations": 0, "maxPayloadSize": 0}));
    assert_eq!(
        (&config["patch"], &config["filter"]),
        (&json!({"supported": false}), &json!({"supported": false, "maxResults": 7}))
    );
    assert_eq!(config["etag"], json!({"supported": true}));
    for (path, total) in [("/Schemas", 6), ("/ResourceTypes", 2)] {
        let list = sandbox.get(path).await.body;
        assert_eq!(list["totalResults"], total);
        for document in list["Resources"].as_array().unwrap() {
            assert_eq!(
                &sandbox.get(&format!("{path}/{}", document["id"].as_str().unwrap())).await.body,
                document
            );
        }
    }
    for path in ["/Schemas", "/ResourceTypes", "/ServiceProviderConfig"] {
        assert_eq!(sandbox.get(&format!("{path}?filter=id%20pr")).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn what_is_switched_off_is_refused() {
    let sandbox = Sandbox::with_faults(json!({"bulk": false, "patch": false, "filter": false})).await;
    let made = sandbox.post("/Users", user("ana")).await;
    let patched = sandbox
        .scim("PATCH", &format!("/Users/{}", made.id()), Some(patch("add", "title", json!("x"))))
        .await;
    assert_eq!(patched.status, 501);
    assert_eq!(sandbox.bulk(json!([])).await.status, 501);
    let filtered = sandbox.get("/Users?filter=userName%20pr").await;
    assert_eq!((filtered.status, filtered.scim_type()), (400, "invalidFilter"));
    assert_eq!(sandbox.get("/Me").await.status, 501);
    assert_eq!(sandbox.get("/Users?filter=").await.status, 400);
}

#[tokio::test]
async fn what_is_no_request_of_scim_is_refused() {
    let sandbox = empty().await;
    for (method, path, status) in [
        ("GET", "/Nothing", 404),
        ("GET", "/Users/none", 404),
        ("PUT", "/Users", 405),
        ("POST", "/ServiceProviderConfig", 405),
        ("GET", "/Bulk", 405),
    ] {
        let answer = sandbox.scim(method, path, None).await;
        assert_eq!(
            (answer.status, answer.body["status"].as_str()),
            (status, Some(status.to_string().as_str())),
            "{path}"
        );
    }
    for body in ["{", "[]", ""] {
        let answer = sent(sandbox.scim_request("POST", "/Users", None).body(body)).await.unwrap();
        assert_eq!((answer.status, answer.scim_type()), (400, "invalidSyntax"), "{body}");
    }
    let nameless =
        sandbox.post("/Users", json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"]})).await;
    assert_eq!((nameless.status, nameless.scim_type()), (400, "invalidValue"));
    assert_eq!(sent(sandbox.request("GET", "/elsewhere")).await.unwrap().status, 404);
}

// --- tokens

#[tokio::test]
async fn a_token_is_required_where_one_is_set() {
    let sandbox = with_token("T").await;
    let get = |path: &str| sandbox.scim_request("GET", path, None);
    for request in [get("/Users"), get("/ServiceProviderConfig"), get("/Users").bearer_auth("wrong")] {
        let refused = sent(request).await.unwrap();
        assert_eq!((refused.status, refused.header("www-authenticate").is_some()), (401, true));
    }
    assert_eq!(sent(get("/Users").bearer_auth("T")).await.unwrap().status, 200);
    assert_eq!(sandbox.admin("GET", "state", None).await.status, 200);
}

#[tokio::test]
async fn tokens_are_fetched_with_client_credentials() {
    let options = SandboxOptions {
        client_id: Some("relay".to_owned()),
        client_secret: Some("s3cret".to_owned()),
        token_lifetime: 600,
        ..SandboxOptions::on_any_port()
    };
    let sandbox = Sandbox::start(options).await;
    let form = |form: &'static str| {
        let request = sandbox.request("POST", "/oauth/token");
        request.header("content-type", "application/x-www-form-urlencoded").body(form)
    };
    let by_post = form("grant_type=client_credentials&client_id=relay&client_secret=s3cret&scope=a+b");
    let by_basic = form("grant_type=client_credentials").basic_auth("relay", Some("s3cret"));
    let granted = sent(by_post).await.unwrap();
    assert_eq!((granted.status, granted.header("content-type")), (200, Some("application/json")));
    assert_eq!((granted.header("cache-control"), &granted.body["scope"]), (Some("no-store"), &json!("a b")));
    for granted in [granted, sent(by_basic).await.unwrap()] {
        assert_eq!(
            (&granted.body["token_type"], &granted.body["expires_in"]),
            (&json!("Bearer"), &json!(600))
        );
        let token = granted.body["access_token"].as_str().unwrap();
        let read = sandbox.scim_request("GET", "/Users", None).bearer_auth(token);
        assert_eq!(sent(read).await.unwrap().status, 200);
    }
    for (request, status, error) in [
        (form("grant_type=client_credentials&client_id=relay&client_secret=no"), 401, "invalid_client"),
        (form("grant_type=client_credentials"), 401, "invalid_client"),
        (form("grant_type=password").basic_auth("relay", Some("s3cret")), 400, "unsupported_grant_type"),
        (form("scope=a").basic_auth("relay", Some("s3cret")), 400, "invalid_request"),
    ] {
        let refused = sent(request).await.unwrap();
        assert_eq!((refused.status, &refused.body["error"]), (status, &json!(error)));
    }
    assert_eq!(sandbox.get("/Users").await.status, 401);
}

#[tokio::test]
async fn the_token_endpoint_can_fail() {
    let sandbox = Sandbox::with_faults(json!({"rate_token_500": 1})).await;
    let request = sandbox.request("POST", "/oauth/token").body("grant_type=client_credentials");
    assert_eq!(sent(request).await.unwrap().status, 500);
}

// --- for tests

#[tokio::test]
async fn the_state_is_shown_whole() {
    let sandbox = Sandbox::with_faults(json!({"page_size": 1})).await;
    let ana = sandbox.post("/Users", user("ana")).await;
    let bea = sandbox.post("/Users", user("bea")).await;
    let group = sandbox.post("/Groups", group("g", &[bea.id()])).await;
    let state = sandbox.admin("GET", "state", None).await;
    assert_eq!(state.header("content-type"), Some("application/json"));
    let bea = sandbox.get(&format!("/Users/{}", bea.id())).await;
    assert_eq!(state.body, json!({"Users": [ana.body, bea.body], "Groups": [group.body]}));
}

#[tokio::test]
async fn requests_are_remembered() {
    let sandbox = Sandbox::with_faults(json!({"rate_503": 1, "scope": "single"})).await;
    let body = user("ana").to_string();
    sandbox.post("/Users", user("ana")).await;
    let operations = json!([{"method": "POST"}, {"method": "DELETE", "path": "/Users/x"}]);
    sandbox.bulk(operations).await;
    sandbox.get("/Users?count=1").await;
    sent(sandbox.request("POST", "/oauth/token").body("grant_type=client_credentials")).await.unwrap();
    let requests = sandbox.admin("GET", "requests", None).await.body;
    let told: Vec<String> = requests
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            format!("{} {} {} {}", it["method"], it["path"], it["status"], it["operations"]).replace('"', "")
        })
        .collect();
    assert_eq!(
        told,
        [
            "POST /scim/v2/Users 503 1",
            "POST /scim/v2/Bulk 200 2",
            "GET /scim/v2/Users 200 0",
            "POST /oauth/token 200 0"
        ]
    );
    assert_eq!(requests[0]["bytes"], body.len());
    assert!(requests[0]["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    let keys: Vec<&String> = requests[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["at", "bytes", "method", "operations", "path", "status"]);
}

#[tokio::test]
async fn emptying_forgets_resources_requests_and_faults() {
    let mut options = SandboxOptions::on_any_port();
    options.faults.page_size = 7;
    let sandbox = Sandbox::start(options).await;
    sandbox.post("/Users", user("ana")).await;
    sandbox.set_faults(json!({"rate_500": 1, "scope": "writes"})).await;
    assert_eq!(sandbox.post("/Users", user("bea")).await.status, 500);
    assert_eq!(sandbox.admin("DELETE", "state", None).await.status, 204);
    assert_eq!(sandbox.admin("GET", "state", None).await.body, json!({"Users": [], "Groups": []}));
    assert_eq!(sandbox.admin("GET", "requests", None).await.body, json!([]));
    let faults = sandbox.admin("GET", "faults", None).await.body;
    assert_eq!((&faults["rate_500"], &faults["page_size"]), (&json!(0.0), &json!(1000)));
    assert_eq!(sandbox.post("/Users", user("ana")).await.status, 201);
}

#[tokio::test]
async fn wrong_faults_are_all_named_and_none_is_taken() {
    let sandbox = Sandbox::with_faults(json!({"page_size": 5})).await;
    let wrong =
        json!({"rate_500": 1.5, "rate_5OO": 1, "retry_after_form": "later", "bulk": "no", "page_size": 9});
    let refused = sandbox.admin("PUT", "faults", Some(wrong)).await;
    assert_eq!((refused.status, refused.scim_type()), (400, "invalidValue"));
    let detail = refused.body["detail"].as_str().unwrap();
    for key in ["rate_500: ", "rate_5OO: ", "retry_after_form: ", "bulk: "] {
        assert!(detail.contains(key), "{key}{detail}");
    }
    assert!(!detail.contains("page_size: "), "{detail}");
    for body in ["{", "[]"] {
        let refused = sent(sandbox.request("PUT", "/_sandbox/faults").body(body)).await.unwrap();
        assert_eq!(refused.status, 400, "{body}");
    }
    assert_eq!(sandbox.admin("GET", "faults", None).await.body["page_size"], 5);
}

#[tokio::test]
async fn a_set_of_faults_replaces_the_one_before() {
    let sandbox = Sandbox::with_faults(json!({"page_size": 5, "no_version": true})).await;
    sandbox.set_faults(json!({"rate_429": 0.5})).await;
    let faults = sandbox.admin("GET", "faults", None).await.body;
    assert_eq!(
        (&faults["rate_429"], &faults["page_size"], &faults["no_version"]),
        (&json!(0.5), &json!(1000), &json!(false))
    );
}

#[tokio::test]
async fn other_addresses_and_methods_of_the_tests_side_are_refused() {
    let sandbox = empty().await;
    assert_eq!(sandbox.admin("GET", "nothing", None).await.status, 404);
    assert_eq!(sandbox.admin("PATCH", "state", None).await.status, 405);
    assert_eq!(sandbox.admin("DELETE", "requests", None).await.status, 405);
    assert_eq!(sent(sandbox.request("GET", "/oauth/token")).await.unwrap().status, 405);
}

#[tokio::test]
async fn it_ends_when_it_is_told_to_whatever_hangs() {
    let sandbox = Sandbox::with_faults(json!({"rate_timeout_after": 1})).await;
    let pending = tokio::spawn(sent(sandbox.scim_request("POST", "/Users", Some(user("ana")))));
    eventually("it is applied", async || sandbox.user_names().await.pop()).await;
    sandbox.running.stop().await;
    pending.await.unwrap().unwrap_err();
}

// --- the program

#[test]
fn the_program_says_where_it_listens_and_takes_faults_as_flags() {
    use std::io::{BufRead, BufReader, Read, Write};

    let mut child = Command::new(env!("CARGO_BIN_EXE_scim-relay"))
        .args(["sandbox", "--listen", "127.0.0.1:0", "--token", "T", "--max-operations", "5"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").and_then(|it| it.strip_suffix("/scim/v2"));
    let mut stream = std::net::TcpStream::connect(address.unwrap_or_else(|| panic!("{line}"))).unwrap();
    write!(
        stream,
        "GET /scim/v2/ServiceProviderConfig HTTP/1.1\r\nhost: x\r\nauthorization: Bearer T\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"maxOperations\":5"), "{answer}");
}
