//! Whether a target equals the expected directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use super::person::ENTERPRISE;
use super::{Expected, ExpectedGroup, ExpectedUser};

/// What the target keeps for itself, or says in other words elsewhere.
const OWN: [&str; 5] = ["id", "externalId", "meta", "schemas", "groups"];

/// One resource that is other than expected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// As `User/e-10042`.
    pub resource: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.resource, self.what)
    }
}

/// All differences between what is expected and the sandbox's `GET /_sandbox/state`
/// (`{"Users": […], "Groups": […]}`, full SCIM resources). None: the target equals the directory.
///
/// `members` and `manager` hold the target's own ids there and are read as the `externalId`s behind them. Somebody
/// [gone](ExpectedUser::Gone) may be missing or not active; only if missing may groups lack them too, and
/// people whose manager they were.
pub fn compare(expected: &Expected, state: &Value) -> Vec<Difference> {
    let target = Target::read(state);
    let mut found = target.unexpected.clone();
    for (id, user) in &expected.users {
        found.extend(user_difference(id, user, expected, &target));
    }
    for (id, group) in &expected.groups {
        found.extend(group_difference(id, group, expected, &target));
    }
    let strangers = target.users.keys().filter(|id| !expected.users.contains_key(**id));
    found.extend(strangers.map(|id| difference("User", id, "should not be there")));
    let strangers = target.groups.keys().filter(|id| !expected.groups.contains_key(**id));
    found.extend(strangers.map(|id| difference("Group", id, "should not be there")));
    found.sort();
    found
}

fn difference(kind: &str, id: &str, what: impl Into<String>) -> Difference {
    Difference { resource: format!("{kind}/{id}"), what: what.into() }
}

struct Target<'a> {
    users: BTreeMap<&'a str, &'a Value>,
    groups: BTreeMap<&'a str, &'a Value>,
    /// The target's id -> `externalId`.
    external: BTreeMap<&'a str, &'a str>,
    unexpected: Vec<Difference>,
}

impl<'a> Target<'a> {
    fn read(state: &'a Value) -> Target<'a> {
        let mut target = Target {
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            external: BTreeMap::new(),
            unexpected: Vec::new(),
        };
        for (kind, list) in [("User", "Users"), ("Group", "Groups")] {
            for resource in state[list].as_array().into_iter().flatten() {
                target.add(kind, resource);
            }
        }
        target
    }

    fn add(&mut self, kind: &str, resource: &'a Value) {
        let id = resource["id"].as_str().unwrap_or_default();
        let Some(external) = resource["externalId"].as_str() else {
            return self.unexpected.push(difference(kind, &format!("(id {id})"), "has no externalId"));
        };
        self.external.insert(id, external);
        let list = if kind == "User" { &mut self.users } else { &mut self.groups };
        if list.insert(external, resource).is_some() {
            self.unexpected.push(difference(kind, external, "is there twice"));
        }
    }

    /// Somebody who was deleted before the target heard of them: nothing there can refer to them.
    fn never_had(&self, id: &str, directory: &Expected) -> bool {
        directory.users.get(id) == Some(&ExpectedUser::Gone) && !self.users.contains_key(id)
    }

    /// The `externalId` behind a reference, or a text that equals none.
    fn named(&self, reference: &Value) -> String {
        let id = reference["value"].as_str().unwrap_or_default();
        self.external.get(id).map_or_else(|| format!("nobody (id {id})"), |external| (*external).to_owned())
    }
}

fn user_difference(
    id: &str,
    expected: &ExpectedUser,
    directory: &Expected,
    target: &Target<'_>,
) -> Option<Difference> {
    let what = match (expected, target.users.get(id)) {
        (ExpectedUser::Gone, None) => return None,
        (ExpectedUser::Gone, Some(user)) if user["active"] == Value::Bool(false) => return None,
        (ExpectedUser::Gone, Some(_)) => "was deleted and is still active".to_owned(),
        (ExpectedUser::Present(_), None) => "is missing".to_owned(),
        (ExpectedUser::Present(attributes), Some(user)) => {
            attribute_differences(attributes, user, directory, target)?
        }
    };
    Some(difference("User", id, what))
}

fn attribute_differences(
    expected: &Value,
    user: &Value,
    directory: &Expected,
    target: &Target<'_>,
) -> Option<String> {
    let (mut expected, mut actual) = (expected.clone(), user.clone());
    if expected[ENTERPRISE]["manager"]["value"].as_str().is_some_and(|id| target.never_had(id, directory)) {
        expected[ENTERPRISE]["manager"] = Value::Null;
    }
    if !user[ENTERPRISE]["manager"]["value"].is_null() {
        let manager = target.named(&user[ENTERPRISE]["manager"]);
        actual[ENTERPRISE]["manager"] = serde_json::json!({ "value": manager });
    }
    let (expected, actual) = (flat(&expected), flat(&actual));
    let paths: BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
    let differing = paths.into_iter().filter(|path| expected.get(*path) != actual.get(*path));
    let said: Vec<String> = differing
        .map(|path| format!("{path} is {}, not {}", shown(actual.get(path)), shown(expected.get(path))))
        .collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), Value::to_string)
}

/// Every leaf by its path, elements of lists by their `type`. What is empty is not there; without `active`, it is true.
fn flat(user: &Value) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::from([("active".to_owned(), Value::Bool(true))]);
    let attributes = user.as_object().into_iter().flatten();
    for (name, value) in attributes.filter(|(name, _)| !OWN.contains(&name.as_str())) {
        flatten(name.clone(), value, &mut leaves);
    }
    leaves
}

fn flatten(path: String, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Null => {}
        Value::Object(parts) => flatten_object(&path, parts, leaves),
        Value::Array(elements) => {
            for element in elements {
                let kind = element["type"].as_str().unwrap_or_default();
                flatten(format!("{path}[{kind}]"), element, leaves);
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => drop(leaves.insert(path, value.clone())),
    }
}

fn flatten_object(path: &str, parts: &Map<String, Value>, leaves: &mut BTreeMap<String, Value>) {
    for (name, value) in parts {
        flatten(format!("{path}.{name}"), value, leaves);
    }
}

fn group_difference(
    id: &str,
    expected: &ExpectedGroup,
    directory: &Expected,
    target: &Target<'_>,
) -> Option<Difference> {
    let Some(group) = target.groups.get(id) else { return Some(difference("Group", id, "is missing")) };
    let mut said = Vec::new();
    if group["displayName"].as_str() != Some(expected.name.as_str()) {
        said.push(format!("displayName is {}, not {:?}", group["displayName"], expected.name));
    }
    let known = |member: &&String| !target.never_had(member, directory);
    let wanted: BTreeSet<String> = expected.members.iter().filter(known).cloned().collect();
    let listed: Vec<String> =
        group["members"].as_array().into_iter().flatten().map(|member| target.named(member)).collect();
    let actual: BTreeSet<String> = listed.iter().cloned().collect();
    if actual.len() < listed.len() {
        said.push("lists a member twice".to_owned());
    }
    said.extend(list_of("lacks", wanted.difference(&actual)));
    said.extend(list_of("should not list", actual.difference(&wanted)));
    (!said.is_empty()).then(|| difference("Group", id, said.join("; ")))
}

fn list_of<'a>(verb: &str, people: impl Iterator<Item = &'a String>) -> Option<String> {
    let people: Vec<&str> = people.map(String::as_str).collect();
    (!people.is_empty()).then(|| format!("{verb} {}", people.join(", ")))
}
