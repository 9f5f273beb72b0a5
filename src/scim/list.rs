//! A page of a query's answer (RFC 7644 s3.4.2).

use serde_json::Value;

use super::lenient;

/// One page: what it holds, and how much there is in all if the server says so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// `totalResults`.
    pub total: Option<u64>,
    /// `Resources`; absent when there is nothing (RFC 7644 s3.4.2).
    pub resources: Vec<Value>,
}

/// Reads a page. None when the answer is no list at all: then nothing may be concluded from it. A bare array is one.
pub fn page(answer: Value) -> Option<Page> {
    if let Value::Array(resources) = answer {
        return Some(Page { total: None, resources });
    }
    let total = lenient::get(&answer, "totalResults").and_then(lenient::whole);
    match lenient::get(&answer, "Resources") {
        Some(Value::Array(resources)) => Some(Page { total, resources: resources.clone() }),
        Some(_) => None,
        None => total.map(|_| Page { total, resources: Vec::new() }).or_else(|| empty(&answer)),
    }
}

/// A list response without any result and without a count, told by its schema.
fn empty(answer: &Value) -> Option<Page> {
    let schemas = lenient::get(answer, "schemas")?.as_array()?;
    let is_list = |schema: &Value| {
        schema.as_str().is_some_and(|urn| urn.to_ascii_lowercase().ends_with(":listresponse"))
    };
    schemas.iter().any(is_list).then(Page::default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pages_are_read_as_servers_write_them() {
        let urn = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
        for (answer, total, count) in [
            (json!({"totalResults": 7, "Resources": [{}, {}]}), Some(7), 2),
            (json!({"totalresults": "7", "resources": [{}]}), Some(7), 1),
            (json!({"totalResults": 0}), Some(0), 0),
            (json!({"totalResults": 0, "Resources": null}), Some(0), 0),
            (json!({"Resources": []}), None, 0),
            (json!({"schemas": [urn]}), None, 0),
            (json!([{}, {}, {}]), None, 3),
        ] {
            let page = page(answer.clone()).unwrap_or_else(|| panic!("{answer}"));
            assert_eq!((page.total, page.resources.len()), (total, count), "{answer}");
        }
    }

    #[test]
    fn what_is_no_list_says_nothing() {
        for answer in
            [json!({}), json!({"id": "1", "userName": "ana"}), json!("ok"), json!({"Resources": "none"})]
        {
            assert_eq!(page(answer.clone()), None, "{answer}");
        }
    }
}
