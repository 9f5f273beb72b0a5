//! What people do: join, move, marry, leave, return.

use std::collections::BTreeSet;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::{Company, LEAVERS, RETURNING, share};
use crate::sample::person::{Person, Standing};
use crate::sample::telling::patch;
use crate::sample::words::{DEPARTMENTS, FAMILY, GIVEN, TITLES, ascii};

impl Company<'_> {
    pub(super) fn join(&mut self) -> usize {
        let number = self.people.len();
        let (given, family) = (self.pick(GIVEN), self.pick(FAMILY));
        let person = Person {
            id: format!("e-{}", 10_001 + number),
            number: format!("{:06}", 300_417 + 3 * number),
            user_name: self.new_user_name(given, family),
            given,
            family,
            title: Some(self.pick(TITLES)),
            department: self.pick(DEPARTMENTS),
            work_phone: self.rng.random_bool(0.8).then(|| phone(self.rng)),
            mobile: self.rng.random_bool(0.3).then(|| phone(self.rng)),
            manager: self.new_manager(),
            standing: Standing::Active,
        };
        self.people.push(person);
        self.put(number);
        number
    }

    pub(super) fn join_groups(&mut self) {
        let newcomer = self.join();
        for _ in 0..self.rng.random_range(0..3) {
            let Some(group) = self.some_group() else { return };
            let id = self.people[newcomer].id.clone();
            self.add_members(group, BTreeSet::from([id]));
        }
    }

    pub(super) fn move_on(&mut self) {
        let Some(who) = self.some_employee() else { return };
        let (department, title, manager) = (self.pick(DEPARTMENTS), self.pick(TITLES), self.new_manager());
        let without_title = self.rng.random_bool(0.1);
        self.change(who, |person| {
            person.department = department;
            person.title = (!without_title).then_some(title);
            person.manager = manager;
        });
    }

    pub(super) fn change_name(&mut self) {
        let Some(who) = self.some_employee() else { return };
        let family = self.pick(FAMILY);
        let user_name = self.new_user_name(self.people[who].given, family);
        self.change(who, |person| {
            person.family = family;
            person.user_name = user_name;
        });
    }

    pub(super) fn change_phone(&mut self) {
        let Some(who) = self.some_employee() else { return };
        let number = self.rng.random_bool(0.75).then(|| phone(self.rng));
        let mobile = self.rng.random_bool(0.5);
        self.change(who, |person| if mobile { person.mobile = number } else { person.work_phone = number });
    }

    /// The nightly export tells what everybody knows.
    pub(super) fn repeat_itself(&mut self) {
        if let Some(who) = self.some_employee() {
            self.put(who);
        }
    }

    pub(super) fn leave_or_return(&mut self) {
        let away: Vec<usize> =
            (0..self.people.len()).filter(|who| self.people[*who].standing != Standing::Active).collect();
        if let Some(who) = away.choose(self.rng).copied()
            && self.returned < self.left / RETURNING
        {
            self.come_back(who);
        } else if self.left < share(self.size.people, LEAVERS) {
            self.leave();
        } else {
            self.repeat_itself();
        }
    }

    fn leave(&mut self) {
        let active: Vec<usize> =
            (0..self.people.len()).filter(|who| self.people[*who].standing == Standing::Active).collect();
        let Some(who) = active.choose(self.rng).copied() else { return };
        self.left += 1;
        match self.rng.random_range(0..10) {
            0..4 => self.set_standing(who, Standing::Deleted, "user.delete"),
            4..7 => self.set_standing(who, Standing::Inactive, "user.deactivate"),
            7 => {
                self.set_standing(who, Standing::Inactive, "user.deactivate");
                self.set_standing(who, Standing::Deleted, "user.delete");
            }
            _ => self.change(who, |person| person.standing = Standing::Inactive),
        }
        if self.rng.random_bool(0.6) {
            self.take_out_of_groups(who);
        }
    }

    fn come_back(&mut self, who: usize) {
        self.returned += 1;
        if self.people[who].standing == Standing::Inactive && self.rng.random_bool(0.5) {
            return self.set_standing(who, Standing::Active, "user.activate");
        }
        let (department, title) = (self.pick(DEPARTMENTS), self.pick(TITLES));
        let person = &mut self.people[who];
        person.standing = Standing::Active;
        person.department = department;
        person.title = Some(title);
        person.mobile = None;
        let whole = person.attributes();
        self.tell("user.put", &self.people[who].id.clone(), Some(whole));
    }

    /// A lifecycle event says it all.
    fn set_standing(&mut self, who: usize, standing: Standing, kind: &str) {
        self.people[who].standing = standing;
        self.tell(kind, &self.people[who].id.clone(), None);
    }

    fn take_out_of_groups(&mut self, who: usize) {
        let id = self.people[who].id.clone();
        for group in 0..self.groups.len() {
            if self.groups[group].exists && self.groups[group].members.contains(&id) {
                self.remove_members(group, BTreeSet::from([id.clone()]));
            }
        }
    }

    /// Changes a person and tells of it, whole or by patch.
    fn change(&mut self, who: usize, what: impl FnOnce(&mut Person)) {
        let before = self.people[who].clone();
        what(&mut self.people[who]);
        let after = self.people[who].clone();
        let same = before.attributes() == after.attributes();
        if same || self.rng.random_bool(0.4) {
            let told_active = before.standing != after.standing || self.rng.random_bool(0.7);
            let whole = if told_active { after.attributes() } else { after.attributes_without_active() };
            return self.tell("user.put", &after.id, Some(whole));
        }
        let body = patch(self.rng, &before, &after);
        self.tell("user.patch", &after.id, Some(body));
    }

    fn put(&mut self, who: usize) {
        self.change(who, |_| {});
    }

    /// The ids of up to `count` people.
    pub(super) fn some_employees(&mut self, count: usize) -> BTreeSet<String> {
        (0..count).filter_map(|_| self.some_employee().map(|who| self.people[who].id.clone())).collect()
    }

    /// Somebody who is not deleted. Some people change more often than others.
    pub(super) fn some_employee(&mut self) -> Option<usize> {
        for _ in 0..self.people.len() {
            let who = (self.rng.random::<f64>().powi(2) * self.people.len() as f64) as usize;
            if self.people[who].standing != Standing::Deleted {
                return Some(who);
            }
        }
        None
    }

    fn new_manager(&mut self) -> Option<String> {
        if !self.size.managers || self.rng.random_bool(0.2) {
            return None;
        }
        self.some_employee().map(|who| self.people[who].id.clone())
    }

    fn new_user_name(&mut self, given: &str, family: &str) -> String {
        let name = format!("{}.{}", ascii(given), ascii(family));
        match self.times_used(&name) {
            0 => format!("{name}@example.com"),
            before => format!("{name}{}@example.com", before + 1),
        }
    }
}

fn phone(rng: &mut StdRng) -> String {
    format!("+49 30 555 {:04}", rng.random_range(0..10_000))
}
