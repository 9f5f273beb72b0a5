//! Canonical JSON and its SHA-256. serde_json keeps object keys sorted, so its compact text is canonical.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Room for the text of most events, so that it is not moved as it grows.
const TEXT_BYTES: usize = 2_048;

/// SHA-256 of an object's canonical JSON.
pub fn sha256(object: &Map<String, Value>) -> [u8; 32] {
    let mut text = Vec::with_capacity(TEXT_BYTES);
    serde_json::to_writer(&mut text, object).expect("JSON values always serialise, memory takes all");
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let parse = |text| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        assert_eq!(
            sha256(&parse(r#"{"a":1,"b":{"c":2,"d":3}}"#)),
            sha256(&parse(r#"{"b":{"d":3,"c":2},"a":1}"#))
        );
    }
}
