//! Verdicts: what was decided about revisions, so that recovery and rewind decide the same (contract s2.3).

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cloudevent::Envelope;
use super::intent::{envelope, without_values};
use super::{Decoded, Refusal};
use crate::core::desired::Buried;
use crate::core::path::Path;
use crate::core::resource::ResourceKey;
use crate::core::revision::Revision;
use crate::core::schedule::Millis;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A dead letter is its home.
    Dead,
    /// It waits for an operator.
    Held,
    /// The operator let it through.
    Approved,
    /// The operator refused it.
    Rejected,
    /// The operator gave it up.
    Discarded,
}

/// What a decision is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// An attribute path.
    Path(Path),
    /// A member.
    Member(String),
    /// The `put`.
    Put,
    /// The `delete`.
    Deleted,
}

/// A decision about revisions of one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Whose.
    pub key: ResourceKey,
    /// What was decided.
    pub kind: Kind,
    /// About what, up to which revision.
    pub registers: Vec<(Subject, Revision)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Body {
    verdict: Kind,
    registers: Vec<Entry>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<Path>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lifecycle: Option<String>,
    revision: Option<Revision>,
}

pub(super) fn decode(envelope: Envelope) -> Result<Decoded, Refusal> {
    let body: Body = serde_json::from_value(envelope.data)
        .map_err(|error| Refusal::decode(format!("not a verdict: {}", without_values(&error))))?;
    let registers = body.registers.into_iter().map(register).collect::<Result<_, _>>()?;
    Ok(Decoded::Verdict(Verdict { key: envelope.key, kind: body.verdict, registers }))
}

fn register(entry: Entry) -> Result<(Subject, Revision), Refusal> {
    let bad =
        || Refusal::decode("not a verdict: a register has one of path, member, lifecycle, and a revision");
    let subject = match (entry.path, entry.member, entry.lifecycle.as_deref()) {
        (Some(path), None, None) => Subject::Path(path),
        (None, Some(member), None) => Subject::Member(member),
        (None, None, Some("put")) => Subject::Put,
        (None, None, Some("deleted")) => Subject::Deleted,
        _ => return Err(bad()),
    };
    Ok((subject, entry.revision.ok_or_else(bad)?))
}

/// Encodes the verdict that a dead letter is the home of these: routing key and body.
pub fn encode_dead(
    key: &ResourceKey,
    buried: &Buried,
    members: &[(String, Revision)],
    target: &str,
    now: Millis,
    ids: fn() -> String,
) -> (String, Vec<u8>) {
    let entry = |subject: Entry, revision: &Revision| Entry { revision: Some(revision.clone()), ..subject };
    let paths = buried
        .attributes
        .iter()
        .map(|(path, revision)| entry(Entry { path: Some(path.clone()), ..Entry::default() }, revision));
    let members = members
        .iter()
        .map(|(value, revision)| entry(Entry { member: Some(value.clone()), ..Entry::default() }, revision));
    let lifecycle = |word: &str| Entry { lifecycle: Some(word.to_owned()), ..Entry::default() };
    let put = buried.put.iter().map(|revision| entry(lifecycle("put"), revision));
    let deleted = buried.deleted.iter().map(|revision| entry(lifecycle("deleted"), revision));
    let body =
        Body { verdict: Kind::Dead, registers: paths.chain(members).chain(put).chain(deleted).collect() };
    let kind = format!("directory.{}.verdict", key.kind.word());
    let event = envelope(&kind, key, target, now, ids, json!(body));
    (kind, event.to_string().into_bytes())
}
