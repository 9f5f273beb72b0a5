//! The HTTP client against a server that nobody here wrote.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use scim_relay::core::dialect::Dialect;
use scim_relay::core::operation::{Operation, Write};
use scim_relay::core::outcome::{Answer, Outcome, Reply};
use scim_relay::core::resource::{ETag, ExternalId, ResourceKey, ResourceType, TargetId};
use scim_relay::pipeline::ports::{BulkLimits, Failure, Query, Target, Transport};
use scim_relay::scim::{bulk, resource};
use scim_relay::target::{AuthOptions, HttpTarget, Seen, TargetOptions, TlsOptions};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::scim2_server::{Mode, Scim2Server, TOKEN};

fn target(server: &Scim2Server) -> HttpTarget {
    // only the first test of a process installs it
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = TargetOptions {
        base_url: server.base_url(),
        timeout: Duration::from_secs(30),
        bulk_timeout: Duration::from_secs(30),
        auth: AuthOptions::Bearer(TOKEN.to_owned().into()),
        tls: TlsOptions::default(),
        profile: Arc::default(),
    };
    HttpTarget::new(options, Arc::new(|_: Seen| {}), SystemTime::now).unwrap()
}

fn operation(kind: ResourceType, external_id: &str, write: Write) -> Operation {
    let key = ResourceKey::new(kind, ExternalId::new(external_id).unwrap());
    Operation { key, bulk_id: format!("b-{external_id}"), write }
}

fn create_user(external_id: &str) -> Operation {
    let body = json!({
        "schemas": [ResourceType::User.schema()], "externalId": external_id,
        "userName": format!("{external_id}@example.com"), "active": true,
    });
    operation(ResourceType::User, external_id, Write::Create { body })
}

fn create_group(external_id: &str, member: &str) -> Operation {
    let body = json!({
        "schemas": [ResourceType::Group.schema()], "externalId": external_id,
        "displayName": external_id, "members": [{"value": member}],
    });
    operation(ResourceType::Group, external_id, Write::Create { body })
}

fn rename(external_id: &str, made: &Answer, version: Option<ETag>) -> Operation {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "path": "displayName", "value": "Ana"}],
    });
    operation(ResourceType::User, external_id, Write::Patch { id: id(made), version, body })
}

fn delete(external_id: &str, made: &Answer, version: Option<ETag>) -> Operation {
    operation(ResourceType::User, external_id, Write::Delete { id: id(made), version })
}

fn id(answer: &Answer) -> TargetId {
    answer.id.clone().unwrap()
}

async fn send(target: &HttpTarget, operations: &[Operation], transport: Transport) -> Vec<Answer> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let Reply::Each(outcomes) = target.send(operations, transport, deadline).await else {
        panic!("failed as a whole")
    };
    let answer = |outcome| match outcome {
        Outcome::Answered(answer) => answer,
        other => panic!("no answer: {other:?}"),
    };
    outcomes.into_iter().map(answer).collect()
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

/// The life of two users and a group; the same in both transports.
async fn lives(target: &HttpTarget, transport: Transport) {
    let made = send(target, &[create_user("e-1"), create_user("e-2")], transport).await;
    assert_eq!(statuses(&made), [201, 201]);
    let group =
        send(target, &[create_group("g-1", id(&made[0]).as_str()), create_user("e-1")], transport).await;
    assert_eq!(statuses(&group), [201, 409]);
    assert_eq!((group[1].scim_type.as_deref(), group[1].scim_error), (Some("uniqueness"), true));

    let renamed = send(target, &[rename("e-1", &made[0], made[0].etag.clone())], transport).await;
    assert!(matches!(renamed[0].status, 200 | 204));
    assert!(renamed[0].etag.is_some() && renamed[0].etag != made[0].etag);
    let stale = ETag::new("W/\"stale\"");
    let mixed = [rename("e-1", &made[0], stale.clone()), delete("e-2", &made[1], made[1].etag.clone())];
    assert_eq!(statuses(&send(target, &mixed, transport).await), [412, 204]);
    let gone = [delete("e-2", &made[1], None), delete("e-1", &made[0], stale)];
    let gone = send(target, &gone, transport).await;
    assert_eq!(statuses(&gone), [404, 412]);
    assert!(gone[0].scim_error);

    let live = target.read(ResourceType::User, &id(&made[0])).await.unwrap();
    assert_eq!(live.etag, renamed[0].etag);
    assert_eq!(live.resource.unwrap()["displayName"], json!("Ana"));
    let missing = target.read(ResourceType::User, &id(&made[1])).await;
    assert!(
        matches!(missing, Err(Failure::Answered(Answer { status: 404, scim_error: true, .. }))),
        "{missing:?}"
    );
}

fn query(attribute: &'static str, value: &str) -> Query {
    Query { attribute, value: value.to_owned() }
}

fn external_ids(found: &[Value]) -> Vec<&str> {
    let mut ids: Vec<&str> = found.iter().filter_map(resource::external_id).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn resources_live_and_die_in_bulk_requests() {
    let server = Scim2Server::start(Mode::Bulk);
    let target = target(&server);
    let capabilities = target.discover().await.unwrap();
    assert_eq!(capabilities.bulk, Some(BulkLimits { max_operations: 1000, max_bytes: 1_048_576 }));
    assert!(capabilities.etag && capabilities.patch);
    lives(&target, Transport::Bulk).await;
}

#[tokio::test]
async fn resources_live_and_die_in_single_requests() {
    let server = Scim2Server::start(Mode::NoBulk);
    let target = target(&server);
    assert_eq!(target.discover().await.unwrap().bulk, None);
    lives(&target, Transport::Single).await;
    let reply =
        target.send(&[create_user("e-9")], Transport::Bulk, Instant::now() + Duration::from_secs(60)).await;
    let Reply::Whole(Outcome::Answered(answer)) = reply else { panic!("{reply:?}") };
    assert_eq!(answer.status, 501);
}

#[tokio::test]
async fn a_group_refers_to_a_user_of_the_same_request() {
    let server = Scim2Server::start(Mode::Bulk);
    let target = target(&server);
    let made =
        send(&target, &[create_user("e-1"), create_group("g-1", "bulkId:b-e-1")], Transport::Bulk).await;
    assert_eq!(statuses(&made), [201, 201]);
    let group = target.read(ResourceType::Group, &id(&made[1])).await.unwrap().resource.unwrap();
    assert_eq!(group["members"][0]["value"], json!(id(&made[0]).as_str()));
}

#[tokio::test]
async fn lookups_find_by_any_of_several_attributes() {
    let server = Scim2Server::start(Mode::Bulk);
    let target = target(&server);
    let people: Vec<Operation> = (0..120).map(|n| create_user(&format!("e-{n:03} \"\\ü"))).collect();
    assert_eq!(target.count(ResourceType::User).await.unwrap(), Some(0));
    // quotes and the like do not belong into a userName here, but the filter has to bear them
    send(&target, &people, Transport::Bulk).await;
    assert_eq!(target.count(ResourceType::User).await.unwrap(), Some(120));
    let found = [
        query("externalId", "e-001 \"\\ü"),
        query("userName", "E-002 \"\\Ü@EXAMPLE.COM"),
        query("userName", "nobody"),
    ];
    let found = target.find(ResourceType::User, &found).await.unwrap();
    assert!(external_ids(&found).contains(&"e-001 \"\\ü"), "{found:?}");
    let all: Vec<Query> = (0..120).map(|n| query("externalId", &format!("e-{n:03} \"\\ü"))).collect();
    let found = target.find(ResourceType::User, &all).await.unwrap();
    assert_eq!(external_ids(&found).len(), 120);
}

#[tokio::test]
async fn the_limits_of_bulk_requests_hold_to_the_byte() {
    let server = Scim2Server::start(Mode::SmallBulk);
    let target = target(&server);
    let limits = target.discover().await.unwrap().bulk.unwrap();
    assert_eq!(limits, BulkLimits { max_operations: 5, max_bytes: 4096 });
    let padded = |external_id: &str, bytes: usize| {
        let mut operation = create_user(external_id);
        let room = bytes
            - bulk::ENVELOPE_LEN
            - bulk::encoded_len(&operation, &Dialect::default())
            - r#","title":"""#.len();
        let Write::Create { body } = &mut operation.write else { unreachable!("it is a create") };
        body["title"] = json!("x".repeat(room));
        operation
    };
    let fits = send(&target, &[padded("e-1", 4096)], Transport::Bulk).await;
    assert_eq!(statuses(&fits), [201]);
    let deadline = Instant::now() + Duration::from_secs(60);
    let six: Vec<Operation> = (10..16).map(|n| create_user(&format!("e-{n}"))).collect();
    for too_much in [vec![padded("e-2", 4097)], six] {
        let reply = target.send(&too_much, Transport::Bulk, deadline).await;
        let Reply::Whole(Outcome::Answered(answer)) = reply else { panic!("{reply:?}") };
        assert_eq!(answer.status, 413);
    }
}

#[tokio::test]
async fn a_wrong_token_is_answered_with_401() {
    let server = Scim2Server::start(Mode::Bulk);
    let mut options = TargetOptions {
        base_url: server.base_url(),
        timeout: Duration::from_secs(30),
        bulk_timeout: Duration::from_secs(30),
        auth: AuthOptions::None,
        tls: TlsOptions::default(),
        profile: Arc::default(),
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    for auth in [AuthOptions::None, AuthOptions::Bearer("wrong".to_owned().into())] {
        options.auth = auth;
        let target = HttpTarget::new(options.clone(), Arc::new(|_: Seen| {}), SystemTime::now).unwrap();
        let result = target.count(ResourceType::User).await;
        assert!(
            matches!(result, Err(Failure::Answered(Answer { status: 401, .. }))),
            "{result:?}: {}",
            server.log()
        );
    }
}
