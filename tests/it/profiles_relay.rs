//! The relay with shipped profiles: against what they are made for, or a likeness of it.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::{Arc, Mutex};

use scim_relay::sample::{Size, compare, generate};
use serde_json::{Value, json};

use crate::support::relay::{Relay, state};
use crate::support::sandbox::Sandbox;
use crate::support::scim2_server::{Mode, Scim2Server, TOKEN};
use crate::support::scripted::{Request, Scripted, Step};

fn event(id: u64, kind: &str, subject: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": format!("e{id}"), "source": "/hr", "type": format!("directory.{kind}"),
        "subject": subject, "sequence": id.to_string(), "data": data,
    })
}

fn with_profile(relay: Relay, profile: &str) -> Relay {
    relay.with("SCIM_RELAY__TARGET__PROFILE", profile)
}

#[tokio::test]
async fn a_company_s_history_arrives_with_the_profile_of_scim2_server() {
    let server = Scim2Server::start(Mode::Bulk);
    let mut relay = with_profile(Relay::configured(&server.base_url(), Some(TOKEN), ""), "scim2-server");
    relay.run();
    relay.ready().await;
    let sample = generate(11, Size { people: 60, groups: 8, events: 600, managers: true });
    relay.publish(&sample.events);
    relay.settled(sample.events.len()).await;
    let differences = compare(&sample.expected, &state(&server.base_url(), Some(TOKEN)).await.unwrap());
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(relay.metric("scim_relay_dead_letters_total", "").await, Some(0.0));
}

/// One after the other: they differ in how they write, and all of it is SCIM that a target by the book understands.
#[tokio::test]
async fn a_company_s_history_arrives_with_every_profile_that_asks_nothing_special_of_the_target() {
    for profile in ["nice-cxone", "aws-identity-center", "keycloak", "slack", "github-emu", "webex"] {
        let sandbox = Sandbox::with_faults(json!({})).await;
        let base_url = sandbox.running.base_url().parse().unwrap();
        // the rates are those of the providers: a thousand requests an hour at one of them
        let unlimited = "[limits]\nrequests = \"0\"\noperations = \"0\"\n";
        let relay = with_profile(Relay::configured(&base_url, None, unlimited), profile);
        let relay = tokio::task::spawn_blocking(move || {
            let mut relay = relay;
            relay.run();
            relay
        });
        let relay = relay.await.unwrap();
        relay.ready().await;
        let sample = generate(13, Size { people: 30, groups: 5, events: 250, managers: true });
        let events = sample.events.clone();
        let relay = tokio::task::spawn_blocking(move || {
            relay.publish(&events);
            relay
        });
        let relay = relay.await.unwrap();
        relay.settled(sample.events.len()).await;
        let differences = compare(&sample.expected, &state(&base_url, None).await.unwrap());
        assert!(differences.is_empty(), "{profile}: {differences:#?}");
        assert_eq!(relay.metric("scim_relay_dead_letters_total", "").await, Some(0.0), "{profile}");
        let bulks = sandbox.requests().await.iter().filter(|it| it["path"] == "/scim/v2/Bulk").count();
        assert_eq!(bulks > 0, profile == "nice-cxone", "{profile}");
    }
}

/// Resources by id, and what was written.
type Held = Arc<Mutex<BTreeMap<String, Value>>>;

fn listed(held: &Held, path: &str, shows: impl Fn(&Value) -> bool) -> Step {
    let named = |resource: &Value| {
        let names =
            ["externalId", "userName", "displayName"].iter().filter_map(|name| resource[name].as_str());
        !path.contains("filter") || names.into_iter().any(|name| path.contains(&format!("%22{name}%22")))
    };
    let held = held.lock().unwrap();
    let found: Vec<&Value> = held.values().filter(|it| named(it) && shows(it)).collect();
    Step::json(200, json!({"totalResults": found.len(), "Resources": found}))
}

/// Bulk as the tutorials about CXone describe it: operations are known by `id`, statuses are integers.
fn bulk_by_id(held: &Held, request: &Request) -> Step {
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let mut held = held.lock().unwrap();
    let results = body["Operations"].as_array().unwrap().iter().map(|operation| {
        let (method, path) = (operation["method"].as_str().unwrap(), operation["path"].as_str().unwrap());
        let (status, id) = match (method, path.strip_prefix("/Users/")) {
            ("POST", None) => (201, format!("u{}", held.len() + 1)),
            ("PUT", Some(id)) if operation["version"] == held[id]["meta"]["version"] => (200, id.to_owned()),
            ("PUT", Some(id)) => (412, id.to_owned()),
            other => panic!("{other:?}"),
        };
        if status < 300 {
            let mut resource = operation["data"].clone();
            resource["id"] = json!(id);
            resource["meta"] = json!({"version": format!("\"{}\"", operation["data"]["title"].as_str().unwrap())});
            held.insert(id.clone(), resource);
        }
        json!({"id": operation["id"], "method": method, "path": path, "status": status, "location": format!("/Users/{id}")})
    });
    Step::json(200, json!({"Operations": results.collect::<Vec<_>>()}))
}

#[tokio::test]
async fn the_dialect_of_the_tutorials_about_cxone_is_spoken() {
    let held = Held::default();
    let users = held.clone();
    let server = Scripted::start(move |request, _| match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/token/access-key") => Step::json(200, json!({"access_token": "t1", "expires_in": 3600})),
        _ if request.header("authorization") != Some("Bearer t1") => Step::json(401, json!({})),
        ("POST", "/scim/v2/Bulk") => bulk_by_id(&users, request),
        ("GET", path) if path.starts_with("/scim/v2/Users?") => listed(&users, path, |_| true),
        ("GET", path) if path.starts_with("/scim/v2/Users/") => {
            Step::json(200, users.lock().unwrap()[&path["/scim/v2/Users/".len()..]].clone())
        }
        ("GET", path) if path.starts_with("/scim/v2/Groups?") => Step::json(200, json!({"totalResults": 0})),
        _ => Step::json(404, json!({"status": "404"})),
    })
    .await;
    let relay = Relay::configured(&server.url("/scim/v2"), Some("s3cret"), "");
    let relay = with_profile(relay, "nice-cxone")
        .with("SCIM_RELAY__TARGET__AUTH__KIND", "cxone-access-key")
        .with("SCIM_RELAY__TARGET__AUTH__TOKEN_URL", server.url("/token/access-key"))
        .with("SCIM_RELAY__TARGET__AUTH__ACCESS_KEY_ID", "k1")
        .with("SCIM_RELAY__TARGET__AUTH__ACCESS_KEY_SECRET", "s3cret");
    let mut relay = relay;
    relay.run();
    relay.ready().await;
    let put = |id: u64, name: &str| {
        event(id, "user.put", name, json!({"userName": format!("{name}@x"), "title": format!("t{id}")}))
    };
    relay.publish(&[put(1, "ana"), put(2, "bob")]);
    relay.settled(2).await;
    relay.publish(&[put(3, "ana")]);
    relay.settled(3).await;
    let titles: Vec<Value> = held.lock().unwrap().values().map(|it| it["title"].clone()).collect();
    assert!(
        titles.contains(&json!("t3")) && titles.contains(&json!("t2")) && titles.len() == 2,
        "{titles:?}"
    );
    let bulks = server.seen_at("/scim/v2/Bulk");
    for request in &bulks {
        assert_eq!(request.header("content-type"), Some("application/json"));
        let body: Value = serde_json::from_str(&request.body).unwrap();
        assert!(body["Operations"].as_array().unwrap().iter().all(|it| it["id"] == it["bulkId"]), "{body}");
    }
    assert_eq!(relay.metric("scim_relay_dead_letters_total", "").await, Some(0.0));
}

#[tokio::test]
async fn in_genesys_cloud_a_rehire_is_revived_and_groups_are_only_matched() {
    let id = |text: &str| text.rsplit('/').next().unwrap().to_owned();
    let users: Held = Arc::new(Mutex::new(BTreeMap::from([(
        "u1".to_owned(),
        json!({"id": "u1", "userName": "ana@x", "externalId": "e-1", "active": false, "meta": {"version": "\"1\""}}),
    )])));
    let groups: Held = Arc::new(Mutex::new(BTreeMap::from([(
        "g1".to_owned(),
        json!({"id": "g1", "displayName": "Sales", "externalId": "their own", "meta": {"version": "\"1\""}}),
    )])));
    let (held, shown) = (users.clone(), groups.clone());
    let base = "/api/v2/scim/v2";
    let server = Scripted::start(move |request, _| {
        let path = request.path.strip_prefix(base).unwrap();
        match (request.method.as_str(), path.split(['?', '/']).nth(1).unwrap()) {
            ("GET", "serviceproviderconfig") => Step::json(200, json!({"patch": {"supported": true}})),
            ("GET", "users") if !path.contains('?') => {
                Step::json(200, held.lock().unwrap()[&id(path)].clone())
            }
            ("GET", "users") => {
                listed(&held, path, |it| it["active"] == json!(!path.contains("active%20eq%20false")))
            }
            ("GET", "groups") if !path.contains('?') => {
                Step::json(200, shown.lock().unwrap()[&id(path)].clone())
            }
            ("GET", "groups") => listed(&shown, path, |_| true),
            ("PATCH", kind) => {
                let held = if kind == "users" { &held } else { &shown };
                let body: Value = serde_json::from_str(&request.body).unwrap();
                let mut held = held.lock().unwrap();
                let resource = held.get_mut(&id(path)).unwrap();
                for operation in body["Operations"].as_array().unwrap() {
                    resource[operation["path"].as_str().unwrap()] = operation["value"].clone();
                }
                Step::answer(204, &[("ETag", "\"2\"")], "")
            }
            other => panic!("{other:?}"),
        }
    })
    .await;
    let relay = Relay::configured(&server.url(base), None, "");
    let mut relay = with_profile(relay, "genesys-cloud");
    relay.run();
    relay.ready().await;
    relay.publish(&[
        event(1, "user.put", "e-1", json!({"userName": "ana@x", "title": "Clerk", "active": true})),
        event(2, "group.put", "g-1", json!({"displayName": "Sales", "members": ["e-1"]})),
        event(3, "group.put", "g-2", json!({"displayName": "Nowhere"})),
    ]);
    relay.settled(3).await;
    let ana = users.lock().unwrap()["u1"].clone();
    assert_eq!((&ana["active"], &ana["title"]), (&json!(true), &json!("Clerk")));
    let sales = groups.lock().unwrap()["g1"].clone();
    assert_eq!((&sales["members"], &sales["externalId"]), (&json!([{"value": "u1"}]), &json!("their own")));
    let dead = relay.metric("scim_relay_dead_letters_total", "class=\"not_supported\"").await;
    assert_eq!(dead, Some(1.0));
    assert!(server.seen().iter().all(|request| request.method != "POST"));
}

fn checked(relay: &Relay, arguments: &[&str]) -> Output {
    relay.command().args(arguments).output().unwrap()
}

#[tokio::test]
async fn check_names_the_profile_and_says_when_it_is_not_verified_or_does_not_fit() {
    let base_url = "http://127.0.0.1:9/scim/v2".parse().unwrap();
    let item = |profile: &str| {
        let relay = with_profile(Relay::configured(&base_url, None, ""), profile);
        let text = String::from_utf8(checked(&relay, &["check", "--json"]).stdout).unwrap();
        let items = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        items.into_iter().find(|item| item["check"] == "profile").unwrap()
    };
    assert_eq!(item("generic")["verdict"], "ok");
    let slack = item("slack");
    assert_eq!(slack["verdict"], "warning");
    let detail = slack["detail"].as_str().unwrap();
    assert!(detail.contains("`slack`") && detail.contains("not verified"), "{detail}");
    let keycloak = item("keycloak")["detail"].as_str().unwrap().to_owned();
    assert!(keycloak.contains("/realms/{realm}/scim/v2"), "{keycloak}");
}

#[test]
fn a_profile_that_is_none_is_wrong_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "verified = 1\n[users]\npaht = \"/x\"\n").unwrap();
    let base_url = "http://127.0.0.1:9/scim/v2".parse().unwrap();
    for (profile, told) in [
        ("okta", vec!["target.profile", "generic, nice-cxone"]),
        ("/nonexistent/own.toml", vec!["target.profile", "/nonexistent/own.toml"]),
        (bad.to_str().unwrap(), vec!["bad.toml", "line 1, verified", "line 3, users.paht"]),
    ] {
        let output = checked(&with_profile(Relay::configured(&base_url, None, ""), profile), &["check"]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(told.iter().all(|part| text.contains(part)), "{told:?}: {text}");
    }
}
