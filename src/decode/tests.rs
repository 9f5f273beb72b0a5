//! The contract's sentences about events (s2.1, s2.3), one by one.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::core::change::{Delta, MemberRegister, Origin, Register};
use crate::core::revision::{EventHash, Place, Revision, Sequence};

const NOW: Millis = Millis(1_800_000_000_000);
const LIMITS: Limits = Limits { max_event_bytes: 100_000, max_clock_skew: Duration::from_secs(600) };

fn event(kind: &str, data: Value) -> Value {
    json!({ "specversion": "1.0", "id": "1", "source": "/hr", "type": format!("directory.{kind}"),
        "subject": "e-1", "sequence": "7", "data": data })
}

fn decoded_as(event: &[u8], from_publishers: bool) -> Decoded {
    let input =
        Input { body: event, content_type: None, timestamp: None, from_publishers, attempt: 0, round: None };
    decode(&input, &LIMITS, NOW)
}

fn decoded(event: &Value) -> Decoded {
    decoded_as(event.to_string().as_bytes(), true)
}

fn delta(event: &Value) -> Delta {
    match decoded(event) {
        Decoded::Change(change) => change.delta,
        other => panic!("{other:?}"),
    }
}

/// Paths and values of the attributes that an event writes.
fn written(kind: &str, data: Value) -> Vec<String> {
    let show = |r: &Register| format!("{} = {}", r.path, r.value.clone().unwrap_or_default());
    delta(&event(kind, data)).attributes.iter().map(show).collect()
}

fn patched(operations: Value) -> Vec<String> {
    written("user.patch", json!({ "Operations": operations }))
}

fn refused_bytes(body: &[u8]) -> String {
    match decoded_as(body, true) {
        Decoded::Refused(refusal) => format!("{}: {}", refusal.class, refusal.detail),
        other => panic!("{other:?}"),
    }
}

fn refused(event: &Value) -> String {
    refused_bytes(event.to_string().as_bytes())
}

fn refused_patch(operation: Value) -> String {
    refused(&event("user.patch", json!({ "Operations": [operation] })))
}

fn with(mut event: Value, name: &str, value: Value) -> Value {
    event[name] = value;
    event
}

fn without(mut event: Value, name: &str) -> Value {
    event.as_object_mut().unwrap().remove(name);
    event
}

fn put() -> Value {
    event("user.put", json!({ "userName": "ana" }))
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn what_no_decoder_accepts_is_refused_and_says_why() {
    let long = "x".repeat(256);
    for (event, why) in [
        (without(put(), "subject"), "decode: `subject` is missing"),
        (with(put(), "subject", json!(long)), "decode: `subject` has 256 bytes, at most 255 are allowed"),
        (with(put(), "id", json!(long)), "decode: `id` has 256 bytes, at most 255 are allowed"),
        (with(put(), "type", json!(long)), "decode: `type` has 256 bytes, at most 255 are allowed"),
        (with(put(), "subject", json!("")), "decode: `subject` is empty"),
        (without(put(), "sequence"), "decode: no order: one of `sequence` and `time` is required"),
        (with(put(), "sequence", json!("")), "decode: no order: one of `sequence` and `time` is required"),
        (with(put(), "time", json!("yesterday")), "decode: `time` is not an RFC 3339 timestamp"),
        (with(put(), "specversion", json!("0.3")), "decode: `specversion` is not \"1.0\""),
        (with(put(), "type", json!("directory.user.rename")), "decode: unknown type `directory.user.rename`"),
        (
            with(put(), "type", json!("directory.group.activate")),
            "decode: unknown type `directory.group.activate`",
        ),
        (with(put(), "data", json!([1])), "decode: `data` of a put is not an object"),
        (
            with(put(), "data", json!({"externalId": "other"})),
            "decode: `externalId` is not the event's `subject`",
        ),
        (
            with(put(), "data", json!({"name": {"given name": "x"}})),
            "decode: `name.given name` is not an attribute name",
        ),
        (with(put(), "data", json!({"deep": nested(64)})), "decode: nested too deeply: more than 64 levels"),
        (with(without(put(), "data"), "data_base64", json!("!")), "decode: `data_base64` is not base64"),
        (event("group.put", json!({"members": "foo"})), "decode: `members` is not a list"),
        (event("group.put", json!({"members": {"value": "foo"}})), "decode: `members` is not a list"),
        (json!([put()]), "decode: batches of CloudEvents are not accepted: one event per message"),
    ] {
        assert_eq!(refused(&event), why);
    }
}

#[test]
fn bytes_that_are_no_json_are_refused() {
    assert_eq!(refused_bytes(b"{\"a\""), "decode: the body is not JSON: it ends too early, line 1 column 4");
    assert_eq!(refused_bytes(b"{\"a\": \"\xff\"}"), "decode: the body is not UTF-8 from byte 7 on");
    let deep = "[".repeat(200);
    assert!(refused_bytes(deep.as_bytes()).contains("nested too deeply"));
    let large = " ".repeat(100_001);
    assert_eq!(
        refused_bytes(large.as_bytes()),
        "decode: too large: the body has 100001 bytes, amqp.max_event_bytes allows 100000"
    );
}

#[test]
fn a_type_outside_directory_is_ignored() {
    for kind in ["com.example.user.put", "directory", "directories.user.put"] {
        assert_eq!(decoded(&with(put(), "type", json!(kind))), Decoded::Ignored);
    }
}

#[test]
fn the_relays_own_types_are_refused_from_publishers() {
    let intent = event("user.intent", json!({ "origin": "replay" }));
    let mark = with(put(), "type", json!("directory.relay.mark"));
    for own in [&intent, &event("user.verdict", json!({})), &mark] {
        assert!(refused(own).contains("accepted on `intake` only"));
    }
    assert!(matches!(decoded_as(intent.to_string().as_bytes(), false), Decoded::Change(_)));
    assert_eq!(decoded_as(mark.to_string().as_bytes(), false), Decoded::Ignored);
}

#[test]
fn an_event_ordered_by_time_alone_must_not_lie_far_ahead() {
    let at = |seconds| {
        let time = intent::timestamp(NOW.plus(Duration::from_secs(seconds))).to_string();
        with(put(), "time", json!(time))
    };
    assert!(refused(&without(at(601), "sequence")).starts_with("future_time: "));
    assert!(matches!(decoded(&without(at(600), "sequence")), Decoded::Change(_)));
    assert!(matches!(decoded(&at(10_000)), Decoded::Change(_)), "ordered by its sequence");
}

#[test]
fn digits_of_any_reasonable_length_are_a_sequence() {
    assert!(matches!(decoded(&with(put(), "sequence", json!("9".repeat(4_096)))), Decoded::Change(_)));
    assert!(
        refused(&with(put(), "sequence", json!("9".repeat(4_097)))).contains("`sequence` has 4097 bytes")
    );
}

#[test]
fn data_in_base64_is_data() {
    let event = with(without(put(), "data"), "data_base64", json!("eyJ1c2VyTmFtZSI6ImFuYSJ9"));
    let values = |event| delta(event).attributes.into_iter().map(|r| (r.path, r.value)).collect::<Vec<_>>();
    assert_eq!(values(&event), values(&put()));
}

#[test]
fn a_put_drops_what_is_not_the_sources_to_write() {
    let data = json!({ "id": "1", "meta": {}, "groups": [1], "schemas": ["x"], "password": "p", "externalId": "e-1",
        "title": null, "emails": [], "USERNAME": "ana", "active": "False" });
    assert_eq!(written("user.put", data), ["userName = \"ana\"", "active = false"]);
}

#[test]
fn extensions_are_told_from_their_attributes() {
    let data = json!({
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "R", "manager": "m" },
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:division": "D",
        "urn:ietf:params:scim:schemas:core:2.0:User": { "title": "T" },
        "urn:okta:example:1.0:user:custom": { "shoe": 43 },
        "urn:scim:schemas:extension:slack:guest:1.0": { "type": "multi" },
    });
    let mut written = written("user.put", data);
    written.sort();
    let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    assert_eq!(
        written,
        [
            "title = \"T\"".to_owned(),
            format!("{enterprise}:department = \"R\""),
            format!("{enterprise}:division = \"D\""),
            format!("{enterprise}:manager = {{\"value\":\"m\"}}"),
            "urn:okta:example:1.0:user:custom:shoe = 43".to_owned(),
            "urn:scim:schemas:extension:slack:guest:1.0:type = \"multi\"".to_owned(),
        ]
    );
}

#[test]
fn what_a_publisher_said_keeps_its_limits_when_it_is_said_again_on_intake() {
    let said_again = |data: Value| match decoded_as(event("user.put", data).to_string().as_bytes(), false) {
        Decoded::Refused(refusal) => refusal.detail,
        other => panic!("{other:?}"),
    };
    let large = said_again(json!({ "title": "x".repeat(100_000) }));
    assert!(
        large.starts_with("too large: ") && large.ends_with("amqp.max_event_bytes allows 100000"),
        "{large}"
    );
    let deep = json!({ "deep": serde_json::from_str::<Value>(&format!("{}{}", "[".repeat(64), "]".repeat(64))).unwrap() });
    assert_eq!(said_again(deep), "nested too deeply: more than 64 levels");
}

#[test]
fn a_put_speaks_of_members_only_where_it_names_them() {
    let members = |data| {
        let delta = delta(&event("group.put", data));
        (delta.attributes.iter().any(|r| r.path.attribute == "members"), delta.members.len())
    };
    assert_eq!(members(json!({ "displayName": "G" })), (false, 0));
    assert_eq!(members(json!({ "displayName": "G", "members": null })), (false, 0));
    assert_eq!(members(json!({ "displayName": "G", "members": [] })), (true, 0));
    assert_eq!(
        members(json!({ "members": [{ "value": "a" }, { "value": "a" }, { "Value": "b" }] })),
        (true, 2)
    );
}

#[test]
fn the_operations_of_a_patch_become_registers() {
    for (operation, registers) in [
        (json!({"op": "REPLACE", "path": "active", "value": "False"}), vec!["active = false"]),
        (
            json!({"op": "Add", "value": {"title": "T", "name.givenName": "A"}}),
            vec!["name.givenName = \"A\"", "title = \"T\""],
        ),
        (
            json!({"op": "replace", "path": "name", "value": {"givenName": "A", "familyName": ""}}),
            vec!["name.familyName = \"\"", "name.givenName = \"A\""],
        ),
        (json!({"op": "remove", "path": "title"}), vec!["title = null"]),
        (json!({"op": "replace", "path": "title", "value": null}), vec!["title = null"]),
        (
            json!({"op": "add", "path": "emails", "value": {"type": "work", "value": "a@b"}}),
            vec![r#"emails[type eq "work"] = {"type":"work","value":"a@b"}"#],
        ),
        (
            json!({"op": "add", "path": "roles", "value": {"value": "admin"}}),
            vec![r#"roles[value eq "admin"] = {"value":"admin"}"#],
        ),
        (
            json!({"op": "add", "path": "addresses", "value": [{"type": "work", "country": "NL"}]}),
            vec![r#"addresses[type eq "work"] = {"country":"NL","type":"work"}"#],
        ),
        (
            json!({"op": "replace", "path": "emails", "value": {"value": "a@b"}}),
            vec![r#"emails = [{"value":"a@b"}]"#],
        ),
        (
            json!({"op": "replace", "path": "emails[type eq \"work\"].primary", "value": "True"}),
            vec![r#"emails[type eq "work"].primary = true"#],
        ),
        (
            json!({"op": "add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", "value": {"division": "D"}}),
            vec!["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:division = \"D\""],
        ),
        (json!({"op": "replace", "path": "password", "value": "x"}), vec![]),
    ] {
        assert_eq!(patched(json!([operation])), registers, "{operation}");
    }
}

#[test]
fn within_one_patch_the_later_operation_wins() {
    let operations = json!([
        {"op": "replace", "path": "emails", "value": [{"type": "work", "value": "a@b"}]},
        {"op": "replace", "path": "emails[type eq \"work\"].value", "value": "c@d"},
        {"op": "add", "path": "title", "value": "T"},
        {"op": "remove", "path": "title"},
    ]);
    assert_eq!(patched(operations), [r#"emails = [{"type":"work","value":"c@d"}]"#, "title = null"]);
}

#[test]
fn a_member_may_be_a_group() {
    let members = json!(["a", {"value": "b", "type": "User"}, {"value": "c", "Type": "group"}, {"value": "d", "type": 1}]);
    let delta = delta(&event("group.put", json!({ "members": members })));
    let said: Vec<(&str, &str)> = delta.members.iter().map(|m| (m.value.as_str(), m.kind.name())).collect();
    assert_eq!(said, [("a", "User"), ("b", "User"), ("c", "Group"), ("d", "User")]);
}

#[test]
fn members_are_patched_one_by_one() {
    let operations = json!([
        {"op": "add", "path": "members", "value": [{"value": "a"}, {"value": "b"}]},
        {"op": "remove", "path": "members[value eq \"b\"]"},
        {"op": "remove", "path": "members", "value": [{"value": "c"}]},
    ]);
    let delta = delta(&event("group.patch", json!({ "operations": operations })));
    let said: Vec<(&str, bool)> = delta.members.iter().map(|m| (m.value.as_str(), m.present)).collect();
    assert_eq!(said, [("a", true), ("b", false), ("c", false)]);
    assert!(delta.attributes.is_empty(), "the rest of the list stays");
}

#[test]
fn what_cannot_be_merged_names_the_operation_and_no_value() {
    for (operation, why) in [
        (
            json!({"op": "replace", "path": "emails[value co \"ana@example.com\"].type", "value": "x"}),
            "unsupported_patch: Operations[0]: replace `emails[value co \"…\"].type`: only [type eq \"…\"] and [value eq \"…\"] select elements here",
        ),
        (json!({"op": "move", "path": "title"}), "unsupported_patch: Operations[0]: unknown op `move`"),
        (json!({"path": "title"}), "unsupported_patch: Operations[0]: `op` is missing"),
        (json!({"op": "remove"}), "unsupported_patch: Operations[0]: remove without a path"),
        (
            json!({"op": "add", "value": {"a b": 1}}),
            "unsupported_patch: Operations[0]: `a b` is not an attribute path",
        ),
        (
            json!({"op": "add", "path": "a b", "value": 1}),
            "unsupported_patch: Operations[0]: add `a b`: not an attribute path",
        ),
        (
            json!({"op": "add", "path": "active", "value": "perhaps"}),
            "unsupported_patch: Operations[0]: add `active`: `active` is neither true nor false",
        ),
        (
            json!({"op": "add", "path": "members", "value": [{"value": "a"}]}),
            "unsupported_patch: Operations[0]: add `members`: a user has no `members`",
        ),
        (
            json!({"op": "add", "path": "tags", "value": [{"name": "x"}]}),
            "unsupported_patch: Operations[0]: add `tags`: an element to add has neither `type` nor `value`",
        ),
        (
            json!({"op": "remove", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"}),
            "unsupported_patch: Operations[0]: remove `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User`: a whole extension; name its attributes one by one",
        ),
    ] {
        assert_eq!(refused_patch(operation), why);
    }
}

#[test]
fn a_refusal_says_whose_as_far_as_it_could_be_read() {
    let Decoded::Refused(refusal) = decoded(&without(put(), "sequence")) else { panic!("refused") };
    assert_eq!(refusal.event_id.as_deref(), Some("1"));
    assert_eq!(refusal.resource.map(|key| key.to_string()).as_deref(), Some("User/e-1"));
}

#[test]
fn a_large_intent_becomes_several_that_keep_the_limits_and_say_the_same() {
    let revision = |n: usize| {
        Revision::new(Place {
            sequence: Sequence::new("9".repeat(300)),
            time: None,
            id: format!("id-{n}").into(),
            hash: EventHash::new([7; 32]),
        })
    };
    let member = |n| MemberRegister {
        value: format!("m-{n}"),
        kind: crate::core::resource::ResourceType::User,
        present: true,
        revision: revision(n),
    };
    let attribute = |n| Register {
        path: format!("custom{n}").parse().unwrap(),
        value: Some(std::sync::Arc::new(json!("x".repeat(300_000)))),
        revision: revision(n),
    };
    let whole = Delta {
        attributes: (0..5).map(attribute).collect(),
        members: (0..12_000).map(member).collect(),
        ..Delta::default()
    };
    let key = "Group/g-1".parse().unwrap();
    let messages = intent::encode(&key, &whole, Origin::Retry, NOW, "t", NOW, || "x".to_owned());
    let mut again = Delta::default();
    for (routing_key, body) in &messages {
        assert!(body.len() <= intent::MAX_BYTES, "{}", body.len());
        assert_eq!(routing_key, "directory.group.intent");
        let Decoded::Change(change) = decoded_as(body, false) else { panic!("an intent") };
        assert!(change.delta.members.len() <= intent::MAX_MEMBERS);
        again.attributes.extend(change.delta.attributes);
        again.members.extend(change.delta.members);
    }
    assert_eq!(again, whole);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name =
            prop_oneof!["[a-zA-Z.\\[\\]\" :$-]{0,8}", Just("value".to_owned()), Just("type".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    /// A path that did not survive its text would make the stored record unreadable, and intake would wait forever.
    #[test]
    fn whatever_is_accepted_can_be_stored(
        name in "(urn:[a-zA-Z0-9:. \\[]{0,12})?[a-zA-Z .:\\[\\]\"]{0,8}", value in any_json(), is_patch in any::<bool>(),
    ) {
        let event = match is_patch {
            true => event("user.patch", json!({"Operations": [{"op": "add", "path": name, "value": value}]})),
            false => event("user.put", json!({ name: value })),
        };
        if let Decoded::Change(change) = decoded(&event) {
            for register in &change.delta.attributes {
                let leaves = register.value.iter().flat_map(|value| crate::core::applied::leaves(&register.path.root(), value));
                let paths = leaves.map(|(path, _)| path).chain([register.path.clone()]);
                for path in paths {
                    prop_assert_eq!(path.to_string().parse(), Ok(path));
                }
            }
        }
    }
}
