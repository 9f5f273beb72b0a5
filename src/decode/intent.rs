//! Intents: the unapplied part of a desired state, as retry and dead letters carry it (contract s2.3).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cloudevent::Envelope;
use super::{Decoded, Input, Refusal};
use crate::core::change::{Change, Delta, Lifecycle, MemberRegister, Origin, Register};
use crate::core::path::Path;
use crate::core::resource::ResourceKey;
use crate::core::schedule::Millis;

/// Most members in one intent.
pub const MAX_MEMBERS: usize = 5_000;
/// Largest intent, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// What is added to the routing key of an intent that deprovisions.
const URGENT: &str = ".urgent";

/// `data` of an intent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    attributes: Vec<Register>,
    #[serde(default)]
    members: Vec<MemberRegister>,
    #[serde(default)]
    lifecycle: Lifecycle,
    origin: Origin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_seen: Option<jiff::Timestamp>,
}

/// An instant as RFC 3339.
pub fn timestamp(at: Millis) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

pub(super) fn decode(envelope: Envelope, input: &Input<'_>, received: Millis) -> Result<Decoded, Refusal> {
    let body: Body = serde_json::from_value(envelope.data)
        .map_err(|error| Refusal::decode(format!("not an intent: {}", without_values(&error))))?;
    if body.origin == Origin::Publisher {
        return Err(Refusal::decode("not an intent: unknown origin"));
    }
    if body.members.len() > MAX_MEMBERS {
        return Err(Refusal::decode(format!("an intent has at most {MAX_MEMBERS} members")));
    }
    let first_seen = body.first_seen.map_or(received, |time| Millis(time.as_millisecond()));
    let change = Change {
        key: envelope.key,
        delta: Delta { attributes: body.attributes, members: body.members, lifecycle: body.lifecycle },
        origin: body.origin,
        event_id: envelope.id,
        first_seen,
        attempt: input.attempt,
        round: input.round,
        traceparent: None,
    };
    Ok(Decoded::Change(Box::new(change)))
}

/// serde's messages quote values after a backtick or a quote; only what comes before is kept.
pub(super) fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.starts_with("invalid") {
        true => text.split(['"', '`']).next().unwrap_or_default().trim().to_owned(),
        false => text,
    }
}

/// True if this intent deprovisions: it goes by the urgent way.
fn is_urgent(delta: &Delta) -> bool {
    let inactive =
        |r: &Register| r.path == Path::core("active") && r.value.as_deref() == Some(&Value::Bool(false));
    delta.lifecycle.deleted.is_some() || delta.attributes.iter().any(inactive)
}

/// The routing key of an intent of this type that somebody else wrote, from its `data`. What is no intent is not urgent.
pub fn routing_key(kind: &str, data: &Value) -> String {
    let delta = serde_json::from_value::<Body>(data.clone()).map(|body| Delta {
        attributes: body.attributes,
        members: body.members,
        lifecycle: body.lifecycle,
    });
    match delta.is_ok_and(|delta| is_urgent(&delta)) {
        true => format!("{kind}{URGENT}"),
        false => kind.to_owned(),
    }
}

/// True for a body of one of the relay's own types.
pub fn is_the_relays_own(body: &[u8]) -> bool {
    let event: Option<Value> = serde_json::from_slice(body).ok();
    let kind = event.as_ref().and_then(|event| event.get("type")?.as_str());
    kind.is_some_and(|kind| {
        kind.ends_with(".intent") || kind.ends_with(".verdict") || kind.starts_with("directory.relay.")
    })
}

/// An intent's routing key and body as an operator's replay says it; none: this body is no intent. A body that says so already
/// stays as it is, byte for byte.
pub fn replayed(body: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut event: Value = serde_json::from_slice(body).ok()?;
    let kind = event.get("type")?.as_str().filter(|kind| kind.ends_with(".intent"))?.to_owned();
    let routing_key = routing_key(&kind, event.get("data")?);
    let origin = event.get_mut("data")?.get_mut("origin")?;
    let replay = json!(Origin::Replay);
    if *origin == replay {
        return Some((routing_key, body.to_vec()));
    }
    *origin = replay;
    Some((routing_key, event.to_string().into_bytes()))
}

/// Encodes an intent as one or more messages: routing key and body.
pub fn encode(
    key: &ResourceKey,
    delta: &Delta,
    origin: Origin,
    first_seen: Millis,
    target: &str,
    now: Millis,
    ids: fn() -> String,
) -> Vec<(String, Vec<u8>)> {
    let mut routing_key = format!("directory.{}.intent", key.kind.word());
    if is_urgent(delta) {
        routing_key.push_str(URGENT);
    }
    let pieces = pieces(delta);
    let messages = pieces.into_iter().map(|piece| {
        let body = Body {
            attributes: piece.attributes,
            members: piece.members,
            lifecycle: piece.lifecycle,
            origin,
            first_seen: Some(timestamp(first_seen)),
        };
        let kind = format!("directory.{}.intent", key.kind.word());
        let event = envelope(&kind, key, target, now, ids, json!(body));
        (routing_key.clone(), event.to_string().into_bytes())
    });
    messages.collect()
}

/// A CloudEvent of the relay's own.
pub(super) fn envelope(
    kind: &str,
    key: &ResourceKey,
    target: &str,
    now: Millis,
    ids: fn() -> String,
    data: Value,
) -> Value {
    json!({
        "specversion": "1.0",
        "id": ids(),
        "source": format!("/scim-relay/{target}"),
        "type": kind,
        "subject": key.external_id,
        "time": timestamp(now),
        "datacontenttype": "application/json",
        "data": data,
    })
}

/// The delta cut into pieces that keep the limits; the floors go with the first.
fn pieces(delta: &Delta) -> Vec<Delta> {
    let mut pieces = vec![Delta { lifecycle: delta.lifecycle.clone(), ..Delta::default() }];
    let mut size = 0;
    for register in &delta.attributes {
        room(&mut pieces, &mut size, json!(register)).attributes.push(register.clone());
    }
    for member in &delta.members {
        room(&mut pieces, &mut size, json!(member)).members.push(member.clone());
    }
    pieces
}

/// The piece that still has room for this register: the last one, or a fresh one. The envelope, the floors and the
/// commas get the other half of the bytes.
fn room<'a>(pieces: &'a mut Vec<Delta>, size: &mut usize, register: Value) -> &'a mut Delta {
    let len = register.to_string().len();
    let full = pieces.last().is_none_or(|last| {
        let empty = last.attributes.is_empty() && last.members.is_empty();
        last.members.len() >= MAX_MEMBERS || (*size + len > MAX_BYTES / 2 && !empty)
    });
    if full {
        pieces.push(Delta::default());
        *size = 0;
    }
    *size += len;
    let last = pieces.len() - 1;
    &mut pieces[last]
}
