//! A SCIM service provider.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::operation::Operation;
use crate::core::outcome::{Answer, Outcome, Reply};
use crate::core::resource::{ResourceType, TargetId};

/// What a target can do, read tolerantly from ServiceProviderConfig (RFC 7643 s5) and overridden by configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Bulk, with its limits (0: none named).
    pub bulk: Option<BulkLimits>,
    /// PATCH.
    pub patch: bool,
    /// ETags mean something.
    pub etag: bool,
    /// Filters, with the greatest number of results (0: none named).
    pub filter: Option<u64>,
}

/// Limits of a bulk request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkLimits {
    /// `maxOperations`.
    pub max_operations: usize,
    /// `maxPayloadSize`, in bytes of the encoded body.
    pub max_bytes: usize,
}

/// How a batch goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One POST to /Bulk.
    Bulk,
    /// One request per operation.
    Single,
}

/// Asks for the resources that match one of these: `externalId`, then the matching attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// `externalId`, `userName`, `displayName`, `emails.value`: a filterable attribute path.
    pub attribute: &'static str,
    /// The value, compared with `eq`.
    pub value: String,
}

/// What a request that reads came to.
#[derive(Debug)]
pub enum Failure {
    /// The target answered with something else than success.
    Answered(Answer),
    /// No usable answer.
    Broken(Outcome),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Answered(answer) => write!(f, "the target answered {}", answer.status),
            Failure::Broken(outcome) => write!(f, "{outcome}"),
        }
    }
}

/// A SCIM service provider.
pub trait Target: Send + Sync + 'static {
    /// GET ServiceProviderConfig.
    fn discover(&self) -> impl Future<Output = Result<Capabilities, Failure>> + Send;

    /// Sends operations. `deadline`: how long the claims on them hold; checked right before every send, resends included.
    /// With [`Transport::Bulk`] they are one request, in this order; with `Single` one after the other.
    fn send(
        &self,
        operations: &[Operation],
        transport: Transport,
        deadline: tokio::time::Instant,
    ) -> impl Future<Output = Reply> + Send;

    /// Resources that match any of the queries: one filter with `or`, paged to the end. The answer is what the server
    /// sent, whether it fits or not (filters can't be trusted).
    fn find(
        &self,
        kind: ResourceType,
        queries: &[Query],
    ) -> impl Future<Output = Result<Vec<Value>, Failure>> + Send;

    /// GET of one resource. Its ETag is in the answer.
    fn read(&self, kind: ResourceType, id: &TargetId)
    -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// How long it is until a request may be sent, as far as that is known; nothing is reserved.
    fn free_in(&self) -> impl Future<Output = Option<Duration>> + Send {
        std::future::ready(None)
    }

    /// How many resources of a type there are (`totalResults`); none when the target does not say.
    fn count(&self, kind: ResourceType) -> impl Future<Output = Result<Option<u64>, Failure>> + Send;
}
