//! The example and the JSON Schema of the configuration, made from the table of keys.

use serde_json::{Map, Value, json};

use super::keys::{KEYS, Key, Kind};
use super::value::{MAX_DELAYS, MOST_RESOURCES};

/// A commented configuration with every key and its default.
pub fn example() -> String {
    let required: Vec<&str> = KEYS.iter().filter(|key| key.required).map(|key| key.path).collect();
    let mut text = format!(
        "# scim-relay: every key with its default, and with a # in front where it has none. Required: {}.\n",
        required.join(", ")
    );
    let mut section = "";
    for key in KEYS {
        let (of, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if of != section {
            text.push_str(&format!("\n[{of}]\n"));
            section = of;
        }
        let (mark, value) = match (key.required, key.default) {
            (true, _) => ("", sample(key)),
            (false, Some(default)) => ("", default.to_owned()),
            (false, None) => ("# ", sample(key)),
        };
        text.push_str(&format!("# {}\n{mark}{name} = {value}\n", key.doc));
    }
    text
}

fn sample(key: &Key) -> String {
    match (key.path, key.kind) {
        ("target.name", _) => r#""sandbox""#.into(),
        ("target.base_url", _) => r#""http://127.0.0.1:8080/scim/v2""#.into(),
        (_, Kind::Url(_)) => r#""https://login.example.com/oauth/token""#.into(),
        (_, Kind::Secret) => r#"{ env = "NAME" }"#.into(),
        (_, Kind::Texts) => "[]".into(),
        (_, Kind::Int(least, _)) => least.to_string(),
        ("limits.operations", _) => r#""200/s""#.into(),
        (_, Kind::Rate) => r#""50/s""#.into(),
        (_, Kind::File) => r#""/path/to/file.pem""#.into(),
        _ => r#""…""#.into(),
    }
}

/// JSON Schema (2020-12) of the configuration.
pub fn schema() -> Value {
    let mut root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "scim-relay configuration",
        "type": "object",
        "additionalProperties": false,
        "properties": {},
    });
    for key in KEYS {
        insert(&mut root, &key.path.split('.').collect::<Vec<_>>(), key);
    }
    root
}

fn insert(node: &mut Value, path: &[&str], key: &Key) {
    let [first, rest @ ..] = path else { return };
    if key.required {
        let required = node["required"].as_array().cloned().unwrap_or_default();
        let named = required.iter().any(|name| name == first);
        let new = (!named).then(|| Value::from(*first));
        node["required"] = required.into_iter().chain(new).collect();
    }
    if rest.is_empty() {
        node["properties"][*first] = property(key);
        return;
    }
    if node["properties"].get(*first).is_none() {
        node["properties"][*first] =
            json!({ "type": "object", "additionalProperties": false, "properties": {} });
    }
    insert(&mut node["properties"][*first], rest, key);
}

fn property(key: &Key) -> Value {
    let mut property = match key.kind {
        Kind::Text | Kind::File | Kind::Profile => json!({ "type": "string", "minLength": 1 }),
        Kind::Name => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,40}$" }),
        Kind::Url(schemes) => json!({ "type": "string", "pattern": format!("^({})://", schemes.join("|")) }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Int(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Bytes(least) => json!({ "oneOf": [
            { "type": "integer", "minimum": least },
            { "type": "string", "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB|TiB|kB|MB|GB)?$" },
        ]}),
        Kind::Duration(..) => json!({ "type": "string", "pattern": SPAN }),
        Kind::Delays => {
            json!({ "type": "array", "minItems": 1, "maxItems": MAX_DELAYS, "items": { "type": "string", "pattern": SPAN } })
        }
        Kind::Texts => {
            json!({ "type": "array", "items": { "type": "string", "minLength": 1, "maxLength": 255 } })
        }
        Kind::Choice(choices) => json!({ "enum": choices }),
        Kind::Guard => guard(),
        Kind::Winners => json!({ "type": "object",
            "additionalProperties": { "enum": ["source-wins", "target-wins"] } }),
        Kind::Rate => json!({ "type": "string", "pattern": "^(0|([1-9][0-9]{0,4}|100000)/[smh])$" }),
        Kind::Secret => json!({ "type": "object", "minProperties": 1, "maxProperties": 1,
            "additionalProperties": false,
            "properties": { "env": { "type": "string" }, "file": { "type": "string" } } }),
    };
    if let Value::Object(map) = &mut property {
        map.insert("description".into(), key.doc.into());
        map.extend(default(key));
    }
    property
}

fn guard() -> Value {
    let resources = json!({ "type": "integer", "minimum": 0, "maximum": MOST_RESOURCES });
    json!({ "oneOf": [
        { "const": false },
        { "type": "object", "additionalProperties": false, "properties": {
            "max_per_hour": resources,
            "max_per_day": resources,
            "max_percent": { "type": "integer", "minimum": 0, "maximum": 100 },
            "min_resources": resources,
        } },
    ]})
}

/// A time span as people write it.
const SPAN: &str = "^([0-9]+ ?[a-zA-Z]+ ?)+$";

fn default(key: &Key) -> Map<String, Value> {
    let document: Option<toml::Table> = key.default.and_then(|text| format!("x = {text}").parse().ok());
    let value = document.and_then(|document| serde_json::to_value(&document["x"]).ok());
    value.map(|value| ("default".to_owned(), value)).into_iter().collect()
}
