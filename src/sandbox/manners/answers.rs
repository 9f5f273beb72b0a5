//! The form of what the provider answers.

use serde_json::{Map, Value, json};

use super::Manners;
use crate::sandbox::answer::Answer;
use crate::sandbox::error::{ERROR_URN, Refusal, ScimType};
use crate::target::profile::{BulkErrors, ConflictShape, ErrorShape};

const STALE: u16 = 412;

impl Manners {
    /// A refusal as this provider says it: an update of another version has several forms.
    pub fn told(&self, refusal: Refusal) -> Refusal {
        match (refusal.status, self.profile.answers.conflict) {
            (STALE, ConflictShape::Conflict) => Refusal { status: 409, ..refusal },
            (STALE, ConflictShape::InvalidVers) => Refusal::of(ScimType::InvalidVers, refusal.detail),
            (STALE, ConflictShape::PreconditionFailed) | (_, _) => refusal,
        }
    }

    /// The last touch: the form of errors, and the media type.
    pub fn dress(&self, mut answer: Answer) -> Answer {
        answer.body = answer.body.map(|body| if is_error(&body) { self.error(body) } else { body });
        match &self.profile.http.content_type {
            Some(media_type) if answer.body.is_some() => answer.with("content-type", media_type.clone()),
            Some(_) | None => answer,
        }
    }

    /// An Error message as this provider writes it.
    pub fn error(&self, mut message: Value) -> Value {
        match self.profile.answers.error {
            ErrorShape::Scim => message,
            ErrorShape::SchemaToo => {
                message["schema"] = json!([ERROR_URN]);
                message
            }
            ErrorShape::CodeMessage => {
                let status = message["status"].as_str().and_then(|it| it.parse::<u16>().ok());
                json!({"code": status, "message": message["detail"]})
            }
        }
    }

    /// Says in a result of a bulk request what went wrong.
    pub fn add_error(&self, result: &mut Map<String, Value>, refusal: &Refusal) {
        match self.profile.bulk.errors {
            BulkErrors::Response => {
                result.insert("response".into(), self.error(refusal.body()));
            }
            BulkErrors::Inline => {
                result.insert("detail".into(), refusal.detail.as_str().into());
                let error = json!({"detail": refusal.detail, "status": refusal.status});
                result.insert("errors".into(), json!([error]));
            }
        }
    }

    /// Whether a body may come under this media type.
    ///
    /// # Errors
    /// 415.
    pub fn check_media_type(&self, media_type: Option<&str>) -> Result<(), Refusal> {
        let Some(expected) = &self.profile.http.content_type else { return Ok(()) };
        let essence = media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match essence.eq_ignore_ascii_case(expected) {
            true => Ok(()),
            false => Err(Refusal::new(415, format!("a body is sent as {expected}"))),
        }
    }
}

fn is_error(body: &Value) -> bool {
    body["schemas"] == json!([ERROR_URN])
}
