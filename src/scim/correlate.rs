//! Which result of a bulk response belongs to which operation.
//!
//! Only POST results are sure to carry the `bulkId` (RFC 7644 s3.7); servers leave it out elsewhere, reorder, repeat and
//! drop results. So: by `bulkId` (or `id`, as some dialects call it); else by method and the resource in `location`; else
//! by position, but only where number and methods line up and nothing speaks against it.

use std::collections::HashMap;

use serde_json::Value;

use super::{lenient, resource};
use crate::core::operation::{Method, Operation};

/// The operations of a request, ready to be found again.
pub(super) struct Correlation<'a> {
    sent: &'a [Operation],
    by_bulk_id: HashMap<&'a str, usize>,
    by_target_id: HashMap<&'a str, Vec<usize>>,
}

/// What one result says about where it belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// To this operation.
    To(usize),
    /// Nothing.
    Silent,
    /// To something that was not sent.
    Foreign,
}

impl<'a> Correlation<'a> {
    pub(super) fn new(sent: &'a [Operation]) -> Self {
        let by_bulk_id =
            sent.iter().enumerate().map(|(index, operation)| (operation.bulk_id.as_str(), index));
        let mut by_target_id: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, operation) in sent.iter().enumerate() {
            if let Some(id) = operation.id() {
                by_target_id.entry(id.as_str()).or_default().push(index);
            }
        }
        Self { sent, by_bulk_id: by_bulk_id.collect(), by_target_id }
    }

    /// For each result the index of its operation, none where nobody can tell.
    pub(super) fn assign(&self, results: &[Value]) -> Vec<Option<usize>> {
        let claims: Vec<Claim> = results.iter().map(|result| self.claim(result)).collect();
        let in_order = self.lines_up(results, &claims);
        let place = |(position, claim)| match claim {
            Claim::To(index) => Some(index),
            Claim::Silent => in_order.then_some(position),
            Claim::Foreign => None,
        };
        claims.into_iter().enumerate().map(place).collect()
    }

    fn claim(&self, result: &Value) -> Claim {
        if let Some(index) = self.named(result) {
            return Claim::To(index);
        }
        // a POST's location names a resource that nobody knows yet
        let located = if method(result) == Some(Method::Post) { Claim::Silent } else { self.located(result) };
        match located {
            Claim::Silent if lenient::text(result, "bulkId").is_some() => Claim::Foreign,
            Claim::Silent | Claim::Foreign | Claim::To(_) => located,
        }
    }

    /// By `bulkId`, or an `id` that is one of ours. A result whose method is another one than was sent is not believed.
    fn named(&self, result: &Value) -> Option<usize> {
        let names = ["bulkId", "id"].iter().filter_map(|name| lenient::text(result, name));
        let index = names.filter_map(|name| self.by_bulk_id.get(name)).next().copied()?;
        method(result).is_none_or(|method| method == self.sent[index].method()).then_some(index)
    }

    /// By method and the resource in `location` (or the echoed `path`). Several candidates are none.
    fn located(&self, result: &Value) -> Claim {
        let mut places = ["location", "path"].iter().filter_map(|name| lenient::text(result, name));
        let Some(located) = places.find_map(resource::locate) else { return Claim::Silent };
        let Some(candidates) = self.by_target_id.get(located.id.as_str()) else { return Claim::Foreign };
        let fits = |index: &&usize| {
            let operation = &self.sent[**index];
            method(result).is_none_or(|method| method == operation.method())
                && located.kind.is_none_or(|kind| kind == operation.kind())
        };
        let mut fitting = candidates.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(index), None) => Claim::To(*index),
            (Some(_), Some(_)) => Claim::Silent,
            (None, _) => Claim::Foreign,
        }
    }

    fn lines_up(&self, results: &[Value], claims: &[Claim]) -> bool {
        let agrees = |(position, (result, claim)): (usize, (&Value, &Claim))| {
            method(result) == Some(self.sent[position].method())
                && (*claim == Claim::Silent || *claim == Claim::To(position))
        };
        results.len() == self.sent.len() && results.iter().zip(claims).enumerate().all(agrees)
    }
}

fn method(result: &Value) -> Option<Method> {
    let name = lenient::text(result, "method")?;
    [Method::Post, Method::Put, Method::Patch, Method::Delete]
        .into_iter()
        .find(|method| method.name().eq_ignore_ascii_case(name.trim()))
}
