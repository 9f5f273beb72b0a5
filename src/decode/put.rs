//! `put`: the whole resource. An attribute absent from a newer `put` is removed at the target if this relay put it there:
//! the floor says so, no register is needed.

use serde_json::{Map, Value};

use super::Refusal;
use crate::core::change::{Delta, Lifecycle, MemberRegister, Register};
use crate::core::desired::is_nothing;
use crate::core::path::{ENTERPRISE, Path, canonical_name, is_core_schema, is_name, is_urn};
use crate::core::resource::{ResourceKey, ResourceType};
use crate::core::revision::Revision;

/// Attributes that the target or the relay writes (contract s2.1).
const DROPPED: [&str; 5] = ["id", "meta", "groups", "schemas", "password"];

/// True for an attribute that is not the source's to write.
pub(super) fn is_dropped(path: &Path) -> bool {
    path.schema.is_none() && DROPPED.contains(&path.attribute.as_str())
}

/// The registers of a `put`.
pub(super) fn delta(key: &ResourceKey, data: Value, revision: &Revision) -> Result<Delta, Refusal> {
    let Value::Object(resource) = data else {
        return Err(Refusal::decode("`data` of a put is not an object"));
    };
    let lifecycle = Lifecycle { put: Some(revision.clone()), deleted: None };
    let mut delta = Delta { lifecycle, ..Delta::default() };
    for (path, value) in attributes(resource)? {
        if path.schema.is_none() && path.attribute == "externalId" {
            check_external_id(key, &value)?;
        } else if path.schema.is_none() && path.attribute == "members" {
            put_members(key, &value, revision, &mut delta)?;
        } else if !is_dropped(&path) && !is_nothing(&value) {
            let value = normalised(&path, value)?;
            delta.attributes.push(Register::new(path, Some(value), revision.clone()));
        }
    }
    Ok(delta)
}

/// The whole attributes of a resource: extension objects are opened.
pub(super) fn attributes(resource: Map<String, Value>) -> Result<Vec<(Path, Value)>, Refusal> {
    let mut attributes = Vec::new();
    for (name, value) in resource {
        match value {
            Value::Object(inner) if is_schema(&name) => attributes.extend(extension(&name, inner)?),
            Value::Null if is_schema(&name) => {}
            value => {
                let path = name.parse::<Path>().map_err(|error| Refusal::decode(error.to_string()))?;
                attributes.push((path, value));
            }
        }
    }
    Ok(attributes)
}

/// The attributes below a schema's URN.
fn extension(urn: &str, inner: Map<String, Value>) -> Result<Vec<(Path, Value)>, Refusal> {
    let attribute = |(name, value): (String, Value)| match is_name(&name) {
        true if is_core_schema(urn) => Ok((Path::core(&name), value)),
        true => Ok((Path::extension(urn, &name), value)),
        false => Err(no_name(&name)),
    };
    inner.into_iter().map(attribute).collect()
}

fn no_name(name: &str) -> Refusal {
    Refusal::decode(format!("`{name}` is not an attribute name"))
}

/// True for the URN of a schema. `urn:…:User:department` is one of its attributes, and parses as a path: what stands
/// after the name of a resource type, in lower case.
pub(super) fn is_schema(name: &str) -> bool {
    let mut segments = name.rsplit(':');
    let (last, before) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    let is_attribute = last.starts_with(char::is_lowercase) && before.starts_with(char::is_uppercase);
    is_urn(name) && !is_attribute
}

/// `externalId` must be the event's subject.
pub(super) fn check_external_id(key: &ResourceKey, value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Null => Ok(()),
        Value::String(text) if text == key.external_id.as_str() => Ok(()),
        _ => Err(Refusal::decode("`externalId` is not the event's `subject`")),
    }
}

fn put_members(
    key: &ResourceKey,
    value: &Value,
    revision: &Revision,
    delta: &mut Delta,
) -> Result<(), Refusal> {
    if key.kind != ResourceType::Group {
        return Err(Refusal::decode("a user has no `members`"));
    }
    if value.is_null() {
        return Ok(());
    }
    // a multi-valued attribute (RFC 7643 s4.2): of a text nobody knows whether it is one member or a list of them
    if !value.is_array() {
        return Err(Refusal::decode("`members` is not a list"));
    }
    delta.attributes.push(Register::new(Path::core("members"), None, revision.clone()));
    let values = member_values(value).map_err(Refusal::decode)?;
    delta.members.extend(values.into_iter().map(|(value, kind)| MemberRegister {
        value,
        kind,
        present: true,
        revision: revision.clone(),
    }));
    Ok(())
}

/// Member values: a list (or one) of objects with `value`, or of texts. Each once, with its type: users, unless said to be a
/// `Group`.
pub(super) fn member_values(value: &Value) -> Result<Vec<(String, ResourceType)>, String> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut values = std::collections::BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        let named = |map: &'_ Map<String, Value>, name: &str| {
            map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        };
        let (field, kind) = match item {
            Value::Object(map) => (named(map, "value"), named(map, "type")),
            other => (Some(other.clone()), None),
        };
        let is_group = |kind: &str| kind.eq_ignore_ascii_case(ResourceType::Group.name());
        let kind = match kind.as_ref().and_then(Value::as_str).is_some_and(is_group) {
            true => ResourceType::Group,
            false => ResourceType::User,
        };
        match field {
            Some(Value::String(text)) if !text.is_empty() => drop(values.insert(text, kind)),
            _ => return Err(format!("member {} has no `value` that is a text", at + 1)),
        }
    }
    Ok(values.into_iter().collect())
}

/// A value in the RFC's spelling: names of sub-attributes, booleans that came as texts, the manager as an object, one
/// element of a list as a list.
pub(super) fn normalised(path: &Path, value: Value) -> Result<Value, Refusal> {
    let name = path.sub.as_deref().unwrap_or(&path.attribute);
    if path.schema.is_none() && path.is_root() && path.attribute == "active" {
        let active = boolean(value).ok_or_else(|| Refusal::decode("`active` is neither true nor false"))?;
        return Ok(Value::Bool(active));
    }
    if *path == Path::extension(ENTERPRISE, "manager")
        && let Value::String(text) = value
    {
        return Ok(serde_json::json!({ "value": text }));
    }
    match spelled(name, value) {
        one @ Value::Object(_) if path.is_root() && path.is_multi_valued() => Ok(Value::Array(vec![one])),
        // sub-attributes become paths of their own
        Value::Object(map) if path.is_root() => match map.keys().find(|name| !is_name(name)) {
            Some(bad) => Err(no_name(&format!("{path}.{bad}"))),
            None => Ok(Value::Object(map)),
        },
        value => Ok(value),
    }
}

fn boolean(value: Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(value),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn spelled(name: &str, value: Value) -> Value {
    match value {
        // the usual case: nothing to respell, so the map stays
        Value::Object(mut map) if map.keys().all(|name| canonical_name(name) == name) => {
            map.iter_mut().for_each(|(name, value)| *value = spelled(name, value.take()));
            Value::Object(map)
        }
        Value::Object(map) => {
            let fields = map.into_iter().map(|(name, value)| (canonical_name(&name).to_owned(), value));
            spelled(name, Value::Object(fields.collect()))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| spelled(name, item)).collect()),
        Value::String(text) if name == "primary" => {
            boolean(Value::String(text.clone())).map_or(Value::String(text), Value::Bool)
        }
        other => other,
    }
}
