//! What the sandbox refuses, as SCIM says it (RFC 7644 s3.12).

use serde_json::{Value, json};

/// The schema of an Error message (RFC 7644 s3.12).
pub const ERROR_URN: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// The detail error keywords that the sandbox uses (RFC 7644 table 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScimType {
    /// The filter could not be read or compares what can not be compared.
    InvalidFilter,
    /// The body is not the message that the endpoint expects.
    InvalidSyntax,
    /// The path of a PATCH operation could not be read.
    InvalidPath,
    /// The path of a PATCH operation chose nothing.
    NoTarget,
    /// A value is missing or of another type.
    InvalidValue,
    /// The attribute can not be changed, or not removed.
    Mutability,
    /// The value is taken.
    Uniqueness,
    /// The resource has another version, as one provider says it.
    InvalidVers,
}

impl ScimType {
    fn keyword(self) -> &'static str {
        match self {
            ScimType::InvalidFilter => "invalidFilter",
            ScimType::InvalidSyntax => "invalidSyntax",
            ScimType::InvalidPath => "invalidPath",
            ScimType::NoTarget => "noTarget",
            ScimType::InvalidValue => "invalidValue",
            ScimType::Mutability => "mutability",
            ScimType::Uniqueness => "uniqueness",
            ScimType::InvalidVers => "invalidVers",
        }
    }
}

/// A request, or an operation of a bulk request, that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {detail}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The keyword, where RFC 7644 has one.
    pub scim_type: Option<ScimType>,
    /// What was wrong, for a person.
    pub detail: String,
}

impl Refusal {
    /// A refusal without a keyword.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self { status, scim_type: None, detail: detail.into() }
    }

    /// Status 400 with its keyword (409 for uniqueness, RFC 7644 s3.3).
    pub fn of(scim_type: ScimType, detail: impl Into<String>) -> Self {
        let status = if scim_type == ScimType::Uniqueness { 409 } else { 400 };
        Self { status, scim_type: Some(scim_type), detail: detail.into() }
    }

    /// Nothing is at this address.
    pub fn not_found(what: &str) -> Self {
        Self::new(404, format!("{what} not found"))
    }

    /// The version that the client named is not the resource's (RFC 7644 s3.14).
    pub fn stale() -> Self {
        Self::new(412, "the resource has another version")
    }

    /// The Error message.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "schemas": [ERROR_URN],
            "status": self.status.to_string(),
            "detail": self.detail,
        });
        if let Some(scim_type) = self.scim_type {
            body["scimType"] = scim_type.keyword().into();
        }
        body
    }
}
