//! Carries the operations out, each after those it refers to.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;

use super::references::{references, resolve};
use super::report::Report;
use super::{BulkRequest, Item};
use crate::sandbox::error::{Refusal, ScimType};
use crate::sandbox::etag::Condition;
use crate::sandbox::faults::Rate;
use crate::sandbox::members::Id;
use crate::sandbox::provider::{Provider, Write, Written};

/// Carries out a bulk request. What was not attempted because of `failOnErrors` has no report.
///
/// # Errors
/// The poison's status, where one poisoned operation spoils the whole request.
pub fn run(request: BulkRequest, provider: &mut Provider, now: Timestamp) -> Result<Vec<Report>, Refusal> {
    if provider.faults.whole_bulk_fails_on_poison && is_poisoned(&request, provider) {
        return Err(provider.poisoned());
    }
    let mut run = Run::new(request, provider, now);
    for at in 0..run.operations.len() {
        run.settle(at);
    }
    Ok(run.reports())
}

fn is_poisoned(request: &BulkRequest, provider: &Provider) -> bool {
    request.operations.iter().any(|item| {
        let write = item
            .target(&provider.manners)
            .and_then(|(kind, id)| Write::read(&item.method, kind, id, item.data.clone()));
        write.is_ok_and(|write| provider.is_poisoned(&write))
    })
}

#[derive(Clone, Debug)]
enum Progress {
    Waiting(Item),
    /// Waits for what it refers to.
    Open(Item),
    Done(Box<Report>),
    /// Taken out for a moment.
    Taken,
}

struct Run<'a> {
    provider: &'a mut Provider,
    now: Timestamp,
    operations: Vec<Progress>,
    /// The operations that create something, by bulkId.
    creates: HashMap<String, usize>,
    ids: HashMap<String, Id>,
    errors_left: Option<usize>,
}

impl<'a> Run<'a> {
    fn new(request: BulkRequest, provider: &'a mut Provider, now: Timestamp) -> Self {
        let mut creates = HashMap::new();
        for (at, item) in request.operations.iter().enumerate() {
            if let (Some(bulk_id), "POST") = (&item.bulk_id, item.method.as_str()) {
                creates.entry(bulk_id.clone()).or_insert(at);
            }
        }
        let operations = request.operations.into_iter().map(Progress::Waiting).collect();
        Self { provider, now, operations, creates, ids: HashMap::new(), errors_left: request.fail_on_errors }
    }

    fn reports(self) -> Vec<Report> {
        let done = self.operations.into_iter().filter_map(|progress| match progress {
            Progress::Done(report) => Some(*report),
            Progress::Waiting(_) | Progress::Open(_) | Progress::Taken => None,
        });
        done.collect()
    }

    /// Carries out one operation, and before it those that it refers to and that come later. A circle ends where an open operation is met: its
    /// reference stays unresolved.
    fn settle(&mut self, at: usize) {
        let mut open = vec![at];
        while let Some(at) = open.last().copied() {
            if self.errors_left == Some(0) {
                return;
            }
            match self.next_referred(at) {
                Some(other) => open.push(other),
                None => {
                    open.pop();
                    self.execute(at);
                }
            }
        }
    }

    /// The next operation that this one refers to and that was not looked at yet.
    fn next_referred(&mut self, at: usize) -> Option<usize> {
        let slot = std::mem::replace(&mut self.operations[at], Progress::Taken);
        let (Progress::Waiting(item) | Progress::Open(item)) = slot else {
            self.operations[at] = slot;
            return None;
        };
        let wanted = item.data.as_ref().map(references).unwrap_or_default();
        self.operations[at] = Progress::Open(item);
        let mut creates = wanted.iter().filter_map(|bulk_id| self.creates.get(bulk_id));
        creates.find(|other| matches!(self.operations[**other], Progress::Waiting(_))).copied()
    }

    fn execute(&mut self, at: usize) {
        let slot = std::mem::replace(&mut self.operations[at], Progress::Taken);
        self.operations[at] = match slot {
            Progress::Waiting(mut item) | Progress::Open(mut item) => {
                let outcome = self.outcome(&mut item, at);
                if outcome.is_err()
                    && let Some(left) = &mut self.errors_left
                {
                    *left -= 1;
                }
                Progress::Done(Box::new(Report::new(item.method, item.bulk_id, item.path, outcome)))
            }
            done @ (Progress::Done(_) | Progress::Taken) => done,
        };
    }

    fn outcome(&mut self, item: &mut Item, at: usize) -> Result<Written, Refusal> {
        if let Some(refusal) = self.chance() {
            return Err(refusal);
        }
        let written = self.write(item, at)?;
        if let (Some(bulk_id), 201) = (&item.bulk_id, written.status) {
            self.ids.insert(bulk_id.clone(), written.id.clone());
        }
        self.provider.let_somebody_else_write(&written, self.now);
        let Provider { dice, faults, .. } = &mut *self.provider;
        if dice.hits(faults.rate_operation_500_after) {
            return Err(Refusal::new(500, "something went wrong"));
        }
        Ok(written)
    }

    fn write(&mut self, item: &mut Item, at: usize) -> Result<Written, Refusal> {
        self.check_bulk_id(item, at)?;
        let mut data = item.data.take();
        if let Some(data) = &mut data {
            self.resolve(data)?;
        }
        let (kind, id) = item.target(&self.provider.manners)?;
        let write = Write::read(&item.method, kind, id, data)?;
        let condition = item.version.as_deref().map(Condition::parse);
        self.provider.write(write, condition.as_ref(), self.now)
    }

    /// A POST needs a bulkId that no other operation has (RFC 7644 s3.7).
    fn check_bulk_id(&self, item: &Item, at: usize) -> Result<(), Refusal> {
        if item.method != "POST" {
            return Ok(());
        }
        match &item.bulk_id {
            None => Err(Refusal::of(ScimType::InvalidSyntax, "a POST needs a bulkId")),
            Some(bulk_id) if self.creates.get(bulk_id) != Some(&at) => {
                Err(Refusal::of(ScimType::InvalidValue, format!("bulkId {bulk_id} is used twice")))
            }
            Some(_) => Ok(()),
        }
    }

    fn resolve(&self, data: &mut Value) -> Result<(), Refusal> {
        resolve(data, &self.ids)
            .map_err(|bulk_id| Refusal::new(409, format!("bulkId {bulk_id} can not be resolved")))
    }

    /// A fault of this operation, before anything is done.
    fn chance(&mut self) -> Option<Refusal> {
        let Provider { dice, faults, .. } = &mut *self.provider;
        let rates: [(Rate, Refusal); 5] = [
            (faults.rate_operation_400, Refusal::of(ScimType::InvalidValue, "the operation is refused")),
            (faults.rate_operation_404, Refusal::not_found("the resource")),
            (faults.rate_operation_409, Refusal::new(409, "the operation conflicts")),
            (faults.rate_operation_429, Refusal::new(429, "too many operations")),
            (faults.rate_operation_500, Refusal::new(500, "something went wrong")),
        ];
        rates.into_iter().find(|(rate, _)| dice.hits(*rate)).map(|(_, refusal)| refusal)
    }
}
