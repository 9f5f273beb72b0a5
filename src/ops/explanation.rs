//! An explanation of one resource, for people.

use crate::pipeline::flush::explain::Explanation;

/// As text. Values are shown: the operator asked for them.
pub fn to_text(it: &Explanation) -> String {
    let mut lines = vec![it.resource.clone()];
    if !it.known {
        lines.push("  nothing is known about it".into());
    }
    let active = it.desired.active.map_or("not said".to_owned(), |active| active.to_string());
    lines.push(format!("desired    {}, active {active}", it.desired.presence));
    lines.extend(it.desired.attributes.iter().map(|(path, value)| format!("  {path} = {value}")));
    let said = it.desired.revisions.iter();
    lines.extend(said.map(|(word, revision)| format!("  {word} was said at revision {revision}")));
    if it.desired.open_members > 0 {
        lines.push(format!("  {} members to be looked at", it.desired.open_members));
    }
    let none = || "none".to_owned();
    let (id, etag) = (it.applied.id.clone(), it.applied.etag.clone());
    lines.push(format!("applied    id {}, version {}", id.unwrap_or_else(none), etag.unwrap_or_else(none)));
    if let Some(hash) = &it.applied.content_hash {
        lines.push(format!("  {} paths, content hash {hash}", it.applied.paths.len()));
    }
    lines.extend(it.applied.perhaps.iter().map(|path| format!("  {path} was sent, and perhaps applied")));
    lines.extend(it.withheld.iter().map(|(path, word)| match *word {
        "expired" => {
            format!("withheld   {path}: expired; no operator decided about it, and it is a dead letter")
        }
        word => format!("withheld   {path}: {word}"),
    }));
    if let Some(failure) = &it.last_failure {
        let status = failure.http_status.map_or(String::new(), |status| format!(", status {status}"));
        let at = failure.last_failed_at.as_deref().map_or(String::new(), |at| format!(", {at}"));
        lines.push(format!("failure    {}{status}, attempt {}{at}", failure.class, failure.attempt));
    }
    lines.extend(it.letters.iter().map(|letter| {
        let at = letter.head.last_failed_at.as_deref().unwrap_or("at an unknown time");
        format!("letter     {} in `{}`, {}, {at}", letter.head.id, letter.queue, letter.head.class)
    }));
    lines.extend(it.waits_for.iter().map(|wait| format!("waits for  {}: {}", wait.what, wait.detail)));
    lines.push(format!("next       {}  {}", it.next.kind, it.next.detail).trim_end().to_owned());
    if let Some(write) = &it.next.operation {
        lines.push(format!("  {} {}", write.method, write.path));
        lines.extend(write.version.iter().map(|version| format!("  if-match {version}")));
        lines.extend(write.body.iter().map(|body| format!("  {body:#}").replace('\n', "\n  ")));
    }
    lines.join("\n")
}
