//! Brings a resource into canonical form and refuses what its schema does not allow.

use serde_json::{Map, Value};

use super::{Attribute, ENTERPRISE_URN, Kind, Mutability, Type, find};
use crate::sandbox::error::{Refusal, ScimType};

/// Canonical spelling of the names that the schema knows, no unassigned and no read-only or write-only attributes, right types,
/// at most one primary value, the required attributes, `schemas` naming the core schema and every extension that holds something.
/// Unknown attributes and extensions stay as they are.
///
/// # Errors
/// `invalidValue`, naming the attribute.
pub fn check(kind: Kind, resource: &mut Map<String, Value>) -> Result<(), Refusal> {
    canonical_names(resource, |name| match kind.attribute(name) {
        Some(attribute) => Some(attribute.name),
        None => kind.extension(name).map(|_| ENTERPRISE_URN),
    });
    strip_unassigned(resource);
    resource.retain(|name, _| kind.attribute(name).is_none_or(|it| it.mutability != Mutability::ReadOnly));
    for (name, value) in resource.iter_mut() {
        if let Some(attribute) = kind.attribute(name) {
            check_value(attribute, value, name)?;
        } else if let Some(attributes) = kind.extension(name) {
            check_extension(attributes, value, name)?;
        }
    }
    resource.retain(|name, _| kind.attribute(name).is_none_or(|it| it.mutability != Mutability::WriteOnly));
    check_required(kind, resource)?;
    complete_schemas(kind, resource)
}

/// Removes what RFC 7643 s2.5 calls unassigned: `null` and empty lists.
fn strip_unassigned(resource: &mut Map<String, Value>) {
    resource
        .retain(|_, value| !matches!(value, Value::Null) && value.as_array().is_none_or(|it| !it.is_empty()));
}

fn canonical_names(map: &mut Map<String, Value>, canonical: impl Fn(&str) -> Option<&'static str>) {
    let renamed: Vec<(String, &'static str)> = map
        .keys()
        .filter_map(|name| Some((name, canonical(name)?)))
        .filter(|(name, canonical)| name != canonical)
        .map(|(name, canonical)| (name.clone(), canonical))
        .collect();
    for (name, canonical) in renamed {
        if let Some(value) = map.remove(&name) {
            map.insert(canonical.to_owned(), value);
        }
    }
}

fn check_extension(attributes: &'static [Attribute], value: &mut Value, urn: &str) -> Result<(), Refusal> {
    let Value::Object(extension) = value else {
        return Err(wrong_type(urn, "an object"));
    };
    canonical_names(extension, |name| find(attributes, name).map(|it| it.name));
    strip_unassigned(extension);
    for (name, value) in extension.iter_mut() {
        if let Some(attribute) = find(attributes, name) {
            check_value(attribute, value, name)?;
        }
    }
    Ok(())
}

fn check_value(attribute: &Attribute, value: &mut Value, path: &str) -> Result<(), Refusal> {
    if !attribute.multi {
        return check_one(attribute, value, path);
    }
    let Value::Array(elements) = value else {
        return Err(wrong_type(path, "a list"));
    };
    for element in elements.iter_mut() {
        check_one(attribute, element, path)?;
    }
    let primaries = elements.iter().filter(|it| it.get("primary") == Some(&Value::Bool(true))).count();
    if attribute.data_type == Type::Complex && primaries > 1 {
        return Err(Refusal::of(ScimType::InvalidValue, format!("{path}: more than one value is primary")));
    }
    Ok(())
}

fn check_one(attribute: &Attribute, value: &mut Value, path: &str) -> Result<(), Refusal> {
    match attribute.data_type {
        Type::String | Type::DateTime | Type::Reference | Type::Binary if value.is_string() => Ok(()),
        Type::String | Type::DateTime | Type::Reference | Type::Binary => Err(wrong_type(path, "text")),
        Type::Boolean if value.is_boolean() => Ok(()),
        Type::Boolean => Err(wrong_type(path, "true or false")),
        Type::Integer if value.is_i64() || value.is_u64() => Ok(()),
        Type::Integer => Err(wrong_type(path, "a whole number")),
        Type::Complex => check_complex(attribute, value, path),
    }
}

fn check_complex(attribute: &Attribute, value: &mut Value, path: &str) -> Result<(), Refusal> {
    let Value::Object(map) = value else {
        return Err(wrong_type(path, "an object"));
    };
    let subs: &'static [Attribute] = attribute.sub;
    canonical_names(map, |name| find(subs, name).map(|it| it.name));
    map.retain(|name, value| {
        !value.is_null() && find(subs, name).is_none_or(|it| it.mutability != Mutability::ReadOnly)
    });
    for (name, value) in map.iter_mut() {
        if let Some(sub) = find(subs, name) {
            check_one(sub, value, name)
                .map_err(|it| Refusal { detail: format!("{path}.{}", it.detail), ..it })?;
        }
    }
    Ok(())
}

fn check_required(kind: Kind, resource: &Map<String, Value>) -> Result<(), Refusal> {
    let missing = kind.attributes().iter().find(|attribute| {
        attribute.required && resource.get(attribute.name).is_none_or(|value| value.as_str() == Some(""))
    });
    match missing {
        Some(attribute) => {
            Err(Refusal::of(ScimType::InvalidValue, format!("{} is required", attribute.name)))
        }
        None => Ok(()),
    }
}

fn complete_schemas(kind: Kind, resource: &mut Map<String, Value>) -> Result<(), Refusal> {
    let mut urns = match resource.remove("schemas") {
        None => vec![Value::from(kind.urn())],
        Some(Value::Array(urns)) => urns,
        Some(_) => return Err(wrong_type("schemas", "a list")),
    };
    if !names(&urns, kind.urn()) {
        return Err(Refusal::of(ScimType::InvalidValue, format!("schemas must name {}", kind.urn())));
    }
    for (name, value) in resource.iter() {
        let holds = value.as_object().is_some_and(|it| !it.is_empty());
        if holds && name.contains(':') && !names(&urns, name) {
            urns.push(name.as_str().into());
        }
    }
    resource.insert("schemas".into(), urns.into());
    Ok(())
}

fn names(urns: &[Value], urn: &str) -> bool {
    urns.iter().any(|it| it.as_str().is_some_and(|it| it.eq_ignore_ascii_case(urn)))
}

fn wrong_type(path: &str, expected: &str) -> Refusal {
    Refusal::of(ScimType::InvalidValue, format!("{path} must be {expected}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::schema::USER_URN;

    fn checked(kind: Kind, resource: Value) -> Result<Value, Refusal> {
        let Value::Object(mut resource) = resource else { panic!("an object") };
        check(kind, &mut resource).map(|()| Value::Object(resource))
    }

    fn refused(kind: Kind, resource: Value) -> String {
        checked(kind, resource).unwrap_err().detail
    }

    #[test]
    fn names_become_canonical_and_unknown_ones_stay() {
        let resource = checked(
            Kind::User,
            json!({"USERNAME": "ana", "NAME": {"GivenName": "Ana", "x": 1}, "$odd-name": [null],
                "urn:example:Badge": {"Number": null}, "URN:IETF:params:scim:schemas:extension:enterprise:2.0:user": {"Department": "R"}}),
        );
        assert_eq!(
            resource.unwrap(),
            json!({"userName": "ana", "name": {"givenName": "Ana", "x": 1}, "$odd-name": [null],
                "urn:example:Badge": {"Number": null}, ENTERPRISE_URN: {"department": "R"},
                "schemas": [USER_URN, "urn:example:Badge", ENTERPRISE_URN]})
        );
    }

    #[test]
    fn what_clients_may_not_write_and_what_is_unassigned_disappears() {
        let resource = checked(
            Kind::User,
            json!({"id": "x", "meta": {}, "groups": [], "password": "secret", "userName": "ana", "title": null, "emails": [],
                ENTERPRISE_URN: {"manager": {"value": "m", "displayName": "M"}}}),
        );
        assert_eq!(
            resource.unwrap(),
            json!({"userName": "ana", ENTERPRISE_URN: {"manager": {"value": "m"}}, "schemas": [USER_URN, ENTERPRISE_URN]})
        );
    }

    #[test]
    fn wrong_types_are_refused_by_name() {
        for (attribute, value, detail) in [
            ("active", json!("False"), "active must be true or false"),
            ("emails", json!({"value": "a@b"}), "emails must be a list"),
            ("emails", json!(["a@b"]), "emails must be an object"),
            ("name", json!({"givenName": 1}), "name.givenName must be text"),
            (
                "emails",
                json!([{"primary": true}, {"primary": true}]),
                "emails: more than one value is primary",
            ),
            (
                "schemas",
                json!(["urn:example"]),
                "schemas must name urn:ietf:params:scim:schemas:core:2.0:User",
            ),
        ] {
            assert_eq!(refused(Kind::User, json!({"userName": "ana", attribute: value})), detail);
        }
    }

    #[test]
    fn required_attributes_are_required() {
        assert_eq!(refused(Kind::User, json!({})), "userName is required");
        assert_eq!(refused(Kind::User, json!({"userName": ""})), "userName is required");
        assert_eq!(refused(Kind::Group, json!({"displayName": null})), "displayName is required");
    }
}
