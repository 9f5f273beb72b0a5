//! A SCIM provider's resources in memory, at the level of operations.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use scim_relay::core::operation::{Operation, Write};
use scim_relay::core::outcome::Answer;
use scim_relay::core::resource::{ETag, ResourceType, TargetId};
use scim_relay::pipeline::ports::Query;

use super::scim_patch::{self, Refused};

/// How this provider behaves.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Versions mean something: a write with another one is refused.
    pub etag: bool,
    /// PATCH exists.
    pub patch: bool,
    /// Removing a member that is not there is an error (400 `noTarget`).
    pub strict_members: bool,
    /// Deleting a user takes it out of its groups.
    pub cascade: bool,
    /// A second user with an externalId is refused, as one with a taken user name is.
    pub unique: bool,
    /// A DELETE of a user hides it: it is inactive, in no listing, known by its id, and its name is taken.
    pub soft_delete: bool,
    /// Groups are shown with their members.
    pub lists_members: bool,
    /// A PATCH may write the whole list of members.
    pub whole_lists: bool,
    /// An attribute that can't be removed by a PATCH.
    pub stubborn: Option<&'static str>,
}

/// A resource as stored: without `id` and `meta`.
#[derive(Clone, Debug)]
pub struct Stored {
    pub kind: ResourceType,
    pub body: Map<String, Value>,
    pub version: u64,
}

impl Stored {
    pub fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name)?.as_str()
    }

    /// The target ids of a group's members.
    pub fn members(&self) -> BTreeSet<String> {
        let members = self.body.get("members").and_then(Value::as_array).into_iter().flatten();
        members.filter_map(|member| Some(member.get("value")?.as_str()?.to_owned())).collect()
    }
}

/// A refusal: its status and `scimType`.
struct No(u16, &'static str);

/// All resources, by id.
#[derive(Debug)]
pub struct Directory {
    pub habits: Habits,
    stored: BTreeMap<String, Stored>,
    /// Ids by type, attribute and value: a company of ten thousand is not searched through for each write.
    index: BTreeSet<(ResourceType, &'static str, String, String)>,
    /// Deleted and only hidden.
    hidden: BTreeSet<String>,
    ids: u64,
    versions: u64,
    /// What a provider saw that no promise allows.
    pub violations: Vec<String>,
}

impl Directory {
    pub fn new(habits: Habits) -> Self {
        Self {
            habits,
            stored: BTreeMap::new(),
            index: BTreeSet::new(),
            hidden: BTreeSet::new(),
            ids: 0,
            versions: 0,
            violations: Vec::new(),
        }
    }

    pub fn all(&self, kind: ResourceType) -> impl Iterator<Item = (&String, &Stored)> {
        self.stored.iter().filter(move |(_, stored)| stored.kind == kind)
    }

    pub fn get(&self, id: &str) -> Option<&Stored> {
        self.stored.get(id)
    }

    pub fn with_external_id(&self, kind: ResourceType, external_id: &str) -> Vec<(&String, &Stored)> {
        let ids = self.indexed(kind, "externalId", external_id);
        ids.filter_map(|id| self.stored.get_key_value(id)).collect()
    }

    fn indexed<'a>(
        &'a self,
        kind: ResourceType,
        attribute: &'static str,
        value: &str,
    ) -> impl Iterator<Item = &'a String> + use<'a> {
        let from = (kind, attribute, value.to_owned(), String::new());
        let value = value.to_owned();
        let of_value = move |(k, a, v, _): &&(ResourceType, &'static str, String, String)| {
            (*k, *a, v.as_str()) == (kind, attribute, value.as_str())
        };
        self.index.range(from..).take_while(of_value).map(|(.., id)| id)
    }

    /// The ids of what a query matches.
    pub fn matching<'a>(&'a self, kind: ResourceType, query: &Query) -> impl Iterator<Item = &'a String> {
        let value = match query.attribute {
            "externalId" => query.value.clone(),
            _ => query.value.to_lowercase(),
        };
        self.indexed(kind, query.attribute, &value).filter(|id| !self.hidden.contains(*id))
    }

    /// The resource as it is answered.
    pub fn shown(&self, id: &str) -> Option<Value> {
        let stored = self.stored.get(id)?;
        let mut body = stored.body.clone();
        if !self.habits.lists_members && stored.kind == ResourceType::Group {
            body.insert("members".into(), json!([]));
        }
        body.insert("id".into(), json!(id));
        body.insert("meta".into(), json!({ "version": self.version(stored) }));
        Some(Value::Object(body))
    }

    fn version(&self, stored: &Stored) -> String {
        format!("W/\"{}\"", stored.version)
    }

    /// The answer to a read, and to a write that succeeded.
    pub fn answer(&self, id: &str, status: u16) -> Answer {
        let resource = self.shown(id);
        let etag = self.stored.get(id).and_then(|stored| ETag::new(&self.version(stored)));
        Answer { status, id: TargetId::new(id), etag, resource, ..Answer::default() }
    }

    /// Applies one operation; `ids`: what the request's `bulkId`s became so far.
    pub fn apply(&mut self, operation: &Operation, ids: &BTreeMap<String, String>) -> Answer {
        let body = operation.body().map(|body| resolved(body.clone(), ids)).unwrap_or_default();
        if body.to_string().contains("bulkId:") {
            return refusal(409, "invalidValue");
        }
        self.changed(operation, body).unwrap_or_else(|No(status, scim_type)| refusal(status, scim_type))
    }

    fn changed(&mut self, operation: &Operation, body: Value) -> Result<Answer, No> {
        let kind = operation.kind();
        let id = match &operation.write {
            Write::Create { .. } => return self.create(kind, body),
            Write::Patch { id, .. } | Write::Put { id, .. } | Write::Delete { id, .. } => {
                id.as_str().to_owned()
            }
        };
        let stored = self.stored.get(&id).filter(|stored| stored.kind == kind);
        let stored = stored.ok_or(No(404, ""))?.clone();
        self.check_version(operation, &stored)?;
        match &operation.write {
            Write::Delete { .. } if self.habits.soft_delete && kind == ResourceType::User => {
                self.edit(&id, |body| drop(body.insert("active".into(), json!(false))));
                self.hidden.insert(id);
                return Ok(Answer { status: 204, ..Answer::default() });
            }
            Write::Delete { .. } => {
                self.remove(&id);
                return Ok(Answer { status: 204, ..Answer::default() });
            }
            Write::Patch { .. } if !self.habits.patch => return Err(No(501, "")),
            Write::Create { .. } | Write::Patch { .. } | Write::Put { .. } => {}
        }
        if !self.habits.whole_lists && scim_patch::writes_all_members(&body) {
            return Err(No(400, "mutability"));
        }
        if self.habits.stubborn.is_some_and(|path| scim_patch::removes(&body, path)) {
            return Err(No(400, "mutability"));
        }
        let new = match &operation.write {
            Write::Patch { .. } => {
                scim_patch::patched(stored.body.clone(), &body, self.habits.strict_members)
                    .map_err(|Refused(scim_type)| No(400, scim_type))?
            }
            _ => writable(body),
        };
        self.check_unique(kind, &new, Some(&id))?;
        self.check_order(operation, &stored, &new);
        if new.get("active") == Some(&json!(true)) {
            self.hidden.remove(&id);
        }
        self.store(id.clone(), kind, new);
        Ok(self.answer(&id, 200))
    }

    fn create(&mut self, kind: ResourceType, body: Value) -> Result<Answer, No> {
        let body = writable(body);
        self.check_unique(kind, &body, None)?;
        let external_id = body.get("externalId").and_then(Value::as_str).unwrap_or_default();
        if !self.with_external_id(kind, external_id).is_empty() {
            self.violations.push(format!("a second {kind}/{external_id} was created"));
        }
        let id = self.insert(kind, body);
        Ok(self.answer(&id, 201))
    }

    fn check_version(&mut self, operation: &Operation, stored: &Stored) -> Result<(), No> {
        if !self.habits.etag {
            return Ok(());
        }
        match operation.version() {
            Some(version) if version.as_str() == self.version(stored) => Ok(()),
            Some(_) => Err(No(412, "")),
            None => {
                self.violations.push(format!("{}: a write without a version", operation.key));
                Ok(())
            }
        }
    }

    fn check_unique(
        &self,
        kind: ResourceType,
        body: &Map<String, Value>,
        own: Option<&str>,
    ) -> Result<(), No> {
        let text = |name| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let named = self.indexed(kind, "userName", &text("userName").to_lowercase());
        let claimed = self.with_external_id(kind, text("externalId")).into_iter().map(|(id, _)| id);
        let mut holders = named.chain(claimed.filter(|_| self.habits.unique));
        match kind == ResourceType::User && holders.any(|id| Some(id.as_str()) != own) {
            true => Err(No(409, "uniqueness")),
            false => Ok(()),
        }
    }

    /// With versions no older value may take the place of a newer one: values end in the number of their event.
    fn check_order(&mut self, operation: &Operation, old: &Stored, new: &Map<String, Value>) {
        if !self.habits.etag {
            return;
        }
        for (name, value) in new {
            let (before, now) = (old.body.get(name).and_then(number), number(value));
            if let (Some(before), Some(now)) = (before, now)
                && now < before
            {
                self.violations.push(format!("{} {name}: {now} was written over {before}", operation.key));
            }
        }
    }

    /// Puts a resource in as it is: what somebody else created.
    pub fn insert(&mut self, kind: ResourceType, body: Map<String, Value>) -> String {
        self.ids += 1;
        let id = format!("t-{}", self.ids);
        self.store(id.clone(), kind, body);
        id
    }

    /// Somebody else changes a resource.
    pub fn edit(&mut self, id: &str, edit: impl FnOnce(&mut Map<String, Value>)) {
        if let Some(mut stored) = self.stored.get(id).cloned() {
            edit(&mut stored.body);
            self.store(id.to_owned(), stored.kind, stored.body);
        }
    }

    fn store(&mut self, id: String, kind: ResourceType, body: Map<String, Value>) {
        self.versions += 1;
        let stored = Stored { kind, body, version: self.versions };
        let new = entries(&id, &stored);
        if let Some(old) = self.stored.insert(id.clone(), stored) {
            self.forget(&id, &old);
        }
        self.index.extend(new);
    }

    fn forget(&mut self, id: &str, old: &Stored) {
        for entry in entries(id, old) {
            self.index.remove(&entry);
        }
    }

    /// Removes a resource.
    pub fn remove(&mut self, id: &str) -> Option<Stored> {
        let removed = self.stored.remove(id)?;
        self.forget(id, &removed);
        if self.habits.cascade && removed.kind == ResourceType::User {
            let groups: Vec<String> = self.all(ResourceType::Group).map(|(id, _)| id.clone()).collect();
            for group in groups {
                if self.stored[&group].members().contains(id) {
                    self.edit(&group, |body| scim_patch::drop_member(body, id));
                }
            }
        }
        Some(removed)
    }
}

/// A resource's entries in the index: names compare in any case.
fn entries(id: &str, stored: &Stored) -> Vec<(ResourceType, &'static str, String, String)> {
    let external_id = stored.text("externalId").map(|value| ("externalId", value.to_owned()));
    let name = |attribute| Some((attribute, stored.text(attribute)?.to_lowercase()));
    let values = external_id.into_iter().chain(name("userName")).chain(name("displayName"));
    values.map(|(attribute, value)| (stored.kind, attribute, value, id.to_owned())).collect()
}

/// The number at the end of `title-17`.
fn number(value: &Value) -> Option<u64> {
    value.as_str()?.rsplit_once('-')?.1.parse().ok()
}

fn writable(body: Value) -> Map<String, Value> {
    let Value::Object(mut body) = body else { return Map::new() };
    body.retain(|name, _| name != "id" && name != "meta");
    body
}

fn resolved(body: Value, ids: &BTreeMap<String, String>) -> Value {
    match body {
        Value::String(text) => match text.strip_prefix("bulkId:").and_then(|bulk_id| ids.get(bulk_id)) {
            Some(id) => json!(id),
            None => Value::String(text),
        },
        Value::Array(items) => items.into_iter().map(|item| resolved(item, ids)).collect(),
        Value::Object(map) => map.into_iter().map(|(name, value)| (name, resolved(value, ids))).collect(),
        other => other,
    }
}

/// An error of SCIM's own.
pub fn refusal(status: u16, scim_type: &str) -> Answer {
    let scim_type = (!scim_type.is_empty()).then(|| scim_type.to_owned());
    Answer { status, scim_type, scim_error: true, ..Answer::default() }
}
