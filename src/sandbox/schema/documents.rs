//! The documents of `/Schemas` and `/ResourceTypes` (RFC 7643 s6 and s7).

use serde_json::{Map, Value, json};

use super::{
    Attribute, ENTERPRISE_URN, GROUP_URN, Kind, Mutability, Returned, Type, USER_URN, discovery, enterprise,
    group, user,
};
use crate::sandbox::manners::Manners;

const SCHEMA_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
const RESOURCE_TYPE_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
const CONFIG_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";

/// Every schema document; `base` is the address of the provider.
pub fn schemas(base: &str) -> Vec<Value> {
    [
        (USER_URN, "User", "A person's account", user::ATTRIBUTES),
        (GROUP_URN, "Group", "A group of users and groups", group::ATTRIBUTES),
        (ENTERPRISE_URN, "EnterpriseUser", "What an employer knows about a user", enterprise::ATTRIBUTES),
        (
            CONFIG_URN,
            "ServiceProviderConfig",
            "What the provider supports",
            discovery::SERVICE_PROVIDER_CONFIG,
        ),
        (RESOURCE_TYPE_URN, "ResourceType", "A kind of resource", discovery::RESOURCE_TYPE),
        (SCHEMA_URN, "Schema", "The attributes of a schema", discovery::SCHEMA),
    ]
    .into_iter()
    .map(|(urn, name, description, attributes)| {
        json!({
            "schemas": [SCHEMA_URN],
            "id": urn,
            "name": name,
            "description": description,
            "attributes": attributes.iter().map(definition).collect::<Vec<_>>(),
            "meta": {"resourceType": "Schema", "location": format!("{base}/Schemas/{urn}")},
        })
    })
    .collect()
}

/// Every resource type document.
pub fn resource_types(base: &str, manners: &Manners) -> Vec<Value> {
    Kind::ALL.into_iter().map(|kind| resource_type(kind, base, manners)).collect()
}

fn resource_type(kind: Kind, base: &str, manners: &Manners) -> Value {
    let extensions = match kind {
        Kind::User => json!([{"schema": ENTERPRISE_URN, "required": false}]),
        Kind::Group => json!([]),
    };
    json!({
        "schemas": [RESOURCE_TYPE_URN],
        "id": kind.name(),
        "name": kind.name(),
        "description": match kind { Kind::User => "Accounts of people", Kind::Group => "Groups" },
        "endpoint": format!("/{}", manners.segment(kind)),
        "schema": kind.urn(),
        "schemaExtensions": extensions,
        "meta": {"resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", kind.name())},
    })
}

fn definition(attribute: &Attribute) -> Value {
    let mut document = Map::new();
    document.insert("name".into(), attribute.name.into());
    document.insert("type".into(), type_name(attribute.data_type).into());
    document.insert("multiValued".into(), attribute.multi.into());
    document.insert("description".into(), attribute.description.into());
    document.insert("required".into(), attribute.required.into());
    document.insert("caseExact".into(), attribute.case_exact.into());
    document.insert("mutability".into(), mutability_name(attribute.mutability).into());
    document.insert("returned".into(), returned_name(attribute.returned).into());
    document.insert("uniqueness".into(), if attribute.unique { "server" } else { "none" }.into());
    if !attribute.canonical.is_empty() {
        document.insert("canonicalValues".into(), attribute.canonical.into());
    }
    if !attribute.references.is_empty() {
        document.insert("referenceTypes".into(), attribute.references.into());
    }
    if !attribute.sub.is_empty() {
        let sub: Vec<Value> = attribute.sub.iter().map(definition).collect();
        document.insert("subAttributes".into(), sub.into());
    }
    Value::Object(document)
}

fn type_name(data_type: Type) -> &'static str {
    match data_type {
        Type::String => "string",
        Type::Boolean => "boolean",
        Type::Integer => "integer",
        Type::DateTime => "dateTime",
        Type::Reference => "reference",
        Type::Binary => "binary",
        Type::Complex => "complex",
    }
}

fn mutability_name(mutability: Mutability) -> &'static str {
    match mutability {
        Mutability::ReadWrite => "readWrite",
        Mutability::ReadOnly => "readOnly",
        Mutability::Immutable => "immutable",
        Mutability::WriteOnly => "writeOnly",
    }
}

fn returned_name(returned: Returned) -> &'static str {
    match returned {
        Returned::Default => "default",
        Returned::Always => "always",
        Returned::Never => "never",
    }
}
