//! SCIM errors (RFC 7644 s3.12) in the shapes that servers send them.

use serde_json::Value;

use super::{lenient, retry_after};

/// How deep wrapped errors are followed.
const MAX_WRAPS: u32 = 3;

/// Longest text that is kept of an error, in bytes.
const MAX_TEXT: usize = 4096;

/// What an error's body says. All empty when it is no SCIM error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScimError {
    /// The status that the body names.
    pub status: Option<u16>,
    /// `scimType`, as sent; unknown ones are kept.
    pub scim_type: Option<String>,
    /// `detail`, or what stands in its place.
    pub detail: Option<String>,
    /// Whether the body has one of the known shapes: then the SCIM service itself answered, not a proxy before it.
    pub scim_error: bool,
    /// A wait that the text names, in seconds.
    pub seconds: Option<u64>,
}

/// Reads a body. Total: HTML, an empty body or somebody else's JSON are simply no SCIM error.
pub fn parse(body: &[u8]) -> ScimError {
    match lenient::parse(body) {
        Some(value) => from_value(&value),
        None => ScimError::default(),
    }
}

/// Reads an error out of JSON.
pub fn from_value(value: &Value) -> ScimError {
    unwrap(value, MAX_WRAPS)
}

fn unwrap(value: &Value, wraps_left: u32) -> ScimError {
    let inner = if wraps_left == 0 { None } else { wrapped(value) };
    let inner = inner.map(|inner| unwrap(&inner, wraps_left - 1)).unwrap_or_default();
    let own = flat(value);
    ScimError {
        status: own.status.or(inner.status),
        scim_type: inner.scim_type.or(own.scim_type),
        seconds: inner.seconds.or(own.seconds),
        detail: inner.detail.or(own.detail),
        scim_error: inner.scim_error || own.scim_error,
    }
}

/// `{"status", "response": {…}}`, `{"errors": [{…}]}`, and JSON inside the text of `message`.
fn wrapped(value: &Value) -> Option<Value> {
    let response = lenient::get(value, "response").filter(|inner| inner.is_object());
    let first =
        || lenient::get(value, "errors").and_then(|list| list.get(0)).filter(|inner| inner.is_object());
    let in_text = || {
        let text = lenient::text(value, "message")?;
        lenient::parse(text.as_bytes()).filter(Value::is_object)
    };
    response.or_else(first).cloned().or_else(in_text)
}

fn flat(value: &Value) -> ScimError {
    let number = |name: &str| lenient::get(value, name).and_then(lenient::status);
    let detail = ["detail", "message", "description"].iter().find_map(|name| lenient::text(value, name));
    let scim_type = lenient::text(value, "scimType");
    let status = number("status").or_else(|| number("code"));
    // `{"timestamp", "status", "error", "path"}` and `{"message"}` are what frameworks and gateways answer: not these
    let known = is_error_message(value)
        || scim_type.is_some()
        || (status.is_some() && lenient::text(value, "detail").is_some())
        || (number("code").is_some() && detail.is_some());
    ScimError {
        status,
        scim_type: scim_type.map(shortened),
        detail: detail.map(shortened),
        scim_error: known,
        seconds: detail.and_then(retry_after::seconds_in),
    }
}

fn shortened(text: &str) -> String {
    let end = (0..=text.len().min(MAX_TEXT)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text[..end].to_owned()
}

/// Whether `schemas` (or `schema`, as AWS also sends) names the Error message.
pub fn is_error_message(value: &Value) -> bool {
    let is_error = |urn: &Value| {
        let urn = urn.as_str().unwrap_or_default().to_ascii_lowercase();
        urn.starts_with("urn:") && urn.ends_with(":error")
    };
    let names = |name: &str| match lenient::get(value, name) {
        Some(Value::Array(urns)) => urns.iter().any(is_error),
        Some(urn) => is_error(urn),
        None => false,
    };
    names("schemas") || names("schema")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const URN: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

    fn error(status: u16, scim_type: &str, detail: &str) -> ScimError {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let status = (status != 0).then_some(status);
        ScimError {
            status,
            scim_type: some(scim_type),
            detail: some(detail),
            scim_error: true,
            seconds: None,
        }
    }

    #[test]
    fn errors_are_understood_in_all_shapes_met_in_the_wild() {
        let inner = json!({"schemas": [URN], "status": "409", "scimType": "uniqueness", "detail": "taken"});
        for (body, expected) in [
            (inner.clone(), error(409, "uniqueness", "taken")),
            (json!({"schemas": [URN], "status": 409}), error(409, "", "")),
            (json!({"Schemas": [URN.to_uppercase()], "Detail": "no"}), error(0, "", "no")),
            (json!({"schema": URN, "status": "400", "detail": "no"}), error(400, "", "no")),
            (json!({"status": "409", "response": inner.clone()}), error(409, "uniqueness", "taken")),
            (json!({"code": 400, "message": "Invalid"}), error(400, "", "Invalid")),
            (
                json!({"code": 409, "label": "x", "message": inner.to_string()}),
                error(409, "uniqueness", "taken"),
            ),
            (json!({"status": {"code": 400}, "detail": "no"}), error(400, "", "no")),
            (
                json!({"Errors": [{"description": "no such user", "code": "404"}]}),
                error(404, "", "no such user"),
            ),
            (json!({"status": 400, "errors": [{"detail": "bad", "status": 400}]}), error(400, "", "bad")),
            (json!({"scimType": "somethingNew"}), error(0, "somethingNew", "")),
        ] {
            assert_eq!(parse(body.to_string().as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn what_a_proxy_or_framework_says_is_no_scim_error() {
        for body in [
            "",
            "<html><body>502 Bad Gateway</body></html>",
            "null",
            "[]",
            "\"error\"",
            r#"{"message":"Forbidden"}"#,
            r#"{"timestamp":1,"status":404,"error":"Not Found","path":"/scim/v2/Users"}"#,
            r#"{"response":"no"}"#,
            "{\"detail\":",
        ] {
            assert!(!parse(body.as_bytes()).scim_error, "{body}");
        }
    }

    #[test]
    fn a_wait_named_in_the_text_is_found() {
        let body = json!({"code": 429, "message": "Rate limit exceeded. Retry the request in [12] seconds"});
        assert_eq!(from_value(&body).seconds, Some(12));
    }

    #[test]
    fn of_a_long_text_only_the_beginning_is_kept() {
        let detail = from_value(&json!({"status": 400, "detail": "ü".repeat(1 << 20)})).detail.unwrap();
        assert!((MAX_TEXT - 1..=MAX_TEXT).contains(&detail.len()));
    }

    #[test]
    fn wrapping_is_followed_only_so_deep() {
        let mut body = json!({"scimType": "mutability"});
        for _ in 0..10 {
            body = json!({"response": body});
        }
        assert_eq!(from_value(&body).scim_type, None);
    }
}
