//! `schemas/sandbox-faults.json`, what `PUT /_sandbox/faults` takes.

use std::fs;
use std::path::Path;

use scim_relay::sandbox::Faults;
use serde_json::{Value, json};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/sandbox-faults.json");

/// Set to rewrite what is committed.
const UPDATE: &str = "UPDATE_SCHEMAS";

fn committed() -> Value {
    let text = fs::read_to_string(COMMITTED).unwrap_or_else(|error| panic!("{COMMITTED}: {error}"));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_committed_schema_is_that_of_the_code() {
    let generated = Faults::json_schema();
    if std::env::var_os(UPDATE).is_some() {
        fs::create_dir_all(Path::new(COMMITTED).parent().unwrap()).unwrap();
        fs::write(COMMITTED, format!("{generated:#}\n")).unwrap();
    }
    assert!(
        fs::read_to_string(COMMITTED).is_ok_and(|text| text == format!("{generated:#}\n")),
        "schemas/sandbox-faults.json is not what the code says; rewrite it with `{UPDATE}=1 make test FILTER=sandbox_schema`"
    );
}

#[test]
fn the_schema_and_the_sandbox_accept_the_same() {
    let schema = jsonschema::validator_for(&committed()).unwrap();
    for (document, accepted) in [
        (json!({}), true),
        (json!(Faults::default()), true),
        (
            json!({"rate_500": 0.25, "retry_after_form": "http-date", "scope": "bulk", "poison": "x", "page_size": 5}),
            true,
        ),
        (json!({"rate_500": 1.1}), false),
        (json!({"rate_500": "1"}), false),
        (json!({"rate_5OO": 1}), false),
        (json!({"retry_after_form": "later"}), false),
        (json!({"poison_status": 200}), false),
        (json!({"page_size": -1}), false),
        (json!({"bulk": 1}), false),
        (json!([]), false),
    ] {
        assert_eq!(schema.is_valid(&document), accepted, "schema: {document}");
        assert_eq!(Faults::from_json(document.clone()).is_ok(), accepted, "sandbox: {document}");
    }
}

#[test]
fn every_fault_is_described() {
    let properties = committed()["properties"].clone();
    for key in json!(Faults::default()).as_object().unwrap().keys() {
        assert!(properties[key]["description"].is_string(), "{key}: {}", properties[key]);
    }
}
