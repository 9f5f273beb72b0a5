//! Sending a batch: as bulk requests filled by operations and bytes, or one request per operation; and what a bulk
//! request that failed as a whole leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::batch::Claimed;
use super::{Flush, now};
use crate::core::disposition::{Trouble, WholeDisposition, classify_whole};
use crate::core::operation::Operation;
use crate::core::outcome::{NotSent, Outcome, Reply, Unknown};
use crate::core::resource::{ResourceKey, TargetId};
use crate::core::schedule::Lane;
use crate::pipeline::ports::{Load, Publisher, Store, StoreError, Target, Transport};
use crate::pipeline::schedule::lane;
use crate::pipeline::settings::Mode;
use crate::scim::bulk;

/// The send must begin this long before the lease ends.
const MARGIN: Duration = Duration::from_secs(3);

/// How often a batch that is under way looks whether somebody in it is to be deprovisioned.
const LOOK: Duration = Duration::from_millis(500);

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// Sends what was claimed, request by request, and settles each.
    pub(super) async fn deliver(&self, claimed: Vec<Claimed>) -> Result<(), StoreError> {
        if claimed.is_empty() {
            return Ok(());
        }
        let mut ids = BTreeMap::new();
        let transport = self.transport();
        let mut requests = match transport {
            Transport::Bulk => self.requests(claimed),
            Transport::Single => claimed.into_iter().map(|claim| vec![claim]).collect(),
        };
        requests.reverse();
        let mut looked = now();
        while let Some(request) = requests.pop() {
            match self.transport() {
                Transport::Bulk => self.send_bulk(request, &mut ids, &mut requests).await?,
                Transport::Single => {
                    for claim in request {
                        self.send_single(claim, &ids).await?;
                    }
                }
            }
            if now() - looked > LOOK && !requests.is_empty() {
                requests = self.without_leavers(requests).await?;
                looked = now();
            }
        }
        Ok(())
    }

    /// Requests may wait long for their places in the budget. What is to be deprovisioned by now does not wait for its turn
    /// among them: it is put back, and planned anew in its own lane.
    async fn without_leavers(
        &self,
        mut requests: Vec<Vec<Claimed>>,
    ) -> Result<Vec<Vec<Claimed>>, StoreError> {
        let all = requests.iter().flatten();
        let patient = all.filter(|claim| lane(&claim.item.key, &claim.item.record) != Lane::Deprovision);
        let loads: Vec<Load> =
            patient.map(|claim| Load { key: claim.item.key.clone(), members: Vec::new() }).collect();
        let leavers: BTreeSet<ResourceKey> = (self.store.load(&loads).await?.into_iter())
            .filter(|loaded| lane(&loaded.key, &loaded.record) == Lane::Deprovision)
            .map(|loaded| loaded.key)
            .collect();
        let mut leaving = Vec::new();
        for request in &mut requests {
            leaving.extend(request.extract_if(.., |claim| leavers.contains(&claim.item.key)));
        }
        requests.retain(|request| !request.is_empty());
        self.unsend(leaving, Duration::ZERO).await?;
        Ok(requests)
    }

    /// Cuts a batch into requests that keep the limits. A reference by `bulkId` stays with what it names, or waits.
    fn requests(&self, claimed: Vec<Claimed>) -> Vec<Vec<Claimed>> {
        let (operations, bytes) = (self.most_operations(), self.most_bytes());
        let mut requests: Vec<Vec<Claimed>> = Vec::new();
        let mut size = 0;
        for claim in claimed {
            let len = bulk::encoded_len(&claim.ready.operation, &self.settings.dialect) + bulk::SEPARATOR_LEN;
            let full = requests.last().is_none_or(|r| r.len() >= operations || size + len > bytes);
            if full {
                requests.push(Vec::new());
                size = bulk::ENVELOPE_LEN;
            }
            size += len;
            if let Some(last) = requests.last_mut() {
                last.push(claim);
            }
        }
        requests
    }

    async fn send_bulk(
        &self,
        request: Vec<Claimed>,
        ids: &mut BTreeMap<String, TargetId>,
        later: &mut Vec<Vec<Claimed>>,
    ) -> Result<(), StoreError> {
        let request = self.without_strangers(request, ids).await?;
        if request.is_empty() {
            return Ok(());
        }
        if self.is_paused() {
            return self.unsend(request, Duration::from_millis(20)).await;
        }
        let operations: Vec<Operation> = request.iter().map(|claim| claim.ready.operation.clone()).collect();
        let sent_at = self.clock.now();
        metrics::histogram!("scim_relay_batch_operations").record(operations.len() as f64);
        match self.send_leased(&operations, Transport::Bulk).await {
            Reply::Each(outcomes) => {
                self.note_ids(&request, &outcomes, ids);
                self.settle(request, outcomes, sent_at, true, ids).await
            }
            Reply::Whole(outcome) => self.whole(request, outcome, ids, later).await,
        }
    }

    /// Operations whose `bulkId` references went out in an earlier request: replaced by what came of them, or put back.
    async fn without_strangers(
        &self,
        request: Vec<Claimed>,
        ids: &BTreeMap<String, TargetId>,
    ) -> Result<Vec<Claimed>, StoreError> {
        let here: Vec<String> = request.iter().map(|claim| claim.ready.operation.bulk_id.clone()).collect();
        let (mut stay, mut strangers) = (Vec::new(), Vec::new());
        for mut claim in request {
            claim.ready.resolve_references(ids);
            match claim.ready.sent.in_batch.iter().all(|id| here.contains(id)) {
                true => stay.push(claim),
                false => strangers.push(claim),
            }
        }
        self.unsend(strangers, Duration::from_millis(20)).await?;
        Ok(stay)
    }

    async fn send_single(
        &self,
        mut claim: Claimed,
        ids: &BTreeMap<String, TargetId>,
    ) -> Result<(), StoreError> {
        claim.ready.resolve_references(ids);
        if !claim.ready.sent.in_batch.is_empty() {
            return self.unsend(vec![claim], Duration::from_millis(20)).await;
        }
        if self.is_paused() {
            return self.unsend(vec![claim], Duration::from_millis(20)).await;
        }
        let operations = [claim.ready.operation.clone()];
        let sent_at = self.clock.now();
        let outcome = match self.send_leased(&operations, Transport::Single).await {
            Reply::Each(mut outcomes) => outcomes.pop().unwrap_or(Outcome::Unknown(Unknown::Missing)),
            Reply::Whole(outcome) => outcome,
        };
        self.settle(vec![claim], vec![outcome], sent_at, false, ids).await
    }

    /// Sends while the claims hold. What waited for its place in the budget until their deadline goes on waiting if they were
    /// renewed meanwhile.
    async fn send_leased(&self, operations: &[Operation], transport: Transport) -> Reply {
        let keys: Vec<ResourceKey> = operations.iter().map(|operation| operation.key.clone()).collect();
        loop {
            let until = self.leased_until(&keys);
            let reply = self.send_until(operations, transport, &keys, until).await;
            let lapsed = now() >= until || self.leased_until(&keys) <= until;
            if !ran_out(&reply) || lapsed || self.is_paused() {
                return reply;
            }
        }
    }

    /// Sends by the deadline; the request is given up when its lease can't be renewed.
    async fn send_until(
        &self,
        operations: &[Operation],
        transport: Transport,
        keys: &[ResourceKey],
        until: Instant,
    ) -> Reply {
        let leased = || self.leased_until(keys);
        let sending = self.target.send(operations, transport, until - MARGIN);
        tokio::pin!(sending);
        loop {
            let until = leased();
            tokio::select! {
                biased;
                reply = &mut sending => return reply,
                () = tokio::time::sleep_until(until) => {
                    if leased() <= until {
                        tracing::error!(operations = operations.len(), "a request was given up: its lease ended");
                        return Reply::Whole(Outcome::Unknown(Unknown::Dropped));
                    }
                }
            }
        }
    }

    fn note_ids(&self, request: &[Claimed], outcomes: &[Outcome], ids: &mut BTreeMap<String, TargetId>) {
        for (claim, outcome) in request.iter().zip(outcomes) {
            if let Outcome::Answered(answer) = outcome
                && (200..300).contains(&answer.status)
                && let Some(id) = &answer.id
            {
                ids.insert(claim.ready.operation.bulk_id.clone(), id.clone());
            }
        }
    }

    /// A bulk request failed as a whole (design D7).
    async fn whole(
        &self,
        request: Vec<Claimed>,
        outcome: Outcome,
        ids: &BTreeMap<String, TargetId>,
        later: &mut Vec<Vec<Claimed>>,
    ) -> Result<(), StoreError> {
        let disposition = classify_whole(&outcome);
        tracing::info!(operations = request.len(), ?disposition, "a bulk request failed as a whole");
        match disposition {
            WholeDisposition::NoBulk if self.settings.mode == Mode::Auto => {
                self.learnt().no_bulk = true;
                later.push(request);
                Ok(())
            }
            WholeDisposition::NoBulk => {
                let wait = self.pause_for(
                    None,
                    Some(Trouble::Refusing),
                    "flush.mode is `bulk`, and /Bulk does not exist",
                );
                self.unsend(request, wait).await
            }
            WholeDisposition::TooLarge if request.len() > 1 => {
                self.learn_size(request.len());
                self.halve(request, later);
                Ok(())
            }
            WholeDisposition::Halve if request.len() > 1 => {
                self.halve(request, later);
                Ok(())
            }
            WholeDisposition::TooLarge | WholeDisposition::Halve => self.alone(request, ids).await,
            WholeDisposition::Unknown => self.whole_unknown(request, outcome, ids).await,
            WholeDisposition::Busy(after) => {
                let wait = self.pause_for(after, None, "it asked to wait");
                self.unsend(request, wait).await
            }
            WholeDisposition::Trouble(trouble) => {
                let why = match &outcome {
                    Outcome::NotSent(NotSent::Connect(why) | NotSent::Tls(why) | NotSent::Token(why)) => {
                        why.as_str()
                    }
                    _ => "a bulk request was refused",
                };
                let wait = match trouble {
                    Trouble::Deadline => Duration::from_millis(20),
                    Trouble::Down | Trouble::Credentials | Trouble::Refusing | Trouble::Redirect => {
                        self.pause_for(None, Some(trouble), why)
                    }
                };
                self.unsend(request, wait).await
            }
        }
    }

    /// Nobody knows what was applied. If the target is well otherwise, one of the operations may be the cause: the next
    /// batches are half as large, until it is alone.
    async fn whole_unknown(
        &self,
        request: Vec<Claimed>,
        outcome: Outcome,
        ids: &BTreeMap<String, TargetId>,
    ) -> Result<(), StoreError> {
        let late = crate::core::disposition::may_come_late(&outcome);
        if self.target.discover().await.is_err() {
            let wait = self.pause_for(None, Some(Trouble::Down), "a bulk request was not answered");
            return self.settle_unknown(request, late, wait).await;
        }
        if request.len() == 1 {
            let sent_at = self.clock.now();
            return self.settle(request, vec![outcome], sent_at, false, ids).await;
        }
        self.learnt().health.shrink(request.len() / 2);
        self.settle_unknown(request, late, Duration::ZERO).await
    }

    /// The next batches are at most half as large.
    fn learn_size(&self, failed: usize) {
        let mut learnt = self.learnt();
        let half = (failed / 2).max(1);
        learnt.learnt_operations = Some(learnt.learnt_operations.map_or(half, |held| held.min(half)));
    }

    /// The first half goes out next, the second after it. References by `bulkId` are resolved from the first.
    fn halve(&self, mut request: Vec<Claimed>, later: &mut Vec<Vec<Claimed>>) {
        let second = request.split_off(request.len() / 2);
        later.push(second);
        later.push(request);
    }

    /// One operation that a bulk request refuses alone, as a request of its own.
    async fn alone(&self, request: Vec<Claimed>, ids: &BTreeMap<String, TargetId>) -> Result<(), StoreError> {
        for claim in request {
            self.send_single(claim, ids).await?;
        }
        Ok(())
    }
}

/// True if nothing was sent because the deadline passed.
fn ran_out(reply: &Reply) -> bool {
    let late = |outcome: &Outcome| *outcome == Outcome::NotSent(NotSent::Deadline);
    match reply {
        Reply::Each(outcomes) => !outcomes.is_empty() && outcomes.iter().all(late),
        Reply::Whole(outcome) => late(outcome),
    }
}
