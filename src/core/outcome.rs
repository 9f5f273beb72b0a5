//! Outcomes: what the target said about one operation, or about a request as a whole.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::resource::{ETag, TargetId};

/// An answer with a status: to a single request, or one result inside a bulk response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// `scimType` of the error (RFC 7644 s3.12), as sent; unknown ones are kept.
    pub scim_type: Option<String>,
    /// The error's `detail`; may hold personal data: for letters it is shortened and redacted, it is never logged.
    pub detail: Option<String>,
    /// True when the body of a non-2xx answer was a SCIM error (or, in a bulk result, one of its known shapes).
    pub scim_error: bool,
    /// The resource's id: from the body, else the last segment of `location`.
    pub id: Option<TargetId>,
    /// The new version: `meta.version`, else the `ETag` header, else the bulk result's `version`.
    pub etag: Option<ETag>,
    /// The resource as returned, if it was.
    pub resource: Option<Value>,
    /// `Retry-After` (both forms), or the seconds named in the body.
    pub retry_after: Option<Duration>,
}

/// Why nobody knows whether an operation was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unknown {
    /// No answer in time.
    Timeout,
    /// The connection broke after the request began to be sent.
    Dropped,
    /// A 2xx whose body is not JSON, is cut off, or is too long.
    Unreadable,
    /// The bulk response has no result for this operation.
    Missing,
}

/// Why a request was certainly not processed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NotSent {
    /// Connection refused, host unreachable, DNS failure.
    Connect(String),
    /// TLS failed: certificate, protocol.
    Tls(String),
    /// No token could be had.
    Token(String),
    /// The claim's deadline had passed before it could be sent (D5).
    Deadline,
    /// No place in the budget could be had (D12).
    Budget(String),
}

/// What came of one operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The target answered.
    Answered(Answer),
    /// Perhaps applied.
    Unknown(Unknown),
    /// Certainly not applied.
    NotSent(NotSent),
}

/// In one line, without attribute values.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Answered(answer) => write!(f, "status {}", answer.status),
            Outcome::Unknown(Unknown::Timeout) => f.write_str("no answer in time"),
            Outcome::Unknown(Unknown::Dropped) => f.write_str("the connection broke"),
            Outcome::Unknown(Unknown::Unreadable) => f.write_str("the answer was unreadable"),
            Outcome::Unknown(Unknown::Missing) => f.write_str("the bulk response has no result for it"),
            Outcome::NotSent(NotSent::Connect(why) | NotSent::Tls(why) | NotSent::Token(why)) => {
                f.write_str(why)
            }
            Outcome::NotSent(NotSent::Deadline) => f.write_str("the claim's deadline had passed"),
            Outcome::NotSent(NotSent::Budget(why)) => write!(f, "no place in the budget: {why}"),
        }
    }
}

/// What came of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// One outcome per operation, in the order of the batch. Single requests always end here.
    Each(Vec<Outcome>),
    /// The bulk request failed as a whole.
    Whole(Outcome),
}
