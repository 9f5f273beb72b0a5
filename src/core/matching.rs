//! Matching: which of the target's resources is this one? A filter's answer is never trusted (design s7).

use serde_json::Value;

use super::applied::at;
use super::desired::Wanted;
use super::path::Path;
use super::record::Record;
use super::resource::{ResourceKey, ResourceType, TargetId};

/// The attribute that identifies a resource of this type besides `externalId`.
pub const fn matcher(kind: ResourceType) -> &'static str {
    match kind {
        ResourceType::User => "userName",
        ResourceType::Group => "displayName",
    }
}

/// The wanted value of the matching attribute.
pub fn matching_value(key: &ResourceKey, record: &Record) -> Option<String> {
    match record.desired.attributes().remove(&Path::core(matcher(key.kind)))? {
        Wanted::Whole(Some(Value::String(value))) => Some(value),
        Wanted::Whole(_) => None,
        Wanted::Parts(_) => None,
    }
}

/// What a lookup came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Match {
    /// Nothing fits.
    None,
    /// This one carries our externalId, or carries none and matches.
    One(TargetId, Value),
    /// It matches, and is somebody else's.
    Foreign(Option<String>),
    /// Several fit.
    Several(Vec<TargetId>),
}

fn text<'a>(resource: &'a Value, attribute: &str) -> Option<&'a str> {
    at(resource, &Path::core(attribute))?.as_str().filter(|text| !text.is_empty())
}

fn id(resource: &Value) -> Option<TargetId> {
    TargetId::new(text(resource, "id")?)
}

/// Chooses among what the target returned. `adopt`: what carries no externalId may be taken.
pub fn choose(key: &ResourceKey, value: Option<&str>, found: &[Value], adopt: bool) -> Match {
    let external_id = key.external_id.as_str();
    let ours: Vec<&Value> = found.iter().filter(|r| text(r, "externalId") == Some(external_id)).collect();
    if !ours.is_empty() {
        return one(&ours);
    }
    let Some(value) = value else { return Match::None };
    let fits = |r: &&Value| text(r, matcher(key.kind)).is_some_and(|have| same(key.kind, have, value));
    let (unclaimed, foreign): (Vec<&Value>, Vec<&Value>) =
        found.iter().filter(fits).partition(|r| text(r, "externalId").is_none());
    match (adopt && !unclaimed.is_empty(), foreign.first().or(unclaimed.first())) {
        (true, _) => one(&unclaimed),
        (false, Some(foreign)) => Match::Foreign(text(foreign, "externalId").map(str::to_owned)),
        (false, None) => Match::None,
    }
}

/// `userName` is case-insensitive (RFC 7643 s4.1.1); so is `displayName` (caseExact is false by default).
fn same(_kind: ResourceType, a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

fn one(candidates: &[&Value]) -> Match {
    let mut ids: Vec<TargetId> = candidates.iter().filter_map(|r| id(r)).collect();
    ids.sort();
    ids.dedup();
    match ids.as_slice() {
        [] => Match::None,
        [only] => Match::One(only.clone(), candidates[0].clone()),
        _ => Match::Several(ids),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> ResourceKey {
        "User/e-1".parse().unwrap()
    }

    fn user(id: &str, external_id: Option<&str>, name: &str) -> Value {
        json!({ "id": id, "externalId": external_id, "userName": name })
    }

    fn chosen(found: &[Value], adopt: bool) -> Match {
        choose(&key(), Some("Ana"), found, adopt)
    }

    #[test]
    fn our_external_id_wins_over_a_matching_name() {
        let found = [user("1", None, "ana"), user("2", Some("e-1"), "other")];
        assert!(matches!(chosen(&found, true), Match::One(id, _) if id.as_str() == "2"));
    }

    #[test]
    fn what_is_unclaimed_is_adopted_only_where_that_is_allowed() {
        let found = [user("1", None, "ANA")];
        assert!(matches!(chosen(&found, true), Match::One(..)));
        assert_eq!(chosen(&found, false), Match::Foreign(None));
    }

    #[test]
    fn an_account_of_somebody_else_is_never_adopted() {
        assert_eq!(chosen(&[user("1", Some("e-2"), "ana")], true), Match::Foreign(Some("e-2".into())));
    }

    #[test]
    fn a_server_that_ignores_the_filter_fools_nobody() {
        assert_eq!(chosen(&[user("1", None, "bob"), user("2", Some("E-1"), "eve")], true), Match::None);
    }

    #[test]
    fn several_are_ambiguous() {
        let found = [user("1", None, "ana"), user("2", None, "ana")];
        assert!(matches!(chosen(&found, true), Match::Several(ids) if ids.len() == 2));
    }
}
