//! The BulkResponse (RFC 7644 s3.7.3), and what the faults make of it.

use serde_json::{Map, Value, json};

use super::RESPONSE_URN;
use crate::sandbox::error::Refusal;
use crate::sandbox::faults::Faults;
use crate::sandbox::manners::{BulkKey, Manners};
use crate::sandbox::provider::{Provider, Written};

/// What became of one operation.
#[derive(Clone, Debug)]
pub struct Report {
    method: String,
    bulk_id: Option<String>,
    path: String,
    outcome: Result<Written, Refusal>,
}

impl Report {
    pub(super) fn new(
        method: String,
        bulk_id: Option<String>,
        path: String,
        outcome: Result<Written, Refusal>,
    ) -> Self {
        Self { method, bulk_id, path, outcome }
    }

    /// The whole answer.
    pub fn response(reports: &[Report], base: &str, provider: &mut Provider) -> Value {
        let Provider { faults, dice, manners, .. } = provider;
        let mut results = Vec::with_capacity(reports.len());
        for report in reports {
            let result = report.result(base, faults, manners);
            if dice.hits(faults.rate_result_missing) {
                continue;
            }
            if dice.hits(faults.rate_result_duplicated) {
                results.push(result.clone());
            }
            results.push(result);
        }
        if dice.hits(faults.rate_results_reordered) {
            dice.shuffle(&mut results);
        }
        json!({"schemas": [RESPONSE_URN], "Operations": results})
    }

    fn result(&self, base: &str, faults: &Faults, manners: &Manners) -> Value {
        let mut result = Map::new();
        result.insert("method".into(), self.method.as_str().into());
        match (&self.bulk_id, manners.bulk_key()) {
            (key, BulkKey::Id) => {
                result.extend(key.as_ref().map(|id| ("id".to_owned(), id.as_str().into())));
                result.insert("path".into(), self.path.as_str().into());
            }
            (Some(bulk_id), BulkKey::BulkId | BulkKey::Either) if self.method == "POST" => {
                result.insert("bulkId".into(), bulk_id.as_str().into());
            }
            (Some(_) | None, BulkKey::BulkId | BulkKey::Either) => {}
        }
        let location = self.location(if faults.relative_location { "" } else { base }, manners);
        result.extend(location.map(|it| ("location".to_owned(), it.into())));
        let status = match &self.outcome {
            Ok(written) => {
                let version = written.version.filter(|_| !faults.no_version);
                result.extend(version.map(|it| ("version".to_owned(), manners.etag_form().of(it).into())));
                written.status
            }
            Err(refusal) => {
                manners.add_error(&mut result, refusal);
                refusal.status
            }
        };
        let status = if faults.integer_status { status.into() } else { status.to_string().into() };
        result.insert("status".into(), status);
        Value::Object(result)
    }

    /// Required but for a failed POST (RFC 7644 s3.7).
    fn location(&self, base: &str, manners: &Manners) -> Option<String> {
        match &self.outcome {
            Ok(written) => Some(format!("{base}/{}/{}", manners.segment(written.kind), written.id)),
            Err(_) if self.method == "POST" => None,
            Err(_) => Some(format!("{base}/{}", self.path.trim_start_matches('/'))),
        }
    }
}
