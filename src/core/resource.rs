//! Names of things: resource types, keys, identifiers. Invalid ones can't be built.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest `id`, `subject` and `type` of an event, in bytes of UTF-8 (contract s2.1).
pub const MAX_NAME_BYTES: usize = 255;

/// A SCIM resource type that the relay writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ResourceType {
    /// RFC 7643 s4.1.
    User,
    /// RFC 7643 s4.2.
    Group,
}

impl ResourceType {
    /// All types, users before groups: the order in which operations are sent.
    pub const ALL: [ResourceType; 2] = [ResourceType::User, ResourceType::Group];

    /// The name of the resource type (RFC 7643 s6), as in `User/e-10042`.
    pub const fn name(self) -> &'static str {
        match self {
            ResourceType::User => "User",
            ResourceType::Group => "Group",
        }
    }

    /// The path segment of its endpoint (RFC 7644 s3.2).
    pub const fn segment(self) -> &'static str {
        match self {
            ResourceType::User => "Users",
            ResourceType::Group => "Groups",
        }
    }

    /// The word in event types: `directory.user.put`.
    pub const fn word(self) -> &'static str {
        match self {
            ResourceType::User => "user",
            ResourceType::Group => "group",
        }
    }

    /// The core schema's URN (RFC 7643 s8.7).
    pub const fn schema(self) -> &'static str {
        match self {
            ResourceType::User => "urn:ietf:params:scim:schemas:core:2.0:User",
            ResourceType::Group => "urn:ietf:params:scim:schemas:core:2.0:Group",
        }
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than [`MAX_NAME_BYTES`].
    #[error("is {0} bytes long, at most {MAX_NAME_BYTES} are allowed")]
    TooLong(usize),
    /// Not `Type/externalId`.
    #[error("`{0}` is not a resource: write `User/<externalId>` or `Group/<externalId>`")]
    NotAResource(String),
}

/// The source's identifier of a resource: 1 to 255 bytes of UTF-8, compared exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExternalId(String);

impl ExternalId {
    /// Checks the length.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        match text.len() {
            0 => Err(NameError::Empty),
            1..=MAX_NAME_BYTES => Ok(Self(text)),
            n => Err(NameError::TooLong(n)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ExternalId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<ExternalId> for String {
    fn from(id: ExternalId) -> String {
        id.0
    }
}

impl fmt::Display for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `User/e-10042`: the key of everything. Split at the first `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceKey {
    /// The type.
    pub kind: ResourceType,
    /// The source's identifier.
    pub external_id: ExternalId,
}

impl ResourceKey {
    /// Joins the two.
    pub fn new(kind: ResourceType, external_id: ExternalId) -> Self {
        Self { kind, external_id }
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.external_id)
    }
}

impl FromStr for ResourceKey {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let not = || NameError::NotAResource(text.to_owned());
        let (kind, id) = text.split_once('/').ok_or_else(not)?;
        let kind = ResourceType::ALL.into_iter().find(|k| k.name() == kind).ok_or_else(not)?;
        Ok(Self::new(kind, ExternalId::new(id)?))
    }
}

impl TryFrom<String> for ResourceKey {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ResourceKey> for String {
    fn from(key: ResourceKey) -> String {
        key.to_string()
    }
}

/// The target's identifier of a resource (RFC 7643 s3.1 `id`): opaque.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetId(String);

impl TargetId {
    /// Takes what the target sent; an empty one is none.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty()).then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An entity tag exactly as it goes back into `If-Match`: with quotes, and `W/` where the target sent it (RFC 7644 s3.14).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// Takes a header's or `meta.version`'s text. One without quotes gets them; an empty one is none.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        match text {
            "" => None,
            _ if text.ends_with('"') => Some(Self(text.to_owned())),
            _ => Some(Self(format!("\"{text}\""))),
        }
    }

    /// The text, ready for `If-Match`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_splits_at_the_first_slash() {
        let key: ResourceKey = "User/a/b".parse().unwrap();
        assert_eq!((key.kind, key.external_id.as_str()), (ResourceType::User, "a/b"));
        assert_eq!(key.to_string(), "User/a/b");
    }

    #[test]
    fn what_names_no_resource_is_refused() {
        for text in ["", "User", "user/e", "Device/1", "User/", &format!("User/{}", "x".repeat(256))] {
            assert!(text.parse::<ResourceKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_etag_without_quotes_gets_them() {
        assert_eq!(ETag::new("abc").unwrap().as_str(), "\"abc\"");
        assert_eq!(ETag::new("W/\"1\"").unwrap().as_str(), "W/\"1\"");
        assert_eq!(ETag::new(" "), None);
    }
}
