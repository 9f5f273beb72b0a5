//! References: what members and managers, in the source's terms, are at the target.

use std::collections::BTreeMap;

use super::dialect::MemberValue;
use super::resource::{ResourceType, TargetId};

/// What a reference resolves to right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// This resource at the target.
    Id(TargetId),
    /// A resource created earlier in the same request: its `bulkId`.
    InBatch(String),
    /// Not at the target yet.
    Pending,
    /// This resource at the target, of a user who has left: it is in no group.
    Left(TargetId),
    /// Deleted at the source: nothing to wait for.
    Gone,
}

/// References in the source's terms and what they resolve to; what is not in it is pending.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct References {
    users: BTreeMap<String, Reference>,
    groups: BTreeMap<String, Reference>,
    /// `userName` by id, where users are members by it.
    names: Option<BTreeMap<TargetId, String>>,
}

impl References {
    /// None yet; members are ids on the wire.
    pub fn new() -> Self {
        Self::default()
    }

    /// None yet; `value` is what a user is on the wire as a member.
    pub fn of_members(value: MemberValue) -> Self {
        let names = match value {
            MemberValue::Id => None,
            MemberValue::UserName => Some(BTreeMap::new()),
        };
        Self { names, ..Self::default() }
    }

    fn of(&self, kind: ResourceType) -> &BTreeMap<String, Reference> {
        match kind {
            ResourceType::User => &self.users,
            ResourceType::Group => &self.groups,
        }
    }

    /// What the resource of this type and name is; none: nothing is known.
    pub fn get(&self, kind: ResourceType, value: &str) -> Option<&Reference> {
        self.of(kind).get(value)
    }

    /// Says what it is.
    pub fn insert(&mut self, kind: ResourceType, value: String, reference: Reference) {
        let known = match kind {
            ResourceType::User => &mut self.users,
            ResourceType::Group => &mut self.groups,
        };
        known.insert(value, reference);
    }

    /// Takes over what is known elsewhere.
    pub fn extend(&mut self, other: References) {
        self.users.extend(other.users);
        self.groups.extend(other.groups);
    }

    /// The names of these users are to be known: they are members by them.
    pub fn need_names(&self) -> bool {
        self.names.is_some()
    }

    /// Says what the user of this id is called, where that matters.
    pub fn call(&mut self, id: &TargetId, name: String) {
        if let Some(names) = &mut self.names {
            names.insert(id.clone(), name);
        }
    }

    /// What the user of this id is called, where members are called by their names.
    pub fn name(&self, id: &TargetId) -> Option<&str> {
        self.names.as_ref()?.get(id).map(String::as_str)
    }

    /// What a member of this id is on the wire; none: it is not known.
    pub fn on_the_wire<'a>(&'a self, kind: ResourceType, id: &'a TargetId) -> Option<&'a str> {
        match (&self.names, kind) {
            (Some(names), ResourceType::User) => names.get(id).map(String::as_str),
            (None, _) | (_, ResourceType::Group) => Some(id.as_str()),
        }
    }
}
