//! What a target was asked, request by request: how much, by whom, and how much at once.

use std::collections::BTreeMap;

use scim_relay::core::schedule::Millis;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Asks for the capabilities.
    Probe,
    /// Reads or finds resources.
    Lookup,
    /// Writes.
    Write,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub client: usize,
    pub kind: Kind,
    /// How many operations a write holds.
    pub operations: usize,
    pub at: Millis,
    /// How many of its kind were open then, this one included.
    pub at_once: usize,
}

/// All requests, in order.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    requests: Vec<Request>,
    open: BTreeMap<Kind, usize>,
}

impl Traffic {
    pub fn begin(&mut self, client: usize, kind: Kind, operations: usize, at: Millis) {
        let open = self.open.entry(kind).or_default();
        *open += 1;
        self.requests.push(Request { client, kind, operations, at, at_once: *open });
    }

    pub fn end(&mut self, kind: Kind) {
        if let Some(open) = self.open.get_mut(&kind) {
            *open -= 1;
        }
    }

    /// Requests about resources.
    pub fn asked(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| request.kind != Kind::Probe)
    }

    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(move |request| request.kind == kind)
    }

    /// What was sent from this time on and before that one.
    pub fn between(&self, from: Millis, until: Millis) -> Self {
        let requests = self.requests.iter().filter(|request| (from..until).contains(&request.at));
        Self { requests: requests.copied().collect(), open: BTreeMap::new() }
    }

    pub fn since(&self, from: Millis) -> Self {
        self.between(from, Millis(i64::MAX))
    }
}
