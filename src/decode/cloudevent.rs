//! Native events: CloudEvents 1.0, structured JSON (contract s2.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Decoded, Input, Limits, Refusal, intent, patch, put, verdict};
use crate::core::canonical::sha256;
use crate::core::change::{Change, Delta, Lifecycle, Origin, Register};
use crate::core::letter::Class;
use crate::core::path::Path;
use crate::core::resource::{ExternalId, MAX_NAME_BYTES, ResourceKey, ResourceType};
use crate::core::revision::{EventHash, Place, Revision, Sequence};
use crate::core::schedule::Millis;

/// Longest `sequence`, in bytes. Far beyond any counter; but every member of a group is stored with its revision, so one
/// event must not be multiplied by itself.
const MAX_SEQUENCE_BYTES: usize = 4_096;

/// How deep objects and lists may lie in each other. Records, letters and bulk requests put a few levels around a value,
/// and the parser stops at 128.
const MAX_DEPTH: usize = 64;

/// Levels that an intent puts around an attribute's value.
const INTENT_LEVELS: usize = 4;

/// What a native event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Put,
    Patch,
    Delete,
    Activate,
    Deactivate,
    Intent,
    Verdict,
}

/// What a `type` means.
enum Kind {
    Change(ResourceType, Verb),
    Mark,
    Foreign,
}

/// The envelope, parsed.
pub(super) struct Envelope {
    pub id: String,
    pub key: ResourceKey,
    pub revision: Option<Revision>,
    pub data: Value,
}

/// Decodes a native event.
pub(super) fn decode(input: &Input<'_>, limits: &Limits, now: Millis) -> Result<Decoded, Refusal> {
    let mut event = parse(input, limits)?;
    let kind = match text(&event, "type") {
        Ok(kind) => kind_of(kind)?,
        Err(refusal) => return Err(refusal),
    };
    let (resource, verb) = match kind {
        Kind::Foreign => return Ok(Decoded::Ignored),
        Kind::Mark if input.from_publishers => return Err(own_type()),
        Kind::Mark => return Ok(Decoded::Ignored),
        Kind::Change(resource, verb) => (resource, verb),
    };
    if matches!(verb, Verb::Intent | Verb::Verdict) && input.from_publishers {
        return Err(own_type());
    }
    let named = name(&event, resource);
    let decoded = fits(&event, verb, input, limits)
        .and_then(|()| envelope(&mut event, resource))
        .and_then(|envelope| body(envelope, verb, input, limits, now));
    decoded.map_err(|refusal| match named {
        Ok((id, key)) => Refusal { event_id: Some(id), resource: Some(key), ..refusal },
        Err(_) => refusal,
    })
}

fn own_type() -> Refusal {
    Refusal::decode("this type is the relay's own: it is accepted on `intake` only")
}

fn parse(input: &Input<'_>, limits: &Limits) -> Result<Map<String, Value>, Refusal> {
    // what the relay writes itself may be larger than the event that it carries
    let own = if input.from_publishers { 0 } else { intent::MAX_BYTES };
    let (have, most) = (input.body.len(), limits.max_event_bytes.saturating_add(own));
    if have > most {
        return Err(too_large(have, most));
    }
    let text = std::str::from_utf8(input.body).map_err(|error| {
        Refusal::decode(format!("the body is not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    match serde_json::from_str(text) {
        Ok(Value::Object(event)) if event.contains_key("specversion") => {
            let levels = if input.from_publishers { MAX_DEPTH } else { MAX_DEPTH + INTENT_LEVELS };
            match event.values().any(|value| is_deeper(value, levels)) {
                true => Err(too_deep()),
                false => Ok(event),
            }
        }
        Ok(Value::Object(_)) => {
            Err(Refusal::decode("no format known to this relay: a JSON object without specversion"))
        }
        Ok(Value::Array(_)) => {
            Err(Refusal::decode("batches of CloudEvents are not accepted: one event per message"))
        }
        Ok(_) => Err(Refusal::decode("no format known to this relay: the body is JSON, but no object")),
        Err(error) => Err(Refusal::decode(format!("the body is not JSON: {}", where_it_fails(&error)))),
    }
}

/// What a publisher said keeps the limits of publishers when it is said again on `intake`: only what the relay writes may be
/// larger and deeper.
fn fits(event: &Map<String, Value>, verb: Verb, input: &Input<'_>, limits: &Limits) -> Result<(), Refusal> {
    let (have, most) = (input.body.len(), limits.max_event_bytes);
    let own = matches!(verb, Verb::Intent | Verb::Verdict);
    match own || input.from_publishers {
        true => Ok(()),
        false if have > most => Err(too_large(have, most)),
        false if event.values().any(|value| is_deeper(value, MAX_DEPTH)) => Err(too_deep()),
        false => Ok(()),
    }
}

fn too_large(have: usize, most: usize) -> Refusal {
    Refusal::decode(format!("too large: the body has {have} bytes, amqp.max_event_bytes allows {most}"))
}

fn too_deep() -> Refusal {
    Refusal::decode(format!("nested too deeply: more than {MAX_DEPTH} levels"))
}

/// True if objects and lists lie in each other more than `levels` deep.
fn is_deeper(value: &Value, levels: usize) -> bool {
    match (value, levels) {
        (Value::Object(_) | Value::Array(_), 0) => true,
        (Value::Object(map), _) => map.values().any(|value| is_deeper(value, levels - 1)),
        (Value::Array(items), _) => items.iter().any(|item| is_deeper(item, levels - 1)),
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => false,
    }
}

/// serde_json's message names no values for syntax errors; the place is enough for the rest.
fn where_it_fails(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early".to_owned(),
        _ if error.to_string().starts_with("recursion limit") => {
            format!("nested too deeply, more than {MAX_DEPTH} levels")
        }
        _ => "syntax error".to_owned(),
    };
    format!("{what}, line {} column {}", error.line(), error.column())
}

fn text<'a>(event: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    match event.get(name) {
        Some(Value::String(text)) if text.is_empty() => Err(Refusal::decode(format!("`{name}` is empty"))),
        Some(Value::String(text)) if text.len() > MAX_NAME_BYTES => {
            let len = text.len();
            Err(Refusal::decode(format!("`{name}` has {len} bytes, at most {MAX_NAME_BYTES} are allowed")))
        }
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Refusal::decode(format!("`{name}` is not a string"))),
        None => Err(Refusal::decode(format!("`{name}` is missing"))),
    }
}

fn kind_of(kind: &str) -> Result<Kind, Refusal> {
    let Some(rest) = kind.strip_prefix("directory.") else { return Ok(Kind::Foreign) };
    if rest == "relay.mark" {
        return Ok(Kind::Mark);
    }
    let unknown = || Refusal::decode(format!("unknown type `{kind}`"));
    let (resource, verb) = rest.split_once('.').ok_or_else(unknown)?;
    let resource = ResourceType::ALL.into_iter().find(|r| r.word() == resource).ok_or_else(unknown)?;
    let verb = match (verb, resource) {
        ("put", _) => Verb::Put,
        ("patch", _) => Verb::Patch,
        ("delete", _) => Verb::Delete,
        ("activate", ResourceType::User) => Verb::Activate,
        ("deactivate", ResourceType::User) => Verb::Deactivate,
        ("intent", _) => Verb::Intent,
        ("verdict", _) => Verb::Verdict,
        _ => return Err(unknown()),
    };
    Ok(Kind::Change(resource, verb))
}

fn name(event: &Map<String, Value>, resource: ResourceType) -> Result<(String, ResourceKey), Refusal> {
    let id = text(event, "id")?.to_owned();
    let subject = text(event, "subject")?;
    let external_id =
        ExternalId::new(subject).map_err(|error| Refusal::decode(format!("`subject` {error}")))?;
    Ok((id, ResourceKey::new(resource, external_id)))
}

fn envelope(event: &mut Map<String, Value>, resource: ResourceType) -> Result<Envelope, Refusal> {
    match event.get("specversion") {
        Some(Value::String(version)) if version == "1.0" => {}
        _ => return Err(Refusal::decode("`specversion` is not \"1.0\"")),
    }
    let (id, key) = name(event, resource)?;
    let sequence = sequence(event.get("sequence"))?;
    let time = time(event.get("time"))?;
    let revision = (sequence.is_some() || time.is_some()).then(|| {
        Revision::new(Place { sequence, time, id: id.as_str().into(), hash: EventHash::new(sha256(event)) })
    });
    let data = data(event)?;
    Ok(Envelope { id, key, revision, data })
}

fn sequence(value: Option<&Value>) -> Result<Option<Sequence>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > MAX_SEQUENCE_BYTES => Err(Refusal::decode(format!(
            "`sequence` has {} bytes, at most {MAX_SEQUENCE_BYTES} are allowed",
            text.len()
        ))),
        Some(Value::String(text)) => Ok(Sequence::new(text.as_str())),
        Some(Value::Number(number)) if number.is_u64() => Ok(Sequence::new(number.to_string())),
        Some(_) => Err(Refusal::decode("`sequence` is not a string")),
    }
}

fn time(value: Option<&Value>) -> Result<Option<Timestamp>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match text.parse() {
            Ok(time) => Ok(Some(time)),
            Err(_) => Err(Refusal::decode("`time` is not an RFC 3339 timestamp")),
        },
        Some(_) => Err(Refusal::decode("`time` is not a string")),
    }
}

fn data(event: &mut Map<String, Value>) -> Result<Value, Refusal> {
    match (event.remove("data"), event.remove("data_base64")) {
        (Some(data), _) => Ok(data),
        (None, Some(Value::String(text))) => {
            let bytes = STANDARD.decode(text).map_err(|_| Refusal::decode("`data_base64` is not base64"))?;
            let data = serde_json::from_slice(&bytes).map_err(|error| {
                Refusal::decode(format!("`data_base64` holds no JSON: {}", where_it_fails(&error)))
            })?;
            if is_deeper(&data, MAX_DEPTH) { Err(too_deep()) } else { Ok(data) }
        }
        (None, Some(_)) => Err(Refusal::decode("`data_base64` is not a string")),
        (None, None) => Ok(Value::Null),
    }
}

fn body(
    envelope: Envelope,
    verb: Verb,
    input: &Input<'_>,
    limits: &Limits,
    now: Millis,
) -> Result<Decoded, Refusal> {
    let first_seen = input.timestamp.unwrap_or(now);
    match verb {
        Verb::Intent => return intent::decode(envelope, input, first_seen),
        Verb::Verdict => return verdict::decode(envelope, input.round.unwrap_or(0)),
        Verb::Put | Verb::Patch | Verb::Delete | Verb::Activate | Verb::Deactivate => {}
    }
    let Some(revision) = envelope.revision else {
        return Err(Refusal::decode("no order: one of `sequence` and `time` is required"));
    };
    let Envelope { id, key, data, .. } = envelope;
    let delta = refuse_future(&revision, limits, now).and_then(|()| said(verb, &key, data, &revision));
    let delta = delta.map_err(|refusal| refusal.at(&revision))?;
    // an event that an operator replays, byte for byte, lifts marks as an intent would
    let round = input.round.filter(|round| !input.from_publishers && *round > 0);
    let origin = if round.is_some() { Origin::Replay } else { Origin::Publisher };
    let change =
        Change { key, delta, origin, event_id: id, first_seen, attempt: 0, round, traceparent: None };
    Ok(Decoded::Change(Box::new(change)))
}

/// What an event says at its revision.
fn said(verb: Verb, key: &ResourceKey, data: Value, revision: &Revision) -> Result<Delta, Refusal> {
    match verb {
        Verb::Put => put::delta(key, data, revision),
        Verb::Patch => patch::delta(key, data, revision),
        Verb::Delete => {
            let lifecycle = Lifecycle { put: None, deleted: Some(revision.clone()) };
            Ok(Delta { lifecycle, ..Delta::default() })
        }
        Verb::Activate => Ok(active(true, revision)),
        Verb::Deactivate => Ok(active(false, revision)),
        Verb::Intent | Verb::Verdict => Ok(Delta::default()),
    }
}

fn active(active: bool, revision: &Revision) -> Delta {
    let (path, value) = (Path::core("active"), Some(Value::Bool(active)));
    let register = Register::new(path, value, revision.clone());
    Delta { attributes: vec![register], ..Delta::default() }
}

fn refuse_future(revision: &Revision, limits: &Limits, now: Millis) -> Result<(), Refusal> {
    let (None, Some(time)) = (&revision.sequence, &revision.time) else { return Ok(()) };
    let latest = now.plus(limits.max_clock_skew);
    if time.as_millisecond() <= latest.0 {
        return Ok(());
    }
    let ahead = (time.as_millisecond() - now.0) / 1000;
    let detail =
        format!("ordered by `time` alone, which lies {ahead} s ahead: more than events.max_clock_skew");
    Err(Refusal::new(Class::FutureTime, detail))
}
