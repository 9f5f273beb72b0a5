//! Events as publishers write them.

use serde_json::{Value, json};

/// An event of a source that counts: `directory.<kind>`.
pub fn event(sequence: usize, kind: &str, subject: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": format!("e{sequence}"), "source": "/hr", "type": format!("directory.{kind}"),
        "subject": subject, "sequence": sequence.to_string(), "data": data,
    })
}
