//! A change: an event's normalised meaning for one resource, as registers that merge.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::path::Path;
use super::resource::{ResourceKey, ResourceType};
use super::revision::Revision;
use super::schedule::Millis;

/// What was said last about one attribute path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// Which path. The whole `members` without a value is the floor of the member ledger.
    pub path: Path,
    /// The value, shared with the record that it is merged into; none removes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Arc<Value>>,
    /// When in the source's order.
    pub revision: Revision,
}

impl Register {
    /// What is said of a path; no value removes.
    pub fn new(path: Path, value: Option<Value>, revision: Revision) -> Self {
        Self { path, value: value.map(Arc::new), revision }
    }
}

/// What was said last about one member of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberRegister {
    /// The member, in the source's terms.
    pub value: String,
    /// What it is: a user, or a group in the group.
    #[serde(rename = "type", default = "user", skip_serializing_if = "is_user")]
    pub kind: ResourceType,
    /// In or out.
    pub present: bool,
    /// When in the source's order.
    pub revision: Revision,
}

const fn user() -> ResourceType {
    ResourceType::User
}

fn is_user(kind: &ResourceType) -> bool {
    *kind == ResourceType::User
}

/// The floors: a whole `put` hides what is older, and so does a `delete`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// The latest `put`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put: Option<Revision>,
    /// The latest `delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Revision>,
}

impl Lifecycle {
    /// True when nothing is said.
    pub fn is_empty(&self) -> bool {
        self.put.is_none() && self.deleted.is_none()
    }
}

/// Registers to merge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// Attribute paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Register>,
    /// Members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberRegister>,
    /// Floors.
    #[serde(default, skip_serializing_if = "Lifecycle::is_empty")]
    pub lifecycle: Lifecycle,
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A publisher's event.
    Publisher,
    /// An intent that comes back from the ladder.
    Retry,
    /// An operator's replay: lifts the mark of dead registers.
    Replay,
    /// An old pending change, written to the journal again.
    Append,
    /// An operator's approval.
    Approve,
}

/// A normalised change of one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Whose.
    pub key: ResourceKey,
    /// What.
    pub delta: Delta,
    /// Who says so.
    pub origin: Origin,
    /// The event's `id`.
    pub event_id: String,
    /// The earliest AMQP timestamp, else receipt, of what it carries.
    pub first_seen: Millis,
    /// How often an operation with this intent has failed already (`x-relay-attempt` of a letter); 0 for events.
    pub attempt: u32,
    /// How often it was replayed (`x-relay-replays` of a letter), where its message says so.
    pub round: Option<u32>,
    /// `traceparent` of its message: what becomes of it carries it on.
    pub traceparent: Option<String>,
}
