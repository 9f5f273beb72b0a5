//! How publishers tell of a change: the whole resource or a patch, in the dialects that are about.

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use super::person::{ENTERPRISE, Person, Standing};

/// The first event's number in the source's order.
const FIRST_SEQUENCE: usize = 918_273;
/// 2025-01-06T07:00:00Z, a Monday.
const FIRST_SECOND: i64 = 1_736_146_800;
/// Between two events.
const STEP_SECONDS: i64 = 137;

/// One CloudEvent: the `number`-th thing that happened at the source.
pub(super) fn event(
    rng: &mut StdRng,
    number: usize,
    kind: &str,
    subject: &str,
    data: Option<Value>,
) -> Value {
    let seconds = FIRST_SECOND + STEP_SECONDS * i64::try_from(number).unwrap_or(i64::MAX / STEP_SECONDS / 2);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    let mut event = json!({
        "specversion": "1.0",
        "id": format!("{:032x}", rng.random::<u128>()),
        "source": "/directories/hr",
        "type": format!("directory.{kind}"),
        "subject": subject,
        "time": time.to_string(),
        "sequence": format!("{:020}", FIRST_SEQUENCE + number),
    });
    if let Some(data) = data {
        event["datacontenttype"] = json!("application/json");
        event["data"] = data;
    }
    event
}

/// One attribute that is other than before; no value: it is gone.
struct Changed {
    path: String,
    value: Option<Value>,
}

/// The PatchOp that leads from one state of a person to another.
pub(super) fn patch(rng: &mut StdRng, before: &Person, after: &Person) -> Value {
    let changed = changes(before, after);
    let whole = !changed.is_empty() && changed.iter().all(|c| c.value.is_some() && !c.path.contains('['));
    let mut operations = if whole && rng.random_bool(0.25) {
        vec![without_path(rng, &changed)]
    } else {
        changed.iter().map(|change| with_path(rng, change)).collect()
    };
    operations.extend(phone_operations(rng, before, after));
    patch_op(operations)
}

pub(super) fn patch_op(operations: Vec<Value>) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations })
}

fn changes(before: &Person, after: &Person) -> Vec<Changed> {
    let text = |value: &str| Some(json!(value));
    let enterprise = |name: &str| format!("{ENTERPRISE}:{name}");
    let all = [
        ("userName".to_owned(), text(&before.user_name), text(&after.user_name)),
        ("emails[type eq \"work\"].value".to_owned(), text(&before.user_name), text(&after.user_name)),
        ("name.givenName".to_owned(), text(before.given), text(after.given)),
        ("name.familyName".to_owned(), text(before.family), text(after.family)),
        ("displayName".to_owned(), text(&before.display_name()), text(&after.display_name())),
        ("title".to_owned(), before.title.and_then(text), after.title.and_then(text)),
        (enterprise("department"), text(before.department), text(after.department)),
        (
            enterprise("manager.value"),
            before.manager.as_deref().and_then(text),
            after.manager.as_deref().and_then(text),
        ),
        ("active".to_owned(), activity(before.standing), activity(after.standing)),
    ];
    let changed = all.into_iter().filter(|(_, old, new)| old != new);
    changed.map(|(path, _, value)| Changed { path, value }).collect()
}

fn activity(standing: Standing) -> Option<Value> {
    Some(json!(standing == Standing::Active))
}

fn with_path(rng: &mut StdRng, changed: &Changed) -> Value {
    let Some(value) = &changed.value else {
        return json!({ "op": verb(rng, "remove"), "path": changed.path });
    };
    let value = if changed.path == "active" && rng.random_bool(0.5) { spelled(value) } else { value.clone() };
    json!({ "op": verb(rng, "replace"), "path": changed.path, "value": value })
}

/// All in one operation that names no path.
fn without_path(rng: &mut StdRng, changed: &[Changed]) -> Value {
    let mut value = Map::new();
    for Changed { path, value: new } in changed {
        let (outer, inner) = match path.strip_prefix(ENTERPRISE) {
            Some(name) => (ENTERPRISE, Some(&name[1..])),
            None => path.split_once('.').map_or((path.as_str(), None), |(outer, inner)| (outer, Some(inner))),
        };
        let new = new.clone().unwrap_or(Value::Null);
        match inner.map(|name| name.split_once('.').unwrap_or((name, ""))) {
            None => drop(value.insert(outer.to_owned(), new)),
            Some((name, "")) => value.entry(outer).or_insert_with(|| json!({}))[name] = new,
            Some((name, part)) => {
                value.entry(outer).or_insert_with(|| json!({}))[name] = json!({ part: new })
            }
        }
    }
    json!({ "op": verb(rng, "replace"), "value": value })
}

fn phone_operations(rng: &mut StdRng, before: &Person, after: &Person) -> Vec<Value> {
    let changed_kinds =
        [("work", &before.work_phone, &after.work_phone), ("mobile", &before.mobile, &after.mobile)];
    let changed: Vec<_> = changed_kinds.into_iter().filter(|(_, old, new)| old != new).collect();
    if !changed.is_empty() && !after.phones().is_empty() && rng.random_bool(0.2) {
        return vec![json!({ "op": verb(rng, "replace"), "path": "phoneNumbers", "value": after.phones() })];
    }
    changed
        .into_iter()
        .map(|(kind, old, new)| phone_operation(rng, kind, old.is_some(), new.as_deref()))
        .collect()
}

fn phone_operation(rng: &mut StdRng, kind: &str, known: bool, number: Option<&str>) -> Value {
    let element = format!("phoneNumbers[type eq \"{kind}\"]");
    match number {
        None => json!({ "op": verb(rng, "remove"), "path": element }),
        Some(number) if known && rng.random_bool(0.6) => {
            json!({ "op": verb(rng, "replace"), "path": format!("{element}.value"), "value": number })
        }
        Some(number) => {
            json!({ "op": verb(rng, "add"), "path": "phoneNumbers", "value": [{ "type": kind, "value": number }] })
        }
    }
}

/// Some publishers write operations with a capital letter.
fn verb(rng: &mut StdRng, verb: &str) -> String {
    if rng.random_bool(0.7) {
        return verb.to_owned();
    }
    let (first, rest) = verb.split_at(1);
    first.to_uppercase() + rest
}

/// Some publishers write booleans as words.
fn spelled(value: &Value) -> Value {
    match value {
        Value::Bool(true) => json!("True"),
        Value::Bool(false) => json!("False"),
        other => other.clone(),
    }
}
