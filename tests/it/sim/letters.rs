//! Dead letters as checks read them: which registers have their home in one, at which event's number.

use std::collections::BTreeMap;

use serde_json::Value;

use scim_relay::core::path::Path;
use scim_relay::core::resource::ResourceKey;
use scim_relay::pipeline::ports::{Header, Message};

/// What the dead letters of one resource hold: the newest number per whole attribute, member and floor.
#[derive(Debug, Default)]
pub struct Home {
    pub attributes: BTreeMap<String, u64>,
    pub members: BTreeMap<String, u64>,
    pub put: u64,
    pub deleted: u64,
    pub classes: Vec<String>,
}

impl Home {
    /// True if a letter holds this attribute as that event said it.
    pub fn has(&self, path: &str, seq: u64) -> bool {
        self.attributes.get(path).is_some_and(|held| *held >= seq)
    }

    pub fn has_member(&self, member: &str, seq: u64) -> bool {
        self.members.get(member).is_some_and(|held| *held >= seq)
    }
}

/// The class that a letter states.
pub fn class(letter: &Message) -> String {
    match letter.headers.get("x-relay-class") {
        Some(Header::Text(class)) => class.clone(),
        _ => String::new(),
    }
}

/// The homes of all resources.
pub fn homes(letters: &[Message]) -> BTreeMap<ResourceKey, Home> {
    let mut homes: BTreeMap<ResourceKey, Home> = BTreeMap::new();
    for letter in letters {
        let body: Value = serde_json::from_slice(&letter.body).unwrap();
        let kind = if body["type"].as_str().unwrap().contains(".user.") { "User" } else { "Group" };
        let key = format!("{kind}/{}", body["subject"].as_str().unwrap()).parse().unwrap();
        homes.entry(key).or_default().add(&body["data"], class(letter));
    }
    homes
}

impl Home {
    fn add(&mut self, intent: &Value, class: String) {
        self.classes.push(class);
        for register in intent["attributes"].as_array().into_iter().flatten() {
            let path: Path = register["path"].as_str().unwrap().parse().unwrap();
            raise(self.attributes.entry(path.root().to_string()).or_default(), &register["revision"]);
        }
        for member in intent["members"].as_array().into_iter().flatten() {
            let name = member["value"].as_str().unwrap().to_owned();
            raise(self.members.entry(name).or_default(), &member["revision"]);
        }
        raise(&mut self.put, &intent["lifecycle"]["put"]);
        raise(&mut self.deleted, &intent["lifecycle"]["deleted"]);
    }
}

fn raise(held: &mut u64, revision: &Value) {
    let seq = revision["sequence"].as_str().and_then(|seq| seq.parse().ok()).unwrap_or(0);
    *held = (*held).max(seq);
}
