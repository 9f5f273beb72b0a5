//! Settling: what each disposition makes of a resource. What is published is confirmed before anything is forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;

use super::Flush;
use super::batch::{Claimed, Item, Items, Ready};
use crate::core::applied::Fingerprint;
use crate::core::disposition::{Disposition, Health, Situation, Trouble, classify, may_come_late};
use crate::core::gap::{Reference, manager};
use crate::core::letter::Class;
use crate::core::operation::{Operation, Write};
use crate::core::outcome::{Answer, Outcome};
use crate::core::plan::Purpose;
use crate::core::record::{Record, WaitReason};
use crate::core::resource::{ResourceKey, ResourceType, TargetId};
use crate::core::retry::Next;
use crate::core::schedule::{Due, Lane, Millis};
use crate::core::settle::{self, Entries};
use crate::pipeline::letters::Reason;
use crate::pipeline::ports::{
    Load, Loaded, Owner, PublishError, Publisher, Reschedule, Store, StoreError, Swap, Swapped, Target,
};
use crate::pipeline::schedule::lane;
use crate::pipeline::settings::{REFERENCE_RECHECK, RUNG_SLACK};

/// What is to be done to a record, again and again until the swap succeeds. Pure.
#[derive(Clone, Debug)]
enum Change {
    /// Acknowledged.
    Applied { answer: Answer, ids: BTreeMap<String, TargetId> },
    /// Not sent, or certainly not applied: again after a while.
    Unsent { wait: Duration },
    /// Nobody knows.
    Unknown { late: bool, wait: Duration },
    /// Something like it exists.
    Exists,
    /// Changed by others, for the first time.
    Conflict,
    /// The id is gone.
    Gone,
    /// One of these members was not there.
    MissingMember,
    /// On a rung.
    Rung { class: Class, status: Option<u16>, verify: bool, wait: Duration },
    /// A dead letter is its home.
    Buried { intent: crate::core::change::Delta },
}

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// Settles a request: one outcome per operation.
    pub(super) async fn settle(
        &self,
        request: Vec<Claimed>,
        outcomes: Vec<Outcome>,
        sent_at: Millis,
        in_bulk: bool,
        ids: &BTreeMap<String, TargetId>,
    ) -> Result<(), StoreError> {
        let health = self.take_note(&request, &outcomes, sent_at).await;
        let mut settled = Vec::new();
        for (claim, outcome) in request.into_iter().zip(outcomes) {
            let situation = Situation {
                method: claim.ready.operation.method(),
                in_bulk,
                sent_version: claim.ready.operation.version().is_some(),
                has_references: claim.ready.sent.has_references(),
                members_removed: claim.ready.sent.dropped.len(),
                health,
            };
            let disposition = classify(&situation, &outcome);
            count(&claim.ready.operation, &disposition);
            settled.push((claim, disposition, outcome));
        }
        let changes = settled.into_iter().map(|(claim, disposition, outcome)| async move {
            let change = self.act(&claim, disposition, &outcome, ids).await;
            (claim, change)
        });
        let changes = join_all(changes).await;
        self.claim_ids(&changes).await?;
        self.commit(changes).await
    }

    /// Counts successes and failures towards the target's health.
    async fn take_note(&self, request: &[Claimed], outcomes: &[Outcome], sent_at: Millis) -> Health {
        let now = self.clock.now();
        let well = |outcome: &Outcome| match outcome {
            Outcome::Answered(answer) => {
                answer.status < 500 && answer.scim_error || (200..300).contains(&answer.status)
            }
            Outcome::Unknown(_) | Outcome::NotSent(_) => false,
        };
        let doubtful = |outcome: &Outcome| match outcome {
            Outcome::Answered(answer) => matches!(answer.status, 408 | 425 | 500..) || !answer.scim_error,
            Outcome::Unknown(_) | Outcome::NotSent(_) => true,
        };
        let any_well = outcomes.iter().any(well);
        let any_doubtful = outcomes.iter().any(|o| !well(o) && doubtful(o));
        {
            let mut learnt = self.learnt();
            for (claim, outcome) in request.iter().zip(outcomes) {
                if !well(outcome) && doubtful(outcome) {
                    learnt.health.failed(&claim.item.key);
                }
            }
            if any_well {
                learnt.health.succeeded(now);
            }
        }
        let others = any_well && request.len() > 1;
        let known = self.learnt().health.since(sent_at, others, None);
        if !any_doubtful || known == Health::Up || self.learnt().health.is_down() {
            return known;
        }
        let probe = self.target.discover().await.is_ok();
        self.learnt().health.since(sent_at, others, Some(probe))
    }

    /// Does what must be done before the commit: publishes, pauses. Decides what the record becomes.
    async fn act(
        &self,
        claim: &Claimed,
        disposition: Disposition,
        outcome: &Outcome,
        ids: &BTreeMap<String, TargetId>,
    ) -> Change {
        let again = Change::Unsent { wait: Duration::from_secs(1) };
        match disposition {
            Disposition::Applied | Disposition::NoOp => {
                let answer = match outcome {
                    Outcome::Answered(answer) => answer.clone(),
                    Outcome::Unknown(_) | Outcome::NotSent(_) => Answer::default(),
                };
                Change::Applied { answer, ids: ids.clone() }
            }
            Disposition::Exists if !is_known(&claim.item.record, Class::Uniqueness) => Change::Exists,
            Disposition::Exists => self.fail(claim, Class::Uniqueness, true, outcome).await.unwrap_or(again),
            Disposition::Conflict if !is_known(&claim.item.record, Class::Conflict) => Change::Conflict,
            Disposition::Conflict => self.fail(claim, Class::Conflict, true, outcome).await.unwrap_or(again),
            Disposition::Gone => Change::Gone,
            Disposition::MissingMember => Change::MissingMember,
            Disposition::Verify => {
                let wait = self.pause_after(outcome);
                Change::Unknown { late: may_come_late(outcome), wait }
            }
            Disposition::Retry { class, verify } => {
                self.fail(claim, class, verify, outcome).await.unwrap_or(again)
            }
            Disposition::Dead(class) => self.die(claim, class, outcome).await.unwrap_or(again),
            Disposition::Busy(after) => {
                Change::Unsent { wait: self.pause_for(after, None, "it asked to wait") }
            }
            Disposition::Wait(after) => Change::Unsent { wait: after.unwrap_or(Duration::from_secs(1)) },
            Disposition::NoPatch => {
                self.learnt().no_patch = true;
                Change::Unsent { wait: Duration::ZERO }
            }
            Disposition::Trouble(Trouble::Deadline) => Change::Unsent { wait: Duration::from_millis(20) },
            Disposition::Trouble(trouble) => {
                let wait = self.pause_for(None, Some(trouble), &explain(outcome));
                Change::Unsent { wait }
            }
        }
    }

    /// An unknown outcome with the target in doubt pauses it; a missing or unreadable result alone does not.
    fn pause_after(&self, outcome: &Outcome) -> Duration {
        use crate::core::outcome::Unknown;
        match outcome {
            Outcome::Unknown(Unknown::Missing | Unknown::Unreadable) => Duration::ZERO,
            Outcome::Unknown(_) | Outcome::Answered(_) | Outcome::NotSent(_) => {
                self.pause_for(None, Some(Trouble::Down), &explain(outcome))
            }
        }
    }

    /// One more failure of the resource's own: a rung, or the end.
    async fn fail(
        &self,
        claim: &Claimed,
        class: Class,
        verify: bool,
        outcome: &Outcome,
    ) -> Result<Change, PublishError> {
        let attempt = claim.item.record.attempt() + 1;
        let asked = match outcome {
            Outcome::Answered(answer) => answer.retry_after,
            Outcome::Unknown(_) | Outcome::NotSent(_) => None,
        };
        let Next::Rung { index, wait } = self.settings.ladder.after(attempt, asked) else {
            return self.die(claim, class, outcome).await;
        };
        let reason = reason(class, outcome, Some(&claim.ready.operation));
        let (mut record, intent) = claim.intent();
        settle::failed(&mut record, class, reason.status, self.clock.now());
        self.letters
            .retry(&claim.item.key, &record, &intent, &reason, index)
            .await
            .inspect_err(refused_letter)?;
        let key = &claim.item.key;
        tracing::info!(resource = %key, attempt, class = %class, wait_s = wait.as_secs(), "on the retry ladder");
        Ok(Change::Rung { class, status: reason.status, verify, wait })
    }

    /// It can't succeed: a dead letter.
    async fn die(&self, claim: &Claimed, class: Class, outcome: &Outcome) -> Result<Change, PublishError> {
        let reason = reason(class, outcome, Some(&claim.ready.operation));
        let (mut record, intent) = claim.intent();
        settle::failed(&mut record, class, reason.status, self.clock.now());
        self.letters.dead(&claim.item.key, &record, &intent, &reason).await.inspect_err(refused_letter)?;
        tracing::warn!(resource = %claim.item.key, class = %class, status = reason.status, "dead-lettered");
        Ok(Change::Buried { intent })
    }

    /// Newly created resources are ours from now on (D16).
    async fn claim_ids(&self, changes: &[(Claimed, Change)]) -> Result<(), StoreError> {
        let created = changes.iter().filter_map(|(claim, change)| match change {
            Change::Applied { answer, .. } if claim.ready.sent.purpose == Purpose::Create => {
                Some((&claim.item.key, answer.id.as_ref()?))
            }
            _ => None,
        });
        let owned = created.map(|(key, id)| async move { (key, self.store.own(key.kind, id, key).await) });
        for (key, owner) in join_all(owned).await {
            if let Owner::Other(other) = owner? {
                tracing::error!(resource = %key, owner = %other, "the target gave a new resource an id that is taken");
            }
        }
        Ok(())
    }

    /// Writes what was decided, and again on top of what was merged meanwhile.
    async fn commit(&self, changes: Vec<(Claimed, Change)>) -> Result<(), StoreError> {
        let mut open = changes;
        while !open.is_empty() {
            let swaps: Vec<Swap> = open.iter().map(|(claim, change)| self.committed(claim, change)).collect();
            let swapped = self.store.swap(swaps).await?;
            let mut again = Vec::new();
            for ((claim, change), swapped) in open.into_iter().zip(swapped) {
                match swapped {
                    Swapped::Done { dependents, .. } => {
                        self.wake_dependents(&claim.item.key, dependents).await?
                    }
                    Swapped::Conflict => again.push((claim, change)),
                }
            }
            open = self.reload(again).await?;
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Loads claims again whose records were merged into meanwhile; drops those that are not ours any more.
    async fn reload(&self, again: Vec<(Claimed, Change)>) -> Result<Vec<(Claimed, Change)>, StoreError> {
        if again.is_empty() {
            return Ok(again);
        }
        let load = |(claim, _): &(Claimed, Change)| Load {
            key: claim.item.key.clone(),
            members: claim.ready.touched(),
        };
        let loaded = self.store.load(&again.iter().map(load).collect::<Vec<_>>()).await?;
        let mut open = Vec::new();
        for ((mut claim, change), Loaded { version, record, members, .. }) in again.into_iter().zip(loaded) {
            let ours = claim.item.record.claim.as_ref();
            if record.claim.as_ref() != ours || ours.is_none() {
                // somebody took it over after our lease ended, and looks at the target before anything else
                tracing::warn!(resource = %claim.item.key, "a commit was refused: the claim is not ours any more");
                continue;
            }
            claim.item.version = version;
            claim.item.record = record;
            // entries that the request did not touch may have changed meanwhile: only what was loaded is written
            claim.item.entries = members;
            claim.item.changed = true;
            open.push((claim, change));
        }
        Ok(open)
    }

    /// The record and schedule that a change leads to.
    fn committed(&self, claim: &Claimed, change: &Change) -> Swap {
        let Claimed { item, ready } = claim;
        let (mut record, mut entries) = (item.record.clone(), item.entries.clone());
        let now = self.clock.now();
        let etags = self.rules().etag;
        let mut wait = Duration::ZERO;
        match change {
            Change::Applied { answer, ids } => {
                settle::applied(&mut record, &mut entries, &ready.operation, &ready.sent, answer, etags, ids);
                self.observe_latency(&record, ready.sent.purpose.lane(), now);
            }
            Change::Unsent { wait: asked } => {
                record.claim = None;
                wait = *asked;
            }
            Change::Unknown { late, wait: asked } => {
                self.unknown(&mut record, ready, *late, now);
                wait = *asked;
            }
            Change::Exists => {
                record.claim = None;
                record.verify = true;
                self.remember(&mut record, Class::Uniqueness, now);
            }
            Change::Conflict => drop(settle::conflicted(&mut record, now)),
            Change::Gone => {
                record.claim = None;
                record.forget_target();
                record.verify = true;
            }
            Change::MissingMember => {
                record.claim = None;
                self.drop_missing(&mut record, &mut entries, ready);
            }
            Change::Rung { class, status, verify, wait: rung } => {
                settle::failed(&mut record, *class, *status, now);
                if *verify {
                    record.verify = true;
                    record.etag = None;
                }
                record.due = Some(Due { lane: lane(&item.key, &record), at: now.plus(*rung + RUNG_SLACK) });
                return swap_of(item, record, entries);
            }
            Change::Buried { intent } => {
                let buried = settle::buried(&record, intent);
                let members: Vec<_> =
                    intent.members.iter().map(|m| (m.value.clone(), m.revision.clone())).collect();
                settle::bury(&mut record, &mut entries, &buried, &members);
            }
        }
        self.reschedule(item, ready, &mut record, change, now.plus(wait));
        swap_of(item, record, entries)
    }

    /// Where the resource stands after the change: done, or due again.
    fn reschedule(&self, item: &Item, ready: &Ready, record: &mut Record, change: &Change, at: Millis) {
        let done = matches!(change, Change::Applied { .. } | Change::Buried { .. });
        let lane = lane(&item.key, record);
        let rest = item.changed || ready.more || record.verify || record.scan_members;
        if !done || rest || self.has_gap(&item.key, record) {
            record.due = Some(Due { lane, at });
            return;
        }
        record.settle();
        record.due = record.late_check.map(|at| Due { lane: Lane::Update, at });
    }

    /// True unless nothing is left to write, members and pending references apart.
    fn has_gap(&self, key: &ResourceKey, record: &Record) -> bool {
        use crate::core::gap::{Gap, Seen, gap};
        let references = crate::core::gap::references(record).into_iter().map(|name| (name, Reference::Gone));
        let gap = gap(key, record, &self.rules(), Seen::default(), &references.collect());
        !matches!(gap, Gap::None(_))
    }

    fn unknown(&self, record: &mut Record, ready: &Ready, late: bool, now: Millis) {
        let fenced = ready.operation.version().is_some();
        settle::unknown(record, &ready.sent, late && !fenced, now, self.settings.late_window);
    }

    fn remember(&self, record: &mut Record, class: Class, now: Millis) {
        let attempt = record.attempt();
        settle::failed(record, class, None, now);
        if let Some(trouble) = &mut record.trouble {
            trouble.attempt = attempt;
        }
    }

    /// A removal of several members that met one missing is repeated one by one; a lone one was true already.
    fn drop_missing(&self, record: &mut Record, entries: &mut Entries, ready: &Ready) {
        for (value, id) in &ready.sent.dropped {
            if let Some(entry) = entries.get_mut(value)
                && (ready.sent.dropped.len() == 1 || entry.applied.as_ref() != Some(id))
            {
                entry.applied = entry.applied.take().filter(|applied| applied != id);
                entry.maybe = None;
            }
        }
        for entry in entries.values_mut() {
            entry.dirty = record.is_dirty(entry);
        }
        record.one_by_one = ready.sent.dropped.len() > 1;
    }

    fn observe_latency(&self, record: &Record, lane: Lane, now: Millis) {
        if let Some(seen) = record.first_seen {
            let seconds = now.since(seen).as_secs_f64();
            metrics::histogram!("scim_relay_event_to_applied_seconds", "lane" => lane.name()).record(seconds);
        }
    }

    /// What listed this resource as a member or manager is due: it has a target id now.
    pub(super) async fn wake_dependents(
        &self,
        key: &ResourceKey,
        dependents: Vec<ResourceKey>,
    ) -> Result<(), StoreError> {
        if dependents.is_empty() {
            return Ok(());
        }
        let at = self.clock.now();
        let value = key.external_id.as_str();
        let due: Vec<(ResourceKey, Due)> =
            dependents.into_iter().map(|dependent| (dependent, Due { lane: Lane::Members, at })).collect();
        self.store.touch_member(&due, value).await
    }

    /// Nothing was sent: the claims are given up, the resources wait.
    pub(super) async fn unsend(&self, request: Vec<Claimed>, wait: Duration) -> Result<(), StoreError> {
        let changes = request.into_iter().map(|claim| (claim, Change::Unsent { wait }));
        self.commit(changes.collect()).await
    }

    /// Nobody knows what was applied: all of them are looked at before anything is written again.
    pub(super) async fn settle_unknown(
        &self,
        request: Vec<Claimed>,
        late: bool,
        wait: Duration,
    ) -> Result<(), StoreError> {
        let changes = request.into_iter().map(|claim| {
            metrics::counter!("scim_relay_operations_total",
                "method" => claim.ready.operation.method().name(), "outcome" => "unknown")
            .increment(1);
            (claim, Change::Unknown { late, wait })
        });
        self.commit(changes.collect()).await
    }

    /// Nothing to write: done, or waiting for a reference.
    pub(super) async fn settle_rest(
        &self,
        items: &mut Items,
        key: &ResourceKey,
        pending: Vec<String>,
        clean: &[String],
        gone: &[String],
    ) -> Result<(), StoreError> {
        let Some(mut item) = items.remove(key) else { return Ok(()) };
        let now = self.clock.now();
        let open = [item.open(&pending, clean).as_slice(), gone].concat();
        for value in clean {
            if let Some(entry) = item.entries.get_mut(value) {
                entry.dirty = false;
            }
        }
        if self.register(key, &open).await? {
            item.record.due = Some(Due { lane: Lane::Members, at: now });
            return self.put_back(item, &[]).await;
        }
        if !pending.is_empty() {
            let waiting = settle::waits(&mut item.record, WaitReason::Reference, now);
            if now.since(waiting.since) >= self.settings.reference_wait {
                return self.settle_unresolved(items, item, &pending).await;
            }
            item.record.due = Some(Due { lane: Lane::Members, at: now.plus(REFERENCE_RECHECK) });
            return self.put_back(item, clean).await;
        }
        if item.more_entries || item.record.scan_members {
            item.record.due = Some(Due { lane: Lane::Members, at: now });
            return self.put_back(item, clean).await;
        }
        let late = item.record.late_check;
        if item.record.first_seen.is_some() {
            metrics::counter!("scim_relay_operations_suppressed_total").increment(1);
        }
        item.record.settle();
        item.record.due = late.map(|at| Due { lane: Lane::Update, at });
        self.put_back(item, clean).await
    }

    /// Registers a resource as waiting for these; true if one of them has come into being meanwhile.
    async fn register(&self, key: &ResourceKey, pending: &[String]) -> Result<bool, StoreError> {
        let keys = pending.iter().filter_map(|value| crate::core::record::user_key(value));
        let keys: Vec<ResourceKey> = keys.collect();
        let registered = join_all(keys.iter().map(|on| self.store.depend(on, key))).await;
        let ids = registered.into_iter().collect::<Result<Vec<Option<TargetId>>, StoreError>>()?;
        Ok(ids.iter().any(Option::is_some))
    }

    /// Writes an item back into the schedule as its record says; what was merged meanwhile is due anyway.
    async fn put_back(&self, item: Item, touched: &[String]) -> Result<(), StoreError> {
        match self.store.swap(vec![item.swap(Reschedule::AsRecord, touched)]).await?.pop() {
            Some(Swapped::Done { dependents, .. }) => self.wake_dependents(&item.key, dependents).await?,
            Some(Swapped::Conflict) | None => self.postpone(&[item.key], Lane::Update, Duration::ZERO).await,
        }
        Ok(())
    }

    /// Patches without a base: they wait for their `put`, and then they are incomplete.
    pub(super) async fn settle_no_base(
        &self,
        items: &mut Items,
        key: &ResourceKey,
    ) -> Result<(), StoreError> {
        let Some(item) = items.get_mut(key) else { return Ok(()) };
        if crate::core::gap::wants_only_inactive(&item.record) {
            return self.settle_rest(items, key, Vec::new(), &[], &[]).await;
        }
        let now = self.clock.now();
        let waiting = settle::waits(&mut item.record, WaitReason::Base, now);
        let until = waiting.since.plus(self.settings.wait_for_base);
        if now < until {
            item.record.due = Some(Due { lane: Lane::Update, at: until });
            let item = item.clone();
            items.remove(key);
            return self.put_back(item, &[]).await;
        }
        let detail =
            "only patches are known, the target does not have it, and its `put` did not come in time";
        self.settle_dead(items, key, Reason::of(Class::Incomplete, detail)).await
    }

    /// A second POST has to wait until the first can't come any more.
    pub(super) async fn settle_no_create_yet(
        &self,
        items: &mut Items,
        key: &ResourceKey,
    ) -> Result<(), StoreError> {
        let Some(mut item) = items.remove(key) else { return Ok(()) };
        let at = item.record.no_create_before.unwrap_or_default();
        item.record.verify = true;
        item.record.due = Some(Due { lane: Lane::Create, at });
        self.put_back(item, &[]).await
    }

    /// The target's resource is somebody else's: perhaps not for long, so the ladder, and then the end.
    pub(super) async fn settle_foreign(
        &self,
        items: &mut Items,
        key: &ResourceKey,
        why: &str,
    ) -> Result<(), StoreError> {
        let Some(item) = items.get(key) else { return Ok(()) };
        let attempt = item.record.attempt() + 1;
        let reason = Reason::of(Class::Uniqueness, why);
        let Next::Rung { index, wait } = self.settings.ladder.after(attempt, None) else {
            return self.settle_dead(items, key, reason).await;
        };
        let Some(mut item) = items.remove(key) else { return Ok(()) };
        let now = self.clock.now();
        settle::failed(&mut item.record, Class::Uniqueness, None, now);
        let intent = settle::unapplied(&item.record, &item.entries);
        if self
            .letters
            .retry(key, &item.record, &intent, &reason, index)
            .await
            .inspect_err(refused_letter)
            .is_err()
        {
            self.postpone(&[item.key], Lane::Update, Duration::from_secs(1)).await;
            return Ok(());
        }
        item.record.verify = true;
        item.record.due = Some(Due { lane: Lane::Create, at: now.plus(wait + RUNG_SLACK) });
        self.put_back(item, &[]).await
    }

    /// What was not sent at all can't succeed: a dead letter.
    pub(super) async fn settle_dead(
        &self,
        items: &mut Items,
        key: &ResourceKey,
        reason: Reason,
    ) -> Result<(), StoreError> {
        let Some(mut item) = items.remove(key) else { return Ok(()) };
        let intent = settle::unapplied(&item.record, &item.entries);
        if self.letters.dead(key, &item.record, &intent, &reason).await.inspect_err(refused_letter).is_err() {
            self.postpone(&[item.key], Lane::Update, Duration::from_secs(1)).await;
            return Ok(());
        }
        tracing::warn!(resource = %key, class = %reason.class, "dead-lettered");
        let buried = settle::buried(&item.record, &intent);
        let members: Vec<_> = intent.members.iter().map(|m| (m.value.clone(), m.revision.clone())).collect();
        let touched: Vec<String> = members.iter().map(|(value, _)| value.clone()).collect();
        settle::bury(&mut item.record, &mut item.entries, &buried, &members);
        item.record.verify = false;
        let open = self.has_gap(key, &item.record) || item.more_entries;
        item.record.settle();
        item.record.due = open.then(|| Due { lane: lane(key, &item.record), at: self.clock.now() });
        self.put_back(item, &touched).await
    }

    /// References that never came into being: only they are dead, the rest of the resource is applied.
    async fn settle_unresolved(
        &self,
        items: &mut Items,
        item: Item,
        pending: &[String],
    ) -> Result<(), StoreError> {
        let key = item.key.clone();
        let mut only = item.clone();
        only.entries.retain(|value, _| pending.contains(value));
        items.insert(key.clone(), only);
        let detail = format!("{} referenced resources did not come into being in time", pending.len());
        self.settle_dead(items, &key, Reason::of(Class::UnresolvedReference, detail)).await
    }
}

fn swap_of(item: &Item, record: Record, entries: Entries) -> Swap {
    let members = entries.into_iter().filter(|(value, entry)| item.entries.get(value) != Some(entry));
    Swap {
        key: item.key.clone(),
        expected: item.version,
        record,
        members: members.map(|(value, entry)| (value, Some(entry))).collect(),
        reschedule: Reschedule::AsRecord,
    }
}

fn is_known(record: &Record, class: Class) -> bool {
    record.trouble.as_ref().is_some_and(|trouble| trouble.class == class)
}

fn refused_letter(error: &PublishError) {
    tracing::warn!(%error, "a letter could not be written: nothing is forgotten, it is tried again");
}

fn count(operation: &Operation, disposition: &Disposition) {
    let outcome = match disposition {
        Disposition::Applied => "applied",
        Disposition::NoOp => "superseded",
        Disposition::Exists | Disposition::Conflict | Disposition::Gone | Disposition::MissingMember => {
            "conflict"
        }
        Disposition::Verify => "unknown",
        Disposition::Retry { .. } | Disposition::Busy(_) | Disposition::Wait(_) | Disposition::NoPatch => {
            "retry"
        }
        Disposition::Trouble(_) => "retry",
        Disposition::Dead(_) => "dead",
    };
    metrics::counter!("scim_relay_operations_total", "method" => operation.method().name(), "outcome" => outcome)
        .increment(1);
}

/// Why, in one line, without attribute values.
fn explain(outcome: &Outcome) -> String {
    use crate::core::outcome::{NotSent, Unknown};
    match outcome {
        Outcome::Answered(answer) => format!("status {}", answer.status),
        Outcome::Unknown(Unknown::Timeout) => "no answer in time".into(),
        Outcome::Unknown(Unknown::Dropped) => "the connection broke".into(),
        Outcome::Unknown(Unknown::Unreadable) => "the answer was unreadable".into(),
        Outcome::Unknown(Unknown::Missing) => "the bulk response has no result for it".into(),
        Outcome::NotSent(NotSent::Connect(why) | NotSent::Tls(why) | NotSent::Token(why)) => why.clone(),
        Outcome::NotSent(NotSent::Deadline) => "the claim's deadline had passed".into(),
    }
}

fn reason(class: Class, outcome: &Outcome, operation: Option<&Operation>) -> Reason {
    let answer = match outcome {
        Outcome::Answered(answer) => Some(answer),
        Outcome::Unknown(_) | Outcome::NotSent(_) => None,
    };
    let scim_type = answer.and_then(|answer| answer.scim_type.clone());
    let detail = match &scim_type {
        Some(scim_type) => format!("{}, scimType {scim_type}", explain(outcome)),
        None => explain(outcome),
    };
    Reason {
        class,
        status: answer.map(|answer| answer.status),
        scim_type,
        detail,
        operation: operation.map(|operation| (operation.method(), operation.path())),
    }
}

impl Claimed {
    /// The record as letters show it, and the part of its desired state that this failure concerns.
    fn intent(&self) -> (Record, crate::core::change::Delta) {
        let mut record = self.item.record.clone();
        record.claim = None;
        let mut intent = settle::unapplied(&record, &self.item.entries);
        if self.ready.sent.purpose == Purpose::Members {
            intent.attributes.clear();
        } else if self.item.key.kind == ResourceType::Group && self.ready.sent.purpose != Purpose::Create {
            intent.members.clear();
        }
        (record, intent)
    }
}

impl Ready {
    /// Replaces `bulkId` references by the ids that they became in an earlier request.
    pub(super) fn resolve_references(&mut self, ids: &BTreeMap<String, TargetId>) {
        let known: Vec<String> =
            self.sent.in_batch.iter().filter(|id| ids.contains_key(*id)).cloned().collect();
        if known.is_empty() {
            return;
        }
        match &mut self.operation.write {
            Write::Create { body } | Write::Patch { body, .. } | Write::Put { body, .. } => {
                replace(body, ids)
            }
            Write::Delete { .. } => {}
        }
        for (_, reference) in &mut self.sent.added {
            if let Reference::InBatch(bulk_id) = reference
                && let Some(id) = ids.get(bulk_id)
            {
                *reference = Reference::Id(id.clone());
            }
        }
        for bulk_id in known {
            let as_sent = Fingerprint::of(&Value::String(format!("bulkId:{bulk_id}")));
            let id = &ids[&bulk_id];
            if self.sent.set.get(&manager()) == Some(&as_sent) {
                self.sent.set.insert(manager(), Fingerprint::of(&Value::String(id.as_str().to_owned())));
            }
            self.sent.in_batch.remove(&bulk_id);
        }
    }
}

fn replace(value: &mut Value, ids: &BTreeMap<String, TargetId>) {
    match value {
        Value::String(text) => {
            if let Some(id) = text.strip_prefix("bulkId:").and_then(|bulk_id| ids.get(bulk_id)) {
                *text = id.as_str().to_owned();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, ids)),
        Value::Object(map) => map.values_mut().for_each(|item| replace(item, ids)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
