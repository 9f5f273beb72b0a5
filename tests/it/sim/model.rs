//! What the source says in the end: its events in the order of their numbers, one after the other. Nothing of the
//! relay's own merging is used here.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use scim_relay::core::resource::ResourceKey;

use super::events::{Event, MANAGER, Part, Said};

/// What the source wants to exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// Never put.
    #[default]
    Unborn,
    Alive,
    Deleted,
}

/// Something said, and by which event.
#[derive(Clone, Debug, PartialEq)]
pub struct Word<T> {
    pub value: T,
    pub seq: u64,
}

/// One resource in the end.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub life: Life,
    /// The event that brought it to life or ended it.
    pub since: u64,
    /// Whole attributes by path; none: not to be there.
    pub attributes: BTreeMap<String, Word<Option<Value>>>,
    pub active: Option<Word<bool>>,
    /// Members by their name, in or out.
    pub members: BTreeMap<String, Word<bool>>,
}

/// All resources. `base`: what the target had before, by key; patches without a `put` go on top of it.
pub fn expected(
    events: &[Event],
    base: &BTreeMap<ResourceKey, Map<String, Value>>,
) -> BTreeMap<ResourceKey, Expected> {
    let mut ordered: Vec<&Event> = events.iter().collect();
    ordered.sort_by_key(|event| event.seq);
    let mut all: BTreeMap<ResourceKey, Expected> = BTreeMap::new();
    for event in ordered {
        let known = base.get(&event.key);
        all.entry(event.key.clone()).or_default().hear(event, known);
    }
    all
}

impl Expected {
    fn hear(&mut self, event: &Event, base: Option<&Map<String, Value>>) {
        let seq = event.seq;
        match &event.said {
            Said::Delete => {
                *self = Expected { life: Life::Deleted, since: seq, ..Expected::default() };
            }
            Said::Put { attributes, active, members } => {
                let revived = self.life == Life::Deleted;
                (self.life, self.since) = (Life::Alive, seq);
                for word in self.attributes.values_mut() {
                    *word = Word { value: None, seq };
                }
                for (path, value) in attributes {
                    self.write(path, Some(value.clone()), seq);
                }
                if revived {
                    // what was said of it since the `delete` may belong to a `put` between, so it counts
                    self.active.get_or_insert(Word { value: true, seq });
                }
                if let Some(active) = active {
                    self.active = Some(Word { value: *active, seq });
                }
                if let Some(members) = members {
                    self.replace_members(members, seq);
                }
            }
            Said::Activate => self.active = Some(Word { value: true, seq }),
            Said::Deactivate => self.active = Some(Word { value: false, seq }),
            Said::Patch(parts) => parts.iter().for_each(|part| self.patch(part, seq, base)),
        }
    }

    fn write(&mut self, path: &str, value: Option<Value>, seq: u64) {
        self.attributes.insert(path.to_owned(), Word { value, seq });
    }

    fn current(&self, path: &str, base: Option<&Map<String, Value>>) -> Option<Value> {
        match self.attributes.get(path) {
            Some(word) => word.value.clone(),
            None if self.life == Life::Unborn => base.and_then(|base| base.get(path)).cloned(),
            None => None,
        }
    }

    /// On what is deleted only memberships count, should it come to life again: a `put` hides the rest.
    fn patch(&mut self, part: &Part, seq: u64, base: Option<&Map<String, Value>>) {
        match part {
            Part::Set(path, value) => self.write(path, Some(json!(value)), seq),
            Part::Unset(path) => self.write(path, None, seq),
            Part::Manager(name) => self.write(MANAGER, Some(json!({ "value": name })), seq),
            Part::GivenName(given) => {
                let mut name = self.current("name", base).unwrap_or_else(|| json!({}));
                name["givenName"] = json!(given);
                self.write("name", Some(name), seq);
            }
            Part::WorkMail(mail) => self.mail("work", Some(mail), seq, base),
            Part::AddHomeMail(mail) => self.mail("home", Some(mail), seq, base),
            Part::DropMail(kind) => self.mail(kind, None, seq, base),
            Part::AddMembers(members) => self.say_members(members, true, seq),
            Part::DropMembers(members) => self.say_members(members, false, seq),
            Part::ReplaceMembers(members) => self.replace_members(members, seq),
        }
    }

    fn mail(&mut self, kind: &str, mail: Option<&String>, seq: u64, base: Option<&Map<String, Value>>) {
        let mails = self.current("emails", base);
        let mut mails: Vec<Value> = mails.and_then(|mails| mails.as_array().cloned()).unwrap_or_default();
        mails.retain(|held| held["type"] != json!(kind));
        mails.extend(mail.map(|mail| json!({ "type": kind, "value": mail })));
        self.write("emails", (!mails.is_empty()).then_some(Value::Array(mails)), seq);
    }

    fn say_members(&mut self, members: &[String], value: bool, seq: u64) {
        self.members.extend(members.iter().map(|member| (member.clone(), Word { value, seq })));
    }

    fn replace_members(&mut self, members: &[String], seq: u64) {
        for word in self.members.values_mut() {
            *word = Word { value: false, seq };
        }
        self.say_members(members, true, seq);
    }
}
