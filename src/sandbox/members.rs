//! The members of a group: a map by id, so that one member more costs the same in a group of 100,000.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::{Refusal, ScimType};

/// The identifier of a resource; opaque.
pub type Id = Arc<str>;

/// What a client said about a member beside its `value`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details(Option<Box<Map<String, Value>>>);

impl Details {
    /// Takes a member element apart.
    ///
    /// # Errors
    /// `invalidValue` unless it is an object with a `value`.
    pub fn of_element(element: Value) -> Result<(Id, Details), Refusal> {
        let missing = || Refusal::of(ScimType::InvalidValue, "a member must be an object with a value");
        let Value::Object(mut map) = element else {
            return Err(missing());
        };
        let Some(Value::String(value)) = super::path::remove(&mut map, "value") else {
            return Err(missing());
        };
        map.retain(|_, detail| !detail.is_null());
        let details = if map.is_empty() { None } else { Some(Box::new(map)) };
        Ok((value.into(), Details(details)))
    }

    /// Whether the client said nothing more.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the client said this.
    pub fn has(&self, name: &str) -> bool {
        self.0.as_deref().is_some_and(|map| super::path::get(map, name).is_some())
    }

    /// The element without `$ref` and `type`, where the provider knows better.
    pub fn element(&self, id: &str) -> Map<String, Value> {
        let mut element = self.0.as_deref().cloned().unwrap_or_default();
        element.insert("value".into(), id.into());
        element
    }

    /// Changes one detail; whether it was another before.
    pub fn set(&mut self, name: &str, value: Value) -> bool {
        let map = self.0.get_or_insert_default();
        let changed = map.get(name) != Some(&value);
        map.insert(name.to_owned(), value);
        changed
    }

    /// Removes one detail.
    pub fn unset(&mut self, name: &str) {
        if let Some(map) = &mut self.0 {
            super::path::remove(map, name);
            if map.is_empty() {
                self.0 = None;
            }
        }
    }
}

/// The members of one group.
pub type Members = BTreeMap<Id, Details>;

/// Changes to the members of one group that are not made yet.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// Whether all that were there before go, unless they are in `changes`.
    pub cleared: bool,
    /// Those that come (or change) and those that go.
    pub changes: BTreeMap<Id, Option<Details>>,
}

impl Edits {
    /// The list as a whole.
    ///
    /// # Errors
    /// As [`Details::of_element`].
    pub fn replacing(elements: Vec<Value>) -> Result<Self, Refusal> {
        let mut edits = Edits { cleared: true, changes: BTreeMap::new() };
        for element in elements {
            let (id, details) = Details::of_element(element)?;
            edits.changes.insert(id, Some(details));
        }
        Ok(edits)
    }

    /// What `id` will be, given what was there before.
    pub fn get<'a>(&'a self, before: &'a Members, id: &str) -> Option<&'a Details> {
        match self.changes.get(id) {
            Some(change) => change.as_ref(),
            None if self.cleared => None,
            None => before.get(id),
        }
    }

    /// All members there will be.
    pub fn resulting<'a>(&'a self, before: &'a Members) -> impl Iterator<Item = (&'a Id, &'a Details)> {
        let kept = before.iter().filter(|(id, _)| !self.cleared && !self.changes.contains_key(*id));
        let changed = self.changes.iter().filter_map(|(id, change)| Some((id, change.as_ref()?)));
        kept.chain(changed)
    }

    /// Adds a member; one that is there keeps what was said about it unless more is said now.
    pub fn add(&mut self, before: &Members, id: Id, details: Details) {
        if self.get(before, &id).is_none() || !details.is_empty() {
            self.changes.insert(id, Some(details));
        }
    }

    /// Removes a member; one that is not there is no error.
    pub fn remove(&mut self, id: &str) {
        self.changes.insert(id.into(), None);
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.cleared = true;
        self.changes.clear();
    }
}
