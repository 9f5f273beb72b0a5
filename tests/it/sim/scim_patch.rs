//! PATCH as the relay emits it (RFC 7644 s3.5.2): whole attributes, sub-attributes, extension attributes, members.

use serde_json::{Map, Value, json};

use scim_relay::core::path::Path;

/// Refused, with this `scimType`; nothing was changed.
pub struct Refused(pub &'static str);

/// The resource after all operations of a PatchOp.
pub fn patched(
    mut body: Map<String, Value>,
    patch: &Value,
    strict_members: bool,
) -> Result<Map<String, Value>, Refused> {
    let operations = patch["Operations"].as_array().ok_or(Refused("invalidSyntax"))?;
    for operation in operations {
        let path = operation["path"].as_str().ok_or(Refused("invalidPath"))?;
        let path: Path = path.parse().map_err(|_| Refused("invalidPath"))?;
        match (operation["op"].as_str(), path.attribute.as_str()) {
            (Some("add"), "members") => add_members(&mut body, &operation["value"]),
            (Some("remove"), "members") if operation["value"].is_array() => {
                for member in operation["value"].as_array().into_iter().flatten() {
                    drop_member(&mut body, member["value"].as_str().ok_or(Refused("invalidValue"))?);
                }
            }
            // the whole list goes
            (Some("remove"), "members") if path.selector.is_none() => drop_all(&mut body),
            (Some("remove"), "members") => {
                let id = path.selector.expect("one is named").value;
                let before = members(&mut body).len();
                drop_member(&mut body, &id);
                if strict_members && members(&mut body).len() == before {
                    return Err(Refused("noTarget"));
                }
            }
            (Some("replace"), _) => write(&mut body, &path, Some(operation["value"].clone())),
            (Some("remove"), _) => write(&mut body, &path, None),
            _ => return Err(Refused("invalidSyntax")),
        }
    }
    Ok(body)
}

/// True if a PatchOp removes this path.
pub fn removes(patch: &Value, path: &str) -> bool {
    let operations = patch["Operations"].as_array().into_iter().flatten();
    operations.into_iter().any(|operation| operation["op"] == "remove" && operation["path"] == path)
}

/// True if a PatchOp writes the whole list of members.
pub fn writes_all_members(patch: &Value) -> bool {
    let whole = |operation: &Value| {
        operation["path"] == "members"
            && (operation["op"] == "replace"
                || (operation["op"] == "remove" && !operation["value"].is_array()))
    };
    patch["Operations"].as_array().into_iter().flatten().any(whole)
}

fn members(body: &mut Map<String, Value>) -> &mut Vec<Value> {
    match body.entry("members").or_insert_with(|| json!([])) {
        Value::Array(members) => members,
        _ => unreachable!("members are a list"),
    }
}

fn add_members(body: &mut Map<String, Value>, added: &Value) {
    let held = members(body);
    for member in added.as_array().into_iter().flatten() {
        if !held.contains(member) {
            held.push(member.clone());
        }
    }
}

/// Takes a member out of a group.
pub fn drop_member(body: &mut Map<String, Value>, id: &str) {
    members(body).retain(|member| member["value"] != json!(id));
}

fn drop_all(body: &mut Map<String, Value>) {
    members(body).clear();
}

fn object<'a>(map: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let slot = map.entry(name).or_insert_with(|| json!({}));
    match slot {
        Value::Object(inner) => inner,
        _ => unreachable!("{name} is complex"),
    }
}

fn write(body: &mut Map<String, Value>, path: &Path, value: Option<Value>) {
    let scope = match &path.schema {
        Some(schema) => object(body, schema),
        None => body,
    };
    let (scope, name) = match &path.sub {
        Some(sub) => (object(scope, &path.attribute), sub),
        None => (scope, &path.attribute),
    };
    match value {
        Some(value) => drop(scope.insert(name.to_string(), value)),
        None => drop(scope.remove(name.as_str())),
    }
}
