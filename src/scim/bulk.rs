//! Bulk requests and responses (RFC 7644 s3.7).

use std::io;

use serde::Serialize;
use serde_json::Value;

use super::correlate::Correlation;
use super::{error, lenient, percent, resource, retry_after};
use crate::core::dialect::{BulkKey, Dialect};
use crate::core::operation::{Method, Operation};
use crate::core::outcome::{Answer, Outcome, Unknown};
use crate::core::resource::ETag;

const PREFIX: &[u8] = br#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":["#;
const SUFFIX: &[u8] = b"]}";

/// Bytes of a request's body besides its operations and what separates them.
pub const ENVELOPE_LEN: usize = PREFIX.len() + SUFFIX.len();

/// Bytes between two operations.
pub const SEPARATOR_LEN: usize = 1;

/// One operation as it is sent. `failOnErrors` is never sent: the changes do not depend on each other.
#[derive(Serialize)]
struct Wire<'a> {
    method: &'static str,
    #[serde(rename = "bulkId")]
    bulk_id: &'a str,
    /// The dialect of servers that correlate by it; others refuse it.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

impl<'a> Wire<'a> {
    fn new(operation: &'a Operation, dialect: &Dialect) -> Self {
        Self {
            method: operation.method().name(),
            bulk_id: &operation.bulk_id,
            id: match dialect.bulk_key {
                BulkKey::BulkId => None,
                BulkKey::IdToo => Some(&operation.bulk_id),
            },
            version: operation.version().map(ETag::as_str),
            path: path(operation, dialect),
            data: operation.body(),
        }
    }
}

/// The path below the base URL, the id percent-encoded.
pub fn path(operation: &Operation, dialect: &Dialect) -> String {
    let segment = &dialect.of(operation.kind()).segment;
    match operation.id() {
        None => format!("/{segment}"),
        Some(id) => format!("/{segment}/{}", percent::encode(id.as_str())),
    }
}

/// The body of a bulk request, operations in this order.
pub fn encode(operations: &[Operation], dialect: &Dialect) -> Vec<u8> {
    let mut body = PREFIX.to_vec();
    for (index, operation) in operations.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write(operation, dialect, &mut body);
    }
    body.extend_from_slice(SUFFIX);
    body
}

/// The exact number of bytes that an operation takes in a bulk request's body, without envelope and separators.
pub fn encoded_len(operation: &Operation, dialect: &Dialect) -> usize {
    let mut counter = Counter(0);
    write(operation, dialect, &mut counter);
    counter.0
}

fn write(operation: &Operation, dialect: &Dialect, to: impl io::Write) {
    serde_json::to_writer(to, &Wire::new(operation, dialect))
        .expect("texts and JSON values always serialise, memory takes all");
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a bulk response into one outcome per operation sent, in their order. None when it is no bulk response at all.
///
/// An operation without a result is [`Unknown::Missing`]. Of two results for one operation that say the same the first
/// counts (a version in which they differ is forgotten); two that contradict each other leave it [`Unknown::Unreadable`],
/// as does a result without a status, a success that carries an error, and a successful create that does not say which id it
/// made: all of these lead to a lookup, which tells.
pub fn decode(sent: &[Operation], response: &Value) -> Option<Vec<Outcome>> {
    let results = lenient::get(response, "Operations")?.as_array()?;
    let mut outcomes: Vec<Option<Outcome>> = vec![None; sent.len()];
    for (result, index) in results.iter().zip(Correlation::new(sent).assign(results)) {
        let Some(index) = index else { continue };
        let outcome = outcome(&sent[index], result);
        outcomes[index] = Some(match outcomes[index].take() {
            None => outcome,
            Some(earlier) => reconcile(earlier, outcome),
        });
    }
    Some(outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Unknown(Unknown::Missing))).collect())
}

fn reconcile(first: Outcome, second: Outcome) -> Outcome {
    match (first, second) {
        (Outcome::Answered(first), Outcome::Answered(second))
            if first.status == second.status && first.id == second.id =>
        {
            let etag = if first.etag == second.etag { first.etag } else { None };
            Outcome::Answered(Answer { etag, ..first })
        }
        _ => Outcome::Unknown(Unknown::Unreadable),
    }
}

fn outcome(operation: &Operation, result: &Value) -> Outcome {
    let response = lenient::get(result, "response").filter(|response| response.is_object());
    let own = lenient::get(result, "status").and_then(lenient::status);
    let Some(status) = own.or_else(|| lenient::get(response?, "status").and_then(lenient::status)) else {
        return Outcome::Unknown(Unknown::Unreadable);
    };
    if !(200..300).contains(&status) {
        return Outcome::Answered(refused(status, result));
    }
    if response.is_some_and(error::is_error_message) {
        return Outcome::Unknown(Unknown::Unreadable);
    }
    let answer = done(status, result, response);
    match operation.method() {
        Method::Post if answer.id.is_none() => Outcome::Unknown(Unknown::Unreadable),
        Method::Post | Method::Put | Method::Patch | Method::Delete => Outcome::Answered(answer),
    }
}

fn done(status: u16, result: &Value, response: Option<&Value>) -> Answer {
    let location = lenient::text(result, "location").and_then(resource::locate);
    let version = lenient::text(result, "version").and_then(ETag::new);
    Answer {
        status,
        id: response.and_then(resource::id).or_else(|| location.map(|located| located.id)),
        etag: response.and_then(resource::version).or(version),
        resource: response.cloned(),
        ..Answer::default()
    }
}

/// A result that failed. That it stands in a bulk response shows that the SCIM service itself said so.
fn refused(status: u16, result: &Value) -> Answer {
    let error = error::from_value(result);
    let named = ["retryAfter", "Retry-After", "retry_after"].iter().find_map(|name| {
        let holder = lenient::get(result, "headers").unwrap_or(result);
        lenient::get(holder, name).and_then(lenient::whole)
    });
    let in_text = error.seconds.filter(|_| matches!(status, 429 | 503));
    Answer {
        status,
        scim_type: error.scim_type,
        detail: error.detail,
        scim_error: true,
        retry_after: named.or(in_text).map(retry_after::believable),
        ..Answer::default()
    }
}

#[cfg(test)]
#[path = "bulk_tests.rs"]
mod tests;
