//! The simulated company: what is true of it, what happens, and who is told.

mod groups;
mod people;

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::Value;

use super::group::Group;
use super::person::Person;
use super::telling::event;
use super::{Expected, Size};

/// How many join, and how many groups are founded, before anything else happens.
const AT_THE_START: f64 = 0.85;
/// How many of all people ever leave. Low enough for a guard against mass deprovisioning.
const LEAVERS: f64 = 0.06;
/// One of how many leavers comes back, and of how many dissolved groups.
const RETURNING: usize = 3;
/// How many of all groups are ever dissolved.
const DISSOLVED: f64 = 0.06;
/// How many messages are repetitions.
const REPEATED: f64 = 0.04;

/// What may happen next, with its weight.
const HAPPENINGS: [(Happening, u32); 9] = [
    (Happening::GroupGainsAndLoses, 34),
    (Happening::Moves, 20),
    (Happening::PhoneChanges, 13),
    (Happening::NothingNew, 10),
    (Happening::GroupIsListed, 7),
    (Happening::ChangesName, 6),
    (Happening::GroupIsRenamed, 3),
    (Happening::LeavesOrReturns, 5),
    (Happening::GroupEndsOrReturns, 1),
];

#[derive(Clone, Copy)]
enum Happening {
    Moves,
    ChangesName,
    PhoneChanges,
    NothingNew,
    LeavesOrReturns,
    GroupGainsAndLoses,
    GroupIsListed,
    GroupIsRenamed,
    GroupEndsOrReturns,
}

/// Everything that happened, in order, and the directory it led to.
pub(super) fn history(rng: &mut StdRng, size: Size) -> (Vec<Value>, Expected) {
    let mut company = Company::new(rng, size);
    for _ in 0..share(size.people, AT_THE_START) {
        company.join();
    }
    for _ in 0..share(size.groups, AT_THE_START) {
        company.found();
    }
    let told = size.events - share(size.events, REPEATED).min(size.events);
    while company.events.len() < told || company.is_to_grow() {
        company.live_on(told);
    }
    let expected = company.expected();
    (company.events, expected)
}

fn share(whole: usize, part: f64) -> usize {
    (whole as f64 * part) as usize
}

struct Company<'a> {
    rng: &'a mut StdRng,
    size: Size,
    people: Vec<Person>,
    groups: Vec<Group>,
    events: Vec<Value>,
    /// Nobody gets a name that somebody else ever had: in what order a target sees renames is not ours to say.
    names_used: BTreeMap<String, u32>,
    left: usize,
    returned: usize,
    dissolved: usize,
    revived: usize,
}

impl<'a> Company<'a> {
    fn new(rng: &'a mut StdRng, size: Size) -> Company<'a> {
        Company {
            rng,
            size,
            people: Vec::new(),
            groups: Vec::new(),
            events: Vec::new(),
            names_used: BTreeMap::new(),
            left: 0,
            returned: 0,
            dissolved: 0,
            revived: 0,
        }
    }

    fn expected(&self) -> Expected {
        let existing = self.groups.iter().filter(|group| group.exists);
        Expected {
            users: self.people.iter().map(|person| (person.id.clone(), person.expected())).collect(),
            groups: existing.map(|group| (group.id.clone(), group.expected())).collect(),
        }
    }

    fn is_to_grow(&self) -> bool {
        self.people.len() < self.size.people || self.groups.len() < self.size.groups
    }

    /// One thing happens. Those who are still to come are spread over the events that are left.
    fn live_on(&mut self, told: usize) {
        let events_left = told.saturating_sub(self.events.len()).max(1);
        let people_left = self.size.people - self.people.len();
        let groups_left = self.size.groups - self.groups.len();
        let dice = self.rng.random_range(0..events_left);
        if dice < people_left {
            self.join_groups();
        } else if dice < people_left + groups_left {
            self.found();
        } else {
            self.happen();
        }
    }

    fn happen(&mut self) {
        if self.people.is_empty() {
            return;
        }
        let happening = HAPPENINGS.choose_weighted(self.rng, |(_, weight)| *weight);
        match happening.map_or(Happening::NothingNew, |(happening, _)| *happening) {
            Happening::Moves => self.move_on(),
            Happening::ChangesName => self.change_name(),
            Happening::PhoneChanges => self.change_phone(),
            Happening::NothingNew => self.repeat_itself(),
            Happening::LeavesOrReturns => self.leave_or_return(),
            Happening::GroupGainsAndLoses => self.change_members(),
            Happening::GroupIsListed => self.list_group(),
            Happening::GroupIsRenamed => self.rename_group(),
            Happening::GroupEndsOrReturns => self.end_or_revive_group(),
        }
    }

    fn tell(&mut self, kind: &str, subject: &str, data: Option<Value>) {
        let event = event(self.rng, self.events.len(), kind, subject, data);
        self.events.push(event);
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        words[self.rng.random_range(0..words.len())]
    }

    /// How often a name was given out before; it is given out once more.
    fn times_used(&mut self, name: &str) -> u32 {
        let used = self.names_used.entry(name.to_owned()).or_insert(0);
        *used += 1;
        *used - 1
    }
}
