//! A random story: who exists, what the source says about them, when things break.

use std::time::Duration;

use serde_json::{Value, json};

use super::dice::Dice;
use super::events::{DEPARTMENT, Event, MANAGER, Part, Said, group, user};
use scim_relay::core::resource::{ResourceKey, ResourceType};

/// How big a story is, and what happens in it.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub users: usize,
    pub groups: usize,
    pub events: usize,
    /// User names from a small pool: people want each other's.
    pub rivals: bool,
    /// References to what is never put.
    pub ghosts: bool,
}

impl Size {
    pub fn draw(dice: &Dice) -> Self {
        Self {
            users: 1 + dice.below(8),
            groups: dice.below(4),
            events: 5 + dice.below(60),
            rivals: dice.per_mille(300),
            ghosts: dice.per_mille(300),
        }
    }
}

/// Makes events.
pub struct Author<'a> {
    pub dice: &'a Dice,
    pub size: Size,
    pub seq: u64,
}

impl Author<'_> {
    /// The next event about anybody.
    pub fn event(&mut self) -> Event {
        let about = self.dice.below(self.size.users + self.size.groups);
        let key = match about < self.size.users {
            true => user(&format!("u-{about}")),
            false => group(&format!("g-{}", about - self.size.users)),
        };
        self.about(key)
    }

    /// The next event about this one.
    pub fn about(&mut self, key: ResourceKey) -> Event {
        self.seq += 1;
        let said = match (key.kind, self.dice.below(20)) {
            (_, 0..=7) => self.put(&key),
            (_, 8..=13) => Said::Patch((0..1 + self.dice.below(3)).map(|_| self.part(&key)).collect()),
            (_, 14..=15) => Said::Delete,
            (ResourceType::User, 16..=17) => Said::Activate,
            (ResourceType::User, _) => Said::Deactivate,
            (ResourceType::Group, _) => self.put(&key),
        };
        Event { seq: self.seq, key, said }
    }

    /// An event that changes something of a resource that is alive.
    pub fn touch(&mut self, key: ResourceKey) -> Event {
        self.seq += 1;
        let part = match key.kind {
            ResourceType::User => Part::Set("title", self.text("title")),
            ResourceType::Group => Part::Set("displayName", self.text("group")),
        };
        Event { seq: self.seq, key, said: Said::Patch(vec![part]) }
    }

    fn text(&self, word: &str) -> String {
        format!("{word}-{}", self.seq)
    }

    fn user_name(&self, key: &ResourceKey) -> String {
        match (self.size.rivals, self.dice.below(3)) {
            (true, _) => format!("name{}", self.dice.below(self.size.users)),
            (false, 0) => format!("{}.{}", key.external_id, self.text("n")),
            (false, _) => format!("{}@x", key.external_id),
        }
    }

    fn person(&self) -> String {
        match self.size.ghosts && self.dice.per_mille(100) {
            true => "ghost".into(),
            false => format!("u-{}", self.dice.below(self.size.users)),
        }
    }

    fn people(&self) -> Vec<String> {
        let mut people: Vec<String> = (0..self.dice.below(4)).map(|_| self.person()).collect();
        people.sort();
        people.dedup();
        people
    }

    fn put(&self, key: &ResourceKey) -> Said {
        if key.kind == ResourceType::Group {
            let members = self.dice.per_mille(600).then(|| self.people());
            let name = json!(format!("{} {}", key.external_id, self.text("group")));
            return Said::Put { attributes: vec![("displayName", name)], active: None, members };
        }
        let mut attributes = vec![("userName", json!(self.user_name(key)))];
        let mut maybe = |path, value: Value| {
            if self.dice.per_mille(500) {
                attributes.push((path, value));
            }
        };
        maybe("title", json!(self.text("title")));
        maybe("name", self.name());
        maybe("emails", self.emails());
        maybe(DEPARTMENT, json!(self.text("department")));
        maybe(MANAGER, json!({ "value": self.person() }));
        let active = self.dice.per_mille(300).then(|| self.dice.per_mille(500));
        Said::Put { attributes, active, members: None }
    }

    fn name(&self) -> Value {
        match self.dice.per_mille(500) {
            true => json!({ "givenName": self.text("given") }),
            false => json!({ "givenName": self.text("given"), "middleName": self.text("middle") }),
        }
    }

    fn emails(&self) -> Value {
        let work = json!({ "type": "work", "value": self.text("work") });
        let home = json!({ "type": "home", "value": self.text("home") });
        match self.dice.below(3) {
            0 => json!([work]),
            1 => json!([home]),
            _ => json!([work, home]),
        }
    }

    fn part(&self, key: &ResourceKey) -> Part {
        if key.kind == ResourceType::Group {
            return match self.dice.below(4) {
                0 => Part::Set("displayName", format!("{} {}", key.external_id, self.text("group"))),
                1 => Part::AddMembers(self.people()),
                // a removal of no members in particular is one of all
                2 => Part::DropMembers(vec![self.person()]),
                _ => Part::ReplaceMembers(self.people()),
            };
        }
        match self.dice.below(9) {
            0 => Part::Set("title", self.text("title")),
            1 => Part::Unset("title"),
            2 => Part::GivenName(self.text("given")),
            3 => Part::WorkMail(self.text("work")),
            4 => Part::AddHomeMail(self.text("home")),
            5 => Part::DropMail(*self.dice.pick::<&str>(&["work", "home"])),
            6 => Part::Set("userName", self.user_name(key)),
            7 => Part::Set(DEPARTMENT, self.text("department")),
            _ => Part::Manager(self.person()),
        }
    }

    /// How long it is quiet between two events.
    pub fn pause(&self) -> Duration {
        match self.dice.below(3) {
            0 => Duration::ZERO,
            1 => Duration::from_millis(self.dice.between(0, 500)),
            _ => Duration::from_millis(self.dice.between(0, 15_000)),
        }
    }
}
