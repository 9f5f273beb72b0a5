//! A group as the directory knows it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::ExpectedGroup;

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub id: String,
    pub name: String,
    /// `externalId`s of people.
    pub members: BTreeSet<String>,
    pub exists: bool,
}

impl Group {
    /// All SCIM attributes, members included.
    pub fn attributes(&self) -> Value {
        json!({ "displayName": self.name, "members": references(&self.members) })
    }

    pub fn expected(&self) -> ExpectedGroup {
        ExpectedGroup { name: self.name.clone(), members: self.members.iter().cloned().collect() }
    }
}

/// `[{"value": "e-1"}, …]`
pub(super) fn references<'a>(people: impl IntoIterator<Item = &'a String>) -> Value {
    people.into_iter().map(|id| json!({ "value": id })).collect()
}
