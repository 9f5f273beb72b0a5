//! Matching: which of the target's resources is this one? A filter's answer is never trusted (design s7).

use serde_json::Value;

use super::applied::at;
use super::desired::Wanted;
use super::path::Path;
use super::record::Record;
use super::resource::{ResourceKey, ResourceType, TargetId};

/// An attribute by which a resource is found at the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matcher {
    /// `externalId`: the source's key.
    ExternalId,
    /// `userName`.
    UserName,
    /// `displayName`.
    DisplayName,
    /// Any of `emails.value`; the primary one of the source's, or else its first.
    Email,
}

impl Matcher {
    /// All of them.
    pub const ALL: [Matcher; 4] =
        [Matcher::ExternalId, Matcher::UserName, Matcher::DisplayName, Matcher::Email];

    /// The attribute that names a resource of this type besides `externalId`.
    pub const fn name_of(kind: ResourceType) -> Self {
        match kind {
            ResourceType::User => Matcher::UserName,
            ResourceType::Group => Matcher::DisplayName,
        }
    }

    /// The attribute in filters.
    pub const fn path(self) -> &'static str {
        match self {
            Matcher::ExternalId => "externalId",
            Matcher::UserName => "userName",
            Matcher::DisplayName => "displayName",
            Matcher::Email => "emails.value",
        }
    }

    /// The value that the source wants.
    pub fn wanted(self, key: &ResourceKey, record: &Record) -> Option<String> {
        let attribute = match self {
            Matcher::ExternalId => return Some(key.external_id.as_str().to_owned()),
            Matcher::UserName | Matcher::DisplayName => self.path(),
            Matcher::Email => "emails",
        };
        match record.desired.attributes().remove(&Path::core(attribute))? {
            Wanted::Whole(Some(Value::String(value))) => Some(value),
            Wanted::Whole(Some(Value::Array(emails))) => email(&emails),
            Wanted::Whole(_) => None,
            Wanted::Parts(_) => None,
        }
    }

    /// Whether a resource of the target has this value.
    fn fits(self, resource: &Value, value: &str) -> bool {
        match self {
            Matcher::ExternalId => text(resource, self.path()) == Some(value),
            Matcher::UserName | Matcher::DisplayName => {
                text(resource, self.path()).is_some_and(|have| same(have, value))
            }
            Matcher::Email => {
                let emails = at(resource, &Path::core("emails")).and_then(Value::as_array);
                let mut values =
                    emails.into_iter().flatten().filter_map(|email| email.get("value")?.as_str());
                values.any(|have| same(have, value))
            }
        }
    }
}

/// True if one of these names is among those that are never written to; case does not matter.
pub fn is_protected(protected: &[String], names: impl IntoIterator<Item = String>) -> bool {
    let names: Vec<String> = names.into_iter().map(|name| name.to_lowercase()).collect();
    protected.iter().any(|protected| names.contains(&protected.to_lowercase()))
}

fn email(emails: &[Value]) -> Option<String> {
    let is_primary = |email: &&Value| email.get("primary").and_then(Value::as_bool) == Some(true);
    let email = emails.iter().find(is_primary).or(emails.first())?;
    Some(email.get("value")?.as_str()?.to_owned())
}

/// A matching attribute and the value that the source wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The attribute.
    pub matcher: Matcher,
    /// The value.
    pub value: String,
}

/// By what a resource can be found, in the order of `matching`; what the source says nothing about is left out.
pub fn terms(key: &ResourceKey, record: &Record, matching: &[Matcher]) -> Vec<Term> {
    let term = |matcher: &Matcher| Some(Term { matcher: *matcher, value: matcher.wanted(key, record)? });
    matching.iter().filter_map(term).collect()
}

/// What a lookup came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Match {
    /// Nothing fits.
    None,
    /// This one carries our externalId, or carries none and matches.
    One(TargetId, Value),
    /// It matches by this attribute, and is somebody else's: of this externalId, or of none that we may adopt.
    Foreign(Matcher, Option<String>),
    /// Several fit.
    Several(Vec<TargetId>),
}

fn text<'a>(resource: &'a Value, attribute: &str) -> Option<&'a str> {
    at(resource, &Path::core(attribute))?.as_str().filter(|text| !text.is_empty())
}

fn id(resource: &Value) -> Option<TargetId> {
    TargetId::new(text(resource, "id")?)
}

/// Chooses among what the target returned: the first term that anything fits decides. `adopt`: what carries no externalId
/// may be taken. Where the target's externalId is no term, it means something else there, and claims nothing.
pub fn choose(key: &ResourceKey, terms: &[Term], found: &[Value], adopt: bool) -> Match {
    let has_meaning = terms.iter().any(|term| term.matcher == Matcher::ExternalId);
    let claim = |resource: &Value| {
        let claim = text(resource, Matcher::ExternalId.path()).filter(|_| has_meaning);
        claim.filter(|claim| *claim != key.external_id.as_str()).map(str::to_owned)
    };
    for Term { matcher, value } in terms {
        let fitting: Vec<&Value> = found.iter().filter(|resource| matcher.fits(resource, value)).collect();
        let ours =
            |resource: &&Value| has_meaning && Matcher::ExternalId.fits(resource, key.external_id.as_str());
        let (ours, others): (Vec<&Value>, Vec<&Value>) = fitting.into_iter().partition(ours);
        if !ours.is_empty() {
            return one(&ours);
        }
        let (unclaimed, foreign): (Vec<&Value>, Vec<&Value>) =
            others.into_iter().partition(|resource| claim(resource).is_none());
        match (adopt && !unclaimed.is_empty(), foreign.first().or(unclaimed.first())) {
            (true, _) => return one(&unclaimed),
            (false, Some(foreign)) => return Match::Foreign(*matcher, claim(foreign)),
            (false, None) => {}
        }
    }
    Match::None
}

/// `userName` is case-insensitive (RFC 7643 s4.1.1); so are `displayName` and e-mail addresses (caseExact is false by
/// default).
fn same(a: &str, b: &str) -> bool {
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
        by(&[Matcher::ExternalId, Matcher::UserName], found, adopt)
    }

    fn by(matching: &[Matcher], found: &[Value], adopt: bool) -> Match {
        let value = |matcher| match matcher {
            Matcher::ExternalId => "e-1",
            Matcher::UserName | Matcher::DisplayName => "Ana",
            Matcher::Email => "ana@example.com",
        };
        let term = |matcher: &Matcher| Term { matcher: *matcher, value: value(*matcher).to_owned() };
        choose(&key(), &matching.iter().map(term).collect::<Vec<_>>(), found, adopt)
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
        assert_eq!(chosen(&found, false), Match::Foreign(Matcher::UserName, None));
    }

    #[test]
    fn an_account_of_somebody_else_is_never_adopted() {
        assert_eq!(
            chosen(&[user("1", Some("e-2"), "ana")], true),
            Match::Foreign(Matcher::UserName, Some("e-2".into()))
        );
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

    #[test]
    fn attributes_match_in_their_order() {
        let mail = |id: &str, mail: &str| json!({ "id": id, "userName": "x", "emails": [{ "value": mail }] });
        let found = [user("1", None, "ana"), mail("2", "ANA@example.com")];
        let chosen = |matching: &[Matcher]| by(matching, &found, true);
        assert!(
            matches!(chosen(&[Matcher::Email, Matcher::UserName]), Match::One(id, _) if id.as_str() == "2")
        );
        assert!(
            matches!(chosen(&[Matcher::UserName, Matcher::Email]), Match::One(id, _) if id.as_str() == "1")
        );
    }

    #[test]
    fn an_external_id_that_means_something_else_claims_nothing() {
        let found = [user("1", Some("their own number"), "ana")];
        assert!(matches!(by(&[Matcher::UserName], &found, true), Match::One(..)));
        assert!(matches!(chosen(&found, true), Match::Foreign(..)));
    }
}
