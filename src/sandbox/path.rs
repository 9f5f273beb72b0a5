//! Where an attribute path (RFC 7644 s3.10) leads in a resource.

use scim_v2::filter::AttrPath;
use serde_json::{Map, Value};

use super::schema::{Attribute, ENTERPRISE_URN, Kind, find};

/// The object that holds an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The resource itself.
    Core,
    /// The extension of this URN, in the spelling of the resource or of its schema.
    Extension(String),
}

/// A path resolved against a resource type and a resource.
#[derive(Clone, Debug)]
pub struct Located {
    /// The object that holds the attribute.
    pub owner: Owner,
    /// The attribute in canonical spelling; none where the path names the owner as a whole.
    pub name: Option<String>,
    /// What the schema says about it, if it is known.
    pub definition: Option<&'static Attribute>,
    /// The sub-attribute, as given.
    pub sub: Option<String>,
}

impl Located {
    /// The object that holds the attribute, if it exists.
    pub fn holder<'a>(&self, resource: &'a Map<String, Value>) -> Option<&'a Map<String, Value>> {
        match &self.owner {
            Owner::Core => Some(resource),
            Owner::Extension(urn) => resource.get(urn)?.as_object(),
        }
    }
}

/// Resolves `path`. An unknown URN that the resource holds is an extension; one that it does not hold is taken for `URN:attribute`.
pub fn locate(kind: Kind, resource: &Map<String, Value>, path: &AttrPath) -> Located {
    let Some(uri) = &path.uri else {
        return in_core(kind, path);
    };
    let whole = format!("{uri}:{}", path.name);
    if uri.eq_ignore_ascii_case(kind.urn()) {
        in_core(kind, path)
    } else if whole.eq_ignore_ascii_case(kind.urn()) {
        Located { owner: Owner::Core, name: None, definition: None, sub: path.sub_attr.clone() }
    } else if let Some(urn) = extension_key(kind, resource, &whole) {
        Located { owner: Owner::Extension(urn), name: None, definition: None, sub: path.sub_attr.clone() }
    } else {
        let urn = extension_key(kind, resource, uri).unwrap_or_else(|| uri.clone());
        let definition = kind.extension(&urn).and_then(|attributes| find(attributes, &path.name));
        let name = definition.map_or(path.name.as_str(), |it| it.name).to_owned();
        Located { owner: Owner::Extension(urn), name: Some(name), definition, sub: path.sub_attr.clone() }
    }
}

fn in_core(kind: Kind, path: &AttrPath) -> Located {
    let definition = kind.attribute(&path.name);
    let name = definition.map_or(path.name.as_str(), |it| it.name).to_owned();
    Located { owner: Owner::Core, name: Some(name), definition, sub: path.sub_attr.clone() }
}

fn extension_key(kind: Kind, resource: &Map<String, Value>, urn: &str) -> Option<String> {
    if kind.extension(urn).is_some() {
        return Some(ENTERPRISE_URN.to_owned());
    }
    resource.keys().find(|key| key.contains(':') && key.eq_ignore_ascii_case(urn)).cloned()
}

/// The value of a name in any case (RFC 7643 s2.1).
pub fn get<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    map.get(name)
        .or_else(|| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// The spelling that the map has for a name, else the name.
pub fn key_of(map: &Map<String, Value>, name: &str) -> String {
    map.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned().unwrap_or_else(|| name.to_owned())
}

/// Takes the value of a name in any case out.
pub fn remove(map: &mut Map<String, Value>, name: &str) -> Option<Value> {
    map.remove(name).or_else(|| {
        let key = key_of(map, name);
        map.remove(&key)
    })
}
