//! Profiles on the wire: what each field makes of requests, and the relay with the shipped ones.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use scim_relay::core::operation::{Operation, Write};
use scim_relay::core::outcome::{Outcome, Reply};
use scim_relay::core::resource::{ExternalId, ResourceKey, ResourceType, TargetId};
use scim_relay::pipeline::ports::{BulkLimits, Query, Target, Transport};
use scim_relay::sandbox::SandboxOptions;
use scim_relay::target::profile::{Profile, shipped};
use scim_relay::target::{AccessKey, AuthOptions, HttpTarget, Seen, TargetOptions, TlsOptions};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::support::sandbox::Sandbox;
use crate::support::scripted::{Scripted, Step};
use crate::tidy::root;

fn profile(text: &str) -> Profile {
    Profile::load("./own.toml", &|_| Ok(text.to_owned())).unwrap()
}

fn target(server: &Scripted, text: &str) -> HttpTarget {
    with_auth(server, text, AuthOptions::None)
}

fn with_auth(server: &Scripted, text: &str, auth: AuthOptions) -> HttpTarget {
    at(server.url("/scim"), text, auth)
}

fn at(base_url: Url, text: &str, auth: AuthOptions) -> HttpTarget {
    // only the first test of a process installs it
    let _ = rustls::crypto::ring::default_provider().install_default();
    let timeout = Duration::from_secs(20);
    let options = TargetOptions {
        base_url,
        timeout,
        bulk_timeout: timeout,
        auth,
        tls: TlsOptions::default(),
        profile: Arc::new(profile(text)),
    };
    HttpTarget::new(options, Arc::new(|_: Seen| {}), SystemTime::now).unwrap()
}

fn create(name: &str) -> Operation {
    let key = ResourceKey::new(ResourceType::User, ExternalId::new(name).unwrap());
    Operation { key, bulk_id: name.to_owned(), write: Write::Create { body: json!({"userName": name}) } }
}

async fn send(target: &HttpTarget, transport: Transport) -> Vec<Outcome> {
    match target.send(&[create("b1")], transport, Instant::now() + Duration::from_secs(60)).await {
        Reply::Each(outcomes) => outcomes,
        Reply::Whole(outcome) => panic!("{outcome:?}"),
    }
}

fn query(attribute: &'static str, value: &str) -> Query {
    Query { attribute, value: value.to_owned() }
}

fn page(resources: Value) -> Step {
    Step::json(200, json!({"totalResults": resources.as_array().unwrap().len(), "Resources": resources}))
}

/// Method and path of all requests so far, percent-encoding undone as far as it hurts the eye.
fn asked(server: &Scripted) -> Vec<String> {
    let plain =
        |text: String| text.replace("%20", " ").replace("%22", "'").replace("%28", "(").replace("%29", ")");
    server.seen().into_iter().map(|it| plain(format!("{} {}", it.method, it.path))).collect()
}

#[tokio::test]
async fn paths_and_headers_are_the_profiles() {
    let server = Scripted::start(|request, _| match request.path.as_str() {
        "/scim/massive" => Step::json(
            200,
            json!({"Operations": [{"id": "b1", "method": "POST", "status": 201, "location": "/users/u1"}]}),
        ),
        "/scim/config" => Step::json(200, json!({"patch": {"supported": true}})),
        "/scim/users" => Step::json(201, json!({"id": "u1"})),
        _ => Step::json(200, json!({"id": "g1"})),
    })
    .await;
    let text = "[http]\nuser_agent = \"acme/1\"\ncontent_type = \"application/json\"\naccept = \"*/*\"\n\
                [discovery]\npath = \"/config\"\n[bulk]\npath = \"/massive\"\ncorrelation = \"id\"\n\
                [users]\npath = \"/users\"\n[groups]\npath = \"/v1/teams/\"\n";
    let target = target(&server, text);
    target.discover().await.unwrap();
    send(&target, Transport::Single).await;
    let outcomes = send(&target, Transport::Bulk).await;
    assert!(matches!(&outcomes[0], Outcome::Answered(answer) if answer.id == TargetId::new("u1")));
    target.read(ResourceType::Group, &TargetId::new("g1").unwrap()).await.unwrap();
    let expected = ["GET /scim/config", "POST /scim/users", "POST /scim/massive", "GET /scim/v1/teams/g1"];
    assert_eq!(asked(&server), expected);
    for request in server.seen() {
        assert_eq!((request.header("user-agent"), request.header("accept")), (Some("acme/1"), Some("*/*")));
        let sent = (!request.body.is_empty()).then_some("application/json");
        assert_eq!(request.header("content-type"), sent);
    }
    let bulk: Value = serde_json::from_str(&server.seen()[2].body).unwrap();
    let operation = &bulk["Operations"][0];
    assert_eq!((&operation["id"], &operation["bulkId"]), (&json!("b1"), &json!("b1")));
    assert_eq!(operation["path"], "/users");
}

#[tokio::test]
async fn what_the_profile_knows_better_overrides_the_service_provider_config() {
    let server = Scripted::start(|_, _| {
        Step::json(
            200,
            json!({"bulk": {"supported": true, "maxOperations": 1000, "maxPayloadSize": 2000}, "etag": {"supported": true}}),
        )
    })
    .await;
    let text = "[capabilities]\netag = false\npatch = false\n[limits]\noperations = 100\nbytes = 4000\n";
    let has = target(&server, text).discover().await.unwrap();
    assert_eq!(has.bulk, Some(BulkLimits { max_operations: 100, max_bytes: 2000 }));
    assert_eq!((has.etag, has.patch), (false, false));
    let has = target(&server, "[capabilities]\nbulk = false\n").discover().await.unwrap();
    assert_eq!((has.bulk, has.etag), (None, true));
}

#[tokio::test]
async fn a_config_that_is_not_asked_for_is_replaced_by_a_sign_of_life() {
    let server = Scripted::start(|_, nth| match nth {
        0 => page(json!([])),
        _ => Step::answer(503, &[], ""),
    })
    .await;
    let target = target(&server, "[discovery]\nask = false\n[capabilities]\nbulk = true\n");
    let has = target.discover().await.unwrap();
    assert_eq!(has.bulk, Some(BulkLimits { max_operations: 0, max_bytes: 0 }));
    assert!(target.discover().await.is_err(), "a target that is down is not up");
    assert_eq!(asked(&server), ["GET /scim/Users?startIndex=1&count=1"; 2]);
}

#[tokio::test]
async fn pages_and_filters_are_as_large_as_profile_and_target_allow() {
    let server = Scripted::start(|request, _| match request.path.contains("Config") {
        true => Step::json(200, json!({"filter": {"supported": true, "maxResults": 20}})),
        false => page(json!([])),
    })
    .await;
    let target = target(&server, "[limits]\npage_size = 25\nfilter_terms = 1\n");
    let queries = [query("externalId", "1"), query("userName", "ana")];
    target.find(ResourceType::User, &queries).await.unwrap();
    target.discover().await.unwrap();
    target.find(ResourceType::User, &queries[..1]).await.unwrap();
    let expected = [
        "GET /scim/Users?filter=externalId eq '1'&count=25",
        "GET /scim/Users?filter=userName eq 'ana'&count=25",
        "GET /scim/ServiceProviderConfig",
        "GET /scim/Users?filter=externalId eq '1'&count=20",
    ];
    assert_eq!(asked(&server), expected);
}

#[tokio::test]
async fn what_can_not_be_filtered_by_is_looked_for_among_all() {
    let all = json!([{"id": "1", "displayName": "a", "externalId": "x"}, {"id": "2", "displayName": "b"}]);
    let server = Scripted::start(move |_, _| page(all.clone())).await;
    for text in ["[groups]\nfilterable = [\"displayName\"]\n", "[capabilities]\nfilter = false\n"] {
        let found =
            target(&server, text).find(ResourceType::Group, &[query("externalId", "x")]).await.unwrap();
        assert!(found.iter().any(|it| it["id"] == "1"), "{found:?}");
    }
    target(&server, "[groups]\nfilterable = [\"displayName\"]\n")
        .find(ResourceType::Group, &[query("displayName", "a")])
        .await
        .unwrap();
    let filtered = "GET /scim/Groups?filter=displayName eq 'a'";
    assert_eq!(asked(&server), ["GET /scim/Groups", "GET /scim/Groups", filtered]);
}

#[tokio::test]
async fn what_is_hidden_is_asked_for_where_nothing_else_was_found() {
    let server = Scripted::start(|request, _| match request.path.contains("active") {
        true => page(json!([{"id": "2", "userName": "bob", "active": false}])),
        false => page(json!([{"id": "1", "userName": "ana"}])),
    })
    .await;
    let target = target(&server, "[users]\nhidden = \"active eq false\"\n");
    let found = target.find(ResourceType::User, &[query("userName", "ana")]).await.unwrap();
    assert_eq!((found.len(), server.seen().len()), (1, 1));
    let found = target.find(ResourceType::User, &[query("userName", "ana"), query("userName", "bob")]).await;
    assert_eq!(found.unwrap().len(), 2);
    assert_eq!(asked(&server)[2], "GET /scim/Users?filter=(userName eq 'bob') and (active eq false)");
}

#[tokio::test]
async fn a_target_that_can_not_combine_filters_lists_all_that_is_hidden() {
    let server = Scripted::start(|request, _| match request.path.matches("%20and%20").count() {
        1 => Step::json(400, json!({"scimType": "invalidFilter", "status": "400"})),
        _ if request.path.contains("active") => {
            page(json!([{"id": "2", "userName": "bob", "active": false}]))
        }
        _ => page(json!([])),
    })
    .await;
    let target = target(&server, "[users]\nhidden = \"active eq false\"\n");
    let found = target.find(ResourceType::User, &[query("userName", "bob")]).await.unwrap();
    assert_eq!(found[0]["id"], "2");
    assert_eq!(asked(&server)[2], "GET /scim/Users?filter=active eq false");
    target.find(ResourceType::User, &[query("userName", "bob")]).await.unwrap();
    assert_eq!(server.seen().len(), 5, "that it can't is remembered");
}

#[tokio::test]
async fn an_access_key_fetches_tokens_whatever_their_fields_are_called() {
    let server = Scripted::start(|request, nth| match request.path.as_str() {
        "/token/access-key" if nth == 0 => {
            Step::json(200, json!({"access_token": "t1", "expires_in": 3600, "token_type": "Bearer"}))
        }
        "/token/access-key" => Step::json(200, json!({"accessToken": "t2", "expiresIn": "3600"})),
        _ if request.header("authorization") == Some("Bearer t2") => Step::json(201, json!({"id": "u1"})),
        _ => Step::json(401, json!({"status": "401"})),
    })
    .await;
    let key = AccessKey {
        token_url: server.url("/token/access-key"),
        access_key_id: "k1".to_owned(),
        access_key_secret: "s3cret".to_owned().into(),
        refresh_before: Duration::from_secs(60),
    };
    let target = with_auth(&server, "", AuthOptions::AccessKey(key));
    let outcomes = send(&target, Transport::Single).await;
    assert!(matches!(&outcomes[0], Outcome::Answered(answer) if answer.status == 201), "{outcomes:?}");
    let fetched = server.seen_at("/token/access-key");
    assert_eq!(fetched.len(), 2, "the one that was refused is replaced");
    let body: Value = serde_json::from_str(&fetched[0].body).unwrap();
    assert_eq!(body, json!({"accessKeyId": "k1", "accessKeySecret": "s3cret"}));
    assert_eq!(fetched[0].header("content-type"), Some("application/json"));
    assert_eq!(fetched[0].header("authorization"), None);
}

#[tokio::test]
async fn an_access_key_opens_the_sandbox() {
    let options = SandboxOptions {
        client_id: Some("k1".to_owned()),
        client_secret: Some("s3cret".to_owned()),
        ..SandboxOptions::on_any_port()
    };
    let sandbox = Sandbox::start(options).await;
    let root = Url::parse(&format!("{}/", sandbox.running.root_url())).unwrap();
    let discovered = async |secret: &str| {
        let key = AccessKey {
            token_url: root.join("authentication/v1/token/access-key").unwrap(),
            access_key_id: "k1".to_owned(),
            access_key_secret: secret.to_owned().into(),
            refresh_before: Duration::from_secs(60),
        };
        at(root.join("scim/v2").unwrap(), "", AuthOptions::AccessKey(key)).discover().await
    };
    assert!(discovered("s3cret").await.is_ok());
    let refused = discovered("wrong").await.unwrap_err().to_string();
    assert!(refused.contains("401"), "{refused}");
}

// ---------------------------------------------------------------- the schema

fn committed() -> String {
    std::fs::read_to_string(root().join("schemas/profile.json")).unwrap_or_default()
}

#[test]
fn the_schema_of_profiles_is_that_of_the_code() {
    let generated = format!("{:#}\n", Profile::json_schema());
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(root().join("schemas/profile.json"), &generated).unwrap();
    }
    assert_eq!(committed(), generated, "rewrite it with `UPDATE_SCHEMAS=1 make test FILTER=profiles`");
}

#[test]
fn the_schema_and_the_relay_accept_the_same_profiles() {
    let schema = jsonschema::validator_for(&serde_json::from_str(&committed()).unwrap()).unwrap();
    let fits = |text: &str| {
        let table: toml::Table = text.parse().unwrap();
        schema.is_valid(&serde_json::to_value(table).unwrap())
    };
    for name in shipped() {
        let file = root().join(format!("src/target/profiles/{name}.toml"));
        assert!(fits(&std::fs::read_to_string(file).unwrap()), "{name}");
    }
    for (text, accepted) in [
        ("", true),
        ("[limits]\noperations = 1\n[rates]\nrequests = \"10/s\"", true),
        ("[users]\nmatching = [\"emails.value\", \"userName\"]\nupdate = \"put\"", true),
        ("[limits]\noperations = 0", false),
        ("[limits]\noperation = 1", false),
        ("[rates]\nrequests = \"fast\"", false),
        ("[users]\nupdate = \"post\"", false),
        ("[members]\nremoval = \"all\"", false),
        ("name = \"x\"", false),
    ] {
        assert_eq!(fits(text), accepted, "schema: {text}");
        let read = Profile::load("./own.toml", &|_| Ok(text.to_owned()));
        assert_eq!(read.is_ok(), accepted, "relay: {text}");
    }
}
