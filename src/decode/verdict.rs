//! Verdicts: what was decided about revisions, so that recovery and rewind decide the same (contract s2.3).

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cloudevent::Envelope;
use super::intent::{envelope, without_values};
use super::{Decoded, Refusal};
use crate::core::desired::Words;
use crate::core::mark::{Mark, Stage};
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

impl Kind {
    /// The mark that the words get.
    pub fn mark(self, round: u32) -> Mark {
        let stage = match self {
            Kind::Held => Stage::Held,
            Kind::Approved => Stage::Approved,
            Kind::Dead | Kind::Discarded => Stage::Dead,
            Kind::Rejected => Stage::Rejected,
        };
        Mark::new(round, stage)
    }
}

/// A decision about words of one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Whose.
    pub key: ResourceKey,
    /// What was decided.
    pub kind: Kind,
    /// About what.
    pub words: Words,
    /// How often they had been replayed before that.
    pub round: u32,
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

pub(super) fn decode(envelope: Envelope, round: u32) -> Result<Decoded, Refusal> {
    let body: Body = serde_json::from_value(envelope.data)
        .map_err(|error| Refusal::decode(format!("not a verdict: {}", without_values(&error))))?;
    let mut words = Words::default();
    for entry in body.registers {
        take(entry, &mut words)?;
    }
    Ok(Decoded::Verdict(Box::new(Verdict { key: envelope.key, kind: body.verdict, words, round })))
}

fn take(entry: Entry, words: &mut Words) -> Result<(), Refusal> {
    let bad =
        || Refusal::decode("not a verdict: a register has one of path, member, lifecycle, and a revision");
    let revision = entry.revision.ok_or_else(bad)?;
    match (entry.path, entry.member, entry.lifecycle.as_deref()) {
        (Some(path), None, None) => words.attributes.push((path, revision)),
        (None, Some(member), None) => words.members.push((member, revision)),
        (None, None, Some("put")) => words.put = Some(revision),
        (None, None, Some("deleted")) => words.deleted = Some(revision),
        _ => return Err(bad()),
    }
    Ok(())
}

/// Encodes a verdict: routing key and body.
pub fn encode(
    key: &ResourceKey,
    verdict: Kind,
    words: &Words,
    target: &str,
    now: Millis,
    ids: fn() -> String,
) -> (String, Vec<u8>) {
    let entry = |subject: Entry, revision: &Revision| Entry { revision: Some(revision.clone()), ..subject };
    let paths = words
        .attributes
        .iter()
        .map(|(path, revision)| entry(Entry { path: Some(path.clone()), ..Entry::default() }, revision));
    let members = words
        .members
        .iter()
        .map(|(value, revision)| entry(Entry { member: Some(value.clone()), ..Entry::default() }, revision));
    let lifecycle = |word: &str| Entry { lifecycle: Some(word.to_owned()), ..Entry::default() };
    let put = words.put.iter().map(|revision| entry(lifecycle("put"), revision));
    let deleted = words.deleted.iter().map(|revision| entry(lifecycle("deleted"), revision));
    let body = Body { verdict, registers: paths.chain(members).chain(put).chain(deleted).collect() };
    let kind = format!("directory.{}.verdict", key.kind.word());
    let event = envelope(&kind, key, target, now, ids, json!(body));
    (kind, event.to_string().into_bytes())
}
