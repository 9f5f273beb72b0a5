//! Letters as people read them. For programs they are their heads as JSON.

use crate::core::foresee::Foreseen;
use crate::pipeline::head::Head;

/// Longest detail in a listing, in characters; `show` has all of it.
const DETAIL: usize = 60;

fn or_dash(text: Option<&str>) -> &str {
    text.filter(|text| !text.is_empty()).unwrap_or("-")
}

/// The column heads of [`line`].
pub fn columns() -> String {
    format!("{:<26}  {:<20}  {:<18}  {:>6}  {:<24}  detail", "id", "last failed", "class", "status", "resource")
}

/// A letter as one line.
pub fn line(head: &Head) -> String {
    let status = head.http_status.map(|status| status.to_string());
    let detail: String = head.detail.as_deref().unwrap_or_default().chars().take(DETAIL).collect();
    format!(
        "{:<26}  {:<20}  {:<18}  {:>6}  {:<24}  {}",
        head.id,
        seconds(or_dash(head.last_failed_at.as_deref())),
        head.class,
        or_dash(status.as_deref()),
        or_dash(head.resource.as_deref()),
        printable(&detail)
    )
    .trim_end()
    .to_owned()
}

/// A letter's plan as one line.
pub fn planned(head: &Head, foreseen: &Foreseen) -> String {
    let why = if foreseen.why.is_empty() { String::new() } else { format!(": {}", foreseen.why) };
    format!(
        "{:<26}  {:<24}  {}{why}",
        head.id,
        or_dash(head.resource.as_deref()),
        foreseen.verdict.name()
    )
}

/// A letter's headers, one a line.
pub fn headers(head: &Head) -> String {
    let json = serde_json::json!(head);
    let fields = json.as_object().into_iter().flatten();
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => printable(text),
        other => other.to_string(),
    };
    fields.map(|(name, value)| format!("{name:<16} {}\n", text(value))).collect()
}

/// An instant without its fraction.
fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time.to_owned(),
    }
}

/// Without what would move a terminal's cursor: a target chose these texts.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_no_control_characters() {
        let head = Head {
            id: "01".into(),
            class: "invalid".into(),
            detail: Some("no\u{1b}[2J\nway".into()),
            last_failed_at: Some("2026-11-21T09:30:00.123Z".into()),
            ..Head::default()
        };
        let line = line(&head);
        assert!(line.ends_with("no [2J way") && line.contains("2026-11-21T09:30:00Z "), "{line}");
    }
}
