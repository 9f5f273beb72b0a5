//! What a source says: events with ascending sequence numbers, as typed values and as messages.

use serde_json::{Map, Value, json};

use scim_relay::core::path::ENTERPRISE;
use scim_relay::core::resource::{ResourceKey, ResourceType};
use scim_relay::pipeline::ports::Message;

/// Whole attributes that events write, besides `active` and `members`.
pub const DEPARTMENT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
/// The manager, whole.
pub const MANAGER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";

/// One operation of a patch.
#[derive(Clone, Debug)]
pub enum Part {
    /// A simple attribute by its path.
    Set(&'static str, String),
    Unset(&'static str),
    GivenName(String),
    WorkMail(String),
    AddHomeMail(String),
    DropMail(&'static str),
    Manager(String),
    AddMembers(Vec<String>),
    DropMembers(Vec<String>),
    ReplaceMembers(Vec<String>),
}

/// What an event says.
#[derive(Clone, Debug)]
pub enum Said {
    /// Whole attributes by path, `active` and `members` apart.
    Put {
        attributes: Vec<(&'static str, Value)>,
        active: Option<bool>,
        members: Option<Vec<String>>,
    },
    Patch(Vec<Part>),
    Delete,
    Activate,
    Deactivate,
}

/// An event.
#[derive(Clone, Debug)]
pub struct Event {
    pub seq: u64,
    pub key: ResourceKey,
    pub said: Said,
}

/// `User/u-1` and the like.
pub fn user(name: &str) -> ResourceKey {
    format!("User/{name}").parse().unwrap()
}

pub fn group(name: &str) -> ResourceKey {
    format!("Group/{name}").parse().unwrap()
}

impl Event {
    /// As published to the publishers' exchange.
    pub fn message(&self) -> Message {
        let (verb, data) = match &self.said {
            Said::Put { attributes, active, members } => {
                ("put", put(attributes, *active, members.as_deref()))
            }
            Said::Patch(parts) => {
                ("patch", json!({ "Operations": parts.iter().map(operation).collect::<Vec<_>>() }))
            }
            Said::Delete => ("delete", Value::Null),
            Said::Activate => ("activate", Value::Null),
            Said::Deactivate => ("deactivate", Value::Null),
        };
        let word = match self.key.kind {
            ResourceType::User => "user",
            ResourceType::Group => "group",
        };
        let kind = format!("directory.{word}.{verb}");
        let body = json!({
            "specversion": "1.0", "id": format!("event-{}", self.seq), "source": "/simulation", "type": kind,
            "subject": self.key.external_id, "sequence": self.seq.to_string(), "data": data,
        });
        Message {
            exchange: "directory.events".into(),
            routing_key: kind,
            body: body.to_string().into_bytes(),
            content_type: Some("application/cloudevents+json".into()),
            ..Message::default()
        }
    }
}

fn put(attributes: &[(&'static str, Value)], active: Option<bool>, members: Option<&[String]>) -> Value {
    let mut data = Map::new();
    for (path, value) in attributes {
        match path.strip_prefix(ENTERPRISE) {
            Some(name) => {
                let extension = data.entry(ENTERPRISE).or_insert_with(|| json!({}));
                extension[&name[1..]] = value.clone();
            }
            None => drop(data.insert((*path).to_owned(), value.clone())),
        }
    }
    data.extend(active.map(|active| ("active".to_owned(), json!(active))));
    data.extend(members.map(|members| ("members".to_owned(), list(members))));
    Value::Object(data)
}

fn list(members: &[String]) -> Value {
    // `Group/x`: a group in the group
    let one = |member: &String| match member.strip_prefix("Group/") {
        Some(group) => json!({ "value": group, "type": "Group" }),
        None => json!({ "value": member }),
    };
    members.iter().map(one).collect()
}

fn operation(part: &Part) -> Value {
    match part {
        Part::Set(path, value) => json!({ "op": "replace", "path": path, "value": value }),
        Part::Unset(path) => json!({ "op": "remove", "path": path }),
        Part::GivenName(value) => json!({ "op": "Replace", "path": "name.givenName", "value": value }),
        Part::WorkMail(value) => {
            json!({ "op": "replace", "path": "emails[type eq \"work\"].value", "value": value })
        }
        Part::AddHomeMail(value) => {
            json!({ "op": "add", "path": "emails", "value": [{ "type": "home", "value": value }] })
        }
        Part::DropMail(kind) => json!({ "op": "remove", "path": format!("emails[type eq \"{kind}\"]") }),
        Part::Manager(name) => json!({ "op": "replace", "path": MANAGER, "value": name }),
        Part::AddMembers(members) => json!({ "op": "add", "path": "members", "value": list(members) }),
        Part::DropMembers(members) => json!({ "op": "remove", "path": "members", "value": list(members) }),
        Part::ReplaceMembers(members) => {
            json!({ "op": "replace", "path": "members", "value": list(members) })
        }
    }
}

/// A user, put whole.
pub fn put_user(seq: u64, name: &str) -> Event {
    let attributes = vec![("userName", json!(format!("{name}@x"))), ("title", json!(format!("title-{seq}")))];
    Event { seq, key: user(name), said: Said::Put { attributes, active: None, members: None } }
}

/// A group, put with these members.
pub fn put_group(seq: u64, name: &str, members: &[&str]) -> Event {
    let attributes = vec![("displayName", json!(name))];
    let members = Some(members.iter().map(|member| (*member).to_owned()).collect());
    Event { seq, key: group(name), said: Said::Put { attributes, active: None, members } }
}

/// Anything else.
pub fn said(seq: u64, key: ResourceKey, said: Said) -> Event {
    Event { seq, key, said }
}
