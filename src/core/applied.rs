//! Applied: what this relay wrote and the target acknowledged, as fingerprints. Values live at the target.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::desired::is_nothing;
use super::path::{Path, is_name};

/// Half of a SHA-256 of a value's canonical JSON: keys sorted, multi-valued attributes in any order.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of a value.
    pub fn of(value: &Value) -> Self {
        let digest = Sha256::digest(canonical(value).as_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self(half)
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = hex::FromHexError;
    fn try_from(text: String) -> Result<Self, hex::FromHexError> {
        let mut half = [0; 16];
        hex::decode_to_slice(text, &mut half)?;
        Ok(Self(half))
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        hex::encode(fingerprint.0)
    }
}

/// Canonical text: object keys are sorted by the map itself, list elements by their text; what is no value goes.
fn canonical(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let mut items: Vec<String> =
                items.iter().filter(|item| !is_nothing(item)).map(canonical).collect();
            items.sort();
            format!("[{}]", items.join(","))
        }
        Value::Object(map) => {
            let said = map.iter().filter(|(_, value)| !is_nothing(value));
            let fields: Vec<String> = said
                .map(|(key, value)| format!("{}:{}", Value::String(key.clone()), canonical(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// What the target has of us. Paths are leaves: sub-attributes of complex attributes, whole attributes otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Leaves that the target has, by path.
    #[serde(rename = "has", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub leaves: BTreeMap<Path, Fingerprint>,
    /// Attributes of which only parts are known (no `put` yet): the parts last written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<Path, Fingerprint>,
}

impl Applied {
    /// SHA-256 (half) over all leaves: the content hash.
    pub fn content_hash(&self) -> Fingerprint {
        let leaves = self.leaves.iter().map(|(path, f)| (path.to_string(), Value::String((*f).into())));
        Fingerprint::of(&Value::Object(leaves.collect()))
    }

    /// Takes over what the target has now, at the paths that matter to us.
    pub fn observe(&mut self, live: &Value, paths: &BTreeSet<Path>) {
        for path in paths {
            match at(live, path).filter(|value| !is_nothing(value)) {
                Some(value) => drop(self.leaves.insert(path.clone(), Fingerprint::of(value))),
                None => drop(self.leaves.remove(path)),
            }
        }
    }
}

/// The value at a whole attribute or a sub-attribute of a resource; names compare case-insensitively.
pub fn at<'a>(resource: &'a Value, path: &Path) -> Option<&'a Value> {
    let scope = match &path.schema {
        None => Some(resource),
        Some(schema) => field(resource, schema),
    };
    let whole = scope.and_then(|scope| field(scope, &path.attribute))?;
    match &path.sub {
        None => Some(whole),
        Some(sub) => field(whole, sub),
    }
}

fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let map = object.as_object()?;
    map.get(name)
        .or_else(|| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// The leaves of one whole attribute: sub-attributes of a complex one, the whole otherwise. What the target calls by no
/// name that a path can hold is not ours to compare.
pub fn leaves(root: &Path, value: &Value) -> Vec<(Path, Value)> {
    match value {
        Value::Object(map) => {
            let said = map.iter().filter(|(sub, value)| is_name(sub) && !is_nothing(value));
            said.map(|(sub, value)| (root.with_sub(sub), value.clone())).collect()
        }
        _ if is_nothing(value) => Vec::new(),
        _ => vec![(root.clone(), value.clone())],
    }
}

/// Writes a leaf into a resource under construction.
pub fn put_leaf(resource: &mut serde_json::Map<String, Value>, path: &Path, value: Value) {
    let scope = match &path.schema {
        None => resource,
        Some(schema) => object_at(resource, schema),
    };
    match &path.sub {
        None => drop(scope.insert(path.attribute.to_string(), value)),
        Some(sub) => drop(object_at(scope, &path.attribute).insert(sub.to_string(), value)),
    }
}

/// Takes a leaf out of a resource, and what it leaves empty.
pub fn take_leaf(resource: &mut serde_json::Map<String, Value>, path: &Path) {
    let scope = match &path.schema {
        None => resource,
        Some(schema) => object_at(resource, schema),
    };
    if let Some(sub) = &path.sub {
        let whole = object_at(scope, &path.attribute);
        whole.remove(sub.as_str());
        if !whole.is_empty() {
            return;
        }
    }
    scope.remove(path.attribute.as_str());
}

fn object_at<'a>(
    map: &'a mut serde_json::Map<String, Value>,
    key: &str,
) -> &'a mut serde_json::Map<String, Value> {
    let spelled = map.keys().find(|k| k.eq_ignore_ascii_case(key)).cloned().unwrap_or_else(|| key.to_owned());
    let slot = map.entry(spelled).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(serde_json::Map::new());
    }
    match slot {
        Value::Object(inner) => inner,
        _ => unreachable!("it was just made an object"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fingerprint_ignores_order_and_what_is_no_value() {
        let a = json!([{"type": "work", "value": "a", "display": null}, {"type": "home", "value": "b"}]);
        let b = json!([{"value": "b", "type": "home"}, {"value": "a", "type": "work"}, {}]);
        assert_eq!(Fingerprint::of(&a), Fingerprint::of(&b));
        assert_ne!(Fingerprint::of(&a), Fingerprint::of(&json!([{"type": "work", "value": "a"}])));
    }

    #[test]
    fn observing_takes_over_what_matters_to_us() {
        let mut applied = Applied::default();
        let live = json!({"UserName": "x", "name": {"givenName": "g"}, "title": "t"});
        let paths = ["userName", "name.givenName", "nickName"].map(|p| p.parse().unwrap());
        applied.observe(&live, &BTreeSet::from(paths));
        assert_eq!(
            applied.leaves.keys().map(Path::to_string).collect::<Vec<_>>(),
            ["name.givenName", "userName"]
        );
    }

    #[test]
    fn a_leaf_goes_in_and_out_again() {
        let mut resource = serde_json::Map::new();
        let path: Path = format!("{}:manager.value", crate::core::path::ENTERPRISE).parse().unwrap();
        put_leaf(&mut resource, &path, json!("x"));
        assert_eq!(at(&Value::Object(resource.clone()), &path), Some(&json!("x")));
        take_leaf(&mut resource, &path);
        assert_eq!(at(&Value::Object(resource), &path), None);
    }
}
