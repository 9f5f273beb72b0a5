//! Looking into resources as targets return them: identity, version, and whether one really is what was asked for.

use serde_json::Value;

use super::{lenient, percent};
use crate::core::resource::{ETag, ResourceType, TargetId};

/// The resource's `id`. A number is taken as its text; `.` and `..` could not be addressed and are none.
pub fn id(resource: &Value) -> Option<TargetId> {
    match lenient::get(resource, "id")? {
        Value::String(text) => addressable(text),
        Value::Number(number) => TargetId::new(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The resource's `meta.version` (RFC 7643 s3.1).
pub fn version(resource: &Value) -> Option<ETag> {
    ETag::new(lenient::text(lenient::get(resource, "meta")?, "version")?)
}

/// The resource's `externalId`.
pub fn external_id(resource: &Value) -> Option<&str> {
    lenient::text(resource, "externalId")
}

/// What a `location` says: the resource's id, and its type where the segment before names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The type, when the segment before the id is `Users` or `Groups` in any case.
    pub kind: Option<ResourceType>,
    /// The last segment, decoded.
    pub id: TargetId,
}

/// Reads a `location`: absolute, relative, or a bare id. One that ends at an endpoint (`…/Users`) names no resource.
pub fn locate(location: &str) -> Option<Located> {
    let end = location.find(['?', '#']).unwrap_or(location.len());
    let path = location[..end].trim().trim_end_matches('/');
    let path =
        path.split_once("://").map_or(path, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let mut segments = path.rsplit('/');
    let last = segments.next()?;
    if kind_of(last).is_some() {
        return None;
    }
    Some(Located { kind: segments.next().and_then(kind_of), id: addressable(&percent::decode(last))? })
}

fn kind_of(segment: &str) -> Option<ResourceType> {
    ResourceType::ALL.into_iter().find(|kind| kind.segment().eq_ignore_ascii_case(segment))
}

fn addressable(text: &str) -> Option<TargetId> {
    TargetId::new(text).filter(|_| text != "." && text != "..")
}

/// Whether a resource has this value at an attribute path such as `userName` or `emails.value`. Filters can't be trusted:
/// some servers ignore them and return everything. `externalId` and `id` are compared exactly, all else without regard
/// to case (RFC 7643 s3.1, s4.1, s4.2).
pub fn fits(resource: &Value, attribute: &str, value: &str) -> bool {
    let exact = ["externalId", "id"].iter().any(|name| name.eq_ignore_ascii_case(attribute));
    let same = |found: &str| match exact {
        true => found == value,
        false => found.to_lowercase() == value.to_lowercase(),
    };
    let mut found = false;
    each(resource, attribute, &mut |text| found |= same(text));
    found
}

/// Calls `seen` with every text at a dotted path, through lists on the way.
fn each(value: &Value, path: &str, seen: &mut impl FnMut(&str)) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| each(element, path, seen)),
        Value::String(text) if path.is_empty() => seen(text),
        Value::Object(_) if !path.is_empty() => {
            let (first, rest) = path.split_once('.').unwrap_or((path, ""));
            if let Some(member) = lenient::get(value, first) {
                each(member, rest, seen);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn identity_and_version_are_read_in_any_case() {
        let resource = json!({"ID": "2819c223", "Meta": {"VERSION": "W/\"3\""}, "externalid": "e-1"});
        assert_eq!(id(&resource).unwrap().as_str(), "2819c223");
        assert_eq!(version(&resource).unwrap().as_str(), "W/\"3\"");
        assert_eq!(external_id(&resource), Some("e-1"));
        assert_eq!(id(&json!({"id": 42})).unwrap().as_str(), "42");
        for none in [json!({}), json!({"id": ""}), json!({"id": ".."}), json!({"id": null}), json!([])] {
            assert_eq!(id(&none), None, "{none}");
        }
    }

    #[test]
    fn a_location_names_the_resource_however_it_is_written() {
        use ResourceType::{Group, User};
        for (location, kind, id) in [
            ("https://x.example/scim/v2/Users/a-1", Some(User), "a-1"),
            ("https://x.example/scim/v2/groups/a-1/", Some(Group), "a-1"),
            ("/Users/a%2F1?attributes=id#top", Some(User), "a/1"),
            ("Users/a-1", Some(User), "a-1"),
            ("https://x.example/scim/v2/Devices/a-1", None, "a-1"),
            ("a-1", None, "a-1"),
        ] {
            let located = locate(location).unwrap();
            assert_eq!((located.kind, located.id.as_str()), (kind, id), "{location}");
        }
        for location in
            ["", "/", "https://x.example", "https://x.example/scim/v2/Users", "/Users/", "Users/.."]
        {
            assert_eq!(locate(location), None, "{location}");
        }
    }

    #[test]
    fn a_resource_fits_exactly_by_external_id_and_in_any_case_by_name() {
        let resource = json!({
            "externalId": "E-1", "UserName": "Ana@Example.com",
            "emails": [{"value": "other@example.com"}, {"value": "ANA@example.com"}],
        });
        for (attribute, value, fit) in [
            ("externalId", "E-1", true),
            ("externalId", "e-1", false),
            ("userName", "ana@example.com", true),
            ("userName", "ana", false),
            ("emails.value", "ana@example.com", true),
            ("emails.type", "ana@example.com", false),
            ("emails", "ana@example.com", false),
            ("displayName", "ana@example.com", false),
        ] {
            assert_eq!(fits(&resource, attribute, value), fit, "{attribute} {value}");
        }
    }
}
