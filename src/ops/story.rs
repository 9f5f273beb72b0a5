//! The story of a resource, for people: one line each. No values.

use super::letter::printable;
use crate::pipeline::trace::{DecisionLine, EventLine, Line, WriteLine};

/// As text.
pub fn to_text(line: &Line) -> String {
    let text = match line {
        Line::Event(event) => event_text(event),
        Line::Decision(decision) => decision_text(decision),
        Line::Write(write) => write_text(write),
    };
    printable(text.trim_end())
}

fn event_text(it: &EventLine) -> String {
    let at = it.time.as_ref().or(it.published_at.as_ref()).map_or("-", String::as_str);
    let sequence = it.sequence.as_ref().map_or(String::new(), |sequence| format!(", sequence {sequence}"));
    let how = match (&it.operation, it.http_status, &it.applied_at) {
        (Some(operation), Some(status), Some(at)) => format!(" by {operation}, status {status}, at {at}"),
        _ => String::new(),
    };
    let class = it.class.as_ref().map_or(String::new(), |class| format!(" as {class}"));
    let letter = it.letter.as_ref().map_or(String::new(), |letter| format!(", letter {letter}"));
    let outcome = it.outcome.name();
    let (kind, id) = (&it.event_type, &it.event_id);
    format!("event     {at:<24}  {kind} {id}{sequence}: {outcome}{how}{class}{letter}")
}

fn decision_text(it: &DecisionLine) -> String {
    let at = it.at.as_deref().unwrap_or("-");
    format!("decision  {at:<24}  {}: {}", it.decision.name(), about(&it.paths, it.members))
}

fn write_text(it: &WriteLine) -> String {
    let WriteLine { at, operation, http_status, event_ids, .. } = it;
    let purpose = format!("{:?}", it.purpose).to_lowercase();
    let about = about(&it.paths, it.members);
    let events = event_ids.join(" ");
    format!("write     {at:<24}  {operation}, status {http_status}: {purpose} {about}  ({events})")
}

/// Attributes and members.
fn about(paths: &[String], members: usize) -> String {
    let members = match members {
        0 => None,
        1 => Some("1 member".to_owned()),
        count => Some(format!("{count} members")),
    };
    let words: Vec<String> = paths.iter().cloned().chain(members).collect();
    words.join(", ")
}
