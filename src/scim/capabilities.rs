//! ServiceProviderConfig (RFC 7643 s5), read tolerantly: one malformed feature must not hide the others.

use serde_json::Value;

use super::lenient;

/// What a service provider says it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// Bulk (RFC 7644 s3.7). Off unless it says so.
    pub bulk: Option<BulkAdvertised>,
    /// PATCH. On unless it says otherwise: a target without it answers 405 or 501, which switches it off.
    pub patch: bool,
    /// ETags. Off unless it says so: web frameworks send ETags that mean nothing.
    pub etag: bool,
    /// Filters, with `maxResults` (0: none named). On unless it says otherwise.
    pub filter: Option<u64>,
}

/// The limits of a bulk request; 0 where none is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkAdvertised {
    /// `maxOperations`.
    pub max_operations: u64,
    /// `maxPayloadSize`, in bytes.
    pub max_bytes: u64,
}

impl Default for Advertised {
    /// For a target without a ServiceProviderConfig.
    fn default() -> Self {
        Self { bulk: None, patch: true, etag: false, filter: Some(0) }
    }
}

/// Reads the document. None when it names not one feature: then it is something else. A list holding it is fine.
pub fn read(document: &Value) -> Option<Advertised> {
    let first = lenient::get(document, "Resources").and_then(|list| list.get(0));
    let document = first.unwrap_or(document);
    let features = ["bulk", "patch", "etag", "filter", "sort", "changePassword", "authenticationSchemes"];
    features.iter().any(|name| lenient::get(document, name).is_some()).then(|| Advertised {
        bulk: supported(document, "bulk", false).then(|| bulk(document)),
        patch: supported(document, "patch", true),
        etag: supported(document, "etag", false),
        filter: supported(document, "filter", true).then(|| number(document, "filter", "maxResults")),
    })
}

fn bulk(document: &Value) -> BulkAdvertised {
    BulkAdvertised {
        max_operations: number(document, "bulk", "maxOperations"),
        max_bytes: number(document, "bulk", "maxPayloadSize"),
    }
}

/// `{"supported": true}`, or the truth value itself in the feature's place.
fn supported(document: &Value, feature: &str, default: bool) -> bool {
    let Some(feature) = lenient::get(document, feature) else { return default };
    let said = lenient::get(feature, "supported").unwrap_or(feature);
    lenient::flag(said).unwrap_or(default)
}

fn number(document: &Value, feature: &str, name: &str) -> u64 {
    let value = lenient::get(document, feature).and_then(|feature| lenient::get(feature, name));
    value.and_then(lenient::whole).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn limits(max_operations: u64, max_bytes: u64) -> Option<BulkAdvertised> {
        Some(BulkAdvertised { max_operations, max_bytes })
    }

    #[test]
    fn a_document_by_the_book_is_read() {
        let document = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
            "patch": {"supported": true},
            "bulk": {"supported": true, "maxOperations": 1000, "maxPayloadSize": 1048576},
            "filter": {"supported": true, "maxResults": 200},
            "etag": {"supported": true},
        });
        let expected =
            Advertised { bulk: limits(1000, 1_048_576), patch: true, etag: true, filter: Some(200) };
        assert_eq!(read(&document), Some(expected));
    }

    #[test]
    fn oddities_cost_only_the_feature_they_are_in() {
        let safe = Advertised::default();
        for (document, expected) in [
            (json!({"bulk": {"supported": false}}), safe),
            (json!({"bulk": {"supported": true}}), Advertised { bulk: limits(0, 0), ..safe }),
            (
                json!({"BULK": {"Supported": "True", "MaxOperations": "5", "maxpayloadsize": "4096"}}),
                Advertised { bulk: limits(5, 4096), ..safe },
            ),
            (
                json!({"bulk": true, "patch": "false"}),
                Advertised { bulk: limits(0, 0), patch: false, ..safe },
            ),
            (json!({"bulk": {"maxOperations": 0, "maxPayloadSize": 0}, "patch": {}}), safe),
            (json!({"bulk": "perhaps", "etag": null, "filter": {"supported": true, "maxResults": -1}}), safe),
            (json!({"filter": {"supported": false, "maxResults": 0}}), Advertised { filter: None, ..safe }),
            (json!({"etag": {"supported": 1}}), Advertised { etag: true, ..safe }),
            (json!({"authenticationSchemes": []}), safe),
            (json!({"Resources": [{"etag": {"supported": true}}]}), Advertised { etag: true, ..safe }),
        ] {
            assert_eq!(read(&document), Some(expected), "{document}");
        }
    }

    #[test]
    fn what_names_no_feature_is_no_config() {
        for document in
            [json!({}), json!([]), json!("ok"), json!({"message": "welcome"}), json!({"Resources": []})]
        {
            assert_eq!(read(&document), None, "{document}");
        }
    }
}
