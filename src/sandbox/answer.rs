//! What the provider answers, before it is bytes.

use serde_json::Value;

use super::error::Refusal;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body; none for 204 and 304.
    pub body: Option<Value>,
}

impl Answer {
    /// With a body.
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: Some(body) }
    }

    /// Without one.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: None }
    }

    /// As `application/json` instead of `application/scim+json`.
    pub fn plain_json(self) -> Self {
        match self.body {
            Some(_) => self.with("content-type", "application/json"),
            None => self,
        }
    }

    /// With one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With one more header, if there is a value.
    pub fn with_some(self, name: &'static str, value: Option<String>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let answer = Answer::json(refusal.status, refusal.body());
        if refusal.status == 401 {
            answer.with("www-authenticate", "Bearer realm=\"sandbox\"")
        } else {
            answer
        }
    }
}
