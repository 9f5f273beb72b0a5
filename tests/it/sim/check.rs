//! Does the target equal the model, or does a dead letter hold what is missing?

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use scim_relay::core::gap::Deprovisioning;
use scim_relay::core::listing::Memberships;
use scim_relay::core::path::ENTERPRISE;
use scim_relay::core::resource::{ResourceKey, ResourceType};

use super::directory::{Directory, Stored};
use super::events::{DEPARTMENT, MANAGER};
use super::letters::Home;
use super::model::{Expected, Life, Word};

/// The whole attributes that events write.
const VOCABULARY: [&str; 7] = ["userName", "displayName", "title", "name", "emails", DEPARTMENT, MANAGER];

/// What somebody else wrote, and must stay: attributes by target id, and members.
#[derive(Clone, Debug, Default)]
pub struct Foreign {
    pub attributes: BTreeMap<(String, &'static str), Value>,
    pub members: BTreeSet<(String, String)>,
}

/// One comparison of all.
pub struct Check<'a> {
    pub directory: &'a Directory,
    pub expected: &'a BTreeMap<ResourceKey, Expected>,
    pub homes: &'a BTreeMap<ResourceKey, Home>,
    pub foreign: &'a Foreign,
    pub user: Deprovisioning,
    pub group: Deprovisioning,
    pub memberships: Memberships,
    pub problems: Vec<String>,
}

impl Check<'_> {
    /// All differences.
    pub fn run(mut self) -> Vec<String> {
        let nothing = Home::default();
        for (key, expected) in self.expected {
            self.resource(key, expected, self.homes.get(key).unwrap_or(&nothing));
        }
        self.foreign();
        self.problems.extend(self.directory.violations.iter().cloned());
        self.problems
    }

    fn note(&mut self, key: &ResourceKey, problem: impl std::fmt::Display) {
        self.problems.push(format!("{key}: {problem}"));
    }

    fn resource(&mut self, key: &ResourceKey, expected: &Expected, home: &Home) {
        let found = self.directory.with_external_id(key.kind, key.external_id.as_str());
        if found.len() > 1 {
            self.note(key, format_args!("exists {} times", found.len()));
        }
        match (expected.life, found.first()) {
            (Life::Deleted, found) if home.deleted < expected.since => {
                self.deleted(key, found.map(|(_, s)| *s))
            }
            (Life::Deleted, _) => {}
            (Life::Alive | Life::Unborn, Some((_, stored))) => self.present(key, expected, home, stored),
            (Life::Alive | Life::Unborn, None) => self.missing(key, expected, home),
        }
    }

    fn deleted(&mut self, key: &ResourceKey, stored: Option<&Stored>) {
        let policy = match key.kind {
            ResourceType::User => self.user,
            ResourceType::Group => self.group,
        };
        match (policy, stored) {
            (Deprovisioning::Delete, Some(_)) => self.note(key, "is deleted, and still there"),
            (Deprovisioning::Deactivate, Some(stored))
                if key.kind == ResourceType::User && stored.body.get("active") != Some(&json!(false)) =>
            {
                self.note(key, "is deleted, and still active");
            }
            _ => {}
        }
    }

    /// Not at the target: each word has its home in a letter.
    fn missing(&mut self, key: &ResourceKey, expected: &Expected, home: &Home) {
        for (path, word) in &expected.attributes {
            if word.value.is_some() && !home.has(path, word.seq) {
                self.note(
                    key,
                    format_args!("is missing, and `{path}` of event {} is in no letter", word.seq),
                );
            }
        }
        // what exists nowhere is inactive
        if let Some(active) = &expected.active
            && active.value
            && !home.has("active", active.seq)
            && home.put < active.seq
        {
            self.note(key, "is missing, and its `active` is in no letter");
        }
        for (member, word) in &expected.members {
            if word.value && !home.has_member(member, word.seq) {
                self.note(key, format_args!("is missing, and its member {member} is in no letter"));
            }
        }
        if expected.life == Life::Alive && home.put < expected.since {
            self.note(key, "is missing, and its `put` is in no letter");
        }
    }

    fn present(&mut self, key: &ResourceKey, expected: &Expected, home: &Home, stored: &Stored) {
        for path in VOCABULARY {
            let nothing = Word { value: None, seq: expected.since };
            let word = match (expected.attributes.get(path), expected.life) {
                (Some(word), _) => word,
                (None, Life::Alive) => &nothing,
                (None, Life::Unborn | Life::Deleted) => continue,
            };
            let actual = value_at(stored, path);
            let fits = match path {
                MANAGER => self.manager_fits(word, actual, home),
                "name" => name_fits(word.value.as_ref(), actual),
                _ => normal(word.value.as_ref()) == normal(actual),
            };
            // of an attribute in parts, a letter may hold some
            let parts = matches!(path, "name" | "emails");
            // a letter that holds the `put` holds what the `put` leaves out
            let left_out = !expected.attributes.contains_key(path) && home.put >= expected.since;
            if !fits && !left_out && !home.has(path, if parts { 1 } else { word.seq }) {
                let (wanted, seq) = (&word.value, word.seq);
                self.note(key, format_args!("`{path}` is {actual:?}, event {seq} says {wanted:?}"));
            }
        }
        self.active(key, expected, home, stored);
        self.members(key, expected, home, stored);
    }

    fn active(&mut self, key: &ResourceKey, expected: &Expected, home: &Home, stored: &Stored) {
        let nothing = Word { value: true, seq: 0 };
        let word = expected.active.as_ref().unwrap_or(&nothing);
        let actual = stored.body.get("active");
        let fits = key.kind == ResourceType::Group || actual == Some(&json!(word.value));
        if !fits && !home.has("active", word.seq) {
            self.note(key, format_args!("`active` is {actual:?}, event {} says {}", word.seq, word.value));
        }
    }

    fn user_id(&self, name: &str) -> Option<&String> {
        self.directory.with_external_id(ResourceType::User, name).first().map(|(id, _)| *id)
    }

    /// True if whoever has this id is inactive, and with it in no group.
    fn is_out(&self, id: &str) -> bool {
        let active = self.directory.get(id).and_then(|stored| stored.body.get("active"));
        self.memberships == Memberships::Remove && active == Some(&json!(false))
    }

    fn is_in_letter(&self, name: &str) -> bool {
        self.homes.contains_key(&super::events::user(name))
    }

    /// A reference to what is deleted, and not there any more, is nobody's; one to what a letter holds comes with it.
    fn is_void(&self, name: &str) -> bool {
        let key = super::events::user(name);
        let Some(user) = self.expected.get(&key).filter(|_| self.user_id(name).is_none()) else {
            return false;
        };
        let in_letter = self.homes.get(&key).is_some_and(|home| home.put >= user.since);
        user.life == Life::Deleted || (user.life == Life::Alive && in_letter)
    }

    fn manager_fits(&self, word: &Word<Option<Value>>, actual: Option<&Value>, home: &Home) -> bool {
        let actual = actual.and_then(|manager| manager["value"].as_str());
        let Some(name) = word.value.as_ref().and_then(|manager| manager["value"].as_str()) else {
            return actual.is_none();
        };
        match self.user_id(name) {
            Some(id) => actual == Some(id.as_str()),
            None => self.is_void(name) || home.has(MANAGER, word.seq),
        }
    }

    fn members(&mut self, key: &ResourceKey, expected: &Expected, home: &Home, stored: &Stored) {
        let actual = stored.members();
        let mut allowed = BTreeSet::new();
        for (member, word) in expected.members.iter().filter(|(_, word)| word.value) {
            let held = home.has_member(member, word.seq);
            match self.user_id(member).cloned() {
                // a letter may hold what makes it active or not, and with it whether it is in
                Some(id) if self.is_out(&id) && !held && !self.is_in_letter(member) => {
                    if actual.contains(&id) {
                        self.note(key, format_args!("has member {member} ({id}), who has left"));
                        allowed.insert(id);
                    }
                }
                Some(id) if actual.contains(&id) || held => drop(allowed.insert(id)),
                Some(_) if self.memberships == Memberships::Remove && self.is_in_letter(member) => {}
                Some(id) => {
                    self.note(key, format_args!("lacks member {member} ({id}) of event {}", word.seq))
                }
                None if held || self.is_void(member) => {}
                None => self.note(key, format_args!("member {member} is neither there nor in a letter")),
            }
        }
        let left = actual.iter().filter(|id| !allowed.contains(*id) && self.directory.get(id).is_some());
        let ours = |id: &&String| !self.foreign.members.iter().any(|(_, foreign)| foreign == *id);
        let surplus: Vec<String> = left.filter(ours).cloned().collect();
        for id in surplus {
            // adopted, and deleted before anything was written to it
            let Some(name) = self.directory.get(&id).and_then(|s| s.text("externalId")).map(str::to_owned)
            else {
                continue;
            };
            let seq = expected.members.get(&name).map_or(expected.since, |word| word.seq);
            if !home.has_member(&name, seq) {
                self.note(key, format_args!("has member {name} ({id}), event {seq} says no"));
            }
        }
    }

    fn foreign(&mut self) {
        for ((id, name), value) in &self.foreign.attributes {
            if let Some(stored) = self.directory.get(id)
                && value_at(stored, name) != Some(value)
            {
                self.problems.push(format!("{id}: the foreign `{name}` is gone"));
            }
        }
        for (id, member) in &self.foreign.members {
            if self.directory.get(id).is_some_and(|stored| !stored.members().contains(member)) {
                self.problems.push(format!("{id}: the foreign member {member} is gone"));
            }
        }
    }
}

/// The value at an attribute, `name.familyName` or an extension's attribute.
fn value_at<'a>(stored: &'a Stored, path: &str) -> Option<&'a Value> {
    match path.strip_prefix(ENTERPRISE) {
        Some(name) => stored.body.get(ENTERPRISE)?.get(&name[1..]),
        None => match path.split_once('.') {
            Some((whole, sub)) => stored.body.get(whole)?.get(sub),
            None => stored.body.get(path),
        },
    }
}

/// The sub-attributes that events write; `familyName` is a stranger's.
fn name_fits(wanted: Option<&Value>, actual: Option<&Value>) -> bool {
    ["givenName", "middleName"].iter().all(|sub| {
        let at = |value: Option<&Value>| value.and_then(|value| value.get(sub)).cloned();
        at(wanted) == at(actual)
    })
}

fn normal(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => {
            let mut items: Vec<String> = items.iter().map(Value::to_string).collect();
            items.sort();
            Some(items.join(","))
        }
        other => Some(other.to_string()),
    }
}
