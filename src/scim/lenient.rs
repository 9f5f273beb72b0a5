//! Reading JSON the way servers write it: names in any case (RFC 7643 s2.1), numbers and booleans as strings.

use serde_json::Value;

/// Parses a body. A byte order mark is skipped; anything that is not JSON is none.
pub fn parse(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(body).ok()
}

/// A member of an object, its name compared without regard to ASCII case; the exact name wins. `null` is none.
pub fn get<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    let exact = object.get(name);
    let any_case = || object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    exact.or_else(any_case).filter(|value| !value.is_null())
}

/// A member that is a text with something in it.
pub fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    get(value, name)?.as_str().filter(|text| !text.trim().is_empty())
}

/// A whole number that is not negative: `5`, `5.0`, `"5"`.
pub fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| whole_float(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn whole_float(number: f64) -> Option<u64> {
    // up to 2^53 every whole number has a float of its own
    (number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number)).then_some(number as u64)
}

/// A truth value: `true`, `"True"`, `1`, `"yes"`.
pub fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => number.as_u64().map(|n| n != 0),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Some(true),
            "false" | "0" | "no" => Some(false),
            _ => None,
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// An HTTP status: `201`, `"201"`, `"201 Created"`, `{"code": "201"}`.
pub fn status(value: &Value) -> Option<u16> {
    let in_range = |n: u64| u16::try_from(n).ok().filter(|status| (100..=599).contains(status));
    match value {
        Value::Number(_) => whole(value).and_then(in_range),
        Value::String(text) => text.split_whitespace().find_map(|word| word.parse().ok().and_then(in_range)),
        Value::Object(_) => ["code", "status", "value"].iter().find_map(|name| status(get(value, name)?)),
        Value::Null | Value::Bool(_) | Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_found_in_any_case_and_the_exact_one_wins() {
        let value = json!({"Operations": 1, "operations": 2, "nothing": null});
        assert_eq!(get(&value, "operations"), Some(&json!(2)));
        assert_eq!(get(&value, "OPERATIONS"), Some(&json!(1)));
        assert_eq!(get(&value, "nothing"), None);
        assert_eq!(get(&json!([1]), "0"), None);
    }

    #[test]
    fn numbers_come_as_numbers_and_as_texts() {
        for (value, number) in [
            (json!(5), Some(5)),
            (json!(5.0), Some(5)),
            (json!(" 5 "), Some(5)),
            (json!(-5), None),
            (json!(5.5), None),
            (json!(1e300), None),
            (json!("many"), None),
            (json!(true), None),
        ] {
            assert_eq!(whole(&value), number, "{value}");
        }
    }

    #[test]
    fn booleans_come_as_booleans_texts_and_numbers() {
        for (value, truth) in [
            (json!(true), Some(true)),
            (json!("True"), Some(true)),
            (json!("false"), Some(false)),
            (json!(0), Some(false)),
            (json!("perhaps"), None),
            (json!({}), None),
        ] {
            assert_eq!(flag(&value), truth, "{value}");
        }
    }

    #[test]
    fn a_status_has_four_shapes() {
        for (value, code) in [
            (json!(201), Some(201)),
            (json!("201"), Some(201)),
            (json!("201 Created"), Some(201)),
            (json!("HTTP/1.1 404 Not Found"), Some(404)),
            (json!({"code": "412", "description": "stale"}), Some(412)),
            (json!({"code": 412}), Some(412)),
            (json!(0), None),
            (json!(2010), None),
            (json!("created"), None),
            (json!(null), None),
        ] {
            assert_eq!(status(&value), code, "{value}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_nesting_is_bounded() {
        assert_eq!(parse(b"\xef\xbb\xbf{}"), Some(json!({})));
        assert_eq!(parse(b"<html>"), None);
        assert_eq!(parse(b""), None);
        assert_eq!(parse("[".repeat(100_000).as_bytes()), None);
    }
}
