//! The contract's sentences about events (s2.1), each tried at a real relay.

use serde_json::{Value, json};
use url::Url;

use crate::support::amqp::Amqp;
use crate::support::relay::{Relay, eventually, state};
use crate::support::sandbox::{Sandbox, user};

/// What is said of one resource, and what becomes of it. A `null` in `expected` is an attribute that must not be there;
/// no `expected` at all is a resource that nobody can use: it is not there, or inactive if it was created in between.
struct Case {
    name: &'static str,
    said: Vec<(&'static str, &'static str, Value)>,
    expected: Option<Value>,
}

fn case(name: &'static str, said: Vec<(&'static str, &'static str, Value)>, expected: Value) -> Case {
    Case { name, said, expected: Some(expected).filter(|expected| !expected.is_null()) }
}

fn title(title: &str) -> Value {
    json!({"title": title})
}

fn operation(operation: Value) -> Value {
    json!({"Operations": [operation]})
}

/// Verbs and merge rules. In `said`: verb, sequence, data.
fn cases() -> Vec<Case> {
    let (put, patch, delete) = ("put", "patch", "delete");
    let nothing = || Value::Null;
    vec![
        case("a create is active", vec![(put, "1", title("a"))], json!({"active": true, "title": "a"})),
        case(
            "a create says otherwise",
            vec![(put, "1", json!({"active": "False"}))],
            json!({"active": false}),
        ),
        case(
            "a put without active keeps the state",
            vec![(put, "1", title("a")), ("deactivate", "2", nothing()), (put, "3", title("b"))],
            json!({"active": false, "title": "b"}),
        ),
        case(
            "activate",
            vec![(put, "1", json!({"active": false})), ("activate", "2", nothing())],
            json!({"active": true}),
        ),
        case(
            "absent, null and [] remove",
            vec![
                (put, "1", json!({"title": "a", "nickName": "n", "emails": [{"value": "a@b"}]})),
                (put, "2", json!({"title": null, "emails": []})),
            ],
            json!({"title": null, "nickName": null, "emails": null}),
        ),
        case(
            "a patch names what it changes",
            vec![
                (put, "1", json!({"title": "a", "nickName": "n"})),
                (patch, "2", operation(json!({"op": "Replace", "path": "title", "value": "b"}))),
            ],
            json!({"title": "b", "nickName": "n"}),
        ),
        case(
            "a write to a part applies on top of an older whole",
            vec![
                (put, "1", json!({"name": {"givenName": "A", "familyName": "B"}})),
                (patch, "2", operation(json!({"op": "replace", "path": "name.givenName", "value": "C"}))),
            ],
            json!({"name": {"givenName": "C", "familyName": "B"}}),
        ),
        case(
            "a newer whole hides older parts",
            vec![
                (patch, "1", operation(json!({"op": "replace", "path": "name.givenName", "value": "C"}))),
                (put, "2", json!({"name": {"familyName": "B"}})),
            ],
            json!({"name": {"familyName": "B"}}),
        ),
        case(
            "a delete hides everything older",
            vec![(put, "1", title("a")), (put, "2", title("b")), (delete, "3", nothing())],
            nothing(),
        ),
        case(
            "only a newer put revives",
            vec![
                (put, "1", title("a")),
                (delete, "2", nothing()),
                (patch, "3", operation(json!({"op": "add", "path": "title", "value": "b"}))),
                ("activate", "4", nothing()),
            ],
            nothing(),
        ),
        case(
            "a revived resource starts afresh",
            vec![
                (put, "1", json!({"title": "a", "active": false})),
                (delete, "2", nothing()),
                (put, "3", json!({"nickName": "n"})),
            ],
            json!({"active": true, "title": null, "nickName": "n"}),
        ),
        case(
            "what exists nowhere is not deprovisioned",
            vec![("deactivate", "1", nothing()), (delete, "2", nothing())],
            Value::Null,
        ),
        case(
            "digits compare by value",
            vec![(put, "10", title("new")), (put, "9", title("old"))],
            title("new"),
        ),
        case(
            "digits of any length",
            vec![
                (put, "100000000000000000000000000000000000000000", title("new")),
                (put, "99999999999999999999999999999999999999999", title("old")),
            ],
            title("new"),
        ),
        case(
            "anything else is above digits, and bytewise",
            vec![(put, "b", title("new")), (put, "B9", title("old")), (put, "9", title("older"))],
            title("new"),
        ),
    ]
}

fn event(subject: &str, verb: &str, sequence: &str, data: &Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": format!("{subject}-{sequence}-{verb}"), "source": "/hr", "subject": subject,
        "type": format!("directory.user.{verb}"), "sequence": sequence,
    });
    if let Value::Object(data) = data {
        event["data"] = json!(data);
        if verb == "put" {
            event["data"]["userName"] = json!(subject);
        }
    }
    event
}

/// What is wrong with the resource of a case; none: nothing.
fn wrong(subject: &str, case: &Case, users: &Value) -> Option<String> {
    let user = users.as_array().unwrap().iter().find(|user| user["externalId"] == subject);
    let good = match (user, &case.expected) {
        (None, None) => true,
        (Some(user), Some(expected)) => {
            expected.as_object().unwrap().iter().all(|(name, value)| user[name.as_str()] == *value)
        }
        (Some(user), None) => user["active"] == false,
        (None, Some(_)) => false,
    };
    (!good).then(|| format!("{subject}, {}: {user:?} instead of {:?}", case.name, case.expected))
}

#[tokio::test]
async fn verbs_merge_by_their_rules_in_whatever_order_they_are_delivered() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let base_url: Url = sandbox.running.base_url().parse().unwrap();
    let relay = Relay::start(&base_url, None, "");
    relay.ready().await;
    let cases = cases();
    let mut events = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let of = |subject: String| {
            let event =
                move |(verb, sequence, data): &(&str, &str, Value)| event(&subject, verb, sequence, data);
            case.said.iter().map(event)
        };
        events.extend(of(format!("forth-{number}")));
        events.extend(of(format!("back-{number}")).rev());
    }
    relay.publish(&events);
    relay.settled(events.len()).await;
    let users = state(&base_url, None).await.unwrap()["Users"].clone();
    let subjects = |number| [format!("forth-{number}"), format!("back-{number}")];
    let wrong: Vec<String> = cases
        .iter()
        .enumerate()
        .flat_map(|(number, case)| subjects(number).map(|subject| wrong(&subject, case, &users)))
        .flatten()
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_patch_for_what_was_never_put_adopts_what_the_target_has() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let base_url: Url = sandbox.running.base_url().parse().unwrap();
    let relay = Relay::start(&base_url, None, "");
    relay.ready().await;
    relay.publish(&[event("first", "put", "1", &json!({}))]);
    relay.settled(1).await;
    // the target was empty when the relay looked; somebody else has made this one since
    let mut theirs = user("theirs");
    theirs["externalId"] = json!("theirs");
    assert_eq!(sandbox.post("/Users", theirs).await.status, 201);
    relay.publish(&[event("theirs", "deactivate", "1", &Value::Null)]);
    eventually("it is inactive", async || {
        let users = state(&base_url, None).await?["Users"].clone();
        let user = users.as_array()?.iter().find(|user| user["externalId"] == "theirs")?.clone();
        (user["active"] == false).then_some(())
    })
    .await;
}

#[tokio::test]
async fn events_that_are_not_for_us_are_counted_and_nothing_else() {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let relay = Relay::start(&sandbox.running.base_url().parse().unwrap(), None, "");
    relay.ready().await;
    let amqp = Amqp::connect().await;
    let mut foreign = event("e-1", "put", "1", &json!({}));
    foreign["type"] = json!("com.example.user.put");
    assert!(
        amqp.publish(
            &relay.exchange,
            "directory.user.put",
            Default::default(),
            foreign.to_string().as_bytes()
        )
        .await
    );
    eventually("it is counted", async || {
        let ignored = relay.metric("scim_relay_events_received_total", "format=\"ignored\"").await?;
        (ignored == 1.0).then_some(())
    })
    .await;
    assert_eq!(amqp.count(&relay.object("dead")).await, 0);
    amqp.close().await;
}
