//! What groups go through: founded, joined, listed, renamed, dissolved.

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::json;

use super::{Company, DISSOLVED, RETURNING, share};
use crate::sample::group::{Group, references};
use crate::sample::telling::patch_op;
use crate::sample::words::{PLACES, TEAMS};

/// The largest group when it is founded.
const MAX_FIRST_MEMBERS: usize = 60;

impl Company<'_> {
    pub(super) fn found(&mut self) {
        let number = self.groups.len();
        let name = self.new_group_name();
        let most = MAX_FIRST_MEMBERS.min(self.people.len());
        let count = self.rng.random_range(0..=most);
        let members = self.some_employees(count);
        self.groups.push(Group { id: format!("g-{:04}", number + 1), name, members, exists: true });
        self.put_group(number);
    }

    pub(super) fn change_members(&mut self) {
        let Some(group) = self.some_group() else { return };
        let (members, count) = (self.groups[group].members.clone(), self.rng.random_range(1..=4));
        if self.rng.random_bool(0.45) && !members.is_empty() {
            let members: Vec<String> = members.into_iter().collect();
            let gone = members.choose_multiple(self.rng, count).cloned().collect();
            self.remove_members(group, gone);
        } else {
            let new = self.some_employees(count);
            self.add_members(group, new);
        }
    }

    pub(super) fn add_members(&mut self, group: usize, new: BTreeSet<String>) {
        let operation = json!({ "op": "add", "path": "members", "value": references(&new) });
        self.groups[group].members.extend(new);
        self.tell("group.patch", &self.groups[group].id.clone(), Some(patch_op(vec![operation])));
    }

    pub(super) fn remove_members(&mut self, group: usize, gone: BTreeSet<String>) {
        let remove = |id: &String| json!({ "op": "remove", "path": format!("members[value eq \"{id}\"]") });
        let operations = gone.iter().map(remove).collect();
        self.groups[group].members.retain(|id| !gone.contains(id));
        self.tell("group.patch", &self.groups[group].id.clone(), Some(patch_op(operations)));
    }

    /// The whole list, with one change or none.
    pub(super) fn list_group(&mut self) {
        let Some(group) = self.some_group() else { return };
        if let Some(who) = self.some_employee()
            && self.rng.random_bool(0.5)
        {
            let id = self.people[who].id.clone();
            let members = &mut self.groups[group].members;
            if !members.remove(&id) {
                members.insert(id);
            }
        }
        self.put_group(group);
    }

    pub(super) fn rename_group(&mut self) {
        let Some(group) = self.some_group() else { return };
        self.groups[group].name = self.new_group_name();
        let id = self.groups[group].id.clone();
        let name = json!({ "displayName": self.groups[group].name });
        match self.rng.random_range(0..3) {
            0 => self.tell("group.put", &id, Some(name)),
            1 => {
                self.tell("group.patch", &id, Some(patch_op(vec![json!({ "op": "replace", "value": name })])))
            }
            _ => {
                let operation =
                    json!({ "op": "replace", "path": "displayName", "value": self.groups[group].name });
                self.tell("group.patch", &id, Some(patch_op(vec![operation])));
            }
        }
    }

    pub(super) fn end_or_revive_group(&mut self) {
        let ended: Vec<usize> = (0..self.groups.len()).filter(|group| !self.groups[*group].exists).collect();
        if let Some(group) = ended.choose(self.rng).copied()
            && self.revived < self.dissolved / RETURNING
        {
            self.revived += 1;
            self.groups[group].exists = true;
            self.put_group(group);
        } else if self.dissolved < share(self.size.groups, DISSOLVED)
            && let Some(group) = self.some_group()
        {
            self.dissolved += 1;
            self.groups[group].exists = false;
            self.tell("group.delete", &self.groups[group].id.clone(), None);
        } else {
            self.list_group();
        }
    }

    fn put_group(&mut self, group: usize) {
        let whole = self.groups[group].attributes();
        self.tell("group.put", &self.groups[group].id.clone(), Some(whole));
    }

    pub(super) fn some_group(&mut self) -> Option<usize> {
        let existing: Vec<usize> =
            (0..self.groups.len()).filter(|group| self.groups[*group].exists).collect();
        existing.choose(self.rng).copied()
    }

    fn new_group_name(&mut self) -> String {
        let name = format!("{} {}", self.pick(TEAMS), self.pick(PLACES));
        match self.times_used(&name) {
            0 => name,
            before => format!("{name} {}", before + 1),
        }
    }
}
