//! References to resources of the same request (RFC 7644 s3.7.2): `"bulkId:x"` anywhere in the data.

use std::collections::HashMap;

use serde_json::Value;

use crate::sandbox::members::Id;

const PREFIX: &str = "bulkId:";

/// The bulkIds that `data` refers to.
pub fn references(data: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(data, &mut found);
    found
}

fn collect(data: &Value, found: &mut Vec<String>) {
    match data {
        Value::String(text) => found.extend(text.strip_prefix(PREFIX).map(str::to_owned)),
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, found)),
        Value::Object(map) => map.values().for_each(|value| collect(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Puts identifiers in place of the references.
///
/// # Errors
/// The first bulkId that has none.
pub fn resolve(data: &mut Value, ids: &HashMap<String, Id>) -> Result<(), String> {
    match data {
        Value::String(text) => {
            if let Some(bulk_id) = text.strip_prefix(PREFIX) {
                let id = ids.get(bulk_id).ok_or_else(|| bulk_id.to_owned())?;
                *text = id.to_string();
            }
            Ok(())
        }
        Value::Array(elements) => elements.iter_mut().try_for_each(|element| resolve(element, ids)),
        Value::Object(map) => map.values_mut().try_for_each(|value| resolve(value, ids)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}
