//! The HTTP client against servers that misbehave.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use scim_relay::core::operation::{Operation, Write};
use scim_relay::core::outcome::{Answer, NotSent, Outcome, Reply, Unknown};
use scim_relay::core::resource::{ETag, ExternalId, ResourceKey, ResourceType, TargetId};
use scim_relay::pipeline::ports::{BulkLimits, Capabilities, Failure, Query, Target, Transport};
use scim_relay::target::{
    AuthOptions, ClientAuth, ClientCredentials, HttpTarget, RequestKind, Seen, TargetOptions, TlsOptions,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::support::scripted::{Request, Scripted, Step};

fn options(base_url: Url, auth: AuthOptions) -> TargetOptions {
    let timeout = Duration::from_secs(20);
    TargetOptions {
        base_url,
        timeout,
        bulk_timeout: timeout,
        auth,
        tls: TlsOptions::default(),
        profile: Arc::default(),
    }
}

fn build(options: TargetOptions) -> HttpTarget {
    // only the first test of a process installs it
    let _ = rustls::crypto::ring::default_provider().install_default();
    HttpTarget::new(options, Arc::new(|_: Seen| {}), SystemTime::now).unwrap()
}

fn target(server: &Scripted) -> HttpTarget {
    build(options(server.url("/scim/v2"), AuthOptions::None))
}

fn bearer() -> AuthOptions {
    AuthOptions::Bearer("t0ken".to_owned().into())
}

fn oauth(server: &Scripted, client_auth: ClientAuth) -> HttpTarget {
    let credentials = ClientCredentials {
        token_url: server.url("/oauth/token"),
        client_id: "relay:1".to_owned(),
        client_secret: "s3 cret".to_owned().into(),
        client_auth,
        scope: Some("scim:users:write scim:groups:write".to_owned()),
        refresh_before: Duration::from_secs(60),
    };
    build(options(server.url("/scim/v2"), AuthOptions::ClientCredentials(credentials)))
}

fn operation(bulk_id: &str, write: Write) -> Operation {
    let key = ResourceKey::new(ResourceType::User, ExternalId::new(bulk_id).unwrap());
    Operation { key, bulk_id: bulk_id.to_owned(), write }
}

fn create(bulk_id: &str) -> Operation {
    operation(bulk_id, Write::Create { body: json!({"userName": bulk_id}) })
}

fn patch(bulk_id: &str, id: &str) -> Operation {
    let version = ETag::new("W/\"1\"");
    operation(
        bulk_id,
        Write::Patch { id: TargetId::new(id).unwrap(), version, body: json!({"Operations": []}) },
    )
}

fn delete(bulk_id: &str, id: &str) -> Operation {
    operation(bulk_id, Write::Delete { id: TargetId::new(id).unwrap(), version: None })
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

async fn send_one(target: &HttpTarget, operation: Operation) -> Outcome {
    match target.send(&[operation], Transport::Single, soon()).await {
        Reply::Each(outcomes) => <[Outcome; 1]>::try_from(outcomes).unwrap()[0].clone(),
        Reply::Whole(outcome) => panic!("a single request ends as a whole: {outcome:?}"),
    }
}

async fn send_bulk(target: &HttpTarget, operations: &[Operation]) -> Reply {
    target.send(operations, Transport::Bulk, soon()).await
}

fn answered(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Answered(answer) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

fn created(id: &str) -> Step {
    Step::json(201, json!({"id": id, "meta": {"version": "W/\"1\""}}))
}

// ---------------------------------------------------------------- requests

#[tokio::test]
async fn single_requests_are_made_by_the_book() {
    let server = Scripted::start(|request, _| match request.method.as_str() {
        "POST" => created("u/1"),
        _ => Step::answer(204, &[("ETag", "W/\"2\"")], ""),
    })
    .await;
    let target = build(options(server.url("/scim/v2/?tenant=7"), bearer()));
    let operations = [create("b1"), patch("b2", "u/1"), delete("b3", "u 1?")];
    let Reply::Each(outcomes) = target.send(&operations, Transport::Single, soon()).await else { panic!() };
    let answers: Vec<Answer> = outcomes.into_iter().map(answered).collect();
    assert_eq!(answers.iter().map(|a| a.status).collect::<Vec<_>>(), [201, 204, 204]);
    assert_eq!(answers[0].id, TargetId::new("u/1"));
    assert_eq!(answers[1].etag, ETag::new("W/\"2\""));

    let seen = server.seen();
    let lines: Vec<String> = seen.iter().map(|r| format!("{} {}", r.method, r.path)).collect();
    let expected = [
        "POST /scim/v2/Users?tenant=7",
        "PATCH /scim/v2/Users/u%2F1?tenant=7",
        "DELETE /scim/v2/Users/u%201%3F?tenant=7",
    ];
    assert_eq!(lines, expected);
    assert_eq!(seen[1].header("if-match"), Some("W/\"1\""));
    for request in &seen {
        assert_eq!(request.header("authorization"), Some("Bearer t0ken"));
        assert_eq!(request.header("accept"), Some("application/scim+json, application/json"));
        assert!(request.header("user-agent").unwrap().starts_with("scim-relay/"));
    }
    assert_eq!(seen[0].header("content-type"), Some("application/scim+json"));
    assert_eq!(seen[0].body, r#"{"userName":"b1"}"#);
    assert_eq!((seen[2].header("content-type"), seen[2].header("if-match")), (None, None));
}

#[tokio::test]
async fn a_bulk_request_brings_an_outcome_per_operation_and_is_observed() {
    let server = Scripted::start(|_, _| {
        Step::json(
            200,
            json!({"Operations": [
                {"method": "PATCH", "location": "/Users/u2", "status": "412"},
                {"method": "POST", "bulkId": "b1", "location": "/Users/u1", "status": "201"},
            ]}),
        )
    })
    .await;
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let log = Arc::clone(&seen);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let observer = Arc::new(move |request: Seen| log.lock().unwrap().push(request));
    let target =
        HttpTarget::new(options(server.url("/"), AuthOptions::None), observer, SystemTime::now).unwrap();
    let Reply::Each(outcomes) =
        send_bulk(&target, &[create("b1"), patch("b2", "u2"), delete("b3", "u3")]).await
    else {
        panic!()
    };
    assert_eq!(answered(outcomes[0].clone()).id, TargetId::new("u1"));
    assert_eq!(answered(outcomes[1].clone()).status, 412);
    assert_eq!(outcomes[2], Outcome::Unknown(Unknown::Missing));
    assert_eq!(server.seen()[0].path, "/Bulk");
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].kind, seen[0].status), (RequestKind::Bulk, Some(200)));
    assert_eq!(seen[0].sent_bytes, server.seen()[0].body.len());
}

#[tokio::test]
async fn nothing_to_send_sends_nothing() {
    let server = Scripted::start(|_, _| Step::Drop).await;
    for transport in [Transport::Bulk, Transport::Single] {
        assert_eq!(target(&server).send(&[], transport, soon()).await, Reply::Each(Vec::new()));
    }
    assert!(server.seen().is_empty());
}

// ---------------------------------------------------------------- broken connections and answers

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = build(options(Url::parse(&format!("http://{nobody}/")).unwrap(), AuthOptions::None));
    let outcome = send_one(&target, create("b1")).await;
    let Outcome::NotSent(NotSent::Connect(reason)) = &outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("refused") && reason.starts_with(&format!("http://{nobody}: ")), "{reason}");
    assert_eq!(send_bulk(&target, &[create("b1")]).await, Reply::Whole(outcome.clone()));
    // the rest of a single batch is not tried, and just as certainly not sent
    let reply = target.send(&[create("b1"), create("b2")], Transport::Single, soon()).await;
    assert_eq!(reply, Reply::Each(vec![outcome.clone(), outcome]));
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_not_sent() {
    let target = build(options(Url::parse("http://scim.invalid/v2").unwrap(), AuthOptions::None));
    let outcome = send_one(&target, create("b1")).await;
    assert!(matches!(outcome, Outcome::NotSent(NotSent::Connect(_))), "{outcome:?}");
}

#[tokio::test]
async fn failed_tls_is_not_sent() {
    // one never answers the handshake, the other closes at once
    for server in [Scripted::start(|_, _| Step::Drop).await, Scripted::slamming().await] {
        let mut url = server.url("/scim/v2");
        url.set_scheme("https").unwrap();
        let timeout = Duration::from_millis(600);
        let target = build(TargetOptions { timeout, ..options(url, AuthOptions::None) });
        let outcome = send_one(&target, create("b1")).await;
        assert!(matches!(outcome, Outcome::NotSent(NotSent::Connect(_))), "{outcome:?}");
    }
    let garbage = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("https://{}/", garbage.local_addr().unwrap())).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let (mut stream, _) = garbage.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let outcome = send_one(&build(options(url, AuthOptions::None)), create("b1")).await;
    assert!(matches!(outcome, Outcome::NotSent(NotSent::Tls(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_dropped_connection_leaves_it_unknown_and_nothing_is_sent_twice() {
    let server = Scripted::start(|_, _| Step::Drop).await;
    let target = target(&server);
    assert_eq!(send_one(&target, create("b1")).await, Outcome::Unknown(Unknown::Dropped));
    assert_eq!(server.seen().len(), 1);
    assert_eq!(send_bulk(&target, &[create("b1")]).await, Reply::Whole(Outcome::Unknown(Unknown::Dropped)));
    assert_eq!(server.seen().len(), 2);
    let slamming = Scripted::slamming().await;
    let outcome = send_one(&self::target(&slamming), create("b1")).await;
    assert_eq!(outcome, Outcome::Unknown(Unknown::Dropped));
}

#[tokio::test]
async fn a_success_that_can_not_be_read_leaves_it_unknown() {
    let raw = |text: &str| Step::Raw(text.as_bytes().to_vec());
    let chunk = "x".repeat(1 << 20);
    let endless = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}",
        format!("100000\r\n{chunk}\r\n").repeat(40)
    );
    for (case, step) in [
        ("html", Step::answer(200, &[("content-type", "text/html")], "<html>sign in</html>")),
        ("html as scim", Step::json(200, "<html>sign in</html>")),
        ("cut off", raw("HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\n{\"id\":\"u1\"")),
        (
            "cut off between chunks",
            raw("HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"),
        ),
        ("said to be too long", raw("HTTP/1.1 200 OK\r\ncontent-length: 40000000\r\n\r\n{}")),
        ("too long", raw(&endless)),
    ] {
        let server = Scripted::start(move |_, _| step.clone()).await;
        let target = target(&server);
        let unreadable = Outcome::Unknown(Unknown::Unreadable);
        assert_eq!(send_one(&target, create("b1")).await, unreadable, "{case}");
        assert_eq!(send_one(&target, patch("b1", "u1")).await, unreadable, "{case}");
        assert_eq!(send_bulk(&target, &[create("b1")]).await, Reply::Whole(unreadable), "{case}");
    }
}

#[tokio::test]
async fn a_slow_answer_leaves_it_unknown() {
    let partial = Step::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n".to_vec());
    let server = Scripted::start(move |_, nth| if nth < 2 { Step::Hang } else { partial.clone() }).await;
    let timeout = Duration::from_millis(300);
    let target = build(TargetOptions {
        timeout,
        bulk_timeout: timeout,
        ..options(server.url("/"), AuthOptions::None)
    });
    assert_eq!(send_one(&target, create("b1")).await, Outcome::Unknown(Unknown::Timeout));
    assert_eq!(send_bulk(&target, &[create("b1")]).await, Reply::Whole(Outcome::Unknown(Unknown::Timeout)));
}

#[tokio::test]
async fn a_passed_deadline_sends_nothing() {
    let server = Scripted::start(|_, _| created("u1")).await;
    let target = target(&server);
    for transport in [Transport::Bulk, Transport::Single] {
        let reply = target.send(&[create("b1")], transport, Instant::now()).await;
        let not_sent = Outcome::NotSent(NotSent::Deadline);
        match reply {
            Reply::Each(outcomes) => assert_eq!(outcomes, [not_sent]),
            Reply::Whole(outcome) => assert_eq!(outcome, not_sent),
        }
    }
    assert!(server.seen().is_empty());
}

// ---------------------------------------------------------------- statuses

#[tokio::test]
async fn refusals_carry_what_the_error_says_and_the_wait() {
    let error = json!({"status": 409, "scimType": "uniqueness", "detail": "taken"});
    let server = Scripted::start(move |_, nth| match nth {
        0 => Step::json(409, error.clone()),
        1 => Step::answer(503, &[("Retry-After", "7")], "<html>busy</html>"),
        _ => Step::answer(404, &[], "<html>not found</html>"),
    })
    .await;
    let target = target(&server);
    let conflict = answered(send_one(&target, create("b1")).await);
    assert_eq!(
        (conflict.status, conflict.scim_type.as_deref(), conflict.scim_error),
        (409, Some("uniqueness"), true)
    );
    let Reply::Whole(busy) = send_bulk(&target, &[create("b1")]).await else { panic!() };
    assert_eq!(answered(busy).retry_after, Some(Duration::from_secs(7)));
    let gone = answered(send_one(&target, patch("b1", "u1")).await);
    assert_eq!((gone.status, gone.scim_error), (404, false));
}

#[tokio::test]
async fn results_count_even_under_a_status_that_is_no_success() {
    let server = Scripted::start(|_, nth| match nth {
        0 => Step::json(400, json!({"Operations": [{"bulkId": "b1", "status": 400}]})),
        _ => Step::json(400, json!({"Operations": []})),
    })
    .await;
    let target = target(&server);
    assert!(matches!(send_bulk(&target, &[create("b1")]).await, Reply::Each(_)));
    assert!(matches!(send_bulk(&target, &[create("b1")]).await, Reply::Whole(Outcome::Answered(_))));
}

#[tokio::test]
async fn a_batch_of_single_requests_ends_when_the_target_says_to_wait() {
    let server = Scripted::start(|_, nth| match nth {
        0 => created("u1"),
        _ => Step::answer(429, &[("Retry-After", "3")], ""),
    })
    .await;
    let operations = [create("b1"), create("b2"), create("b3"), create("b4")];
    let Reply::Each(outcomes) = target(&server).send(&operations, Transport::Single, soon()).await else {
        panic!()
    };
    let statuses: Vec<u16> = outcomes.into_iter().map(|outcome| answered(outcome).status).collect();
    assert_eq!(statuses, [201, 429, 429, 429]);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn redirects_are_followed_only_on_the_same_host_and_with_the_method_kept() {
    let elsewhere = Scripted::start(|_, _| created("stolen")).await;
    let other = elsewhere.url("/scim/v2/Users").to_string();
    let server =
        Scripted::start(move |request, _| match (request.path.as_str(), request.body.contains("moved")) {
            ("/scim/v2/Users", true) => Step::answer(308, &[("Location", "/v2/Users")], ""),
            ("/scim/v2/Users", false) if request.body.contains("see") => {
                Step::answer(302, &[("Location", "/v2/Users")], "")
            }
            ("/scim/v2/Users", false) => Step::answer(307, &[("Location", &other)], ""),
            ("/v2/Users", _) => created("u1"),
            _ => Step::answer(308, &[("Location", "/loop")], ""),
        })
        .await;
    let target = build(options(server.url("/scim/v2"), bearer()));
    assert_eq!(answered(send_one(&target, create("moved")).await).id, TargetId::new("u1"));
    let followed = &server.seen_at("/v2/Users")[0];
    assert_eq!((followed.method.as_str(), followed.header("authorization")), ("POST", Some("Bearer t0ken")));
    assert_eq!(followed.body, r#"{"userName":"moved"}"#);
    assert_eq!(answered(send_one(&target, create("see")).await).status, 302);
    assert_eq!(answered(send_one(&target, create("away")).await).status, 307);
    assert!(elsewhere.seen().is_empty());
    assert_eq!(answered(send_one(&target, patch("b1", "loop")).await).status, 308);
    assert_eq!(server.seen_at("/loop").len(), 3);
}

// ---------------------------------------------------------------- tokens

fn grant(nth: usize, expires_in: u64) -> Step {
    Step::json(
        200,
        json!({"access_token": format!("t{nth}"), "token_type": "Bearer", "expires_in": expires_in}),
    )
}

fn with_token(request: &Request, nth: usize, step: Step) -> Step {
    if request.path == "/oauth/token" { grant(nth, 3600) } else { step }
}

#[tokio::test]
async fn client_credentials_go_where_the_configuration_says() {
    let server = Scripted::start(|request, nth| with_token(request, nth, created("u1"))).await;
    send_one(&oauth(&server, ClientAuth::Basic), create("b1")).await;
    send_one(&oauth(&server, ClientAuth::Post), create("b1")).await;
    let requests = server.seen_at("/oauth/token");
    // base64 of "relay%3A1:s3+cret"
    assert_eq!(requests[0].header("authorization"), Some("Basic cmVsYXklM0ExOnMzK2NyZXQ="));
    let scope = "scope=scim%3Ausers%3Awrite+scim%3Agroups%3Awrite";
    assert_eq!(requests[0].body, format!("grant_type=client_credentials&{scope}"));
    assert_eq!(requests[1].header("authorization"), None);
    let both = "client_id=relay%3A1&client_secret=s3+cret";
    assert_eq!(requests[1].body, format!("grant_type=client_credentials&{scope}&{both}"));
    assert_eq!(requests[1].header("content-type"), Some("application/x-www-form-urlencoded"));
}

#[tokio::test]
async fn a_token_is_fetched_once_for_all_who_need_it() {
    let server = Scripted::start(|request, nth| with_token(request, nth, created("u1"))).await;
    let target = oauth(&server, ClientAuth::Basic);
    let all = (0..20).map(|_| send_one(&target, create("b1")));
    for outcome in futures_util::future::join_all(all).await {
        assert_eq!(answered(outcome).status, 201);
    }
    assert_eq!(server.seen_at("/oauth/token").len(), 1);
    assert_eq!(server.seen_at("/scim/v2/Users").len(), 20);
}

#[tokio::test]
async fn a_token_that_can_not_be_had_is_asked_for_once_by_all_who_wait() {
    let error = json!({"error": "invalid_client", "error_description": "s3 cret is wrong"});
    let server = Scripted::start(move |_, _| Step::json(401, error.clone())).await;
    let target = oauth(&server, ClientAuth::Basic);
    let all = (0..20).map(|_| send_one(&target, create("b1")));
    let expected =
        Outcome::NotSent(NotSent::Token("the token endpoint answered 401 invalid_client".to_owned()));
    for outcome in futures_util::future::join_all(all).await {
        assert_eq!(outcome, expected);
    }
    assert_eq!(server.seen().len(), 1);
    // whoever comes later asks again
    assert_eq!(send_one(&target, create("b1")).await, expected);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let server = Scripted::start(|request, nth| {
        let fresh = request.header("authorization") != Some("Bearer t0");
        let always = request.body.contains("never");
        with_token(request, nth, if fresh && !always { created("u1") } else { Step::answer(401, &[], "") })
    })
    .await;
    let target = oauth(&server, ClientAuth::Basic);
    assert_eq!(answered(send_one(&target, create("b1")).await).status, 201);
    assert_eq!(server.seen_at("/oauth/token").len(), 2);
    assert_eq!(answered(send_one(&target, create("never")).await).status, 401);
    let (tokens, requests) = (server.seen_at("/oauth/token").len(), server.seen_at("/scim/v2/Users").len());
    assert_eq!((tokens, requests), (3, 4));
}

#[tokio::test]
async fn a_refused_static_token_is_not_tried_again() {
    let server = Scripted::start(|_, _| Step::answer(401, &[], "")).await;
    let target = build(options(server.url("/"), bearer()));
    assert_eq!(answered(send_one(&target, create("b1")).await).status, 401);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn many_refused_at_once_fetch_one_new_token() {
    let server = Scripted::start(|request, nth| {
        let old = request.header("authorization") == Some("Bearer t0");
        with_token(request, nth, if old { Step::answer(401, &[], "") } else { created("u1") })
    })
    .await;
    let target = oauth(&server, ClientAuth::Post);
    let all = (0..20).map(|_| send_one(&target, create("b1")));
    for outcome in futures_util::future::join_all(all).await {
        assert_eq!(answered(outcome).status, 201);
    }
    assert_eq!(server.seen_at("/oauth/token").len(), 2);
}

#[tokio::test]
async fn a_token_is_renewed_early_and_the_old_one_serves_while_that_fails() {
    // half of its two seconds is the earliest: then the endpoint is down
    let server = Scripted::start(|request, nth| match (request.path.as_str(), nth) {
        ("/oauth/token", 0) => grant(0, 2),
        ("/oauth/token", _) => Step::answer(500, &[], ""),
        _ => created("u1"),
    })
    .await;
    let target = oauth(&server, ClientAuth::Basic);
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.seen_at("/oauth/token").len() < 2 {
        assert_eq!(answered(send_one(&target, create("b1")).await).status, 201);
        assert!(Instant::now() < deadline, "the token was never renewed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// ---------------------------------------------------------------- reading

fn query(attribute: &'static str, value: &str) -> Query {
    Query { attribute, value: value.to_owned() }
}

fn page(total: u64, ids: impl IntoIterator<Item = u64>) -> Step {
    let resources: Vec<Value> =
        ids.into_iter().map(|id| json!({"id": id.to_string(), "userName": format!("n{id}")})).collect();
    Step::json(200, json!({"totalResults": total, "Resources": resources}))
}

fn start_index(request: &Request) -> u64 {
    let (_, index) = request.path.split_once("startIndex=").unwrap_or(("", "1"));
    index.parse().unwrap()
}

#[tokio::test]
async fn a_lookup_asks_for_all_at_once_and_reads_every_page() {
    let server = Scripted::start(|request, _| {
        let first = start_index(request);
        page(5, first..(first + 2).min(6))
    })
    .await;
    let queries = [query("externalId", "e \"1\""), query("userName", "ana")];
    let found = target(&server).find(ResourceType::User, &queries).await.unwrap();
    assert_eq!(found.len(), 5);
    let paths: Vec<String> = server.seen().into_iter().map(|request| request.path).collect();
    let filter = "%28externalId%20eq%20%22e%20%5C%221%5C%22%22%29%20or%20%28userName%20eq%20%22ana%22%29";
    let base = format!("/scim/v2/Users?filter={filter}");
    assert_eq!(paths, [base.clone(), format!("{base}&startIndex=3"), format!("{base}&startIndex=5")]);
}

#[tokio::test]
async fn a_server_that_does_not_page_is_asked_only_until_it_repeats_itself() {
    let server = Scripted::start(|_, _| page(500, 1..4)).await;
    let found = target(&server).find(ResourceType::User, &[query("userName", "n1")]).await.unwrap();
    assert_eq!((found.len(), server.seen().len()), (3, 2));
}

#[tokio::test]
async fn a_server_that_ignores_filters_is_read_through_and_only_what_fits_is_kept() {
    let server = Scripted::start(|request, _| {
        let first = start_index(request);
        page(5000, first..first + 500)
    })
    .await;
    let found = target(&server).find(ResourceType::User, &[query("userName", "N4567")]).await.unwrap();
    assert!(found.len() <= 1001, "{}", found.len());
    assert_eq!(found.last().unwrap()["id"], json!("4567"));
    assert_eq!(server.seen().len(), 10);
}

#[tokio::test]
async fn an_endless_list_is_no_answer() {
    let server = Scripted::start(|request, _| {
        let first = start_index(request);
        page(u64::MAX, [first])
    })
    .await;
    let result = target(&server).find(ResourceType::User, &[query("userName", "x")]).await;
    assert!(matches!(result, Err(Failure::Broken(_))), "{result:?}");
}

#[tokio::test]
async fn a_filter_that_is_too_much_is_halved_and_that_is_remembered() {
    let server = Scripted::start(|request, _| match request.path.contains("%20or%20") {
        true => Step::json(400, json!({"scimType": "invalidFilter", "detail": "no or", "status": "400"})),
        false => page(0, []),
    })
    .await;
    let target = target(&server);
    let queries = ["a", "b", "c"].map(|value| query("userName", value));
    assert_eq!(target.find(ResourceType::User, &queries).await.unwrap(), Vec::<Value>::new());
    let halving = server.seen().len();
    assert_eq!(halving, 5); // abc, ab, a, b, c
    target.find(ResourceType::User, &queries).await.unwrap();
    assert_eq!(server.seen().len() - halving, 3);
}

#[tokio::test]
async fn one_comparison_that_is_refused_is_an_answer() {
    let server = Scripted::start(|_, _| Step::json(400, json!({"scimType": "invalidFilter"}))).await;
    let result = target(&server).find(ResourceType::User, &[query("userName", "a")]).await;
    assert!(matches!(result, Err(Failure::Answered(Answer { status: 400, .. }))), "{result:?}");
}

#[tokio::test]
async fn long_filters_are_spread_over_several_requests() {
    let server = Scripted::start(|_, _| page(0, [])).await;
    let long = "x".repeat(255);
    let queries: Vec<Query> = (0..45).map(|n| query("userName", &format!("{n}{long}"))).collect();
    target(&server).find(ResourceType::User, &queries).await.unwrap();
    let seen = server.seen();
    assert!(seen.len() > 1 && seen.iter().all(|request| request.path.len() < 6300), "{}", seen.len());
    let asked: usize = seen.iter().map(|request| request.path.matches("userName").count()).sum();
    assert_eq!(asked, 45);
}

#[tokio::test]
async fn what_is_no_list_is_no_answer_to_a_lookup() {
    for step in
        [Step::answer(200, &[], "<html>"), Step::json(200, json!({})), Step::answer(204, &[], ""), Step::Drop]
    {
        let server = Scripted::start(move |_, _| step.clone()).await;
        let result = target(&server).find(ResourceType::User, &[query("userName", "a")]).await;
        assert!(matches!(result, Err(Failure::Broken(Outcome::Unknown(_)))), "{result:?}");
    }
}

#[tokio::test]
async fn a_resource_is_read_with_its_version() {
    let server = Scripted::start(|_, nth| match nth {
        0 => Step::answer(200, &[("ETag", "\"body-hash\"")], r#"{"id":"u 1","meta":{"version":"W/\"3\""}}"#),
        1 => Step::json(404, json!({"status": "404", "detail": "no such user"})),
        _ => Step::answer(200, &[], ""),
    })
    .await;
    let (target, id) = (target(&server), TargetId::new("u 1").unwrap());
    let answer = target.read(ResourceType::User, &id).await.unwrap();
    assert_eq!((answer.etag, answer.id), (ETag::new("W/\"3\""), Some(id.clone())));
    assert_eq!(server.seen()[0].path, "/scim/v2/Users/u%201");
    let missing = target.read(ResourceType::User, &id).await;
    assert!(
        matches!(missing, Err(Failure::Answered(Answer { status: 404, scim_error: true, .. }))),
        "{missing:?}"
    );
    let empty = target.read(ResourceType::User, &id).await;
    assert!(matches!(empty, Err(Failure::Broken(_))), "{empty:?}");
}

#[tokio::test]
async fn resources_are_counted_where_the_target_says_how_many() {
    let server = Scripted::start(|_, nth| match nth {
        0 => page(5000, [1]),
        _ => Step::json(200, json!([{}])),
    })
    .await;
    let target = target(&server);
    assert_eq!(target.count(ResourceType::Group).await.unwrap(), Some(5000));
    assert_eq!(target.count(ResourceType::Group).await.unwrap(), None);
    assert_eq!(server.seen()[0].path, "/scim/v2/Groups?startIndex=1&count=1");
}

#[tokio::test]
async fn capabilities_are_discovered_and_safe_where_the_target_says_nothing() {
    let safe = Capabilities { bulk: None, patch: true, etag: false, filter: Some(0) };
    let limits = BulkLimits { max_operations: 5, max_bytes: 4096 };
    let document = json!({"bulk": {"supported": true, "maxOperations": "5", "maxPayloadSize": 4096}});
    for (path, expected) in [
        ("/scim/v2/ServiceProviderConfig", Capabilities { bulk: Some(limits), ..safe.clone() }),
        ("/scim/v2/ServiceProviderConfigs", Capabilities { bulk: Some(limits), ..safe.clone() }),
        ("nowhere", safe),
    ] {
        let document = document.clone();
        let server = Scripted::start(move |request, _| match request.path == path {
            true => Step::json(200, document.clone()),
            false => Step::answer(404, &[], "<html>"),
        })
        .await;
        assert_eq!(target(&server).discover().await.unwrap(), expected, "{path}");
    }
    for (step, answered) in [
        (Step::answer(403, &[], ""), true),
        (Step::answer(503, &[], ""), true),
        (Step::answer(200, &[], "<html>"), false),
        (Step::json(200, json!({})), false),
    ] {
        let server = Scripted::start(move |_, _| step.clone()).await;
        let failure = target(&server).discover().await.unwrap_err();
        assert_eq!(matches!(failure, Failure::Answered(_)), answered, "{failure:?}");
    }
}
