//! `dead summary` and `dead list`: from the index alone.

use std::collections::BTreeMap;

use serde::Serialize;

use super::desk::{Desk, Place};
use super::index::refresh_to_look;
use crate::app::{Failure, failed};
use crate::cli::{Exit, Look};
use crate::ops::letter;
use crate::pipeline::head::Head;

/// Letters that failed in the same way.
#[derive(Debug, Serialize)]
struct Group {
    fingerprint: String,
    class: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scim_type: Option<String>,
    /// The method, and the path's first segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
    /// One letter's ID.
    example: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Group {
    fn of(head: Head) -> Self {
        Self {
            fingerprint: head.fingerprint.unwrap_or_default(),
            class: head.class,
            http_status: head.http_status,
            scim_type: head.scim_type,
            operation: head.operation.as_deref().map(kind_of_operation),
            count: 0,
            first_seen: head.first_failed_at,
            last_seen: head.last_failed_at,
            example: head.id,
            detail: head.detail,
        }
    }

    fn add(&mut self, first: Option<String>, last: Option<String>) {
        self.count += 1;
        if first.is_some() && (self.first_seen.is_none() || first < self.first_seen) {
            self.first_seen = first;
        }
        self.last_seen = last.max(self.last_seen.take());
    }

    fn line(&self) -> String {
        let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
        format!(
            "{:>7}  {:<18}  {:>6}  {:<14}  {:<14}  {:<24}  {:<24}  {:<16}  {}",
            self.count,
            self.class,
            or_dash(self.http_status.map(|status| status.to_string()).as_deref()),
            letter::printable(&or_dash(self.scim_type.as_deref())),
            or_dash(self.operation.as_deref()),
            or_dash(self.first_seen.as_deref()),
            or_dash(self.last_seen.as_deref()),
            self.fingerprint,
            self.example
        )
    }
}

/// `PATCH /Users`, whoever's it is.
fn kind_of_operation(operation: &str) -> String {
    operation.splitn(3, '/').take(2).collect::<Vec<_>>().join("/")
}

/// `dead summary`.
pub(super) async fn summary(desk: &Desk, look: &Look) -> Result<Exit, Failure> {
    let (place, selection) = (Place::of(look.select.parked), desk.selection(&look.select)?);
    refresh_to_look(desk, place).await?;
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    desk.heads(place, &selection, |head| {
        let (first, last) = (head.first_failed_at.clone(), head.last_failed_at.clone());
        let key = (head.fingerprint.clone().unwrap_or_default(), head.class.clone());
        groups.entry(key).or_insert_with(|| Group::of(head)).add(first, last);
    })
    .await?;
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.class.cmp(&b.class)));
    if look.json.json {
        for group in &groups {
            println!("{}", serde_json::to_string(group).map_err(failed)?);
        }
        return Ok(Exit::Done);
    }
    let total: u64 = groups.iter().map(|group| group.count).sum();
    println!(
        "{:>7}  {:<18}  {:>6}  {:<14}  {:<14}  {:<24}  {:<24}  {:<16}  example",
        "count", "class", "status", "scimType", "operation", "first seen", "last seen", "fingerprint"
    );
    groups.iter().for_each(|group| println!("{}", group.line()));
    println!("{total:>7}  letters in {} groups", groups.len());
    Ok(Exit::Done)
}

/// `dead list`.
pub(super) async fn list(desk: &Desk, look: &Look) -> Result<Exit, Failure> {
    let (place, selection) = (Place::of(look.select.parked), desk.selection(&look.select)?);
    refresh_to_look(desk, place).await?;
    if !look.json.json {
        println!("{}", letter::columns());
    }
    desk.heads(place, &selection, |head| match look.json.json {
        true => println!("{}", head.to_json()),
        false => println!("{}", letter::line(&head)),
    })
    .await?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_of_a_kind_are_one() {
        assert_eq!(kind_of_operation("PATCH /Users/2819c223"), "PATCH /Users");
        assert_eq!(kind_of_operation("POST /Users"), "POST /Users");
    }
}
