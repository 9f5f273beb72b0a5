//! The BulkResponse (RFC 7644 s3.7.3), and what the faults make of it.

use serde_json::{Map, Value, json};

use super::RESPONSE_URN;
use crate::sandbox::dice::Dice;
use crate::sandbox::error::Refusal;
use crate::sandbox::etag;
use crate::sandbox::faults::Faults;
use crate::sandbox::provider::Written;

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
    pub fn response(reports: &[Report], base: &str, faults: &Faults, dice: &mut Dice) -> Value {
        let mut results = Vec::with_capacity(reports.len());
        for report in reports {
            let result = report.result(base, faults);
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

    fn result(&self, base: &str, faults: &Faults) -> Value {
        let mut result = Map::new();
        result.insert("method".into(), self.method.as_str().into());
        if let (Some(bulk_id), "POST") = (&self.bulk_id, self.method.as_str()) {
            result.insert("bulkId".into(), bulk_id.as_str().into());
        }
        let location = self.location(if faults.relative_location { "" } else { base });
        result.extend(location.map(|it| ("location".to_owned(), it.into())));
        let status = match &self.outcome {
            Ok(written) => {
                let version = written.version.filter(|_| !faults.no_version);
                result.extend(version.map(|it| ("version".to_owned(), etag::of(it).into())));
                written.status
            }
            Err(refusal) => {
                result.insert("response".into(), refusal.body());
                refusal.status
            }
        };
        let status = if faults.integer_status { status.into() } else { status.to_string().into() };
        result.insert("status".into(), status);
        Value::Object(result)
    }

    /// Required but for a failed POST (RFC 7644 s3.7).
    fn location(&self, base: &str) -> Option<String> {
        match &self.outcome {
            Ok(written) => Some(format!("{base}/{}/{}", written.kind.endpoint(), written.id)),
            Err(_) if self.method == "POST" => None,
            Err(_) => Some(format!("{base}/{}", self.path.trim_start_matches('/'))),
        }
    }
}
