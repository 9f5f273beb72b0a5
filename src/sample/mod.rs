//! A sample directory: the change events of a company's history, and the directory they must lead to.
//!
//! The company is simulated and its true state kept as it changes; events tell of each change as real publishers would
//! (whole resources, patches in several dialects, lifecycle events), are then put out of order and partly sent twice.
//! Nothing here knows how the relay merges, so that [`compare()`] can judge it. Everything follows from the seed.

mod company;
mod compare;
mod disorder;
mod group;
mod person;
mod telling;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

pub use compare::{Difference, compare};

/// How large the company is and how much happens.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// People who ever worked here.
    pub people: usize,
    /// Groups that ever existed.
    pub groups: usize,
    /// Messages in all, repetitions included. Everybody joins and every group is founded, even if that takes more.
    pub events: usize,
    /// Whether people have managers (the enterprise extension's `manager.value`).
    pub managers: bool,
}

/// Events and what they lead to.
#[derive(Clone, Debug)]
pub struct Sample {
    /// CloudEvents in structured JSON, in the order of publishing, which is not the order of what happened.
    pub events: Vec<Value>,
    /// The directory after all of them.
    pub expected: Expected,
}

/// The directory as it must be in the end, by `externalId`.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Everybody who was ever told of.
    pub users: BTreeMap<String, ExpectedUser>,
    /// The groups that exist.
    pub groups: BTreeMap<String, ExpectedGroup>,
}

/// One person in the end.
#[derive(Clone, Debug, PartialEq)]
pub enum ExpectedUser {
    /// With exactly these SCIM attributes; `manager.value` is an `externalId`.
    Present(Value),
    /// Deleted at the source: at the target not active, or never created. Other attributes are not looked at.
    Gone,
}

/// One group in the end.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedGroup {
    /// `displayName`.
    pub name: String,
    /// `externalId`s of people, those of deleted ones included if the source never took them out.
    pub members: Vec<String>,
}

/// The history of one company. The same arguments give the same sample.
pub fn generate(seed: u64, size: Size) -> Sample {
    let mut rng = StdRng::seed_from_u64(seed);
    let (history, expected) = company::history(&mut rng, size);
    let events = disorder::disorder(&mut rng, history, size.events);
    Sample { events, expected }
}
