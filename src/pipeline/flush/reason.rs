//! Why something failed, in words without attribute values: for letters, logs and counters.

use crate::core::dialect::Dialect;
use crate::core::disposition::Disposition;
use crate::core::letter::Class;
use crate::core::operation::Operation;
use crate::core::outcome::Outcome;
use crate::core::redaction::redacted;
use crate::pipeline::letters::Reason;
use crate::pipeline::ports::PublishError;

pub(super) fn refused_letter(error: &PublishError) {
    tracing::warn!(%error, "a letter could not be written: nothing is forgotten, it is tried again");
}

pub(super) fn count(operation: &Operation, disposition: &Disposition) {
    let outcome = match disposition {
        Disposition::Applied => "applied",
        Disposition::NoOp => "superseded",
        Disposition::Exists(_) | Disposition::Conflict | Disposition::Gone | Disposition::MissingMember => {
            "conflict"
        }
        Disposition::Verify => "unknown",
        Disposition::Retry { .. } | Disposition::Busy(_) | Disposition::Wait(_) | Disposition::NoPatch => {
            "retry"
        }
        Disposition::Trouble(_) => "retry",
        Disposition::Dead(_) => "dead",
    };
    metrics::counter!("scim_relay_operations_total", "method" => operation.method().name(), "outcome" => outcome)
        .increment(1);
}

pub(super) fn reason(class: Class, outcome: &Outcome, operation: &Operation, dialect: &Dialect) -> Reason {
    let answer = match outcome {
        Outcome::Answered(answer) => Some(answer),
        Outcome::Unknown(_) | Outcome::NotSent(_) => None,
    };
    let scim_type = answer.and_then(|answer| answer.scim_type.clone());
    let mut detail = outcome.to_string();
    if let Some(scim_type) = &scim_type {
        detail.push_str(&format!(", scimType {scim_type}"));
    }
    if let Some(said) = answer.and_then(|answer| answer.detail.as_deref()) {
        detail.push_str(&format!(": {}", redacted(said, operation.body())));
    }
    Reason {
        class,
        status: answer.map(|answer| answer.status),
        scim_type,
        detail,
        operation: Some((operation.method(), operation.path(dialect))),
    }
}
