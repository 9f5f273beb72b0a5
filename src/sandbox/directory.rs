//! The resources and their indexes. Pure: time and identifiers come in as arguments.

mod checks;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::error::Refusal;
use super::etag::{Condition, Form};
use super::members::{Edits, Id, Members};
use super::patch::{self, Operation};
use super::schema::{self, Kind};

/// What the provider insists on.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Two users never share a `userName`, whatever its case.
    pub unique_user_name: bool,
    /// Two groups never share a `displayName`, whatever its case.
    pub unique_display_name: bool,
    /// A member must be a user or a group of this provider.
    pub refuse_unknown_members: bool,
    /// A PATCH that removes what is not there fails with `noTarget`.
    pub refuse_missing_removals: bool,
    /// How versions are told and compared.
    pub etag_form: Form,
}

impl Policy {
    /// Everything is allowed.
    pub const LENIENT: Policy = Policy {
        unique_user_name: false,
        unique_display_name: false,
        refuse_unknown_members: false,
        refuse_missing_removals: false,
        etag_form: Form::Weak,
    };
}

/// What a write comes with beside its content.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The version that the client wants to change.
    pub condition: Option<&'a Condition>,
    /// What the provider insists on.
    pub policy: Policy,
    /// When it happens.
    pub now: Timestamp,
}

/// One resource as it is stored: without what is computed when it is shown (`id`, `meta`, `groups`, `members`).
#[derive(Clone, Debug)]
pub struct Resource {
    /// The identifier.
    pub id: Id,
    /// The resource type.
    pub kind: Kind,
    /// The attributes.
    pub body: Map<String, Value>,
    /// The members of a group.
    pub members: Members,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub modified: Timestamp,
    /// Counts its changes, from 1.
    pub version: u64,
}

impl Resource {
    /// A text attribute of the core schema.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name)?.as_str()
    }
}

/// The place of a resource in the order of creation, in which queries answer.
pub type Place = u64;

/// The resources of one type.
#[derive(Debug, Default)]
pub struct Collection {
    resources: BTreeMap<Place, Resource>,
    by_id: HashMap<Id, Place>,
    by_user_name: HashMap<String, BTreeSet<Place>>,
    by_external_id: HashMap<String, BTreeSet<Place>>,
}

impl Collection {
    /// In the order of creation.
    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.resources.values()
    }

    /// By identifier.
    pub fn get(&self, id: &str) -> Option<&Resource> {
        self.resources.get(self.by_id.get(id)?)
    }

    /// By place.
    pub fn at(&self, place: Place) -> Option<&Resource> {
        self.resources.get(&place)
    }

    /// The place of an identifier.
    pub fn place_of(&self, id: &str) -> Option<Place> {
        self.by_id.get(id).copied()
    }

    /// Those with this user name in any case.
    pub fn with_user_name(&self, name: &str) -> BTreeSet<Place> {
        self.by_user_name.get(&name.to_lowercase()).cloned().unwrap_or_default()
    }

    /// Those with exactly this external identifier.
    pub fn with_external_id(&self, external_id: &str) -> BTreeSet<Place> {
        self.by_external_id.get(external_id).cloned().unwrap_or_default()
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut Resource> {
        self.resources.get_mut(self.by_id.get(id)?)
    }

    fn insert(&mut self, place: Place, resource: Resource) {
        self.by_id.insert(resource.id.clone(), place);
        self.index(place, &resource.body);
        self.resources.insert(place, resource);
    }

    fn remove(&mut self, id: &str) -> Option<Resource> {
        let place = self.by_id.remove(id)?;
        let resource = self.resources.remove(&place)?;
        self.unindex(place, &resource.body);
        Some(resource)
    }

    fn replace_body(&mut self, id: &str, body: Map<String, Value>) {
        let Some(place) = self.place_of(id) else { return };
        self.index(place, &body);
        let Some(resource) = self.resources.get_mut(&place) else { return };
        let before = std::mem::replace(&mut resource.body, body);
        let now = keys(&resource.body);
        // what is still the same stays indexed
        let gone = keys(&before);
        if gone.0 != now.0 {
            forget(&mut self.by_user_name, gone.0, place);
        }
        if gone.1 != now.1 {
            forget(&mut self.by_external_id, gone.1, place);
        }
    }

    fn index(&mut self, place: Place, body: &Map<String, Value>) {
        let (user_name, external_id) = keys(body);
        if let Some(name) = user_name {
            self.by_user_name.entry(name).or_default().insert(place);
        }
        if let Some(external_id) = external_id {
            self.by_external_id.entry(external_id).or_default().insert(place);
        }
    }

    fn unindex(&mut self, place: Place, body: &Map<String, Value>) {
        let (user_name, external_id) = keys(body);
        forget(&mut self.by_user_name, user_name, place);
        forget(&mut self.by_external_id, external_id, place);
    }
}

/// The user name (caseless) and the external identifier.
fn keys(body: &Map<String, Value>) -> (Option<String>, Option<String>) {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    (text("userName").map(str::to_lowercase), text("externalId").map(str::to_owned))
}

fn forget(index: &mut HashMap<String, BTreeSet<Place>>, key: Option<String>, place: Place) {
    let Some(key) = key else { return };
    if let Some(places) = index.get_mut(&key) {
        places.remove(&place);
        if places.is_empty() {
            index.remove(&key);
        }
    }
}

/// All resources.
#[derive(Debug, Default)]
pub struct Directory {
    users: Collection,
    groups: Collection,
    groups_of: HashMap<Id, BTreeSet<Id>>,
    places: Place,
}

impl Directory {
    /// The resources of a type.
    pub fn collection(&self, kind: Kind) -> &Collection {
        match kind {
            Kind::User => &self.users,
            Kind::Group => &self.groups,
        }
    }

    fn collection_mut(&mut self, kind: Kind) -> &mut Collection {
        match kind {
            Kind::User => &mut self.users,
            Kind::Group => &mut self.groups,
        }
    }

    /// The type of the resource with this identifier.
    pub fn kind_of(&self, id: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| self.collection(*kind).place_of(id).is_some())
    }

    /// The groups that list `id` as member.
    pub fn groups_of(&self, id: &str) -> impl Iterator<Item = &Resource> {
        self.groups_of.get(id).into_iter().flatten().filter_map(|group| self.groups.get(group))
    }

    /// The resource.
    ///
    /// # Errors
    /// 404.
    pub fn get(&self, kind: Kind, id: &str) -> Result<&Resource, Refusal> {
        self.collection(kind).get(id).ok_or_else(|| Refusal::not_found(&format!("{} {id}", kind.name())))
    }

    /// Creates a resource under `id` (RFC 7644 s3.3).
    ///
    /// # Errors
    /// `invalidValue`; 409 `uniqueness`.
    pub fn create(
        &mut self,
        kind: Kind,
        id: Id,
        body: Map<String, Value>,
        terms: Terms<'_>,
    ) -> Result<(), Refusal> {
        let (body, edits) = prepared(kind, body)?;
        self.check_unique(kind, &body, None, terms.policy)?;
        self.check_members(&edits, terms.policy)?;
        self.insert(kind, id, (body, edits), terms.now);
        Ok(())
    }

    /// Replaces a resource (RFC 7644 s3.5.1); what the body does not name is cleared.
    ///
    /// # Errors
    /// 404; 412; `invalidValue`; 409 `uniqueness`.
    pub fn replace(
        &mut self,
        kind: Kind,
        id: &str,
        body: Map<String, Value>,
        terms: Terms<'_>,
    ) -> Result<(), Refusal> {
        self.current(kind, id, terms)?;
        let (body, edits) = prepared(kind, body)?;
        self.update(kind, id, (body, edits), terms)
    }

    /// Applies all operations or none (RFC 7644 s3.5.2).
    ///
    /// # Errors
    /// 404; 412; those of [`patch::apply`]; `invalidValue`; 409 `uniqueness`.
    pub fn patch(
        &mut self,
        kind: Kind,
        id: &str,
        operations: &[Operation],
        terms: Terms<'_>,
    ) -> Result<(), Refusal> {
        let resource = self.current(kind, id, terms)?;
        let (mut body, edits) = patch::apply(resource, operations, terms.policy.refuse_missing_removals)?;
        schema::check(kind, &mut body)?;
        self.update(kind, id, (body, edits), terms)
    }

    /// Deletes a resource and its memberships (RFC 7644 s3.6).
    ///
    /// # Errors
    /// 404; 412.
    pub fn delete(&mut self, kind: Kind, id: &str, terms: Terms<'_>) -> Result<(), Refusal> {
        self.current(kind, id, terms)?;
        if let Some(resource) = self.collection_mut(kind).remove(id) {
            for member in resource.members.keys() {
                self.leaves(member, &resource.id);
            }
        }
        self.leave_all(id, terms.now);
        Ok(())
    }

    /// Makes a resource inactive and ends its memberships: what DELETE does where it is soft.
    ///
    /// # Errors
    /// 404; 412.
    pub fn retire(&mut self, kind: Kind, id: &str, terms: Terms<'_>) -> Result<(), Refusal> {
        let mut body = self.current(kind, id, terms)?.body.clone();
        body.insert("active".into(), false.into());
        self.collection_mut(kind).replace_body(id, body);
        if let Some(resource) = self.collection_mut(kind).get_mut(id) {
            touch(resource, terms.now);
        }
        self.leave_all(id, terms.now);
        Ok(())
    }

    fn leave_all(&mut self, id: &str, now: Timestamp) {
        for group in self.groups_of.remove(id).into_iter().flatten() {
            if let Some(group) = self.groups.get_mut(&group) {
                group.members.remove(id);
                touch(group, now);
            }
        }
    }

    /// A change by somebody else: another version, and an attribute that no client of this test wrote.
    pub fn change_by_somebody_else(&mut self, kind: Kind, id: &str, mark: u64, now: Timestamp) {
        if let Some(resource) = self.collection_mut(kind).get_mut(id) {
            resource.body.insert("nickName".into(), format!("somebody else {mark}").into());
            touch(resource, now);
        }
    }

    /// Somebody else deletes the resource and creates it again: another id, and no memberships.
    pub fn recreate_by_somebody_else(&mut self, kind: Kind, id: &str, new_id: Id, now: Timestamp) {
        let Some(resource) = self.collection(kind).get(id) else { return };
        let (body, before) = (resource.body.clone(), resource.members.clone());
        let terms = Terms { condition: None, policy: Policy::LENIENT, now };
        let members = before.into_iter().map(|(id, details)| (id, Some(details)));
        let edits = Edits { cleared: true, changes: members.collect() };
        if self.delete(kind, id, terms).is_ok() {
            self.insert(kind, new_id, (body, edits), now);
        }
    }

    fn insert(&mut self, kind: Kind, id: Id, (body, edits): (Map<String, Value>, Edits), now: Timestamp) {
        self.places += 1;
        let place = self.places;
        let members = Members::new();
        let resource =
            Resource { id: id.clone(), kind, body, members, created: now, modified: now, version: 1 };
        self.collection_mut(kind).insert(place, resource);
        self.apply(&id, edits);
    }

    fn current(&self, kind: Kind, id: &str, terms: Terms<'_>) -> Result<&Resource, Refusal> {
        let resource = self.get(kind, id)?;
        match terms.condition {
            Some(condition) if !condition.holds(resource.version, terms.policy.etag_form) => {
                Err(Refusal::stale())
            }
            _ => Ok(resource),
        }
    }

    /// Stores a checked body; only a real change makes a new version (RFC 7644 s3.5.2.1).
    fn update(
        &mut self,
        kind: Kind,
        id: &str,
        (body, edits): (Map<String, Value>, Edits),
        terms: Terms<'_>,
    ) -> Result<(), Refusal> {
        self.check_unique(kind, &body, Some(id), terms.policy)?;
        self.check_members(&edits, terms.policy)?;
        let changed = self.get(kind, id)?.body != body;
        if changed {
            self.collection_mut(kind).replace_body(id, body);
        }
        let moved = self.apply(id, edits);
        if let Some(resource) = self.collection_mut(kind).get_mut(id).filter(|_| changed || moved) {
            touch(resource, terms.now);
        }
        Ok(())
    }

    /// Changes a group's members; whether anything is different now.
    fn apply(&mut self, group: &str, edits: Edits) -> bool {
        let Some(resource) = self.groups.get_mut(group) else { return false };
        let group = resource.id.clone();
        let mut left = Vec::new();
        let mut joined = Vec::new();
        let mut changed = false;
        if edits.cleared {
            left = resource.members.keys().filter(|id| !edits.changes.contains_key(*id)).cloned().collect();
            resource.members.retain(|id, _| edits.changes.contains_key(id));
        }
        for (id, change) in edits.changes {
            match change {
                Some(details) => {
                    let before = resource.members.insert(id.clone(), details.clone());
                    changed |= before.as_ref() != Some(&details);
                    joined.extend(before.is_none().then_some(id));
                }
                None => left.extend(resource.members.remove(&id).is_some().then_some(id)),
            }
        }
        changed |= !left.is_empty();
        for id in left {
            self.leaves(&id, &group);
        }
        for id in joined {
            self.groups_of.entry(id).or_default().insert(group.clone());
        }
        changed
    }

    fn leaves(&mut self, member: &Id, group: &Id) {
        if let Some(groups) = self.groups_of.get_mut(member) {
            groups.remove(group);
            if groups.is_empty() {
                self.groups_of.remove(member);
            }
        }
    }
}

fn touch(resource: &mut Resource, now: Timestamp) {
    resource.version += 1;
    resource.modified = now;
}

/// Checks a whole resource and takes its members out.
fn prepared(kind: Kind, mut body: Map<String, Value>) -> Result<(Map<String, Value>, Edits), Refusal> {
    schema::check(kind, &mut body)?;
    let members = match kind {
        Kind::User => None,
        Kind::Group => body.remove("members"),
    };
    let edits = match members {
        Some(Value::Array(elements)) => Edits::replacing(elements)?,
        _ => Edits { cleared: true, ..Edits::default() },
    };
    Ok((body, edits))
}
