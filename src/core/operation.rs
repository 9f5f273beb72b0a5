//! An operation: one SCIM write that closes (part of) one resource's gap.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dialect::Dialect;
use super::resource::{ETag, ResourceKey, ResourceType, TargetId};

/// The method of a write (RFC 7644 s3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Create.
    Post,
    /// Replace.
    Put,
    /// Change parts.
    Patch,
    /// Remove.
    Delete,
}

impl Method {
    /// The method's name on the wire and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is written, to which place.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// POST of a whole resource.
    Create {
        /// The resource, `schemas` and `externalId` included.
        body: Value,
    },
    /// PATCH with a PatchOp body (RFC 7644 s3.5.2).
    Patch {
        /// The target's id of the resource.
        id: TargetId,
        /// The version that the target must still have, where it has ETags.
        version: Option<ETag>,
        /// `{"schemas": […PatchOp], "Operations": […]}`.
        body: Value,
    },
    /// PUT of the whole resource (RFC 7644 s3.5.1).
    Put {
        /// The target's id of the resource.
        id: TargetId,
        /// The version that the target must still have, where it has ETags.
        version: Option<ETag>,
        /// The resource.
        body: Value,
    },
    /// DELETE.
    Delete {
        /// The target's id of the resource.
        id: TargetId,
        /// The version that the target must still have, where it has ETags.
        version: Option<ETag>,
    },
}

/// One write for one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Whose.
    pub key: ResourceKey,
    /// Correlates the result inside a bulk response; unique in its batch, safe as part of a JSON string.
    pub bulk_id: String,
    /// What.
    pub write: Write,
}

impl Operation {
    /// The resource type.
    pub fn kind(&self) -> ResourceType {
        self.key.kind
    }

    /// The method.
    pub fn method(&self) -> Method {
        match self.write {
            Write::Create { .. } => Method::Post,
            Write::Patch { .. } => Method::Patch,
            Write::Put { .. } => Method::Put,
            Write::Delete { .. } => Method::Delete,
        }
    }

    /// The target's id, unless it is still to be created.
    pub fn id(&self) -> Option<&TargetId> {
        match &self.write {
            Write::Create { .. } => None,
            Write::Patch { id, .. } | Write::Put { id, .. } | Write::Delete { id, .. } => Some(id),
        }
    }

    /// The version sent along.
    pub fn version(&self) -> Option<&ETag> {
        match &self.write {
            Write::Create { .. } => None,
            Write::Patch { version, .. } | Write::Put { version, .. } | Write::Delete { version, .. } => {
                version.as_ref()
            }
        }
    }

    /// The body, unless it has none.
    pub fn body(&self) -> Option<&Value> {
        match &self.write {
            Write::Create { body } | Write::Patch { body, .. } | Write::Put { body, .. } => Some(body),
            Write::Delete { .. } => None,
        }
    }

    /// The path below the base URL: `/Users`, `/Users/<id>`, the id percent-encoded by whoever makes a URL of it.
    pub fn path(&self, dialect: &Dialect) -> String {
        let segment = &dialect.of(self.kind()).segment;
        match self.id() {
            None => format!("/{segment}"),
            Some(id) => format!("/{segment}/{id}"),
        }
    }
}
