//! What is kept about each write that was settled, in the stream `outcomes`: no values, only which, when and how.

use serde::{Deserialize, Serialize};

use super::operation::Operation;
use super::plan::{Purpose, Sent};
use super::resource::ResourceKey;
use super::schedule::Millis;

/// One settled write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    /// Whose, as `User/e-1`.
    pub resource: String,
    /// When it was acknowledged.
    pub at: Millis,
    /// What it was for.
    pub purpose: Purpose,
    /// Method and path.
    pub operation: String,
    /// The status of the answer.
    pub status: u16,
    /// The events that were pending, the first ones.
    pub event_ids: Vec<String>,
    /// The attributes that it wrote or removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// How many members came and went.
    #[serde(default, skip_serializing_if = "is_none")]
    pub members: usize,
}

fn is_none(members: &usize) -> bool {
    *members == 0
}

/// Most paths in one of them.
pub(super) const MAX_PATHS: usize = 50;

impl Settled {
    /// Of this operation.
    pub fn new(
        operation: &Operation,
        path: &str,
        sent: &Sent,
        status: u16,
        event_ids: &[String],
        at: Millis,
    ) -> Self {
        let paths = sent.set.keys().chain(&sent.removed).map(ToString::to_string);
        Self {
            resource: operation.key.to_string(),
            at,
            purpose: sent.purpose,
            operation: format!("{} {path}", operation.method()),
            status,
            event_ids: event_ids.to_vec(),
            paths: paths.take(MAX_PATHS).collect(),
            members: sent.added.len() + sent.dropped.len(),
        }
    }

    /// The resource.
    pub fn key(&self) -> Option<ResourceKey> {
        self.resource.parse().ok()
    }

    /// True if it took a place in the windows of the guard.
    pub fn deprovisions(&self) -> bool {
        matches!(self.purpose, Purpose::Deactivate | Purpose::Delete)
    }
}
