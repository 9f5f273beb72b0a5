//! `schemas/`: what is committed describes what the program really writes and reads, and refuses what it refuses.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jsonschema::Validator;
use scim_relay::broker::topology::{Names, Object, TopologyOptions};
use scim_relay::config::document;
use scim_relay::core::change::{Delta, Lifecycle, MemberRegister, Register};
use scim_relay::core::letter::Class;
use scim_relay::core::operation::Method;
use scim_relay::core::record::{Record, Trouble};
use scim_relay::core::resource::{ResourceKey, ResourceType};
use scim_relay::core::revision::{EventHash, Place, Revision, Sequence};
use scim_relay::core::schedule::Millis;
use scim_relay::decode::{Decoded, Input, Limits, Refusal, decode};
use scim_relay::pipeline::letters::{Case, Letters, Reason};
use scim_relay::pipeline::ports::{Clock, Header, Message, PublishError, Publisher};
use scim_relay::sample::{Size, generate};
use scim_relay::sandbox::{self, SandboxOptions};
use serde_json::{Value, json};
use url::Url;

use crate::support::relay::Relay;

pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name)
}

pub fn committed(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path(name)).unwrap()).unwrap()
}

pub fn validator(name: &str) -> Validator {
    jsonschema::options().should_validate_formats(true).build(&committed(name)).unwrap()
}

#[track_caller]
pub fn fits(validator: &Validator, document: &Value) {
    let errors: Vec<String> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path)).collect();
    assert!(errors.is_empty(), "{}\n{document:#}", errors.join("\n"));
}

#[track_caller]
pub fn does_not_fit(validator: &Validator, document: &Value) {
    assert!(!validator.is_valid(document), "the schema accepts {document:#}");
}

/// Whether the relay's decoder accepts it from the publishers' exchange, or as its own.
pub fn is_decoded(event: &Value, from_publishers: bool) -> bool {
    let body = event.to_string().into_bytes();
    let input =
        Input { body: &body, content_type: None, timestamp: None, from_publishers, attempt: 0, round: None };
    let limits = Limits { max_event_bytes: 1 << 20, max_clock_skew: Duration::from_secs(600) };
    !matches!(decode(&input, &limits, Millis(1_800_000_000_000)), Decoded::Refused(_))
}

fn event(kind: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": "e1", "source": "/hr", "type": format!("directory.{kind}"),
        "subject": "e-1", "sequence": "7", "data": data,
    })
}

/// An event with one of its attributes replaced, or taken out by `null`.
pub fn altered(mut event: Value, name: &str, value: Value) -> Value {
    match value {
        Value::Null => drop(event.as_object_mut().unwrap().remove(name)),
        value => event[name] = value,
    }
    event
}

#[test]
fn the_configuration_s_schema_is_the_generated_one() {
    let generated = serde_json::to_string_pretty(&document::schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(path("config.json"), &generated).unwrap();
    }
    let committed = std::fs::read_to_string(path("config.json")).unwrap_or_default();
    assert_eq!(committed, generated, "run this test with UPDATE_SCHEMAS=1 to rewrite schemas/config.json");
}

#[test]
fn every_schema_is_one() {
    for entry in std::fs::read_dir(path("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let schema = committed(&name);
        if schema.get("$schema").is_some() {
            assert!(jsonschema::meta::is_valid(&schema), "{name}");
        }
    }
}

#[test]
fn the_example_configuration_fits() {
    let validator = validator("config.json");
    let example: toml::Table = document::example().parse().unwrap();
    let example = serde_json::to_value(example).unwrap();
    fits(&validator, &example);
    for (pointer, wrong) in [
        ("/amqp/prefetch", json!(0)),
        ("/amqp/url", json!("http://broker")),
        ("/target/name", json!("a b")),
        ("/flush/linger", json!(50)),
        ("/flush/lingr", json!("50ms")),
        ("/flush/mode", json!("both")),
        ("/retry/delays", json!([])),
    ] {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let mut document = example.clone();
        document.pointer_mut(parent).unwrap()[name] = wrong;
        does_not_fit(&validator, &document);
    }
    does_not_fit(&validator, &json!({"target": {"name": "t"}}));
}

#[test]
fn a_company_s_events_fit() {
    let validator = validator("event.json");
    let sample = generate(3, Size { people: 200, groups: 20, events: 2_000, managers: true });
    for event in &sample.events {
        fits(&validator, event);
        assert!(is_decoded(event, true), "{event:#}");
    }
}

#[test]
fn what_the_decoder_accepts_fits() {
    let validator = validator("event.json");
    let put = event("user.put", json!({"userName": "ana@example.com", "active": "True", "title": null}));
    let timed = altered(put.clone(), "sequence", Value::Null);
    let operations = json!([
        {"op": "Add", "value": {"title": "Clerk"}},
        {"op": "replace", "path": "emails[type eq \"work\"].value", "value": "x@example.com"},
        {"op": "Remove", "path": "nickName"},
    ]);
    for event in [
        altered(timed, "time", json!("2026-11-21T09:30:00.123Z")),
        altered(put.clone(), "sequence", json!(7)),
        altered(altered(put.clone(), "data", Value::Null), "data_base64", json!("e30=")),
        event("user.patch", json!({"Operations": operations})),
        altered(event("user.delete", Value::Null), "data", Value::Null),
        altered(event("user.activate", Value::Null), "data", Value::Null),
        event("user.deactivate", Value::Null),
        event("group.put", json!({"displayName": "Sales", "members": [{"value": "e-1"}, "e-2"]})),
        event("group.put", json!({"displayName": "Sales", "members": null})),
        event("group.patch", json!({"Operations": [{"op": "remove", "path": "members[value eq \"e-1\"]"}]})),
        event("group.delete", Value::Null),
        put,
    ] {
        fits(&validator, &event);
        assert!(is_decoded(&event, true), "{event:#}");
    }
}

#[test]
fn what_the_decoder_refuses_does_not_fit() {
    let validator = validator("event.json");
    let put = event("user.put", json!({"userName": "ana@example.com"}));
    let operation = |operation: Value| event("user.patch", json!({"Operations": [operation]}));
    for event in [
        altered(put.clone(), "id", Value::Null),
        altered(put.clone(), "subject", json!("")),
        altered(put.clone(), "subject", json!("x".repeat(256))),
        altered(put.clone(), "specversion", json!("0.3")),
        altered(put.clone(), "sequence", Value::Null),
        altered(put.clone(), "time", json!("yesterday")),
        altered(put.clone(), "data", Value::Null),
        altered(put.clone(), "data", json!([])),
        event("user.frobnicate", json!({})),
        event("group.activate", json!({})),
        event("user.put", json!({"active": "perhaps"})),
        event("user.put", json!({"members": []})),
        event("group.put", json!({"members": [{"display": "Ana"}]})),
        event("group.put", json!({"members": "e-1"})),
        event("group.put", json!({"members": {"value": "e-1"}})),
        event("user.patch", json!({"operation": []})),
        operation(json!({"op": "move", "path": "title"})),
        operation(json!({"path": "title", "value": "x"})),
        operation(json!({"op": "remove", "value": {"title": "x"}})),
        operation(json!({"op": "add", "value": "x"})),
    ] {
        does_not_fit(&validator, &event);
        assert!(!is_decoded(&event, true), "{event:#}");
    }
}

/// A place in an order, with all that a revision can have.
fn revision(sequence: &str) -> Revision {
    Revision::new(Place {
        sequence: Sequence::new(sequence),
        time: Some("2026-11-21T09:30:00.123Z".parse().unwrap()),
        id: "e1".into(),
        hash: EventHash::new([7; 32]),
    })
}

/// Attributes, members and floors.
fn intent() -> Delta {
    Delta {
        attributes: vec![
            Register::new("title".parse().unwrap(), Some(json!("Clerk")), revision("1")),
            Register::new("nickName".parse().unwrap(), None, revision("")),
        ],
        members: vec![
            MemberRegister {
                value: "e-2".into(),
                kind: ResourceType::User,
                present: true,
                revision: revision("2"),
            },
            MemberRegister {
                value: "g-2".into(),
                kind: ResourceType::Group,
                present: true,
                revision: revision("2"),
            },
        ],
        lifecycle: Lifecycle { put: Some(revision("3")), deleted: Some(revision("2")) },
    }
}

/// Keeps what is published.
#[derive(Debug, Default)]
struct Outbox(Mutex<Vec<Message>>);

impl Publisher for Outbox {
    async fn publish(&self, message: Message) -> Result<(), PublishError> {
        self.0.lock().unwrap().push(message);
        Ok(())
    }
}

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Millis {
        Millis(1_795_262_400_000)
    }
}

/// A retry letter, a dead letter with its verdict, and a refused event, as they are published.
async fn letters() -> Vec<Message> {
    let outbox = Arc::new(Outbox::default());
    let routes = Names::new("t").routes(&[Duration::from_secs(1)]);
    let letters = Letters::new(outbox.clone(), Arc::new(Noon), routes, "t".into(), || {
        "01JD7V3T5CK2Q8R9X0ZYXWVTSR".into()
    });
    let group: ResourceKey = "Group/g-1".parse().unwrap();
    let trouble = Trouble {
        attempt: 3,
        first_failed_at: Noon.now(),
        last_failed_at: Noon.now(),
        class: Class::Exhausted,
        status: Some(500),
    };
    let record = Record { trouble: Some(trouble), event_ids: vec!["e1".into()], ..Record::default() };
    let answered = Reason {
        status: Some(400),
        scim_type: Some("invalidValue".into()),
        operation: Some((Method::Patch, "/Groups/1".into())),
        ..Reason::of(Class::Invalid, "status 400")
    };
    let case = Case { key: &group, record: &record, intent: &intent(), round: 1, reason: &answered };
    letters.retry(&case, 0).await.unwrap();
    letters.dead(&case).await.unwrap();
    let original =
        Message { exchange: "directory.events".into(), body: b"\xff".to_vec(), ..Message::default() };
    let detail = "the body is not UTF-8 from byte 0 on".into();
    let (resource, event_id, revision) = (None, None, None);
    let refused = Refusal { class: Class::Decode, detail, resource, event_id, revision };
    letters.refused(&original, &refused).await.unwrap();
    std::mem::take(&mut *outbox.0.lock().unwrap())
}

/// A letter as listings show it: headers without their prefix, `_` for `-`, and the id.
fn listed(message: &Message) -> Value {
    let headers = message.headers.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("x-relay-")?.replace('-', "_");
        let value = match value {
            Header::Text(text) => json!(text),
            Header::Int(number) => json!(number),
            Header::List(items) => json!(items),
            other => panic!("{name}: {other:?}"),
        };
        Some((name, value))
    });
    let mut letter: serde_json::Map<String, Value> = headers.collect();
    letter.insert("id".into(), json!(message.message_id));
    Value::Object(letter)
}

#[tokio::test]
async fn letters_fit_and_so_do_the_intents_and_verdicts_in_them() {
    let (events, letter) = (validator("event.json"), validator("letter.json"));
    let messages = letters().await;
    let mut kinds = Vec::new();
    for message in &messages {
        if message.headers.contains_key("x-relay-class") {
            fits(&letter, &listed(message));
        }
        if let Ok(event) = serde_json::from_slice::<Value>(&message.body) {
            fits(&events, &event);
            assert!(is_decoded(&event, false) && !is_decoded(&event, true), "{event:#}");
            kinds.push(event["type"].as_str().unwrap().to_owned());
        }
    }
    kinds.dedup();
    assert_eq!(kinds, ["directory.group.intent", "directory.group.verdict"]);
}

#[tokio::test]
async fn wrong_letters_do_not_fit() {
    let validator = validator("letter.json");
    let letter = listed(letters().await.first().unwrap());
    fits(&validator, &json!({"id": "b-0123456789abcdef", "class": "delivery_limit"}));
    for (name, wrong) in [
        ("id", json!("42")),
        ("class", json!("bad_luck")),
        ("attempt", json!("3")),
        ("first_failed_at", json!("noon")),
        ("fingerprint", Value::Null),
        ("resource", json!("Device/1")),
        ("http_status", json!("400")),
        ("mood", json!("gloomy")),
    ] {
        does_not_fit(&validator, &altered(letter.clone(), name, wrong));
    }
}

#[test]
fn the_letter_s_classes_are_all_there_are() {
    let classes = Class::ALL.iter().map(|class| class.name()).collect::<Vec<_>>();
    assert_eq!(committed("letter.json")["properties"]["class"]["enum"], json!(classes));
}

/// The lines that a command prints, each a JSON document.
pub fn lines(relay: &Relay, arguments: &[&str]) -> Vec<Value> {
    let output = relay.command().args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let documents: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!documents.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    documents
}

// the commands are waited for on one thread while the sandbox answers on another
#[tokio::test(flavor = "multi_thread")]
async fn what_the_commands_print_as_json_fits() {
    let sandbox = sandbox::start(SandboxOptions::on_any_port()).await.unwrap();
    let base_url: Url = sandbox.base_url().parse().unwrap();
    let relay = Relay::configured(&base_url, None, "");
    let (topology, check, status) =
        (validator("topology.json"), validator("check.json"), validator("status.json"));
    let missing = lines(&relay, &["topology", "verify", "--json"]);
    assert!(missing.iter().all(|difference| difference["fatal"] == true), "nothing is declared yet");
    let applied = relay.command().args(["topology", "apply"]).output().unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let shown = lines(&relay, &["topology", "show", "--json"]);
    missing.iter().chain(&shown).for_each(|document| fits(&topology, document));
    let checked = lines(&relay, &["check", "--json"]);
    assert!(checked.iter().all(|item| item["verdict"] == "ok"), "{checked:#?}");
    checked.iter().for_each(|document| fits(&check, document));
    assert!(relay.command().args(["pause", "--lane", "update"]).status().unwrap().success());
    let told = lines(&relay, &["status", "--json"]);
    assert_eq!(told[0]["stopped"], json!(["update"]));
    told.iter().for_each(|document| fits(&status, document));
    does_not_fit(&topology, &altered(shown[0].clone(), "object", json!("table")));
    does_not_fit(&topology, &altered(missing[0].clone(), "remedy", Value::Null));
    does_not_fit(&check, &altered(checked[0].clone(), "verdict", json!("fine")));
    does_not_fit(&status, &altered(told[0].clone(), "queues", json!({"work": 0})));
    does_not_fit(&status, &altered(told[0].clone(), "pending", json!({"update": -1})));
}

#[tokio::test]
async fn a_check_that_fails_says_so_in_the_same_form() {
    let relay = Relay::configured(&"http://127.0.0.1:9/scim".parse().unwrap(), None, "");
    let check = validator("check.json");
    let checked = lines(&relay, &["check", "--json"]);
    checked.iter().for_each(|document| fits(&check, document));
    assert!(checked.iter().any(|item| item["check"] == "target" && item["verdict"] == "failed"));
}

/// What `topology` would declare, with parameters in the places of names.
fn declared() -> std::collections::BTreeSet<String> {
    let options = TopologyOptions {
        target: "{target}".into(),
        exchange: "directory.events".into(),
        bindings: vec![],
        urgent_bindings: vec![],
        delivery_limit: 50,
        delays: vec![Duration::from_secs(1)],
        journal: true,
        journal_max_age: Duration::from_secs(1),
        journal_max_bytes: 1,
        parked_ttl: Duration::from_secs(1),
        held_expires_after: Duration::from_secs(1),
    };
    let named = options.objects().into_iter().filter_map(|object| match object {
        Object::Exchange { name, .. } | Object::Queue { name, .. } => Some(name),
        Object::Binding { .. } | Object::Route { .. } => None,
    });
    named.map(|name| name.replace("retry.1s", "retry.{delay}")).collect()
}

#[test]
fn the_asyncapi_document_names_every_exchange_and_queue_and_no_other() {
    let document = committed("asyncapi.json");
    let channels = document["channels"].as_object().unwrap().values();
    let addresses = channels.map(|channel| channel["address"].as_str().unwrap().to_owned()).collect();
    assert_eq!(declared(), addresses);
}

#[test]
fn the_asyncapi_document_s_letters_have_the_headers_of_the_letter_s_schema() {
    let letter = committed("letter.json");
    let names = letter["properties"].as_object().unwrap().keys().filter(|name| *name != "id");
    let mut expected: Vec<String> = names.map(|name| format!("x-relay-{}", name.replace('_', "-"))).collect();
    expected.sort();
    let document = committed("asyncapi.json");
    let headers = document["components"]["schemas"]["letterHeaders"]["properties"].as_object().unwrap();
    assert_eq!(headers.keys().cloned().collect::<Vec<_>>(), expected);
}

#[test]
fn every_reference_of_the_asyncapi_document_leads_somewhere() {
    let document = committed("asyncapi.json");
    for reference in references(&document) {
        match reference.strip_prefix('#') {
            Some(pointer) => assert!(document.pointer(pointer).is_some(), "{reference}"),
            None => assert!(path(&reference).is_file(), "{reference}"),
        }
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => {
            let here = map.get("$ref").and_then(Value::as_str).map(str::to_owned);
            here.into_iter().chain(map.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}
